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

// LabelInventory marks the ConfigMaps that hold inventories, and InventoryKey is where in their binaryData.
const (
	LabelInventory = "muster.dev/inventory"
	InventoryKey   = "inventory.json.gz"
)

// Inventory is what Muster remembers of what it applied: for one audit config of one AuditSync, or, with an empty
// AuditConfig, for the Secrets that belong to no cluster. It tells own entries from foreign ones, and what to remove.
type Inventory struct {
	Sync        string `json:"sync"`
	AuditConfig string `json:"auditConfig,omitempty"`
	// Origin is the file of the audit config itself, when Muster applies it as a whole.
	Origin string `json:"origin,omitempty"`
	// Commit last changed the audit config itself, and Hash is that of its content without the list.
	Commit string `json:"commit,omitempty"`
	Hash   string `json:"hash,omitempty"`
	// Clusters are the entries that are Muster's own, and Secrets those of no cluster; both sorted by name.
	Clusters []Item `json:"clusters,omitempty"`
	Secrets  []Item `json:"secrets,omitempty"`
	// Corrected are the fields of the audit config that were put right since Hash was applied.
	Corrected []Correction `json:"corrected,omitempty"`
	// Reads stands for the versions of the Secrets that the operator itself reads for the audit config. Empty: not known yet.
	Reads string `json:"reads,omitempty"`
	// Approved is what of it goes, or is to go, because somebody has approved that.
	Approved *Approval `json:"approved,omitempty"`
	// Version is that of the ConfigMap which it was read from.
	Version Version `json:"-"`
}

// Item is one cluster or Secret that Muster applied.
type Item struct {
	Name   string `json:"name"`
	Origin string `json:"origin"`
	// Commit is the one that last changed it.
	Commit string `json:"commit,omitempty"`
	// Hash is that of the content applied. Empty: Muster was about to apply it for the first time.
	Hash    string   `json:"hash,omitempty"`
	Secrets []string `json:"secrets,omitempty"`
	// Making are those of the Secrets that Muster was about to apply for the first time. Nothing says yet that they are its own.
	Making []string `json:"making,omitempty"`
	// MadeFor is "auditConfig/cluster", of a Secret that was made for a cluster which no longer needs it. It stays as long as
	// something names it.
	MadeFor string `json:"madeFor,omitempty"`
	// Applied is when the cluster got its present form, in whole seconds as API objects have them; zero when nobody noted it.
	Applied time.Time `json:"applied,omitzero"`
	// Changed is when its entry last changed, and not a Secret alone; zero for long ago. Taken is when the operator was seen to
	// have taken that over; zero while it was not.
	Changed time.Time `json:"changed,omitzero"`
	Taken   time.Time `json:"taken,omitzero"`
	// ScanDue says that the cluster has changed and is to be scanned for it, which has not been asked for yet.
	ScanDue bool `json:"scanDue,omitempty"`
	// Scanned says that a scan of the cluster's present form has ended well before somebody removed its entry, and that with it
	// went what told of it.
	Scanned bool `json:"scanned,omitempty"`
	// Corrected are the fields of a cluster's entry and Secrets, or of a Secret, that were put right since Hash was applied.
	Corrected []Correction `json:"corrected,omitempty"`
}

// What is unpacked of an inventory. A ConfigMap of 1 MiB holds some 20,000 clusters, of 200 bytes each. An empty item takes 3 bytes, and a
// hundred times as much in memory.
const (
	maxInventory = 16 << 20
	maxItems     = 200_000
)

// ErrInventorySize says that an inventory is larger than any that Muster writes.
var ErrInventorySize = errors.New("it is larger than any that Muster writes")

// Encode packs an inventory for a ConfigMap's binaryData. Equal inventories give equal bytes.
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

// InventoryName is the name of the ConfigMap that holds an inventory. Names of AuditSyncs have no dot, so no two inventories
// share one.
func InventoryName(sync, auditConfig string) string {
	if auditConfig == "" {
		return "muster-" + sync
	}
	return "muster-" + sync + "." + auditConfig
}

// Equal says whether two inventories are the same. Nil and an empty one are.
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

// Empty says whether there is nothing to remember.
func (i *Inventory) Empty() bool {
	return i == nil || len(i.Clusters)+len(i.Secrets) == 0 && i.Origin == "" && i.Approved == nil
}

// precedes says whether the inventory of another AuditSync keeps this one, whose inventory may be nil, from the audit config.
// What was applied goes before what was about to be applied, and among equals the name decides, so that two that start at the
// same moment don't keep each other out. Entries that were about to be applied keep nobody out.
func (i *Inventory) precedes(sync string, own *Inventory) bool {
	theirs, ours := i.claim(), own.claim()
	return theirs > ours || theirs == ours && theirs > 0 && i.Sync < sync
}

// claim is 2 when something was applied, 1 when the audit config as a whole was about to be, and 0 otherwise.
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

// cluster is the item of a cluster; nil when there is none. Unlike find it takes items in any order.
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
