package pullrequest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// A merge queue tests the commit that it will push to the branch. If the status of the plan is required, it must be on that
// commit too, or the queue never moves.
//
// The commit is checked with keys, even if it came from a fork: only those who may write can put a pull request into the queue,
// and what is in it is about to be merged.

// lookAtQueue finds the commits of the forge's merge queue, and queues those that have no status yet. Gitea has no merge queue.
func (c *Checker) lookAtQueue(ctx context.Context, a *audited, s *Subject, provider forge.Provider, it item) error {
	if provider != forge.GitHub && provider != forge.GitLab {
		return nil
	}
	refs, err := gitsync.List(ctx, s.Source)
	if err != nil {
		return err
	}
	for _, ref := range a.inQueue(refs.All, provider, s.Branch) {
		c.queue.Add(item{NamespacedName: it.NamespacedName, ref: ref})
	}
	return nil
}

// inQueue returns the refs of the merge queue whose commits were not answered yet, and forgets those that are gone.
func (a *audited) inQueue(refs []gitsync.Reference, provider forge.Provider, branch string) (due []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	present := map[string]*pull{}
	for _, ref := range refs {
		if !isQueued(ref.Name, provider, branch) {
			continue
		}
		p := a.queued[ref.Name]
		if p == nil || p.Head != ref.Commit {
			p = &pull{known: known{PullRequest: forge.PullRequest{Head: ref.Commit, Base: branch, Open: true}}, shown: shown{inherited: true}}
		}
		if present[ref.Name] = p; p.answered == "" {
			due = append(due, ref.Name)
		}
	}
	a.queued = present
	return due
}

// isQueued reports whether a ref is a commit that the forge is about to push to the branch: GitHub's
// refs/heads/gh-readonly-queue/BRANCH/pr-NUMBER-COMMIT, or the train of a merge request on GitLab, whose name has no branch.
func isQueued(ref string, provider forge.Provider, branch string) bool {
	if provider == forge.GitHub {
		group, found := strings.CutPrefix(ref, "refs/heads/gh-readonly-queue/"+branch+"/")
		return found && strings.HasPrefix(group, "pr-") && !strings.Contains(group, "/")
	}
	number, found := strings.CutPrefix(ref, "refs/merge-requests/")
	number, train := strings.CutSuffix(number, "/train")
	_, err := strconv.ParseInt(number, 10, 64)
	return found && train && err == nil
}

// answerQueued sets the status on a commit of the merge queue.
func (c *Checker) answerQueued(ctx context.Context, a *audited, s *Subject, conn *connection, ref string) error {
	a.mu.Lock()
	p := a.queued[ref]
	var now known
	if p != nil {
		now = p.known
	}
	a.mu.Unlock()
	if p == nil {
		return nil
	}
	w := &answering{checker: c, audited: a, subject: s, conn: conn, known: now, pull: &p.shown, ref: ref, trusted: review.Full}
	answered, err := w.judge(ctx)
	if err != nil {
		return err
	}
	if err := w.setStatus(ctx, answered.head, answered.status); err != nil {
		return err
	}
	a.answered(p, answerKey(w.PullRequest, s.Version), time.Time{})
	return nil
}
