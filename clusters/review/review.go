// Package review tells what a pull request would do: a Review, made from two plans against the same live state, and its
// texts.
//
// The plan for the base is what would happen anyway. The plan for the merge result is what would happen after the merge.
// The difference is the pull request's: findings that are new or mended, changes by cluster and field, removals and how
// to approve them, credentials that change, schedules and load.
//
// A Review is a value. [Review.Markdown], [Review.Status] and [Review.Annotations] are pure functions of it: the same
// Review gives the same bytes. The package reads nothing, posts nothing, and never looks at the data of a Secret.
//
// Everything in a Review that comes from the repository or the forge is hostile. Texts escape it, see escape.go.
package review

import (
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
)

// Trust is how far a check may go with the head of a pull request.
type Trust string

// The levels of trust.
const (
	// Full is for a head in the repository itself: it is checked with keys.
	Full Trust = "full"
	// Keyless is for a stranger's head: nothing is decrypted.
	Keyless Trust = "keyless"
	// NoKeys is for a check outside of a forge that was given no keys.
	NoKeys Trust = "no keys"
	// Allowed is for a stranger's head that a user with write permission allowed: it is checked with keys.
	Allowed Trust = "allowed"
)

// Commands in comments. Each is followed by what it is for, and is the whole comment.
const (
	// CheckCommand allows a stranger's head, which follows as a full commit hash.
	CheckCommand = "/muster check "
	// ApproveCommand approves the removals that wait, by the Approval of the Review, which follows.
	ApproveCommand = "/muster approve-removals "
)

// Conflict is a file that can't be merged.
type Conflict struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// RuleChange is a change of a file that decides about other files, such as .sops.yaml or a kustomization.
type RuleChange struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// Input is what a Review is made of. Both plans are made against the same live state by the same code.
type Input struct {
	Sync, Namespace string
	// Base and Head are commits. The Review holds for exactly these two.
	Base, Head string
	// Path is the AuditSync's folder.
	Path  string
	Trust Trust
	// AllowedBy is who allowed the head, if Trust is Allowed.
	AllowedBy string
	// Conflicts are the files that can't be merged. If there are any, there is no plan After.
	Conflicts []Conflict
	// Before is the plan for the base, and After the plan for the merge result.
	Before, After *plan.Plan
	// BeforeFleet and AfterFleet are the fleets of the two plans. Their secrets may be masked.
	BeforeFleet, AfterFleet *fleet.Opened
	Rules                   []RuleChange
	// Live is true if the plans are against a management cluster. Otherwise they are against the state after applying
	// the base.
	Live bool
	// Mask masks secrets in a text, like redact.Redactor.String. Nil masks nothing.
	Mask func(string) string
}

// Review is what a pull request would do.
type Review struct {
	Sync      string `json:"sync"`
	Namespace string `json:"namespace"`
	Base      string `json:"base"`
	Head      string `json:"head"`
	Path      string `json:"path"`
	Trust     Trust  `json:"trust"`
	AllowedBy string `json:"allowedBy,omitempty"`
	Live      bool   `json:"live"`

	Conflicts []Conflict   `json:"conflicts,omitempty"`
	Rules     []RuleChange `json:"rules,omitempty"`
	// Stopped is true if nothing could be applied after the merge, and BaseStopped if nothing can be applied now.
	Stopped     bool `json:"stopped,omitempty"`
	BaseStopped bool `json:"baseStopped,omitempty"`
	// Provisional is true if files could not be opened for a reason outside the repository, so the result may change.
	Provisional bool `json:"provisional,omitempty"`

	// New are the findings that the pull request causes, Mended those that it ends, and Standing those that it leaves.
	New      []finding.Finding `json:"new"`
	Mended   []finding.Finding `json:"mended"`
	Standing []finding.Finding `json:"standing"`
	// LeftOut are the clusters that an error keeps out after the merge and not before it.
	LeftOut []string `json:"leftOut,omitempty"`

	// Changes are sorted by kind (clusters first), audit config and name.
	Changes []Change `json:"changes"`
	// Held are the removals that would wait after the merge, including those that wait already.
	Held []Change `json:"held,omitempty"`
	// Approval approves all approvable ones in Held, in the form REVISION-DIGEST; Digest is its end, which stays the
	// same for the commit of the merge.
	Approval string `json:"approval,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Pending counts the changes of the base that are not applied yet, or that correct drift.
	Pending int `json:"pending,omitempty"`

	Load  Load    `json:"load"`
	Space []Space `json:"space,omitempty"`
}

// New compares the two plans.
func New(in Input) *Review {
	r := &Review{Sync: in.Sync, Namespace: in.Namespace, Base: in.Base, Head: in.Head, Path: in.Path, Trust: in.Trust, AllowedBy: in.AllowedBy, Live: in.Live,
		Conflicts: slices.Clone(in.Conflicts), Rules: slices.Clone(in.Rules), New: []finding.Finding{}, Mended: []finding.Finding{}, Standing: []finding.Finding{}, Changes: []Change{}}
	r.BaseStopped = in.Before != nil && in.Before.Stopped
	if in.After != nil {
		r.Stopped = in.After.Stopped
		r.Provisional = in.AfterFleet != nil && in.AfterFleet.Provisional
		r.New, r.Mended, r.Standing = compareFindings(findingsOf(in.Before), findingsOf(in.After))
		r.LeftOut = leftOut(in.BeforeFleet, in.AfterFleet)
		if !r.Stopped {
			c := newComparison(in)
			r.Changes, r.Held, r.Pending = c.changes()
			r.Approval, r.Digest = in.After.Approval, inventory.ApprovedDigest(in.After.Approval)
			r.Load = loadOf(c)
			r.Space = spaceOf(in.After, r.Changes)
		}
	}
	r.sort()
	if in.Mask != nil {
		r.mask(in.Mask)
	}
	return r
}

// sort orders what the caller may have given in any order.
func (r *Review) sort() {
	slices.SortFunc(r.Conflicts, func(a, b Conflict) int { return compareTexts(a.Path, b.Path, a.Reason, b.Reason) })
	slices.SortFunc(r.Rules, func(a, b RuleChange) int { return compareTexts(a.Path, b.Path, a.What, b.What) })
}

// leftOut returns the clusters that are quarantined after the merge and not before it, sorted.
func leftOut(before, after *fleet.Opened) []string {
	if after == nil {
		return nil
	}
	already := map[string]bool{}
	if before != nil {
		for i := range before.Clusters {
			already[before.Clusters[i].Name] = already[before.Clusters[i].Name] || before.Clusters[i].Quarantined
		}
	}
	var names []string
	for i := range after.Clusters {
		if c := &after.Clusters[i]; c.Quarantined && !already[c.Name] {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
