package plan

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// facts are what is known before anything is decided. No later stage changes them.
type facts struct {
	desired *fleet.Opened
	live    Live
	policy  Policy

	clusterAt map[inventory.Cluster]int // indexes of desired.Clusters
	arriving  map[string][]int          // by name, the indexes of the clusters that are new in their audit config
	secretAt  map[string]int            // indexes of desired.Secrets

	inventories map[string]*inventory.Inventory       // of this AuditSync, by audit config
	items       map[inventory.Cluster]*inventory.Item // the clusters in them
	owners      map[string]string                     // other AuditSyncs that exist, by the audit config they own
	made        madeSecrets

	unchanged     func() []bool                                       // see unchangedSecrets
	inventoriesOf func() (bySecret map[string][]*inventory.Inventory) // the inventories that have a Secret
}

func gather(desired *fleet.Opened, live Live, policy Policy) *facts {
	f := &facts{
		desired: desired, live: live, policy: policy,
		clusterAt: make(map[inventory.Cluster]int, len(desired.Clusters)), arriving: map[string][]int{},
		secretAt:    make(map[string]int, len(desired.Secrets)),
		inventories: map[string]*inventory.Inventory{}, items: make(map[inventory.Cluster]*inventory.Item, len(desired.Clusters)),
		owners: map[string]string{}, made: madeSecretsOf(desired, live),
	}
	for _, inv := range live.Inventories {
		if inv.Sync == desired.Sync {
			f.inventories[inv.AuditConfig] = inv
		}
	}
	for name, inv := range f.inventories {
		for i := range inv.Clusters {
			f.items[inventory.Cluster{AuditConfig: name, Name: inv.Clusters[i].Name}] = &inv.Clusters[i]
		}
	}
	for i := range desired.Clusters {
		c := &desired.Clusters[i]
		f.clusterAt[idOf(c)] = i
		if f.arrives(c) {
			f.arriving[c.Name] = append(f.arriving[c.Name], i)
		}
	}
	for i := range desired.Secrets {
		f.secretAt[desired.Secrets[i].Name] = i
	}
	for _, inv := range live.Inventories {
		if inv.Sync == desired.Sync || !live.Syncs[inv.Sync] || inv.AuditConfig == "" || !precedes(inv, desired.Sync, f.inventories[inv.AuditConfig]) {
			continue
		}
		if owner := f.owners[inv.AuditConfig]; owner == "" || inv.Sync < owner {
			f.owners[inv.AuditConfig] = inv.Sync
		}
	}
	f.inventoriesOf = sync.OnceValue(f.inventoriesBySecret)
	return f
}

// precedes reports whether another AuditSync's inventory blocks this AuditSync, whose inventory may be nil, from the
// audit config. An applied inventory wins over one that was about to be applied. Between equals the name decides, so
// that two AuditSyncs that start at the same moment don't block each other. Entries that were only about to be applied
// block no one.
func precedes(other *inventory.Inventory, sync string, own *inventory.Inventory) bool {
	theirs, ours := claim(other), claim(own)
	return theirs > ours || theirs == ours && theirs > 0 && other.Sync < sync
}

// claim is 2 if something was applied, 1 if the audit config as a whole was about to be applied, and 0 otherwise.
func claim(i *inventory.Inventory) int {
	switch {
	case i == nil:
		return 0
	case i.Hash != "" || slices.ContainsFunc(i.Clusters, func(c inventory.Item) bool { return c.Hash != "" }):
		return 2
	case i.Origin != "":
		return 1
	}
	return 0
}

func (f *facts) inventoriesBySecret() map[string][]*inventory.Inventory {
	bySecret := map[string][]*inventory.Inventory{}
	for _, inv := range f.inventories {
		for _, item := range inv.Secrets {
			bySecret[item.Name] = append(bySecret[item.Name], inv)
		}
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				bySecret[name] = append(bySecret[name], inv)
			}
		}
	}
	return bySecret
}

// lostConfigs returns an error for each audit config that was applied from a file that now has an error. They stop the
// plan: the clusters could otherwise all move to another audit config, which the removal budget doesn't count.
func (f *facts) lostConfigs() []finding.Finding {
	var lost []finding.Finding
	for _, name := range slices.Sorted(maps.Keys(f.inventories)) {
		inv := f.inventories[name]
		if desired, _ := f.desiredConfig(name); name == "" || inv.Origin == "" || desired.Object != nil || !f.desired.Broken[inv.Origin] {
			continue
		}
		lost = append(lost, finding.Finding{Code: compile.CodeAuditConfig, Path: inv.Origin, Message: fmt.Sprintf("the audit config %s was applied from this file, which now has an error", name),
			Fix: "fix the file, or delete it to remove the audit config"})
	}
	return lost
}

// idOf identifies a cluster of the fleet.
func idOf(c *fleet.Cluster) inventory.Cluster {
	return inventory.Cluster{AuditConfig: c.AuditConfig, Name: c.Name}
}

// arrives reports whether a cluster is new in its audit config. If it was applied there before, it only shares its name
// with a cluster of another audit config.
func (f *facts) arrives(c *fleet.Cluster) bool {
	known := f.items[idOf(c)]
	return known == nil || known.Hash == ""
}

// configNames returns the audit configs of the fleet and of the inventories, sorted.
func (f *facts) configNames() []string {
	names := map[string]bool{}
	for _, c := range f.desired.AuditConfigs {
		names[c.Name] = true
	}
	for name := range f.inventories {
		names[name] = true
	}
	delete(names, "") // the inventory of Secrets that belong to no cluster
	return slices.Sorted(maps.Keys(names))
}

func (f *facts) desiredConfig(name string) (config fleet.AuditConfig, inFleet bool) {
	for _, c := range f.desired.AuditConfigs {
		if c.Name == name {
			return c, true
		}
	}
	return fleet.AuditConfig{Name: name}, false
}

// wanted reports whether the fleet has a Secret by that name.
func (f *facts) wanted(secret string) bool {
	_, wanted := f.secretAt[secret]
	return wanted
}

// hasWhole reports whether this AuditSync has applied an audit config as a whole, or was about to.
func (f *facts) hasWhole(auditConfig string) bool {
	return f.inventories[auditConfig] != nil && f.inventories[auditConfig].Origin != ""
}

// commit returns the revision that last changed an item: the present one, unless the hash is unchanged.
func (f *facts) commit(before *inventory.Item, hash string) string {
	if before != nil && before.Hash == hash && before.Commit != "" {
		return before.Commit
	}
	return f.policy.Revision
}

// applied reports whether an inventory of this AuditSync has a Secret that was applied. If Muster was only about to
// apply it, a Secret that exists by that name may be someone else's.
func (f *facts) applied(secret string) bool {
	return slices.ContainsFunc(f.inventoriesOf()[secret], func(inv *inventory.Inventory) bool {
		if item := inv.Secret(secret); item != nil && item.Hash != "" {
			return true
		}
		return slices.ContainsFunc(inv.Clusters, func(item inventory.Item) bool {
			return item.Hash != "" && slices.Contains(item.Secrets, secret) && !slices.Contains(item.Making, secret)
		})
	})
}

// adopts reports whether the value of an object's AdoptAnnotation lets this AuditSync take it over. A preview without
// an AuditSync accepts any.
func (f *facts) adopts(annotation string) bool {
	return annotation != "" && (annotation == f.desired.Sync || f.desired.Sync == "")
}

// place returns an otherwise empty finding at a field of an origin. Objects that are in no file have no place.
func (f *facts) place(origin fleet.Origin, field []string) finding.Finding {
	at := finding.Finding{Path: origin.Path}
	at.Line, at.Column = f.desired.Position(origin, field)
	return at
}

// placeOf is place for a field of a cluster file. For an entry in an audit config's manifest, it is the place of the
// list.
func (f *facts) placeOf(c *fleet.Cluster, field []string) finding.Finding {
	if c.File == nil {
		field = fieldList
	}
	at := f.place(c.Origin, field)
	at.Cluster = c.Name
	return at
}

// Fields that findings point at.
var (
	fieldName = []string{"metadata", "name"}
	fieldType = []string{"type"}
	// fieldImmutable makes a Secret's data immutable.
	fieldImmutable = []string{"immutable"}
	fieldList      = []string{"spec", "kubernetesResources", "externalClusters"}
)
