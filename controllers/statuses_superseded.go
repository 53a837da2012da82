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

// maxPending is how many revisions status.pendingRevisions takes.
const maxPending = 20

// close ends what is pending of superseded commits, and forgets those of which nothing is pending any more.
func (j *statusJob) close(ctx context.Context) error {
	if len(j.current) == 0 {
		return nil // who knows what has superseded them
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
	if len(left) == len(j.audit.Status.PendingRevisions) {
		return nil
	}
	return j.write(ctx, left)
}

// ended says whether all statuses of a commit have their final answer.
func (j *statusJob) ended(hash string) bool {
	n := 0
	for at, status := range j.settled {
		if at.hash == hash && status.State != forge.Pending {
			n++
		}
	}
	return n == len(report.Contexts(j.audit))
}

func (j *statusJob) supersede(ctx context.Context, revision gitsync.Revision) error {
	commit := forge.Commit{Hash: revision.Hash, Branch: revision.Ref}
	contexts := report.Contexts(j.audit)
	shown, err := j.client.Statuses(ctx, commit, contexts)
	if err != nil {
		return unlessFinal(err)
	}
	for _, name := range contexts {
		if shown[name].State != forge.Pending {
			continue
		}
		status := report.CommitSuperseded(name, j.current[0].Hash)
		status.TargetURL = j.statuses.targetURL(j.key, revision.Hash)
		if err := unlessFinal(j.count(j.client.SetStatus(ctx, commit, status))); err != nil {
			return err
		}
	}
	return nil
}

// remember notes that a commit is about to get a status that is pending, before it does: whatever happens to this process,
// somebody will end it.
func (j *statusJob) remember(ctx context.Context, revision string) error {
	pending := j.audit.Status.PendingRevisions
	if slices.Contains(pending, revision) {
		return nil
	}
	pending = append(slices.Clone(pending), revision)
	return j.write(ctx, pending[max(0, len(pending)-maxPending):])
}

func (j *statusJob) write(ctx context.Context, pending []string) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"pendingRevisions": pending}})
	if err != nil {
		return err
	}
	written := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: j.key.Namespace, Name: j.key.Name}}
	err = j.statuses.client.Status().Patch(ctx, written, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
	if err != nil {
		return fmt.Errorf("note the commits with pending statuses: %w", err)
	}
	j.audit.Status.PendingRevisions = pending
	return nil
}
