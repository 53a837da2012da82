package gitsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"
)

func TestFetchReadsACommit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	hash := o.commit("main", map[string]string{"README.md": "hello", "clusters/a.yaml": "a: 1\n", "clusters/eu/b.yaml": "b: 2\n", "run.sh @100755": "#!/bin/sh\n"})
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url, Ref: Ref{Branch: "main"}})

	if got := s.Revision().String(); got != "main@sha1:"+hash {
		t.Errorf("revision is %s", got)
	}
	if c := s.Commit(); c.Subject != "change 1 on main" || c.Author.Name != "Ada" || c.Committer.When.Unix() != 1700000001 || c.Hash != hash {
		t.Errorf("commit is %+v", c)
	}
	if err := fstest.TestFS(s.FS(), "README.md", "clusters/a.yaml", "clusters/eu/b.yaml", "run.sh"); err != nil {
		t.Error(err)
	}
	if s.Files() != 4 {
		t.Errorf("%d files", s.Files())
	}
	want := o.git("rev-parse", "main:clusters/a.yaml")
	if got, err := s.BlobHash("clusters/a.yaml"); err != nil || got != want {
		t.Errorf("blob hash %s %v, want %s", got, err, want)
	}
	info, err := fs.Stat(s.FS(), "clusters/a.yaml")
	if err != nil || info.(interface{ Hash() string }).Hash() != want || info.Size() != 5 {
		t.Errorf("info %v %v", info, err)
	}
	if info, _ := fs.Stat(s.FS(), "run.sh"); info.Mode() != 0o555 {
		t.Errorf("mode of an executable is %v", info.Mode())
	}
}

func TestPollCostsOneRequest(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"a": "1"})
	srv, r := serve(t, o), open(t, t.TempDir())
	src := Source{URL: srv.url, Ref: Ref{Branch: "main"}}
	step := func(what string, want int64) {
		t.Helper()
		before := srv.requests.Load()
		fetch(t, r, src)
		if got := srv.requests.Load() - before; got != want {
			t.Errorf("%s cost %d requests, want %d", what, got, want)
		}
	}
	step("the first fetch", 2)
	step("a poll", 1)
	step("a poll", 1)
	o.commit("main", map[string]string{"a": "2"})
	step("a new commit", 2)
	o.git("tag", "-a", "-m", "one", "v1.0.0", "main")
	src.Ref = Ref{Tag: "v1.0.0"}
	step("another ref of the same commit", 1)
	src.Ref = Ref{Commit: o.git("rev-parse", "main")}
	step("a commit that is held", 0)
	r = open(t, r.dir)
	src.Ref = Ref{Branch: "main"}
	step("the first poll after a restart", 1)
}

func TestRefs(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	at := map[string]string{}
	for _, v := range []string{"one", "two", "three", "four", "five"} {
		at[v] = o.commit("main", map[string]string{"f": v})
	}
	at["side"] = o.commit("feature/side@home", map[string]string{"f": "side"})
	tag := func(name, hash string, annotated bool) {
		if annotated {
			o.git("tag", "-a", "-m", name, name, hash)
		} else {
			o.git("tag", name, hash)
		}
	}
	tag("v1.0.0", at["one"], true)
	tag("1.1.0", at["two"], false)
	tag("v2.0.0-rc.1", at["three"], true)
	tag("v1.0.5", at["four"], false)
	tag("2024", at["five"], false)
	tag("nightly", at["five"], false)
	o.git("tag", "-a", "-m", "a tag of a tag", "nested", "v1.0.0")
	o.git("update-ref", "refs/pull/7/head", at["side"])
	url := serve(t, o).url
	r := open(t, t.TempDir())

	for _, tc := range []struct {
		reason string
		ref    Ref
		label  string
		commit string
	}{
		{"the default branch", Ref{}, "main", at["five"]},
		{"a branch", Ref{Branch: "main"}, "main", at["five"]},
		{"a branch with @ and /", Ref{Branch: "feature/side@home"}, "feature/side@home", at["side"]},
		{"a lightweight tag", Ref{Tag: "1.1.0"}, "1.1.0", at["two"]},
		{"an annotated tag is peeled", Ref{Tag: "v1.0.0"}, "v1.0.0", at["one"]},
		{"a tag of a tag is peeled to the end", Ref{Tag: "nested"}, "nested", at["one"]},
		{"the highest version, not the last tag", Ref{SemVer: ">=1.0.0"}, "1.1.0", at["two"]},
		{"a narrow constraint", Ref{SemVer: "~1.0.0"}, "v1.0.5", at["four"]},
		{"pre-releases only when named", Ref{SemVer: ">=1.0.0-0"}, "v2.0.0-rc.1", at["three"]},
		{"everything", Ref{SemVer: "*"}, "1.1.0", at["two"]},
		{"a pull request", Ref{Name: "refs/pull/7/head"}, "refs/pull/7/head", at["side"]},
		{"a commit", Ref{Commit: at["five"]}, "", at["five"]},
		{"a commit in the history, which the server does not hand out", Ref{Commit: at["two"]}, "", at["two"]},
		{"a commit goes before all", Ref{Commit: at["three"], Branch: "main", SemVer: "*"}, "main", at["three"]},
		{"a name goes before a version", Ref{Name: "refs/pull/7/head", SemVer: "*"}, "refs/pull/7/head", at["side"]},
		{"a version goes before a tag", Ref{SemVer: "~1.0.0", Tag: "1.1.0"}, "v1.0.5", at["four"]},
		{"a tag goes before a branch", Ref{Tag: "1.1.0", Branch: "main"}, "1.1.0", at["two"]},
	} {
		for _, repo := range []*Repository{r, open(t, t.TempDir())} {
			s := fetch(t, repo, Source{URL: url, Ref: tc.ref})
			if s.Revision() != (Revision{Ref: tc.label, Hash: tc.commit}) {
				t.Errorf("%s: %v, want %s at %s", tc.reason, s.Revision(), tc.label, tc.commit)
			}
			if want := o.git("show", tc.commit+":f"); content(t, s, "f") != want {
				t.Errorf("%s: content is not that of the commit", tc.reason)
			}
		}
	}
}

func TestRefsThatAreNotThere(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"f": "1"})
	o.commit("main", map[string]string{"f": "2"})
	o.commit("develop", map[string]string{"f": "3"})
	o.git("tag", "v1.0.0", "main")
	o.git("tag", "blob", o.hash("blob", "x"))
	o.git("tag", "-a", "-m", "a tree", "tree", "main^{tree}")
	lost := strings.Repeat("ab", 20)
	url := serve(t, o).url
	r := open(t, t.TempDir())
	good := fetch(t, r, Source{URL: url})

	for _, tc := range []struct {
		ref   Ref
		kind  string
		known []string
	}{
		{Ref{Branch: "mian"}, "branch", []string{"develop", "main"}},
		{Ref{Tag: "v9"}, "tag", []string{"v1.0.0", "tree", "blob"}},
		{Ref{SemVer: ">9"}, "version", []string{"v1.0.0", "tree", "blob"}},
		{Ref{Name: "refs/pull/1/head"}, "ref", []string{"refs/heads/develop", "refs/heads/main", "refs/tags/blob", "refs/tags/tree", "refs/tags/v1.0.0"}},
		{Ref{Commit: lost}, "commit", nil},
		{Ref{Commit: lost, Branch: "gone"}, "branch", []string{"develop", "main"}},
		{Ref{Commit: first, Branch: "develop"}, "commit", []string{"branch develop"}},
	} {
		_, err := r.Fetch(t.Context(), Source{URL: url, Ref: tc.ref})
		var missing *RefNotFoundError
		if !errors.As(err, &missing) || missing.Kind != tc.kind || !slices.Equal(missing.Known, tc.known) {
			t.Errorf("%+v: %v", tc.ref, err)
		}
	}
	for _, tag := range []string{"blob", "tree"} {
		_, err := r.Fetch(t.Context(), Source{URL: url, Ref: Ref{Tag: tag}})
		var other *NotACommitError
		if !errors.As(err, &other) || other.Type != tag {
			t.Errorf("tag of a %s: %v", tag, err)
		}
	}
	if content(t, good, "f") != "2" {
		t.Error("the good snapshot suffered")
	}
	if names, _ := os.ReadDir(r.dir); len(names) != 2 {
		t.Errorf("failed fetches left %v", names)
	}
}

// A server may hand out any commit, and then no history is needed for an old one.
func TestCommitByHash(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"f": strings.Repeat("1", 100)})
	for i := range 5 {
		o.commit("main", map[string]string{"f": fmt.Sprint(i)})
	}
	unreachable := o.commit("gone", map[string]string{"f": "gone"})
	o.git("update-ref", "-d", "refs/heads/gone")
	srv := serve(t, o)

	o.git("config", "uploadpack.allowAnySHA1InWant", "true")
	for _, hash := range []string{first, unreachable} {
		r := open(t, t.TempDir())
		before := srv.requests.Load()
		s := fetch(t, r, Source{URL: srv.url, Ref: Ref{Commit: hash}})
		if s.Revision().String() != "sha1:"+hash || srv.requests.Load()-before != 2 {
			t.Errorf("got %s after %d requests", s.Revision(), srv.requests.Load()-before)
		}
		if n, _ := r.store.packs[0].index.Count(); n != 3 {
			t.Errorf("the pack holds %d objects, want the commit, its tree and its file", n)
		}
	}
	// The server refuses this one, the history does not hold it: the answer is that it is not there.
	o.git("config", "uploadpack.allowAnySHA1InWant", "false")
	o.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	_, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url, Ref: Ref{Commit: unreachable}})
	var missing *RefNotFoundError
	if !errors.As(err, &missing) || missing.Kind != "commit" {
		t.Errorf("unreachable commit: %v", err)
	}
}

// A commit that is pinned within a ref must be in that ref's history, though the server hands out any, and though the cache holds it.
func TestCommitIsWithinItsRef(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"f": "1"})
	last := o.commit("main", map[string]string{"f": "2"})
	elsewhere := o.commit("other", map[string]string{"f": "3"})
	o.git("config", "uploadpack.allowAnySHA1InWant", "true")
	srv := serve(t, o)
	fresh, holds := open(t, t.TempDir()), open(t, t.TempDir())
	fetch(t, holds, Source{URL: srv.url, Ref: Ref{Commit: elsewhere}})
	for _, r := range []*Repository{fresh, holds} {
		for _, ref := range []Ref{{Branch: "main", Commit: elsewhere}, {Name: "refs/heads/main", Commit: elsewhere}, {Branch: "other", Commit: last}} {
			_, err := r.Fetch(t.Context(), Source{URL: srv.url, Ref: ref})
			var missing *RefNotFoundError
			if !errors.As(err, &missing) || missing.Kind != "commit" {
				t.Errorf("%+v: %v", ref, err)
			}
		}
		for _, hash := range []string{last, first} {
			before := srv.requests.Load()
			for range 2 {
				if s := fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "main", Commit: hash}}); s.Revision().String() != "main@sha1:"+hash {
					t.Errorf("got %s", s.Revision())
				}
			}
			if n := srv.requests.Load() - before; n > 2 {
				t.Errorf("%d requests for one commit", n)
			}
		}
	}
}

func TestHeadsOfAllKinds(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	hash := o.commit("main", map[string]string{"f": "1"})
	url := serve(t, o).url
	r := open(t, t.TempDir())
	o.git("symbolic-ref", "HEAD", "refs/heads/unborn")
	_, err := r.Fetch(t.Context(), Source{URL: url})
	var missing *RefNotFoundError
	if !errors.As(err, &missing) || missing.Kind != "default branch" || !slices.Equal(missing.Known, []string{"main"}) {
		t.Errorf("HEAD of an unborn branch: %v", err)
	}
	o.git("update-ref", "--no-deref", "HEAD", hash)
	if s := fetch(t, r, Source{URL: url}); s.Revision().String() != "HEAD@sha1:"+hash {
		t.Errorf("detached HEAD: %s", s.Revision())
	}
}

func TestForcePush(t *testing.T) {
	t.Parallel()
	for _, collected := range []bool{false, true} {
		o := newOrigin(t)
		o.commit("main", map[string]string{"keep": "same", "f": "1"})
		second := o.commit("main", map[string]string{"keep": "same", "f": "2"})
		url := serve(t, o).url
		r := open(t, t.TempDir())
		src := Source{URL: url, Ref: Ref{Branch: "main"}}
		old := fetch(t, r, src)

		o.git("update-ref", "refs/heads/main", second+"^")
		o.commit("main", map[string]string{"keep": "same", "f": "rewritten"})
		if collected {
			o.git("reflog", "expire", "--expire=now", "--all")
			o.git("gc", "--quiet", "--prune=now")
		}
		if s := fetch(t, r, src); content(t, s, "f") != "rewritten" || content(t, s, "keep") != "same" {
			t.Errorf("collected %v: the rewritten branch does not show", collected)
		}
		if content(t, old, "f") != "2" {
			t.Errorf("collected %v: the old snapshot changed", collected)
		}
		o.git("update-ref", "refs/heads/main", o.git("rev-parse", "main^"))
		if s := fetch(t, r, src); content(t, s, "f") != "1" {
			t.Errorf("collected %v: a branch set back does not show", collected)
		}
	}
}

func TestDeletedBranchAndBack(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	hash := o.commit("main", map[string]string{"f": "1"})
	o.commit("other", map[string]string{"f": "other"})
	url := serve(t, o).url
	r := open(t, t.TempDir())
	src := Source{URL: url, Ref: Ref{Branch: "main"}}
	s := fetch(t, r, src)
	o.git("update-ref", "-d", "refs/heads/main")
	var missing *RefNotFoundError
	if _, err := r.Fetch(t.Context(), src); !errors.As(err, &missing) || err.Error() != url+` has no branch "main"; it has other` {
		t.Errorf("deleted branch: %v", err)
	}
	if content(t, s, "f") != "1" {
		t.Error("the snapshot suffered")
	}
	o.git("update-ref", "refs/heads/main", hash)
	fetch(t, r, src)
}

// A change of one file costs about one file: the server makes a thin pack against what is held.
func TestAChangeCostsLittle(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	files := manyFiles(500)
	o.commit("main", files)
	client, identity := newSigner(t, "ed25519")
	host, _ := newSigner(t, "ed25519")
	shell := serveSSH(t, o, client.PublicKey(), host)
	auth, err := shell.auth(identity, knownhosts.Line([]string{shell.addr}, host.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]Source{"HTTP": {URL: serve(t, o).url}, "SSH": {URL: shell.url(), Auth: auth}} {
		r := open(t, t.TempDir())
		fetch(t, r, src)
		for i := range 3 {
			const changed = "clusters/region-01/cluster-00001.yaml"
			files[changed] += fmt.Sprintf("  # changed for %s, %d\n", name, i)
			o.commit("main", files)
			s := fetch(t, r, src)
			if content(t, s, changed) != files[changed] || s.Files() != len(files) {
				t.Errorf("%s: wrong content", name)
			}
			last := r.store.packs[len(r.store.packs)-1]
			// The commit, three folders, the file, and the bases of what came as deltas.
			if n, _ := last.index.Count(); n > 10 || len(r.store.packs) != i+2 {
				t.Errorf("%s: %d packs, the last of %d objects and %d bytes", name, len(r.store.packs), n, last.bytes)
			}
		}
		// What is on disk is what git calls whole.
		packs, _ := filepath.Glob(filepath.Join(r.dir, "store-*/*.pack"))
		for _, path := range packs {
			run(t, r.dir, nil, "verify-pack", path)
		}
	}
}

// The cache is cloned afresh now and then. Snapshots of before stay readable until they are closed.
func TestRenewal(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	url := serve(t, o).url
	r := open(t, t.TempDir(), withMaxPacks(3))
	var open []*Snapshot
	stores := map[string]bool{}
	for i := range 9 {
		o.commit("main", map[string]string{"f": fmt.Sprint(i), "same": "same"})
		s, err := r.Fetch(t.Context(), Source{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
		stores[r.state.Store] = true
		if names, _ := r.store.packNames(); len(names) > 3 {
			t.Fatalf("%d packs", len(names))
		}
	}
	if len(stores) != 3 {
		t.Errorf("nine commits went through %d stores, want 3", len(stores))
	}
	for i, s := range open {
		if content(t, s, "f") != fmt.Sprint(i) {
			t.Errorf("snapshot %d changed", i)
		}
		_ = s.Close()
		_ = s.Close()
		if _, err := s.files.ReadFile("f"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("reading a closed snapshot: %v", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, storePrefix+"*")); len(left) != 1 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestGrowthBySize(t *testing.T) {
	t.Parallel()
	r := &Repository{maxPacks: 100, state: state{FirstBytes: 40 << 20}, store: &store{packs: []*pack{{bytes: 40 << 20}}}}
	if r.overgrown() {
		t.Error("a fresh clone is not overgrown")
	}
	r.store.packs = append(r.store.packs, &pack{bytes: 41 << 20})
	if !r.overgrown() {
		t.Error("a store that has doubled is overgrown")
	}
}

func TestAnotherURLSharesNothing(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t), newOrigin(t)
	secret := a.commit("main", map[string]string{"f": "a"})
	b.commit("main", map[string]string{"f": "b"})
	r := open(t, t.TempDir())
	fetch(t, r, Source{URL: serve(t, a).url})
	var missing *RefNotFoundError
	if _, err := r.Fetch(t.Context(), Source{URL: serve(t, b).url, Ref: Ref{Commit: secret}}); !errors.As(err, &missing) {
		t.Errorf("a commit of another repository came from the cache: %v", err)
	}
	if s := fetch(t, r, Source{URL: serve(t, b).url}); content(t, s, "f") != "b" {
		t.Error("wrong repository")
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("d%d/f%d", i%5, i)] = fmt.Sprint(i)
	}
	o.commit("main", files)
	o.commit("other", map[string]string{"x": "x"})
	url := serve(t, o).url
	r := open(t, t.TempDir(), withMaxPacks(2))
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for round := range 4 {
				branch := []string{"main", "other"}[(worker+round)%2]
				s, err := r.Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: branch}})
				if err != nil {
					t.Error(err)
					return
				}
				_ = fs.WalkDir(s.FS(), ".", func(path string, d fs.DirEntry, err error) error {
					if err == nil && !d.IsDir() {
						_, err = fs.ReadFile(s.FS(), path)
					}
					if err != nil {
						t.Error(err)
					}
					return nil
				})
				_ = s.Close()
			}
		})
	}
	for i := range 5 {
		files["new"] = fmt.Sprint(i)
		o.commit("main", files)
	}
	wg.Wait()
}

func TestWaitingForAnotherFetchEndsWithTheContext(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	entered, leave := make(chan struct{}), make(chan struct{})
	srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
		entered <- struct{}{}
		<-leave
		backend.ServeHTTP(w, r)
	})
	r := open(t, t.TempDir())
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, err := r.Fetch(ctx, Source{URL: srv.url}); done <- err }()
	<-entered
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if _, err := r.Fetch(short, Source{URL: srv.url}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(leave)
}

func TestList(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	hash := o.commit("main", map[string]string{"f": "1"})
	o.git("update-ref", "refs/pull/7/head", hash)
	o.git("tag", "-a", "-m", "one", "v1", "main")
	srv := serve(t, o)
	refs, err := List(t.Context(), Source{URL: srv.url})
	if err != nil || refs.Head != "refs/heads/main" || len(refs.All) != 3 || srv.requests.Load() != 1 {
		t.Fatalf("%+v %v", refs, err)
	}
	if tag, ok := refs.Lookup("refs/tags/v1"); !ok || tag.Commit != hash || tag.Hash == hash {
		t.Errorf("tag is %+v", tag)
	}
}

func TestClosedRepository(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	url := serve(t, o).url
	r := open(t, t.TempDir())
	s := fetch(t, r, Source{URL: url})
	_ = r.Close()
	if _, err := r.Fetch(t.Context(), Source{URL: url}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("fetch after close: %v", err)
	}
	if content(t, s, "f") != "1" {
		t.Error("an open snapshot outlives its repository")
	}
}

var _ io.ReaderAt = (*openFile)(nil)
