package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// secrets plans the Secrets of the fleet, and those that are no longer needed.
func (p *planner) secrets() {
	alone := &Inventory{Sync: p.fleet.Sync}
	wanted := map[string]bool{}
	for _, s := range p.fleet.Secrets {
		wanted[s.Name] = true
		known := p.inventories[""].secret(s.Name)
		switch {
		case s.Quarantined:
			p.keepSecrets[s.Name] = true
			if s.Cluster == "" && known != nil {
				alone.Secrets = append(alone.Secrets, *known)
			}
		case s.Cluster == "":
			alone.Secrets = append(alone.Secrets, Item{Name: s.Name, Origin: s.Origin.Path, Commit: p.commit(known, s.Hash), Hash: s.Hash})
			p.secret(s, known)
		case p.next[s.AuditConfig] != nil:
			p.secret(s, p.itemOf(s))
		}
	}
	p.unneeded(wanted, alone)
	p.next[""] = alone
}

// itemOf is what the inventory says about the cluster that a Secret belongs to.
func (p *planner) itemOf(s fleet.Secret) *Item {
	item := p.inventories[s.AuditConfig].cluster(s.Cluster)
	for _, c := range p.named[s.Cluster] {
		// The Secret's hash isn't remembered by itself: it is unchanged when the cluster is.
		if item != nil && c.AuditConfig == s.AuditConfig && c.Hash == item.Hash {
			return &Item{Hash: s.Hash, Commit: item.Commit}
		}
	}
	return nil
}

// secret plans one Secret.
func (p *planner) secret(s fleet.Secret, known *Item) {
	write := p.secretWrite(s, known)
	live, exists := p.live.Secrets[s.Name]
	same := known != nil && known.Hash == s.Hash
	step := Step{Kind: KindSecret, Name: s.Name, AuditConfig: s.AuditConfig, Origin: s.Origin.Path, Drift: same}
	switch {
	case !exists:
		step.Action = Add
		if step.Drift {
			step.Reason = "somebody has removed it"
		}
	default:
		if step.Fields = secretDifferences(write, live, same); len(step.Fields) == 0 {
			return
		}
		step.Action = Change
		if live.Labels[fleet.LabelSync] == "" && !p.applied(s.Name) {
			step.Reason, step.Drift = "takes over a Secret that was made by hand", false
		}
	}
	p.step(step)
	if !step.Drift || p.policy.CorrectDrift {
		p.plan.Secrets = append(p.plan.Secrets, write)
	}
}

func (p *planner) secretWrite(s fleet.Secret, known *Item) SecretWrite {
	write := SecretWrite{Name: s.Name, Type: s.Type, Data: s.Data, Labels: maps.Clone(s.Labels), Annotations: maps.Clone(s.Annotations)}
	if write.Labels == nil {
		write.Labels = map[string]string{}
	}
	if write.Annotations == nil {
		write.Annotations = map[string]string{}
	}
	if p.fleet.Sync != "" {
		write.Labels[fleet.LabelSync] = p.fleet.Sync
	}
	write.Annotations[fleet.AnnotationOrigin] = origin(s.Origin.Path, p.commit(known, s.Hash))
	return write
}

// quarantine keeps back the Secrets that can't be applied, with the clusters that need them.
func (p *planner) quarantine() {
	desired := *p.fleet
	desired.Secrets, desired.Clusters = slices.Clone(desired.Secrets), slices.Clone(desired.Clusters)
	refused := map[string]bool{}
	for i := range desired.Secrets {
		if s := &desired.Secrets[i]; !s.Quarantined && p.refuseSecret(*s) {
			s.Quarantined, refused[s.Name] = true, true
		}
	}
	holders := p.holders()
	quarantined := map[[2]string]bool{}
	for i := range desired.Clusters {
		c := &desired.Clusters[i]
		if !c.Quarantined && p.refuseReferences(*c, refused, holders) {
			c.Quarantined = true
			quarantined[[2]string{c.AuditConfig, c.Name}] = true
		}
	}
	if len(refused)+len(quarantined) == 0 {
		return
	}
	for i := range desired.Secrets {
		s := &desired.Secrets[i]
		s.Quarantined = s.Quarantined || s.Cluster != "" && quarantined[[2]string{s.AuditConfig, s.Cluster}]
	}
	p.fleet = &desired
}

// refuseSecret reports a Secret that can't be applied because of what is there.
func (p *planner) refuseSecret(s fleet.Secret) bool {
	live, exists := p.live.Secrets[s.Name]
	refuse := func(code finding.Code, message, fix string) bool {
		p.plan.Add(finding.Finding{Code: code, Severity: finding.Error, Path: s.Origin.Path, Cluster: s.Cluster, Message: message, Fix: fix})
		return true
	}
	switch owner := live.Labels[fleet.LabelSync]; {
	case p.live.Reserved[s.Name] != "":
		return refuse(CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s, and not to be changed from the repository", s.Name, p.live.Reserved[s.Name]), "give it another name")
	case !exists:
		return false
	case owner != "" && owner != p.fleet.Sync && p.live.Syncs[owner]:
		return refuse(CodeSecretOwned, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", s.Name, owner), "give it another name")
	case owner == "" && !p.applied(s.Name) && !p.adopts(live):
		return refuse(CodeSecretForeign, fmt.Sprintf("there is a Secret %s already that Muster did not make", s.Name),
			fmt.Sprintf("delete it, or let Muster take it over: annotate it with %s=%s", AdoptAnnotation, cmp.Or(p.fleet.Sync, "<name of the AuditSync>")))
	case live.Type != "" && live.Type != s.Type:
		return refuse(CodeSecretType, fmt.Sprintf("the Secret %s has the type %s and should have %s; Kubernetes can't change the type", s.Name, live.Type, s.Type),
			"delete the Secret, and Muster makes it anew")
	}
	return false
}

// applied says whether an inventory of this AuditSync has a Secret.
func (p *planner) applied(name string) bool {
	for _, inv := range p.inventories {
		if inv.holds(name) {
			return true
		}
	}
	return false
}

// adopts says whether whoever made a Secret lets this AuditSync have it. Without an AuditSync it is a preview, for any.
func (p *planner) adopts(live LiveSecret) bool {
	adopter := live.Annotations[AdoptAnnotation]
	return adopter != "" && (adopter == p.fleet.Sync || p.fleet.Sync == "")
}

// holders are the clusters, as audit config and name, that Secrets were or will be made for.
func (p *planner) holders() map[string][][2]string {
	holders := map[string][][2]string{}
	for _, s := range p.fleet.Secrets {
		if s.Cluster != "" {
			holders[s.Name] = append(holders[s.Name], [2]string{s.AuditConfig, s.Cluster})
		}
	}
	for _, inv := range p.live.Inventories {
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				holders[name] = append(holders[name], [2]string{inv.AuditConfig, item.Name})
			}
		}
	}
	return holders
}

// refuseReferences says whether a cluster names a Secret that was refused, and reports those that it may not name: an entry
// sends a credential to the server that it names, so that it must not name somebody else's.
func (p *planner) refuseReferences(c fleet.Cluster, refused map[string]bool, holders map[string][][2]string) bool {
	bad := slices.ContainsFunc(c.Secrets, func(name string) bool { return refused[name] })
	refuse := func(code finding.Code, message, fix string) {
		bad = true
		p.plan.Add(finding.Finding{Code: code, Severity: finding.Error, Path: c.Origin.Path, Cluster: c.Name, Message: message, Fix: fix})
	}
	for _, ref := range compile.References(c.Entry) {
		bad = bad || refused[ref.Name]
		other := slices.IndexFunc(holders[ref.Name], func(holder [2]string) bool { return holder != [2]string{c.AuditConfig, c.Name} })
		// A certificate authority is no secret, and may well be everybody's.
		private := slices.ContainsFunc(ref.Keys, func(key string) bool { return key != mondoo.KeyCACert })
		switch user := p.live.Reserved[ref.Name]; {
		case other >= 0:
			refuse(CodeSecretOfOther, fmt.Sprintf("the Secret %s belongs to the cluster %s", ref.Name, holders[ref.Name][other][1]),
				"give the cluster credentials of its own")
		case user != "" && private:
			refuse(CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s, and not for a cluster to read", ref.Name, user),
				"give the cluster credentials of its own")
		}
	}
	return bad
}

// missingSecrets reports Secrets that an entry names and nobody has. The operator doesn't: the scan Pod just never starts.
func (p *planner) missingSecrets() {
	if !p.live.EverySecret {
		return
	}
	have := map[string]bool{}
	for name := range p.live.Secrets {
		have[name] = true
	}
	for _, s := range p.fleet.Secrets {
		have[s.Name] = true
	}
	for _, c := range p.fleet.Clusters {
		if c.Quarantined {
			continue
		}
		for _, ref := range compile.References(c.Entry) {
			if !have[ref.Name] {
				p.plan.Add(finding.Finding{Code: CodeSecretMissing, Severity: finding.Warning, Path: c.Origin.Path, Cluster: c.Name,
					Message: fmt.Sprintf("there is no Secret %s in the namespace %s, so the scan can't start", ref.Name, p.fleet.Namespace),
					Fix:     "make it with the key " + strings.Join(ref.Keys, " and ") + ", or correct the name"})
			}
		}
	}
}

// secretDifferences names the fields of a Secret that have to change. What others have added stays, and is no difference, as
// long as Muster has applied the same before; otherwise a key may be there that was taken out of the file.
func secretDifferences(want SecretWrite, live LiveSecret, same bool) []Field {
	var list []Field
	if !same {
		for _, key := range slices.Sorted(maps.Keys(live.Data)) {
			if _, wanted := want.Data[key]; !wanted {
				list = append(list, Field{Path: "data." + key})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Data)) {
		if have, ok := live.Data[key]; !ok || string(have) != string(want.Data[key]) {
			list = append(list, Field{Path: "data." + key})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Labels)) {
		if live.Labels[key] != want.Labels[key] {
			list = append(list, Field{Path: "metadata.labels." + key, From: live.Labels[key], To: want.Labels[key]})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Annotations)) {
		if key == fleet.AnnotationOrigin && samePath(live.Annotations[key], want.Annotations[key]) {
			continue // another commit has changed the file, and nothing here
		}
		if live.Annotations[key] != want.Annotations[key] {
			list = append(list, Field{Path: "metadata.annotations." + key, From: live.Annotations[key], To: want.Annotations[key]})
		}
	}
	return list
}

func samePath(a, b string) bool {
	pathA, _, _ := strings.Cut(a, "@")
	pathB, _, _ := strings.Cut(b, "@")
	return pathA == pathB
}

// unneeded plans the removal of Secrets that are Muster's own and that the fleet no longer has.
func (p *planner) unneeded(wanted map[string]bool, alone *Inventory) {
	if before := p.inventories[""]; before != nil {
		for _, item := range before.Secrets {
			reason := p.removals.reason[secretKey(item.Name)]
			if wanted[item.Name] || reason == "" {
				continue
			}
			p.step(Step{Action: Hold, Kind: KindSecret, Name: item.Name, Origin: item.Origin, Reason: reason})
			if waits(reason) {
				p.plan.Held++
			}
			p.keepSecrets[item.Name] = true
			alone.Secrets = append(alone.Secrets, item)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.live.Secrets)) {
		live := p.live.Secrets[name]
		if live.Labels[fleet.LabelSync] != p.fleet.Sync || p.fleet.Sync == "" || wanted[name] || p.keepSecrets[name] || !p.known(name) ||
			p.live.Reserved[name] != "" {
			continue
		}
		p.step(Step{Action: Remove, Kind: KindSecret, Name: name})
		p.plan.Delete.Secrets = append(p.plan.Delete.Secrets, name)
	}
}

// known says whether an inventory has a Secret. The label alone isn't proof that Muster made it: people copy manifests.
func (p *planner) known(name string) bool {
	for _, inv := range p.inventories {
		if p.next[inv.AuditConfig] == nil && inv.AuditConfig != "" {
			continue // its audit config was refused, and everything of it stays
		}
		if inv.holds(name) {
			return true
		}
	}
	return false
}
