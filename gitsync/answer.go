package gitsync

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxAnswers is how many Refs a Repository remembers the answers for. Users of a Repository follow one each, and sometimes another.
const maxAnswers = 256

// answer is what a remote said about a Ref, or why it said nothing.
type answer struct {
	url    string
	at     time.Time // when the remote was asked
	listed bool      // whether it has listed its refs
	target target
	err    error
	way    asked
}

// asked is how the remote was asked. A failure may be due to any of it: credentials that have been replaced, a timeout that is too
// short, or a history that is too long. So it is no answer for those who ask in another way, who might never ask for themselves then.
type asked struct {
	auth         [sha256.Size]byte
	descendantOf string
	timeout      time.Duration
}

func (s Source) asked() asked { return asked{s.Auth.version, s.DescendantOf, s.timeout()} }

// answered returns the result of a Fetch by the answer to an earlier one, or nothing if the remote must be asked.
func (r *Repository) answered(ctx context.Context, src Source, url string) (*Snapshot, error) {
	a, found := r.answers[src.Ref]
	if r.unlisted.err != nil && r.unlisted.way == src.asked() {
		a, found = r.unlisted, true
	}
	if !found || src.ListedSince.IsZero() || a.url != url || a.at.Before(src.ListedSince) {
		return nil, nil
	}
	if a.err != nil {
		if a.way != src.asked() {
			return nil, nil
		}
		return nil, a.err
	}
	if t := a.target; !t.exclusive && r.descends(ctx, t.commit, plumbing.NewHash(src.DescendantOf)) {
		if c := r.held(ctx, url, t.commit); c != nil {
			return r.snapshot(t.label, a.at, c), nil
		}
	}
	return nil, nil
}

// remember remembers an answer about a Ref or, if the remote has not even listed its refs, about all of them.
func (r *Repository) remember(ref Ref, a answer) {
	if !a.listed {
		r.unlisted = a
		return
	}
	r.unlisted = answer{}
	if len(r.answers) >= maxAnswers {
		clear(r.answers)
	}
	r.answers[ref] = a
}
