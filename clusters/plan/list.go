package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// listPlan is what happens to the list of one audit config.
type listPlan struct {
	notes
	entries []map[string]any // the whole list
	changed bool             // it differs from the live one
	record  []inventory.Item // the clusters that are Muster's own after this plan
	keeps   []string         // the Secrets of clusters that stay as they were applied
	foreign []string         // the entries that come from no file and are kept
}

// lister plans the list of one audit config.
type lister struct {
	*decided
	listPlan
	config string
	raw    map[string]map[string]any // the live entries by name
	done   map[string]bool
	byHand bool // a user or another tool has written the list
}

func (d *decided) list(config string, live map[string]any, before *inventory.Inventory) listPlan {
	raw, err := mondoo.Entries(live)
	if err != nil {
		raw = nil // the live value is not a list, and is replaced
	}
	l := lister{decided: d, config: config, byHand: d.byHand(config), raw: make(map[string]map[string]any, len(raw)), done: make(map[string]bool, len(raw))}
	l.changed, l.entries = err != nil, make([]map[string]any, 0, len(raw)+1)
	for _, object := range raw {
		name := mondoo.TextAt(object, "name")
		if _, twice := l.raw[name]; twice {
			l.changed = true // the operator uses the last of two; one is kept
		}
		l.raw[name] = object
	}
	var recorded []inventory.Item
	if before != nil {
		recorded = before.Clusters
		l.record = make([]inventory.Item, 0, len(recorded)+1)
	}
	for i := range d.clusters {
		if d.clusters[i].AuditConfig == config {
			l.cluster(&d.clusters[i])
		}
	}
	for i := range recorded {
		if !l.done[recorded[i].Name] {
			l.gone(&recorded[i])
		}
	}
	l.others()
	return l.listPlan
}

// keep leaves an entry as it is.
func (l *lister) keep(name string) {
	if raw, ok := l.raw[name]; ok {
		l.entries = append(l.entries, raw)
	}
	l.done[name] = true
}

// keepApplied leaves a cluster as it was applied, with its Secrets. The item is nil if it wasn't.
func (l *lister) keepApplied(name string, item *inventory.Item) {
	if item != nil {
		l.record, l.keeps = append(l.record, *item), append(l.keeps, item.Secrets...)
	}
	l.keep(name)
}

// compare reports whether an entry exists, whether it is equal, and which fields differ. An unreadable entry differs as
// a whole: Muster's own entry is corrected, a foreign one is left alone.
func (l *lister) compare(c *fleet.Cluster) (exists, equal bool, differ []Field) {
	raw, exists := l.raw[c.Name]
	if !exists || matches(raw, &c.Entry) {
		return exists, exists, nil
	}
	live, err := mondoo.ParseEntry(raw)
	if err == nil && mondoo.Equal(live, c.Entry) {
		return true, true, nil
	}
	return true, false, Fields(live, c.Entry)
}

// cluster plans the entry of one cluster of the fleet.
func (l *lister) cluster(c *fleet.Cluster) {
	known := l.items[idOf(c)]
	if c.Quarantined {
		l.keepApplied(c.Name, known)
		return
	}
	exists, equal, differ := l.compare(c)
	step := Step{Action: Change, Kind: KindCluster, Name: c.Name, AuditConfig: l.config, Origin: c.Origin.Path, Drift: known != nil && known.Hash == c.Hash}
	item := l.itemOfCluster(c, known, equal)
	var settled settlement
	switch {
	case equal:
		if step.Drift {
			item.Corrected = l.policy.settle(KindCluster, nil, known.Corrected, false).corrected
		}
		l.leave(known, item)
		return
	case exists:
		settled = l.change(&step, c, known, differ)
	default:
		settled = l.restore(&step, known, &item)
	}
	waits := l.settled(&step, settled, l.policy)
	item.Corrected = settled.corrected
	if step.Action == Change && len(step.Fields) == 0 && len(settled.notKept) > 0 {
		l.leave(known, item)
		return
	}
	l.record = append(l.record, item)
	l.step(step)
	if waits || step.Drift && !l.policy.CorrectDrift {
		l.keep(c.Name)
		return
	}
	l.changed, l.done[c.Name] = true, true
	l.entries = append(l.entries, c.Entry.Map())
}

// itemOfCluster returns what to record of a cluster, which Muster may already know.
func (l *lister) itemOfCluster(c *fleet.Cluster, known *inventory.Item, equal bool) inventory.Item {
	item := inventory.Item{Name: c.Name, Origin: c.Origin.Path, Commit: l.commit(known, c.Hash), Hash: c.Hash, Secrets: c.Secrets}
	l.policy.clocks(&item, known, equal)
	item.Scanned = known != nil && known.Hash == c.Hash && known.Scanned
	item.Seen = l.policy.seen(l.config, known, c.Name)
	return item
}

// leave records a cluster whose entry needs no change, and lists it if its file was renamed.
func (l *lister) leave(known *inventory.Item, item inventory.Item) {
	l.record = append(l.record, item)
	if known != nil && known.Origin != item.Origin {
		l.step(Step{Action: Move, Kind: KindCluster, Name: item.Name, AuditConfig: l.config, Origin: item.Origin, Reason: Reason("was " + known.Origin)})
	}
	l.keep(item.Name)
}

// change plans an entry with fields that differ.
func (l *lister) change(step *Step, c *fleet.Cluster, known *inventory.Item, differ []Field) settlement {
	step.Fields = differ
	if known == nil {
		step.Reason = "takes over an entry that was made by hand"
	}
	if !step.Drift {
		return settlement{}
	}
	settled := l.policy.settle(KindCluster, differ, known.Corrected, l.byHand)
	step.Fields = settled.wrong
	l.tellNotKept("the entry "+c.Name+" of the audit config "+l.config, func(field []string) finding.Finding {
		return l.placeOf(c, append([]string{"spec"}, field...))
	}, settled.notKept)
	return settled
}

// restore plans an entry that does not exist.
func (l *lister) restore(step *Step, known, item *inventory.Item) settlement {
	step.Action = Add
	if !step.Drift {
		return settlement{}
	}
	step.Reason = "it was removed from the audit config"
	settled := l.policy.settle(KindCluster, []Field{{}}, known.Corrected, l.byHand)
	item.Scanned = item.Scanned || l.policy.Scanned != nil && l.policy.Scanned(l.config, step.Name)
	if l.policy.CorrectDrift && settled.until.IsZero() {
		// The operator's objects for it were removed with it.
		item.Applied = l.policy.now()
		item.Changed, item.Taken = item.Applied, time.Time{}
	}
	return settled
}

// gone plans one of Muster's own entries that is no longer in Git.
func (l *lister) gone(item *inventory.Item) {
	removal, decided := l.removals.of[inventory.ClusterKey(inventory.Cluster{AuditConfig: l.config, Name: item.Name})]
	step := Step{Action: Remove, Kind: KindCluster, Name: item.Name, AuditConfig: l.config, Origin: item.Origin}
	switch {
	case !decided: // it is in Git, but its audit config can't be read
		l.keepApplied(item.Name, item)
	case removal.stays != "":
		step.Action, step.Reason = Hold, removal.stays
		l.step(step)
		l.keepApplied(item.Name, item)
	default:
		if _, exists := l.raw[item.Name]; exists {
			l.step(step)
			l.changed = true
		}
		l.done[item.Name] = true
	}
}

// others plans the entries that come from no file and never did.
func (l *lister) others() {
	var names []string
	unapproved := 0
	for name := range l.raw {
		if !l.done[name] {
			names = append(names, name)
			if !l.approvedEntry(l.config, name) {
				unapproved++
			}
		}
	}
	slices.Sort(names)
	stays := l.foreignStay(unapproved, len(l.raw))
	for _, name := range names {
		step := Step{Action: Remove, Kind: KindCluster, Name: name, AuditConfig: l.config, Reason: "it is in no file, and foreignClusters is Remove"}
		switch {
		case l.policy.Foreign != RemoveForeign:
			l.foreign = append(l.foreign, name)
			l.keep(name)
		case stays != "" && !l.approvedEntry(l.config, name):
			step.Action, step.Reason = Hold, stays
			l.step(step)
			l.keep(name)
		default:
			l.step(step)
			l.changed = true
		}
	}
	if len(l.foreign) > 0 {
		l.add(finding.Finding{Code: CodeForeign, Severity: finding.Info,
			Message: fmt.Sprintf("the audit config %s has %d entries that are in no file; they are kept: %s", l.config, len(l.foreign), some(l.foreign)),
			Fix:     "write cluster files for them, or set foreignClusters: Remove"})
	}
}

// approvedEntry reports whether the removal of an entry is approved.
func (d *decided) approvedEntry(auditConfig, name string) bool {
	return d.approved[inventory.ClusterKey(inventory.Cluster{AuditConfig: auditConfig, Name: name})]
}

// foreignStay returns why n foreign entries, of total, are kept even where the policy removes them: an unreadable file
// may hold them, or there are more than may be removed at once.
func (d *decided) foreignStay(n, total int) Reason {
	switch {
	case n == 0:
		return ""
	case d.removals.unread:
		return reasonUnread
	case n > d.policy.budget(total):
		return reasonBudget
	}
	return ""
}

// inOrder orders entries by name, with those that need Vault last. The operator works through them in order and stops
// at the first failure, most often a login to a Vault that doesn't answer.
func inOrder(a, b map[string]any) int {
	needs := func(entry map[string]any) int {
		if entry["vaultAuth"] != nil {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(needs(a), needs(b)), strings.Compare(mondoo.TextAt(a, "name"), mondoo.TextAt(b, "name")))
}
