package mondoo

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

const (
	resourcesPath = "spec.kubernetesResources"
	listPath      = resourcesPath + ".externalClusters"
)

// Entries returns the list of external clusters in an audit config, not copied; nil if there is none. The error is a
// [*ShapeError].
func Entries(auditConfig map[string]any) ([]map[string]any, error) {
	resources, err := kubernetesResources(auditConfig, false)
	if err != nil {
		return nil, err
	}
	value := resources["externalClusters"]
	if value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, &ShapeError{Path: listPath, Want: "a list"}
	}
	entries := make([]map[string]any, len(list))
	for i, item := range list {
		if entries[i], ok = item.(map[string]any); !ok {
			return nil, &ShapeError{Path: listPath, Want: "a list of mappings"}
		}
	}
	return entries, nil
}

// SetEntries sets the list of external clusters of an audit config, and adds missing mappings around it. Without
// entries, it writes an empty list, so that server-side apply takes over the field and empties it. The entries are not
// copied. The error is a [*ShapeError], and the object is then unchanged.
func SetEntries(auditConfig map[string]any, entries []map[string]any) error {
	resources, err := kubernetesResources(auditConfig, true)
	if err != nil {
		return err
	}
	list := make([]any, len(entries))
	for i, entry := range entries {
		list[i] = entry
	}
	resources["externalClusters"] = list
	return nil
}

// kubernetesResources returns spec.kubernetesResources. If it is missing, it is created on request, or else nil.
func kubernetesResources(auditConfig map[string]any, create bool) (map[string]any, error) {
	spec, err := mapping(auditConfig, "spec", "spec")
	if err != nil {
		return nil, err
	}
	resources, err := mapping(spec, "kubernetesResources", resourcesPath)
	if err != nil || !create || resources != nil {
		return resources, err
	}
	if spec == nil {
		spec = map[string]any{}
		auditConfig["spec"] = spec
	}
	resources = map[string]any{}
	spec["kubernetesResources"] = resources
	return resources, nil
}

// mapping reads a field that must be a mapping, missing or null.
func mapping(obj map[string]any, name, path string) (map[string]any, error) {
	value := obj[name]
	if value == nil {
		return nil, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, &ShapeError{Path: path, Want: "a mapping"}
	}
	return m, nil
}

// NeedsSchedule reports whether an entry without a schedule would have none at all in this audit config. The operator's
// default only applies with kubernetesResources.enable: true. Without a schedule, the API server refuses the CronJob,
// and the operator creates none for any later cluster.
func NeedsSchedule(auditConfig map[string]any) bool {
	resources, err := kubernetesResources(auditConfig, false)
	if err != nil {
		return true
	}
	schedule, _, err := unstructured.NestedString(resources, "schedule")
	if err != nil {
		return true
	}
	enabled, _, err := unstructured.NestedBool(resources, "enable")
	return schedule == "" && (!enabled || err != nil)
}
