package plan

import (
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Fresh returns an empty management cluster. Audit configs that aren't in Git are assumed to be installed and empty. Reserved
// is as in Live.
func Fresh(desired *fleet.Opened, reserved map[string]string) Live {
	live := Live{AuditConfigs: map[string]map[string]any{}, Reserved: reserved}
	for _, c := range desired.AuditConfigs {
		if c.Object == nil {
			live.AuditConfigs[c.Name] = map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
				"metadata": map[string]any{"name": c.Name, "namespace": desired.Namespace}}
		}
	}
	return live
}

// Outcome returns the live state after a plan has been carried out completely, without changes by anything else. It shares
// memory with its arguments and changes neither. It is for plans of what doesn't exist: a repository without a management
// cluster, or a commit that hasn't been applied yet.
func Outcome(live Live, p *Plan) Live {
	live.AuditConfigs, live.Secrets = withMap(live.AuditConfigs), withMap(live.Secrets)
	live.Inventories = slices.Clone(live.Inventories)
	for _, i := range slices.Concat(p.Before, p.After) {
		live.Inventories = slices.DeleteFunc(live.Inventories, func(j *inventory.Inventory) bool { return j.Sync == i.Sync && j.AuditConfig == i.AuditConfig })
		if !i.Empty() {
			applied := *i
			applied.Version = planned
			live.Inventories = append(live.Inventories, &applied)
		}
	}
	for _, s := range p.Secrets {
		before := live.Secrets[s.Name]
		live.Secrets[s.Name] = LiveSecret{Version: planned, Type: s.Type, Immutable: s.Immutable, Data: bytesOf(s.Data),
			Labels: with(before.Labels, s.Labels), Annotations: with(before.Annotations, s.Annotations)}
	}
	for _, c := range p.Configs {
		live.AuditConfigs[c.Name] = c.outcome(live.AuditConfigs[c.Name])
	}
	for _, gone := range p.Delete.Secrets {
		delete(live.Secrets, gone.Name)
	}
	for _, gone := range p.Delete.AuditConfigs {
		delete(live.AuditConfigs, gone.Name)
	}
	return live
}

// planned is the version of objects that only a plan has written.
var planned = Version{UID: "planned", ResourceVersion: "planned"}

// outcome returns the audit config after the write.
func (c ConfigWrite) outcome(live map[string]any) map[string]any {
	object := copied(c.Object)
	if c.ListOnly && live != nil {
		entries, err := mondoo.Entries(c.Object)
		object = copied(live)
		if err == nil {
			err = mondoo.SetEntries(object, entries)
		}
		if err != nil {
			return live // planning has refused such an audit config
		}
	}
	set(object, planned.UID, "metadata", "uid")
	set(object, planned.ResourceVersion, "metadata", "resourceVersion")
	return object
}

func withMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// with returns the entries of both maps, those of b first.
func with(a, b map[string]string) map[string]string {
	out := withMap(a)
	maps.Copy(out, b)
	return out
}

func bytesOf(data map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(data))
	for key, value := range data {
		out[key] = []byte(value)
	}
	return out
}
