package compile

import (
	"maps"
	"slices"
	"strconv"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// identity identifies an object.
type identity struct {
	apiVersion, kind, namespace, name string
	// nonString is the first of these fields that exists and isn't a string; nil if all are. The field's value above is
	// empty.
	nonString []string
}

func identify(object map[string]any) identity {
	var id identity
	text := func(in map[string]any, field ...string) string {
		switch v := in[field[len(field)-1]].(type) {
		case string:
			return v
		case nil:
		default:
			if id.nonString == nil {
				id.nonString = field
			}
		}
		return ""
	}
	id.apiVersion, id.kind = text(object, "apiVersion"), text(object, "kind")
	meta, ok := mapping(object["metadata"])
	if !ok && object["metadata"] != nil && id.nonString == nil {
		id.nonString = []string{"metadata"}
	}
	id.namespace, id.name = text(meta, "metadata", "namespace"), text(meta, "metadata", "name")
	return id
}

func (id identity) isCluster() bool {
	return (&load.Document{APIVersion: id.apiVersion, Kind: id.kind}).IsCluster()
}

func (id identity) isConfig() bool {
	return id.kind == mondoo.Kind && id.apiVersion == mondoo.APIVersion
}

func (id identity) isSecret() bool { return id.kind == "Secret" && id.apiVersion == "v1" }

// nonStringKey finds a mapping with a key that YAML doesn't read as a string. JSON has no such mapping.
func nonStringKey(v any, field []string) ([]string, bool) {
	switch v := v.(type) {
	case map[any]any:
		return field, true
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at, found := nonStringKey(v[key], append(slices.Clone(field), key)); found {
				return at, true
			}
		}
	case []any:
		for i, item := range v {
			if at, found := nonStringKey(item, append(slices.Clone(field), "["+strconv.Itoa(i)+"]")); found {
				return at, true
			}
		}
	}
	return nil, false
}
