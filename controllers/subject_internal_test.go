package controllers

import (
	"testing"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestBaseOfPullRequests: a commit that can't be applied is a new base, too, and each base is told once.
func TestBaseOfPullRequests(t *testing.T) {
	s := &subject{}
	status := v1alpha1.AuditSyncStatus{LastAttemptedRevision: "main@sha1:a", LastAppliedRevision: "main@sha1:a"}
	if !s.moved(status) || s.moved(status) {
		t.Error("the first base")
	}
	status.LastAttemptedRevision = "main@sha1:b"
	if !s.moved(status) || s.moved(status) {
		t.Error("a commit that isn't applied")
	}
	status.LastAppliedRevision = "main@sha1:b"
	if !s.moved(status) || s.moved(status) {
		t.Error("the same commit, applied")
	}
}
