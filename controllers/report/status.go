package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// maxProblems is how many findings a status lists.
const maxProblems = 50

// maxText is the maximum length of a message in a status.
const maxText = 1024

// Reasons of conditions that don't come from a Failure.
const (
	ReasonSucceeded   = "Succeeded"
	ReasonQuarantined = "Quarantined"
	ReasonStopped     = "Stopped"
	ReasonHeld        = "RemovalsHeld"
	ReasonDrifted     = "Drifted"
	ReasonContested   = "Contested"
	ReasonNotKept     = "NotKept"
	ReasonRefused     = "Refused"
	ReasonSuspended   = "Suspended"
	ReasonPending     = "Pending"
)

// Reasons of Failures that this package treats specially.
const (
	ReasonPathInvalid = "PathInvalid" // the path is not in the commit, or can't be rendered
	ReasonConflict    = "Conflict"    // another client changed the object first
)

// Status computes the new status from the previous one and the outcome. A condition's transition time changes only with the condition.
func Status(sync *v1alpha1.AuditSync, o Outcome) v1alpha1.AuditSyncStatus {
	status := *sync.Status.DeepCopy()
	status.ObservedGeneration = sync.Generation
	if requested := sync.Annotations[v1alpha1.AnnotationReconcile]; requested != "" && o.Fetch == nil {
		status.LastHandledReconcileAt = requested
	}
	if o.Revision != "" {
		status.LastAttemptedRevision = o.Revision
	}
	if o.inForce() {
		if status.LastAppliedRevision != o.Revision {
			status.LastAppliedRevision, status.LastCorrection = o.Revision, ""
		}
		status.LastChanges = Cut(o.Changes, maxText)
		if corrected := o.corrected(); corrected != "" {
			status.LastCorrection = Cut(corrected, maxText)
		}
	}
	c := conditions{status: &status, generation: sync.Generation}
	c.fetched(o)
	c.applied(o)
	c.inSync(o)
	checking := checksAgain(sync, o)
	if !checking || o.pending() == 0 {
		c.rendered(o)
		c.ready(o)
	}
	c.scanned(o)
	c.preflight(sync, o.Preflight)
	if o.Plan != nil || o.Fleet != nil {
		if !checking {
			status.Problems, status.MoreProblems = problems(o.Findings())
		}
		status.Clusters = counts(o)
	}
	countScans(&status, sync.Status.Clusters, o)
	if len(o.ending(sync.Status.LastExpiryReport)) > 0 {
		status.LastExpiryReport = instant(o.Now)
	}
	return status
}

// Suspended returns the status of a suspended AuditSync. It keeps what was reported before, although that is no longer checked.
func Suspended(sync *v1alpha1.AuditSync) v1alpha1.AuditSyncStatus {
	status := *sync.Status.DeepCopy()
	status.ObservedGeneration = sync.Generation
	c := conditions{status: &status, generation: sync.Generation}
	const message = "spec.suspend is true: nothing is fetched, applied or compared"
	c.put(v1alpha1.ConditionReady, metav1.ConditionUnknown, ReasonSuspended, message)
	c.set(v1alpha1.ConditionStalled, true, ReasonSuspended, message)
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReconciling)
	if meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionInSync) != nil {
		c.put(v1alpha1.ConditionInSync, metav1.ConditionUnknown, ReasonSuspended, message)
	}
	return status
}

// compared reports whether the live objects were compared with the desired ones, for at least one cluster if there are any.
func (o *Outcome) compared() bool {
	return o.Render == nil && o.Plan != nil && !o.Plan.Stopped && (!refusedWhole(o.Plan) || o.Plan.Applied > 0)
}

// refusedWhole reports whether an error blocks all clusters of an audit config.
func refusedWhole(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Findings, func(f finding.Finding) bool { return f.Severity == finding.Error && f.Stops })
}

// inForce reports whether the revision is applied, possibly without some of its clusters.
func (o *Outcome) inForce() bool { return o.compared() && o.Apply == nil && !o.Plan.Waiting }

// corrected describes the drift that this sync corrected.
func (o *Outcome) corrected() string {
	if !o.Corrects {
		return ""
	}
	return Drift(o.Plan.Corrected())
}

type conditions struct {
	status     *v1alpha1.AuditSyncStatus
	generation int64
}

func (c conditions) set(kind string, ok bool, reason, message string) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	c.put(kind, status, reason, message)
}

func (c conditions) put(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&c.status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason,
		Message: Cut(message, maxText), ObservedGeneration: c.generation})
}

func (c conditions) failure(kind string, f *Failure) { c.set(kind, false, f.Reason, f.Message) }

func (c conditions) pending(kind, message string) {
	c.put(kind, metav1.ConditionUnknown, ReasonPending, message)
}

func (c conditions) fetched(o Outcome) {
	switch {
	case o.Fetch != nil:
		c.failure(v1alpha1.ConditionFetched, o.Fetch)
	case o.Revision != "":
		c.set(v1alpha1.ConditionFetched, true, ReasonSucceeded, "fetched "+o.Revision)
	}
}

func (c conditions) rendered(o Outcome) {
	findings := o.Findings()
	switch {
	case o.Render != nil:
		c.failure(v1alpha1.ConditionRendered, o.Render)
	case o.Fleet == nil:
		c.pending(v1alpha1.ConditionRendered, "no revision to render")
	case o.Fleet.Stopped:
		c.set(v1alpha1.ConditionRendered, false, ReasonStopped, "nothing was applied: "+causeText(findings))
	case o.fleetErrors() > 0:
		c.set(v1alpha1.ConditionRendered, false, ReasonQuarantined, quarantineText(o))
	default:
		message := fmt.Sprintf("rendered %s", plural(len(o.Fleet.Clusters), "cluster"))
		if o.Fleet.Whole != "" {
			message += "; built in one piece: " + o.Fleet.Whole
		}
		c.set(v1alpha1.ConditionRendered, true, ReasonSucceeded, message)
	}
}

func quarantineText(o Outcome) string {
	total, n := size(o.Fleet)
	if n -= o.pending(); n == 0 {
		return "some files can't be used, and their objects are left unchanged: " + causeText(o.Fleet.Findings)
	}
	return fmt.Sprintf("%d of %s can't be used and %s left unchanged: %s", n, plural(total, "cluster"),
		map[bool]string{true: "is", false: "are"}[n == 1], causeText(o.Fleet.Findings))
}

func (c conditions) applied(o Outcome) {
	switch {
	case o.Apply != nil:
		c.failure(v1alpha1.ConditionApplied, o.Apply)
	case o.Plan == nil || o.Plan.Stopped:
		if meta.FindStatusCondition(c.status.Conditions, v1alpha1.ConditionApplied) == nil {
			c.pending(v1alpha1.ConditionApplied, "nothing has been rendered yet")
		}
	case planErrors(o) > 0:
		c.set(v1alpha1.ConditionApplied, false, ReasonRefused, planError(o))
	default:
		c.set(v1alpha1.ConditionApplied, true, ReasonSucceeded, "applied "+o.Revision)
	}
}

// planErrors counts the errors from the comparison with the management cluster.
func planErrors(o Outcome) int {
	return finding.Errors(o.Plan.Findings) - finding.Errors(o.Fleet.Findings)
}

func planError(o Outcome) string {
	return causeText(o.Plan.Findings[len(o.Fleet.Findings):])
}

func (c conditions) inSync(o Outcome) {
	if !o.compared() {
		reason, message, _ := verdict(o)
		c.put(v1alpha1.ConditionInSync, metav1.ConditionUnknown, reason, "not compared: "+message)
		return
	}
	if len(o.Plan.Refused) > 0 {
		c.put(v1alpha1.ConditionInSync, metav1.ConditionUnknown, ReasonRefused, planError(o))
		return
	}
	if o.Apply != nil && c.status.LastAppliedRevision == "" {
		c.put(v1alpha1.ConditionInSync, metav1.ConditionUnknown, o.Apply.Reason, "nothing has been applied yet: "+o.Apply.Message)
		return
	}
	drifted := o.Plan.Drifted()
	if len(drifted) > 0 && !o.Corrects {
		c.set(v1alpha1.ConditionInSync, false, ReasonDrifted, "drift detected, not corrected (drift: Report): "+Drift(drifted))
		return
	}
	if len(drifted) > 0 && o.Apply != nil {
		c.set(v1alpha1.ConditionInSync, false, ReasonDrifted, "drift detected, not corrected yet: "+Drift(drifted))
		return
	}
	if reason, text := unkept(o.Plan); text != "" {
		c.set(v1alpha1.ConditionInSync, false, reason, text)
		return
	}
	c.set(v1alpha1.ConditionInSync, true, ReasonSucceeded, "the live objects are as Muster applied them")
}

// unkept describes the fields that don't keep their values although Muster corrects drift: those that another client changes
// repeatedly, and those that Muster no longer corrects.
func unkept(p *plan.Plan) (reason, text string) {
	var parts []string
	if len(p.Contested) > 0 {
		reason, parts = ReasonContested, []string{"changed repeatedly, and corrected at growing intervals: " + fieldsOf(p.Contested)}
	}
	if len(p.NotKept) > 0 {
		reason = cmp.Or(reason, ReasonNotKept)
		parts = append(parts, "not kept by the API server or the operator: "+fieldsOf(p.NotKept))
	}
	return reason, strings.Join(parts, "; ")
}

// ready sets Ready, and the two conditions by which kstatus distinguishes progress from failure.
func (c conditions) ready(o Outcome) {
	reason, message, class := verdict(o)
	if o.Complete() {
		c.set(v1alpha1.ConditionReady, true, ReasonSucceeded, message)
		meta.RemoveStatusCondition(&c.status.Conditions, v1alpha1.ConditionReconciling)
		meta.RemoveStatusCondition(&c.status.Conditions, v1alpha1.ConditionStalled)
		return
	}
	c.set(v1alpha1.ConditionReady, false, reason, message)
	present, absent := v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling
	if class != Rejected {
		present, absent = absent, present
	}
	c.set(present, true, reason, message)
	meta.RemoveStatusCondition(&c.status.Conditions, absent)
}

// verdict returns the reason, message and class for the condition Ready, from the most serious cause.
func verdict(o Outcome) (reason, message string, class Class) {
	for _, f := range []*Failure{o.Fetch, o.Render, o.Apply} {
		if f != nil {
			return f.Reason, f.Message, f.Class
		}
	}
	switch {
	case o.Plan == nil:
		return ReasonPending, "nothing has been rendered yet", Waiting
	case o.Plan.Stopped:
		return ReasonStopped, "nothing was applied: " + causeText(o.Findings()), Rejected
	case o.Plan.Waiting:
		return ReasonRefused, planError(o), Waiting
	case planErrors(o) > 0 && (o.refused() || o.fleetErrors() == 0):
		return ReasonRefused, planError(o), Rejected
	case o.fleetErrors() > 0:
		return ReasonQuarantined, quarantineText(o), Rejected
	case o.Plan.Held > 0 && o.Plan.Mismatch != "":
		return ReasonHeld, heldText(o) + "; " + o.Plan.Mismatch, Rejected
	case o.Plan.Held > 0:
		return ReasonHeld, heldText(o), Rejected
	case o.pending() > 0:
		return ReasonPreflightPending, "changed credentials are applied once they have passed the preflight and no scan runs with the applied ones", Waiting
	}
	return ReasonSucceeded, fmt.Sprintf("%s applied at %s", plural(len(o.Fleet.Clusters), "cluster"), o.Revision), ""
}

// heldText returns the first finding about held removals, with its fix.
func heldText(o Outcome) string {
	for _, f := range o.Plan.Findings {
		if f.Code == plan.CodeHeld {
			return f.Message + "; " + f.Fix
		}
	}
	return plural(o.Plan.Held, "removal") + " held"
}

func problems(findings []finding.Finding) ([]v1alpha1.Problem, int32) {
	var list []v1alpha1.Problem
	for i, f := range findings {
		if i == maxProblems {
			return list, int32(len(findings) - maxProblems) //nolint:gosec // bounded by the size of a tree
		}
		problem := v1alpha1.Problem{Code: string(f.Code), Severity: string(f.Severity), Cluster: f.Cluster,
			Place: Cut(f.Place(), maxText), Message: Cut(f.Message, maxText), Fix: Cut(f.Fix, maxText)}
		if f.Accepted != "" {
			problem.Severity, problem.Message, problem.Fix = string(finding.Info), Cut(f.Message+"; accepted: "+f.Accepted, maxText), ""
		}
		list = append(list, problem)
	}
	return list, 0
}

// size returns the number of clusters in a fleet, and how many of them are quarantined. A file that can't be read at all counts as
// one quarantined cluster.
func size(f *fleet.Opened) (total, quarantined int) {
	unread := plan.Unread(f)
	return len(f.Clusters) + unread, fleet.Quarantined(f.Clusters) + unread
}

func counts(o Outcome) *v1alpha1.ClusterCounts {
	if o.Fleet == nil {
		return nil
	}
	total, quarantined := size(o.Fleet)
	c := v1alpha1.ClusterCounts{Total: int32(total), Quarantined: int32(quarantined)} //nolint:gosec // bounded by the size of a tree
	if o.Plan == nil {
		return &c
	}
	c.Held = int32(o.Plan.Held) //nolint:gosec // as above
	for _, names := range o.Plan.Foreign {
		c.Foreign += int32(len(names)) //nolint:gosec // as above
	}
	if !o.Plan.Stopped {
		c.Quarantined = int32(o.Plan.LeftOut + plan.Unread(o.Fleet)) //nolint:gosec // as above
	}
	if o.inForce() {
		c.Applied = int32(o.Plan.Applied) //nolint:gosec // as above
	}
	return &c
}

// Cut makes a text safe to show. It keeps at most n characters, and replaces all that move a cursor or change the text direction,
// except line ends. Names come from repositories and texts from servers, so neither can be trusted.
func Cut(text string, n int) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, text))
	if len(runes) > n {
		return strings.TrimSpace(string(runes[:n-1])) + "…"
	}
	return string(runes)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
