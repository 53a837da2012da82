package commitstatus

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

const (
	// endPatience is how long Muster tries to end pending statuses while a deletion, or reports to another place, wait for that.
	endPatience = 15 * time.Second
	// deletionPatience is how long a deletion waits in total. It allows for a worker that is busy with another forge.
	deletionPatience = 20 * time.Second
)

// ending is the progress of ending pending statuses. why is the reason, as text for the forge.
type ending struct {
	backoff
	why   string
	since time.Time
}

// StopForDeletion is Stop for an AuditSync that is being deleted. It returns how long the deletion must wait at most, or 0 if it need not
// wait. It waits for the worker even if nothing is pending, because the worker may be about to post.
func (r *Reporter) StopForDeletion(audit *v1alpha1.AuditSync) (wait time.Duration) {
	if r == nil {
		return 0
	}
	r.Stop(audit)
	r.mu.Lock()
	e := r.entries[client.ObjectKeyFromObject(audit)]
	if e == nil || e.released {
		r.mu.Unlock()
		return 0
	}
	if e.deletingSince.IsZero() {
		e.deletingSince = r.Clock.Now()
	}
	wait = max(deletionPatience-r.Clock.Since(e.deletingSince), 0)
	e.released = wait == 0
	r.mu.Unlock()
	if wait == 0 {
		r.leftPending(audit, e, audit.Status.PendingRevisions, errors.New("the forge did not respond before the deletion stopped waiting"))
	}
	return wait
}

// release tells the reconciler that no more statuses are posted for an AuditSync that is being deleted.
func (r *Reporter) release(ctx context.Context, audit *v1alpha1.AuditSync, e *entry) {
	r.mu.Lock()
	before := e.released
	e.released = true
	r.mu.Unlock()
	if !before {
		r.requestSync(ctx, audit)
	}
}

// conclude ends the pending statuses that would never be completed. It returns whether to post what is wanted now, or otherwise when to
// try again.
func (r *Reporter) conclude(ctx context.Context, key types.NamespacedName, audit *v1alpha1.AuditSync, why string) (again time.Duration, proceed bool, err error) {
	r.mu.Lock()
	e := r.entry(key)
	r.mu.Unlock()
	if len(audit.Status.PendingRevisions) > 0 {
		if again, done, err := r.end(ctx, key, audit, e, why); !done || err != nil {
			return again, false, err
		}
	}
	e.ending = ending{}
	switch {
	case !audit.DeletionTimestamp.IsZero():
		r.release(ctx, audit, e)
		return 0, false, nil
	case audit.Spec.Forge == nil:
		r.forget(key, true)
		return 0, false, nil
	}
	return 0, !audit.Spec.Suspend, nil
}

// end sets the final state of all pending statuses. It returns whether that is done as far as possible, and otherwise when to try again.
func (r *Reporter) end(ctx context.Context, key types.NamespacedName, audit *v1alpha1.AuditSync, e *entry, why string) (again time.Duration, done bool, err error) {
	if e.ending.why != why {
		e.ending = ending{why: why, since: r.Clock.Now()}
	}
	if wait := e.ending.notBefore.Sub(r.Clock.Now()); wait > 0 {
		return wait, false, nil
	}
	attempt, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	left, err := r.endAll(attempt, key, audit, e, why)
	if ctx.Err() != nil {
		return 0, false, nil
	}
	done = err == nil
	if err != nil {
		if again, done = r.endLater(audit, e, left, err); done {
			left = nil
		}
	}
	return again, done, r.writePending(ctx, audit, left)
}

// endLater decides whether to try again after a failure. A suspended AuditSync can wait. In other cases something waits for the end, so
// statuses that can't be ended soon are reported and left pending.
func (r *Reporter) endLater(audit *v1alpha1.AuditSync, e *entry, left []string, err error) (again time.Duration, done bool) {
	_, wait := e.ending.failed(err, r.Clock.Now())
	at, here := audit.Status.PendingAt, report.Place(audit)
	patient := audit.DeletionTimestamp.IsZero() && here != nil && (at == nil || report.SameRepository(*at, *here) && at.Context == here.Context)
	if !patient && (wait == 0 || e.ending.notBefore.Sub(e.ending.since) > endPatience) {
		r.leftPending(audit, e, left, err)
		return 0, true
	}
	if wait == 0 && e.ending.failures == 1 {
		r.leftPending(audit, e, left, err) // until a user fixes the credentials
	}
	return wait, false
}

// endAll ends the pending statuses of all commits, and returns the commits that are left to try again. Statuses that the forge rejects
// permanently are reported and not tried again.
func (r *Reporter) endAll(ctx context.Context, key types.NamespacedName, audit *v1alpha1.AuditSync, e *entry, why string) (left []string, err error) {
	pending := audit.Status.PendingRevisions
	c, err := r.connectWhereShown(ctx, audit, e)
	if err != nil {
		return pending, err
	}
	base := report.Contexts(audit)[0]
	if at := audit.Status.PendingAt; at != nil {
		base = at.Context
	}
	for i, text := range pending {
		revision, err := gitsync.ParseRevision(text)
		if err != nil {
			continue // not a commit, so no status was posted
		}
		err = c.end(ctx, commitOf(revision), r.ended(key, revision, base, why))
		if unlessFinal(err) != nil {
			return pending[i:], err
		}
		if err != nil {
			r.leftPending(audit, e, []string{text}, err)
		}
	}
	return nil, nil
}

// leftPending records an event about statuses that could not be ended.
func (r *Reporter) leftPending(audit *v1alpha1.AuditSync, e *entry, revisions []string, cause error) {
	var hashes []string
	for _, text := range revisions {
		if revision, err := gitsync.ParseRevision(text); err == nil {
			hashes = append(hashes, revision.Hash)
		}
	}
	if len(hashes) == 0 {
		return
	}
	note := report.LeftPending(hashes, audit.Status.PendingAt, r.redactorOf(e).String(cause.Error()))
	r.Events.Eventf(audit, nil, note.Type, note.Reason, note.Action, "%s", note.Note)
}
