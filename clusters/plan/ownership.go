package plan

import (
	"slices"

	"github.com/muster-gitops/muster/clusters/inventory"
)

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
