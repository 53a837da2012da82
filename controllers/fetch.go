package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

// fetch fetches the ref's current commit from the remote, if that is due. After a failure the last snapshot is used, unless its
// commit must not be applied.
func (r *Reconciler) fetch(ctx context.Context, audit *v1alpha1.AuditSync, st *state) *report.Failure {
	verify, failure := r.verifier(ctx, audit)
	if failure != nil {
		st.drop()
		return failure
	}
	if st.snapshot != nil && verify(st.snapshot.Commit()) != nil {
		st.drop()
	}
	src, version, failure := r.source(ctx, audit, st)
	if failure != nil {
		return failure
	}
	if !r.fetchDue(audit, st, version) {
		return nil
	}
	r.PullRequests.Look(client.ObjectKeyFromObject(audit))
	clone, err := r.clones.use(cloneOf(audit), r.CacheDir, r.Clock.Now)
	if err != nil {
		return &report.Failure{Class: report.Failed, Reason: "CacheFailed", Message: err.Error()}
	}
	st.refused, src.ListedSince = "", r.listedSince(audit, st, version)
	if syncRequested(audit) {
		r.gatherRequests(ctx, src.ListedSince, r.clones.shared(clone))
	}
	started := r.Clock.Now()
	snapshot, err := clone.Fetch(ctx, src)
	st.fetched = r.Clock.Now()
	r.Metrics.Stage(audit.Namespace, audit.Name, "fetch", st.fetched.Sub(started))
	if err == nil || st.clone == nil {
		st.clone, clone = clone, st.clone
	}
	r.clones.release(clone)
	if rollback, ok := errors.AsType[*gitsync.NotDescendantError](err); ok {
		st.source, st.refused = "", rollback.Revision.String()
		if st.snapshot != nil && st.snapshot.Commit().Hash == rollback.Revision.Hash {
			st.drop()
		}
		return rolledBack(rollback, audit)
	}
	if err != nil {
		st.source = "" // fetch again in the next sync
		return classifyFetch(err, st)
	}
	if err := verify(snapshot.Commit()); err != nil {
		st.source, st.refused = "", snapshot.Revision().String()
		if snapshot != st.snapshot {
			snapshot.Close() //nolint:errcheck // the cache is disposable
		}
		return unverified(err, audit)
	}
	st.source, st.fetched = version, snapshot.Listed()
	if snapshot != st.snapshot {
		st.drop()
	}
	st.snapshot, st.origin = snapshot, originOf(audit)
	return nil
}

// originOf returns the repository and ref of an AuditSync.
func originOf(audit *v1alpha1.AuditSync) string {
	if ref := audit.Spec.Source.Ref; ref != nil {
		return fmt.Sprintf("%s %+v", audit.Spec.Source.URL, *ref)
	}
	return audit.Spec.Source.URL
}

// fetchDue reports whether to fetch: at each interval, when a sync is requested, and when the source has changed. Changes to live
// objects don't cause a fetch.
func (r *Reconciler) fetchDue(audit *v1alpha1.AuditSync, st *state, version string) bool {
	return st.snapshot == nil || st.source != version || syncRequested(audit) || r.Clock.Since(st.fetched) >= interval(audit)
}

// syncRequested reports whether the annotation requests a sync that has not run yet.
func syncRequested(audit *v1alpha1.AuditSync) bool {
	requested := audit.Annotations[v1alpha1.AnnotationReconcile]
	return requested != "" && requested != audit.Status.LastHandledReconcileAt
}

// SourceOf returns what to fetch, without credentials.
func SourceOf(spec v1alpha1.Source) gitsync.Source {
	src := gitsync.Source{URL: spec.URL}
	if spec.Ref != nil {
		src.Ref = gitsync.Ref{Branch: spec.Ref.Branch, Tag: spec.Ref.Tag, SemVer: spec.Ref.SemVer, Commit: spec.Ref.Commit}
	}
	if spec.Timeout != nil {
		src.Timeout = spec.Timeout.Duration
	}
	return src
}

// source returns what to fetch. The version changes with any of it.
func (r *Reconciler) source(ctx context.Context, audit *v1alpha1.AuditSync, st *state) (gitsync.Source, string, *report.Failure) {
	spec := audit.Spec.Source
	src := SourceOf(spec)
	version := fmt.Sprintf("%s %+v", src.URL, src.Ref)
	if spec.Verify != nil && spec.Verify.Monotonic {
		version += " monotonic"
		if applied := audit.Status.LastAppliedRevision; applied != "" {
			revision, err := gitsync.ParseRevision(applied)
			if err != nil {
				return src, "", &report.Failure{Class: report.Rejected, Reason: "SourceInvalid", Message: fmt.Sprintf("status.lastAppliedRevision: %v", err)}
			}
			src.DescendantOf = revision.Hash
		}
	}
	if spec.SecretRef != nil {
		secret, failure := r.secret(ctx, audit.Namespace, spec.SecretRef.Name, "the credentials for the repository (spec.source.secretRef)")
		if failure != nil {
			return src, "", failure
		}
		st.credentials = nil
		for key, value := range secret.Data {
			if key != "username" && key != "known_hosts" && key != "identity.pub" {
				st.credentials = append(st.credentials, string(value))
			}
		}
		st.conceal(st.credentials...)
		auth, err := gitsync.AuthFromSecret(spec.URL, secret.Data)
		if err != nil {
			return src, "", &report.Failure{Class: report.Rejected, Reason: "CredentialsInvalid",
				Message: st.redactor.String(fmt.Sprintf("Secret %s: %v", secret.Name, err))}
		}
		src.Auth = auth
		version += " " + secret.ResourceVersion
	}
	if err := src.Validate(); err != nil {
		return src, "", &report.Failure{Class: report.Rejected, Reason: "SourceInvalid", Message: st.redactor.String(err.Error())}
	}
	return src, version, nil
}

// secret reads a Secret that the AuditSync names.
func (r *Reconciler) secret(ctx context.Context, namespace, name, purpose string) (*corev1.Secret, *report.Failure) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &report.Failure{Class: report.Waiting, Reason: "SecretMissing",
			Message: fmt.Sprintf("Secret %s, %s, does not exist in namespace %s; create it", name, purpose, namespace)}
	case err != nil:
		return nil, &report.Failure{Class: report.Failed, Reason: "SecretUnreadable", Message: fmt.Sprintf("read Secret %s: %v", name, err)}
	}
	return secret, nil
}

// classifyFetch returns the reason and class of a failed fetch. Failures that may be temporary are retried.
func classifyFetch(err error, st *state) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: "FetchFailed", Message: st.redactor.String(err.Error())}
	var (
		remote  *gitsync.RemoteError
		missing *gitsync.RefNotFoundError
		source  *gitsync.SourceError
		limit   *gitsync.LimitError
	)
	switch {
	case errors.As(err, &remote):
		f.Reason = string(remote.Reason)
		if remote.Reason == gitsync.Redirected || remote.Reason == gitsync.NotGit || remote.Reason == gitsync.Unsupported {
			f.Class = report.Rejected
		}
	case errors.As(err, &missing):
		f.Class, f.Reason = report.Waiting, "RefNotFound"
	case errors.As(err, &source):
		f.Class, f.Reason = report.Rejected, "SourceInvalid"
	case errors.As(err, &limit):
		f.Class, f.Reason = report.Rejected, "RepositoryTooLarge"
	}
	if st.snapshot != nil {
		f.Message += fmt.Sprintf("; %s stays applied", st.snapshot.Revision())
	}
	return f
}
