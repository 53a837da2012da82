package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/merge"
)

// answer is what a pull request should show.
type answer struct {
	head   string
	status forge.Status
	// comment is written if write is true; otherwise it only replaces one that exists.
	comment string
	write   bool
	// annotations are for lines of files at the head.
	annotations []review.Annotation
	// checking is true while checks of credentials pend.
	checking bool
}

// judge fetches and judges a pull request.
func (w *answering) judge(ctx context.Context) (answer, error) {
	repository, err := w.audited.cache()
	if err != nil {
		return answer{}, err
	}
	ref := w.ref
	if ref == "" {
		ref = forge.HeadRef(w.conn.repository.Provider, w.Number)
	}
	compared, err := repository.Compare(ctx, w.subject.Source, ref, w.audited.commits(w.Head, w.subject.Version))
	if missing, ok := errors.AsType[*gitsync.RefNotFoundError](err); ok && missing.Name == ref {
		return w.vanished(ref)
	}
	if reason, refused := refusal(err); refused {
		return w.unchecked(reason), nil
	}
	if err != nil {
		return answer{}, err
	}
	defer compared.Close()
	if head := compared.Head.Commit().Hash; head != w.Head {
		return answer{}, w.moved(head)
	}
	w.pull.moved = 0
	request, err := w.request(ctx, compared)
	var reviewed *judge.Result
	if err == nil {
		reviewed, err = w.audited.judge.Review(ctx, request)
	}
	if reason, refused := refusal(err); refused {
		return w.unchecked(reason), nil
	}
	if err != nil {
		return answer{}, fmt.Errorf("check the merge result: %w", err)
	}
	return w.checked(ctx, request, reviewed), nil
}

// request merges the trees.
func (w *answering) request(ctx context.Context, compared *gitsync.Comparison) (judge.Request, error) {
	base, head := compared.Base.FS(), compared.Head.FS()
	merged, err := merge.Trees(ctx, compared.Ancestor.FS(), base, head)
	if err != nil {
		return judge.Request{}, err
	}
	s := w.subject
	r := judge.Request{Name: fmt.Sprintf("pull request %d %s", w.Number, w.Head), Base: base, BaseCommit: compared.Base.Commit().Hash, HeadCommit: w.Head,
		Path: s.AuditSync.Spec.Path, Options: s.Options, Opener: s.Opener, Redactor: s.Redactor, Supply: s.Supply, Live: &s.Live, Policy: s.Policy, Trust: w.trusted, AllowedBy: w.allowedBy, Now: w.checker.Clock.Now()}
	for _, c := range merged.Conflicts {
		r.Conflicts = append(r.Conflicts, review.Conflict{Path: c.Path, Reason: string(c.Reason)})
	}
	tree := head
	if merged.FS != nil {
		r.Merged, tree = merged.FS, merged.FS
	}
	r.Changes, err = changes(ctx, base, tree)
	return r, err
}

func changes(ctx context.Context, base, merged fs.FS) ([]judge.Change, error) {
	list, err := merge.Changes(ctx, base, merged)
	changes := make([]judge.Change, len(list))
	for i, c := range list {
		changes[i] = judge.Change(c)
	}
	return changes, err
}

// answer is the answer for a review; nil is that of a pull request that changes nothing here.
func (w *answering) answer(request judge.Request, r *judge.Result) answer {
	a := answer{head: w.Head, status: forge.Status{State: forge.Success, TargetURL: w.URL}}
	if r == nil {
		folder := strings.TrimPrefix(w.subject.AuditSync.Spec.Path, "./")
		a.status.Description = "changes nothing in " + folder
		a.comment = review.Gone(w.marker(), fmt.Sprintf("the pull request no longer changes anything in `%s`", folder))
		return a
	}
	ok, text := r.Status()
	if a.status.Description = text; !ok {
		a.status.State = forge.Failure
	}
	a.write, a.annotations = true, r.Annotations()
	a.comment = r.Markdown(review.Options{Marker: w.marker(), SetUp: r.SetUp(), FileURL: fileURL(w.conn.repository.Provider, w.URL, w.Head),
		ApproveByComment: w.subject.AuditSync.Spec.Prune.ApproveOn == v1alpha1.ApproveOnPullRequest,
		Command:          "muster plan " + shellWord(w.subject.AuditSync.Spec.Path) + " --base " + request.BaseCommit + " --head " + w.Head})
	return a
}

// unchecked is the answer for a head that can't be checked by its own fault.
func (w *answering) unchecked(reason string) answer {
	return answer{head: w.Head, status: forge.Status{State: forge.Failure, Description: "can't be checked: " + reason, TargetURL: w.URL},
		comment: review.Unchecked(w.marker(), reason), write: true}
}

// vanishing is how often the list is read again before a missing head is told.
const vanishing = 3

// vanished is the answer for a head that the repository doesn't have. The list of the forge may be newer or older than the
// repository, so it is read again first. What is told is looked at again later, too.
func (w *answering) vanished(ref string) (answer, error) {
	if w.ref != "" || w.pull.moved < vanishing {
		return answer{}, w.moved("")
	}
	reason := "the repository has no " + ref
	w.problems = append(w.problems, reason)
	return w.unchecked(reason), nil
}

// fileURL returns a function for the address of a line of a file at the head; nil if the forge's pages aren't known.
func fileURL(provider forge.Provider, page, head string) func(path string, line int) string {
	var cut, blob string
	switch provider {
	case forge.GitHub:
		cut, blob = "/pull/", "/blob/"
	case forge.GitLab:
		cut, blob = "/-/merge_requests/", "/-/blob/"
	case forge.Gitea:
		cut, blob = "/pulls/", "/src/commit/"
	}
	at := strings.LastIndex(page, cut)
	u, err := url.Parse(page)
	if at < 0 || err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return func(path string, line int) string {
		segments := strings.Split(path, "/")
		for i := range segments {
			segments[i] = url.PathEscape(segments[i])
		}
		address := page[:at] + blob + head + "/" + strings.Join(segments, "/")
		if line > 0 {
			address += fmt.Sprintf("#L%d", line)
		}
		return address
	}
}

// shellWord quotes a path for a shell.
func shellWord(s string) string {
	if s == "" {
		return "."
	}
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
