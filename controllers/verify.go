package controllers

import (
	"context"
	"fmt"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

// verifier returns a function that checks whether a commit may be applied, by its signature. Without spec.source.verify every commit
// may be applied. Without the keys that it names, none may.
func (r *Reconciler) verifier(ctx context.Context, audit *v1alpha1.AuditSync) (verify func(gitsync.Commit) error, failure *report.Failure) {
	if audit.Spec.Source.Verify == nil {
		return func(gitsync.Commit) error { return nil }, nil
	}
	secret, failure := r.secret(ctx, audit.Namespace, audit.Spec.Source.Verify.SecretRef.Name, "the public keys of the allowed signers (spec.source.verify.secretRef)")
	if failure != nil {
		failure.Message += staysApplied(audit)
		return nil, failure
	}
	keys, err := gitsync.VerifierFromSecret(secret.Data)
	if err != nil {
		return nil, &report.Failure{Class: report.Rejected, Reason: "VerifyKeysInvalid",
			Message: fmt.Sprintf("Secret %s: %v", secret.Name, err) + staysApplied(audit)}
	}
	return func(c gitsync.Commit) error { return keys.Verify(c, r.Clock.Now()) }, nil
}

// unverified returns the failure for a commit whose signature is missing or wrong.
func unverified(err error, audit *v1alpha1.AuditSync) *report.Failure {
	return &report.Failure{Class: report.Rejected, Reason: "Unverified", Message: err.Error() + staysApplied(audit)}
}

// rolledBack returns the failure for a commit that spec.source.verify.monotonic rejects.
func rolledBack(err *gitsync.NotDescendantError, audit *v1alpha1.AuditSync) *report.Failure {
	return &report.Failure{Class: report.Rejected, Reason: "NotDescendant",
		Message: fmt.Sprintf("%v, the commit that was applied last (spec.source.verify.monotonic); Fix: to undo a change, push a commit that reverts it; "+
			"to apply this one anyway, set spec.source.verify.monotonic to false until it is applied", err) + staysApplied(audit)}
}

// staysApplied is the end of a message: which revision stays applied.
func staysApplied(audit *v1alpha1.AuditSync) string {
	if audit.Status.LastAppliedRevision == "" {
		return "; nothing is applied"
	}
	return fmt.Sprintf("; %s stays applied", audit.Status.LastAppliedRevision)
}
