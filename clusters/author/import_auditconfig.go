package author

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// AuditConfigManifest returns the manifest of a live audit config: without status, the fields of the server and the list of clusters. It
// is not encrypted, so the error is about a variable whose value may be a secret.
func AuditConfigManifest(name string, object map[string]any) ([]byte, error) {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("the live audit config has no spec")
	}
	if field := secretVariable(spec, "spec"); field != "" {
		return nil, fmt.Errorf("%s of the live audit config has a value that may be a secret, and the manifest would show it; put it into a Secret (valueFrom.secretKeyRef) first", field)
	}
	spec = maps.Clone(spec)
	if resources, ok := spec["kubernetesResources"].(map[string]any); ok {
		resources = maps.Clone(resources)
		delete(resources, "externalClusters")
		spec["kubernetesResources"] = resources
	}
	return Document(struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   metadata       `json:"metadata"`
		Spec       map[string]any `json:"spec"`
	}{mondoo.APIVersion, mondoo.Kind, metadata{Name: name}, spec}, "")
}

// secretName matches the names of environment variables that hold secrets.
var secretName = regexp.MustCompile(`(?i)(password|passwd|secret|token|credential|api_?key|private_?key)`)

// secretVariable returns the place of an environment variable that may be a secret, by its name or by a login in an address.
func secretVariable(v any, field string) string {
	switch v := v.(type) {
	case map[string]any:
		name, value := fmt.Sprint(v["name"]), fmt.Sprint(cmp.Or(v["value"], any("")))
		if u, err := url.Parse(value); value != "" && (secretName.MatchString(name) || err == nil && u.User != nil) {
			return field + " " + name
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at := secretVariable(v[key], field+"."+key); at != "" {
				return at
			}
		}
	case []any:
		for _, item := range v {
			if at := secretVariable(item, field); at != "" {
				return at
			}
		}
	}
	return ""
}
