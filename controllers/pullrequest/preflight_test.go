package pullrequest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// tried counts the contacts with clusters, and may keep results back.
type tried struct {
	mu       sync.Mutex
	clusters []string
	hold     bool
	ready    []func()
}

func (c *tried) try(_ context.Context, _ *v1alpha1.AuditSync, targets []preflight.Target, _ *redact.Redactor, ready func()) []*preflight.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	results := make([]*preflight.Result, len(targets))
	for i, t := range targets {
		c.clusters = append(c.clusters, t.Cluster)
		if !c.hold {
			results[i] = &preflight.Result{Checks: []preflight.Check{{Name: preflight.Login, State: preflight.Failed, Cause: preflight.TokenExpired, Message: "the token expired", Fix: "issue a new one"}}}
		}
	}
	if c.hold {
		c.ready = append(c.ready, ready)
	}
	return results
}

// release has the results ready.
func (c *tried) release() {
	c.mu.Lock()
	ready := c.ready
	c.hold, c.ready = false, nil
	c.mu.Unlock()
	for _, f := range ready {
		f()
	}
}

func (c *tried) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.clusters)
}

// TestTriesOnlyItsOwn: a stranger's head is contacted for no one, and so is what a merge queue makes of it.
func TestTriesOnlyItsOwn(t *testing.T) {
	for _, row := range []struct {
		reason string
		mode   v1alpha1.PreflightMode
		trust  review.Trust
		fork   bool
		ref    string
		want   bool
	}{
		{"a head in the repository", v1alpha1.PreflightReport, review.Full, false, "", true},
		{"in mode Required", v1alpha1.PreflightRequired, review.Full, false, "", true},
		{"off", v1alpha1.PreflightOff, review.Full, false, "", false},
		{"a stranger", v1alpha1.PreflightReport, review.Keyless, true, "", false},
		{"a stranger that a maintainer allowed", v1alpha1.PreflightReport, review.Allowed, true, "", false},
		{"a head that needed a permission", v1alpha1.PreflightReport, review.Allowed, false, "", false},
		{"a fork, however trusted", v1alpha1.PreflightReport, review.Full, true, "", false},
		{"a commit of the merge queue", v1alpha1.PreflightReport, review.Full, false, "refs/heads/gh-readonly-queue/main/pr-1-a", false},
	} {
		audit := &v1alpha1.AuditSync{}
		audit.Spec.Preflight.Mode = row.mode
		w := &answering{checker: &Checker{Options: Options{Try: (&tried{}).try}}, subject: &Subject{AuditSync: audit}, ref: row.ref, trusted: row.trust}
		w.Fork = row.fork
		if got := w.tries(); got != row.want {
			t.Errorf("%s: %t", row.reason, got)
		}
		if w.checker.Try = nil; w.tries() {
			t.Errorf("%s: without anyone to try", row.reason)
		}
	}
}

// TestCredentialsAreTried: the answer has what the credentials in the head of the repository itself are worth, and is given again when
// that comes late. Of a stranger's head nothing is contacted, and neither is anything while the mode is Off.
func TestCredentialsAreTried(t *testing.T) {
	s := newStage(t, forge.GitHub)
	contacts := &tried{}
	s.checker.Try = contacts.try
	rotated := func(name, token string) map[string]string {
		return map[string]string{"f/" + name + ".yaml": sealed(t, s.key, name, token)}
	}

	off := s.push(1, false, rotated("eu", "CANARY-1"))
	s.look("off", s.shows(1, off, forge.Success, "adds 1 cluster (eu)"))
	if contacts.times() != 0 {
		t.Fatalf("contacted: %v", contacts.clusters)
	}

	s.preflight.Store(v1alpha1.PreflightRequired)
	required := s.push(2, false, rotated("asia", "CANARY-2"))
	s.look("it must work", s.shows(2, required, forge.Failure, "1 new error: f/asia.yaml:1: the credential fails the preflight: login: the token expired",
		"the credential fails the preflight: login: the token expired (token-expired). Fix: issue a new one", "preflight-failed"))

	s.preflight.Store(v1alpha1.PreflightReport)
	reported := s.push(2, false, rotated("asia", "CANARY-3"))
	s.look("it should work", s.shows(2, reported, forge.Success, "adds 1 cluster (asia); 1 warning", "the credential fails the preflight"))

	before := contacts.times()
	other := s.push(3, false, map[string]string{"f/us.yaml": plain("us", "6 1 * * *")})
	s.look("what can't be checked from here", s.shows(3, other, forge.Success, "adds 1 cluster (us)"))
	stranger := s.push(4, true, rotated("eu", "CANARY-4"))
	s.look("a stranger", s.shows(4, stranger, forge.Success, "keyless check: changes 1 cluster (eu)"))
	if n := contacts.times(); n != before {
		t.Fatalf("contacted: %v", contacts.clusters[before:])
	}

	contacts.hold = true
	s.preflight.Store(v1alpha1.PreflightRequired)
	late := s.push(5, false, rotated("late", "CANARY-5"))
	s.look("it takes long", s.shows(5, late, forge.Pending, "1 of 1 credentials are being checked; adds 1 cluster (late)"))
	contacts.release()
	s.look("the result is there", s.shows(5, late, forge.Failure, "1 new error", "the token expired (token-expired)"))
	before = contacts.times()
	s.look("nothing new", func() bool { return true })
	if n := contacts.times(); n != before {
		t.Errorf("contacted again: %v", contacts.clusters[before:])
	}
	if !slices.Contains(contacts.clusters, "late") || strings.Contains(strings.Join(contacts.clusters, " "), "us") {
		t.Errorf("contacted: %v", contacts.clusters)
	}
	s.clean()
}
