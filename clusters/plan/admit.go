package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// admitted is the fleet without what may not be applied.
type admitted struct {
	*facts
	told notes
	// clusters and secrets are the fleet's, in its order, with what is held back quarantined.
	clusters []fleet.Cluster
	secrets  []fleet.Secret
	// refused are the audit configs that stay as they are, with everything in them, and why.
	refused map[string]finding.Finding
	moves   moves
	// references are the Secrets that each of clusters names, by its index; none for clusters that are left out.
	references [][]compile.Reference
}

// admit holds back the audit configs and Secrets that may not be applied, and the clusters that need them, name what
// they may not name, or move without approval.
func admit(f *facts, approved map[inventory.Key]bool) *admitted {
	a := &admitted{facts: f, clusters: f.desired.Clusters, secrets: f.desired.Secrets, references: make([][]compile.Reference, len(f.desired.Clusters))}
	a.refused = f.refuseConfigs()
	secrets := map[string]bool{}
	for i := range a.secrets {
		s := &a.secrets[i]
		if !s.Quarantined && f.owners[s.AuditConfig] == "" && (a.overwritesMade(s) || a.refuseSecret(s)) {
			secrets[s.Name] = true
		}
	}
	a.moves = a.findMoves(approved)
	clusters := maps.Clone(a.moves.held)
	for i := range a.clusters {
		c := &a.clusters[i]
		if c.Quarantined || f.owners[c.AuditConfig] != "" { // it is left out already, with a finding
			continue
		}
		if a.refuseUndeclared(c) {
			clusters[idOf(c)] = true
			continue
		}
		a.references[i] = slices.Collect(compile.References(&c.Entry))
		if a.refuseReferences(c, a.references[i], secrets) {
			clusters[idOf(c)] = true
		}
	}
	if len(secrets)+len(clusters) > 0 {
		a.quarantine(secrets, clusters)
	}
	return a
}

// quarantine marks what is held back, in copies.
func (a *admitted) quarantine(secrets map[string]bool, clusters map[inventory.Cluster]bool) {
	a.secrets, a.clusters = slices.Clone(a.secrets), slices.Clone(a.clusters)
	for i := range a.clusters {
		c := &a.clusters[i]
		c.Quarantined = c.Quarantined || clusters[idOf(c)]
	}
	for i := range a.secrets {
		s := &a.secrets[i]
		s.Quarantined = s.Quarantined || secrets[s.Name] || s.Cluster != "" && clusters[madeFor(s)]
	}
}

// overwritesMade refuses a manifest that would overwrite a Secret made for a cluster.
func (a *admitted) overwritesMade(s *fleet.Secret) bool {
	if s.Cluster != "" || !a.made.has(s.Name) {
		return false
	}
	a.told.refuse(a.place(s.Origin, fieldName), CodeSecretOfOther, a.made.refusal(s.Name), "give the Secret another name")
	return true
}

// refuseSecret reports a Secret that can't be applied because of the live one, or because an AuditSync itself uses it.
func (a *admitted) refuseSecret(s *fleet.Secret) bool {
	live, exists := a.live.Secrets[s.Name]
	refuse := func(field []string, code finding.Code, message, fix string) bool {
		at := a.place(s.Origin, field)
		at.Cluster = s.Cluster
		a.told.refuse(at, code, message, fix)
		return true
	}
	switch owner := live.Labels[fleet.LabelSync]; {
	case a.live.Reserved[s.Name] != "":
		return refuse(fieldName, CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s and can't be changed from the repository", s.Name, a.live.Reserved[s.Name]), "give it another name")
	case !exists:
		return false
	case owner != "" && owner != a.desired.Sync && a.live.Syncs[owner]:
		return refuse(fieldName, CodeSecretOwned, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", s.Name, owner), "give it another name")
	case owner == "" && !a.applied(s.Name) && !a.adopts(live.Annotations[AdoptAnnotation]):
		return refuse(fieldName, CodeSecretForeign, fmt.Sprintf("the Secret %s exists and was not made by Muster", s.Name),
			"delete it, or annotate it with "+a.adoption()+" to let Muster take it over")
	case live.Type != "" && live.Type != s.Type:
		return refuse(fieldType, CodeSecretTypeChanged, fmt.Sprintf("the Secret %s has the type %s instead of %s; Kubernetes can't change the type", s.Name, live.Type, s.Type),
			"delete the Secret; Muster then recreates it")
	case a.empties(s, live):
		return refuse(fieldName, CodeSecretEmptied, fmt.Sprintf("the Secret %s has values, but its manifest no longer has any", s.Name),
			"add a value to the manifest, or delete the manifest to remove the Secret")
	case live.Immutable && a.contentChanges(s, live):
		return refuse(fieldImmutable, CodeImmutable, fmt.Sprintf("the Secret %s is immutable in the cluster and has different content; Kubernetes can't change it", s.Name),
			"give the Secret a new name, as kustomize's secretGenerator does automatically; or delete it, and Muster recreates it")
	case live.Immutable && !s.Immutable:
		at := a.place(s.Origin, fieldImmutable)
		at.Cluster = s.Cluster
		a.told.warn(at, CodeImmutable, fmt.Sprintf("the Secret %s stays immutable in the cluster, although the repository doesn't set immutable: Kubernetes can't undo it", s.Name),
			"set immutable: true, or delete the Secret; Muster then recreates it")
	}
	return false
}

// empties reports whether a changed manifest would delete the last value of a Secret. A manifest that never had values
// is fine: another controller may fill in the Secret.
func (f *facts) empties(s *fleet.Secret, live LiveSecret) bool {
	known := f.inventories[""].Secret(s.Name)
	return s.Cluster == "" && len(s.Data) == 0 && len(live.Data) > 0 && known != nil && known.Hash != s.Hash
}

// contentChanges reports whether a Secret needs different data. Keys that others have added are no difference, if
// Muster has applied the same content before.
func (f *facts) contentChanges(s *fleet.Secret, live LiveSecret) bool {
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return true
		}
	}
	known := f.inventories[""].Secret(s.Name)
	return len(live.Data) > len(s.Data) && (known == nil || known.Hash != s.Hash)
}

// refuseReferences reports whether a cluster names a refused Secret or one that it may not name, and adds findings for
// the latter. The operator sends a credential to the server in the entry, so an entry must not name the credentials of
// another cluster.
func (a *admitted) refuseReferences(c *fleet.Cluster, refs []compile.Reference, refused map[string]bool) bool {
	refusing := slices.ContainsFunc(c.Secrets, func(name string) bool { return refused[name] })
	for _, ref := range refs {
		refusing = refusing || refused[ref.Name]
		if code, message, fix := a.refuseReference(c, ref); code != "" {
			refusing = true
			a.told.refuse(a.placeOf(c, ref.Field), code, message, fix)
		}
	}
	return refusing
}

// refuseReference returns why a cluster may not name a Secret; an empty code if it may.
func (f *facts) refuseReference(c *fleet.Cluster, ref compile.Reference) (code finding.Code, message, fix string) {
	const ownCredentials = "give the cluster its own credentials"
	live, exists := f.live.Secrets[ref.Name]
	server := "" // for a Secret in the fleet, the fleet's opening has checked the key
	if exists && !f.made.manifests[ref.Name] {
		server = string(live.Data[mondoo.KeyServer])
	}
	if ref.Operator {
		if missing, add := f.missing(ref); missing != "" {
			return CodeSecretMissing, missing + "; the operator would stop at this cluster and skip those after it", add
		}
	}
	if f.made.has(ref.Name) && !slices.Contains(c.Secrets, ref.Name) {
		return CodeSecretOfOther, f.made.refusal(ref.Name), ownCredentials
	}
	// A token is sent to the server in the entry, a kubeconfig's credentials to its own server.
	owner := live.Labels[fleet.LabelSync]
	if slices.Contains(ref.Keys, mondoo.KeyToken) && owner != "" && f.desired.Sync != "" && owner != f.desired.Sync && f.live.Syncs[owner] {
		return CodeSecretOfOther, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", ref.Name, owner), ownCredentials
	}
	if message, fix := compile.TokenServer(&c.Entry, ref, server); message != "" {
		return compile.CodeTokenServer, message, fix
	}
	// A CA certificate is not secret, and may be shared.
	private := slices.ContainsFunc(ref.Keys, func(key string) bool { return key != mondoo.KeyCACert })
	if user := f.live.Reserved[ref.Name]; user != "" && private {
		return CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s and can't be given to a cluster", ref.Name, user), ownCredentials
	}
	return "", "", ""
}

// missing returns what is missing of a Secret that an entry names, live and in the plan.
func (f *facts) missing(ref compile.Reference) (message, fix string) {
	if !f.live.EverySecret || f.wanted(ref.Name) { // the keys of the fleet's Secrets were checked before
		return "", ""
	}
	live, exists := f.live.Secrets[ref.Name]
	if !exists {
		return fmt.Sprintf("the Secret %s does not exist in the namespace %s", ref.Name, f.desired.Namespace),
			"create it with the key " + strings.Join(ref.Keys, " and ") + ", or correct the name"
	}
	for _, key := range ref.Keys {
		if len(live.Data[key]) == 0 {
			return fmt.Sprintf("the Secret %s has no key %s", ref.Name, key), "add the key, or name another Secret"
		}
	}
	return "", ""
}

// missingSecrets reports named Secrets that don't exist. The operator doesn't report them: the scan's Pod just never
// starts.
func (a *admitted) missingSecrets() notes {
	var n notes
	for i := range a.clusters {
		c := &a.clusters[i]
		if c.Quarantined {
			continue
		}
		for _, ref := range a.references[i] {
			if missing, fix := a.missing(ref); missing != "" {
				n.warn(a.placeOf(c, ref.Field), CodeSecretMissing, missing+", so the scan can't start", fix)
			}
		}
	}
	return n
}
