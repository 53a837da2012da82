// Package report turns what became of a sync into what people see: the status of the AuditSync, events, metrics, and the texts
// of commit statuses, with which of those nobody will answer for any more.
//
// An Outcome is a value; the functions here compute from it and from what was reported before, so that nothing is written
// unless the world has changed. Whoever fills in an Outcome has masked its texts.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/scan"
)

// Class says what has to happen before a failure can go away.
type Class string

// The classes of failures.
const (
	// Rejected waits for somebody to change something.
	Rejected Class = "Rejected"
	// Waiting waits for something that may come by itself, and looks again soon.
	Waiting Class = "Waiting"
	// Failed is tried again, at growing intervals.
	Failed Class = "Failed"
)

// Failure is why a stage of a sync could not do its work.
type Failure struct {
	Class Class
	// Reason is a word in CamelCase for the condition, and Message one line that names the cause and the way out.
	Reason  string
	Message string
}

// Outcome is what became of one sync.
type Outcome struct {
	// Revision is the one that was worked on, as branch@sha1:commit; empty when none could be had.
	Revision string
	// Fetch is why the repository could not be read; with a Revision, the last good one was used.
	Fetch *Failure
	// Render is why the path could not be rendered at all.
	Render *Failure
	// Fleet is the rendered fleet, nil when there is none, and Plan what was planned for it.
	Fleet *fleet.Opened
	Plan  *plan.Plan
	// Apply is why not everything planned could be applied.
	Apply *Failure
	// Corrects says whether drift is put right.
	Corrects bool
	// Refused is the commit that the ref leads to, when that may not be applied. Revision is then another one, or empty.
	Refused string
	// Changes says what Revision has changed, as far as that is known: in this sync and those before.
	Changes string
	// Scan is the answer for the applied revision, which is AppliedRevision, and Scans are the statuses of all clusters that
	// Muster applied, by audit config in the order of its entries. Both are nil while they aren't known.
	Scan      *scan.Verdict
	Scans     []scan.Status
	ScanNotes ScanNotes
}

// Findings are those of the last stage that was reached.
func (o *Outcome) Findings() []finding.Finding {
	switch {
	case o.Plan != nil:
		return finding.Sorted(o.Plan.Findings)
	case o.Fleet != nil:
		return finding.Sorted(o.Fleet.Findings)
	}
	return nil
}

// Complete says whether everything in the path was applied.
func (o *Outcome) Complete() bool {
	return o.Fetch == nil && o.Render == nil && o.Apply == nil && o.Plan != nil && !o.Plan.Stopped && !o.Plan.Waiting &&
		finding.Errors(o.Plan.Findings) == 0 && o.Plan.Held == 0
}

// causeText is what is told of findings where there is room for one.
func causeText(findings []finding.Finding) string {
	if f := finding.Cause(findings); f != nil {
		return f.String()
	}
	return ""
}

// refused reports whether the cause to tell only showed in comparison with the management cluster.
func (o *Outcome) refused() bool {
	cause := finding.Cause(o.Plan.Findings)
	return cause != nil && slices.Contains(o.Plan.Findings[len(o.Fleet.Findings):], *cause)
}

var actionWords = []struct {
	action plan.Action
	word   string
}{{plan.Add, "added"}, {plan.Change, "changed"}, {plan.Move, "moved"}, {plan.Remove, "removed"}, {plan.Hold, "held"}}

// Changes says in a few words what a plan did: "2 added, 1 changed".
func Changes(p *plan.Plan) string {
	counts := map[plan.Action]int{}
	for _, s := range p.Steps {
		if s.Until.IsZero() {
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

// Drift describes the live objects that differ: which fields, who has changed them and when. Times are absolute, so that the
// text stays the same for as long as the drift does.
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

// object is what a step is about, in words.
func object(s plan.Step) string {
	if s.Kind == plan.KindCluster {
		return s.AuditConfig + ": " + s.Kind + " " + s.Name
	}
	return s.Kind + " " + s.Name
}

// fieldsOf names objects with the fields that are meant.
func fieldsOf(steps []plan.Step) string {
	var parts []string
	for _, s := range steps {
		var fields []string
		for _, f := range s.Fields {
			fields = append(fields, cmp.Or(strings.TrimSuffix(f.Path, ":"), "all of it"))
		}
		parts = append(parts, object(s)+": "+some(fields))
	}
	return some(parts)
}
