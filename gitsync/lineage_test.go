package gitsync

import (
	"errors"
	"fmt"
	"testing"
)

// wantNotDescendant fetches, and demands that the remote's commit is refused.
func wantNotDescendant(t *testing.T, r *Repository, src Source, commit string) {
	t.Helper()
	s, err := r.Fetch(t.Context(), src)
	var refused *NotDescendantError
	if !errors.As(err, &refused) || refused.Revision.Hash != commit || refused.Of != src.DescendantOf {
		t.Errorf("%s after %s: %v", commit, src.DescendantOf, err)
	}
	if s != nil {
		s.Close() //nolint:errcheck // it should not be there
	}
}

func TestDescendants(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	root := o.commit("main", map[string]string{"f": "root"})
	old := o.commit("main", map[string]string{"f": "old"})
	applied := o.commit("main", map[string]string{"f": "applied"})
	next := o.commit("main", map[string]string{"f": "next"})
	later := o.commit("main", map[string]string{"f": "later"})
	o.git("update-ref", "refs/heads/side", old)
	side := o.commit("side", map[string]string{"f": "side"})
	merge := o.git("commit-tree", "-m", "merge", "-p", side, "-p", later, side+"^{tree}")
	octopus := o.git("commit-tree", "-m", "three", "-p", side, "-p", root, "-p", merge, side+"^{tree}")
	unrelated := o.commit("unrelated", map[string]string{"f": "unrelated"})
	// What only looks like a parent: a line that Git does not read as one.
	smuggled := o.hash("commit", fmt.Sprintf("tree %s\nparent %s\nauthor A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\nparent %s\n\nparent %s\n",
		o.git("rev-parse", side+"^{tree}"), old, applied, applied))
	srv := serve(t, o)
	src := func(ref Ref) Source { return Source{URL: srv.url, Ref: ref, DescendantOf: applied} }

	caches := map[string]func(t *testing.T) *Repository{
		"holds what was applied": func(t *testing.T) *Repository {
			r := open(t, t.TempDir())
			o.git("update-ref", "refs/heads/x", applied)
			fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "x"}})
			return r
		},
		"empty": func(t *testing.T) *Repository { return open(t, t.TempDir()) },
		"holds others": func(t *testing.T) *Repository {
			r := open(t, t.TempDir())
			for _, hash := range []string{next, side, merge, octopus, smuggled} {
				o.git("update-ref", "refs/heads/x", hash)
				fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "x"}})
			}
			return r
		},
		"holds all, and what was applied first": func(t *testing.T) *Repository {
			r := open(t, t.TempDir())
			for _, hash := range []string{applied, later, side, old} {
				o.git("update-ref", "refs/heads/x", hash)
				fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "x"}})
			}
			return open(t, r.dir)
		},
	}
	times := 2 // what is remembered gives the same answer
	if testing.Short() {
		times = 1
	}
	for _, tc := range []struct {
		reason, commit string
		ok             bool
	}{
		{"the same", applied, true},
		{"its child", next, true},
		{"its grandchild", later, true},
		{"a merge that has it behind the second parent", merge, true},
		{"a merge of three", octopus, true},
		{"its parent", old, false},
		{"the first of all", root, false},
		{"one beside it", side, false},
		{"another history", unrelated, false},
		{"a parent that is none", smuggled, false},
	} {
		for held, cache := range caches {
			t.Run(tc.reason+", the cache "+held, func(t *testing.T) {
				r := cache(t)
				o.git("update-ref", "refs/heads/x", tc.commit)
				for range times {
					for _, ref := range []Ref{{Branch: "x"}, {Branch: "x", Commit: tc.commit}, {Commit: tc.commit}} {
						if !tc.ok {
							wantNotDescendant(t, r, src(ref), tc.commit)
						} else if s := fetch(t, r, src(ref)); s.Commit().Hash != tc.commit {
							t.Errorf("%+v: got %s", ref, s.Revision())
						}
					}
				}
			})
		}
	}
}

// That a commit descends from another doesn't put it on the ref that it is pinned within.
func TestDescendantsWithinARef(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	old := o.commit("main", map[string]string{"f": "old"})
	o.commit("main", map[string]string{"f": "tip"})
	o.git("update-ref", "refs/heads/side", old)
	side := o.commit("side", map[string]string{"f": "side"})
	o.git("update-ref", "refs/heads/old", old)
	srv, r := serve(t, o), open(t, t.TempDir())
	for _, branch := range []string{"old", "side"} {
		fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: branch}})
	}
	_, err := r.Fetch(t.Context(), Source{URL: srv.url, Ref: Ref{Branch: "main", Commit: side}, DescendantOf: old})
	if missing, ok := errors.AsType[*RefNotFoundError](err); !ok || missing.Kind != "commit" {
		t.Errorf("a commit of another branch: %v", err)
	}
}

// Going on costs what has changed, and a refusal is remembered.
func TestDescendantsCostLittle(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	for i := range 20 {
		o.commit("main", map[string]string{"f": fmt.Sprint(i)})
	}
	srv, r := serve(t, o), open(t, t.TempDir())
	src := Source{URL: srv.url, Ref: Ref{Branch: "main"}}
	src.DescendantOf = fetch(t, r, src).Commit().Hash
	o.commit("main", map[string]string{"f": "between"})
	next := o.commit("main", map[string]string{"f": "next"})
	before := srv.requests.Load()
	fetch(t, r, src)
	if n := srv.requests.Load() - before; n != 2 {
		t.Errorf("%d requests", n)
	}
	if n, _ := r.store.packs[len(r.store.packs)-1].index.Count(); n != 6 {
		t.Errorf("the pack holds %d objects, want two commits with a tree and a file each", n)
	}
	src.DescendantOf = next
	o.git("update-ref", "refs/heads/main", next+"~2")
	wantNotDescendant(t, r, src, o.git("rev-parse", "main"))
	before = srv.requests.Load()
	wantNotDescendant(t, r, src, o.git("rev-parse", "main"))
	if n := srv.requests.Load() - before; n != 1 {
		t.Errorf("%d requests for what was refused already", n)
	}
}

// A server that leaves the history out can't have a commit accepted by that.
func TestDescendantsOfACutHistory(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	applied := o.commit("main", map[string]string{"f": "1"})
	o.commit("main", map[string]string{"f": "2"})
	next := o.commit("main", map[string]string{"f": "3"})
	bare := newOrigin(t)
	bare.git("fetch", "--quiet", "--depth=1", "file://"+o.dir, "main:main")
	src := Source{URL: serve(t, bare).url, Ref: Ref{Branch: "main"}, DescendantOf: applied}
	wantNotDescendant(t, open(t, t.TempDir()), src, next)
}
