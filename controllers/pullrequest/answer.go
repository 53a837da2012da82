package pullrequest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// patience is how long a check may take before its head is marked as pending. Most end earlier, which saves a request.
const patience = time.Second

// Reconcile works off one item. Failures are in the condition of the AuditSync, not in the error.
func (c *Checker) Reconcile(ctx context.Context, it item) (reconcile.Result, error) {
	subject, err := c.Story.Subject(ctx, it.NamespacedName)
	switch {
	case err != nil: // the sync has the same error, and reports it
		return reconcile.Result{RequeueAfter: retry}, nil
	case subject == nil:
		c.Forget(it.NamespacedName)
		return reconcile.Result{}, nil
	}
	a := c.audited(it.NamespacedName)
	if pause := a.pause(c.Clock.Now()); it.String() != "" && pause > 0 {
		return reconcile.Result{RequeueAfter: pause}, nil
	}
	ctx, cancel := a.within(ctx)
	defer cancel()
	problem, again, err := c.work(ctx, a, subject, it)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil
	}
	if moved, ok := errors.AsType[*movedError](err); ok {
		c.queue.AddAfter(item{NamespacedName: it.NamespacedName}, moved.wait)
		return reconcile.Result{}, nil
	}
	if err != nil {
		problem, again = err.Error(), wait(err, c.Clock.Now())
	}
	if down(err) {
		a.pauseUntil(c.Clock.Now().Add(again))
	}
	if problem != "" {
		problem = report.Cut(subject.Redactor.String(problem), maxProblem)
	}
	c.result(ctx, subject.AuditSync, a, it, problem)
	return reconcile.Result{RequeueAfter: again}, nil
}

// maxProblem keeps the condition readable.
const maxProblem = 300

// work returns what kept it from being complete, and when to try again; 0 for never.
func (c *Checker) work(ctx context.Context, a *audited, s *Subject, it item) (problem string, again time.Duration, err error) {
	conn, err := c.connect(ctx, a, s)
	if err != nil {
		return "", 0, err
	}
	switch {
	case it.approval:
		return c.approve(ctx, a, s, conn)
	case it.ref != "":
		return "", 0, c.answerQueued(ctx, a, s, conn, it.ref)
	case it.number == 0:
		return "", 0, c.look(ctx, a, s, conn, it)
	}
	p, now, listed := a.pull(it.number)
	if p == nil {
		if !a.hasList() { // other credentials: what was queued before them is in the next one
			c.queue.Add(item{NamespacedName: it.NamespacedName})
		}
		return "", 0, nil
	}
	w := &answering{checker: c, audited: a, subject: s, conn: conn, known: now, pull: &p.shown}
	if !listed {
		return "", 0, w.leave(ctx)
	}
	seen := now.Updated
	if c.Clock.Now().Sub(seen) < settled {
		seen = time.Time{}
	}
	key, err := w.run(ctx)
	if err != nil {
		return "", 0, err
	}
	a.answered(p, key, seen)
	if w.pull.problem == "" {
		return "", 0, nil
	}
	return w.pull.problem, max(w.pull.again.Sub(c.Clock.Now()), time.Second), nil
}

// look lists the open pull requests, and queues those that need an answer.
func (c *Checker) look(ctx context.Context, a *audited, s *Subject, conn *connection, it item) error {
	a.mu.Lock()
	since := a.list
	a.mu.Unlock()
	list, err := conn.PullRequests(ctx, s.Branch, since)
	if err != nil {
		return err
	}
	a.pauseUntil(time.Time{})
	due := a.listed(list, s.Version, c.Clock.Now())
	a.prefetch(ctx, s, conn.repository.Provider)
	for _, number := range due {
		c.queue.Add(item{NamespacedName: it.NamespacedName, number: number})
	}
	return c.lookAtQueue(ctx, a, s, conn.repository.Provider, it)
}

// prefetch fetches the heads of several pull requests at once. Without it, and for what it misses, each check fetches and reports
// for itself: one head must not keep the others from being checked.
func (a *audited) prefetch(ctx context.Context, s *Subject, provider forge.Provider) {
	heads := a.unanswered(provider, s.Version)
	if len(heads) == 0 {
		return
	}
	var base string
	repository, err := a.cache()
	if err == nil {
		base, _ = repository.Prefetch(ctx, s.Source, heads)
	}
	a.fetched(base, s.Version)
}

// answering is the answering of one pull request.
type answering struct {
	checker *Checker
	audited *audited
	subject *Subject
	conn    *connection
	// known is from the beginning: a push meanwhile must not get the permission of the head before it.
	known
	pull     *shown
	comments []forge.Comment
	read     bool // the comments
	// ref is the commit's ref, if it is in the merge queue.
	ref string
	// trusted is how far the check goes, and allowedBy who allowed that.
	trusted   review.Trust
	allowedBy string
	// problems are what kept the answer from being complete.
	problems []string
}

// run answers, unless that has been done. It returns what the answer is for.
func (w *answering) run(ctx context.Context) (key string, err error) {
	if w.trusted, w.allowedBy, err = w.trust(ctx); err != nil {
		return "", err
	}
	key = answerKey(w.PullRequest, w.subject.Version) + string(w.trusted)
	if w.known.answered == key && (w.pull.problem == "" || w.checker.Clock.Now().Before(w.pull.again)) {
		return key, nil
	}
	answered, err := w.judged(ctx)
	if err != nil {
		return "", err
	}
	if err := w.setStatus(ctx, answered.head, answered.status); w.stops(err) {
		return "", err
	}
	if err := w.setComment(ctx, answered.comment, answered.write); w.stops(err) {
		return "", err
	}
	if err := w.setCheckRun(ctx, answered); w.stops(err) {
		return "", err
	}
	if answered.checking {
		key += stillChecking
	}
	w.pull.problem, w.pull.again = strings.Join(w.problems, "; "), w.checker.Clock.Now().Add(refusedRetry)
	return key, nil
}

// judged judges the pull request, and marks the head as pending if that takes long.
func (w *answering) judged(ctx context.Context) (answer, error) {
	type result struct {
		answer answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answered, err := w.judge(ctx)
		done <- result{answered, err}
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-w.checker.Clock.After(patience):
	}
	// Failing to say that it takes long must not keep the answer away.
	_ = w.setStatus(ctx, w.Head, forge.Status{State: forge.Pending, Description: "is being checked"})
	r := <-done
	return r.answer, r.err
}

// stops reports whether an error keeps the rest of the answer from being given. What the forge refuses for good is a problem,
// and the rest is still worth giving, unless it has rejected the credentials.
func (w *answering) stops(err error) bool {
	if rejected(err) {
		return true
	}
	for _, refused := range []func(error) bool{is[*forge.RefusedError], is[*forge.NotFoundError], is[*forge.RejectedError], is[*forge.LimitError], is[*forge.ConfigError]} {
		if refused(err) {
			if !slices.Contains(w.problems, err.Error()) {
				w.problems = append(w.problems, err.Error())
			}
			return false
		}
	}
	return err != nil
}

// leave takes back the answer to a pull request that goes to another branch now. That of a closed one stays as it is.
func (w *answering) leave(ctx context.Context) error {
	pr, err := w.conn.PullRequest(ctx, w.Number)
	if err != nil && !is[*forge.NotFoundError](err) {
		return err
	}
	if err == nil && pr.Open && pr.Base == w.subject.Branch {
		return nil // the list was read while it changed, and the next one has it
	}
	if err == nil && pr.Open {
		gone := review.Gone(w.marker(), fmt.Sprintf("the pull request no longer goes to `%s`", w.subject.Branch))
		if err := w.setComment(ctx, gone, false); w.stops(err) {
			return err
		}
	}
	w.audited.leave(w.Number)
	return nil
}

// setStatus has the forge show the status of the plan on a head.
func (w *answering) setStatus(ctx context.Context, head string, status forge.Status) error {
	status.Context = report.PlanContext(w.subject.AuditSync)
	status.Description = w.mask(status.Description)
	if w.pull.head == head && w.pull.status == status {
		return nil
	}
	commit := forge.Commit{Hash: head}
	if w.pull.head == "" && w.pull.inherited {
		shown, err := w.conn.Statuses(ctx, commit, []string{status.Context})
		if err != nil {
			return err
		}
		if w.conn.UpToDate(shown[status.Context], status) {
			w.pull.head, w.pull.status = head, status
			return nil
		}
	}
	if err := w.conn.SetStatus(ctx, commit, status); err != nil {
		return err
	}
	w.pull.head, w.pull.status = head, status
	return nil
}

// setComment has the pull request show the comment. Without create, only one that exists is changed.
func (w *answering) setComment(ctx context.Context, text string, create bool) error {
	if err := w.findComment(ctx); err != nil {
		return err
	}
	p, text := w.pull, w.subject.Redactor.String(text) // every comment is masked here
	sum := sha256.Sum256([]byte(text))
	if p.comment != 0 && p.text == sum || p.comment == 0 && !create {
		return nil
	}
	if p.comment != 0 {
		err := w.conn.UpdateComment(ctx, w.Number, p.comment, text)
		if err == nil {
			p.text = sum
			return nil
		}
		if !is[*forge.NotFoundError](err) { // it was deleted
			return err
		}
		if p.comment = 0; !create {
			return nil
		}
	}
	made, err := w.conn.CreateComment(ctx, w.Number, text)
	if err != nil {
		p.read = !is[*forge.UnavailableError](err) // it may have been written
		return err
	}
	p.comment, p.text = made.ID, sum
	return nil
}

// findComment finds our comment, once. Others may write the marker, so the author counts.
func (w *answering) findComment(ctx context.Context) error {
	if w.pull.read {
		return nil
	}
	self, err := w.conn.Self(ctx)
	if err != nil {
		return err
	}
	if err := w.readComments(ctx); err != nil {
		return err
	}
	for _, comment := range w.comments {
		if comment.AuthorID == self.ID && review.Marked(comment.Body, w.marker()) {
			w.pull.comment, w.pull.text = comment.ID, sha256.Sum256([]byte(comment.Body))
			break
		}
	}
	w.pull.read = true
	return nil
}

func (w *answering) readComments(ctx context.Context) error {
	if w.read {
		return nil
	}
	comments, err := w.conn.Comments(ctx, w.Number)
	if err != nil {
		return err
	}
	w.comments, w.read = comments, true
	return nil
}

// marker is the first line of our comment. Several AuditSyncs, even of several management clusters, may answer the same pull
// request.
func (w *answering) marker() string { return review.Marker(string(w.subject.AuditSync.UID)) }

func (w *answering) mask(text string) string { return masked(w.subject.Redactor, text) }

func masked(redactor *redact.Redactor, text string) string {
	return strings.TrimSpace(redactor.String(text))
}

// movedError reports that the head isn't the one of the list. The list is read again after the wait, which grows: the forge's API
// may be behind its repository for long.
type movedError struct {
	head string
	wait time.Duration
}

func (w *answering) moved(head string) error {
	w.pull.moved++
	return &movedError{head, min(time.Second<<min(w.pull.moved-1, 16), refusedRetry)}
}

func (e *movedError) Error() string { return "the head has moved to " + e.head }

// refusal returns why a head can't be checked, if that is the fault of what is in the repository. Trying again changes nothing.
func refusal(err error) (string, bool) {
	for _, cause := range []func(error) (string, bool){cause[*gitsync.LimitError], cause[*gitsync.NoAncestorError], cause[*load.PathError]} {
		if reason, found := cause(err); found {
			return reason, true
		}
	}
	return "", false
}

// cause is the text of the error of that type, without that of what led to it: the texts of statuses are short.
func cause[T error](err error) (string, bool) {
	found, ok := errors.AsType[T](err)
	if !ok {
		return "", false
	}
	return found.Error(), true
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
