package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Fields returns the fields in which two entries differ, with their values.
func Fields(from, to mondoo.Entry) []Field {
	a, b := from.Canonical().Map(), to.Canonical().Map()
	var list []Field
	for _, path := range mondoo.Diff(from, to) {
		list = append(list, Field{Path: path, From: valueAt(a, path), To: valueAt(b, path)})
	}
	return list
}

// valueAt returns the value at a dotted path as one line; empty if there is none.
func valueAt(object map[string]any, path string) string {
	return inline(mondoo.At(object, strings.Split(path, ".")))
}

func inline(v any) string {
	if v == nil {
		return ""
	}
	if text, ok := v.(string); ok {
		return text
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// differences lists where live lacks something that want has. Additional fields in live are no difference: the operator
// and the API server fill in their own. Lists are compared as wholes, element by element.
func differences(path string, want, live any) []Field {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			if live == nil && zero(w) {
				return nil // an empty struct, which the live object omits
			}
			return []Field{{Path: path, From: inline(live), To: inline(want)}}
		}
		var list []Field
		for _, key := range slices.Sorted(maps.Keys(w)) {
			list = append(list, differences(join(path, key), w[key], l[key])...)
		}
		return list
	case []any:
		l, ok := live.([]any)
		if !ok && live != nil || len(l) != len(w) {
			return []Field{{Path: path, From: inline(live), To: inline(want)}}
		}
		for i := range w {
			if len(differences(path, w[i], l[i])) > 0 {
				return []Field{{Path: path, From: inline(live), To: inline(want)}}
			}
		}
		return nil
	default:
		if sameScalar(want, live) || live == nil && zero(want) || mondoo.SameValue(strings.Split(path, "."), want, live) {
			return nil
		}
		return []Field{{Path: path, From: inline(live), To: inline(want)}}
	}
}

// zero reports whether a value equals an absent field. Go's omitempty leaves such values out.
func zero(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if !zero(item) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	case nil:
		return true
	default:
		text := inline(v)
		return text == "" || text == "false" && v != "false" || text == "0" && v != "0"
	}
}

// sameScalar compares JSON values: 1, 1.0 and int64(1) are the same number, and null is an absent field.
func sameScalar(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return inline(a) == inline(b)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
