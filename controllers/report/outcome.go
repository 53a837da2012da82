// Package report turns the outcome of a sync into what users see: the status of the AuditSync, events, metrics and commit statuses.
// It also decides which pending commit statuses to end because they will never get a result.
//
// An Outcome is a value. The functions here compute reports from it and from what was reported before, so that nothing is written
// unless something changed. The caller must mask secrets in the texts of an Outcome.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// Class is what must happen before a failed stage is tried again.
type Class string

// The classes of failures.
const (
	// Rejected waits for a user to change something.
	Rejected Class = "Rejected"
	// Waiting waits for something that may appear by itself, and checks again soon.
	Waiting Class = "Waiting"
	// Failed is retried with backoff.
	Failed Class = "Failed"
)

// Failure is why a stage of a sync failed.
type Failure struct {
	Class Class
	// Reason is the condition's reason, in CamelCase. Message is one line with the cause and the fix.
	Reason  string
	Message string
}

// Outcome is the outcome of one sync.
type Outcome struct {
	// Now is when the sync began.
	Now time.Time
	// Mask removes secrets from the names of a fleet's clusters and Secrets, which aren't masked; nil removes nothing.
	Mask func(string) string
	// Revision is the synced revision, as branch@sha1:commit; empty if there was none.
	Revision string
	// Unchanged is true if nothing has changed since the last report. Then only Revision is set.
	Unchanged bool
	// Fetch is why the fetch failed. If Revision is set, the sync used the last good revision.
	Fetch *Failure
	// Render is why the path could not be rendered at all.
	Render *Failure
	// Fleet is the rendered fleet, nil if there is none. Plan is the plan for it.
	Fleet *fleet.Opened
	Plan  *plan.Plan
	// Apply is why the plan was not applied completely.
	Apply *Failure
	// Corrects is true if drift is corrected.
	Corrects bool
	// Refused is the ref's current commit if it must not be applied. Revision is then another one, or empty.
	Refused string
	// Changes summarises what Revision has changed in this and earlier syncs, as far as known.
	Changes string
	// Scan is the verdict for the applied revision (see AppliedRevision). Scans are the statuses of all clusters that Muster applied,
	// by audit config in the order of its entries. Both are nil while unknown.
	Scan      *scanstate.Verdict
	Scans     []scanstate.Status
	ScanNotes ScanNotes
	// Preflight is what the checks of credentials showed; nil while unknown.
	Preflight *Preflight
}

// Findings returns the findings of the last stage that was reached.
func (o *Outcome) Findings() []finding.Finding {
	switch {
	case o.Plan != nil:
		return finding.Sorted(o.Plan.Findings)
	case o.Fleet != nil:
		return finding.Sorted(o.Fleet.Findings)
	}
	return nil
}

// Complete reports whether everything in the path was applied.
func (o *Outcome) Complete() bool {
	return o.Fetch == nil && o.Render == nil && o.Apply == nil && o.Plan != nil && !o.Plan.Stopped && !o.Plan.Waiting &&
		finding.Errors(o.Plan.Findings) == 0 && o.Plan.Held == 0
}

// causeText returns the most important of the findings as text.
func causeText(findings []finding.Finding) string {
	if f := cause(findings); f != nil {
		return f.String()
	}
	return ""
}

// cause returns the most important error: one that is pending only if there is no other.
func cause(findings []finding.Finding) *finding.Finding {
	if f := finding.Cause(decided(findings)); f != nil {
		return f
	}
	return finding.Cause(findings)
}

// pending reports whether a finding is about a cluster that waits for a check of its credential, which ends by itself.
func pending(f finding.Finding) bool { return f.Code == preflight.CodePending }

// decided returns the findings without those that are pending.
func decided(findings []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(slices.Clone(findings), pending)
}

// pending counts the clusters that wait for a check of their credential.
func (o *Outcome) pending() (n int) {
	for _, f := range o.Fleet.Findings {
		if pending(f) {
			n++
		}
	}
	return n
}

// fleetErrors counts the errors of the fleet that don't end by themselves.
func (o *Outcome) fleetErrors() int { return finding.Errors(o.Fleet.Findings) - o.pending() }

// refused reports whether the most important finding comes from the comparison with the management cluster.
func (o *Outcome) refused() bool {
	cause := finding.Cause(decided(o.Plan.Findings))
	return cause != nil && slices.Contains(o.Plan.Findings[len(o.Fleet.Findings):], *cause)
}

var actionWords = []struct {
	action plan.Action
	word   string
}{{plan.Add, "added"}, {plan.Change, "changed"}, {plan.Move, "moved"}, {plan.Remove, "removed"}, {plan.Hold, "held"}}

// Changes summarises a plan, such as "2 added, 1 changed". Values from elsewhere, such as renewed tokens, don't count: there may be
// thousands of them a day.
func Changes(p *plan.Plan) string {
	counts := map[plan.Action]int{}
	for _, s := range p.Steps {
		if s.Until.IsZero() && !s.Supplied {
			counts[s.Action]++
		}
	}
	var parts []string
	for _, a := range actionWords {
		if n := counts[a.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, a.word))
		}
	}
	return strings.Join(parts, ", ")
}

// Drift describes the live objects that differ: which fields, who changed them and when. Times are absolute, so that the text doesn't
// change while the drift stays the same.
func Drift(steps []plan.Step) string {
	const most = 5
	var parts []string
	for i, s := range steps {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(steps)-most))
			break
		}
		parts = append(parts, object(s)+": "+s.Blame(plan.Author.String))
	}
	return strings.Join(parts, "; ")
}

// object names the object of a step.
func object(s plan.Step) string {
	if s.Kind == plan.KindCluster {
		return s.AuditConfig + ": " + s.Kind + " " + s.Name
	}
	return s.Kind + " " + s.Name
}

// fieldsOf lists the objects of the steps with their fields.
func fieldsOf(steps []plan.Step) string {
	var parts []string
	for _, s := range steps {
		var fields []string
		for _, f := range s.Fields {
			fields = append(fields, cmp.Or(strings.TrimSuffix(f.Path, ":"), "the whole object"))
		}
		parts = append(parts, object(s)+": "+some(fields))
	}
	return some(parts)
}
