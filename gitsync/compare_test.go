package gitsync

import (
	"errors"
	"fmt"
	"testing"
)

// pull makes a branch the head of a pull request, as forges show it.
func (o *origin) pull(number int, commit string) string {
	o.t.Helper()
	ref := fmt.Sprintf("refs/pull/%d/head", number)
	o.git("update-ref", ref, commit)
	return ref
}

func compared(t *testing.T, r *Repository, src Source, head string) *Comparison {
	t.Helper()
	c, err := r.Compare(t.Context(), src, head, Known{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCompare(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"a": "1"})
	o.git("branch", "feature", "main")
	head := o.pull(7, o.commit("feature", map[string]string{"a": "1", "b": "2"}))
	s := serve(t, o)
	src := Source{URL: s.url, Ref: Ref{Branch: "main"}}
	dir := t.TempDir()
	r := open(t, dir)

	c := compared(t, r, src, head)
	if c.Base.Commit().Hash != first || c.Ancestor.Commit().Hash != first || content(t, c.Head, "b") != "2" {
		t.Errorf("base %s, ancestor %s", c.Base.Commit().Hash, c.Ancestor.Commit().Hash)
	}
	// The base moves: the ancestor stays.
	moved := o.commit("main", map[string]string{"a": "2"})
	c = compared(t, r, src, head)
	if c.Base.Commit().Hash != moved || c.Ancestor.Commit().Hash != first || content(t, c.Base, "a") != "2" {
		t.Errorf("after a move: base %s, ancestor %s", c.Base.Commit().Hash, c.Ancestor.Commit().Hash)
	}
	// Nothing is downloaded again, not even after a restart.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	before := s.requests.Load()
	compared(t, r, src, head)
	if got := s.requests.Load() - before; got != 1 {
		t.Errorf("%d requests for what is in the cache", got)
	}
	// A force-push to a commit with the base in its history.
	o.git("update-ref", "refs/heads/feature", moved)
	forced := o.commit("feature", map[string]string{"a": "2", "c": "3"})
	o.pull(7, forced)
	c = compared(t, r, src, head)
	if c.Head.Commit().Hash != forced || c.Ancestor.Commit().Hash != moved {
		t.Errorf("after a force-push: head %s, ancestor %s", c.Head.Commit().Hash, c.Ancestor.Commit().Hash)
	}
}

func TestCompareFarAncestor(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"a": "1"})
	o.git("branch", "feature", "main")
	for i := range 60 {
		o.commit("main", map[string]string{"a": fmt.Sprint(i)})
	}
	head := o.pull(7, o.commit("feature", map[string]string{"a": "1", "b": "2"}))
	src := Source{URL: serve(t, o).url, Ref: Ref{Branch: "main"}}
	if c := compared(t, open(t, t.TempDir()), src, head); c.Ancestor.Commit().Hash != first {
		t.Errorf("ancestor %s, not %s", c.Ancestor.Commit().Hash, first)
	}
	r := open(t, t.TempDir())
	r.depths = []int{5, 10}
	_, err := r.Compare(t.Context(), src, head, Known{})
	if missing, ok := errors.AsType[*NoAncestorError](err); !ok || missing.Searched != 10 {
		t.Errorf("with a history of 10: %v", err)
	}
}

// TestCompareHiddenAncestor: a head that has merged an old commit doesn't get that as its ancestor because the way to a newer one is
// longer than the history that was fetched first. Otherwise what it takes back would look like what the branch has changed.
func TestCompareHiddenAncestor(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	old := o.commit("main", map[string]string{"a": "old"})
	tip := o.commit("main", map[string]string{"a": "new"})
	o.git("branch", "feature", "main")
	for i := range 8 {
		o.commit("feature", map[string]string{"a": "new", "b": fmt.Sprint(i)})
	}
	back := o.commit("feature", map[string]string{"a": "old"})
	merge := o.git("commit-tree", "-m", "merge", "-p", back, "-p", old, back+"^{tree}")
	head := o.pull(7, merge)
	src := Source{URL: serve(t, o).url, Ref: Ref{Branch: "main"}}
	for _, known := range []Known{{}, {Base: tip, Head: merge}} {
		r := open(t, t.TempDir())
		r.depths = []int{5, 20}
		if _, err := r.Prefetch(t.Context(), src, []string{head}); err != nil {
			t.Fatal(err)
		}
		c, err := r.Compare(t.Context(), src, head, known)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Ancestor.Commit().Hash; got != tip {
			t.Errorf("%+v: ancestor %s, not %s", known, got, tip)
		}
		c.Close()
	}
	r := open(t, t.TempDir())
	r.depths = []int{3, 5}
	_, err := r.Compare(t.Context(), src, head, Known{})
	if missing, ok := errors.AsType[*NoAncestorError](err); !ok || missing.Searched != 5 {
		t.Errorf("with a history of 5: %v", err)
	}
}

func TestCompareErrors(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"a": "1"})
	unrelated := o.pull(1, o.commit("other", map[string]string{"a": "1"}))
	// Each of two branches has merged the other's first commit.
	o.git("branch", "left", "main")
	o.git("branch", "right", "main")
	left, right := o.commit("left", map[string]string{"a": "2"}), o.commit("right", map[string]string{"a": "3"})
	tree := o.git("rev-parse", left+"^{tree}")
	o.git("update-ref", "refs/heads/left", o.git("commit-tree", "-m", "merge", "-p", left, "-p", right, tree))
	crossed := o.pull(2, o.git("commit-tree", "-m", "merge", "-p", right, "-p", left, tree))
	src := Source{URL: serve(t, o).url, Ref: Ref{Branch: "main"}}
	r := open(t, t.TempDir())
	if _, err := r.Compare(t.Context(), src, unrelated, Known{}); !is[*NoAncestorError](err) {
		t.Errorf("unrelated: %v", err)
	}
	src.Ref.Branch = "left"
	_, err := r.Compare(t.Context(), src, crossed, Known{})
	if several, ok := errors.AsType[*NoAncestorError](err); !ok || !several.Several {
		t.Errorf("crossed: %v", err)
	}
	if _, err := r.Compare(t.Context(), src, "refs/pull/9/head", Known{}); !is[*RefNotFoundError](err) {
		t.Errorf("missing: %v", err)
	}
	if _, err := r.Compare(t.Context(), src, "pull/9", Known{}); !is[*SourceError](err) {
		t.Errorf("no ref name: %v", err)
	}
	small := open(t, t.TempDir(), WithLimits(Limits{Objects: 2}))
	if _, err := small.Compare(t.Context(), src, crossed, Known{}); !is[*LimitError](err) {
		t.Errorf("over the limits: %v", err)
	}
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// TestCompareManyTrees: heads with ever different folders don't fill the memory.
func TestCompareManyTrees(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"a": "1"})
	src := Source{URL: serve(t, o).url, Ref: Ref{Branch: "main"}}
	const most = 20
	r := open(t, t.TempDir(), WithLimits(Limits{Files: most}))
	for number := range 20 {
		files := map[string]string{"a": "1"}
		for i := range most - 5 {
			files[fmt.Sprintf("d/%d-%d", number, i)] = ""
		}
		branch := fmt.Sprint("feature", number)
		o.git("branch", branch, "main")
		head := o.pull(number, o.commit(branch, files))
		c := compared(t, r, src, head)
		entries := 0
		for _, tree := range r.store.trees {
			entries += len(tree.entries)
		}
		if entries > 3*most || len(r.commits) > 8 {
			t.Fatalf("after %d heads: %d entries and %d commits in memory", number, entries, len(r.commits))
		}
		if got := content(t, c.Head, fmt.Sprintf("d/%d-0", number)); got != "" {
			t.Errorf("%q", got)
		}
	}
}

// TestPrefetch: many heads cost two requests, and comparing them none, as long as the cache has what is known of both sides.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"a": "1"})
	heads, commits := []string{"refs/pull/9/head"}, map[string]string{} // the first one doesn't exist
	for number := range 3 {
		branch := fmt.Sprint("feature", number)
		o.git("branch", branch, "main")
		commit := o.commit(branch, map[string]string{"a": "1", "b": branch})
		head := o.pull(number, commit)
		heads, commits[head] = append(heads, head), commit
	}
	moved := o.commit("main", map[string]string{"a": "2"})
	s := serve(t, o)
	src := Source{URL: s.url, Ref: Ref{Branch: "main"}}
	r := open(t, t.TempDir())
	requests := func(what string, want int64, do func()) {
		t.Helper()
		before := s.requests.Load()
		if do(); s.requests.Load()-before != want {
			t.Errorf("%s: %d requests, want %d", what, s.requests.Load()-before, want)
		}
	}
	prefetch := func(want string) {
		t.Helper()
		if base, err := r.Prefetch(t.Context(), src, heads); err != nil || base != want {
			t.Fatalf("base %q, %v; want %s", base, err, want)
		}
	}
	compare := func(head string, known Known, base string) {
		t.Helper()
		c, err := r.Compare(t.Context(), src, head, known)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Base.Commit().Hash != base || c.Head.Commit().Hash != commits[head] || c.Ancestor.Commit().Hash != first || c.Base.Revision().Ref != "main" {
			t.Errorf("base %s, head %s, ancestor %s", c.Base.Revision(), c.Head.Commit().Hash, c.Ancestor.Commit().Hash)
		}
	}
	requests("prefetch", 2, func() { prefetch(moved) })
	requests("prefetch what is there", 1, func() { prefetch(moved) })
	for head, commit := range commits {
		requests("compare", 0, func() { compare(head, Known{moved, commit}, moved) })
	}
	head := heads[1]
	requests("an unknown base", 1, func() { compare(head, Known{"", commits[head]}, moved) })
	requests("an unknown head", 1, func() { compare(head, Known{moved, ""}, moved) })
	again := o.commit("main", map[string]string{"a": "3"})
	requests("the base as it is known", 0, func() { compare(head, Known{moved, commits[head]}, moved) })
	requests("the new base", 2, func() { prefetch(again) })
	requests("both sides of the new base", 0, func() { compare(head, Known{again, commits[head]}, again) })

	// A cache that is cloned afresh has all heads again.
	r.maxPacks = 1
	requests("a fresh clone", 2, func() { prefetch(again) })
	for head, commit := range commits {
		requests("compare after a fresh clone", 0, func() { compare(head, Known{again, commit}, again) })
	}
	// What is known of one repository says nothing about another.
	other := serve(t, o)
	src.URL = other.url
	compare(head, Known{again, commits[head]}, again)
	if other.requests.Load() == 0 {
		t.Error("another repository was answered from the cache of the first")
	}
}
