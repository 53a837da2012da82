package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
)

// secretManifest is a Secret in Git, with the fields that Muster applies. Any other field is an error, because Muster
// would ignore it.
type secretManifest struct {
	APIVersion string            `json:"apiVersion" seal:"never"`
	Kind       string            `json:"kind" seal:"never"`
	Metadata   secretMetadata    `json:"metadata"`
	Type       string            `json:"type" seal:"never"`
	Immutable  bool              `json:"immutable" seal:"never"`
	Data       map[string]string `json:"data" seal:"values"`
	StringData map[string]string `json:"stringData" seal:"values"`
}

// secretMetadata is the metadata of a Secret. The fields of type any are written by the API server. They get into Git
// with the output of kubectl get -o yaml, and are ignored.
type secretMetadata struct {
	Name        string            `json:"name" seal:"never"`
	Namespace   string            `json:"namespace" seal:"never"`
	Labels      map[string]string `json:"labels" seal:"never"`
	Annotations map[string]string `json:"annotations" seal:"never"`

	CreationTimestamp any `json:"creationTimestamp"`
	GenerateName      any `json:"generateName"`
	Generation        any `json:"generation"`
	ManagedFields     any `json:"managedFields"`
	ResourceVersion   any `json:"resourceVersion"`
	SelfLink          any `json:"selfLink"`
	UID               any `json:"uid"`
}

// metadataFields are the metadata fields of Kubernetes. Any other may be a wrongly indented block.
var metadataFields = []string{"annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
	"generation", "labels", "managedFields", "name", "namespace", "ownerReferences", "resourceVersion", "selfLink", "uid"}

// plainValues returns the fields of a Secret with a value that is neither encrypted nor public, whatever its type.
// Unknown fields count too: one may be a misspelt stringData, or a wrongly indented password.
func (c *compiler) plainValues(object map[string]any) [][]string {
	var plain [][]string
	meta, _ := mapping(object["metadata"])
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if !slices.Contains(metadataFields, key) && c.plain("", meta[key]) {
			plain = append(plain, []string{"metadata", key})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		switch name {
		case "apiVersion", "kind", "metadata", "type", "immutable":
			continue
		}
		values, ok := mapping(object[name])
		if !ok && c.plain(name, object[name]) {
			plain = append(plain, []string{name})
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if c.plain(name, values[key]) {
				plain = append(plain, []string{name, key})
			}
		}
	}
	return plain
}

// plain reports whether a value in a block of a Secret, or one below it, is neither encrypted nor public.
func (c *compiler) plain(block string, v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		_, encoded := c.encodedHandle(fleet.Text{Value: v, Base64: block == "data"})
		return !encoded && !c.tree.Sealed(v) && !c.public(block, v) && !c.generated(block, v)
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return c.plain(block, item) })
	}
	if values, ok := mapping(v); ok {
		for _, item := range values {
			if c.plain(block, item) {
				return true
			}
		}
		return false
	}
	return true // a number, for example, may be a PIN
}

// mapping returns a value as a mapping, with keys that aren't strings converted to strings.
func mapping(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[fmt.Sprint(key)] = item
		}
		return out, true
	}
	return nil, false
}

// describePlain names a plain value. It doesn't repeat the name of an unknown field, which may be part of a credential.
func describePlain(field []string, secret string) string {
	if field[0] == "data" || field[0] == "stringData" {
		return fmt.Sprintf("%s of Secret %s is a credential in plain text", strings.Join(field, "."), secret)
	}
	return fmt.Sprintf("Secret %s has plain text outside data and stringData, which may be a credential", secret)
}
