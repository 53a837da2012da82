package compile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// manifestEntry compiles an entry in an audit config of the repository. It is checked like a cluster file: a single
// entry that the operator can't use stops the operator for all.
func (c *compiler) manifestEntry(r kustomize.Resource, config string, index int, item map[string]any) {
	spec := maps.Clone(item)
	meta := map[string]any{}
	if given, has := spec["name"]; has {
		meta["name"] = given
	}
	delete(spec, "name")
	file, problems := v1alpha1.Decode(map[string]any{"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind,
		"metadata": meta, "spec": spec}, c.tree.Sealed)
	name := file.Metadata.Name
	problems = append(problems, file.Validate(c.tree.Sealed)...)
	problems = append(problems, file.PlainCredentials(c.tree.Sealed)...)
	problems = append(problems, c.notAllowed(file, problems)...)
	at := []string{"spec", "kubernetesResources", "externalClusters", fmt.Sprintf("[%d]", index)}
	record := fleet.Cluster{Name: name, AuditConfig: config, Origin: fleet.Origin{Path: r.Path, Document: r.Document}, Schedule: file.Spec.Schedule}
	for _, f := range Findings(problems, name, func(field []string) finding.Finding {
		if len(field) > 1 {
			field = append(slices.Clip(at), field[1:]...)
		}
		return c.place(r, field)
	}) {
		if record.Quarantined = record.Quarantined || f.Severity == finding.Error; f.Severity == finding.Error {
			c.fleet.Reject(f)
			continue
		}
		c.fleet.Add(f)
	}
	refuseInlineNames(item, at, func(field []string, code finding.Code, message, fix string) {
		record.Quarantined = true
		c.reject(r, name, field, code, message, fix)
	})
	if inline, _ := c.inlineSecrets(file, record, mondoo.UnknownHash); len(inline) > 0 && !record.Quarantined {
		f := c.place(r, at)
		f.Code, f.Cluster, f.Message = CodeAuditConfig, name, "an entry of an audit config can't contain credentials or certificates"
		f.Fix = "move the entry to a cluster file, or reference a Secret"
		c.fleet.Reject(f)
		record.Quarantined = true
	}
	if !record.Quarantined {
		record.Entry = Entry(file, config, mondoo.UnknownHash, mondoo.NeedsSchedule(r.Object))
		record.Hash = hashOf(record.Entry.Canonical(), nil)
	}
	c.fleet.Clusters = append(c.fleet.Clusters, record)
}
