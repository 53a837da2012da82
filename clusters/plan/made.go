package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// made are the Secrets that Muster made, or is about to make, from the credentials in cluster files: for which cluster each. Nothing
// in a repository may name one, whatever its cluster, also when that is held, quarantined or gone: the credentials go where they were
// encrypted for. The inventories of all AuditSyncs tell, of those too that exist no more, and so does the object itself.
type made map[string]holder

// holder is a cluster of an audit config.
type holder struct{ auditConfig, cluster string }

func (o holder) String() string { return o.auditConfig + "/" + o.cluster }

func holderOf(text string) holder {
	auditConfig, cluster, _ := strings.Cut(text, "/")
	return holder{auditConfig, cluster}
}

// findMade gathers the Secrets that Muster made, and the names of manifests.
func (p *planner) findMade() {
	p.made, p.manifests = make(made, len(p.fleet.Secrets)), map[string]bool{}
	for i := range p.fleet.Secrets {
		if s := &p.fleet.Secrets[i]; s.Cluster != "" {
			p.made[s.Name] = holder{s.AuditConfig, s.Cluster}
		} else {
			p.manifests[s.Name] = true
		}
	}
	for _, inv := range p.live.Inventories {
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				p.made[name] = holder{inv.AuditConfig, item.Name}
			}
		}
		for _, item := range inv.Secrets {
			// Inventories from before MadeFor have what is left of a cluster without a hash, as they have a manifest that was about to be
			// applied for the first time.
			if item.MadeFor != "" || item.Hash == "" && !p.manifests[item.Name] {
				p.made[item.Name] = holderOf(item.MadeFor)
			}
		}
	}
	for name, live := range p.live.Secrets {
		if by := live.Annotations[fleet.AnnotationMadeFor]; by != "" && p.made[name] == (holder{}) {
			p.made[name] = holderOf(by)
		}
	}
}

// madeFor says whom a Secret was made for.
func (p *planner) madeFor(secret string) (text string, isMade bool) {
	by, isMade := p.made[secret]
	if by.cluster == "" {
		return "a cluster that is gone", isMade
	}
	return "the cluster " + by.cluster, isMade
}

// namesMade refuses an audit config that names a Secret which was made for a cluster, in whatever field.
func (p *planner) namesMade(desired fleet.AuditConfig) bool {
	field, name := p.findName(desired.Object["spec"], []string{"spec"})
	if name == "" {
		return false
	}
	by, _ := p.madeFor(name)
	p.refuse(p.place(desired.Origin, field), CodeSecretOfOther, madeMessage(name, by), "name a Secret that somebody made for this")
	return true
}

func madeMessage(secret, by string) string {
	return "the Secret " + secret + " holds what the file of " + by + " has, which is for that cluster alone"
}

// findName is the first string below a value that is the name of a Secret which was made for a cluster.
func (p *planner) findName(v any, field []string) (at []string, name string) {
	switch v := v.(type) {
	case string:
		if _, isMade := p.made[v]; isMade {
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

// refuseOverMade refuses a manifest that would overwrite a Secret which was made for a cluster.
func (p *planner) refuseOverMade(s fleet.Secret) bool {
	by, isMade := p.madeFor(s.Name)
	if s.Cluster != "" || !isMade {
		return false
	}
	at := p.place(s.Origin, fieldName)
	at.Code, at.Severity, at.Message, at.Fix = CodeSecretOfOther, finding.Error, madeMessage(s.Name, by), "give the Secret another name"
	p.plan.Add(at)
	return true
}

// ReasonReplaced is why a Secret goes whose cluster stays: it has others now, as for another server, or needs none.
const ReasonReplaced = "its cluster no longer needs it"

// replaced is the reason for the removal of a Secret, where it was made for a cluster that stays.
func (p *planner) replaced(secret string) string {
	by := p.made[secret]
	if next := p.next[by.auditConfig]; next != nil && slices.ContainsFunc(next.Clusters, func(item Item) bool { return item.Name == by.cluster }) {
		return ReasonReplaced
	}
	return ""
}
