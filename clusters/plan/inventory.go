package plan

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// LabelInventory marks the ConfigMaps that hold inventories. InventoryKey is the key of the inventory in their
// binaryData.
const (
	LabelInventory = "muster.dev/inventory"
	InventoryKey   = "inventory.json.gz"
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
	// MadeFor is "auditConfig/cluster" of the cluster that a Secret was made for and that no longer needs it. The
	// Secret stays as long as something names it.
	MadeFor string `json:"inlineOwner,omitempty"`
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
	// Corrected are the fields of a cluster's entry and Secrets, or of a Secret, that were corrected since Hash was
	// applied.
	Corrected []Correction `json:"corrected,omitempty"`
}

// Limits for unpacking an inventory. A ConfigMap of 1 MiB holds some 20,000 clusters of 200 bytes each. An empty item
// takes 3 bytes, and a hundred times as much in memory.
const (
	maxInventory = 16 << 20
	maxItems     = 200_000
)

// ErrInventorySize is returned for an inventory larger than any that Muster writes.
var ErrInventorySize = errors.New("it is larger than any that Muster writes")

// Encode packs an inventory for a ConfigMap's binaryData. Equal inventories have equal encodings.
func (i *Inventory) Encode() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if err := json.NewEncoder(zip).Encode(i); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeInventory unpacks what Encode packed.
func DecodeInventory(data []byte) (*Inventory, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(zip, maxInventory+1))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	if len(text) > maxInventory || bytes.Count(text, []byte("{")) > maxItems {
		return nil, fmt.Errorf("decode inventory: %w", ErrInventorySize)
	}
	i := &Inventory{}
	if err := json.Unmarshal(text, i); err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	return i, nil
}

// InventoryName returns the name of the ConfigMap for an inventory. Names of AuditSyncs have no dots, so the names of
// two inventories never collide.
func InventoryName(sync, auditConfig string) string {
	if auditConfig == "" {
		return "muster-" + sync
	}
	return "muster-" + sync + "." + auditConfig
}

// Equal reports whether two inventories are the same. Nil equals an empty one.
func (i *Inventory) Equal(other *Inventory) bool {
	if i.Empty() || other.Empty() {
		return i.Empty() == other.Empty()
	}
	same := func(a, b Item) bool {
		return a.Name == b.Name && a.Origin == b.Origin && a.Commit == b.Commit && a.Hash == b.Hash && slices.Equal(a.Secrets, b.Secrets) && slices.Equal(a.Making, b.Making) &&
			slices.EqualFunc(a.Corrected, b.Corrected, Correction.Equal) && a.Applied.Equal(b.Applied) && a.Changed.Equal(b.Changed) && a.Taken.Equal(b.Taken) && a.ScanDue == b.ScanDue && a.Scanned == b.Scanned && a.MadeFor == b.MadeFor
	}
	return i.Sync == other.Sync && i.AuditConfig == other.AuditConfig && i.Origin == other.Origin && i.Commit == other.Commit &&
		i.Hash == other.Hash && i.Reads == other.Reads && i.Approved.Equal(other.Approved) && slices.EqualFunc(i.Corrected, other.Corrected, Correction.Equal) && slices.EqualFunc(i.Clusters, other.Clusters, same) && slices.EqualFunc(i.Secrets, other.Secrets, same)
}

// Empty reports whether there is nothing to record.
func (i *Inventory) Empty() bool {
	return i == nil || len(i.Clusters)+len(i.Secrets) == 0 && i.Origin == "" && i.Approved == nil
}

// precedes reports whether another AuditSync's inventory blocks this AuditSync, whose inventory may be nil, from the
// audit config. An applied inventory wins over one that was about to be applied. Between equals the name decides, so
// that two AuditSyncs that start at the same moment don't block each other. Entries that were only about to be applied
// block no one.
func (i *Inventory) precedes(sync string, own *Inventory) bool {
	theirs, ours := i.claim(), own.claim()
	return theirs > ours || theirs == ours && theirs > 0 && i.Sync < sync
}

// claim is 2 if something was applied, 1 if the audit config as a whole was about to be applied, and 0 otherwise.
func (i *Inventory) claim() int {
	switch {
	case i == nil:
		return 0
	case i.Hash != "" || slices.ContainsFunc(i.Clusters, func(c Item) bool { return c.Hash != "" }):
		return 2
	case i.Origin != "":
		return 1
	}
	return 0
}

func (i *Inventory) reads() string {
	if i == nil {
		return ""
	}
	return i.Reads
}

func (i *Inventory) clusters() []Item {
	if i == nil {
		return nil
	}
	return i.Clusters
}

// cluster returns the item of a cluster, or nil. Unlike find, it works on unsorted items.
func (i *Inventory) cluster(name string) *Item {
	at := slices.IndexFunc(i.clusters(), func(item Item) bool { return item.Name == name })
	if at < 0 {
		return nil
	}
	return &i.Clusters[at]
}

func (i *Inventory) secret(name string) *Item {
	if i == nil {
		return nil
	}
	return find(i.Secrets, name)
}

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
