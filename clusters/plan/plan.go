// Package plan compares an opened fleet with the management cluster and decides what to change.
//
// Compute is a pure function of values: the fleet, the live objects and the inventories. Its result, a Plan, lists
// every change with its reason, and everything the applier needs. Plans are sorted, can be printed, and never print a
// value of a Secret.
//
// When in doubt, a plan removes nothing. It keeps whatever belongs to a broken file, a stopped tree or a quarantined
// cluster, whatever an unreadable file may hold, and whatever is named by something that stays. It keeps a cluster
// whose new audit config can't hold it, and everything over the removal budget, foreign entries included. An audit
// config whose file is broken stops the plan.
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
	"github.com/muster-gitops/muster/clusters/inventory"
)

// Codes of this package's findings.
const (
	CodeConfigMissing finding.Code = "audit-config-missing" // the audit config does not exist in the cluster
	CodeConfigOwned   finding.Code = "audit-config-owned"   // another AuditSync drives the audit config
	CodeConfigForeign finding.Code = "audit-config-foreign" // a live audit config was not made by Muster
	CodeSecretOwned   finding.Code = "secret-owned"         // another AuditSync made the Secret
	CodeSecretType    finding.Code = "secret-type"          // the type of a Secret can't be changed
	CodeImmutable     finding.Code = "secret-immutable"     // an immutable Secret can't be changed
	CodeSecretEmptied finding.Code = "secret-emptied"       // a Secret with values would lose all of them
	CodeSecretMissing finding.Code = "secret-missing"       // an entry names a Secret that does not exist
	CodeCredentials   finding.Code = "mondoo-credentials"   // the Mondoo credentials are missing, or the operator can't use them
	CodeSecretForeign finding.Code = "secret-foreign"       // a live Secret was not made by Muster
	CodeSecretInUse   finding.Code = "secret-in-use"        // an AuditSync itself uses the Secret
	CodeSecretOfOther finding.Code = "secret-of-other"      // something names a Secret with the credentials of a cluster file
	CodeNotKept       finding.Code = "field-not-kept"       // the API server or the operator drops a field
	CodeForeign       finding.Code = "foreign-cluster"      // an entry comes from no file
	CodeTooLarge      finding.Code = "audit-config-size"    // the audit config would be over the limit
	CodeHeld          finding.Code = "removals-held"        // removals wait for approval
)

// maxObject is the largest audit config that Muster writes, in bytes. etcd refuses requests over 1.5 MiB, and the
// operator needs room for its own fields.
const maxObject = 1 << 20

// Live is the state of the fleet's namespace in the management cluster.
type Live struct {
	// AuditConfigs are the objects by name, as decoded from JSON.
	AuditConfigs map[string]map[string]any
	Secrets      map[string]LiveSecret
	// EverySecret is true when Secrets holds every Secret of the namespace. Only then is a named Secret reported as
	// missing.
	EverySecret bool
	// Inventories are the inventories of all AuditSyncs.
	Inventories []*inventory.Inventory
	// Reserved maps each Secret that an AuditSync of the namespace itself uses (keys, Git credentials, webhook tokens)
	// to its user, such as "the AuditSync prod". Nothing from a repository may change, remove or read them.
	Reserved map[string]string
	// Undeclared are fields that the CRD of audit configs lacks, as dotted paths from spec on, without indexes.
	Undeclared map[string]bool
	// Syncs are the AuditSyncs that exist. The inventory of any other AuditSync is abandoned and may be taken over.
	Syncs map[string]bool
}

// Version is the version of the live object that a change was planned for. Writes and deletions carry it, so that the
// API server refuses them if the object has changed since. It is zero if there was no object: the write then only
// creates, and fails if an object has appeared in between.
type Version = inventory.Version

// LiveSecret is a Secret in the management cluster.
type LiveSecret struct {
	Version
	Type                string
	Labels, Annotations map[string]string
	Immutable           bool
	Data                map[string][]byte
	// ManagedFields tell who changed it. They are read only for a drifted Secret, and may lack Muster's own.
	ManagedFields []metav1.ManagedFieldsEntry
}

// Foreign decides what happens to entries that come from no file.
type Foreign string

// The policies for foreign entries.
const (
	KeepForeign   Foreign = "Keep"
	RemoveForeign Foreign = "Remove"
)

// Policy is the part of an AuditSync's spec that limits what a plan may do.
type Policy struct {
	// Revision is the commit that the fleet comes from.
	Revision string
	// Prune removes what is no longer in Git.
	Prune bool
	// MaxRemovals is how many clusters and Secrets one plan may remove, as a number or a percentage ("25%"). A
	// percentage always allows at least one.
	MaxRemovals string
	// Approved is the Approval of a plan whose held removals the user has approved.
	Approved string
	Foreign  Foreign
	// CorrectDrift reverts changes to live objects at an unchanged revision.
	CorrectDrift bool
	// Now is recorded in inventories as the time at which clusters changed. A preview leaves it zero, and no time is
	// recorded.
	Now time.Time
	// ScanChanged marks changed clusters as due for a scan, up to MaxScansDue.
	ScanChanged bool
	// Scanned reports whether a scan of a cluster's applied form has succeeded. It is called for clusters whose entries
	// were removed by hand. Nil means that no scan is known.
	Scanned func(auditConfig, cluster string) bool
}

// now is Now in the precision of inventories.
func (p Policy) now() time.Time { return p.Now.UTC().Truncate(time.Second) }

// Action is what a plan does with an object.
type Action string

// The actions, in the order in which a plan lists them.
const (
	Add    Action = "add"
	Change Action = "change"
	Move   Action = "move"
	Remove Action = "remove"
	Hold   Action = "hold" // kept, although it would be removed
)

// The kinds of items in a plan.
const (
	KindCluster     = "cluster"
	KindSecret      = "Secret"
	KindAuditConfig = "MondooAuditConfig"
)

// Step is one item of a plan, for the reader.
type Step struct {
	Action Action `json:"action"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	// AuditConfig is the audit config of a cluster.
	AuditConfig string `json:"auditConfig,omitempty"`
	Origin      string `json:"origin,omitempty"`
	// Fields are the fields that change. Values are included unless they are secret.
	Fields []Field `json:"fields,omitempty"`
	// Drift is true if the live object was changed and Git was not.
	Drift bool `json:"drift,omitempty"`
	// ChangedBy is who caused the drift, as far as the API server can tell. It can't for deleted objects.
	ChangedBy []Author `json:"changedBy,omitempty"`
	// Reason is the reason for the action, if it isn't obvious.
	Reason string `json:"reason,omitempty"`
	// Until is when the drift will be corrected, if that waits because the same fields keep changing.
	Until time.Time `json:"until,omitzero"`
	// NamedBy is what still names a held Secret, such as "the entry eu of the audit config mondoo-client".
	NamedBy string `json:"namedBy,omitempty"`
}

// Field is one field that changes. From and To are empty for absent and for secret values.
type Field struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Plan is the result of Compute.
type Plan struct {
	finding.Report
	Namespace, Sync, Revision string
	// Steps are sorted by kind, audit config and name.
	Steps []Step
	// Foreign are the entries that come from no file and were kept, by audit config.
	Foreign map[string][]string
	// NotKept are objects with fields that the API server or the operator drops, and that Muster has stopped
	// correcting. Contested are objects with fields that keep being changed. Their steps have only the kind, the name
	// and the field paths.
	NotKept, Contested []Step
	// Applied counts the clusters that match Git once this plan is carried out. LeftOut counts those that don't because
	// of an error, in this stage or an earlier one.
	Applied, LeftOut int
	// Next is when the first waiting step is due; zero if none waits.
	Next time.Time
	// Outside are the Secrets that the fleet names and doesn't contain, present or not; sorted. A change of one
	// requires a new plan.
	Outside []string
	// Refused are the audit configs that an error keeps as they are, with everything in them; sorted.
	Refused []string
	// Waiting is true if an audit config is missing in the cluster. A later attempt may succeed.
	Waiting bool
	// Held is how many removals wait. Approval is the value of ApproveAnnotation that approves them; empty if they
	// can't be approved.
	Held     int
	Approval string
	// Mismatch is why the given approval approves none of the waiting removals; empty if none was given or none waits.
	Mismatch string
	// ScansLeft is how many changed clusters wait for their schedules, because more than MaxScansDue are due for a
	// scan.
	ScansLeft int

	// What the applier does, in this order.
	Before  []*inventory.Inventory // inventories to write before anything else, so that every applied object is recorded
	Secrets []SecretWrite
	Configs []ConfigWrite
	Delete  Deletions
	After   []*inventory.Inventory // inventories to write last; an empty one is deleted

	approvable []inventory.Key // the removals that Approval approves, sorted
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
	// Object is what to apply: the whole audit config or, with ListOnly, only its identity and list. The two need
	// different field managers, because the API server removes the fields that a manager no longer applies.
	Object   map[string]any
	ListOnly bool
	Version  // of the live one

	before  map[string]any    // the live object
	secrets map[string]string // Secrets made for its entries, with their cluster
	leaving map[string]string // clusters that move to another audit config, with their target
}

// Deletions are the objects to delete.
type Deletions struct {
	Secrets, AuditConfigs []Deletion
}

// Deletion is an object to delete, at exactly this version.
type Deletion struct {
	Name string
	Version
}

// Empty reports whether there is nothing to write.
func (p *Plan) Empty() bool {
	return len(p.Before)+len(p.Secrets)+len(p.Configs)+len(p.Delete.Secrets)+len(p.Delete.AuditConfigs)+len(p.After) == 0
}

// Drifted returns the steps about live objects that were changed at an unchanged revision.
func (p *Plan) Drifted() []Step {
	var steps []Step
	for _, s := range p.Steps {
		if s.Drift {
			steps = append(steps, s)
		}
	}
	return steps
}

// Corrected returns the drifted steps that this plan corrects now, if the policy corrects drift.
func (p *Plan) Corrected() []Step {
	return slices.DeleteFunc(p.Drifted(), func(s Step) bool { return !s.Until.IsZero() })
}

// Compute plans a fleet. For a stopped fleet, the plan has no steps. Compute doesn't change its arguments, and the plan
// may share memory with them.
func Compute(desired *fleet.Opened, live Live, policy Policy) *Plan {
	p := computeFitting(desired, live, policy, nil)
	// Only a plan without approvals lists everything that can be approved.
	if approved := approvedOf(p, live, policy); len(approved) > 0 {
		return computeFitting(desired, live, policy, approved)
	}
	p.Mismatch = p.mismatch(policy.Approved)
	return p
}

// computeFitting replans until no cluster moves into an audit config that turns out to be full. Such clusters stay
// where they are.
func computeFitting(desired *fleet.Opened, live Live, policy Policy, approved map[inventory.Key]bool) *Plan {
	full := map[string]bool{}
	for {
		known := len(full)
		if p := compute(desired, live, policy, approved, full); len(full) == known {
			return p
		}
	}
}

// compute plans a fleet, and adds the audit configs that can't hold all their clusters to full. Nothing moves into an
// audit config in full.
func compute(desired *fleet.Opened, live Live, policy Policy, approved map[inventory.Key]bool, full map[string]bool) *Plan {
	p := &planner{
		fleet: desired, live: live, policy: policy,
		plan: &Plan{Report: desired.Report.Clone(), Namespace: desired.Namespace, Sync: desired.Sync, Revision: policy.Revision,
			Foreign: map[string][]string{}},
		named: make(map[string][]fleet.Cluster, len(desired.Clusters)), inventories: map[string]*inventory.Inventory{}, wanted: make(map[string]*fleet.Secret, len(desired.Secrets)), outside: map[string]bool{},
		approved: approved, full: full,
	}
	if desired.Stopped {
		return p.plan
	}
	p.gather()
	p.want()
	p.findInline()
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

	named       map[string][]fleet.Cluster            // the clusters of the fleet by name
	inventories map[string]*inventory.Inventory       // of this sync, by audit config
	items       map[string]map[string]*inventory.Item // the clusters of inventories by audit config and name
	next        map[string]*inventory.Inventory       // the inventories after this plan
	owners      map[string]string                     // other AuditSyncs that exist, by the audit config they own
	refused     map[string]*finding.Finding           // audit configs that stay as they are, with everything in them, and why
	removals    removals
	moves       moves
	wanted      map[string]*fleet.Secret          // the Secrets of the fleet by name
	outside     map[string]bool                   // see Plan.Outside
	inline      inlineSecrets                     // the Secrets that Muster makes for clusters
	manifests   map[string]bool                   // the Secrets of the fleet that come from manifests
	references  [][]compile.Reference             // of fleet.Clusters, by index
	bySecret    map[string][]*inventory.Inventory // see inventoriesOf
	keepSecrets map[string]bool                   // Secrets of clusters that stay as they were applied
	namers      map[string]string                 // what still names a Secret, by Secret
	approved    map[inventory.Key]bool            // the approved removals
	full        map[string]bool                   // audit configs that can't hold all their clusters
	waiting     map[inventory.Cluster]bool        // clusters that wait to move, by new audit config
}

// gather collects this AuditSync's inventories, and which audit configs other AuditSyncs own.
func (p *planner) gather() {
	p.next, p.owners, p.keepSecrets = map[string]*inventory.Inventory{}, map[string]string{}, map[string]bool{}
	p.items = map[string]map[string]*inventory.Item{}
	for _, inv := range p.live.Inventories {
		if inv.Sync == p.fleet.Sync {
			p.inventories[inv.AuditConfig] = inv
			items := make(map[string]*inventory.Item, len(inv.Clusters))
			for i := range inv.Clusters {
				items[inv.Clusters[i].Name] = &inv.Clusters[i]
			}
			p.items[inv.AuditConfig] = items
		}
	}
	for _, inv := range p.live.Inventories {
		if inv.Sync == p.fleet.Sync || !p.live.Syncs[inv.Sync] || inv.AuditConfig == "" || !precedes(inv, p.fleet.Sync, p.inventories[inv.AuditConfig]) {
			continue
		}
		if owner := p.owners[inv.AuditConfig]; owner == "" || inv.Sync < owner {
			p.owners[inv.AuditConfig] = inv.Sync
		}
	}
}

// lostConfig stops the plan if an audit config was applied from a file that now has an error. Its clusters could
// otherwise all move to another audit config, which the removal budget doesn't count.
func (p *planner) lostConfig() {
	for _, name := range slices.Sorted(maps.Keys(p.inventories)) {
		inv := p.inventories[name]
		if desired, _ := p.desiredConfig(name); name == "" || inv.Origin == "" || desired.Object != nil || !p.fleet.Broken[inv.Origin] {
			continue
		}
		p.plan.Stop(finding.Finding{Code: compile.CodeAuditConfig, Path: inv.Origin, Message: fmt.Sprintf("the audit config %s was applied from this file, which now has an error", name),
			Fix: "fix the file, or delete it to remove the audit config"})
	}
}

// want indexes the Secrets of the fleet by name.
func (p *planner) want() {
	for i := range p.fleet.Secrets {
		p.wanted[p.fleet.Secrets[i].Name] = &p.fleet.Secrets[i]
	}
}

// index indexes the clusters and Secrets of the fleet by name.
func (p *planner) index() {
	p.want()
	for i := range p.fleet.Clusters {
		name := p.fleet.Clusters[i].Name
		if others := p.named[name]; others != nil {
			p.named[name] = append(others, p.fleet.Clusters[i])
		} else {
			p.named[name] = p.fleet.Clusters[i : i+1 : i+1] // without a copy: nearly every name has one cluster
		}
	}
}

// configNames returns the audit configs of the fleet and of the inventories, sorted.
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

// item returns a cluster's item in this AuditSync's inventories, or nil.
func (p *planner) item(auditConfig, name string) *inventory.Item { return p.items[auditConfig][name] }

// idOf identifies a cluster of the fleet.
func idOf(c *fleet.Cluster) inventory.Cluster {
	return inventory.Cluster{AuditConfig: c.AuditConfig, Name: c.Name}
}

func (p *planner) step(s Step) { p.plan.Steps = append(p.plan.Steps, s) }

// commit returns the revision that last changed an item: the present one, unless the hash is unchanged.
func (p *planner) commit(before *inventory.Item, hash string) string {
	if before != nil && before.Hash == hash && before.Commit != "" {
		return before.Commit
	}
	return p.policy.Revision
}

// finish compares the inventories before and after, and sorts the plan.
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
		after.Sort()
		after.Approved = left[name]
		if after.Equal(before) && approved[name].Equal(left[name]) {
			continue
		}
		if intent := inventory.Intent(before, after, approved[name]); !intent.Equal(before) {
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

// count counts the clusters that are applied or left out. Clusters that wait to move are neither.
func (p *planner) count() {
	for i := range p.fleet.Clusters {
		switch c := &p.fleet.Clusters[i]; {
		case p.next[c.AuditConfig] == nil || c.Quarantined && !p.waiting[idOf(c)]:
			p.plan.LeftOut++
		case !c.Quarantined:
			p.plan.Applied++
		}
	}
}

// AdoptAnnotation on a Secret or an audit config that Muster did not make lets the AuditSync in its value take the
// object over.
const AdoptAnnotation = "muster.dev/adopt"

// some lists the first ten names.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// itemsIn returns the clusters that were applied in an audit config.
func (p *planner) itemsIn(auditConfig string) []inventory.Item {
	if inv := p.inventories[auditConfig]; inv != nil {
		return inv.Clusters
	}
	return nil
}
