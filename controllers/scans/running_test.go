package scans

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/controllers/scanstate"
)

// TestRunning: a scan runs from its Job's creation to its end, whoever made the Job.
func TestRunning(t *testing.T) {
	for _, row := range []struct {
		reason string
		job    scanstate.Job
		own    bool
		want   bool
	}{
		{"a Job of the schedule", scanstate.Job{Cluster: "eu"}, false, true},
		{"a Job of Muster", scanstate.Job{Cluster: "eu"}, true, true},
		{"one that has ended", scanstate.Job{Cluster: "eu", Outcome: scanstate.Complete}, false, false},
		{"one that has failed", scanstate.Job{Cluster: "eu", Outcome: scanstate.Broken}, false, false},
		{"one that is suspended", scanstate.Job{Cluster: "eu", Suspended: true}, false, false},
		{"one of another cluster", scanstate.Job{Cluster: "us"}, false, false},
	} {
		s := newTestObserver(t, clocktesting.NewFakeClock(time.Now()))
		live := s.in(scope{"ns", "mondoo-client"})
		if row.own {
			live.own.put("job", row.job)
		} else {
			live.jobs.put("job", row.job)
		}
		if got := s.Running("ns", "mondoo-client", "eu"); got != row.want {
			t.Errorf("%s: %t", row.reason, got)
		}
		if s.Running("ns", "other", "eu") || s.Running("other", "mondoo-client", "eu") {
			t.Errorf("%s: it runs elsewhere", row.reason)
		}
	}
}
