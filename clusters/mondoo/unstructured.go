package mondoo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// ShapeError says that an object is not made as the CRD says. It holds the path of the field and nothing of its value.
type ShapeError struct {
	// Path is dotted, such as "spec.kubernetesResources.externalClusters"; empty for an entry as a whole.
	Path string
	// Want is what should stand there, such as "a list".
	Want string
}

// Error is one line.
func (e *ShapeError) Error() string {
	if e.Path == "" {
		return "the entry is not " + e.Want
	}
	return fmt.Sprintf("%s is not %s", e.Path, e.Want)
}

// Map gives the entry as JSON would: maps, []any, strings and booleans. What is applied should be the canonical form, as in
// e.Canonical().Map(), so that the API server has nothing to add.
func (e Entry) Map() map[string]any {
	obj, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&e)
	if err != nil {
		// Only a type that JSON can't hold gives an error, and the types above are fixed.
		panic(fmt.Sprintf("mondoo: convert entry: %v", err))
	}
	return obj
}

// ParseEntry reads an element of externalClusters. Fields it does not know are passed over: a newer operator may have
// them. The error is a [*ShapeError].
func ParseEntry(obj map[string]any) (Entry, error) {
	var e Entry
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj, &e); err != nil {
		// The converter's message may quote values.
		return Entry{}, &ShapeError{Want: "an element of " + listPath + " as the CRD describes it"}
	}
	return e, nil
}

// Diff lists the fields in which two entries differ for the operator, as sorted dotted paths, such as
// "filtering.namespaces.include"; a block that only one of them has is one path. Values are not given.
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
