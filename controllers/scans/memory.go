package scans

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// Memory is what is remembered of an AuditSync between two looks. The zero value is ready for use. If it is lost, the next look derives
// everything again.
type Memory struct {
	// statuses are the last ones. configs are the audit configs that they were derived from, by name.
	statuses []scanstate.Status
	configs  map[string]*config
	// started are the Jobs that were created but not seen yet. No more are created until refused, because of refusal.
	started map[string]time.Time
	refused time.Time
	refusal string
}

// Scanned reports whether a cluster's current entry has been scanned, as far as this process has seen.
func (m *Memory) Scanned(auditConfig, cluster string) bool {
	c := m.configs[auditConfig]
	return c != nil && c.scanned[cluster]
}

// refresh returns the audit configs that the AuditSync has entries in, sorted by name.
func (m *Memory) refresh(sync Sync) []*config {
	var configs []*config
	for _, applied := range sync.Inventories {
		live := sync.AuditConfigs[applied.AuditConfig]
		if live == nil {
			continue
		}
		object := &unstructured.Unstructured{Object: live}
		c, err := m.configs[object.GetName()].refresh(object, applied)
		if err != nil {
			continue // the entries are not a list; the sync corrects or reports that
		}
		c.paused, c.reported = scanstate.ScanningPaused(live), scanstate.ReportedScans(live)
		configs = append(configs, c)
	}
	slices.SortFunc(configs, func(a, b *config) int { return strings.Compare(a.name, b.name) })
	m.configs = make(map[string]*config, len(configs))
	for _, c := range configs {
		m.configs[c.name] = c
	}
	return configs
}

// config is what is known about the scans of an audit config.
type config struct {
	name       string
	uid        types.UID
	generation int64
	// inventory is what Muster applied.
	inventory *inventory.Inventory
	// entries are all entries, in the order in which the operator works. items are those that Muster applied, by name. due are those
	// of the items that must be scanned because they changed.
	entries []scanstate.Entry
	items   map[string]*inventory.Item
	due     map[string]bool
	// scanned are the items whose current entry has been scanned, as far as this process has seen.
	scanned map[string]bool
	// taken is when the operator picked up changed entries, if that is not in the inventory yet. awaited is the number of changed
	// entries that it has not picked up.
	taken   map[string]time.Time
	awaited int
	paused  bool
	// reported is what the operator reports about each entry.
	reported map[string]scanstate.Reported
}

// refresh returns an up-to-date copy. It parses the entries only if the spec has changed, because that is slow for a large audit config.
func (c *config) refresh(object *unstructured.Unstructured, applied *inventory.Inventory) (*config, error) {
	same := c != nil && c.uid == object.GetUID() && c.generation == object.GetGeneration()
	if same && c.inventory == applied {
		return c, nil
	}
	next := &config{name: object.GetName(), uid: object.GetUID(), generation: object.GetGeneration(), inventory: applied,
		items: make(map[string]*inventory.Item, len(applied.Clusters)), due: map[string]bool{}, scanned: map[string]bool{}, taken: map[string]time.Time{}}
	if same {
		next.entries = slices.Clone(c.entries)
	} else {
		var err error
		if next.entries, err = scanstate.Entries(object.Object, time.Time{}); err != nil {
			return nil, err
		}
	}
	for i := range applied.Clusters {
		item := &applied.Clusters[i]
		if next.items[item.Name] = item; item.ScanDue {
			next.due[item.Name] = true
		}
		if c != nil && c.scanned[item.Name] && c.items[item.Name].Hash == item.Hash {
			next.scanned[item.Name] = true
		}
		if at, known := c.takenAt(item); known && item.Taken.IsZero() {
			next.taken[item.Name] = at
		}
	}
	for i := range next.entries {
		if item := next.items[next.entries[i].Name]; item != nil {
			next.entries[i].Applied, next.entries[i].Scanned, next.entries[i].Changed, next.entries[i].Taken = item.Applied, item.Scanned, item.Changed, item.Taken
			if at, known := next.taken[item.Name]; known {
				next.entries[i].Taken = at
			}
		}
	}
	return next, nil
}

// takenAt returns when the operator picked up the change of an entry, if known and if the entry has not changed since.
func (c *config) takenAt(item *inventory.Item) (at time.Time, known bool) {
	if c == nil || c.items[item.Name] == nil || !c.items[item.Name].Changed.Equal(item.Changed) {
		return at, false
	}
	at, known = c.taken[item.Name]
	return at, known
}

// observe remembers which current entries have been scanned, and sets Scanned in the statuses. It remembers them even after the
// operator changed a CronJob, which deletes its finished Jobs.
func (c *config) observe(statuses []scanstate.Status) {
	c.awaited = 0
	added := false
	for i := range statuses {
		s := &statuses[i]
		if !c.scanned[s.Cluster] && s.HasScanned() {
			c.scanned[s.Cluster] = true
		}
		item := c.items[s.Cluster]
		if _, known := c.taken[s.Cluster]; s.NotTaken {
			c.awaited++
		} else if !known && item.Taken.IsZero() && !item.Changed.IsZero() {
			c.taken[s.Cluster], added = s.Taken, true
		}
		for _, s := range []*scanstate.Status{s, s.Before} {
			if s != nil {
				s.Scanned = c.scanned[s.Cluster]
			}
		}
	}
	for i := range c.entries {
		if at, known := c.taken[c.entries[i].Name]; added && known {
			c.entries[i].Taken = at // keep the first time; the operator may write its objects again
		}
	}
}
