package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// objectPlan is what happens to an audit config itself, if Muster applies it as a whole.
type objectPlan struct {
	notes
	object  map[string]any // without the list; nil if Muster owns only the list
	changed bool
	record  inventory.Item // its origin, commit, hash and corrections
}

// object compares an audit config that Muster applies as a whole field by field, without the fields that the operator
// fills in.
func (d *decided) object(desired fleet.AuditConfig, inFleet bool, live map[string]any, before *inventory.Inventory) objectPlan {
	var known inventory.Item
	if before != nil {
		known = inventory.Item{Origin: before.Origin, Commit: before.Commit, Hash: before.Hash, Corrected: before.Corrected}
	}
	switch {
	case desired.Object == nil && inFleet:
		return objectPlan{}
	case desired.Object == nil: // its removal is held
		return objectPlan{record: known}
	}
	object := ownFields(desired.Object)
	hash := compile.Hash(object)
	o := objectPlan{object: object, record: inventory.Item{Origin: desired.Origin.Path, Commit: d.commit(&known, hash), Hash: hash}}
	d.stamp(object, o.record)
	left := d.leaveOut(object, known.Corrected)
	paths := make([]string, len(left))
	for i, c := range left {
		paths[i] = c.Path
	}
	if len(left) > 0 {
		o.notKept = append(o.notKept, about(KindAuditConfig, "", desired.Name, paths))
		o.tellNotKept("the audit config "+desired.Name, d.placeIn(desired), paths)
	}
	d.compareObject(&o, desired, live, known)
	if len(left) > 0 {
		rest := slices.DeleteFunc(slices.Clone(o.record.Corrected), func(c inventory.Correction) bool { return slices.Contains(paths, c.Path) })
		o.record.Corrected = slices.Concat(rest, left)
		sortCorrections(o.record.Corrected)
	}
	return o
}

// compareObject plans the step for an audit config, and records corrections of its fields.
func (d *decided) compareObject(o *objectPlan, desired fleet.AuditConfig, live map[string]any, known inventory.Item) {
	same := known.Hash == o.record.Hash
	step := Step{Action: Add, Kind: KindAuditConfig, Name: desired.Name, Origin: desired.Origin.Path, Drift: same}
	if live == nil {
		if same {
			o.record.Corrected = known.Corrected
		}
		o.changed = true
		o.step(step)
		return
	}
	step.Action, step.Fields = Change, differences("", o.object, live)
	if len(step.Fields) == 0 && !same && d.policy.Revision != "" {
		return // it was applied at this commit, but the run ended before the inventory was written
	}
	waits := false
	if same {
		settled := d.policy.settle(KindAuditConfig, step.Fields, known.Corrected, false)
		step.Fields, o.record.Corrected = settled.wrong, settled.corrected
		waits = o.settled(&step, settled, d.policy)
		o.tellNotKept("the audit config "+desired.Name, d.placeIn(desired), settled.notKept)
	}
	switch {
	case len(step.Fields) == 0 && same:
		return
	case known.Hash == "":
		step.Reason = "takes over an audit config that was made by hand"
	case len(step.Fields) == 0:
		step.Reason = "fields were removed from its file" // applying without them removes them
	}
	o.step(step)
	o.changed = !waits && (!step.Drift || d.policy.CorrectDrift)
}

// placeIn returns the place of a field of an audit config's file.
func (f *facts) placeIn(desired fleet.AuditConfig) func(field []string) finding.Finding {
	return func(field []string) finding.Finding { return f.place(desired.Origin, field) }
}

// identity returns an audit config with only its identity, to apply the list with.
func (f *facts) identity(name string) map[string]any {
	return map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
		"metadata": map[string]any{"name": name, "namespace": f.desired.Namespace}}
}

// stamp sets the namespace, the label and the origin of an object that Muster applies as a whole.
func (f *facts) stamp(object map[string]any, item inventory.Item) {
	set(object, f.desired.Namespace, "metadata", "namespace")
	if f.desired.Sync != "" {
		set(object, f.desired.Sync, "metadata", "labels", fleet.LabelSync)
	}
	set(object, origin(item.Origin, item.Commit), "metadata", "annotations", fleet.AnnotationOrigin)
}

// set sets a field, and replaces whatever is in its way. unstructured.SetNestedField would refuse that.
func set(object map[string]any, value string, field ...string) {
	last := len(field) - 1
	for _, key := range field[:last] {
		below, ok := object[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			object[key] = below
		}
		object = below
	}
	object[field[last]] = value
}

// origin is the value of the origin annotation.
func origin(path, commit string) string {
	if commit == "" {
		return path
	}
	return path + "@" + commit
}

func versionOf(live map[string]any) Version {
	object := unstructured.Unstructured{Object: live}
	return Version{UID: string(object.GetUID()), ResourceVersion: object.GetResourceVersion()}
}

// serverFields are the metadata fields that the API server or controllers write. They get into Git with the
// output of kubectl get -o yaml.
var serverFields = []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation",
	"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"}

// lastApplied is the annotation that kubectl apply leaves.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ownFields copies an audit config without the fields that Git can't set (status, the server's metadata, null fields) and
// without the list of clusters, which is planned separately.
func ownFields(object map[string]any) map[string]any {
	out := copied(object)
	delete(out, "status")
	unstructured.RemoveNestedField(out, fieldList...)
	for _, field := range serverFields {
		unstructured.RemoveNestedField(out, "metadata", field)
	}
	unstructured.RemoveNestedField(out, "metadata", "annotations", lastApplied)
	return out
}

// copied is a deep copy without null fields. Unlike runtime.DeepCopyJSON, it takes all the numbers of YAML.
func copied(object map[string]any) map[string]any { return copiedValue(object).(map[string]any) }

func copiedValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			if item != nil {
				out[key] = copiedValue(item)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copiedValue(item)
		}
		return out
	default:
		return v
	}
}
