package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/pullrequest"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

// subject keeps the credentials and keys with which the pull requests of an AuditSync are judged. They are apart from those of
// its syncs, which run at the same time.
type subject struct {
	mu sync.Mutex
	st state
	// base is the base as the last sync reported it. The cache may not have that yet. It is apart from the lock, which is held
	// while key services are asked.
	base atomic.Value
}

// moved records the base that a sync has reported, and reports whether it is another one.
func (s *subject) moved(status v1alpha1.AuditSyncStatus) bool {
	base := baseOf(status)
	return s.base.Swap(base) != base
}

// rebase has the pull requests checked again if the base that a sync has reported is another one, or the first.
func (r *Reconciler) rebase(audit *v1alpha1.AuditSync) {
	key := client.ObjectKeyFromObject(audit)
	if r.subject(key).moved(audit.Status) {
		r.PullRequests.Look(key)
	}
}

// baseOf is the commit of the branch, and how much of it is applied. Reviews depend on both.
func baseOf(status v1alpha1.AuditSyncStatus) string {
	return status.LastAttemptedRevision + " " + status.LastAppliedRevision
}

// Subject returns what the pull requests of an AuditSync are judged with, read as for a sync. It is nil if they aren't to be
// answered, or before this process has reported a sync: what is judged against a base that is not applied yet must be judged again,
// and until then would only take the time of the sync.
func (r *Reconciler) Subject(ctx context.Context, key types.NamespacedName) (*pullrequest.Subject, error) {
	audit := &v1alpha1.AuditSync{}
	if err := r.Client.Get(ctx, key, audit); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("get AuditSync: %w", err)
	}
	branch := branchOf(audit)
	if audit.Spec.Forge == nil || !audit.Spec.Forge.PullRequests || audit.Spec.Suspend || !audit.DeletionTimestamp.IsZero() || branch == "" {
		return nil, nil
	}
	s := r.subject(key)
	base, reported := s.base.Load().(string)
	if !reported {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src, version, failure := r.source(ctx, audit, &s.st)
	if failure != nil {
		return nil, failureError(failure)
	}
	src.DescendantOf, src.Ref = "", gitsync.Ref{Branch: branch}
	secrets, failure := r.open(ctx, audit, &s.st)
	if failure != nil {
		return nil, failureError(failure)
	}
	s.st.conceal(secrets...)
	live, failure := r.live(ctx, audit, r.Client)
	if failure != nil {
		return nil, failureError(failure)
	}
	var syncs v1alpha1.AuditSyncList
	if err := r.list(ctx, &syncs, audit.Namespace); err != nil {
		return nil, err
	}
	allowed := Allowed(audit, syncs.Items)
	return &pullrequest.Subject{AuditSync: audit, Source: src, Branch: branch, Opener: s.st.opener, Live: live, Policy: Policy(audit, ""), Redactor: s.st.redactor,
		Supply: r.Sources.Preview(key, s.st.redactor),
		Options: compile.Options{Namespace: audit.Namespace, Sync: audit.Name, AuditConfig: audit.Spec.AuditConfig, Existing: live.AuditConfigs,
			PodSecurity: r.podSecurity(ctx, audit.Namespace), Policy: allowed},
		Version: fmt.Sprintf("%d %s %s %s %q", audit.Generation, version, s.st.keys, base, allowed.Key())}, nil
}

func (r *Reconciler) subject(key types.NamespacedName) *subject {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subjects == nil {
		r.subjects = map[types.NamespacedName]*subject{}
	}
	s := r.subjects[key]
	if s == nil {
		s = &subject{st: state{redactor: &redact.Redactor{}}}
		r.subjects[key] = s
	}
	return s
}

// branchOf returns the branch that an AuditSync follows; "" if it follows none, or before the first sync of a default branch.
func branchOf(audit *v1alpha1.AuditSync) string {
	if ref := audit.Spec.Source.Ref; ref != nil && (ref.Branch != "" || ref.Tag != "" || ref.SemVer != "" || ref.Commit != "") {
		if ref.Tag != "" || ref.SemVer != "" || ref.Commit != "" {
			return ""
		}
		return ref.Branch
	}
	revision, err := gitsync.ParseRevision(audit.Status.LastAttemptedRevision)
	if err != nil {
		return ""
	}
	return revision.Ref
}

func failureError(f *report.Failure) error { return errors.New(f.Message) }
