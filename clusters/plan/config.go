package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// config plans one audit config and its list.
func (p *planner) config(name string) {
	desired, inFleet := p.desiredConfig(name)
	live := p.live.AuditConfigs[name]
	before := p.inventories[name]
	if refusal := p.refused[name]; refusal != nil {
		p.plan.Add(*refusal)
		p.plan.Refused = append(p.plan.Refused, name)
		return
	}
	if p.namesInline(desired) {
		return
	}
	if live == nil && desired.Object == nil {
		p.withoutConfig(name, before, inFleet)
		return
	}
	if !inFleet && before != nil && before.Origin != "" {
		if p.removeConfig(name, before, live) {
			return
		}
	}
	steps, held := len(p.plan.Steps), p.plan.Held
	undo := func() { p.plan.Steps, p.plan.Held, p.full[name] = p.plan.Steps[:steps], held, true }
	after := &inventory.Inventory{Sync: p.fleet.Sync, AuditConfig: name}
	if before != nil {
		after.Clusters = make([]inventory.Item, 0, len(before.Clusters)+1)
	}
	list, changed := p.list(name, live, before, after)
	object, whole := p.object(desired, live, before, after)
	config := object
	if config == nil {
		config = live
	}
	p.credentials(desired, config)
	changed = changed || whole
	wake := p.wake(config, list, before, after) && !changed
	if !changed && !wake {
		p.next[name] = after
		return
	}
	if !whole {
		object = p.identity(name)
	}
	if wake {
		p.step(Step{Action: Change, Kind: KindAuditConfig, Name: name, Origin: after.Origin, Reason: "a Secret that the operator reads has changed, and the operator must read it again"})
		setMeta(object, "annotations", fleet.AnnotationReads, after.Reads)
	}
	slices.SortFunc(list, inOrder)
	if err := mondoo.SetEntries(object, list); err != nil {
		undo()
		p.refuseConfig(p.place(desired.Origin, fieldList[:2]), CodeConfigMissing, fmt.Sprintf("the audit config %s can't hold a list of clusters: spec.kubernetesResources is not an object", name), "")
		return
	}
	if size := jsonSize(object); size > maxObject {
		undo()
		p.refuseConfig(p.place(desired.Origin, fieldName), CodeTooLarge, fmt.Sprintf("the audit config %s would be %d KiB; the limit is %d KiB", name, size>>10, maxObject>>10),
			"spread the clusters over several audit configs, with spec.auditConfig in the cluster files")
		return
	}
	p.next[name] = after
	p.plan.Configs = append(p.plan.Configs, ConfigWrite{Name: name, Object: object, ListOnly: !whole, Version: versionOf(live),
		before: live, secrets: p.secretsIn(name), leaving: p.leavingOf(name)})
}

// inOrder orders entries by name, with those that need Vault last. The operator works through them in order and stops
// at the first failure, most often a login to a Vault that doesn't answer.
func inOrder(a, b map[string]any) int {
	needs := func(entry map[string]any) int {
		if entry["vaultAuth"] != nil {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(needs(a), needs(b)), strings.Compare(nameOf(a), nameOf(b)))
}

// leavingOf returns the clusters that this plan moves out of an audit config, with their targets.
func (p *planner) leavingOf(auditConfig string) map[string]string {
	leaving := map[string]string{}
	for _, item := range p.itemsIn(auditConfig) {
		cluster := inventory.Cluster{AuditConfig: auditConfig, Name: item.Name}
		if target := p.removals.target[cluster]; target != "" && p.removals.reason[inventory.ClusterKey(cluster)] == "" {
			leaving[item.Name] = target
		}
	}
	return leaving
}

// secretsIn returns the Secrets that are applied for the clusters of an audit config, with their clusters.
func (p *planner) secretsIn(auditConfig string) map[string]string {
	secrets := map[string]string{}
	for i := range p.fleet.Secrets {
		if s := &p.fleet.Secrets[i]; s.Cluster != "" && s.AuditConfig == auditConfig {
			secrets[s.Name] = s.Cluster
		}
	}
	return secrets
}

// Held returns the clusters of the audit config that have a Secret in failed.
func (c ConfigWrite) Held(failed map[string]bool) map[string]bool {
	held := map[string]bool{}
	for secret, cluster := range c.secrets {
		if failed[secret] {
			held[cluster] = true
		}
	}
	return held
}

// Leaving returns the clusters that move to another audit config, with their targets. An entry must not be removed
// before the target has it.
func (c ConfigWrite) Leaving() map[string]string { return c.leaving }

// Without returns the write for the case that some clusters can't proceed, because a Secret could not be written or the
// target does not have them yet. Their entries stay as they are, or absent. An entry names the server that the
// credential is sent to, so a new entry must never meet an old credential.
func (c ConfigWrite) Without(held map[string]bool) (ConfigWrite, error) {
	if len(held) == 0 {
		return c, nil
	}
	wanted, err := mondoo.Entries(c.Object)
	if err != nil {
		return c, err
	}
	isHeld := func(entry map[string]any) bool { return held[nameOf(entry)] }
	list := slices.DeleteFunc(slices.Clone(wanted), isHeld)
	// A live value that can't be read as a list has no entries to keep.
	if present, err := mondoo.Entries(c.before); err == nil {
		list = append(list, slices.DeleteFunc(slices.Clone(present), func(entry map[string]any) bool { return !isHeld(entry) })...)
	}
	slices.SortStableFunc(list, inOrder)
	c.Object = deepCopy(c.Object)
	return c, mondoo.SetEntries(c.Object, list)
}

func (p *planner) desiredConfig(name string) (fleet.AuditConfig, bool) {
	for _, c := range p.fleet.AuditConfigs {
		if c.Name == name {
			return c, true
		}
	}
	return fleet.AuditConfig{Name: name}, false
}

// refuseConfig reports an error that blocks all clusters of an audit config.
func (p *planner) refuseConfig(at finding.Finding, code finding.Code, message, fix string) {
	at.Stops = true
	p.refuse(at, code, message, fix)
}

// refuse reports an error at a place.
func (p *planner) refuse(at finding.Finding, code finding.Code, message, fix string) {
	at.Code, at.Severity, at.Message, at.Fix = code, finding.Error, message, fix
	p.plan.Add(at)
}

// withoutConfig plans an audit config that is neither in Git nor in the cluster. Clusters in Git wait for it. The
// entries of an inventory are gone together with the audit config.
func (p *planner) withoutConfig(name string, before *inventory.Inventory, inFleet bool) {
	if inFleet {
		p.plan.Waiting = true
		p.refuseConfig(finding.Finding{}, CodeConfigMissing, fmt.Sprintf("there is no MondooAuditConfig %s in the namespace %s", name, p.fleet.Namespace),
			"install it (with Helm or from Mondoo's console), or put it into the repository")
		return
	}
	if before != nil {
		p.next[name] = &inventory.Inventory{Sync: p.fleet.Sync, AuditConfig: name}
	}
}

// removeConfig plans the removal of an audit config that Muster applied as a whole and that is no longer in Git.
// Removing it ends every scan of its clusters, so it always needs approval.
func (p *planner) removeConfig(name string, before *inventory.Inventory, live map[string]any) bool {
	reason, foreign := "", p.foreignIn(name, live)
	switch {
	case !p.policy.Prune:
		reason = reasonPrune
	case !p.approved[inventory.AuditConfigKey(name)] || p.hasUnapprovedForeign(name, foreign, live):
		reason = reasonOwner
	case slices.ContainsFunc(before.Clusters, func(item inventory.Item) bool { return p.stays(name, item.Name) }):
		reason = reasonKeeps
	}
	if reason != "" {
		p.step(Step{Action: Hold, Kind: KindAuditConfig, Name: name, Origin: before.Origin, Reason: reason})
		if waits(reason) {
			p.plan.Held++
			p.listForeign(Hold, name, foreign)
		}
		return false
	}
	p.next[name] = &inventory.Inventory{Sync: p.fleet.Sync, AuditConfig: name}
	p.step(Step{Action: Remove, Kind: KindAuditConfig, Name: name, Origin: before.Origin})
	p.listForeign(Remove, name, foreign)
	p.plan.Delete.AuditConfigs = append(p.plan.Delete.AuditConfigs, Deletion{Name: name, Version: versionOf(live)})
	return true
}

// foreignIn returns the entries of an audit config that Muster did not write, sorted.
func (p *planner) foreignIn(auditConfig string, live map[string]any) []string {
	entries, err := mondoo.Entries(live)
	if err != nil {
		return nil // the live value is not a list
	}
	var names []string
	for _, entry := range entries {
		if name := nameOf(entry); p.item(auditConfig, name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hasUnapprovedForeign reports whether an audit config with an approved removal has foreign entries that were not part
// of the approval and that may not be removed without one.
func (p *planner) hasUnapprovedForeign(auditConfig string, foreign []string, live map[string]any) bool {
	added := 0
	for _, name := range foreign {
		if !p.approved[inventory.ClusterKey(inventory.Cluster{AuditConfig: auditConfig, Name: name})] {
			added++
		}
	}
	if p.policy.Foreign != RemoveForeign {
		return added > 0
	}
	entries, _ := mondoo.Entries(live) // foreignIn has checked for errors
	return p.foreignStay(added, len(entries)) != ""
}

// listForeign lists the foreign entries that are removed together with an audit config. Entries that would be removed
// anyway are listed by list instead.
func (p *planner) listForeign(action Action, auditConfig string, foreign []string) {
	if action == Hold && p.policy.Foreign == RemoveForeign {
		return
	}
	for _, name := range foreign {
		p.step(Step{Action: action, Kind: KindCluster, Name: name, AuditConfig: auditConfig, Reason: reasonAlong})
	}
}

// stays reports whether an applied cluster is neither removed from its audit config nor moved to another.
func (p *planner) stays(auditConfig, name string) bool {
	key := inventory.ClusterKey(inventory.Cluster{AuditConfig: auditConfig, Name: name})
	return !p.removals.items[key] || p.removals.reason[key] != ""
}

// list plans the entries of an audit config. It returns the complete list, and whether it differs from the live one.
func (p *planner) list(name string, live map[string]any, before, after *inventory.Inventory) (list []map[string]any, changed bool) {
	raw, err := mondoo.Entries(live)
	if err != nil {
		raw = nil // the live value is not a list, and is replaced
		changed = true
	}
	l := lister{planner: p, config: name, before: before, after: after, byHand: p.byHand(name),
		raw: make(map[string]map[string]any, len(raw)), done: make(map[string]bool, len(raw)), list: make([]map[string]any, 0, len(raw)+1)}
	for _, object := range raw {
		name := nameOf(object)
		if _, twice := l.raw[name]; twice {
			changed = true // the operator uses the last of two; one is kept
		}
		l.raw[name] = object
	}
	for _, c := range p.fleet.Clusters {
		if c.AuditConfig == name {
			l.cluster(c)
		}
	}
	l.gone()
	l.foreign()
	return l.list, changed || l.changed
}

// lister collects the entries of one audit config.
type lister struct {
	*planner
	config        string
	before, after *inventory.Inventory
	raw           map[string]map[string]any
	list          []map[string]any
	done          map[string]bool
	changed       bool
	byHand        bool // whether a user or another tool has written the list
}

func (l *lister) keep(name string) {
	if raw, ok := l.raw[name]; ok {
		l.list = append(l.list, raw)
	}
	l.mark(name)
}

func (l *lister) mark(name string) { l.done[name] = true }

// compare reports whether an entry exists, whether it is equal, and which fields differ. An unreadable entry differs as
// a whole: Muster's own entry is corrected, a foreign one is left alone.
func (l *lister) compare(c fleet.Cluster) (exists, equal bool, differ []Field) {
	raw, exists := l.raw[c.Name]
	if !exists || matches(raw, &c.Entry) {
		return exists, exists, nil
	}
	live, err := mondoo.ParseEntry(raw)
	if err == nil && mondoo.Equal(live, c.Entry) {
		return true, true, nil
	}
	return true, false, fields(live, c.Entry)
}

// cluster plans the entry of one cluster of the fleet.
func (l *lister) cluster(c fleet.Cluster) {
	known := l.item(l.config, c.Name)
	if c.Quarantined {
		l.keep(c.Name)
		if known != nil {
			l.after.Clusters = append(l.after.Clusters, *known)
			l.keepAll(known.Secrets)
		}
		return
	}
	exists, equal, differ := l.compare(c)
	item := inventory.Item{Name: c.Name, Origin: c.Origin.Path, Commit: l.commit(known, c.Hash), Hash: c.Hash, Secrets: c.Secrets}
	l.clocks(&item, known, equal)
	item.Scanned = known != nil && known.Hash == c.Hash && known.Scanned
	step := Step{Kind: KindCluster, Name: c.Name, AuditConfig: l.config, Origin: c.Origin.Path,
		Drift: known != nil && known.Hash == c.Hash}
	var past []inventory.Correction
	if step.Drift {
		past = known.Corrected
	}
	settled := l.settle(KindCluster, nil, past, false)
	switch {
	case equal:
		if known != nil {
			l.noteMove(known, item)
		}
		item.Corrected = settled.corrected
		l.after.Clusters = append(l.after.Clusters, item)
		l.keep(c.Name)
		return
	case exists:
		step.Action, step.Fields = Change, differ
		if known == nil {
			step.Reason = "takes over an entry that was made by hand"
		}
		if step.Drift {
			settled = l.settle(KindCluster, differ, past, l.byHand)
			step.Fields = settled.wrong
			l.notKept("the entry "+c.Name+" of the audit config "+l.config, func(field []string) finding.Finding {
				return l.placeOf(&c, append([]string{"spec"}, field...))
			}, settled.notKept)
		}
	default:
		step.Action = Add
		if step.Drift {
			step.Reason = "it was removed from the audit config"
			settled = l.settle(KindCluster, []Field{{}}, past, l.byHand)
			item.Scanned = item.Scanned || l.policy.Scanned != nil && l.policy.Scanned(l.config, c.Name)
			if l.policy.CorrectDrift && settled.until.IsZero() {
				// The operator's objects for it were removed with it.
				item.Applied = l.policy.now()
				item.Changed, item.Taken = item.Applied, time.Time{}
			}
		}
	}
	waits := l.settled(&step, settled)
	item.Corrected = settled.corrected
	l.after.Clusters = append(l.after.Clusters, item)
	if step.Action == Change && len(step.Fields) == 0 && len(settled.notKept) > 0 {
		l.noteMove(known, item)
		l.keep(c.Name)
		return
	}
	l.step(step)
	if waits || step.Drift && !l.policy.CorrectDrift {
		l.keep(c.Name)
		return
	}
	l.changed = true
	l.list = append(l.list, c.Entry.Map())
	l.mark(c.Name)
}

// noteMove lists a cluster whose file was renamed.
func (l *lister) noteMove(known *inventory.Item, item inventory.Item) {
	if known.Origin != item.Origin {
		l.step(Step{Action: Move, Kind: KindCluster, Name: item.Name, AuditConfig: l.config, Origin: item.Origin, Reason: "was " + known.Origin})
	}
}

// gone plans Muster's own entries that are no longer in Git.
func (l *lister) gone() {
	if l.before == nil {
		return
	}
	for _, item := range l.before.Clusters {
		if l.done[item.Name] {
			continue
		}
		key := inventory.ClusterKey(inventory.Cluster{AuditConfig: l.config, Name: item.Name})
		_, exists := l.raw[item.Name]
		if !l.removals.items[key] {
			// It is in Git, but its audit config can't be read.
			l.after.Clusters = append(l.after.Clusters, item)
			l.keepAll(item.Secrets)
			l.keep(item.Name)
			continue
		}
		if reason := l.removals.reason[key]; reason != "" {
			l.step(Step{Action: Hold, Kind: KindCluster, Name: item.Name, AuditConfig: l.config, Origin: item.Origin, Reason: reason})
			if waits(reason) {
				l.plan.Held++
			}
			l.after.Clusters = append(l.after.Clusters, item)
			l.keepAll(item.Secrets)
			l.keep(item.Name)
			continue
		}
		if exists {
			l.step(Step{Action: Remove, Kind: KindCluster, Name: item.Name, AuditConfig: l.config, Origin: item.Origin})
			l.changed = true
		}
		l.mark(item.Name)
	}
}

func (p *planner) keepAll(secrets []string) {
	for _, name := range secrets {
		p.keepSecrets[name] = true
	}
}

// foreign plans the entries that come from no file and never did.
func (l *lister) foreign() {
	var names []string
	for name := range l.raw {
		if !l.done[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	asked := func(name string) bool {
		return !l.approved[inventory.ClusterKey(inventory.Cluster{AuditConfig: l.config, Name: name})]
	}
	stay := l.foreignStay(len(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !asked(name) })), len(l.raw))
	for _, name := range names {
		if l.policy.Foreign == RemoveForeign && stay != "" && asked(name) {
			l.step(Step{Action: Hold, Kind: KindCluster, Name: name, AuditConfig: l.config, Reason: stay})
			l.plan.Held++
			l.keep(name)
			continue
		}
		if l.policy.Foreign == RemoveForeign {
			l.step(Step{Action: Remove, Kind: KindCluster, Name: name, AuditConfig: l.config, Reason: "it is in no file, and foreignClusters is Remove"})
			l.changed = true
			continue
		}
		l.keep(name)
		l.plan.Foreign[l.config] = append(l.plan.Foreign[l.config], name)
	}
	if names := l.plan.Foreign[l.config]; len(names) > 0 {
		l.plan.Add(finding.Finding{Code: CodeForeign, Severity: finding.Info,
			Message: fmt.Sprintf("the audit config %s has %d entries that are in no file; they are kept: %s", l.config, len(names), some(names)),
			Fix:     "write cluster files for them, or set foreignClusters: Remove"})
	}
}

// foreignStay returns why n foreign entries, of total, are kept even where the policy removes them: an unreadable file
// may hold them, or there are more than may be removed at once.
func (p *planner) foreignStay(n, total int) string {
	switch {
	case n == 0:
		return ""
	case p.removals.unread:
		return reasonUnread
	case n > p.budget(total):
		return reasonBudget
	}
	return ""
}

// object plans the audit config itself. An audit config that Muster applies as a whole is compared field by field,
// without the fields that the operator fills in. For any other audit config, object returns nil.
func (p *planner) object(desired fleet.AuditConfig, live map[string]any, before, after *inventory.Inventory) (object map[string]any, changed bool) {
	if desired.Object == nil {
		if _, inFleet := p.desiredConfig(desired.Name); !inFleet && before != nil {
			// Its removal is held.
			after.Origin, after.Commit, after.Hash, after.Corrected = before.Origin, before.Commit, before.Hash, before.Corrected
		}
		return nil, false
	}
	object = ownFields(desired.Object)
	hash := compile.Hash(object)
	var known *inventory.Item
	if before != nil {
		known = &inventory.Item{Hash: before.Hash, Commit: before.Commit}
	}
	after.Origin, after.Hash, after.Commit = desired.Origin.Path, hash, p.commit(known, hash)
	p.stamp(object, desired.Origin.Path, after.Commit)
	defer p.leaveOut(desired, object, before, after)()
	same := known != nil && known.Hash == hash
	step := Step{Kind: KindAuditConfig, Name: desired.Name, Origin: desired.Origin.Path, Drift: same}
	waits := false
	if same {
		after.Corrected = before.Corrected
	}
	if live == nil {
		step.Action = Add
		p.step(step)
		return object, true
	}
	step.Action, step.Fields = Change, differences("", object, live)
	if len(step.Fields) == 0 && !same && p.policy.Revision != "" {
		// The live object equals this commit's: it was applied, but the run ended before the inventory was written.
		return object, false
	}
	if same {
		settled := p.settle(KindAuditConfig, step.Fields, before.Corrected, false)
		step.Fields, after.Corrected = settled.wrong, settled.corrected
		waits = p.settled(&step, settled)
		p.notKept("the audit config "+desired.Name, func(field []string) finding.Finding { return p.place(desired.Origin, field) }, settled.notKept)
	}
	switch {
	case len(step.Fields) == 0 && same:
		return object, false
	case known == nil || known.Hash == "":
		step.Reason = "takes over an audit config that was made by hand"
	case len(step.Fields) == 0:
		step.Reason = "fields were removed from its file" // applying without them removes them
	}
	p.step(step)
	return object, !waits && (!step.Drift || p.policy.CorrectDrift)
}

// identity returns an audit config with only its identity, to apply the list with.
func (p *planner) identity(name string) map[string]any {
	return map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
		"metadata": map[string]any{"name": name, "namespace": p.fleet.Namespace}}
}

// stamp sets the namespace, the label and the origin of an object that Muster applies as a whole.
func (p *planner) stamp(object map[string]any, path, commit string) {
	metadata(object)["namespace"] = p.fleet.Namespace
	if p.fleet.Sync != "" {
		setMeta(object, "labels", fleet.LabelSync, p.fleet.Sync)
	}
	setMeta(object, "annotations", fleet.AnnotationOrigin, origin(path, commit))
}

// metadata returns an object's metadata, adding it if missing.
func metadata(object map[string]any) map[string]any {
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	return meta
}

// setMeta sets a label or an annotation.
func setMeta(object map[string]any, field, key, value string) {
	meta := metadata(object)
	m, ok := meta[field].(map[string]any)
	if !ok {
		m = map[string]any{}
		meta[field] = m
	}
	m[key] = value
}

// origin is the value of the origin annotation.
func origin(path, commit string) string {
	if commit == "" {
		return path
	}
	return path + "@" + commit
}

func nameOf(entry map[string]any) string {
	name, _, err := unstructured.NestedString(entry, "name")
	if err != nil {
		return "" // treated as an entry without a name, as the operator does
	}
	return name
}

func versionOf(live map[string]any) Version {
	object := unstructured.Unstructured{Object: live}
	return Version{UID: string(object.GetUID()), ResourceVersion: object.GetResourceVersion()}
}

func jsonSize(object map[string]any) int {
	data, err := json.Marshal(object)
	if err != nil {
		return 0
	}
	return len(data)
}
