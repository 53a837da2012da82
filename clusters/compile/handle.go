package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/seal"
)

// findText returns the place of the first string below a value, key or value, that is bad.
func findText(v any, field []string, bad func(text string, field []string) bool) ([]string, bool) {
	values, _ := mapping(v)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if bad(key, field) {
			return field, true
		}
		if at, found := findText(values[key], append(slices.Clone(field), key), bad); found {
			return at, true
		}
	}
	switch v := v.(type) {
	case string:
		return field, bad(v, field)
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

// notText finds a value that sops has encrypted as a number or the like. What it was written as is lost: 0123 is 83 once it is decrypted.
func (c *compiler) notText(v any, field []string) (at []string, kind string) {
	at, _ = findText(v, field, func(text string, _ []string) bool {
		ref, sealed := c.tree.Ref(text)
		kind = ref.Kind
		return sealed && kind != ""
	})
	return at, kind
}

// notTextMessage says so, and what to do.
func notTextMessage(field []string, kind string) (message, fix string) {
	return fmt.Sprintf("%s is encrypted as %s, and must be text", strings.Join(field, "."), kind),
		"put the value in quotes with sops edit, and check it there: sops doesn't keep how it was written, and 0123 has become 83"
}

// generatedIn finds a value that a generator took from an encrypted file. Such values are plain text by now, and may stand in
// the data of Secrets alone.
func (c *compiler) generatedIn(v any) ([]string, bool) {
	if len(c.opened) == 0 {
		return nil, false
	}
	return findText(v, nil, func(text string, _ []string) bool { return c.built.Masks.String(text) != text })
}
