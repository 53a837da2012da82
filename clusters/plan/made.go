package plan

import (
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// madeSecrets are the Secrets that Muster makes from the credentials in cluster files, by name, with the cluster of
// each. Nothing in a repository may name one, not even its own cluster's file, nor when the cluster is held,
// quarantined or gone: the credentials may only be used where they were encrypted for. They are known from the
// inventories of all AuditSyncs, including deleted ones, and from the annotation on the Secret.
type madeSecrets struct {
	by map[string]inventory.Cluster
	// manifests are the Secrets of the fleet that come from manifests.
	manifests map[string]bool
}

func madeSecretsOf(desired *fleet.Opened, live Live) madeSecrets {
	m := madeSecrets{by: make(map[string]inventory.Cluster, len(desired.Secrets)), manifests: map[string]bool{}}
	for i := range desired.Secrets {
		if s := &desired.Secrets[i]; s.Cluster != "" {
			m.by[s.Name] = madeFor(s)
		} else {
			m.manifests[s.Name] = true
		}
	}
	for _, inv := range live.Inventories {
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				m.by[name] = inventory.Cluster{AuditConfig: inv.AuditConfig, Name: item.Name}
			}
		}
		for _, item := range inv.Secrets {
			// Inventories older than MadeFor record the Secret of a deleted cluster without a hash, like a manifest
			// that was about to be applied for the first time.
			if item.MadeFor != (inventory.Cluster{}) || item.Hash == "" && !m.manifests[item.Name] {
				m.by[item.Name] = item.MadeFor
			}
		}
	}
	for name, secret := range live.Secrets {
		if by := secret.Annotations[fleet.AnnotationMadeFor]; by != "" && m.by[name] == (inventory.Cluster{}) {
			m.by[name] = inventory.ParseCluster(by)
		}
	}
	return m
}

// madeFor identifies the cluster that a Secret of the fleet is made for.
func madeFor(s *fleet.Secret) inventory.Cluster {
	return inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Cluster}
}

// has reports whether a Secret was made for a cluster.
func (m madeSecrets) has(secret string) bool {
	_, made := m.by[secret]
	return made
}

// refusal is the message for something that names a Secret made for a cluster.
func (m madeSecrets) refusal(secret string) string {
	by := "a deleted cluster"
	if name := m.by[secret].Name; name != "" {
		by = "the cluster " + name
	}
	return "the Secret " + secret + " contains the credentials from the file of " + by + ", which only that cluster may use"
}

// find returns the first string below a value that is the name of a Secret made for a cluster, and its field.
func (m madeSecrets) find(v any, field []string) (at []string, name string) {
	switch v := v.(type) {
	case string:
		if m.has(v) {
			return field, v
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at, name := m.find(v[key], append(slices.Clone(field), key)); name != "" {
				return at, name
			}
		}
	case []any:
		for _, item := range v {
			if at, name := m.find(item, field); name != "" {
				return at, name
			}
		}
	}
	return nil, ""
}

// namesMade returns an error if an audit config names a Secret made for a cluster, in any field.
func (f *facts) namesMade(desired fleet.AuditConfig) *finding.Finding {
	field, name := f.made.find(desired.Object["spec"], []string{"spec"})
	if name == "" {
		return nil
	}
	at := f.place(desired.Origin, field)
	at.Code, at.Severity, at.Message, at.Fix = CodeSecretOfOther, finding.Error, f.made.refusal(name), "name a Secret that was made for the audit config"
	return &at
}
