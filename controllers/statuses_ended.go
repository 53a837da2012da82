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
	// endPatience is for how long a forge is asked to end what is pending while something waits for that: the reports to another
	// place, or a deletion.
	endPatience = 15 * time.Second
	// leavePatience is for how long a deletion waits in all. It covers a worker that has another forge to talk to first.
	leavePatience = 20 * time.Second
)

// ending is how far the end of what is pending has come, for a reason.
type ending struct {
	why              string
	since, notBefore time.Time
	failures         int
}

// quit takes note that nothing more is to be shown for an AuditSync, and has ended what is pending: it is suspended, or reports
// nothing any more.
func (s *statuses) quit(audit *v1alpha1.AuditSync) {
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

// leave is quit for an AuditSync that is being deleted. It returns how long the deletion is to wait for that, at most; 0 once
// there is nothing to wait for. The worker answers even where nothing is pending, for it may be about to post.
func (s *statuses) leave(audit *v1alpha1.AuditSync) (wait time.Duration) {
	if s == nil {
		return 0
	}
	s.quit(audit)
	s.mu.Lock()
	c := s.byID[client.ObjectKeyFromObject(audit)]
	switch {
	case c == nil || c.left:
	case c.leaving.IsZero():
		c.leaving, wait = s.clock.Now(), leavePatience
	default:
		wait = max(leavePatience-s.clock.Since(c.leaving), 0)
	}
	late := c != nil && !c.left && wait == 0
	if late {
		c.left = true
	}
	s.mu.Unlock()
	if late {
		s.leftPending(audit, c, audit.Status.PendingRevisions, errNotInTime)
	}
	return wait
}

var errNotInTime = errors.New("the forge has not answered in the time that a deletion waits for it")

// acknowledge tells the reconciler that nothing more is posted for an AuditSync that is being deleted.
func (s *statuses) acknowledge(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport) {
	s.mu.Lock()
	before := c.left
	c.left = true
	s.mu.Unlock()
	if !before {
		s.askForSync(ctx, audit)
	}
}

// conclude sees to it that nothing stays pending that nobody will answer for. It says whether to go on with what is wanted now, or
// else when to look again.
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
		s.acknowledge(ctx, audit, c)
		return 0, false
	case audit.Spec.Forge == nil:
		s.forgetIdle(key)
		return 0, false
	}
	return 0, !audit.Spec.Suspend
}

// end gives what is pending its last state, where it is shown. It returns whether that is done, so far as it can be done, and
// otherwise when to try again.
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

// endLater decides whether to try again what has failed. A suspended AuditSync has all the time; elsewhere something waits, and
// what can't be ended soon is told of and left.
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
		s.leftPending(audit, c, left, err) // until somebody mends the credentials
	}
	return wait, false
}

// endAll ends what is pending of all commits, and returns those that are left. What the forge does not take for good is told of,
// and not left.
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
			continue // nobody can have posted about it
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

// finish gives the statuses of a commit that are shown as pending their last state. One that is refused for good is an error
// after all others have theirs.
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
		delete(p.settled, place{revision.Hash, name}) // or what is wanted after a pause would count as shown
		switch err := s.count(key, p, p.client.SetStatus(ctx, commit, status)); {
		case final(err):
			refused = cmp.Or(refused, err)
		case err != nil:
			return err
		}
	}
	return refused
}

// posterWhereShown is the way to where pending statuses are shown: the way that was used for them, where this process knows it,
// or else the present credentials, where they would go to no other server than the present spec sends them to.
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
		return nil, &noWayError{"spec.forge is gone, and the credentials with it"}
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

// noWayError says why nothing can be said to a forge any more.
type noWayError struct{ why string }

func (e *noWayError) Error() string {
	return e.why + "; set these statuses by hand, or push another commit"
}

// leftPending tells of statuses that could not be ended.
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
