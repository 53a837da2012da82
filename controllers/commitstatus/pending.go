package commitstatus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// maxPending is the limit on status.pendingRevisions.
const maxPending = 20

// close ends the pending statuses of superseded commits, and removes commits without pending statuses from the status.
func (j *job) close(ctx context.Context) error {
	if len(j.current) == 0 {
		return nil // the current commit is unknown
	}
	contexts := report.Contexts(j.audit)
	left := make([]string, 0, len(j.audit.Status.PendingRevisions))
	for _, text := range j.audit.Status.PendingRevisions {
		revision, err := gitsync.ParseRevision(text)
		switch {
		case err != nil:
		case slices.ContainsFunc(j.current, func(c gitsync.Revision) bool { return c.Hash == revision.Hash }):
			if !j.ended(commitOf(revision), contexts) {
				left = append(left, text)
			}
		default:
			statuses := j.reporter.ended(j.key, revision, contexts[0], report.CommitSuperseded(j.current[0].Hash))
			if err := unlessFinal(j.end(ctx, commitOf(revision), statuses)); err != nil {
				return err
			}
		}
	}
	return j.reporter.writePending(ctx, j.audit, left)
}

// ended returns the final statuses of a commit that will get no result. base is the context for the commit itself.
func (r *Reporter) ended(key types.NamespacedName, revision gitsync.Revision, base, why string) (list []forge.Status) {
	for _, name := range report.ContextsOf(base) {
		status := report.CommitEnded(name, why)
		status.TargetURL = link(r.URL, key, revision.Hash)
		list = append(list, status)
	}
	return list
}

// remember records that a commit will get a pending status, before it is posted. So the status will be ended even if this process dies.
func (j *job) remember(ctx context.Context, revision string) error {
	pending := j.audit.Status.PendingRevisions
	if slices.Contains(pending, revision) {
		return nil
	}
	pending = append(slices.Clone(pending), revision)
	return j.reporter.writePending(ctx, j.audit, pending[max(0, len(pending)-maxPending):])
}

// writePending records the commits with pending statuses, and their place. They are all in one place, because those in another place are
// ended first.
func (r *Reporter) writePending(ctx context.Context, audit *v1alpha1.AuditSync, pending []string) error {
	if slices.Equal(pending, audit.Status.PendingRevisions) {
		return nil
	}
	at := audit.Status.PendingAt
	switch {
	case len(pending) == 0:
		pending, at = nil, nil
	case at == nil:
		at = report.Place(audit)
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"pendingRevisions": pending, "pendingAt": at}})
	if err != nil {
		return err
	}
	written := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: audit.Namespace, Name: audit.Name}}
	if err := r.Client.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("record the commits with pending statuses: %w", err)
	}
	audit.Status.PendingRevisions, audit.Status.PendingAt = pending, at
	return nil
}
