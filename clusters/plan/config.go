package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// MaxObject is the largest audit config that Muster writes, in bytes. etcd refuses requests over 1.5 MiB, and the
// operator needs room for its own fields.
const MaxObject = 1 << 20

// configPlan is what happens to one audit config and its list.
type configPlan struct {
	notes
	name    string
	next    *inventory.Inventory // what to record; nil if everything stays as it is recorded
	write   *ConfigWrite         // nil if there is nothing to write
	remove  *Deletion            // nil if it stays
	keeps   []string             // the Secrets of clusters that stay as they were applied
	foreign []string             // the entries that come from no file and are kept
	reads   []string             // the Secrets that the operator itself reads for it
	// What keeps it as it is: an error, that it is missing in the cluster, or that it can't hold all its clusters.
	refused, missing, full bool
}

// planConfig plans one audit config and its list.
func (d *decided) planConfig(name string) configPlan {
	c := configPlan{name: name}
	desired, inFleet := d.desiredConfig(name)
	live, before := d.live.AuditConfigs[name], d.inventories[name]
	if refusal, refused := d.refused[name]; refused {
		c.refused = true
		c.add(refusal)
		return c
	}
	if refusal := d.namesMade(desired); refusal != nil {
		c.add(*refusal)
		return c
	}
	gone := &inventory.Inventory{Sync: d.desired.Sync, AuditConfig: name}
	switch {
	case live == nil && desired.Object == nil && inFleet: // clusters in Git wait for it
		c.missing = true
		c.refuse(finding.Finding{Stops: true}, CodeConfigMissing, fmt.Sprintf("there is no MondooAuditConfig %s in the namespace %s", name, d.desired.Namespace),
			"install it (with Helm or from Mondoo's console), or put it into the repository")
		return c
	case live == nil && desired.Object == nil: // the recorded entries are gone together with it
		c.next = gone
		return c
	case !inFleet && d.hasWhole(name):
		if d.removeConfig(&c, before, live) {
			c.next = gone
			return c
		}
	}
	d.changeConfig(&c, desired, inFleet, live, before)
	return c
}

// changeConfig plans the changes of an audit config that stays.
func (d *decided) changeConfig(c *configPlan, desired fleet.AuditConfig, inFleet bool, live map[string]any, before *inventory.Inventory) {
	steps := c.steps
	list := d.list(c.name, live, before)
	whole := d.object(desired, inFleet, live, before)
	c.join(list.notes)
	c.join(whole.notes)
	c.keeps, c.foreign = list.keeps, list.foreign
	config := whole.object
	if config == nil {
		config = live
	}
	d.credentials(&c.notes, desired, config)
	reads, wake := d.operatorReads(config, list.entries, before)
	c.reads = reads.names
	next := &inventory.Inventory{Sync: d.desired.Sync, AuditConfig: c.name, Origin: whole.record.Origin, Commit: whole.record.Commit, Hash: whole.record.Hash,
		Corrected: whole.record.Corrected, Clusters: list.record, Reads: reads.versions}
	changed := list.changed || whole.changed
	if !changed && !wake {
		c.next = next
		return
	}
	object := d.identity(c.name)
	if whole.changed {
		object = whole.object
	}
	if !changed { // any write wakes the operator
		c.step(Step{Action: Change, Kind: KindAuditConfig, Name: c.name, Origin: next.Origin, Reason: "a Secret that the operator reads has changed, and the operator must read it again"})
		set(object, next.Reads, "metadata", "annotations", fleet.AnnotationReads)
	}
	size, fits := d.setList(c, desired, object, list.entries)
	if !fits {
		c.steps, c.full = steps, true
		return
	}
	c.next = next
	c.write = &ConfigWrite{Name: c.name, Object: object, ListOnly: !whole.changed, Version: versionOf(live), Size: size,
		before: live, secrets: d.secretsIn(c.name), leaving: d.leavingOf(c.name)}
}

// setList puts the list into an audit config. It returns the size in bytes, and reports whether the audit config can hold
// the list.
func (d *decided) setList(c *configPlan, desired fleet.AuditConfig, object map[string]any, list []map[string]any) (size int, fits bool) {
	slices.SortFunc(list, inOrder)
	refuse := func(field []string, code finding.Code, message, fix string) (int, bool) {
		at := d.place(desired.Origin, field)
		at.Stops = true
		c.refuse(at, code, message, fix)
		return 0, false
	}
	if err := mondoo.SetEntries(object, list); err != nil {
		return refuse(fieldList[:2], CodeConfigMissing, fmt.Sprintf("the audit config %s can't hold a list of clusters: spec.kubernetesResources is not an object", c.name), "")
	}
	if size = jsonSize(object); size > MaxObject {
		return refuse(fieldName, CodeTooLarge, fmt.Sprintf("the audit config %s would be %d KiB; the limit is %d KiB", c.name, size>>10, MaxObject>>10),
			"spread the clusters over several audit configs, with spec.auditConfig in the cluster files")
	}
	return size, true
}

func jsonSize(object map[string]any) int {
	data, err := json.Marshal(object)
	if err != nil {
		return 0
	}
	return len(data)
}

// leavingOf returns the clusters that this plan moves out of an audit config, with their targets.
func (d *decided) leavingOf(auditConfig string) map[string]string {
	leaving := map[string]string{}
	if before := d.inventories[auditConfig]; before != nil {
		for i := range before.Clusters {
			name := before.Clusters[i].Name
			if r := d.removals.of[inventory.ClusterKey(inventory.Cluster{AuditConfig: auditConfig, Name: name})]; r.target != "" && r.stays == "" {
				leaving[name] = r.target
			}
		}
	}
	return leaving
}

// secretsIn returns the Secrets that are applied for the clusters of an audit config, with their clusters.
func (a *admitted) secretsIn(auditConfig string) map[string]string {
	secrets := map[string]string{}
	for i := range a.secrets {
		if s := &a.secrets[i]; s.Cluster != "" && s.AuditConfig == auditConfig {
			secrets[s.Name] = s.Cluster
		}
	}
	return secrets
}

// removeConfig plans the removal of an audit config that Muster applied as a whole and that is no longer in Git, and
// reports whether it is removed. Removing it ends every scan of its clusters, so it always needs approval.
func (d *decided) removeConfig(c *configPlan, before *inventory.Inventory, live map[string]any) bool {
	foreign := d.foreignIn(c.name, live)
	step := Step{Action: Remove, Kind: KindAuditConfig, Name: c.name, Origin: before.Origin}
	switch {
	case !d.policy.Prune:
		step.Reason = reasonPrune
	case !d.approved[inventory.AuditConfigKey(c.name)] || d.hasUnapprovedForeign(c.name, foreign, live):
		step.Reason = reasonOwner
	case slices.ContainsFunc(before.Clusters, func(item inventory.Item) bool {
		return !d.removed(inventory.Cluster{AuditConfig: c.name, Name: item.Name})
	}):
		step.Reason = reasonKeeps
	}
	if step.Reason != "" {
		step.Action = Hold
	}
	c.step(step)
	switch {
	case step.Action == Remove:
		c.remove = &Deletion{Name: c.name, Version: versionOf(live)}
	case !step.Reason.waits() || d.policy.Foreign == RemoveForeign: // the list has the entries that would be removed anyway
		return false
	}
	for _, name := range foreign {
		c.step(Step{Action: step.Action, Kind: KindCluster, Name: name, AuditConfig: c.name, Reason: reasonAlong})
	}
	return step.Action == Remove
}

// foreignIn returns the entries of an audit config that Muster did not write, sorted.
func (f *facts) foreignIn(auditConfig string, live map[string]any) []string {
	entries, err := mondoo.Entries(live)
	if err != nil {
		return nil // the live value is not a list
	}
	var names []string
	for _, entry := range entries {
		if name := mondoo.TextAt(entry, "name"); f.items[inventory.Cluster{AuditConfig: auditConfig, Name: name}] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hasUnapprovedForeign reports whether an audit config with an approved removal has foreign entries that were not part
// of the approval and that may not be removed without one.
func (d *decided) hasUnapprovedForeign(auditConfig string, foreign []string, live map[string]any) bool {
	added := 0
	for _, name := range foreign {
		if !d.approvedEntry(auditConfig, name) {
			added++
		}
	}
	if d.policy.Foreign != RemoveForeign {
		return added > 0
	}
	entries, _ := mondoo.Entries(live) // foreignIn has checked for errors
	return d.foreignStay(added, len(entries)) != ""
}
