package mondoo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// ShapeError means that an object doesn't have the shape of the CRD. It has the path of the field, but not its value.
type ShapeError struct {
	// Path is dotted, such as "spec.kubernetesResources.externalClusters"; empty for an entry as a whole.
	Path string
	// Want is the expected shape, such as "a list".
	Want string
}

// Error returns the error on one line.
func (e *ShapeError) Error() string {
	if e.Path == "" {
		return "the entry is not " + e.Want
	}
	return fmt.Sprintf("%s is not %s", e.Path, e.Want)
}

// Map returns the entry as decoded JSON: maps, []any, strings and booleans. What is applied should be the canonical
// form, as in e.Canonical().Map(), so that the API server has nothing to add.
func (e Entry) Map() map[string]any {
	obj, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&e)
	if err != nil {
		// It only fails on types that JSON doesn't have, and the types above are fixed.
		panic(fmt.Sprintf("mondoo: convert entry: %v", err))
	}
	return obj
}

// ParseEntry reads an element of externalClusters. It ignores unknown fields: a newer operator may have them. The error
// is a [*ShapeError].
func ParseEntry(obj map[string]any) (Entry, error) {
	var e Entry
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj, &e); err != nil {
		// The converter's message may quote values.
		return Entry{}, &ShapeError{Want: "an element of " + listPath + " as the CRD describes it"}
	}
	return e, nil
}

// Diff returns the fields in which two entries differ for the operator, as sorted dotted paths, such as
// "filtering.namespaces.include". A block that only one of them has is one path. Diff returns no values.
func Diff(a, b Entry) []string {
	var paths []string
	differ("", a.compared().Map(), b.compared().Map(), &paths)
	slices.Sort(paths)
	return paths
}

func differ(prefix string, a, b map[string]any, paths *[]string) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for key := range keys {
		left, inA := a[key]
		right, inB := b[key]
		inner, leftIsMap := left.(map[string]any)
		other, rightIsMap := right.(map[string]any)
		switch {
		case leftIsMap && rightIsMap:
			differ(prefix+key+".", inner, other, paths)
		case inA != inB || !reflect.DeepEqual(left, right):
			*paths = append(*paths, prefix+key)
		}
	}
}
