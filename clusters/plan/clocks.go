package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// MaxScansDue is how many changed clusters of an AuditSync may wait for a scan at once. Any more, as when a fleet is
// first applied or a patch changes all of it, wait for their schedules, which are spread over the day.
const MaxScansDue = 100

// clocks records when a cluster changed and whether a scan is due for it. Only a change restarts them. An entry that is
// taken over unchanged is not a change: it has been scanned before. If only a Secret has changed, the entry's time
// stays.
func (l *lister) clocks(item, known *Item, equal bool) {
	item.Applied, item.ScanDue = l.policy.now(), l.policy.ScanChanged
	switch {
	case known != nil && known.Hash == item.Hash:
		item.Applied, item.Changed, item.Taken, item.ScanDue = known.Applied, known.Changed, known.Taken, known.ScanDue && l.policy.ScanChanged
	case known != nil && equal:
		item.Changed, item.Taken = known.Changed, known.Taken
	case equal:
		item.ScanDue = false
	default:
		item.Changed = item.Applied
	}
}

// boundDue leaves the latest changes beyond MaxScansDue to their schedules.
func (p *planner) boundDue() {
	var due []*Item
	for _, inventory := range p.next {
		for i := range inventory.Clusters {
			if item := &inventory.Clusters[i]; item.ScanDue {
				due = append(due, item)
			}
		}
	}
	if len(due) <= MaxScansDue {
		return
	}
	slices.SortFunc(due, func(a, b *Item) int {
		return cmp.Or(a.Applied.Compare(b.Applied), strings.Compare(a.Name, b.Name), strings.Compare(a.Origin, b.Origin))
	})
	for _, item := range due[MaxScansDue:] {
		item.ScanDue = false
		p.plan.ScansLeft++
	}
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
