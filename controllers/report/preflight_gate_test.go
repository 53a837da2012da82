package report_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// gated is a fleet of asia, eu and us in which some clusters are held for a reason each, and some have a warning.
func gated(code map[string]finding.Code, warned ...string) *fleet.Opened {
	f := clustersNamed("asia", "eu", "us")
	held := map[[2]string]finding.Finding{}
	for name, c := range code {
		held[[2]string{"mondoo-client", name}] = finding.Finding{Code: c, Message: string(c) + " of " + name, Fix: "a fix"}
	}
	for _, name := range warned {
		f.Add(finding.Finding{Code: preflight.CodeFailed, Severity: finding.Warning, Cluster: name, Path: "clusters/" + name + ".yaml", Message: "the preflight failed: login", Fix: "a fix"})
	}
	f.Hold(held)
	return f
}

// TestPreflightGate follows a commit through the gate: Ready, kstatus' conditions and the commit's own status.
func TestPreflightGate(t *testing.T) {
	const pending, failed = preflight.CodePending, preflight.CodeFailed
	sync := &v1alpha1.AuditSync{}
	sync.Name, sync.Spec.Preflight.Mode = "production", v1alpha1.PreflightRequired
	for _, step := range []struct {
		reason string
		fleet  *fleet.Opened
		checks int // that are pending
		ready  string
		shown  string
		event  bool
	}{
		{"a new credential is being checked", gated(map[string]finding.Code{"eu": pending}), 1, "False PreflightPending Reconciling", "", false},
		{"another one, too", gated(map[string]finding.Code{"asia": pending, "eu": pending}), 2, "False PreflightPending Reconciling", "", false},
		{"one failed, and the other is still being checked", gated(map[string]finding.Code{"asia": pending, "eu": failed}), 1, "False Quarantined Stalled: 1 of 3 clusters can't be used and is left unchanged: clusters/eu.yaml: error: cluster eu: preflight-failed of eu",
			"failure 1 of 3 clusters can't be used: clusters/eu.yaml: preflight-failed of eu; a fix", true},
		{"after a restart", gated(map[string]finding.Code{"asia": pending, "eu": pending}), 2, "False Quarantined Stalled: 1 of 3", "", false},
		{"the first result after it", gated(map[string]finding.Code{"asia": pending, "eu": failed}), 1, "False Quarantined Stalled: 1 of 3", "", false},
		{"the checks end while the sync runs", gated(map[string]finding.Code{"asia": pending, "eu": failed}), 0, "False Quarantined Stalled: 1 of 3", "", false},
		{"the failure again", gated(map[string]finding.Code{"eu": failed}), 0, "False Quarantined Stalled: 1 of 3", "failure 1 of 3 clusters can't be used: clusters/eu.yaml: preflight-failed of eu; a fix", false},
		{"it passed", gated(nil), 0, "True Succeeded", "success 3 clusters applied", true},
		{"one fails later", gated(nil, "us"), 0, "True Succeeded", "success 3 clusters applied; but 1 failed preflight: clusters/us.yaml: the preflight failed: login; a fix", false},
		{"after a restart", gated(nil), 3, "True Succeeded", "", false},
		{"it still fails", gated(nil, "us"), 0, "True Succeeded", "success 3 clusters applied; but 1 failed preflight: clusters/us.yaml: the preflight failed: login; a fix", false},
	} {
		o := good(step.fleet, func(p *plan.Plan) { p.Applied = 3 - fleet.Quarantined(step.fleet.Clusters) })
		o.Preflight = &report.Preflight{Pending: step.checks}
		status := report.Status(sync, o)
		ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
		got := string(ready.Status) + " " + ready.Reason
		for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
			if meta.IsStatusConditionTrue(status.Conditions, kind) {
				got += " " + kind
			}
		}
		if got += ": " + ready.Message; !strings.HasPrefix(got, step.ready) {
			t.Errorf("%s: %q, want %q", step.reason, got, step.ready)
		}
		shown := ""
		for _, s := range report.CommitStatuses(sync, status, o) {
			if s.Context == "muster/production" {
				shown = string(s.State) + " " + s.Description
			}
		}
		if shown != step.shown {
			t.Errorf("%s: shown %q, want %q", step.reason, shown, step.shown)
		}
		events := 0
		for _, e := range report.Events(sync, status, o) {
			if e.Action == "Sync" {
				events++
			}
		}
		if (events > 0) != step.event {
			t.Errorf("%s: %d events", step.reason, events)
		}
		sync.Status = status
	}
	if n := len(sync.Status.Problems); n != 1 {
		t.Errorf("%d problems", n)
	}
}
