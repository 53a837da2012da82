package preflights

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/preflight"
)

// found takes note of the cluster that a check found at a place. The first one that was found there is remembered.
func (f *fleetState) found(key cluster, place string, r preflight.Result) {
	now := inventory.Seen{UID: cmp.Or(f.uid(key, place), r.UID), Place: place}
	if r.UID == "" || f.seen[key] == now {
		return
	}
	f.seen[key] = now
	f.unsaved = f.unsaved || f.recorded(key) != now
}

// uid returns the UID of the cluster that was found at a place before; "" if none was.
func (f *fleetState) uid(key cluster, place string) string {
	for _, s := range []inventory.Seen{f.seen[key], f.recorded(key)} {
		if s.Place == place {
			return s.UID
		}
	}
	return ""
}

// recorded returns what the inventory has of the cluster behind a server.
func (f *fleetState) recorded(key cluster) inventory.Seen {
	for _, applied := range f.Inventories {
		if item := applied.Cluster(key.name); item != nil && applied.AuditConfig == key.auditConfig {
			return item.Seen
		}
	}
	return inventory.Seen{}
}

// Seen returns what to record of the clusters of an AuditSync: see plan.Policy.
func (c *Checker) Seen(key types.NamespacedName) func(auditConfig, name string) inventory.Seen {
	return func(auditConfig, name string) inventory.Seen {
		if c == nil {
			return inventory.Seen{}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		f := c.syncs[key]
		if f == nil {
			return inventory.Seen{}
		}
		return f.seen[cluster{auditConfig, name}]
	}
}
