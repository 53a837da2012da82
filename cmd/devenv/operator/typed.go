package operator

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// The typed fields of an audit config's spec that the API server accepts with any text, but the operator's decoder doesn't.
var (
	durations = [][]string{{"kubernetesResources", "activeDeadline"}, {"kubernetesResources", "resourceWatcher", "debounceInterval"},
		{"kubernetesResources", "resourceWatcher", "minimumScanInterval"}, {"containers", "activeDeadline"}, {"containers", "scanCache", "cacheTTL"}}
	quantities = [][]string{{"scanner", "resources"}, {"nodes", "resources"}, {"containers", "resources"}}
)

// undecodable is the first audit config that the operator's informer can't decode, with the reason, or empty.
func undecodable(configs []unstructured.Unstructured) string {
	for i := range configs {
		if err := canonicalize(configs[i].DeepCopy().Object); err != nil {
			return configs[i].GetName() + ": " + err.Error()
		}
	}
	return ""
}

// canonicalize writes durations and quantities as Go's types do. Its error is the one of the operator's decoder.
func canonicalize(config map[string]any) error {
	for _, path := range durations {
		err := replace(config, path, func(value any) (any, error) {
			text, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a string", value)
			}
			d, err := time.ParseDuration(text)
			return d.String(), err
		})
		if err != nil {
			return err
		}
	}
	for _, path := range quantities {
		for _, bound := range []string{"limits", "requests"} {
			amounts, _ := mondoo.At(config, slices.Concat([]string{"spec"}, path, []string{bound})).(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(amounts)) {
				err := replace(config, slices.Concat(path, []string{bound, name}), func(value any) (any, error) {
					q, err := resource.ParseQuantity(fmt.Sprint(value))
					return q.String(), err
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// replace replaces the value of a field of the spec, if it is set.
func replace(config map[string]any, path []string, by func(any) (any, error)) error {
	value := mondoo.At(config, slices.Concat([]string{"spec"}, path))
	if value == nil {
		return nil
	}
	next, err := by(value)
	if err != nil {
		return fmt.Errorf("spec %v: %w", path, err)
	}
	if reflect.DeepEqual(value, next) {
		return nil
	}
	return unstructured.SetNestedField(config, next, slices.Concat([]string{"spec"}, path)...)
}

// annotationsValid reports whether spec.annotations are valid; otherwise the operator ignores the audit config.
func annotationsValid(config *unstructured.Unstructured) bool {
	const longest = 256
	annotations, _, err := unstructured.NestedStringMap(config.Object, "spec", "annotations")
	if err != nil {
		return false
	}
	for key, value := range annotations {
		if key == "" || strings.Contains(key, "=") || value == "" || utf8.RuneCountInString(key) > longest || utf8.RuneCountInString(value) > longest {
			return false
		}
	}
	return true
}

// jsonObject reports whether Mondoo credentials are JSON, which they must be with a spaceId.
func jsonObject(data []byte) bool {
	var object map[string]any
	return json.Unmarshal(data, &object) == nil
}
