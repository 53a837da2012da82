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
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// unchanged finds the Secrets that clearly match their desired state. Comparing the credentials is the longest part of
// planning a large fleet in sync, so it runs concurrently with the planning of the audit configs, and reads nothing
// that the planning writes.
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

// secrets plans the Secrets of the fleet, some of which are known to be unchanged, and the removal of those no longer
// needed.
func (p *planner) secrets(unchanged []bool) {
	standalone := &inventory.Inventory{Sync: p.fleet.Sync}
	for i := range p.fleet.Secrets {
		s := &p.fleet.Secrets[i]
		known := p.itemOf(s)
		switch {
		case s.Quarantined:
			p.keepSecrets[s.Name] = true
			if s.Cluster == "" && known != nil {
				standalone.Secrets = append(standalone.Secrets, *known)
			}
		case s.Cluster == "":
			item := inventory.Item{Name: s.Name, Origin: s.Origin.Path, Commit: p.commit(known, s.Hash), Hash: s.Hash}
			if known != nil && known.Hash == s.Hash {
				item.Corrected = p.settle(KindSecret, nil, known.Corrected, false).corrected
			}
			if !unchanged[i] {
				p.secret(s, known, &item)
			}
			standalone.Secrets = append(standalone.Secrets, item)
		case p.next[s.AuditConfig] != nil && !unchanged[i]:
			p.secret(s, known, p.next[s.AuditConfig].Cluster(s.Cluster))
		}
	}
	p.unneeded(standalone)
	p.next[""] = standalone
}

// itemOf returns the inventory item of a Secret, or one made from the item of its cluster.
func (p *planner) itemOf(s *fleet.Secret) *inventory.Item {
	if s.Cluster == "" {
		return p.inventories[""].Secret(s.Name)
	}
	item := p.item(s.AuditConfig, s.Cluster)
	for _, c := range p.named[s.Cluster] {
		// The inventory has no hash for a cluster's Secret: it is unchanged if the cluster is.
		if item != nil && c.AuditConfig == s.AuditConfig && c.Hash == item.Hash {
			return &inventory.Item{Hash: s.Hash, Commit: item.Commit}
		}
	}
	return nil
}

// secret plans one Secret, and records a correction in item, which is its own or its cluster's.
func (p *planner) secret(s *fleet.Secret, known, item *inventory.Item) {
	live, exists := p.live.Secrets[s.Name]
	same := known != nil && known.Hash == s.Hash
	write := p.secretWrite(s, known)
	write.Immutable = s.Immutable || live.Immutable // it can't be undone; see keptImmutable
	step := Step{Kind: KindSecret, Name: s.Name, AuditConfig: s.AuditConfig, Origin: s.Origin.Path, Drift: same}
	switch {
	case !exists:
		step.Action = Add
		if step.Drift {
			step.Reason = "it was deleted"
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

// settleSecret records in item that one of its Secrets is corrected, and reports whether the correction waits. Muster
// never stops correcting a Secret.
func (p *planner) settleSecret(step *Step, item *inventory.Item) (waits bool) {
	prefix := step.Name + ":"
	differ := []Field{{Path: prefix}} // the Secret was deleted
	if step.Action == Change {
		differ = nil
		for _, f := range step.Fields {
			differ = append(differ, Field{Path: prefix + f.Path})
		}
	}
	own := func(c inventory.Correction) bool { return strings.HasPrefix(c.Path, prefix) }
	past := slices.DeleteFunc(slices.Clone(item.Corrected), func(c inventory.Correction) bool { return !own(c) })
	s := p.settle(KindSecret, differ, past, false)
	item.Corrected = append(slices.DeleteFunc(slices.Clone(item.Corrected), own), s.corrected...)
	slices.SortFunc(item.Corrected, func(a, b inventory.Correction) int { return strings.Compare(a.Path, b.Path) })
	return p.settled(step, s)
}

// holds reports whether a live Secret clearly has everything of a desired one. Nearly every Secret does on nearly every
// run.
func (p *planner) holds(live LiveSecret, s *fleet.Secret) bool {
	path, _, _ := strings.Cut(live.Annotations[fleet.AnnotationOrigin], "@")
	if s.Immutable && !live.Immutable {
		return false
	}
	if path != s.Origin.Path || live.Labels[fleet.LabelSync] != p.fleet.Sync {
		return false
	}
	if s.Cluster != "" && live.Annotations[fleet.AnnotationMadeFor] != (inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Cluster}).String() {
		return false
	}
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return false
		}
	}
	return containsAll(live.Labels, s.Labels) && containsAll(live.Annotations, s.Annotations)
}

// containsAll reports whether have contains every pair of want.
func containsAll(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

func (p *planner) secretWrite(s *fleet.Secret, known *inventory.Item) SecretWrite {
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
		write.Annotations[fleet.AnnotationMadeFor] = inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Cluster}.String()
	}
	return write
}

// empties reports whether a changed manifest would delete the last value of a Secret. A manifest that never had values
// is fine: another controller may fill in the Secret.
func (p *planner) empties(s *fleet.Secret, live LiveSecret) bool {
	known := p.itemOf(s)
	return s.Cluster == "" && len(s.Data) == 0 && len(live.Data) > 0 && known != nil && known.Hash != s.Hash
}

// quarantine holds back the Secrets that can't be applied, and the clusters that need them.
func (p *planner) quarantine() {
	refused := map[string]bool{}
	for _, s := range p.fleet.Secrets {
		if !s.Quarantined && p.owners[s.AuditConfig] == "" && (p.refuseOverInline(s) || p.refuseSecret(s)) {
			refused[s.Name] = true
		}
	}
	quarantined := p.heldMoves()
	if quarantined == nil {
		quarantined = map[inventory.Cluster]bool{}
	}
	p.waiting = maps.Clone(quarantined)
	p.references = make([][]compile.Reference, len(p.fleet.Clusters))
	for i, c := range p.fleet.Clusters {
		if c.Quarantined || p.owners[c.AuditConfig] != "" { // it is left out already, with a finding
			continue
		}
		p.references[i] = slices.Collect(compile.References(&c.Entry))
		if p.refuseUndeclared(c) || p.refuseReferences(c, p.references[i], refused) {
			quarantined[idOf(&c)] = true
		}
	}
	if len(refused)+len(quarantined) == 0 {
		return
	}
	desired := *p.fleet
	desired.Secrets, desired.Clusters = slices.Clone(desired.Secrets), slices.Clone(desired.Clusters)
	for i := range desired.Clusters {
		c := &desired.Clusters[i]
		c.Quarantined = c.Quarantined || quarantined[idOf(c)]
	}
	for i := range desired.Secrets {
		s := &desired.Secrets[i]
		s.Quarantined = s.Quarantined || refused[s.Name] || s.Cluster != "" && quarantined[inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Cluster}]
	}
	p.fleet = &desired
}

// refuseSecret reports a Secret that can't be applied because of the live one, or because an AuditSync itself uses it.
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
		return refuse(CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s and can't be changed from the repository", s.Name, p.live.Reserved[s.Name]), "give it another name")
	case !exists:
		return false
	case owner != "" && owner != p.fleet.Sync && p.live.Syncs[owner]:
		return refuse(CodeSecretOwned, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", s.Name, owner), "give it another name")
	case owner == "" && !p.applied(s.Name) && !p.adopts(live):
		return refuse(CodeSecretForeign, fmt.Sprintf("the Secret %s exists and was not made by Muster", s.Name),
			fmt.Sprintf("delete it, or annotate it with %s=%s to let Muster take it over", AdoptAnnotation, cmp.Or(p.fleet.Sync, "<name of the AuditSync>")))
	case live.Type != "" && live.Type != s.Type:
		return refuse(CodeSecretType, fmt.Sprintf("the Secret %s has the type %s instead of %s; Kubernetes can't change the type", s.Name, live.Type, s.Type),
			"delete the Secret; Muster then recreates it")
	case p.empties(&s, live):
		return refuse(CodeSecretEmptied, fmt.Sprintf("the Secret %s has values, but its manifest no longer has any", s.Name),
			"add a value to the manifest, or delete the manifest to remove the Secret")
	case live.Immutable && p.contentChanges(&s, live):
		return refuse(CodeImmutable, fmt.Sprintf("the Secret %s is immutable in the cluster and has different content; Kubernetes can't change it", s.Name),
			"give the Secret a new name, as kustomize's secretGenerator does automatically; or delete it, and Muster recreates it")
	case live.Immutable && !s.Immutable:
		p.keptImmutable(s)
	}
	return false
}

// contentChanges reports whether a Secret needs different data. Keys that others have added are no difference, if
// Muster has applied the same content before.
func (p *planner) contentChanges(s *fleet.Secret, live LiveSecret) bool {
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return true
		}
	}
	known := p.inventories[""].Secret(s.Name)
	return len(live.Data) > len(s.Data) && (known == nil || known.Hash != s.Hash)
}

// keptImmutable warns about a Secret that stays immutable although Git no longer says so.
func (p *planner) keptImmutable(s fleet.Secret) {
	f := p.place(s.Origin, fieldImmutable)
	f.Code, f.Severity, f.Cluster = CodeImmutable, finding.Warning, s.Cluster
	f.Message = fmt.Sprintf("the Secret %s stays immutable in the cluster, although the repository doesn't set immutable: Kubernetes can't undo it", s.Name)
	f.Fix = "set immutable: true, or delete the Secret; Muster then recreates it"
	p.plan.Add(f)
}

// applied reports whether an inventory of this AuditSync has a Secret that was applied. If Muster was only about to
// apply it, a Secret that exists by that name may be someone else's.
func (p *planner) applied(name string) bool {
	return slices.ContainsFunc(p.inventoriesOf(name), func(inv *inventory.Inventory) bool {
		if item := inv.Secret(name); item != nil && item.Hash != "" {
			return true
		}
		return slices.ContainsFunc(inv.Clusters, func(item inventory.Item) bool {
			return item.Hash != "" && slices.Contains(item.Secrets, name) && !slices.Contains(item.Making, name)
		})
	})
}

// inventoriesOf returns the inventories of this AuditSync that have a Secret.
func (p *planner) inventoriesOf(secret string) []*inventory.Inventory {
	if p.bySecret == nil {
		p.bySecret = map[string][]*inventory.Inventory{}
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

// adopts reports whether a live Secret's annotation lets this AuditSync take it over. A preview without an AuditSync
// accepts any.
func (p *planner) adopts(live LiveSecret) bool {
	return p.adopter(live.Annotations[AdoptAnnotation])
}

func (p *planner) adopter(annotation string) bool {
	return annotation != "" && (annotation == p.fleet.Sync || p.fleet.Sync == "")
}

// refuseReferences reports whether a cluster names a refused Secret or one that it may not name, and adds findings for
// the latter. The operator sends a credential to the server in the entry, so an entry must not name the credentials of
// another cluster.
func (p *planner) refuseReferences(c fleet.Cluster, refs []compile.Reference, refused map[string]bool) bool {
	refusing := slices.ContainsFunc(c.Secrets, func(name string) bool { return refused[name] })
	for _, ref := range refs {
		p.needs(ref.Name)
		refuse := func(code finding.Code, message, fix string) {
			refusing = true
			p.refuse(p.placeOf(&c, ref.Field), code, message, fix)
		}
		refusing = refusing || refused[ref.Name]
		by, isInline := p.inlineOwner(ref.Name)
		isInline = isInline && !slices.Contains(c.Secrets, ref.Name)
		// A CA certificate is not secret, and may be shared.
		private := slices.ContainsFunc(ref.Keys, func(key string) bool { return key != mondoo.KeyCACert })
		// A token is sent to the server in the entry, a kubeconfig's credentials to its own server.
		owner := p.live.Secrets[ref.Name].Labels[fleet.LabelSync]
		othersToken := owner != "" && p.fleet.Sync != "" && owner != p.fleet.Sync && p.live.Syncs[owner] && slices.Contains(ref.Keys, mondoo.KeyToken)
		server := "" // for a Secret in the fleet, the fleet's opening has checked the key
		if live, exists := p.live.Secrets[ref.Name]; exists && !p.manifests[ref.Name] {
			server = string(live.Data[mondoo.KeyServer])
		}
		message, fix := compile.TokenServer(&c.Entry, ref, server)
		missing, add := p.missing(ref)
		switch user := p.live.Reserved[ref.Name]; {
		case missing != "" && ref.Operator:
			refuse(CodeSecretMissing, missing+"; the operator would stop at this cluster and skip those after it", add)
		case isInline:
			refuse(CodeSecretOfOther, inlineMessage(ref.Name, by), "give the cluster its own credentials")
		case othersToken:
			refuse(CodeSecretOfOther, fmt.Sprintf("the Secret %s belongs to the AuditSync %s", ref.Name, owner),
				"give the cluster its own credentials")
		case message != "":
			refuse(compile.CodeTokenServer, message, fix)
		case user != "" && private:
			refuse(CodeSecretInUse, fmt.Sprintf("the Secret %s is used by %s and can't be given to a cluster", ref.Name, user),
				"give the cluster its own credentials")
		}
	}
	return refusing
}

// missingSecrets reports named Secrets that don't exist. The operator doesn't report them: the scan's Pod just never
// starts.
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

// missing returns what is missing of a Secret that an entry names, live and in the plan.
func (p *planner) missing(ref compile.Reference) (message, fix string) {
	if !p.live.EverySecret || p.wanted[ref.Name] != nil { // the keys of the fleet's Secrets were checked before
		return "", ""
	}
	live, exists := p.live.Secrets[ref.Name]
	if !exists {
		return fmt.Sprintf("the Secret %s does not exist in the namespace %s", ref.Name, p.fleet.Namespace),
			"create it with the key " + strings.Join(ref.Keys, " and ") + ", or correct the name"
	}
	for _, key := range ref.Keys {
		if len(live.Data[key]) == 0 {
			return fmt.Sprintf("the Secret %s has no key %s", ref.Name, key), "add the key, or name another Secret"
		}
	}
	return "", ""
}

// secretDifferences returns the fields of a Secret that must change. Keys that others have added are no difference if
// Muster has applied the same content before. Otherwise such a key may have been deleted from the file.
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
			continue // a commit changed the file, but not this Secret
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

// unneeded plans the removal of Muster's own Secrets that are no longer in the fleet.
func (p *planner) unneeded(standalone *inventory.Inventory) {
	reasons := map[string]string{}
	if before := p.inventories[""]; before != nil {
		for _, item := range before.Secrets {
			if reason := p.removals.reason[inventory.SecretKey(item.Name)]; reason != "" && p.wanted[item.Name] == nil {
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
		p.holdSecret(name, reasons[name], standalone)
	}
}

// holdNamed removes from names the Secrets that something staying in the management cluster still names, and records
// why in reasons. That may be the entry of a cluster that is kept, an audit config whose removal is held, or an audit
// config that Muster doesn't manage.
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

// holdSecret plans a Secret that stays although the fleet no longer has it.
func (p *planner) holdSecret(name, reason string, standalone *inventory.Inventory) {
	step := Step{Action: Hold, Kind: KindSecret, Name: name, Reason: reason}
	if reason == reasonNamed {
		step.NamedBy = p.namers[name]
	}
	if item := p.inventories[""].Secret(name); item != nil {
		step.Origin = item.Origin
		standalone.Secrets = append(standalone.Secrets, *item)
	} else if auditConfig, maker := p.maker(name); maker != nil {
		// The cluster no longer has it. Record it on its own, or it would never be removed.
		standalone.Secrets = append(standalone.Secrets, inventory.Item{Name: name, Origin: maker.Origin, Commit: maker.Commit,
			MadeFor: inventory.Cluster{AuditConfig: auditConfig, Name: maker.Name}})
	}
	p.step(step)
	if waits(reason) {
		p.plan.Held++
	}
}

// maker returns the item of the cluster that a Secret was applied for, with its audit config, or nil.
func (p *planner) maker(secret string) (auditConfig string, item *inventory.Item) {
	for _, inv := range p.inventoriesOf(secret) {
		for i := range inv.Clusters {
			if slices.Contains(inv.Clusters[i].Secrets, secret) {
				return inv.AuditConfig, &inv.Clusters[i]
			}
		}
	}
	return "", nil
}

// namedByLive returns the Secrets that audit configs and their entries will name after this plan, each with the first
// that names it.
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

// namers maps the names of Secrets to what names them, as text for messages.
type namers map[string]string

// object records what an audit config names, with its entries if the list is readable.
func (n namers) object(name string, object map[string]any) {
	by := "the audit config " + name
	if entries, err := mondoo.Entries(object); err == nil {
		for _, entry := range entries {
			n.refs("the entry "+nameOf(entry)+" of "+by, entry, "")
		}
	}
	n.refs(by, object["spec"], "")
}

// refs records the names in all references to Secrets below a value. Such fields are named like mondooCredsSecretRef,
// privateRegistriesPullSecretRefs and secretKeyRef, and hold one reference or a list.
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

// namesSecret reports whether a field by that name refers to Secrets.
func namesSecret(field string) bool {
	lower := strings.ToLower(field)
	return strings.Contains(lower, "secret") && strings.HasSuffix(strings.TrimSuffix(lower, "s"), "ref")
}

// names records the name in a reference, or in each reference of a list.
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

// known reports whether an inventory has a Secret. The label alone doesn't prove that Muster made it: users copy
// manifests.
func (p *planner) known(name string) bool {
	return slices.ContainsFunc(p.inventoriesOf(name), func(inv *inventory.Inventory) bool {
		return p.next[inv.AuditConfig] != nil || inv.AuditConfig == "" // everything of a refused audit config stays
	})
}
