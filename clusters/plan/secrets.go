package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
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
		if live.Labels[fleet.LabelSync] == "" {
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
	if len(refused) == 0 {
		return
	}
	quarantined := map[[2]string]bool{}
	for i := range desired.Clusters {
		c := &desired.Clusters[i]
		if slices.ContainsFunc(compile.References(c.Entry), func(r compile.Reference) bool { return refused[r.Name] }) {
			c.Quarantined = true
			quarantined[[2]string{c.AuditConfig, c.Name}] = true
		}
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
	case !exists:
		return false
	case owner != "" && owner != p.fleet.Sync && p.live.Syncs[owner]:
		return refuse(CodeSecretOwned, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", s.Name, owner), "give it another name")
	case live.Type != "" && live.Type != s.Type:
		return refuse(CodeSecretType, fmt.Sprintf("the Secret %s has the type %s and should have %s; Kubernetes can't change the type", s.Name, live.Type, s.Type),
			"delete the Secret, and Muster makes it anew")
	}
	return false
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
			if reason == reasonBudget {
				p.plan.Held++
			}
			p.keepSecrets[item.Name] = true
			alone.Secrets = append(alone.Secrets, item)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.live.Secrets)) {
		live := p.live.Secrets[name]
		if live.Labels[fleet.LabelSync] != p.fleet.Sync || p.fleet.Sync == "" || wanted[name] || p.keepSecrets[name] || !p.known(name) {
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
		if inv.secret(name) != nil || slices.ContainsFunc(inv.Clusters, func(i Item) bool { return slices.Contains(i.Secrets, name) }) {
			return true
		}
	}
	return false
}
