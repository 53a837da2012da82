package report

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Reasons of the condition Preflight.
const (
	ReasonPreflightPassed     = "Passed"
	ReasonPreflightFailed     = "Failed"
	ReasonPreflightNotChecked = "NotChecked"
	ReasonPreflightInvalid    = "Invalid"
)

// ReasonPreflightPending is the reason of the condition Ready while changed credentials wait for a check.
const ReasonPreflightPending = "PreflightPending"

// checksAgain reports whether credentials are checked again at the same revision of which a failure was reported, as after a restart.
// Until the result is there, that report stays. Checks that have ended since the fleet passed the gate count as well: the next sync tells.
func checksAgain(sync *v1alpha1.AuditSync, o Outcome) bool {
	return o.Fleet != nil && o.Preflight != nil && (o.Preflight.Pending > 0 || o.pending() > o.Preflight.Waiting) && sync.Status.LastAttemptedRevision == o.Revision &&
		slices.ContainsFunc(sync.Status.Problems, func(p v1alpha1.Problem) bool { return p.Code == string(preflight.CodeFailed) })
}

// failedText names the first of the applied clusters that fail; "" if none does.
func failedText(findings []finding.Finding) string {
	var failed []finding.Finding
	for _, f := range findings {
		if f.Code == preflight.CodeFailed && f.Severity == finding.Warning && f.Accepted == "" {
			failed = append(failed, f)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return fmt.Sprintf("but %s: %s", plural(len(failed), "failed preflight"), brief(&failed[0]))
}

// Preflight is what the checks of an AuditSync's clusters showed. The texts are masked.
type Preflight struct {
	// Passed and NotChecked count clusters by their last result. Pending counts those that have none yet, and Waiting those that have
	// passed and wait for the end of a scan.
	Passed, NotChecked, Pending, Waiting int
	// Failures are the clusters that fail, sorted by name.
	Failures []PreflightFailure
	// Last is when a cluster was last checked; zero for never.
	Last time.Time
	// Invalid is why spec.preflight can't be used; empty if it can.
	Invalid string
}

// PreflightFailure is the first check of a cluster that failed.
type PreflightFailure struct {
	AuditConfig, Cluster string
	Check                preflight.Check
	// Since is when this process first saw the cluster fail for this cause.
	Since time.Time
}

func (f PreflightFailure) text() string {
	return fmt.Sprintf("%s: %s: %s [%s]", f.Cluster, f.Check.Name, f.Check.Message, f.Check.Cause)
}

// preflight sets the condition Preflight and status.preflight. The last report stays until every cluster has a result: after a
// restart, and while a changed cluster is checked, a part would look like all.
func (c conditions) preflight(sync *v1alpha1.AuditSync, p *Preflight) {
	known := meta.FindStatusCondition(c.status.Conditions, v1alpha1.ConditionPreflight)
	switch {
	case !sync.Spec.Preflight.On():
		meta.RemoveStatusCondition(&c.status.Conditions, v1alpha1.ConditionPreflight)
		c.status.Preflight = nil
	case p == nil:
	case p.Invalid != "":
		c.set(v1alpha1.ConditionPreflight, false, ReasonPreflightInvalid, p.Invalid)
	case p.Pending > 0 && (known == nil || known.Reason == ReasonPreflightInvalid || known.Reason == ReasonPending):
		c.pending(v1alpha1.ConditionPreflight, "the credentials are being checked")
	case p.Pending > 0:
	default:
		c.preflightResult(p)
		c.status.Preflight = p.status(c.status.Preflight)
	}
}

func (c conditions) preflightResult(p *Preflight) {
	elsewhere := ""
	if p.NotChecked > 0 {
		elsewhere = fmt.Sprintf("; %d not checked from here", p.NotChecked)
	}
	switch failed := len(p.Failures); {
	case failed > 0:
		first := p.Failures[0]
		text := fmt.Sprintf("%d of %s failed: %s; %s", failed, plural(failed+p.Passed, "cluster"), first.text(), first.Check.Fix)
		if failed > 1 {
			text += fmt.Sprintf("; and %d more in status.preflight.failures", failed-1)
		}
		c.set(v1alpha1.ConditionPreflight, false, ReasonPreflightFailed, text+elsewhere)
	case p.Passed > 0:
		c.set(v1alpha1.ConditionPreflight, true, ReasonPreflightPassed, plural(p.Passed, "cluster")+" passed"+elsewhere)
	default:
		c.put(v1alpha1.ConditionPreflight, metav1.ConditionUnknown, ReasonPreflightNotChecked, "no cluster could be checked"+elsewhere)
	}
}

// maxFailures is how many failures a status lists.
const maxFailures = 50

// stale is how far the time of the last check in a status may be behind, if nothing else has changed.
const stale = time.Hour

// status returns the new status, or the previous one if only the time differs by less than stale.
func (p *Preflight) status(before *v1alpha1.PreflightStatus) *v1alpha1.PreflightStatus {
	now := &v1alpha1.PreflightStatus{Passed: int32(p.Passed), Failed: int32(len(p.Failures)), NotChecked: int32(p.NotChecked)} //nolint:gosec // bounded by the size of a tree
	since := sinceOf(before)
	for _, f := range p.Failures[:min(len(p.Failures), maxFailures)] {
		one := v1alpha1.PreflightFailure{Cluster: Cut(f.Cluster, maxText), AuditConfig: Cut(f.AuditConfig, maxText), Check: string(f.Check.Name),
			Cause: string(f.Check.Cause), Message: Cut(f.Check.Message, maxText), Fix: Cut(f.Check.Fix, maxText)}
		if one.Since = since[[3]string{one.AuditConfig, one.Cluster, one.Cause}]; one.Since == nil {
			one.Since = instant(f.Since)
		}
		now.Failures = append(now.Failures, one)
	}
	if !p.Last.IsZero() {
		now.LastCheckTime = instant(p.Last)
	}
	if before != nil && before.LastCheckTime != nil && p.Last.Sub(before.LastCheckTime.Time) < stale {
		same := now.DeepCopy()
		same.LastCheckTime = before.LastCheckTime
		if equality.Semantic.DeepEqual(same, before) {
			return before
		}
	}
	return now
}

// instant is a time as the API server keeps it, in whole seconds.
func instant(t time.Time) *metav1.Time { return &metav1.Time{Time: t.Truncate(time.Second)} }

// sinceOf returns since when clusters fail, by audit config, cluster and cause. It outlives a restart in the status.
func sinceOf(before *v1alpha1.PreflightStatus) map[[3]string]*metav1.Time {
	since := map[[3]string]*metav1.Time{}
	if before != nil {
		for _, f := range before.Failures {
			since[[3]string{f.AuditConfig, f.Cluster, f.Cause}] = f.Since
		}
	}
	return since
}

// preflightEvents returns an event if the condition Preflight has become false, has another message, or is true again.
func preflightEvents(before, after v1alpha1.AuditSyncStatus) []Event {
	known := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionPreflight)
	now := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionPreflight)
	if now == nil || known != nil && known.Status == now.Status && known.Message == now.Message {
		return nil
	}
	e := Event{Reason: "Preflight" + now.Reason, Action: "Preflight", Note: Cut(now.Message, maxNote)}
	switch {
	case now.Status == metav1.ConditionFalse:
		e.Type = corev1.EventTypeWarning
	case now.Status == metav1.ConditionTrue && known != nil && known.Status == metav1.ConditionFalse:
		e.Type = corev1.EventTypeNormal
	default:
		return nil
	}
	return []Event{e}
}
