package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// maxAnnotations is the limit for all annotations of an object, in bytes.
const maxAnnotations = 256 << 10

// typeKeys are the keys that the API server requires for some types of Secrets. Of each list, one is enough.
var typeKeys = map[string][][]string{
	"kubernetes.io/dockerconfigjson": {{mondoo.KeyDockerConfigJSON}},
	"kubernetes.io/dockercfg":        {{".dockercfg"}},
	"kubernetes.io/tls":              {{"tls.crt"}, {"tls.key"}},
	"kubernetes.io/basic-auth":       {{"username", "password"}},
	"kubernetes.io/ssh-auth":         {{"ssh-privatekey"}},
}

// malformed returns why the API server would refuse a Secret, and in which field. Without this check, every sync would
// fail at the Secret, and everything after the Secrets, such as removals, would never happen.
func malformed(s *fleet.SealedSecret) (field []string, message, fix string) {
	if len(validation.IsDNS1123Subdomain(s.Name)) > 0 {
		return []string{"metadata", "name"}, "the name is not a valid Kubernetes name", "use lower-case letters, digits, dashes and dots, at most 253 characters"
	}
	if field, message, fix := malformedMarks(s.Labels, s.Annotations); message != "" {
		return field, message, fix
	}
	return malformedData(s)
}

// malformedMarks reports the first label or annotation that the API server refuses.
func malformedMarks(labels, annotations map[string]string) (field []string, message, fix string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(validation.IsQualifiedName(key))+len(validation.IsValidLabelValue(labels[key])) > 0 {
			return []string{"metadata", "labels", key}, fmt.Sprintf("the label %q is not valid in Kubernetes", key),
				"use letters, digits, dashes, underscores and dots, at most 63 characters"
		}
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if len(validation.IsQualifiedName(strings.ToLower(key))) > 0 {
			return []string{"metadata", "annotations", key}, fmt.Sprintf("the annotation %q is not valid in Kubernetes", key),
				"use letters, digits, dashes, underscores and dots, at most 63 characters"
		}
		size += len(key) + len(annotations[key])
	}
	if size > maxAnnotations {
		return []string{"metadata", "annotations"}, fmt.Sprintf("the annotations exceed %d KiB in total", maxAnnotations>>10), "remove some"
	}
	return nil, "", ""
}

// malformedMetadata reports the first field of an audit config's metadata that the API server refuses. Nulls count as absent.
func malformedMetadata(object map[string]any) (field []string, message, fix string) {
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		return []string{"metadata"}, "metadata must be a mapping", "give the audit config a name there"
	}
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if meta[key] != nil && !slices.Contains(metadataFields, key) {
			return []string{"metadata", key}, "metadata." + key + " is an unknown field", "correct its name, or remove it"
		}
	}
	marks := map[string]map[string]string{}
	for _, name := range []string{"labels", "annotations"} {
		block, ok := meta[name].(map[string]any)
		if meta[name] != nil && !ok {
			return []string{"metadata", name}, "metadata." + name + " must be a mapping of strings", "use KEY: VALUE pairs"
		}
		marks[name] = map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(block)) {
			text, ok := block[key].(string)
			if block[key] != nil && !ok {
				return []string{"metadata", name, key}, "metadata." + name + "." + key + " must be a string", "quote the value"
			}
			marks[name][key] = text
		}
	}
	return malformedMarks(marks["labels"], marks["annotations"])
}

func malformedData(s *fleet.SealedSecret) (field []string, message, fix string) {
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		if len(validation.IsConfigMapKey(key)) > 0 {
			block := "stringData"
			if s.Data[key].Base64 {
				block = "data"
			}
			return []string{block, key}, fmt.Sprintf("the key %q is not valid in a Secret", key), "use letters, digits, dashes, underscores and dots, at most 253 characters"
		}
	}
	for _, choice := range typeKeys[s.Type] {
		if !slices.ContainsFunc(choice, func(key string) bool { _, has := s.Data[key]; return has }) {
			return []string{"type"}, fmt.Sprintf("a Secret of type %s must have the key %s", s.Type, strings.Join(choice, " or ")), "add the key, or remove type"
		}
	}
	return nil, "", ""
}
