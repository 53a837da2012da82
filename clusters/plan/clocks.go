package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/inventory"
)

// MaxScansDue is how many changed clusters of an AuditSync may wait for a scan at once. Any more, as when a fleet is
// first applied or a patch changes all of it, wait for their schedules, which are spread over the day.
const MaxScansDue = 100

// clocks records when a cluster changed and whether a scan is due for it. Only a change restarts them. An entry that is
// taken over unchanged is not a change: it has been scanned before. If only a Secret has changed, the entry's time
// stays.
func (p Policy) clocks(item, known *inventory.Item, equal bool) {
	item.Applied, item.ScanDue = p.now(), p.ScanChanged
	switch {
	case known != nil && known.Hash == item.Hash:
		item.Applied, item.Changed, item.Taken, item.ScanDue = known.Applied, known.Changed, known.Taken, known.ScanDue && p.ScanChanged
	case known != nil && equal:
		item.Changed, item.Taken = known.Changed, known.Taken
	case equal:
		item.ScanDue = false
	default:
		item.Changed = item.Applied
	}
}

// seen returns what to record of the cluster behind a server: what was found now, or else before.
func (p Policy) seen(auditConfig string, known *inventory.Item, cluster string) inventory.Seen {
	if p.Seen != nil {
		if now := p.Seen(auditConfig, cluster); now != (inventory.Seen{}) {
			return now
		}
	}
	if known != nil {
		return known.Seen
	}
	return inventory.Seen{}
}

// boundDue leaves the latest changes beyond MaxScansDue to their schedules, and returns how many.
func boundDue(inventories map[string]*inventory.Inventory) (left int) {
	var due []*inventory.Item
	for _, inv := range inventories {
		for i := range inv.Clusters {
			if item := &inv.Clusters[i]; item.ScanDue {
				due = append(due, item)
			}
		}
	}
	if len(due) <= MaxScansDue {
		return 0
	}
	slices.SortFunc(due, func(a, b *inventory.Item) int {
		return cmp.Or(a.Applied.Compare(b.Applied), strings.Compare(a.Name, b.Name), strings.Compare(a.Origin, b.Origin))
	})
	for _, item := range due[MaxScansDue:] {
		item.ScanDue = false
	}
	return len(due) - MaxScansDue
}
