package v1alpha1

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// formatField is a field of the format.
type formatField struct {
	name  string
	index int
	// seal is where encrypted values are allowed: neverSealed, valuesSealed or "".
	seal string
}

// The values of the tag "seal".
const (
	// neverSealed: the field's value must be known without keys.
	neverSealed = "never"
	// valuesSealed: the values of the field's mapping may be encrypted.
	valuesSealed = "values"
)

// fieldsOf returns the fields of a struct of the format, from its tags.
func fieldsOf(t reflect.Type) []formatField {
	var fields []formatField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			fields = append(fields, formatField{name: name, index: i, seal: f.Tag.Get("seal")})
		}
	}
	return fields
}

// pathsByName maps each field name to its paths in the format.
var pathsByName = sync.OnceValue(func() map[string][]string {
	paths := map[string][]string{}
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		// Skip references to Secrets and to Vault. There are many, and each would be suggested for every "name".
		if t.Kind() != reflect.Struct || t == reflect.TypeFor[SecretRef]() || t == reflect.TypeFor[ForeignSecret]() || t == reflect.TypeFor[VaultSecret]() {
			return
		}
		for _, f := range fieldsOf(t) {
			at := strings.TrimPrefix(path+"."+f.name, ".")
			paths[f.name] = append(paths[f.name], at)
			visit(t.Field(f.index).Type, at)
		}
	}
	visit(reflect.TypeFor[ExternalCluster](), "")
	return paths
})

// suggestions returns the fields that an unknown field was probably meant to be, as paths, nearest first, and whether they have the
// same parent. elsewhere has the paths of all fields by name.
func suggestions(name, parent string, siblings []formatField, elsewhere map[string][]string) (paths []string, beside bool) {
	join := func(sibling string) []string { return []string{strings.TrimPrefix(parent+"."+sibling, ".")} }
	for _, s := range siblings {
		if plain(s.name) == plain(name) {
			return join(s.name), true
		}
	}
	if paths := elsewhere[name]; len(paths) > 0 {
		return paths, false
	}
	nearest, least := "", max(1, len(name)/3)+1
	for _, s := range siblings {
		if d := distance(plain(name), plain(s.name)); d < least {
			nearest, least = s.name, d
		}
	}
	if nearest != "" {
		return join(nearest), true
	}
	for known, paths := range elsewhere {
		// No two fields of the format have the same plain form, so the map's order doesn't matter.
		if plain(known) == plain(name) {
			return paths, false
		}
	}
	return nil, false
}

// plain removes naming conventions: ca_cert, CACert and caCert become the same.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// distance is the optimal string alignment distance: insertions, deletions, replacements and swapped neighbors.
func distance(a, b string) int {
	// A name this long is not a typo, and would take too long.
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// namesOf lists the names of fields, for messages.
func namesOf(fields []formatField) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
