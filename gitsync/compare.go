package gitsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Comparison is a branch and a head that would be merged into it.
type Comparison struct {
	// Base is the branch's commit, Head the one to merge, and Ancestor the best common ancestor of both.
	Base, Head, Ancestor *Snapshot
}

// Close closes the snapshots.
func (c *Comparison) Close() {
	for _, s := range []*Snapshot{c.Base, c.Head, c.Ancestor} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// NoAncestorError reports that no single common ancestor of two commits was found, so they can't be merged here.
type NoAncestorError struct {
	Base, Head string
	// Searched is how many generations of their history were read; 0 if all of it was.
	Searched int
	// Several reports that there are several best common ancestors.
	Several bool
}

func (e *NoAncestorError) Error() string {
	switch {
	case e.Several:
		return fmt.Sprintf("%s and %s have several common ancestors; rebase the branch", e.Head, e.Base)
	case e.Searched > 0:
		return fmt.Sprintf("%s has no common ancestor with %s in the last %d commits; rebase the branch", e.Head, e.Base, e.Searched)
	}
	return fmt.Sprintf("%s and %s have no common ancestor", e.Head, e.Base)
}

// depths are how many generations of history are fetched to find a common ancestor, one after the other.
var depths = []int{50, 1000}

// Known are the commits of a branch and a head, full SHA-1s, that the caller has just learned from the remote or its forge. Either
// may be empty.
type Known struct{ Base, Head string }

// Compare fetches the commit that the source selects, a head by its full ref name, and their common ancestor. It asks the remote
// for both, unless the cache has what is known of them. Its errors are those of Fetch, and a *NoAncestorError. The caller closes
// the Comparison.
//
// Everything that the head's author has chosen is held to the Repository's Limits. A Repository for heads of strangers
// should be a separate one, so that they can't fill the cache of the branch.
func (r *Repository) Compare(ctx context.Context, src Source, head string, known Known) (*Comparison, error) {
	headRef := Ref{Name: head}
	if err := errors.Join(src.Validate(), headRef.Validate()); err != nil {
		return nil, err
	}
	release, err := r.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, src.timeout())
	defer cancel()
	if c, err := r.compareKnown(ctx, src, head, known); c != nil || err != nil {
		return c, err
	}
	rem, err := connect(ctx, src, r.limits)
	if err != nil {
		return nil, err
	}
	defer rem.close()
	refs, err := rem.refs(ctx)
	if err != nil {
		return nil, err
	}
	base, err := refs.resolve(src.Ref, rem.url)
	if err != nil {
		return nil, err
	}
	merged, err := refs.resolve(headRef, rem.url)
	if err != nil {
		return nil, err
	}
	return r.compare(ctx, rem, refs, base, merged)
}

// compareKnown compares without the remote. It returns nil if the cache doesn't have all that takes.
func (r *Repository) compareKnown(ctx context.Context, src Source, head string, of Known) (*Comparison, error) {
	u, err := parseURL(src.URL, src.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	a, b := plumbing.NewHash(of.Base), plumbing.NewHash(of.Head)
	if !r.usable(displayURL(u)) || !r.store.has(a) || !r.store.has(b) {
		return nil, nil
	}
	best, known := r.store.ancestors(ctx, a, b)
	if len(best) != 1 || !known.head {
		return nil, nil
	}
	return r.comparison(ctx, target{label: commitLabel(src.Ref), commit: a}, target{label: head, commit: b}, best[0])
}

// Prefetch fetches the commit that the source selects, which it returns, and the heads with the full ref names at once: one Compare
// each would take two requests each. It is for speed alone, so it skips what the remote doesn't have. Its errors are those of Fetch.
func (r *Repository) Prefetch(ctx context.Context, src Source, heads []string) (base string, err error) {
	if err := src.Validate(); err != nil {
		return "", err
	}
	release, err := r.take(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, src.timeout())
	defer cancel()
	rem, err := connect(ctx, src, r.limits)
	if err != nil {
		return "", err
	}
	defer rem.close()
	refs, err := rem.refs(ctx)
	if err != nil {
		return "", err
	}
	t, err := refs.resolve(src.Ref, rem.url)
	if err != nil {
		return "", err
	}
	has := func(commit plumbing.Hash) bool { return r.usable(rem.url) && !r.overgrown() && r.store.has(commit) }
	var missing []plumbing.Hash
	for _, name := range heads {
		if ref, found := refs.Lookup(name); found && !has(plumbing.NewHash(ref.Commit)) {
			missing = append(missing, plumbing.NewHash(ref.Hash))
		}
	}
	if len(missing) > 0 || !has(t.commit) {
		t.ways = []way{{wants: union(t.ways[0].wants, missing), depth: r.depths[0]}}
		if _, err := r.download(ctx, rem, refs, t); err != nil {
			return "", err
		}
	}
	return t.commit.String(), nil
}

func (r *Repository) compare(ctx context.Context, rem *remote, refs Refs, base, head target) (*Comparison, error) {
	for _, depth := range append([]int{0}, r.depths...) {
		if depth > 0 {
			both := head
			both.ways = []way{{wants: union(head.ways[0].wants, base.ways[0].wants), depth: depth}}
			if _, err := r.download(ctx, rem, refs, both); err != nil {
				return nil, err
			}
		} else if !r.usable(rem.url) || !r.store.has(base.commit) || !r.store.has(head.commit) {
			continue
		}
		best, known := r.store.ancestors(ctx, base.commit, head.commit)
		if len(best) == 1 && known.head {
			return r.comparison(ctx, base, head, best[0])
		}
		if len(best) > 1 || known.all {
			return nil, &NoAncestorError{Base: base.commit.String(), Head: head.commit.String(), Several: len(best) > 1}
		}
	}
	return nil, &NoAncestorError{Base: base.commit.String(), Head: head.commit.String(), Searched: r.depths[len(r.depths)-1]}
}

func (r *Repository) comparison(ctx context.Context, base, head target, ancestor plumbing.Hash) (*Comparison, error) {
	c := &Comparison{}
	for _, part := range []struct {
		at    **Snapshot
		label string
		hash  plumbing.Hash
	}{{&c.Base, base.label, base.commit}, {&c.Head, head.label, head.commit}, {&c.Ancestor, "", ancestor}} {
		loaded := r.commits[part.hash]
		if loaded == nil {
			var err error
			if loaded, err = r.store.load(ctx, part.hash); err != nil {
				c.Close()
				return nil, fmt.Errorf("read commit %s: %w", part.hash, err)
			}
			r.commits[part.hash] = loaded
		}
		*part.at = r.snapshot(part.label, time.Time{}, loaded)
	}
	r.shed(base.commit)
	return c, nil
}

// shed forgets the folders of all commits but one, when they have become many. Heads differ in what their authors want, so
// sharing folders doesn't bound them. Snapshots keep what they need.
func (r *Repository) shed(keep plumbing.Hash) {
	var entries int64
	for _, t := range r.store.trees {
		entries += int64(len(t.entries) + len(t.omitted))
	}
	if entries > 2*r.limits.Files {
		r.commits = map[plumbing.Hash]*commit{keep: r.commits[keep]}
		r.store.trees = map[plumbing.Hash]*tree{}
	}
}

// completeness is how much of two histories the store has: all, or at least all that the head has and the base doesn't. Without the
// latter, a better ancestor may be behind what is missing, and the head's author decides how far behind.
type completeness struct{ all, head bool }

// ancestors returns the best common ancestors of two commits, as git merge-base --all does, as far as the store has their history.
func (s *store) ancestors(ctx context.Context, base, head plumbing.Hash) (best []plumbing.Hash, known completeness) {
	ofBase, allBase := s.history(ctx, base)
	ofHead, allHead := s.history(ctx, head)
	known = completeness{all: allBase && allHead, head: true}
	worse := map[plumbing.Hash]bool{}
	for hash, parents := range ofHead {
		_, common := ofBase[hash]
		for _, parent := range parents {
			_, has := ofHead[parent]
			worse[parent] = worse[parent] || common
			known.head = known.head && (has || common)
		}
	}
	for hash := range ofHead {
		if _, common := ofBase[hash]; common && !worse[hash] {
			best = append(best, hash)
		}
	}
	return best, known
}

// history returns the commits that a commit has in its history, itself included, with their parents.
func (s *store) history(ctx context.Context, of plumbing.Hash) (commits map[plumbing.Hash][]plumbing.Hash, complete bool) {
	commits, complete = map[plumbing.Hash][]plumbing.Hash{}, true
	for next := []plumbing.Hash{of}; len(next) > 0 && ctx.Err() == nil; next = next[1:] {
		if _, seen := commits[next[0]]; seen {
			continue
		}
		if !s.has(next[0]) {
			complete = false
			continue
		}
		parents := s.parents(next[0])
		commits[next[0]] = parents
		next = append(next, parents...)
	}
	return commits, complete
}

// union is all hashes of both lists, each once.
func union(a, b []plumbing.Hash) []plumbing.Hash {
	all := slices.Clone(a)
	for _, hash := range b {
		if !slices.Contains(all, hash) {
			all = append(all, hash)
		}
	}
	return all
}
