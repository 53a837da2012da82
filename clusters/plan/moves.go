package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
)

// moves are the clusters that leave an audit config that is no longer in Git, by the key of the item that they leave.
type moves struct {
	targets map[string]string // the audit configs that each moves to, joined
	waits   map[string]bool   // those without approval
}

// heldMoves finds the clusters that would leave an audit config because its file is gone, and holds them until its
// removal is approved. Otherwise one deleted file could send every cluster to another audit config, and to the readers
// of its reports.
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

// key returns the approval key of a cluster's move, which includes the target.
func (m moves) key(cluster string) string {
	return strings.Replace(cluster, "cluster/", "move/", 1) + "/" + m.targets[cluster]
}

// retires reports whether an audit config that Muster applied as a whole is no longer in Git.
func (p *planner) retires(name string) bool {
	_, inFleet := p.desiredConfig(name)
	return name != "" && !inFleet && p.refused[name] == nil && p.policy.Prune && p.inventories[name].Origin != "" && p.live.AuditConfigs[name] != nil
}

// arrives reports whether a cluster is new in its audit config. If it was applied there before, it only shares its name
// with a cluster of another audit config.
func (p *planner) arrives(c fleet.Cluster) bool {
	known := p.item(c.AuditConfig, c.Name)
	return known == nil || known.Hash == ""
}
