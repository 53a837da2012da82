package plan

import (
	"maps"
	"reflect"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// fill sets every field below v, so that a field which matches doesn't know of can't hide.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic("fill can't set a " + v.Kind().String())
	}
}

// variants visits the mapping with each of its values in turn taken out, changed, given another type, and with a key added.
func variants(object map[string]any, visit func(what string)) {
	for key, value := range maps.Clone(object) {
		delete(object, key)
		visit("without " + key)
		for _, other := range []any{"other", false, nil, []any{}, []any{"text"}, map[string]any{}, 1.0} {
			object[key] = other
			visit("another " + key)
		}
		object[key] = value
		if inner, ok := value.(map[string]any); ok {
			variants(inner, func(what string) { visit(key + ": " + what) })
		}
	}
	object["unknown"] = "field"
	visit("an unknown field")
	delete(object, "unknown")
}

func TestMatches(t *testing.T) {
	var full mondoo.Entry
	fill(reflect.ValueOf(&full).Elem())
	entries := map[string]mondoo.Entry{
		"full": full, "zero": {}, "kubeconfig": {Name: "a", KubeconfigSecretRef: &mondoo.SecretRef{Name: "s"}},
		"empty blocks": {Name: "a", SPIFFEAuth: &mondoo.SPIFFEAuth{}, VaultAuth: &mondoo.VaultAuth{}, Filtering: &mondoo.Filtering{}, Repositories: &mondoo.Patterns{},
			KubeconfigSecretRef: &mondoo.SecretRef{}, ServiceAccountAuth: &mondoo.ServiceAccountAuth{}, WorkloadIdentity: &mondoo.WorkloadIdentity{}},
	}
	for name, entry := range entries {
		raw := entry.Canonical().Map()
		if name != "empty blocks" && !matches(raw, &entry) {
			t.Errorf("%s: the canonical form is not recognized: %v", name, raw)
		}
		n := 0
		variants(raw, func(what string) {
			n++
			if !matches(raw, &entry) {
				return
			}
			if parsed, err := mondoo.ParseEntry(raw); err != nil || !mondoo.Equal(parsed, entry) {
				t.Errorf("%s, %s: taken for equal, and is not: %v", name, what, raw)
			}
		})
		if n < 8 {
			t.Errorf("%s: only %d variants", name, n)
		}
	}
	if raw := full.Canonical().Map(); len(raw) != reflect.TypeOf(full).NumField() {
		t.Errorf("the entry that has everything has %d of %d fields", len(raw), reflect.TypeOf(full).NumField())
	}
}

// BenchmarkMatches compares matches with a library that compares structs with mappings.
func BenchmarkMatches(b *testing.B) {
	e := mondoo.Entry{Name: "cluster-00001", KubeconfigSecretRef: &mondoo.SecretRef{Name: "mondoo-client-cluster-00001-kubeconfig"}, Schedule: "1 2 * * *"}
	raw := e.Canonical().Map()
	library := func(raw map[string]any, e *mondoo.Entry) bool {
		want := e.Canonical()
		v, err := value.NewValueReflect(&want)
		return err == nil && value.Equals(value.NewValueInterface(raw), v)
	}
	for name, equal := range map[string]func(map[string]any, *mondoo.Entry) bool{"matches": matches, "structured-merge-diff": library} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if !equal(raw, &e) {
					b.Fatal("no match")
				}
			}
		})
	}
}
