package pullrequest

import (
	"context"
	"strings"

	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// trust decides how far the check of the head may go, and who allowed it. The command names the commit: a push that comes a
// moment earlier must not be allowed by it.
func (w *answering) trust(ctx context.Context) (review.Trust, string, error) {
	if !w.Fork {
		return review.Full, "", nil
	}
	user, err := w.commanded(ctx, review.CheckCommand+w.Head)
	if err != nil {
		return "", "", err
	}
	if user == "" {
		return review.Keyless, "", nil
	}
	return review.Allowed, user, nil
}

// commanded returns who gave a command; "" if no one did, or if the forge refuses to tell, which is then among the problems.
//
// A comment counts if it is nothing but the command, was never edited, is newer than the pull request's last opening on this
// branch, and if the forge says that its author may write now. Our own comments never count: they quote the command, and our
// account may well have permission to write.
func (w *answering) commanded(ctx context.Context, command string) (login string, err error) {
	self, err := w.conn.Self(ctx)
	if err == nil {
		err = w.readComments(ctx)
	}
	if w.stops(err) {
		return "", err
	}
	if err != nil {
		return "", nil //nolint:nilerr // it is among the problems
	}
	asked := map[int64]bool{self.ID: true, 0: true}
	for _, comment := range w.comments {
		if asked[comment.AuthorID] || !w.gives(comment, command) {
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
			return "", err
		}
		if err != nil {
			return "", nil //nolint:nilerr // stops has noted it, and the others can't be asked for either
		}
		if may {
			return comment.Author, nil
		}
	}
	return "", nil
}

// maxAsked bounds the requests that strangers can cause with comments.
const maxAsked = 20

func (w *answering) gives(c forge.Comment, command string) bool {
	return !c.Created.Before(w.since) && !c.Updated.After(c.Created) && strings.TrimSpace(c.Body) == command
}
