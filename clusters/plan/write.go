package plan

import (
	"slices"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Held returns the clusters of the audit config that have a Secret in failed.
func (c ConfigWrite) Held(failed map[string]bool) map[string]bool {
	held := map[string]bool{}
	for secret, cluster := range c.secrets {
		if failed[secret] {
			held[cluster] = true
		}
	}
	return held
}

// Leaving returns the clusters that move to another audit config, with their targets. An entry must not be removed
// before the target has it.
func (c ConfigWrite) Leaving() map[string]string { return c.leaving }

// Without returns the write for the case that some clusters can't proceed, because a Secret could not be written or the
// target does not have them yet. Their entries stay as they are, or absent. An entry names the server that the
// credential is sent to, so a new entry must never meet an old credential.
func (c ConfigWrite) Without(held map[string]bool) (ConfigWrite, error) {
	if len(held) == 0 {
		return c, nil
	}
	wanted, err := mondoo.Entries(c.Object)
	if err != nil {
		return c, err
	}
	isHeld := func(entry map[string]any) bool { return held[mondoo.TextAt(entry, "name")] }
	list := slices.DeleteFunc(slices.Clone(wanted), isHeld)
	// A live value that can't be read as a list has no entries to keep.
	if present, err := mondoo.Entries(c.before); err == nil {
		list = append(list, slices.DeleteFunc(slices.Clone(present), func(entry map[string]any) bool { return !isHeld(entry) })...)
	}
	slices.SortStableFunc(list, inOrder)
	c.Object = copied(c.Object)
	return c, mondoo.SetEntries(c.Object, list)
}
