package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

const (
	before = "main@sha1:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	head   = "main@sha1:1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b"
)

func clustersNamed(names ...string) *fleet.Opened {
	f := &fleet.Opened{}
	for _, name := range names {
		f.Clusters = append(f.Clusters, fleet.Cluster{Name: name, AuditConfig: "mondoo-client", Origin: fleet.Origin{Path: "clusters/" + name + ".yaml"}})
	}
	return f
}

// broken is a fleet with one cluster that can't be used.
func broken() *fleet.Opened {
	f := clustersNamed("asia", "eu", "us")
	f.Clusters[1].Quarantined = true
	f.Add(finding.Finding{Code: "schedule", Severity: finding.Error, Cluster: "eu", Path: "clusters/eu.yaml", Line: 13, Column: 13,
		Message: `the schedule "61 * * * *" has a minute over 59`, Fix: "write five fields"})
	return f
}

func with(p plan.Plan, change func(*plan.Plan)) *plan.Plan {
	if change != nil {
		change(&p)
	}
	return &p
}

// good is the outcome for a fleet, with what change does to its plan.
func good(f *fleet.Opened, change func(*plan.Plan)) report.Outcome {
	return report.Outcome{Revision: head, Corrects: true, Fleet: f, Plan: with(plan.Plan{Report: f.Report.Clone()}, change)}
}

func edited(action plan.Action) plan.Step {
	return plan.Step{Action: action, Kind: plan.KindCluster, Name: "eu", AuditConfig: "mondoo-client", Drift: true,
		Fields:    []plan.Field{{Path: "schedule", From: "1 * * * *", To: "2 * * * *"}},
		ChangedBy: []plan.Author{{Manager: "kubectl-edit", Operation: "Update", Time: time.Date(2026, 11, 23, 3, 50, 0, 0, time.UTC), Fields: []string{"schedule"}}}}
}

func failure(class report.Class, reason, message string) *report.Failure {
	return &report.Failure{Class: class, Reason: reason, Message: message}
}

// TestCommitStatuses holds the texts that people see at a forge.
func TestCommitStatuses(t *testing.T) {
	three := clustersNamed("asia", "eu", "us")
	add := []plan.Step{{Action: plan.Add, Kind: plan.KindCluster, Name: "eu", AuditConfig: "mondoo-client"},
		{Action: plan.Change, Kind: plan.KindCluster, Name: "us", AuditConfig: "mondoo-client"}}
	tests := []struct {
		reason string
		// applied is what was applied before the sync; empty: nothing.
		applied string
		o       report.Outcome
		want    []string
	}{
		{"a first commit that is good", "", good(three, func(p *plan.Plan) { p.Steps = add }), []string{
			"1b muster/production success 3 clusters applied: 1 added (eu), 1 changed (us)", "1b muster/production/drift success in sync"}},
		{"a commit that changes nothing", before, good(three, nil), []string{
			"1b muster/production success 3 clusters applied", "1b muster/production/drift success in sync"}},
		{"one broken file: its cause, and what was applied all the same", before, good(broken(), func(p *plan.Plan) { p.Steps = add[1:] }), []string{
			`1b muster/production failure 1 of 3 clusters can't be used: clusters/eu.yaml:13: the schedule "61 * * * *" has a minute over 59; write five fields; otherwise 1 changed (us)`,
			"1b muster/production/drift success in sync"}},
		{"a broken file counts although the API server is in trouble", before, func() report.Outcome {
			o := good(broken(), nil)
			o.Apply = failure(report.Failed, "ApplyFailed", "apply Secret x: timeout")
			return o
		}(), []string{`1b muster/production failure 1 of 3 clusters can't be used: clusters/eu.yaml:13: the schedule "61 * * * *" has a minute over 59; write five fields`}},
		{"a tree that can't be built changes nothing", before, good(stopped(), nil), []string{
			"1b muster/production failure nothing was applied: clusters/kustomization.yaml:2: no such file; take it out of the list"}},
		{"the path is gone: the commit's fault, even when it was good before", head, report.Outcome{Revision: head,
			Render: failure(report.Rejected, report.ReasonPathInvalid, "the commit has no folder clusters; the applied objects are left unchanged")}, []string{
			"1b muster/production failure the commit has no folder clusters; the applied objects are left unchanged"}},
		{"keys are missing: nobody can tell yet", before, report.Outcome{Revision: head, Render: failure(report.Waiting, "SecretMissing", "the Secret sops-age does not exist")}, []string{
			"1b muster/production error not checked yet: the Secret sops-age does not exist"}},
		{"trouble replaces no answer", head, report.Outcome{Revision: head, Render: failure(report.Failed, "ReadFailed", "read the management cluster: timeout")}, nil},
		{"the API server refuses", before, func() report.Outcome {
			o := good(three, func(p *plan.Plan) { p.Steps = add })
			o.Apply = failure(report.Failed, "Forbidden", "apply Secret mondoo-client-eu: forbidden")
			return o
		}(), []string{"1b muster/production error not applied yet: apply Secret mondoo-client-eu: forbidden"}},
		{"a conflict is over in a second", before, func() report.Outcome {
			o := good(three, nil)
			o.Apply = failure(report.Failed, report.ReasonConflict, "apply MondooAuditConfig: conflict")
			return o
		}(), nil},
		{"no live objects could be read", before, report.Outcome{Revision: head, Fleet: three, Apply: failure(report.Failed, "ReadFailed", "read the management cluster: timeout")}, []string{
			"1b muster/production error not applied yet: read the management cluster: timeout"}},
		{"the audit config may come", before, good(three, func(p *plan.Plan) {
			p.Waiting = true
			p.Add(finding.Finding{Code: plan.CodeConfigMissing, Severity: finding.Error, Message: "the audit config mondoo-client does not exist", Fix: "install it"})
		}), []string{"1b muster/production error not applied yet: the audit config mondoo-client does not exist; install it"}},
		{"a Secret that can't be changed", before, good(three, func(p *plan.Plan) {
			p.Add(finding.Finding{Code: plan.CodeSecretTypeChanged, Severity: finding.Error, Cluster: "eu", Message: "the type of a Secret can't be changed", Fix: "give it another name"})
		}), []string{"1b muster/production failure not applied: cluster eu: the type of a Secret can't be changed; give it another name", "1b muster/production/drift success in sync"}},
		{"removals wait for somebody", before, good(three, func(p *plan.Plan) {
			p.Held = 2
			p.Add(finding.Finding{Code: plan.CodeHeld, Severity: finding.Warning, Message: "2 removals wait for approval: they exceed maxRemovals 25%: cluster a, cluster b",
				Fix: "approve exactly these removals with the annotation muster.dev/approve-removals=1b-5e"})
		}), []string{"1b muster/production failure 2 removals wait for approval: they exceed maxRemovals 25%: cluster a, cluster b; approve exactly these removals with the annotation muster.dev/approve-removals=1b-5e",
			"1b muster/production/drift success in sync"}},
		{"a key service that doesn't answer", before, func() report.Outcome {
			f := broken()
			f.Retry = true
			return good(f, nil)
		}(), []string{`1b muster/production error not decrypted yet: clusters/eu.yaml:13: the schedule "61 * * * *" has a minute over 59; write five fields`, "1b muster/production/drift success in sync"}},
		{"a commit that isn't signed, while another is applied", before, report.Outcome{Revision: before, Refused: head, Corrects: true, Fleet: three, Plan: with(plan.Plan{}, nil),
			Fetch: failure(report.Rejected, "Unverified", "the commit 1b1b1b1b1b is not signed")}, []string{
			"1b muster/production failure the commit 1b1b1b1b1b is not signed", "0a muster/production success 3 clusters applied", "0a muster/production/drift success in sync"}},
		{"the repository can't be read: what is known stays", before, report.Outcome{Fetch: failure(report.Failed, "Unreachable", "no route")}, nil},
		{"drift that is put right", head, good(three, func(p *plan.Plan) { p.Steps = []plan.Step{edited(plan.Change)} }), []string{
			"1b muster/production success 3 clusters applied",
			"1b muster/production/drift success drift corrected: mondoo-client: cluster eu: schedule changed by kubectl-edit at 2026-11-23T03:50:00Z"}},
		{"drift that is left", head, func() report.Outcome {
			o := good(three, func(p *plan.Plan) { p.Steps = []plan.Step{edited(plan.Change)} })
			o.Corrects = false
			return o
		}(), []string{"1b muster/production success 3 clusters applied",
			"1b muster/production/drift failure drift detected, not corrected: mondoo-client: cluster eu: schedule changed by kubectl-edit at 2026-11-23T03:50:00Z"}},
		{"drift that can't be put right, and no word about the commit", head, func() report.Outcome {
			o := good(three, func(p *plan.Plan) { p.Steps = []plan.Step{edited(plan.Change)} })
			o.Apply = failure(report.Failed, "Forbidden", "forbidden")
			return o
		}(), []string{"1b muster/production/drift failure drift detected, not corrected yet: mondoo-client: cluster eu: schedule changed by kubectl-edit at 2026-11-23T03:50:00Z"}},
		{"scans that are awaited", before, scanned(scanstate.Verdict{Answer: scanstate.AnswerPending, Scanned: []string{"asia"}, Waiting: []string{"us", "eu"}, Summary: "1 of 3 changed clusters scanned", Cause: "eu: waits for a scan"}), []string{
			"1b muster/production success 3 clusters applied", "1b muster/production/drift success in sync", "1b muster/production/scan pending waits for the scan of 3 changed clusters: asia, eu, us"}},
		{"scans of a fleet that is paused", before, scanned(scanstate.Verdict{Answer: scanstate.AnswerPending, Scanned: []string{"asia"}, Paused: []string{"eu"}}), []string{
			"1b muster/production success 3 clusters applied", "1b muster/production/drift success in sync", "1b muster/production/scan pending scanning is paused for 1 of 2 changed clusters: eu"}},
		{"a scan that failed", before, scanned(scanstate.Verdict{Answer: scanstate.AnswerFailure, Failed: []string{"eu", "us"}, Summary: "2 of 3 changed clusters not scanned", Cause: "eu: OutOfMemory: the scanner was killed at its limit of 1Gi"}), []string{
			"1b muster/production success 3 clusters applied", "1b muster/production/drift success in sync",
			"1b muster/production/scan failure 2 of 3 changed clusters not scanned; eu: OutOfMemory: the scanner was killed at its limit of 1Gi; failed as well: us"}},
		{"scans that went well", before, scanned(scanstate.Verdict{Answer: scanstate.AnswerSuccess, Scanned: []string{"asia", "eu", "us"}, Summary: "3 changed clusters scanned"}), []string{
			"1b muster/production success 3 clusters applied", "1b muster/production/drift success in sync", "1b muster/production/scan success 3 changed clusters scanned"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			sync := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.AuditSyncSpec{Forge: &v1alpha1.Forge{}}}
			sync.Status.LastAppliedRevision = test.applied
			o := test.o
			var tally report.Tally
			o.Changes = tally.Note(sync.Status, o)
			var got []string
			for _, s := range report.CommitStatuses(sync, report.Status(sync, o), o) {
				_, hash, _ := strings.Cut(s.Revision, "sha1:")
				got = append(got, fmt.Sprintf("%s %s %s %s", hash[:2], s.Context, s.State, s.Description))
			}
			if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

func stopped() *fleet.Opened {
	f := clustersNamed("eu")
	f.Stop(finding.Finding{Code: "kustomize", Path: "clusters/kustomization.yaml", Line: 2, Message: "no such file", Fix: "take it out of the list"})
	return f
}

func scanned(v scanstate.Verdict) report.Outcome {
	o := good(clustersNamed("asia", "eu", "us"), nil)
	o.Scan = &v
	return o
}

// TestTally follows what one revision changes over several syncs.
func TestTally(t *testing.T) {
	f := clustersNamed("asia", "eu", "us")
	f.Secrets = []fleet.Secret{{Name: "mondoo-client-us-token", Cluster: "us", AuditConfig: "mondoo-client"}, {Name: "registry"}}
	step := func(action plan.Action, kind, name string) plan.Step {
		s := plan.Step{Action: action, Kind: kind, Name: name}
		if kind == plan.KindCluster {
			s.AuditConfig = "mondoo-client"
		}
		return s
	}
	var tally report.Tally
	status := v1alpha1.AuditSyncStatus{LastAppliedRevision: before, LastChanges: "1 added (asia)"}
	steps := []struct {
		reason, revision string
		restart          bool
		steps            []plan.Step
		want             string
	}{
		{"a restart at the same revision keeps what was known", before, false, nil, "1 added (asia)"},
		{"and adds to it", before, false, []plan.Step{step(plan.Remove, plan.KindCluster, "old"), step(plan.Remove, plan.KindSecret, "mondoo-client-old-token")}, "1 added (asia), 1 removed (old)"},
		{"another revision begins anew", head, false, []plan.Step{step(plan.Add, plan.KindCluster, "eu"), step(plan.Hold, plan.KindCluster, "old"), edited(plan.Change)}, "1 added (eu)"},
		{"a Secret is a change of its cluster", head, false, []plan.Step{step(plan.Change, plan.KindSecret, "mondoo-client-us-token"), step(plan.Change, plan.KindSecret, "registry")}, "1 added (eu), 1 changed (us), 1 Secret changed"},
		{"what is planned again after a failure counts once", head, false, []plan.Step{step(plan.Change, plan.KindCluster, "eu"), step(plan.Change, plan.KindCluster, "us")}, "1 added (eu), 1 changed (us), 1 Secret changed"},
		{"nothing to do changes nothing", head, false, nil, "1 added (eu), 1 changed (us), 1 Secret changed"},
	}
	for _, s := range steps {
		got := tally.Note(status, report.Outcome{Revision: s.revision, Fleet: f, Plan: &plan.Plan{Steps: s.steps}})
		if got != s.want {
			t.Errorf("%s: got %q, want %q", s.reason, got, s.want)
		}
	}
}
