// Package inventory is the form in which Muster records what it has applied: its own entries, audit configs and
// Secrets, the corrections of their fields, and the approval in progress.
//
// An Inventory belongs to one audit config of one AuditSync and is stored in a ConfigMap. The package owns that form,
// its limits, and the keys and values of approvals. It decides nothing and has no client: clusters/plan compares
// inventories with a fleet, and controllers reads and writes the ConfigMaps.
//
// The form is read by later versions of Muster. Fields may be added, and an absent field means unknown.
package inventory

import (
	"slices"
	"strings"
	"time"
)

// Inventory records what Muster applied: for one audit config of one AuditSync or, with an empty AuditConfig, for the
// Secrets that belong to no cluster. It tells Muster's own entries from foreign ones, and what to remove.
type Inventory struct {
	Sync        string `json:"sync"`
	AuditConfig string `json:"auditConfig,omitempty"`
	// Origin is the file of the audit config itself, if Muster applies it as a whole.
	Origin string `json:"origin,omitempty"`
	// Commit last changed the audit config itself. Hash is the hash of its content without the list.
	Commit string `json:"commit,omitempty"`
	Hash   string `json:"hash,omitempty"`
	// Clusters are Muster's own entries. Secrets are those that belong to no cluster. Both are sorted by name.
	Clusters []Item `json:"clusters,omitempty"`
	Secrets  []Item `json:"secrets,omitempty"`
	// Corrected are the fields of the audit config that were corrected since Hash was applied.
	Corrected []Correction `json:"corrected,omitempty"`
	// Reads identifies the versions of the Secrets that the operator itself reads for the audit config; empty if
	// unknown.
	Reads string `json:"reads,omitempty"`
	// Approved is the approval that is being carried out in this inventory.
	Approved *Approval `json:"approved,omitempty"`
	// Version is the version of the ConfigMap that the inventory was read from.
	Version Version `json:"-"`
}

// Version identifies one version of one object in the API server. It is zero for an object that doesn't exist.
type Version struct {
	UID, ResourceVersion string
}

// Item is one cluster or Secret that Muster applied.
type Item struct {
	Name   string `json:"name"`
	Origin string `json:"origin"`
	// Commit last changed the item.
	Commit string `json:"commit,omitempty"`
	// Hash is the hash of the applied content. It is empty if Muster was about to apply it for the first time.
	Hash    string   `json:"hash,omitempty"`
	Secrets []string `json:"secrets,omitempty"`
	// Making are those of Secrets that Muster was about to create. They are not yet known to be its own.
	Making []string `json:"making,omitempty"`
	// MadeFor is the cluster that a Secret was made for and that no longer needs it. The Secret stays as long as
	// something names it.
	MadeFor Cluster `json:"inlineOwner,omitzero"`
	// Applied is when the cluster got its present form, in whole seconds as in API objects; zero if not recorded.
	Applied time.Time `json:"applied,omitzero"`
	// Changed is when the cluster's entry last changed, not only its Secrets; zero if long ago. Taken is when the
	// operator was first seen to use the changed entry; zero until then.
	Changed time.Time `json:"changed,omitzero"`
	Taken   time.Time `json:"taken,omitzero"`
	// ScanDue is true if the cluster has changed and a scan for the change has not been requested yet.
	ScanDue bool `json:"scanDue,omitempty"`
	// Scanned is true if a scan of the cluster's present form succeeded before its entry was removed from the cluster,
	// which also removed the evidence of that scan.
	Scanned bool `json:"scanned,omitempty"`
	// Seen is the cluster that was found behind the server; zero if it wasn't checked.
	Seen Seen `json:"seen,omitzero"`
	// Corrected are the fields of a cluster's entry and Secrets, or of a Secret, that were corrected since Hash was
	// applied.
	Corrected []Correction `json:"corrected,omitempty"`
}

// Seen identifies a cluster at an address.
type Seen struct {
	// UID is that of its namespace kube-system. Place changes with the address.
	UID   string `json:"uid"`
	Place string `json:"place"`
}

// Correction records that Muster has corrected a field.
type Correction struct {
	// Path is the field's path. It is empty for a deleted object, and begins with "NAME:" for a field of a Secret.
	Path string `json:"path"`
	// Dropped counts how often in a row, at Commit, the field was missing again after a correction.
	Dropped int    `json:"dropped,omitempty"`
	Commit  string `json:"commit,omitempty"`
	// Times counts the corrections without a quiet period in between. At is the last one.
	Times int       `json:"times,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Equal reports whether two inventories are the same. Nil equals an empty one.
func (i *Inventory) Equal(other *Inventory) bool {
	if i.Empty() || other.Empty() {
		return i.Empty() == other.Empty()
	}
	return i.Sync == other.Sync && i.AuditConfig == other.AuditConfig && i.Origin == other.Origin && i.Commit == other.Commit &&
		i.Hash == other.Hash && i.Reads == other.Reads && i.Approved.Equal(other.Approved) &&
		slices.EqualFunc(i.Corrected, other.Corrected, Correction.Equal) &&
		slices.EqualFunc(i.Clusters, other.Clusters, Item.Equal) && slices.EqualFunc(i.Secrets, other.Secrets, Item.Equal)
}

// Equal reports whether two items are the same.
func (i Item) Equal(other Item) bool {
	return i.Name == other.Name && i.Origin == other.Origin && i.Commit == other.Commit && i.Hash == other.Hash && i.MadeFor == other.MadeFor &&
		slices.Equal(i.Secrets, other.Secrets) && slices.Equal(i.Making, other.Making) &&
		i.Applied.Equal(other.Applied) && i.Changed.Equal(other.Changed) && i.Taken.Equal(other.Taken) &&
		i.ScanDue == other.ScanDue && i.Scanned == other.Scanned && i.Seen == other.Seen && slices.EqualFunc(i.Corrected, other.Corrected, Correction.Equal)
}

// Equal reports whether two corrections are the same.
func (c Correction) Equal(other Correction) bool {
	return c.Path == other.Path && c.Dropped == other.Dropped && c.Commit == other.Commit && c.Times == other.Times && c.At.Equal(other.At)
}

// Settled reports whether nothing in the inventory expires: no correction, and no approval that is being carried out.
func (i *Inventory) Settled() bool {
	corrected := func(item Item) bool { return len(item.Corrected) > 0 }
	return len(i.Corrected) == 0 && i.Approved == nil && !slices.ContainsFunc(i.Clusters, corrected) && !slices.ContainsFunc(i.Secrets, corrected)
}

// Empty reports whether there is nothing to record.
func (i *Inventory) Empty() bool {
	return i == nil || len(i.Clusters)+len(i.Secrets) == 0 && i.Origin == "" && i.Approved == nil
}

// Cluster returns the item of a cluster, or nil. It also works while the items aren't sorted.
func (i *Inventory) Cluster(name string) *Item {
	if i == nil {
		return nil
	}
	at := slices.IndexFunc(i.Clusters, func(item Item) bool { return item.Name == name })
	if at < 0 {
		return nil
	}
	return &i.Clusters[at]
}

// Secret returns the item of a Secret that belongs to no cluster, or nil.
func (i *Inventory) Secret(name string) *Item {
	if i == nil {
		return nil
	}
	return find(i.Secrets, name)
}

// Sort sorts the items by name, as they are stored.
func (i *Inventory) Sort() {
	sortItems(i.Clusters)
	sortItems(i.Secrets)
}

// find returns the item by that name in sorted items, or nil.
func find(items []Item, name string) *Item {
	at, found := slices.BinarySearchFunc(items, name, func(item Item, name string) int { return strings.Compare(item.Name, name) })
	if !found {
		return nil
	}
	return &items[at]
}

func sortItems(items []Item) {
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
}

// Intent returns the inventory to write before anything is applied. It has everything that was applied, the approved
// removals, and whatever will be applied for the first time, without its hash. If the run is killed after that, every
// object it has written is still on record. A nil before is an empty one.
func Intent(before, after *Inventory, approved *Approval) *Inventory {
	if before == nil {
		before = &Inventory{Sync: after.Sync, AuditConfig: after.AuditConfig}
	}
	i := *before
	i.Approved = approved
	if i.Origin == "" {
		i.Origin = after.Origin
	}
	i.Clusters, i.Secrets = union(before.Clusters, after.Clusters), union(before.Secrets, after.Secrets)
	return &i
}

func union(before, after []Item) []Item {
	items := slices.Clone(before)
	for _, item := range after {
		known := find(before, item.Name)
		if known == nil {
			item.Hash, item.Commit, item.Corrected, item.ScanDue = "", "", nil, false
			items = append(items, item)
			continue
		}
		// Record a new Secret of the cluster before it is created.
		for _, name := range item.Secrets {
			if !slices.Contains(known.Secrets, name) {
				at := slices.IndexFunc(items, func(i Item) bool { return i.Name == item.Name })
				items[at].Secrets = append(slices.Clone(items[at].Secrets), name)
				items[at].Making = append(slices.Clone(items[at].Making), name)
			}
		}
	}
	sortItems(items)
	return items
}

// ScanAsked returns the inventory after scans were requested for the clusters in asked, and after the operator was seen
// to use the entries in taken, each at its time. It returns nil if nothing changes.
func (i *Inventory) ScanAsked(asked map[string]bool, taken map[string]time.Time) *Inventory {
	changed := *i
	changed.Clusters = slices.Clone(i.Clusters)
	found := false
	for at := range changed.Clusters {
		item := &changed.Clusters[at]
		if item.ScanDue && asked[item.Name] {
			item.ScanDue, found = false, true
		}
		if at, known := taken[item.Name]; known && item.Taken.IsZero() {
			item.Taken, found = at, true
		}
	}
	if !found {
		return nil
	}
	return &changed
}
