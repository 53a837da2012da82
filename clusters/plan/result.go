package plan

import (
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/inventory"
)

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
	// Supplied is true if the values of a Secret have changed where they come from, and neither Git nor anyone has changed them.
	Supplied bool `json:"supplied,omitempty"`
	// ChangedBy is who caused the drift, as far as the API server can tell. It can't for deleted objects.
	ChangedBy []Author `json:"changedBy,omitempty"`
	// Reason is the reason for the action, if it isn't obvious.
	Reason Reason `json:"reason,omitempty"`
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
	// Size is the size of Object as JSON, in bytes. MaxObject is its limit.
	Size int

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
