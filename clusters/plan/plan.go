// Package plan compares an opened fleet with what the management cluster has, and says what to do.
//
// Compute is a pure function of values: the fleet, the live objects and the inventories. Its result, a Plan, names every
// change with its reason, and holds what the applier needs. Plans are sorted, can be printed, and print no value of a
// Secret.
//
// Nothing is removed on a doubt: what belongs to a broken file, a stopped tree or a quarantined cluster stays; so does what a
// file that can't be read may hold, what something that stays names, a cluster whose new audit config can't take it, and
// whatever exceeds the removal budget, foreign entries included. An audit config whose file is broken stops the plan.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// Codes of this package's findings.
const (
	CodeConfigMissing finding.Code = "audit-config-missing" // the audit config does not exist in the cluster
	CodeConfigOwned   finding.Code = "audit-config-owned"   // another AuditSync drives the audit config
	CodeConfigForeign finding.Code = "audit-config-foreign" // an audit config is there that Muster did not make
	CodeSecretOwned   finding.Code = "secret-owned"         // another AuditSync made the Secret
	CodeSecretType    finding.Code = "secret-type"          // the type of a Secret can't be changed
	CodeImmutable     finding.Code = "secret-immutable"     // an immutable Secret can't be changed
	CodeSecretEmptied finding.Code = "secret-emptied"       // a Secret with values would have none
	CodeSecretMissing finding.Code = "secret-missing"       // an entry names a Secret that nobody has
	CodeCredentials   finding.Code = "mondoo-credentials"   // the credentials at Mondoo are missing, or the operator can't use them
	CodeSecretForeign finding.Code = "secret-foreign"       // a Secret is there that Muster did not make
	CodeSecretInUse   finding.Code = "secret-in-use"        // a Secret that an AuditSync needs for itself
	CodeSecretOfOther finding.Code = "secret-of-other"      // something names a Secret with the credentials of a cluster file
	CodeNotKept       finding.Code = "field-not-kept"       // a field doesn't keep the value that Muster applies
	CodeForeign       finding.Code = "foreign-cluster"      // an entry that is in no file
	CodeTooLarge      finding.Code = "audit-config-size"    // the audit config would be over the limit
	CodeHeld          finding.Code = "removals-held"        // removals wait for an approval
)

// maxObject is the size from which an audit config is refused. etcd refuses requests over 1.5 MiB, and the operator needs
// room for its own fields.
const maxObject = 1 << 20

// Live is what the management cluster has in the fleet's namespace.
type Live struct {
	// AuditConfigs are the objects by name, as JSON gives them.
	AuditConfigs map[string]map[string]any
	Secrets      map[string]LiveSecret
	// EverySecret says that Secrets holds all of the namespace. Only then is one that an entry names reported as missing.
	EverySecret bool
	// Inventories are those of all AuditSyncs.
	Inventories []*Inventory
	// Reserved are the Secrets that AuditSyncs of the namespace use for themselves (keys, Git credentials, webhook tokens), with
	// what uses each, such as "the AuditSync prod". Nothing from a repository may change, remove or read them.
	Reserved map[string]string
	// Undeclared are fields that the API server is known not to have in audit configs, as dotted paths from spec on, without indexes.
	Undeclared map[string]bool
	// Syncs are the AuditSyncs that exist. An inventory of another one is abandoned, and may be taken over.
	Syncs map[string]bool
}

// Version is the version of a live object from which something was planned. What is written or deleted for the plan carries it, so that
// the API server refuses to change an object that has become another. It is zero where there was no object: then one is created, and none
// that has appeared in between is changed.
type Version struct {
	UID, ResourceVersion string
}

// LiveSecret is a Secret of the management cluster.
type LiveSecret struct {
	Version
	Type                string
	Labels, Annotations map[string]string
	Immutable           bool
	Data                map[string][]byte
	// ManagedFields tell who has changed it. They are read when it has drifted, and may lack Muster's own.
	ManagedFields []metav1.ManagedFieldsEntry
}

// Foreign says what becomes of entries that are in no file.
type Foreign string

// The policies for foreign entries.
const (
	KeepForeign   Foreign = "Keep"
	RemoveForeign Foreign = "Remove"
)

// Policy is the part of an AuditSync that decides what may be done.
type Policy struct {
	// Revision is the commit that the fleet comes from.
	Revision string
	// Prune says whether what is no longer in Git is removed.
	Prune bool
	// MaxRemovals is how many clusters and Secrets one plan may remove, as a number or a percentage ("25%"); a percentage
	// always allows one.
	MaxRemovals string
	// Approved is the Approval of the plan whose held removals somebody has approved.
	Approved string
	Foreign  Foreign
	// CorrectDrift says whether live objects that differ at an unchanged revision are put right.
	CorrectDrift bool
	// Now is noted in inventories as the time at which clusters get a new form. Zero, as where a plan is only looked at, notes
	// none.
	Now time.Time
	// ScanChanged says whether clusters that get a new form are noted as due for a scan, up to MaxScansDue.
	ScanChanged bool
	// Scanned says whether a scan of what was applied for a cluster has ended well. It is asked about clusters whose entries
	// somebody has removed. Nil knows of none.
	Scanned func(auditConfig, cluster string) bool
}

// now is Now as inventories have it.
func (p Policy) now() time.Time { return p.Now.UTC().Truncate(time.Second) }

// Action is what is done with an object.
type Action string

// The actions, in the order in which a plan lists them.
const (
	Add    Action = "add"
	Change Action = "change"
	Move   Action = "move"
	Remove Action = "remove"
	Hold   Action = "hold" // would be removed, and stays
)

// The kinds of items in a plan.
const (
	KindCluster     = "cluster"
	KindSecret      = "Secret"
	KindAuditConfig = "MondooAuditConfig"
)

// Step is one item of a plan, for people.
type Step struct {
	Action Action `json:"action"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	// AuditConfig is the one that a cluster belongs to.
	AuditConfig string `json:"auditConfig,omitempty"`
	Origin      string `json:"origin,omitempty"`
	// Fields are the fields that change, with their values unless those are secret.
	Fields []Field `json:"fields,omitempty"`
	// Drift says that Git has not changed: somebody has changed the live object.
	Drift bool `json:"drift,omitempty"`
	// ChangedBy says who has made it drift, as far as the API server can tell: of what was deleted, it can't.
	ChangedBy []Author `json:"changedBy,omitempty"`
	// Reason says why, where the action doesn't say it all.
	Reason string `json:"reason,omitempty"`
	// Until is when drift is put right that waits for it, because the same fields were changed again and again.
	Until time.Time `json:"until,omitzero"`
	// NamedBy is what stays and names a Secret, which is held for that, such as "the entry eu of the audit config mondoo-client".
	NamedBy string `json:"namedBy,omitempty"`
}

// Field is one field that changes. From and To are empty for absent values and for those of Secrets.
type Field struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Plan is what to do.
type Plan struct {
	finding.Report
	Namespace, Sync, Revision string
	// Steps are sorted by kind, name and action.
	Steps []Step
	// Foreign are the entries of each audit config that are in no file and were kept.
	Foreign map[string][]string
	// NotKept are the objects with fields that don't keep their values and are given in to, and Contested those with fields that somebody
	// changes again and again. Their steps have kind, name and the paths of the fields alone.
	NotKept, Contested []Step
	// Applied counts the clusters of the fleet that are in the management cluster as the path says once this is carried out, and LeftOut
	// those that are not because of an error, here or before.
	Applied, LeftOut int
	// Next is when the first of the steps that wait is due; zero when none waits.
	Next time.Time
	// Outside are the Secrets that are needed and come from elsewhere, present or not; sorted. A change of one wants another plan.
	Outside []string
	// Refused are the audit configs that stay as they are, with all that belongs to them, for a reason that is an error; sorted.
	Refused []string
	// Waiting says that an audit config is missing in the cluster; trying again later may help.
	Waiting bool
	// Held is how many removals wait, and Approval is what to write into ApproveAnnotation to have them go; empty where that can't be
	// approved.
	Held     int
	Approval string
	// Mismatch says why an approval that is given approves nothing of what waits; empty when none is given, or nothing waits.
	Mismatch string
	// ScansLeft is how many clusters that get a new form are left to their schedules, for more than MaxScansDue are due for a scan.
	ScansLeft int

	// What the applier works on, in this order.
	Before  []*Inventory // inventories to write before anything else, so that nothing applied is ever forgotten
	Secrets []SecretWrite
	Configs []ConfigWrite
	Delete  Deletions
	After   []*Inventory // inventories to write at the end; an empty one is deleted

	approvable []string // the keys of what Approval is about, sorted
}

// SecretWrite is a Secret to apply.
type SecretWrite struct {
	Version             // of the live one
	Name                string
	Type                string
	Labels, Annotations map[string]string
	Immutable           bool
	Data                map[string]string
}

// ConfigWrite is an audit config to apply.
type ConfigWrite struct {
	Name string
	// Object is what to apply: the whole audit config, or, with ListOnly, its identity and list alone. The two have to be
	// applied by different field managers: what a manager no longer applies is removed.
	Object   map[string]any
	ListOnly bool
	Version  // of the live one

	before  map[string]any    // the live object
	secrets map[string]string // Secrets that are made for its entries, with the cluster
	leaving map[string]string // clusters that move to another audit config, with that one
}

// Deletions are the objects to delete.
type Deletions struct {
	Secrets, AuditConfigs []Deletion
}

// Deletion is an object to delete, of this version alone.
type Deletion struct {
	Name string
	Version
}

// Empty says whether there is nothing to write.
func (p *Plan) Empty() bool {
	return len(p.Before)+len(p.Secrets)+len(p.Configs)+len(p.Delete.Secrets)+len(p.Delete.AuditConfigs)+len(p.After) == 0
}

// Drifted are the steps about live objects that differ at an unchanged revision.
func (p *Plan) Drifted() []Step {
	var steps []Step
	for _, s := range p.Steps {
		if s.Drift {
			steps = append(steps, s)
		}
	}
	return steps
}

// Corrected are the drifted steps that this plan puts right, for a policy that says so.
func (p *Plan) Corrected() []Step {
	return slices.DeleteFunc(p.Drifted(), func(s Step) bool { return !s.Until.IsZero() })
}

// Compute plans a fleet. A stopped fleet gives a plan without steps. What it is given is only read, and the plan may share
// memory with it.
func Compute(desired *fleet.Opened, live Live, policy Policy) *Plan {
	p := computeFitting(desired, live, policy, nil)
	// Only a plan for which nothing is approved tells what there is to approve.
	if approved := approvedOf(p, live, policy); len(approved) > 0 {
		return computeFitting(desired, live, policy, approved)
	}
	p.Mismatch = p.mismatch(policy.Approved)
	return p
}

// computeFitting plans a fleet so that nothing moves into an audit config that turns out to be full: it stays where it is.
func computeFitting(desired *fleet.Opened, live Live, policy Policy, approved map[string]bool) *Plan {
	full := map[string]bool{}
	for {
		known := len(full)
		if p := compute(desired, live, policy, approved, full); len(full) == known {
			return p
		}
	}
}

// compute plans a fleet, and notes which audit configs can't hold what they would have to. Nothing moves into those that are
// known to be full.
func compute(desired *fleet.Opened, live Live, policy Policy, approved, full map[string]bool) *Plan {
	p := &planner{
		fleet: desired, live: live, policy: policy,
		plan: &Plan{Report: desired.Report.Clone(), Namespace: desired.Namespace, Sync: desired.Sync, Revision: policy.Revision,
			Foreign: map[string][]string{}},
		named: make(map[string][]fleet.Cluster, len(desired.Clusters)), inventories: map[string]*Inventory{}, wanted: make(map[string]*fleet.Secret, len(desired.Secrets)), outside: map[string]bool{},
		approved: approved, full: full,
	}
	if desired.Stopped {
		return p.plan
	}
	p.gather()
	p.want()
	p.findMade()
	if p.lostConfig(); p.plan.Stopped {
		return p.plan
	}
	p.refuseConfigs()
	p.quarantine()
	p.index()
	unchanged := p.unchanged()
	p.decideRemovals()
	for _, name := range p.configNames() {
		p.config(name)
	}
	p.secrets(<-unchanged)
	p.missingSecrets()
	p.liveConfigs()
	p.attribute()
	p.finish()
	return p.plan
}

type planner struct {
	fleet  *fleet.Opened
	live   Live
	policy Policy
	plan   *Plan

	named       map[string][]fleet.Cluster  // the clusters of the fleet by name
	inventories map[string]*Inventory       // of this sync, by audit config
	items       map[string]map[string]*Item // their clusters by name
	next        map[string]*Inventory       // what they become
	owners      map[string]string           // other, living syncs by audit config
	refused     map[string]*finding.Finding // audit configs that stay as they are, with all in them, and why
	removals    removals
	moves       moves
	wanted      map[string]*fleet.Secret // the Secrets of the fleet
	outside     map[string]bool          // Secrets that are named and not of the fleet
	made        made                     // the Secrets that were made for clusters
	manifests   map[string]bool          // the Secrets of the fleet that were not
	references  [][]compile.Reference    // of the clusters, in their order
	bySecret    map[string][]*Inventory  // see inventoriesOf
	keepSecrets map[string]bool          // Secrets of clusters that keep what was applied for them
	namers      map[string]string        // what names Secrets that stay for it
	approved    map[string]bool          // the keys of what may go although it would be held
	full        map[string]bool          // audit configs that can't hold their clusters
	waiting     map[[2]string]bool       // clusters, by audit config and name, that wait to move to it
}

// gather sorts the inventories into own, abandoned and others'.
func (p *planner) gather() {
	p.next, p.owners, p.keepSecrets = map[string]*Inventory{}, map[string]string{}, map[string]bool{}
	p.items = map[string]map[string]*Item{}
	for _, inv := range p.live.Inventories {
		if inv.Sync == p.fleet.Sync {
			p.inventories[inv.AuditConfig] = inv
			items := make(map[string]*Item, len(inv.Clusters))
			for i := range inv.Clusters {
				items[inv.Clusters[i].Name] = &inv.Clusters[i]
			}
			p.items[inv.AuditConfig] = items
		}
	}
	for _, inv := range p.live.Inventories {
		if inv.Sync == p.fleet.Sync || !p.live.Syncs[inv.Sync] || inv.AuditConfig == "" || !inv.precedes(p.fleet.Sync, p.inventories[inv.AuditConfig]) {
			continue
		}
		if owner := p.owners[inv.AuditConfig]; owner == "" || inv.Sync < owner {
			p.owners[inv.AuditConfig] = inv.Sync
		}
	}
}

// lostConfig stops a plan for want of an audit config whose file has an error. Its clusters could otherwise go to another one, which is
// no removal, and as many as there are.
func (p *planner) lostConfig() {
	for _, name := range slices.Sorted(maps.Keys(p.inventories)) {
		inv := p.inventories[name]
		if desired, _ := p.desiredConfig(name); name == "" || inv.Origin == "" || desired.Object != nil || !p.fleet.Broken[inv.Origin] {
			continue
		}
		p.plan.Stop(finding.Finding{Code: compile.CodeAuditConfig, Path: inv.Origin, Message: fmt.Sprintf("the audit config %s was applied from this file, which has an error now", name),
			Fix: "mend the file, or delete it to have the audit config removed"})
	}
}

// want makes the Secrets of the fleet known by their names.
func (p *planner) want() {
	for i := range p.fleet.Secrets {
		p.wanted[p.fleet.Secrets[i].Name] = &p.fleet.Secrets[i]
	}
}

// index makes clusters and Secrets of the fleet known by their names.
func (p *planner) index() {
	p.want()
	for i := range p.fleet.Clusters {
		name := p.fleet.Clusters[i].Name
		if others := p.named[name]; others != nil {
			p.named[name] = append(others, p.fleet.Clusters[i])
		} else {
			p.named[name] = p.fleet.Clusters[i : i+1 : i+1] // without a copy, for there is nearly always one
		}
	}
}

// configNames are the audit configs of the fleet and those that the inventories know.
func (p *planner) configNames() []string {
	names := map[string]bool{}
	for _, c := range p.fleet.AuditConfigs {
		names[c.Name] = true
	}
	for name := range p.inventories {
		if name != "" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// item is what the inventories of this AuditSync say about a cluster; nil when they don't know it.
func (p *planner) item(auditConfig, name string) *Item { return p.items[auditConfig][name] }

func (p *planner) step(s Step) { p.plan.Steps = append(p.plan.Steps, s) }

// commit is the revision that last changed an item: the present one, unless its hash is what it was.
func (p *planner) commit(before *Item, hash string) string {
	if before != nil && before.Hash == hash && before.Commit != "" {
		return before.Commit
	}
	return p.policy.Revision
}

// finish compares inventories before and after, and sorts the plan.
func (p *planner) finish() {
	p.count()
	p.boundDue()
	p.noteContested()
	p.noteApproval()
	approved, left := p.approvals()
	for _, name := range slices.Sorted(maps.Keys(p.next)) {
		before, after := p.inventories[name], p.next[name]
		if before != nil {
			after.Version = before.Version
		}
		sortItems(after.Clusters)
		sortItems(after.Secrets)
		after.Approved = left[name]
		if after.Equal(before) && approved[name].Equal(left[name]) {
			continue
		}
		if intent := intent(before, after, approved[name]); !intent.Equal(before) {
			p.plan.Before = append(p.plan.Before, intent)
			before = intent
		}
		if !after.Equal(before) {
			p.plan.After = append(p.plan.After, after)
		}
	}
	p.plan.Outside = slices.Sorted(maps.Keys(p.outside))
	slices.SortStableFunc(p.plan.Steps, func(a, b Step) int {
		return strings.Compare(a.Kind+"\x00"+a.AuditConfig+"\x00"+a.Name, b.Kind+"\x00"+b.AuditConfig+"\x00"+b.Name)
	})
	p.tellHeld()
}

// count counts clusters by what is done for them. Those that wait to move are neither.
func (p *planner) count() {
	for i := range p.fleet.Clusters {
		switch c := &p.fleet.Clusters[i]; {
		case p.next[c.AuditConfig] == nil || c.Quarantined && !p.waiting[[2]string{c.AuditConfig, c.Name}]:
			p.plan.LeftOut++
		case !c.Quarantined:
			p.plan.Applied++
		}
	}
}

// AdoptAnnotation on a Secret or an audit config that was made by hand lets the AuditSync that is its value take it over.
const AdoptAnnotation = "muster.dev/adopt"

// some lists the first names.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// intent is the inventory to write first: what was applied, without hash what will be applied for the first time, and what is about to
// be removed with an approval. A run that is killed afterwards has then left nothing behind that nobody knows of.
func intent(before, after *Inventory, approved *Approval) *Inventory {
	if before == nil {
		before = &Inventory{Sync: after.Sync, AuditConfig: after.AuditConfig}
	}
	i := *before
	i.Approved = approved
	if i.Origin == "" {
		i.Origin = after.Origin
	}
	i.Clusters, i.Secrets = union(before.Clusters, after.Clusters), union(before.Secrets, after.Secrets)
	return &i
}

func union(before, after []Item) []Item {
	items := slices.Clone(before)
	for _, item := range after {
		known := find(before, item.Name)
		if known == nil {
			item.Hash, item.Commit, item.Corrected, item.ScanDue = "", "", nil, false
			items = append(items, item)
			continue
		}
		// A Secret that the cluster is about to get is known of before it is there.
		for _, name := range item.Secrets {
			if !slices.Contains(known.Secrets, name) {
				at := slices.IndexFunc(items, func(i Item) bool { return i.Name == item.Name })
				items[at].Secrets = append(slices.Clone(items[at].Secrets), name)
				items[at].Making = append(slices.Clone(items[at].Making), name)
			}
		}
	}
	sortItems(items)
	return items
}
