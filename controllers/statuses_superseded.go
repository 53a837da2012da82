package controllers

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
func (j *statusJob) close(ctx context.Context) error {
	if len(j.current) == 0 {
		return nil // the current commit is unknown
	}
	left := make([]string, 0, len(j.audit.Status.PendingRevisions))
	for _, text := range j.audit.Status.PendingRevisions {
		revision, err := gitsync.ParseRevision(text)
		switch {
		case err != nil:
		case slices.ContainsFunc(j.current, func(c gitsync.Revision) bool { return c.Hash == revision.Hash }):
			if !j.ended(revision.Hash) {
				left = append(left, text)
			}
		default:
			if err := j.supersede(ctx, revision); err != nil {
				return err
			}
		}
	}
	return j.statuses.writePending(ctx, j.audit, left)
}

// ended reports whether all statuses of a commit are final.
func (j *statusJob) ended(hash string) bool {
	for _, name := range report.Contexts(j.audit) {
		if status, settled := j.settled[place{hash, name}]; !settled || status.State == forge.Pending {
			return false
		}
	}
	return true
}

func (j *statusJob) supersede(ctx context.Context, revision gitsync.Revision) error {
	return unlessFinal(j.statuses.finish(ctx, j.key, j.poster, revision, report.Contexts(j.audit)[0], report.CommitSuperseded(j.current[0].Hash)))
}

// remember records that a commit will get a pending status, before it is posted. So the status will be ended even if this process dies.
func (j *statusJob) remember(ctx context.Context, revision string) error {
	pending := j.audit.Status.PendingRevisions
	if slices.Contains(pending, revision) {
		return nil
	}
	pending = append(slices.Clone(pending), revision)
	return j.statuses.writePending(ctx, j.audit, pending[max(0, len(pending)-maxPending):])
}

// writePending records the commits with pending statuses, and their place. They are all in one place, because those in another place are
// ended first.
func (s *statuses) writePending(ctx context.Context, audit *v1alpha1.AuditSync, pending []string) error {
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
	err = s.client.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
	if err != nil {
		return fmt.Errorf("record the commits with pending statuses: %w", err)
	}
	audit.Status.PendingRevisions, audit.Status.PendingAt = pending, at
	return nil
}
