package pullrequest

import (
	"context"
	"regexp"
	"strings"

	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// allow is the comment that allows one head. The commit is compulsory: a push that comes a moment earlier must not be allowed
// by it.
var allow = regexp.MustCompile(`^/muster check ([0-9a-f]{40}|[0-9a-f]{64})$`)

// trust decides how far the check of the head may go, and who allowed it.
//
// A comment counts if it is nothing but the command with exactly this head, was never edited, is newer than the pull request's
// last opening on this branch, and if the forge says that its author may write now. Our own comments never count: they quote
// the command, and our account may well have permission to write.
func (w *answering) trust(ctx context.Context) (review.Trust, string, error) {
	if !w.Fork {
		return review.Full, "", nil
	}
	self, err := w.conn.Self(ctx)
	if err == nil {
		err = w.readComments(ctx)
	}
	if w.stops(err) {
		return "", "", err
	}
	if err != nil {
		return review.Keyless, "", nil //nolint:nilerr // it is among the problems
	}
	asked := map[int64]bool{self.ID: true, 0: true}
	for _, comment := range w.comments {
		if asked[comment.AuthorID] || !w.allows(comment) {
			continue
		}
		if asked[comment.AuthorID] = true; len(asked) > maxAsked {
			break
		}
		may, err := w.conn.CanWrite(ctx, forge.User{ID: comment.AuthorID, Login: comment.Author})
		if is[*forge.ConfigError](err) {
			continue // it can't be an account
		}
		if w.stops(err) {
			return "", "", err
		}
		if err != nil {
			break // the check goes on without keys
		}
		if may {
			return review.Allowed, comment.Author, nil
		}
	}
	return review.Keyless, "", nil
}

// maxAsked bounds the requests that strangers can cause with comments.
const maxAsked = 20

func (w *answering) allows(c forge.Comment) bool {
	if c.Created.Before(w.since) || c.Updated.After(c.Created) {
		return false
	}
	m := allow.FindStringSubmatch(strings.TrimSpace(c.Body))
	return m != nil && m[1] == w.Head
}
