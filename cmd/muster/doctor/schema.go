package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// schemaCheck compares the CRD in the cluster with the one of this version.
func schemaCheck(name string, live map[string]any) Check {
	var known map[string]any
	if err := yaml.Unmarshal(auditSyncCRD, &known); err != nil {
		panic(err) // a test reads it
	}
	const fix = "install the CRD of this version: kubectl apply --server-side -k config/crd"
	want, have := schemaOf(known, v1alpha1.GroupVersion.Version), schemaOf(live, v1alpha1.GroupVersion.Version)
	if have == nil {
		return failed(categoryMuster, name, fmt.Sprintf("the CRD %s has no version %s", known["metadata"].(map[string]any)["name"], v1alpha1.GroupVersion.Version), fix) //nolint:forcetypeassert // a test reads it
	}
	missing, more := without(fieldsOf(want), fieldsOf(have)), without(fieldsOf(have), fieldsOf(want))
	switch {
	case len(missing) > 0:
		return failed(categoryMuster, name, "the CRD is older: it lacks "+some(missing)+", and the API server drops what it doesn't know", fix)
	case len(more) > 0:
		return warning(categoryMuster, name, "the CRD is newer: it has "+some(more)+", which this program doesn't know", "use the version of the controller")
	case plainJSON(want) != plainJSON(have):
		return warning(categoryMuster, name, "the CRD has the same fields, with other rules or texts", fix)
	}
	return passed(categoryMuster, name, plural(len(fieldsOf(want)), "field"))
}

// schemaOf is the schema of a version of a CRD, or nil if that version isn't served.
func schemaOf(crd map[string]any, version string) map[string]any {
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	for _, v := range versions {
		v, _ := v.(map[string]any)
		if served, _ := v["served"].(bool); served && v["name"] == version {
			found, _, _ := unstructured.NestedMap(v, "schema", "openAPIV3Schema")
			return found
		}
	}
	return nil
}

// fieldsOf are the paths of all fields below spec and status, sorted. Paths skip lists.
func fieldsOf(schema map[string]any) []string {
	found := map[string]bool{}
	var walk func(at string, schema map[string]any)
	walk = func(at string, schema map[string]any) {
		if items, ok := schema["items"].(map[string]any); ok {
			walk(at, items)
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			path := strings.TrimPrefix(at+"."+name, ".")
			found[path] = true
			if property, ok := property.(map[string]any); ok {
				walk(path, property)
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, part := range []string{"spec", "status"} {
		if property, ok := properties[part].(map[string]any); ok {
			walk(part, property)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// without are the paths of list that aren't in others, and not below a path that is listed already.
func without(list, others []string) []string {
	var out []string
	for _, path := range list {
		if _, found := slices.BinarySearch(others, path); found {
			continue
		}
		if n := len(out); n > 0 && strings.HasPrefix(path, out[n-1]+".") {
			continue
		}
		out = append(out, path)
	}
	return out
}

// plainJSON is a schema as text. Keys are sorted, and all types of numbers look the same.
func plainJSON(schema map[string]any) string {
	data, err := json.Marshal(schema)
	if err != nil {
		return err.Error() // a schema comes from JSON
	}
	return string(data)
}
