package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/seal"
)

// findText returns the place of the first string below a value, key or value, that matches.
func findText(v any, field []string, match func(text string, field []string) bool) ([]string, bool) {
	values, _ := mapping(v)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if match(key, field) {
			return field, true
		}
		if at, found := findText(values[key], append(slices.Clone(field), key), match); found {
			return at, true
		}
	}
	switch v := v.(type) {
	case string:
		return field, match(v, field)
	case []any:
		for i, item := range v {
			if at, found := findText(item, append(slices.Clone(field), fmt.Sprintf("[%d]", i)), match); found {
				return at, true
			}
		}
	}
	return nil, false
}

// handleIn finds an encrypted value, or a part of one.
func handleIn(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool { return seal.HasHandle(text) })
}

// brokenHandle finds a string that contains a handle but isn't one: it was cut or joined.
func (c *compiler) brokenHandle(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool { return seal.HasHandle(text) && !c.tree.Sealed(text) })
}

// movedHandle finds an encrypted value in another field than it was encrypted in. Writing a kustomization needs no key,
// so an attacker could otherwise copy a credential to a field that is shown, or sent to the attacker's server.
func (c *compiler) movedHandle(v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, field []string) bool {
		ref, sealed := c.tree.Ref(text)
		return sealed && !slices.EqualFunc(ref.Keys, field, func(a, b string) bool {
			return a == b || strings.HasPrefix(a, "[") && strings.HasPrefix(b, "[")
		})
	})
}

// copiedFrom finds an encrypted value that comes from another object of the repository.
func (c *compiler) copiedFrom(r kustomize.Resource, v any, field []string) ([]string, bool) {
	return findText(v, field, func(text string, _ []string) bool {
		ref, sealed := c.tree.Ref(text)
		return sealed && c.isCopy(r, ref)
	})
}

// notText finds a value that sops encrypted as a number or another non-string. Its original form is lost: 0123 is
// decrypted as 83.
func (c *compiler) notText(v any, field []string) (at []string, kind string) {
	at, _ = findText(v, field, func(text string, _ []string) bool {
		ref, sealed := c.tree.Ref(text)
		kind = ref.Kind
		return sealed && kind != ""
	})
	return at, kind
}

// notTextMessage returns the message and the fix for a value found by notText.
func notTextMessage(field []string, kind string) (message, fix string) {
	return fmt.Sprintf("%s is encrypted as %s and must be a string", strings.Join(field, "."), kind),
		"quote the value with sops edit and check it: sops doesn't keep its original form, and 0123 has become 83"
}

// generatedIn finds a value that a generator read from an encrypted file. Such values are plain text by now, and may
// only appear in the data of Secrets.
func (c *compiler) generatedIn(v any) ([]string, bool) {
	if len(c.opened) == 0 {
		return nil, false
	}
	return findText(v, nil, func(text string, _ []string) bool { return c.built.Masks.String(text) != text })
}
