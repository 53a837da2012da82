package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
)

// findText returns the place of the first string below a value, key or value, that is bad.
func findText(v any, field []string, bad func(text string, field []string) bool) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return field, bad(v, field)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if bad(key, field) {
				return field, true
			}
			if at, found := findText(v[key], append(slices.Clone(field), key), bad); found {
				return at, true
			}
		}
	case []any:
		for i, item := range v {
			if at, found := findText(item, append(slices.Clone(field), fmt.Sprintf("[%d]", i)), bad); found {
				return at, true
			}
		}
	}
	return nil, false
}

// handleIn finds an encrypted value, or part of one.
func handleIn(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool { return seal.HasHandle(text) })
}

// brokenHandle finds a string that holds a handle without being one: something has cut or joined it.
func (c *compiler) brokenHandle(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool { return seal.HasHandle(text) && !c.tree.Sealed(text) })
}

// movedHandle finds an encrypted value in another field than it was encrypted in. Whoever writes kustomizations needs no key,
// and could otherwise have a credential copied to where it is sent to a server of theirs, or shown.
func (c *compiler) movedHandle(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, field []string) bool {
		ref, sealed := c.tree.Ref(text)
		return sealed && !slices.EqualFunc(ref.Keys, field, func(a, b string) bool {
			return a == b || strings.HasPrefix(a, "[") && strings.HasPrefix(b, "[")
		})
	})
}

// copiedFrom finds an encrypted value that was written in another object of the repository.
func (c *compiler) copiedFrom(r build.Resource, v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool {
		ref, sealed := c.tree.Ref(text)
		return sealed && c.isCopy(r, ref)
	})
}

// generatedIn finds a value that a generator took from an encrypted file. Such values are plain text by now, and may stand in
// the data of Secrets alone.
func (c *compiler) generatedIn(v any) ([]string, bool) {
	if len(c.fleet.Generated) == 0 {
		return nil, false
	}
	known := &redact.Redactor{}
	known.Add(c.fleet.Generated...)
	return findText(v, nil, func(text string, _ []string) bool { return known.String(text) != text })
}
