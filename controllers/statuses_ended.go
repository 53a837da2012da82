package controllers

import (
	"cmp"
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	// endPatience is how long Muster tries to end pending statuses while a deletion, or reports to another place, wait for that.
	endPatience = 15 * time.Second
	// deletionPatience is how long a deletion waits in total. It allows for a worker that is busy with another forge.
	deletionPatience = 20 * time.Second
)

// ending is the progress of ending pending statuses. why is the reason, as text for the forge.
type ending struct {
	why              string
	since, notBefore time.Time
	failures         int
}

// stop stops reporting for an AuditSync that is suspended or no longer has a forge. Its pending statuses will be ended.
func (s *statuses) stop(audit *v1alpha1.AuditSync) {
	if s == nil {
		return
	}
	key := client.ObjectKeyFromObject(audit)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byID[key]
	if c == nil && len(audit.Status.PendingRevisions) == 0 {
		return
	}
	c = s.of(key)
	c.wanted, c.current, c.begun = nil, nil, nil
	s.queue.Add(key)
}

// stopForDeletion is stop for an AuditSync that is being deleted. It returns how long the deletion must wait at most, or 0 if it need not
// wait. It waits for the worker even if nothing is pending, because the worker may be about to post.
func (s *statuses) stopForDeletion(audit *v1alpha1.AuditSync) (wait time.Duration) {
	if s == nil {
		return 0
	}
	s.stop(audit)
	s.mu.Lock()
	c := s.byID[client.ObjectKeyFromObject(audit)]
	switch {
	case c == nil || c.released:
	case c.deletingSince.IsZero():
		c.deletingSince, wait = s.clock.Now(), deletionPatience
	default:
		wait = max(deletionPatience-s.clock.Since(c.deletingSince), 0)
	}
	late := c != nil && !c.released && wait == 0
	if late {
		c.released = true
	}
	s.mu.Unlock()
	if late {
		s.leftPending(audit, c, audit.Status.PendingRevisions, errNotInTime)
	}
	return wait
}

var errNotInTime = errors.New("the forge did not respond before the deletion stopped waiting")

// release tells the reconciler that no more statuses are posted for an AuditSync that is being deleted.
func (s *statuses) release(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport) {
	s.mu.Lock()
	before := c.released
	c.released = true
	s.mu.Unlock()
	if !before {
		s.requestSync(ctx, audit)
	}
}

// conclude ends the pending statuses that would never be completed. It returns whether to post what is wanted now, or otherwise when to
// try again.
func (s *statuses) conclude(ctx context.Context, audit *v1alpha1.AuditSync, why string) (again time.Duration, proceed bool) {
	key := client.ObjectKeyFromObject(audit)
	s.mu.Lock()
	c := s.of(key)
	s.mu.Unlock()
	again, done := s.end(ctx, audit, c, why)
	switch {
	case !done:
		return again, false
	case !audit.DeletionTimestamp.IsZero():
		s.release(ctx, audit, c)
		return 0, false
	case audit.Spec.Forge == nil:
		s.forgetIdle(key)
		return 0, false
	}
	return 0, !audit.Spec.Suspend
}

// end sets the final state of all pending statuses. It returns whether that is done as far as possible, and otherwise when to try again.
func (s *statuses) end(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport, why string) (again time.Duration, done bool) {
	if len(audit.Status.PendingRevisions) == 0 {
		c.ending = ending{}
		return 0, true
	}
	if c.ending.why != why {
		c.ending = ending{why: why, since: s.clock.Now()}
	}
	if wait := c.ending.notBefore.Sub(s.clock.Now()); wait > 0 {
		return wait, false
	}
	attempt, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	left, err := s.endAll(attempt, audit, c, why)
	if ctx.Err() != nil {
		return 0, false
	}
	done = err == nil
	if err != nil {
		if again, done = s.endLater(audit, c, left, err); done {
			left = nil
		}
	}
	if err := s.writePending(ctx, audit, left); err != nil {
		return time.Second, false
	}
	return again, done
}

// endLater decides whether to try again after a failure. A suspended AuditSync can wait. In other cases something waits for the end, so
// statuses that can't be ended soon are reported and left pending.
func (s *statuses) endLater(audit *v1alpha1.AuditSync, c *commitReport, left []string, err error) (again time.Duration, done bool) {
	now := s.clock.Now()
	_, wait := classifyForge(err, c.ending.failures, now)
	c.ending.failures++
	c.ending.notBefore = now.Add(wait)
	at, here := audit.Status.PendingAt, report.Place(audit)
	patient := audit.DeletionTimestamp.IsZero() && here != nil && (at == nil || report.SameRepository(*at, *here) && at.Context == here.Context)
	if !patient && (wait == 0 || c.ending.notBefore.Sub(c.ending.since) > endPatience) {
		s.leftPending(audit, c, left, err)
		return 0, true
	}
	if wait == 0 && c.ending.failures == 1 {
		s.leftPending(audit, c, left, err) // until a user fixes the credentials
	}
	return wait, false
}

// endAll ends the pending statuses of all commits, and returns the commits that are left to try again. Statuses that the forge rejects
// permanently are reported and not tried again.
func (s *statuses) endAll(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport, why string) (left []string, err error) {
	pending := audit.Status.PendingRevisions
	p, err := s.posterWhereShown(ctx, audit, c)
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
		err = s.finish(ctx, client.ObjectKeyFromObject(audit), p, revision, base, why)
		if unlessFinal(err) != nil {
			return pending[i:], err
		}
		if err != nil {
			s.leftPending(audit, c, []string{text}, err)
		}
	}
	return nil, nil
}

// finish sets the final state of a commit's statuses that are shown as pending. If the forge rejects one permanently, it returns the error
// after it has tried the others.
func (s *statuses) finish(ctx context.Context, key types.NamespacedName, p *poster, revision gitsync.Revision, base, why string) (refused error) {
	commit := forge.Commit{Hash: revision.Hash, Branch: revision.Ref}
	contexts := report.ContextsOf(base)
	shown, err := p.client.Statuses(ctx, commit, contexts)
	if err != nil {
		return err
	}
	for _, name := range contexts {
		if shown[name].State != forge.Pending {
			continue
		}
		status := report.CommitEnded(name, why)
		status.TargetURL = s.targetURL(key, revision.Hash)
		delete(p.settled, place{revision.Hash, name}) // otherwise the status that is wanted later would count as shown
		switch err := s.count(key, p, p.client.SetStatus(ctx, commit, status)); {
		case final(err):
			refused = cmp.Or(refused, err)
		case err != nil:
			return err
		}
	}
	return refused
}

// posterWhereShown returns a poster for the place where pending statuses are shown. That is the poster that posted them, if this process
// still has it. Otherwise it uses the current credentials, if the current spec would send them to the same server.
func (s *statuses) posterWhereShown(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport) (*poster, error) {
	at, here := audit.Status.PendingAt, report.Place(audit)
	if at == nil {
		at = here
	}
	known := c.poster != nil && at != nil && report.SameRepository(c.poster.at, *at)
	if here != nil && report.SameRepository(*at, *here) {
		p, err := s.posterOf(ctx, audit, c)
		var missing *secretMissingError
		if known && errors.As(err, &missing) {
			return c.poster, nil // AuditSync and Secret are often deleted together
		}
		return p, err
	}
	if known {
		return c.poster, nil
	}
	if here == nil {
		return nil, &noWayError{"spec.forge was removed, and with it the credentials"}
	}
	former, err := report.Repository(*at)
	if err != nil {
		return nil, err
	}
	if present, err := report.Repository(*here); err != nil || present.API != former.API {
		return nil, &noWayError{"the credentials in spec.forge are for another server"}
	}
	secret, err := s.forgeSecret(ctx, audit)
	if err != nil {
		return nil, err
	}
	return s.newPoster(s.redactorOf(c), secret, *at)
}

// noWayError is why a forge can't be reached any more.
type noWayError struct{ why string }

func (e *noWayError) Error() string {
	return e.why + "; set these statuses by hand, or push another commit"
}

// leftPending records an event about statuses that could not be ended.
func (s *statuses) leftPending(audit *v1alpha1.AuditSync, c *commitReport, revisions []string, cause error) {
	var hashes []string
	for _, text := range revisions {
		if revision, err := gitsync.ParseRevision(text); err == nil {
			hashes = append(hashes, revision.Hash)
		}
	}
	if len(hashes) == 0 {
		return
	}
	e := report.LeftPending(hashes, audit.Status.PendingAt, s.redactorOf(c).String(cause.Error()))
	s.events.Eventf(audit, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
}
