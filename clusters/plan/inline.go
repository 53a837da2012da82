package plan

import (
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// inlineSecrets are the Secrets that Muster makes from the credentials in cluster files, by name, with the cluster of
// each. Nothing in a repository may name one, not even its own cluster's file, nor when the cluster is held,
// quarantined or gone: the credentials may only be used where they were encrypted for. They are known from the
// inventories of all AuditSyncs, including deleted ones, and from the annotation on the Secret.
type inlineSecrets map[string]inventory.Cluster

// findInline collects the Secrets that Muster makes, and the names of Secret manifests.
func (p *planner) findInline() {
	p.inline, p.manifests = make(inlineSecrets, len(p.fleet.Secrets)), map[string]bool{}
	for i := range p.fleet.Secrets {
		if s := &p.fleet.Secrets[i]; s.Cluster != "" {
			p.inline[s.Name] = inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Cluster}
		} else {
			p.manifests[s.Name] = true
		}
	}
	for _, inv := range p.live.Inventories {
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				p.inline[name] = inventory.Cluster{AuditConfig: inv.AuditConfig, Name: item.Name}
			}
		}
		for _, item := range inv.Secrets {
			// Inventories older than MadeFor record the Secret of a deleted cluster without a hash, like a manifest
			// that was about to be applied for the first time.
			if item.MadeFor != (inventory.Cluster{}) || item.Hash == "" && !p.manifests[item.Name] {
				p.inline[item.Name] = item.MadeFor
			}
		}
	}
	for name, live := range p.live.Secrets {
		if by := live.Annotations[fleet.AnnotationMadeFor]; by != "" && p.inline[name] == (inventory.Cluster{}) {
			p.inline[name] = inventory.ParseCluster(by)
		}
	}
}

// inlineOwner describes the cluster that a Secret was made for.
func (p *planner) inlineOwner(secret string) (text string, isInline bool) {
	by, isInline := p.inline[secret]
	if by.Name == "" {
		return "a deleted cluster", isInline
	}
	return "the cluster " + by.Name, isInline
}

// namesInline refuses an audit config that names a Secret made for a cluster, in any field.
func (p *planner) namesInline(desired fleet.AuditConfig) bool {
	field, name := p.findName(desired.Object["spec"], []string{"spec"})
	if name == "" {
		return false
	}
	by, _ := p.inlineOwner(name)
	p.refuse(p.place(desired.Origin, field), CodeSecretOfOther, inlineMessage(name, by), "name a Secret that was made for the audit config")
	return true
}

func inlineMessage(secret, by string) string {
	return "the Secret " + secret + " contains the credentials from the file of " + by + ", which only that cluster may use"
}

// findName returns the first string below a value that is the name of a Secret made for a cluster.
func (p *planner) findName(v any, field []string) (at []string, name string) {
	switch v := v.(type) {
	case string:
		if _, isInline := p.inline[v]; isInline {
			return field, v
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at, name := p.findName(v[key], append(slices.Clone(field), key)); name != "" {
				return at, name
			}
		}
	case []any:
		for _, item := range v {
			if at, name := p.findName(item, field); name != "" {
				return at, name
			}
		}
	}
	return nil, ""
}

// refuseOverInline refuses a manifest that would overwrite a Secret made for a cluster.
func (p *planner) refuseOverInline(s fleet.Secret) bool {
	by, isInline := p.inlineOwner(s.Name)
	if s.Cluster != "" || !isInline {
		return false
	}
	at := p.place(s.Origin, fieldName)
	at.Code, at.Severity, at.Message, at.Fix = CodeSecretOfOther, finding.Error, inlineMessage(s.Name, by), "give the Secret another name"
	p.plan.Add(at)
	return true
}

// ReasonReplaced is why a Secret is removed although its cluster stays: the cluster has another one now, such as one
// for another server, or needs none.
const ReasonReplaced = "its cluster no longer needs it"

// replaced returns the reason for removing a Secret if it was made for a cluster that stays.
func (p *planner) replaced(secret string) string {
	by := p.inline[secret]
	if next := p.next[by.AuditConfig]; next != nil && slices.ContainsFunc(next.Clusters, func(item inventory.Item) bool { return item.Name == by.Name }) {
		return ReasonReplaced
	}
	return ""
}
