package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

// settledSync is a sync that found everything as it should be, and the next one.
type settledSync struct {
	r     Reconciler
	clock *clocktesting.FakePassiveClock
	st    state
	audit v1alpha1.AuditSync
	live  plan.Live
	plan  plan.Plan
	out   report.Outcome
	again time.Time
	now   seen
}

func newSettledSync() *settledSync {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	s := &settledSync{clock: clocktesting.NewFakePassiveClock(noon), now: seen{sync: "u 1 map[]", syncs: "production u 1", changes: 7, observed: 3}, again: noon.Add(time.Hour)}
	s.r.Clock = s.clock
	s.st = state{snapshot: &gitsync.Snapshot{}, desired: &fleet.Opened{}, rendered: renderKey{day: noon.Truncate(24 * time.Hour)}}
	s.audit = v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Name: "production", ResourceVersion: "42"}}
	s.live.Inventories = []*inventory.Inventory{{Clusters: []inventory.Item{{Name: "eu"}}}}
	s.out = report.Outcome{Fleet: s.st.desired, Plan: &s.plan}
	return s
}

// end ends the first sync.
func (s *settledSync) end() {
	s.st.settle(&s.plan, s.live, s.now)
	s.st.remember(&s.audit, s.out, s.now, s.again)
}

func (s *settledSync) unchanged() bool { return s.r.unchanged(&s.audit, &s.st, s.now) }

// TestInputsOfASettledSync changes one input at a time of what the next sync would read.
func TestInputsOfASettledSync(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(*settledSync)
		same   bool
	}{
		{"nothing", func(*settledSync) {}, true},
		{"an hour, when nothing depends on the time", func(s *settledSync) {
			s.again = time.Time{}
			s.end()
			s.clock.SetTime(s.clock.Now().Add(11 * time.Hour))
		}, true},
		{"another commit", func(s *settledSync) { s.st.settled.reported.revision.Hash = "before" }, false},
		{"the same commit, fetched again", func(s *settledSync) { s.st.snapshot = &gitsync.Snapshot{} }, true},
		{"the spec or an annotation of the AuditSync", func(s *settledSync) { s.now.sync = "u 2 map[]" }, false},
		{"the status of the AuditSync", func(s *settledSync) { s.audit.ResourceVersion = "43" }, false},
		{"a requested sync", func(s *settledSync) { s.audit.Annotations = map[string]string{v1alpha1.AnnotationReconcile: "now"} }, false},
		{"another AuditSync", func(s *settledSync) { s.now.syncs += "\nstaging v 1" }, false},
		{"a Secret, an inventory or an audit config", func(s *settledSync) { s.now.changes++ }, false},
		{"a scan", func(s *settledSync) { s.now.observed++ }, false},
		{"AuditSyncs that can't be listed", func(s *settledSync) { s.now = seen{} }, false},
		{"another fleet", func(s *settledSync) { s.st.desired = &fleet.Opened{} }, false},
		{"the time at which scans are looked at again", func(s *settledSync) { s.clock.SetTime(s.again) }, false},
		{"the time at which a credential is about to expire", func(s *settledSync) {
			s.out.Fleet.Changes = s.clock.Now().Add(time.Minute)
			s.end()
			s.clock.SetTime(s.clock.Now().Add(time.Minute))
		}, false},
		{"a moment before", func(s *settledSync) {
			s.out.Fleet.Changes = s.clock.Now().Add(time.Minute)
			s.end()
			s.clock.SetTime(s.clock.Now().Add(time.Minute - 1))
		}, true},
		{"midnight", func(s *settledSync) {
			s.again = time.Time{}
			s.end()
			s.clock.SetTime(s.clock.Now().Add(12 * time.Hour))
		}, false},
	} {
		s := newSettledSync()
		s.end()
		if test.change(s); s.unchanged() != test.same {
			t.Errorf("%s: unchanged is %t", test.reason, !test.same)
		}
	}
}

// TestRenderedAgain: a fleet is rendered again when an input changes, or when a credential in it is about to expire.
func TestRenderedAgain(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	key, other := renderKey{commit: "1f"}, renderKey{commit: "2e"}
	for _, test := range []struct {
		reason  string
		fleet   *fleet.Opened
		key     renderKey
		current bool
	}{
		{"nothing was rendered", nil, key, false},
		{"nothing expires", &fleet.Opened{}, key, true},
		{"another commit", &fleet.Opened{}, other, false},
		{"something expires later", &fleet.Opened{Changes: noon.Add(time.Second)}, key, true},
		{"something expires now", &fleet.Opened{Changes: noon}, key, false},
	} {
		st := state{fleet: test.fleet, rendered: key}
		if got := st.upToDate(test.key, noon); got != test.current {
			t.Errorf("%s: up to date is %t", test.reason, got)
		}
	}
}

// TestUnknownInputsAreNeverSettled: the AuditSyncs could not be listed twice in a row.
func TestUnknownInputsAreNeverSettled(t *testing.T) {
	s := newSettledSync()
	s.now = seen{}
	if s.end(); s.unchanged() {
		t.Error("unchanged, although the inputs are unknown")
	}
}

// TestPlanOfASettledSync: a new commit with the same fleet, and news of scans, need no new plan.
func TestPlanOfASettledSync(t *testing.T) {
	s := newSettledSync()
	s.plan.Revision, s.plan.Applied = "before", 1
	s.end()
	s.st.snapshot = &gitsync.Snapshot{}
	s.now.observed++
	p := s.st.settledPlan(&s.audit, s.now)
	if p == nil || p.Revision != "" || p.Applied != 1 {
		t.Fatalf("the plan for a commit without a name is %+v", p)
	}
	if s.plan.Revision != "before" {
		t.Error("the plan of the earlier revision was changed")
	}
}

// TestPlansThatAreNotSettled has those that write something, or may become others by themselves.
func TestPlansThatAreNotSettled(t *testing.T) {
	correction := []inventory.Correction{{Path: "schedule"}}
	for _, test := range []struct {
		reason string
		with   func(*settledSync)
	}{
		{"a write", func(s *settledSync) { s.plan.Secrets = []plan.SecretWrite{{Name: "a"}} }},
		{"drift that is only reported", func(s *settledSync) { s.plan.Steps = []plan.Step{{Drift: true}} }},
		{"a field that the operator drops", func(s *settledSync) { s.plan.NotKept = []plan.Step{{}} }},
		{"a contested field", func(s *settledSync) { s.plan.Contested = []plan.Step{{}} }},
		{"a step that waits", func(s *settledSync) { s.plan.Next = s.again }},
		{"held removals", func(s *settledSync) { s.plan.Held = 1 }},
		{"an approval that matches nothing", func(s *settledSync) { s.plan.Mismatch = "no such removal" }},
		{"a stopped plan", func(s *settledSync) { s.plan.Stopped = true }},
		{"a missing audit config", func(s *settledSync) { s.plan.Waiting = true }},
		{"an undeclared field", func(s *settledSync) { s.st.undeclared = map[string]time.Time{"spec.x": s.clock.Now()} }},
		{"a correction of an audit config", func(s *settledSync) { s.live.Inventories[0].Corrected = correction }},
		{"a correction of a cluster", func(s *settledSync) { s.live.Inventories[0].Clusters[0].Corrected = correction }},
		{"a correction of a Secret", func(s *settledSync) { s.live.Inventories[0].Secrets = []inventory.Item{{Corrected: correction}} }},
		{"an approval that is being carried out", func(s *settledSync) { s.live.Inventories[0].Approved = &inventory.Approval{} }},
	} {
		s := newSettledSync()
		test.with(s)
		if s.end(); s.st.settledPlan(&s.audit, s.now) != nil {
			t.Errorf("%s: the next sync would use the same plan", test.reason)
		}
	}
}

// TestReportsThatAreNotSettled has those that are incomplete, or may become others by themselves, although their plan is settled.
func TestReportsThatAreNotSettled(t *testing.T) {
	for _, test := range []struct {
		reason string
		with   func(*settledSync)
	}{
		{"a failed fetch", func(s *settledSync) { s.out.Fetch = &report.Failure{} }},
		{"a failed render", func(s *settledSync) { s.out.Render = &report.Failure{} }},
		{"a failed write", func(s *settledSync) { s.out.Apply = &report.Failure{} }},
		{"a quarantined cluster", func(s *settledSync) { s.plan.Findings = []finding.Finding{{Severity: finding.Error}} }},
		{"a refused commit", func(s *settledSync) { s.out.Refused = "main@sha1:abc" }},
		{"a key service that refuses", func(s *settledSync) { s.st.desired.Provisional = true }},
		{"a key service that may answer soon", func(s *settledSync) { s.st.desired.Retry = true }},
	} {
		s := newSettledSync()
		test.with(s)
		if s.end(); s.unchanged() || s.st.settledPlan(&s.audit, s.now) == nil {
			t.Errorf("%s: the next sync would report nothing, or plan anew", test.reason)
		}
	}
}
