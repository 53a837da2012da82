package access

import (
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/recipient"
)

// minPrefix is how many characters of a recipient find it. Recipients that are printed may end with "…".
const minPrefix = 12

// Find returns the recipients with this name, or the one that is written like this in .sops.yaml, or that begins like this.
// A person may have several recipients with one name.
func (r *Report) Find(query string) []Recipient {
	if found := r.where(func(x Recipient) bool { return x.Name != "" && strings.EqualFold(x.Name, query) }); len(found) > 0 {
		return found
	}
	if normal, ok := recipient.Parse(query); ok {
		if found := r.where(func(x Recipient) bool { return recipient.Key(x.ID) == recipient.Key(normal) }); len(found) > 0 {
			return found
		}
	}
	start := strings.TrimSuffix(query, "…")
	if len(start) < minPrefix {
		return nil
	}
	return r.where(func(x Recipient) bool { return strings.HasPrefix(recipient.Full(x.ID), start) })
}

func (r *Report) where(is func(Recipient) bool) (found []Recipient) {
	for _, x := range r.Recipients {
		if is(x) {
			found = append(found, x)
		}
	}
	return found
}

// Only returns the part of the report that is about some of its recipients: these, and the files that they open or should be
// able to open.
func (r *Report) Only(recipients []Recipient) *Report {
	files := map[string]bool{}
	for _, x := range recipients {
		for _, opening := range x.Opens {
			files[opening.Path] = true
		}
		for _, path := range x.Missing {
			files[path] = true
		}
	}
	part := *r
	part.Recipients = recipients
	part.Files = slices.DeleteFunc(slices.Clone(r.Files), func(f File) bool { return !files[f.Path] })
	return &part
}
