package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
)

// moves are the clusters that leave an audit config which is no longer in Git, by the key of what they leave.
type moves struct {
	targets map[string]string // the audit configs that each is in now, joined
	waits   map[string]bool   // those that nobody has approved
}

// heldMoves finds the clusters that would leave an audit config together with its file, and are to stay until its removal is approved.
// One file less would otherwise send as many clusters as there are to another audit config, and to whoever reads its reports.
func (p *planner) heldMoves() map[[2]string]bool {
	p.moves = moves{targets: map[string]string{}, waits: map[string]bool{}}
	retired := slices.DeleteFunc(slices.Collect(maps.Keys(p.inventories)), func(name string) bool { return !p.retires(name) })
	if len(retired) == 0 {
		return nil
	}
	leaving := map[string][]fleet.Cluster{}
	for _, c := range p.fleet.Clusters {
		for _, name := range retired {
			if !c.Quarantined && p.item(name, c.Name) != nil && p.arrives(c) {
				leaving[clusterKey(name, c.Name)] = append(leaving[clusterKey(name, c.Name)], c)
			}
		}
	}
	held := map[[2]string]bool{}
	for key, clusters := range leaving {
		targets := make([]string, len(clusters))
		for i, c := range clusters {
			targets[i] = c.AuditConfig
		}
		slices.Sort(targets)
		p.moves.targets[key] = strings.Join(targets, ",")
		if p.approved[p.moves.key(key)] {
			continue
		}
		p.moves.waits[key] = true
		for _, c := range clusters {
			held[[2]string{c.AuditConfig, c.Name}] = true
		}
	}
	return held
}

// key is what a cluster's leaving is approved by: where it goes is a part of it.
func (m moves) key(cluster string) string {
	return strings.Replace(cluster, "cluster/", "move/", 1) + "/" + m.targets[cluster]
}

// retires says whether an audit config that Muster had applied as a whole is no longer in Git.
func (p *planner) retires(name string) bool {
	_, inFleet := p.desiredConfig(name)
	return name != "" && !inFleet && p.refused[name] == nil && p.policy.Prune && p.inventories[name].Origin != "" && p.live.AuditConfigs[name] != nil
}

// arrives says whether a cluster has not been applied in its audit config before. One that has shares no more than its name with one
// of another audit config.
func (p *planner) arrives(c fleet.Cluster) bool {
	known := p.item(c.AuditConfig, c.Name)
	return known == nil || known.Hash == ""
}
