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

// unchanged finds out which Secrets plainly are as they should be. Comparing the credentials is the longest part of planning
// a large fleet that is in sync, so it goes on beside the planning of the audit configs, and reads nothing that this writes.
func (p *planner) unchanged() <-chan []bool {
	done := make(chan []bool, 1)
	go func() {
		same := make([]bool, len(p.fleet.Secrets))
		for i := range p.fleet.Secrets {
			s := &p.fleet.Secrets[i]
			if live, exists := p.live.Secrets[s.Name]; exists {
				known := p.itemOf(s)
				same[i] = known != nil && known.Hash == s.Hash && p.holds(live, s)
			}
		}
		done <- same
	}()
	return done
}

// secrets plans the Secrets of the fleet, of which some are known to be unchanged, and those that are no longer needed.
func (p *planner) secrets(unchanged []bool) {
	alone := &Inventory{Sync: p.fleet.Sync}
	for i := range p.fleet.Secrets {
		s := &p.fleet.Secrets[i]
		known := p.itemOf(s)
		switch {
		case s.Quarantined:
			p.keepSecrets[s.Name] = true
			if s.Cluster == "" && known != nil {
				alone.Secrets = append(alone.Secrets, *known)
			}
		case s.Cluster == "":
			item := Item{Name: s.Name, Origin: s.Origin.Path, Commit: p.commit(known, s.Hash), Hash: s.Hash}
			if known != nil && known.Hash == s.Hash {
				item.Corrected = p.settle(KindSecret, nil, known.Corrected, false).corrected
			}
			if !unchanged[i] {
				p.secret(s, known, &item)
			}
			alone.Secrets = append(alone.Secrets, item)
		case p.next[s.AuditConfig] != nil && !unchanged[i]:
			p.secret(s, known, p.next[s.AuditConfig].cluster(s.Cluster))
		}
	}
	p.unneeded(alone)
	p.next[""] = alone
}

// itemOf is what the inventory says about a Secret, or about the cluster that it belongs to.
func (p *planner) itemOf(s *fleet.Secret) *Item {
	if s.Cluster == "" {
		return p.inventories[""].secret(s.Name)
	}
	item := p.item(s.AuditConfig, s.Cluster)
	for _, c := range p.named[s.Cluster] {
		// The Secret's hash isn't remembered by itself: it is unchanged when the cluster is.
		if item != nil && c.AuditConfig == s.AuditConfig && c.Hash == item.Hash {
			return &Item{Hash: s.Hash, Commit: item.Commit}
		}
	}
	return nil
}

// secret plans one Secret, and notes in the item of it or of its cluster what is put right.
func (p *planner) secret(s *fleet.Secret, known, item *Item) {
	live, exists := p.live.Secrets[s.Name]
	same := known != nil && known.Hash == s.Hash
	write := p.secretWrite(s, known)
	write.Immutable = s.Immutable || live.Immutable // nobody can take it back; see keptImmutable
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
	waits := step.Drift && item != nil && p.settleSecret(&step, item)
	p.step(step)
	if !waits && (!step.Drift || p.policy.CorrectDrift) {
		p.plan.Secrets = append(p.plan.Secrets, write)
	}
}

// settleSecret notes in an item that a Secret of it is put right, and reports whether that waits. No field of a Secret is given in to.
func (p *planner) settleSecret(step *Step, item *Item) (waits bool) {
	prefix := step.Name + ":"
	differ := []Field{{Path: prefix}} // removed as a whole
	if step.Action == Change {
		differ = nil
		for _, f := range step.Fields {
			differ = append(differ, Field{Path: prefix + f.Path})
		}
	}
	own := func(c Correction) bool { return strings.HasPrefix(c.Path, prefix) }
	past := slices.DeleteFunc(slices.Clone(item.Corrected), func(c Correction) bool { return !own(c) })
	s := p.settle(KindSecret, differ, past, false)
	item.Corrected = append(slices.DeleteFunc(slices.Clone(item.Corrected), own), s.corrected...)
	slices.SortFunc(item.Corrected, func(a, b Correction) int { return strings.Compare(a.Path, b.Path) })
	return p.settled(step, s)
}

// holds says whether a live Secret plainly has all of a desired one. It is what nearly all Secrets do, at every look at them.
func (p *planner) holds(live LiveSecret, s *fleet.Secret) bool {
	path, _, _ := strings.Cut(live.Annotations[fleet.AnnotationOrigin], "@")
	if s.Immutable && !live.Immutable {
		return false
	}
	if path != s.Origin.Path || live.Labels[fleet.LabelSync] != p.fleet.Sync {
		return false
	}
	if s.Cluster != "" && live.Annotations[fleet.AnnotationMadeFor] != (holder{s.AuditConfig, s.Cluster}).String() {
		return false
	}
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return false
		}
	}
	return containsAll(live.Labels, s.Labels) && containsAll(live.Annotations, s.Annotations)
}

// containsAll says whether have has every pair of want.
func containsAll(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

func (p *planner) secretWrite(s *fleet.Secret, known *Item) SecretWrite {
	write := SecretWrite{Version: p.live.Secrets[s.Name].Version, Name: s.Name, Type: s.Type, Data: s.Data, Labels: maps.Clone(s.Labels), Annotations: maps.Clone(s.Annotations)}
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
	delete(write.Annotations, fleet.AnnotationMadeFor)
	if s.Cluster != "" {
		write.Annotations[fleet.AnnotationMadeFor] = holder{s.AuditConfig, s.Cluster}.String()
	}
	return write
}

// empties reports whether a change of a manifest would leave nothing of a Secret with values. One that never had any may be filled in by
// somebody else.
func (p *planner) empties(s *fleet.Secret, live LiveSecret) bool {
	known := p.itemOf(s)
	return s.Cluster == "" && len(s.Data) == 0 && len(live.Data) > 0 && known != nil && known.Hash != s.Hash
}

// quarantine keeps back the Secrets that can't be applied, with the clusters that need them.
func (p *planner) quarantine() {
	refused := map[string]bool{}
	for _, s := range p.fleet.Secrets {
		if !s.Quarantined && p.owners[s.AuditConfig] == "" && (p.refuseOverMade(s) || p.refuseSecret(s)) {
			refused[s.Name] = true
		}
	}
	quarantined := p.heldMoves()
	if quarantined == nil {
		quarantined = map[[2]string]bool{}
	}
	p.waiting = maps.Clone(quarantined)
	p.references = make([][]compile.Reference, len(p.fleet.Clusters))
	for i, c := range p.fleet.Clusters {
		if c.Quarantined || p.owners[c.AuditConfig] != "" { // nothing is done for it anyway, and that is told
			continue
		}
		p.references[i] = slices.Collect(compile.References(&c.Entry))
		if p.refuseUndeclared(c) || p.refuseReferences(c, p.references[i], refused) {
			quarantined[[2]string{c.AuditConfig, c.Name}] = true
		}
	}
	if len(refused)+len(quarantined) == 0 {
		return
	}
	desired := *p.fleet
	desired.Secrets, desired.Clusters = slices.Clone(desired.Secrets), slices.Clone(desired.Clusters)
	for i := range desired.Clusters {
		c := &desired.Clusters[i]
		c.Quarantined = c.Quarantined || quarantined[[2]string{c.AuditConfig, c.Name}]
	}
	for i := range desired.Secrets {
		s := &desired.Secrets[i]
		s.Quarantined = s.Quarantined || refused[s.Name] || s.Cluster != "" && quarantined[[2]string{s.AuditConfig, s.Cluster}]
	}
	p.fleet = &desired
}

// refuseSecret reports a Secret that can't be applied because of what is there.
func (p *planner) refuseSecret(s fleet.Secret) bool {
	live, exists := p.live.Secrets[s.Name]
	refuse := func(code finding.Code, message, fix string) bool {
		field := fieldName
		switch code {
		case CodeSecretType:
			field = fieldType
		case CodeImmutable:
			field = fieldImmutable
		}
		at := p.place(s.Origin, field)
		at.Cluster = s.Cluster
		p.refuse(at, code, message, fix)
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
	case p.empties(&s, live):
		return refuse(CodeSecretEmptied, fmt.Sprintf("the Secret %s has values, and the manifest has none any more", s.Name),
			"give it a value; or delete the manifest to remove the Secret")
	case live.Immutable && p.contentChanges(&s, live):
		return refuse(CodeImmutable, fmt.Sprintf("the Secret %s is immutable in the cluster, and its content there is another; Kubernetes can't change it", s.Name),
			"give the Secret a new name, as kustomize's secretGenerator does by itself; or delete it, and Muster makes it anew")
	case live.Immutable && !s.Immutable:
		p.keptImmutable(s)
	}
	return false
}

// contentChanges says whether a Secret needs other data than it has. What others have added to it stays, as long as Muster has applied
// the same before.
func (p *planner) contentChanges(s *fleet.Secret, live LiveSecret) bool {
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return true
		}
	}
	known := p.inventories[""].secret(s.Name)
	return len(live.Data) > len(s.Data) && (known == nil || known.Hash != s.Hash)
}

// keptImmutable tells of a Secret that stays immutable though the repository doesn't want it to.
func (p *planner) keptImmutable(s fleet.Secret) {
	f := p.place(s.Origin, fieldImmutable)
	f.Code, f.Severity, f.Cluster = CodeImmutable, finding.Warning, s.Cluster
	f.Message = fmt.Sprintf("the Secret %s is immutable in the cluster and stays so, though the repository doesn't say it: Kubernetes has no way back", s.Name)
	f.Fix = "write immutable: true; or delete the Secret, and Muster makes it anew"
	p.plan.Add(f)
}

// applied says whether an inventory of this AuditSync has a Secret, and not only because it was about to be applied: what has then appeared
// by that name may be somebody else's.
func (p *planner) applied(name string) bool {
	return slices.ContainsFunc(p.inventoriesOf(name), func(inv *Inventory) bool {
		if item := inv.secret(name); item != nil && item.Hash != "" {
			return true
		}
		return slices.ContainsFunc(inv.Clusters, func(item Item) bool {
			return item.Hash != "" && slices.Contains(item.Secrets, name) && !slices.Contains(item.Making, name)
		})
	})
}

// inventoriesOf are the inventories of this AuditSync that have a Secret.
func (p *planner) inventoriesOf(secret string) []*Inventory {
	if p.bySecret == nil {
		p.bySecret = map[string][]*Inventory{}
		for _, inv := range p.inventories {
			for _, item := range inv.Secrets {
				p.bySecret[item.Name] = append(p.bySecret[item.Name], inv)
			}
			for _, item := range inv.Clusters {
				for _, name := range item.Secrets {
					p.bySecret[name] = append(p.bySecret[name], inv)
				}
			}
		}
	}
	return p.bySecret[secret]
}

// adopts says whether whoever made a Secret lets this AuditSync have it. Without an AuditSync it is a preview, for any.
func (p *planner) adopts(live LiveSecret) bool {
	return p.adopter(live.Annotations[AdoptAnnotation])
}

func (p *planner) adopter(annotation string) bool {
	return annotation != "" && (annotation == p.fleet.Sync || p.fleet.Sync == "")
}

// refuseReferences says whether a cluster names a Secret that was refused, and reports those that it may not name: an entry
// sends a credential to the server that it names, so that it must not name somebody else's.
func (p *planner) refuseReferences(c fleet.Cluster, refs []compile.Reference, refused map[string]bool) bool {
	bad := slices.ContainsFunc(c.Secrets, func(name string) bool { return refused[name] })
	for _, ref := range refs {
		p.outside[ref.Name] = p.wanted[ref.Name] == nil
		refuse := func(code finding.Code, message, fix string) {
			bad = true
			p.refuse(p.placeOf(&c, ref.Field), code, message, fix)
		}
		bad = bad || refused[ref.Name]
		by, isMade := p.madeFor(ref.Name)
		isMade = isMade && !slices.Contains(c.Secrets, ref.Name)
		// A certificate authority is no secret, and may well be everybody's.
		private := slices.ContainsFunc(ref.Keys, func(key string) bool { return key != mondoo.KeyCACert })
		// A token goes to the server that the entry names, and a kubeconfig to its own.
		owner := p.live.Secrets[ref.Name].Labels[fleet.LabelSync]
		theirs := owner != "" && p.fleet.Sync != "" && owner != p.fleet.Sync && p.live.Syncs[owner] && slices.Contains(ref.Keys, mondoo.KeyToken)
		server := "" // of what is in the fleet, the key was looked at when it was opened
		if live, exists := p.live.Secrets[ref.Name]; exists && !p.manifests[ref.Name] {
			server = string(live.Data[mondoo.KeyServer])
		}
		message, fix := compile.TokenServer(&c.Entry, ref, server)
		missing, make := p.missing(ref)
		switch user := p.live.Reserved[ref.Name]; {
		case missing != "" && ref.Operator:
			refuse(CodeSecretMissing, missing+"; the operator would stop at this cluster, and pass over those after it", make)
		case isMade:
			refuse(CodeSecretOfOther, madeMessage(ref.Name, by), "give the cluster credentials of its own")
		case theirs:
			refuse(CodeSecretOfOther, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", ref.Name, owner),
				"give the cluster credentials of its own")
		case message != "":
			refuse(compile.CodeTokenServer, message, fix)
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
	for i, c := range p.fleet.Clusters {
		if c.Quarantined {
			continue
		}
		for _, ref := range p.references[i] {
			if missing, fix := p.missing(ref); missing != "" {
				f := p.placeOf(&c, ref.Field)
				f.Code, f.Severity, f.Message, f.Fix = CodeSecretMissing, finding.Warning, missing+", so the scan can't start", fix
				p.plan.Add(f)
			}
		}
	}
}

// missing says what of a Secret that an entry names is neither there nor about to be.
func (p *planner) missing(ref compile.Reference) (message, fix string) {
	if !p.live.EverySecret || p.wanted[ref.Name] != nil { // the keys of those in the fleet were looked at
		return "", ""
	}
	live, there := p.live.Secrets[ref.Name]
	if !there {
		return fmt.Sprintf("there is no Secret %s in the namespace %s", ref.Name, p.fleet.Namespace),
			"make it with the key " + strings.Join(ref.Keys, " and ") + ", or correct the name"
	}
	for _, key := range ref.Keys {
		if len(live.Data[key]) == 0 {
			return fmt.Sprintf("the Secret %s has no key %s", ref.Name, key), "put it there, or name another Secret"
		}
	}
	return "", ""
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
		if have, ok := live.Data[key]; !ok || string(have) != want.Data[key] {
			list = append(list, Field{Path: "data." + key})
		}
	}
	if want.Immutable && !live.Immutable {
		list = append(list, Field{Path: "immutable", From: "false", To: "true"})
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
func (p *planner) unneeded(alone *Inventory) {
	reasons := map[string]string{}
	if before := p.inventories[""]; before != nil {
		for _, item := range before.Secrets {
			if reason := p.removals.reason[secretKey(item.Name)]; reason != "" && p.wanted[item.Name] == nil {
				p.keepSecrets[item.Name], reasons[item.Name] = true, reason
			}
		}
	}
	var names []string
	for name, live := range p.live.Secrets {
		if p.wanted[name] == nil && !p.keepSecrets[name] && live.Labels[fleet.LabelSync] == p.fleet.Sync && p.fleet.Sync != "" && p.known(name) &&
			p.live.Reserved[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		names = p.holdNamed(names, reasons)
	}
	for _, name := range names {
		p.step(Step{Action: Remove, Kind: KindSecret, Name: name, Reason: p.replaced(name)})
		p.plan.Delete.Secrets = append(p.plan.Delete.Secrets, Deletion{Name: name, Version: p.live.Secrets[name].Version})
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		p.holdSecret(name, reasons[name], alone)
	}
}

// holdNamed takes the Secrets out of a list that something which stays in the management cluster names, and notes why: the entry of a
// cluster that is kept as it was, an audit config whose removal is held, or what Muster has nothing to do with.
func (p *planner) holdNamed(names []string, reasons map[string]string) []string {
	p.namers = p.namedByLive()
	return slices.DeleteFunc(names, func(name string) bool {
		named := p.namers[name] != ""
		if named {
			reasons[name] = reasonNamed
		}
		return named
	})
}

// holdSecret plans for a Secret that stays although the fleet no longer has it.
func (p *planner) holdSecret(name, reason string, alone *Inventory) {
	step := Step{Action: Hold, Kind: KindSecret, Name: name, Reason: reason}
	if reason == reasonNamed {
		step.NamedBy = p.namers[name]
	}
	if item := p.inventories[""].secret(name); item != nil {
		step.Origin = item.Origin
		alone.Secrets = append(alone.Secrets, *item)
	} else if maker := p.maker(name); maker != nil {
		// The cluster no longer has it. From now on it is by itself, or it would stay for ever.
		alone.Secrets = append(alone.Secrets, Item{Name: name, Origin: maker.Origin, Commit: maker.Commit, MadeFor: p.made[name].String()})
	}
	p.step(step)
	if waits(reason) {
		p.plan.Held++
	}
}

// maker is the cluster that a Secret was applied for; nil when there is none.
func (p *planner) maker(secret string) *Item {
	for _, inv := range p.inventoriesOf(secret) {
		for i := range inv.Clusters {
			if slices.Contains(inv.Clusters[i].Secrets, secret) {
				return &inv.Clusters[i]
			}
		}
	}
	return nil
}

// namedByLive are the Secrets that audit configs and their entries will name once the plan is carried out, each with the first that does.
func (p *planner) namedByLive() map[string]string {
	named, live := namers{}, maps.Clone(p.live.AuditConfigs)
	for _, gone := range p.plan.Delete.AuditConfigs {
		delete(live, gone.Name)
	}
	for _, write := range p.plan.Configs {
		named.object(write.Name, write.Object)
		if write.ListOnly {
			named.refs("the audit config "+write.Name, live[write.Name]["spec"], "externalClusters")
		}
		delete(live, write.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		named.object(name, live[name])
	}
	return named
}

// namers are Secrets with what names them, in words for people.
type namers map[string]string

// object notes what an audit config names, entry by entry as far as its list can be read.
func (n namers) object(name string, object map[string]any) {
	by := "the audit config " + name
	if entries, err := mondoo.Entries(object); err == nil {
		for _, entry := range entries {
			n.refs("the entry "+nameOf(entry)+" of "+by, entry, "")
		}
	}
	n.refs(by, object["spec"], "")
}

// refs notes the names in all references to Secrets below a value. They stand in fields named like mondooCredsSecretRef,
// privateRegistriesPullSecretRefs and secretKeyRef, alone or in a list.
func (n namers) refs(by string, v any, except string) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if namesSecret(key) {
				n.names(by, item)
			}
			if key != except {
				n.refs(by, item, except)
			}
		}
	case []any:
		for _, item := range v {
			n.refs(by, item, except)
		}
	}
}

// namesSecret reports whether a field's name is that of a reference to Secrets.
func namesSecret(field string) bool {
	lower := strings.ToLower(field)
	return strings.Contains(lower, "secret") && strings.HasSuffix(strings.TrimSuffix(lower, "s"), "ref")
}

// names notes the name in a reference, or in each of a list.
func (n namers) names(by string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if name := nameOf(v); n[name] == "" {
			n[name] = by
		}
	case []any:
		for _, item := range v {
			n.names(by, item)
		}
	}
}

// known says whether an inventory has a Secret. The label alone isn't proof that Muster made it: people copy manifests.
func (p *planner) known(name string) bool {
	return slices.ContainsFunc(p.inventoriesOf(name), func(inv *Inventory) bool {
		return p.next[inv.AuditConfig] != nil || inv.AuditConfig == "" // if it was refused, everything of it stays
	})
}
