package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// MaxScansDue is how many clusters of an AuditSync may wait to be scanned because they have changed. What is beyond, as when a
// fleet is applied for the first time or a patch changes all of it, is left to the schedules, which are spread over the day.
const MaxScansDue = 100

// clocks are when a cluster got its form and whether it is to be scanned for that. Only a new form restarts them. An entry
// that is taken over as it stands has no new one: whoever made it has had it scanned.
func (l *lister) clocks(known *Item, hash string, equal bool) (applied time.Time, due bool) {
	switch {
	case known != nil && known.Hash == hash:
		return known.Applied, known.ScanDue && l.policy.ScanChanged
	case known == nil && equal:
		return l.policy.now(), false
	}
	return l.policy.now(), l.policy.ScanChanged
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

// ScanAsked is the inventory once nothing is due any more for these clusters. Nil stands for no change.
func (i *Inventory) ScanAsked(clusters map[string]bool) *Inventory {
	changed := *i
	changed.Clusters = slices.Clone(i.Clusters)
	found := false
	for at := range changed.Clusters {
		item := &changed.Clusters[at]
		if item.ScanDue && clusters[item.Name] {
			item.ScanDue, found = false, true
		}
	}
	if !found {
		return nil
	}
	return &changed
}
