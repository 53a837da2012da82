package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

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
	case err != nil:
		return reconcile.Result{RequeueAfter: retry}, nil //nolint:nilerr // the sync has the same error, and reports it
	case subject == nil:
		c.Forget(it.NamespacedName)
		return reconcile.Result{}, nil
	}
	a := c.audited(it.NamespacedName)
	problem, err := c.work(ctx, a, subject, it)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil
	}
	if is[*movedError](err) {
		c.queue.AddAfter(item{NamespacedName: it.NamespacedName}, time.Second)
		return reconcile.Result{}, nil
	}
	if err != nil {
		problem = err.Error()
	}
	if problem != "" {
		problem = report.Cut(subject.Redactor.String(problem), maxProblem)
	}
	c.result(ctx, subject.AuditSync, a, it, problem)
	if err != nil {
		return reconcile.Result{RequeueAfter: wait(err, c.Clock.Now())}, nil
	}
	return reconcile.Result{}, nil
}

// maxProblem keeps the condition readable.
const maxProblem = 300

func (c *Checker) work(ctx context.Context, a *audited, s *Subject, it item) (problem string, err error) {
	conn, err := c.connect(ctx, a, s)
	if err != nil {
		return "", err
	}
	switch {
	case it.ref != "":
		return "", c.answerQueued(ctx, a, s, conn, it.ref)
	case it.number == 0:
		return "", c.look(ctx, a, s, conn, it)
	}
	known := a.pull(it.number)
	if known == nil {
		return "", nil // the list comes first
	}
	w := &answering{checker: c, audited: a, subject: s, conn: conn, pull: known}
	err = w.run(ctx)
	return w.problem, err
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
	for _, number := range a.listed(list, s.Version, c.Clock.Now()) {
		c.queue.Add(item{NamespacedName: it.NamespacedName, number: number})
	}
	return c.lookAtQueue(ctx, a, s, conn.repository.Provider, it)
}

// answering is the answering of one pull request.
type answering struct {
	checker *Checker
	audited *audited
	subject *Subject
	conn    *connection
	*pull
	comments []forge.Comment
	// ref is the commit's ref, if it is in the merge queue.
	ref string
	// trusted is how far the check goes, and allowedBy who allowed that.
	trusted   review.Trust
	allowedBy string
	// problem is what kept the answer from being complete.
	problem string
}

func (w *answering) run(ctx context.Context) error {
	if !w.listedNow() {
		return w.leave(ctx)
	}
	var err error
	if w.trusted, w.allowedBy, err = w.trust(ctx); err != nil {
		return err
	}
	key := answerKey(w.PullRequest, w.subject.Version) + string(w.trusted)
	if w.answered == key {
		return nil
	}
	type result struct {
		answer answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answered, err := w.judge(ctx)
		done <- result{answered, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-time.After(patience):
		pending := forge.Status{State: forge.Pending, Description: "is being checked"}
		// Failing to say that it takes long must not keep the answer away.
		_ = w.setStatus(ctx, w.Head, pending)
		r = <-done
	}
	if r.err != nil {
		return r.err
	}
	if err := w.withoutStatus(w.setStatus(ctx, r.answer.head, r.answer.status)); err != nil {
		return err
	}
	if err := w.setComment(ctx, r.answer.comment, r.answer.write); err != nil {
		return err
	}
	if err := w.setCheckRun(ctx, r.answer); err != nil {
		return err
	}
	w.answered = key
	return nil
}

// withoutStatus drops the error of a status that can't be set on the head of a fork: GitLab stores it in the fork's project, for
// which the credentials may have no rights. The pull request then has the comment alone.
func (w *answering) withoutStatus(err error) error {
	if w.Fork && (is[*forge.RefusedError](err) || is[*forge.NotFoundError](err)) {
		w.problem = "the comment has the plan, but the status can't be set: " + err.Error()
		return nil
	}
	return err
}

// listedNow reports whether the pull request is in the present list.
func (w *answering) listedNow() bool {
	w.audited.mu.Lock()
	defer w.audited.mu.Unlock()
	for _, pr := range w.audited.list.Items {
		if pr.Number == w.Number {
			return true
		}
	}
	return false
}

// leave takes back the answer to a pull request that goes to another branch now. That of a closed one stays as it is.
func (w *answering) leave(ctx context.Context) error {
	pr, err := w.conn.PullRequest(ctx, w.Number)
	if _, gone := errors.AsType[*forge.NotFoundError](err); err != nil && !gone {
		return err
	}
	if err == nil && pr.Open && pr.Base != w.subject.Branch {
		gone := review.Gone(w.marker(), fmt.Sprintf("the pull request no longer goes to `%s`", w.subject.Branch))
		if err := w.setComment(ctx, gone, false); err != nil {
			return err
		}
	}
	w.audited.closed(w.Number)
	return nil
}

// setStatus has the forge show the status of the plan on a head.
func (w *answering) setStatus(ctx context.Context, head string, status forge.Status) error {
	status.Context = report.PlanContext(w.subject.AuditSync)
	status.Description = w.mask(status.Description)
	if w.head == head && w.status == status {
		return nil
	}
	commit := forge.Commit{Hash: head}
	if w.head != head { // a new head rarely has one, but a restart forgets it
		shown, err := w.conn.Statuses(ctx, commit, []string{status.Context})
		if err != nil {
			return err
		}
		if w.conn.UpToDate(shown[status.Context], status) {
			w.head, w.status = head, status
			return nil
		}
	}
	if err := w.conn.SetStatus(ctx, commit, status); err != nil {
		return err
	}
	w.head, w.status = head, status
	return nil
}

// setComment has the pull request show the comment. Without create, only one that exists is changed.
func (w *answering) setComment(ctx context.Context, text string, create bool) error {
	if err := w.findComment(ctx); err != nil {
		return err
	}
	if w.comment != 0 && w.text == text || w.comment == 0 && !create {
		return nil
	}
	if w.comment != 0 {
		err := w.conn.UpdateComment(ctx, w.Number, w.comment, text)
		if err == nil {
			w.text = text
			return nil
		}
		if _, deleted := errors.AsType[*forge.NotFoundError](err); !deleted || !create {
			return err
		}
	}
	made, err := w.conn.CreateComment(ctx, w.Number, text)
	if err != nil {
		return err
	}
	w.comment, w.text = made.ID, text
	return nil
}

// findComment finds our comment, once. Others may write the marker, so the author counts.
func (w *answering) findComment(ctx context.Context) error {
	if w.read {
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
			w.comment, w.text = comment.ID, comment.Body
			break
		}
	}
	w.read = true
	return nil
}

func (w *answering) readComments(ctx context.Context) error {
	if w.comments != nil {
		return nil
	}
	comments, err := w.conn.Comments(ctx, w.Number)
	if err != nil {
		return err
	}
	w.comments = comments
	return nil
}

// marker is the first line of our comment. Several AuditSyncs, even of several management clusters, may answer the same pull
// request.
func (w *answering) marker() string { return review.Marker(string(w.subject.AuditSync.UID)) }

func (w *answering) mask(text string) string { return masked(w.subject.Redactor, text) }

func masked(redactor *redact.Redactor, text string) string {
	return strings.TrimSpace(redactor.String(text))
}

// movedError reports that the head has changed since the list was read. The push has its own event, and the list is read again.
type movedError struct{ head string }

func (e *movedError) Error() string { return "the head has moved to " + e.head }

// refusal returns why a head can't be checked, if that is the head's fault.
func refusal(err error) (string, bool) {
	for _, is := range []func(error) bool{is[*gitsync.LimitError], is[*gitsync.NoAncestorError]} {
		if is(err) {
			return err.Error(), true
		}
	}
	return "", false
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
