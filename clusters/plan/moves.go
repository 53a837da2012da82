package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// moves are the clusters that leave an audit config that is no longer in Git, by the audit config that they leave.
type moves struct {
	targets map[inventory.Cluster]string // the audit configs that each moves to, joined
	waits   map[inventory.Cluster]bool   // those without approval
}

// heldMoves finds the clusters that would leave an audit config because its file is gone, and holds them until its
// removal is approved. Otherwise one deleted file could send every cluster to another audit config, and to the readers
// of its reports.
func (p *planner) heldMoves() map[inventory.Cluster]bool {
	p.moves = moves{targets: map[inventory.Cluster]string{}, waits: map[inventory.Cluster]bool{}}
	retired := slices.DeleteFunc(slices.Collect(maps.Keys(p.inventories)), func(name string) bool { return !p.retires(name) })
	if len(retired) == 0 {
		return nil
	}
	leaving := map[inventory.Cluster][]fleet.Cluster{}
	for _, c := range p.fleet.Clusters {
		for _, name := range retired {
			if !c.Quarantined && p.item(name, c.Name) != nil && p.arrives(c) {
				left := inventory.Cluster{AuditConfig: name, Name: c.Name}
				leaving[left] = append(leaving[left], c)
			}
		}
	}
	held := map[inventory.Cluster]bool{}
	for left, clusters := range leaving {
		targets := make([]string, len(clusters))
		for i, c := range clusters {
			targets[i] = c.AuditConfig
		}
		slices.Sort(targets)
		p.moves.targets[left] = strings.Join(targets, ",")
		if p.approved[p.moves.key(left)] {
			continue
		}
		p.moves.waits[left] = true
		for i := range clusters {
			held[idOf(&clusters[i])] = true
		}
	}
	return held
}

// key returns the approval key of a cluster's move, which includes the target.
func (m moves) key(cluster inventory.Cluster) inventory.Key {
	return inventory.Key{Kind: inventory.MoveCluster, Cluster: cluster, Targets: m.targets[cluster]}
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
