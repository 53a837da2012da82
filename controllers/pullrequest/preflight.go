package pullrequest

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// TryFunc checks the credentials of clusters that a pull request changes. It returns nil for those without a result yet, and then
// calls ready when all are there.
type TryFunc func(ctx context.Context, audit *v1alpha1.AuditSync, targets []preflight.Target, redactor *redact.Redactor, ready func()) []*preflight.Result

// maxTried bounds the clusters that are checked for a pull request.
const maxTried = 20

// stillChecking ends the key of an answer that is given again when the checks of credentials are done.
const stillChecking = " checks of credentials pend"

// tries reports whether credentials are tried: only those of a head in the repository itself. Nothing in any other head is contacted,
// even if it was allowed to be checked with keys. A commit of the merge queue was checked as a pull request, and may be a stranger's.
func (w *answering) tries() bool {
	return w.checker.Try != nil && w.subject.AuditSync.Spec.Preflight.On() && w.trusted == review.Full && !w.Fork && w.ref == ""
}

// checked answers with what the credentials of changed clusters are worth.
func (w *answering) checked(ctx context.Context, request judge.Request, r *judge.Result) answer {
	if !w.tries() {
		return w.answer(request, r)
	}
	audit := w.subject.AuditSync
	candidates := r.Candidates(request.Now)
	candidates = candidates[:min(len(candidates), maxTried)]
	targets := make([]preflight.Target, len(candidates))
	for i := range candidates {
		targets[i] = candidates[i].Target
	}
	again := item{NamespacedName: client.ObjectKeyFromObject(audit), number: w.Number}
	pending, required := 0, audit.Spec.Preflight.Required()
	for i, found := range w.checker.Try(ctx, audit, targets, w.subject.Redactor, func() { w.checker.queue.Add(again) }) {
		if found == nil {
			pending++
			continue
		}
		r.Checked(candidates[i], *found, required)
	}
	a := w.answer(request, r)
	if a.checking = pending > 0; a.checking && required && a.status.State == forge.Success {
		a.status.State, a.status.Description = forge.Pending, fmt.Sprintf("%d of %d credentials are being checked; %s", pending, len(targets), a.status.Description)
	}
	return a
}
