package review

import (
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// joinCredentials makes the changes of Secrets with a known cluster part of the cluster's change.
func (c *comparison) joinCredentials(changes []Change) []Change {
	list, at := []Change{}, map[key]int{}
	for _, change := range changes {
		if change.Kind == plan.KindCluster {
			at[key{change.Kind, change.AuditConfig, change.Name}] = len(list)
			list = append(list, change)
		}
	}
	for _, change := range changes {
		if change.Kind == plan.KindCluster {
			continue
		}
		owner := c.ownerOf(change)
		if owner == nil {
			list = append(list, change)
			continue
		}
		k := key{plan.KindCluster, owner.AuditConfig, owner.Cluster}
		i, known := at[k]
		if !known {
			i = len(list)
			at[k] = i
			list = append(list, Change{Action: plan.Change, Kind: plan.KindCluster, Name: owner.Cluster, AuditConfig: owner.AuditConfig, Path: owner.Origin.Path})
		}
		list[i].Credentials = append(list[i].Credentials, c.credential(change))
	}
	for i := range list {
		list[i].Credentials = replaced(list[i].Credentials)
	}
	return list
}

// ownerOf returns the Secret that a change is about if it was made for a cluster.
func (c *comparison) ownerOf(change Change) *fleet.Secret {
	if change.Kind != plan.KindSecret {
		return nil
	}
	for _, secret := range []*fleet.Secret{c.secretsNow[change.Name], c.secrets[change.Name]} {
		if secret != nil && secret.Cluster != "" {
			return secret
		}
	}
	return nil
}

func (c *comparison) credential(change Change) Credential {
	credential := Credential{Action: change.Action, Secret: change.Name, Content: mondoo.SecretContent(change.Name)}
	for _, f := range change.Fields {
		if name, isData := strings.CutPrefix(f.Path, "data."); isData {
			credential.Keys = append(credential.Keys, name)
		}
	}
	if before := c.secrets[change.Name]; before != nil {
		credential.Expired = before.Expires.UTC()
		if credential.Content == "" {
			credential.Content = before.Type
		}
	}
	if now := c.secretsNow[change.Name]; now != nil {
		credential.Expires = now.Expires.UTC()
		if credential.Content == "" {
			credential.Content = now.Type
		}
	}
	return credential
}

// replaced joins a Secret that comes and one that goes with the same content: the name of a Secret contains a hash of
// where its credentials may be sent, so a credential for another destination has another name.
func replaced(credentials []Credential) []Credential {
	var list []Credential
	for _, c := range credentials {
		at := slices.IndexFunc(list, func(other Credential) bool {
			return other.Content == c.Content && (other.Action == plan.Add && c.Action == plan.Remove || other.Action == plan.Remove && c.Action == plan.Add)
		})
		if at < 0 {
			list = append(list, c)
			continue
		}
		comes, goes := list[at], c
		if c.Action == plan.Add {
			comes, goes = c, list[at]
		}
		comes.Action, comes.Elsewhere, comes.Expired = plan.Change, true, goes.Expired
		list[at] = comes
	}
	return list
}

// moved joins the Secrets of a cluster that moves to another audit config: the name of a Secret contains its audit
// config, so all of them come and go. What has no counterpart comes or goes with the move.
func moved(come, goes []Credential) []Credential {
	list := slices.Clone(come)
	for _, c := range goes {
		at := slices.IndexFunc(list, func(other Credential) bool {
			return other.Action == plan.Add && c.Action == plan.Remove && other.Content == c.Content
		})
		if at < 0 {
			list = append(list, c)
			continue
		}
		list[at].Action, list[at].Expired = plan.Move, c.Expired
	}
	return list
}
