package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/inventory"
)

// moves are the clusters that leave an audit config because its file is gone.
type moves struct {
	targets map[inventory.Cluster]string // by the audit config that they leave: those that each moves to, joined
	waits   map[inventory.Cluster]bool   // by the audit config that they leave: those without approval
	held    map[inventory.Cluster]bool   // the same, by the audit configs that they move to
}

// findMoves finds the clusters that would leave an audit config because its file is gone, and holds them until its
// removal is approved. Otherwise one deleted file could send every cluster to another audit config, and to the readers
// of its reports.
func (a *admitted) findMoves(approved map[inventory.Key]bool) moves {
	m := moves{targets: map[inventory.Cluster]string{}, waits: map[inventory.Cluster]bool{}, held: map[inventory.Cluster]bool{}}
	retired := slices.DeleteFunc(slices.Collect(maps.Keys(a.inventories)), func(name string) bool { return !a.retires(name) })
	if len(retired) == 0 {
		return m
	}
	leaving := map[inventory.Cluster][]string{}
	for i := range a.clusters {
		c := &a.clusters[i]
		for _, name := range retired {
			left := inventory.Cluster{AuditConfig: name, Name: c.Name}
			if !c.Quarantined && a.items[left] != nil && a.arrives(c) {
				leaving[left] = append(leaving[left], c.AuditConfig)
			}
		}
	}
	for left, targets := range leaving {
		slices.Sort(targets)
		m.targets[left] = strings.Join(targets, ",")
		if approved[m.key(left)] {
			continue
		}
		m.waits[left] = true
		for _, target := range targets {
			m.held[inventory.Cluster{AuditConfig: target, Name: left.Name}] = true
		}
	}
	return m
}

// key returns the approval key of a cluster's move, which includes the target.
func (m moves) key(left inventory.Cluster) inventory.Key {
	return inventory.Key{Kind: inventory.MoveCluster, Cluster: left, Targets: m.targets[left]}
}

// retires reports whether an audit config that Muster applied as a whole is no longer in Git.
func (a *admitted) retires(name string) bool {
	_, inFleet := a.desiredConfig(name)
	_, refused := a.refused[name]
	return !inFleet && !refused && a.policy.Prune && a.hasWhole(name) && a.live.AuditConfigs[name] != nil
}
