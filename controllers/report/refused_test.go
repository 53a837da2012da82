package report_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// TestNothingIsClaimed has each way in which a sync ends early, and what may be said then of an AuditSync that has never applied anything: what
// isn't known is Unknown or absent, and nothing counts as applied.
func TestNothingIsClaimed(t *testing.T) {
	three := clustersNamed("asia", "eu", "us")
	refused := func(f *fleet.Opened, findings ...finding.Finding) report.Outcome {
		return good(f, func(p *plan.Plan) {
			p.LeftOut = len(f.Clusters)
			for _, f := range findings {
				f.Severity = finding.Error
				p.Add(f)
			}
		})
	}
	owned := finding.Finding{Code: plan.CodeConfigOwned, Path: "clusters/z.yaml", Message: "the audit config mondoo-client belongs to the AuditSync other", Stops: true}
	lost := finding.Finding{Code: plan.CodeConfigMissing, Message: "there is no MondooAuditConfig mondo", Stops: true}
	of := func(cluster string) finding.Finding {
		return finding.Finding{Code: plan.CodeSecretOwned, Cluster: cluster, Path: "clusters/" + cluster + ".yaml", Message: "the Secret belongs to the AuditSync other"}
	}
	waiting := refused(three, of("asia"), of("eu"), of("us"), lost)
	waiting.Plan.Waiting = true
	hundreds := broken()
	for range 3 {
		hundreds.Add(finding.Finding{Code: "schedule", Severity: finding.Error, Cluster: "asia", Path: "clusters/a.yaml", Message: "no schedule"})
	}
	stopped := clustersNamed("eu")
	stopped.Reject(finding.Finding{Code: "yaml", Path: "clusters/a.yaml", Message: "a consequence"})
	stopped.Stop(finding.Finding{Code: "cycle", Path: "clusters/z.yaml", Message: "the cause"})
	apply := func(class report.Class, reason string) report.Outcome {
		o := good(three, func(p *plan.Plan) { p.Applied = 3 })
		o.Apply = failure(class, reason, "the cause")
		return o
	}
	noPlan := report.Outcome{Revision: head, Fleet: three, Apply: failure(report.Waiting, "OperatorMissing", "the cause")}
	for _, row := range []struct {
		reason string
		o      report.Outcome
		// ready is the reason of Ready, cause what its message, the commit status and the first problem say.
		ready, cause string
		inSync       metav1.ConditionStatus
		left         int32
	}{
		{"nothing is fetched", report.Outcome{Fetch: failure(report.Failed, "FetchFailed", "the cause")}, "FetchFailed", "the cause", "Unknown", 0},
		{"a revision that may not be applied", report.Outcome{Refused: head, Fetch: failure(report.Rejected, "SignatureInvalid", "the cause")}, "SignatureInvalid", "the cause", "Unknown", 0},
		{"no such path", report.Outcome{Revision: head, Render: failure(report.Rejected, report.ReasonPathInvalid, "the cause")}, "PathInvalid", "the cause", "Unknown", 0},
		{"no keys", report.Outcome{Revision: head, Render: failure(report.Waiting, "SecretMissing", "the cause")}, "SecretMissing", "the cause", "Unknown", 0},
		{"the tree is stopped", good(stopped, func(p *plan.Plan) { p.Stopped = true }), report.ReasonStopped, "the cause", "Unknown", 0},
		{"no operator", noPlan, "OperatorMissing", "the cause", "Unknown", 0},
		{"the audit config is another's", refused(three, of("asia"), owned, of("eu")), report.ReasonRefused, owned.Message, "Unknown", 3},
		{"the audit config is another's, and files are broken", refused(hundreds, owned), report.ReasonRefused, owned.Message, "Unknown", 3},
		{"there is no such audit config", waiting, report.ReasonRefused, lost.Message, "Unknown", 3},
		{"every Secret is somebody's", refused(three, of("asia"), of("eu"), of("us")), report.ReasonRefused, "belongs to the AuditSync other", "True", 3},
		{"a conflict", apply(report.Failed, report.ReasonConflict), report.ReasonConflict, "the cause", "Unknown", 0},
		{"not allowed", apply(report.Failed, "Forbidden"), "Forbidden", "the cause", "Unknown", 0},
	} {
		t.Run(row.reason, func(t *testing.T) {
			sync := &v1alpha1.AuditSync{}
			sync.Name = "production"
			row.o.Scans = []scanstate.Status{}
			row.o.Scan = &scanstate.Verdict{Answer: scanstate.AnswerSuccess}
			status := report.Status(sync, row.o)
			get := func(kind string) metav1.Condition {
				if c := meta.FindStatusCondition(status.Conditions, kind); c != nil {
					return *c
				}
				return metav1.Condition{Status: metav1.ConditionUnknown}
			}
			if c := get(v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || c.Reason != row.ready || !strings.Contains(c.Message, row.cause) {
				t.Errorf("Ready %s %s %q", c.Status, c.Reason, c.Message)
			}
			if c := get(v1alpha1.ConditionInSync); c.Status != row.inSync {
				t.Errorf("InSync %s %q", c.Status, c.Message)
			}
			if c := get(v1alpha1.ConditionApplied); c.Status == metav1.ConditionTrue {
				t.Errorf("Applied %s %q", c.Status, c.Message)
			}
			if c := get(v1alpha1.ConditionScanned); c.Status != metav1.ConditionUnknown {
				t.Errorf("Scanned %s %q", c.Status, c.Message)
			}
			if n := status.Clusters; n != nil && (n.Applied != 0 || n.Quarantined != row.left) {
				t.Errorf("counts %+v", *n)
			}
			if row.ready == report.ReasonRefused && row.inSync == metav1.ConditionUnknown && status.LastAppliedRevision != "" || row.o.Apply != nil && status.LastAppliedRevision != "" {
				t.Errorf("last applied %s", status.LastAppliedRevision)
			}
			if len(status.Problems) > 0 && !strings.Contains(status.Problems[0].Message, row.cause) {
				t.Errorf("the first problem is %q", status.Problems[0].Message)
			}
			for _, s := range report.CommitStatuses(sync, status, row.o) {
				if text := fmt.Sprint(s.State, " ", s.Context, " ", s.Description); strings.Contains(text, "/scan") || strings.Contains(text, "success") && row.inSync != "True" ||
					s.Context == "muster/production" && !strings.Contains(text, row.cause) {
					t.Errorf("commit status %s", text)
				}
			}
		})
	}
}

// TestSuspendedStatus: whoever looks sees that nobody works on the AuditSync, and what was reported before stays.
func TestSuspendedStatus(t *testing.T) {
	sync := &v1alpha1.AuditSync{}
	sync.Generation = 3
	sync.Status = report.Status(sync, good(clustersNamed("eu"), func(p *plan.Plan) { p.Applied = 1 }))
	sync.Generation = 4
	before := sync.Status.DeepCopy()
	status := report.Suspended(sync)
	for kind, want := range map[string]metav1.ConditionStatus{v1alpha1.ConditionReady: "Unknown", v1alpha1.ConditionStalled: "True", v1alpha1.ConditionInSync: "Unknown", v1alpha1.ConditionApplied: "True"} {
		c := meta.FindStatusCondition(status.Conditions, kind)
		if c == nil || c.Status != want || want != "True" && c.Reason != report.ReasonSuspended {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	if status.ObservedGeneration != 4 || status.LastAppliedRevision != before.LastAppliedRevision || *status.Clusters != *before.Clusters {
		t.Errorf("status %+v", status)
	}
	sync.Status = status
	if status := report.Status(sync, good(clustersNamed("eu"), func(p *plan.Plan) { p.Applied = 1 })); meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled) != nil ||
		!meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("resumed: %+v", status.Conditions)
	}
}
