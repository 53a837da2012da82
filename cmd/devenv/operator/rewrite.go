package operator

import (
	"fmt"
	"hash/fnv"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Finalizer keeps an audit config until its CronJobs are deleted.
const Finalizer = "k8s.mondoo.com/delete"

// rewrite changes an audit config as the operator's typed structs do when it writes one back, and adds its finalizer and
// default schedules. It reports whether anything has changed.
func rewrite(config *unstructured.Unstructured) bool {
	before := config.DeepCopy()
	controllerutil.AddFinalizer(config, Finalizer)
	spec := structIn(config.Object, "spec")
	structIn(structIn(spec, "filtering"), "namespaces")
	for _, name := range []string{"scanner", "consoleIntegration"} {
		structIn(spec, name)
	}
	for _, name := range []string{"nodes", "containers"} {
		fillSchedule(structIn(spec, name), config, name)
	}
	if resources := structIn(spec, "kubernetesResources"); resources["enable"] == true {
		fillSchedule(resources, config, "kubernetesResources")
	}
	canonicalize(config.Object) // can't fail, because nothing is undecodable
	if list, err := mondoo.Entries(config.Object); err == nil && list != nil {
		rewriteEntries(config, list)
	}
	return !reflect.DeepEqual(before.Object, config.Object)
}

// rewriteEntries drops fields that the operator doesn't know, and adds those that its structs always write.
func rewriteEntries(config *unstructured.Unstructured, list []map[string]any) {
	for i, raw := range list {
		if entry, err := mondoo.ParseEntry(raw); err == nil {
			list[i] = entry.Map()
		}
	}
	if err := mondoo.SetEntries(config.Object, list); err != nil {
		panic(err) // Entries has validated the shape
	}
}

// structIn is a field that is a mapping. The API server has validated its type.
func structIn(parent map[string]any, name string) map[string]any {
	if child, ok := parent[name].(map[string]any); ok {
		return child
	}
	child := map[string]any{}
	parent[name] = child
	return child
}

// fillSchedule sets a schedule of every hour, at a stable minute.
func fillSchedule(of map[string]any, config *unstructured.Unstructured, what string) {
	if schedule, _ := of["schedule"].(string); schedule != "" {
		return
	}
	h := fnv.New32a()
	fmt.Fprint(h, config.GetUID(), what)
	of["schedule"] = fmt.Sprintf("%d * * * *", h.Sum32()%60)
}
