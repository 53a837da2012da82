package gitsync

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// origin is a bare repository made and served by the real git.
type origin struct {
	t    testing.TB
	root string // what the servers serve
	dir  string // the repository in it
	seq  int
}

const originName = "team/fleet.git"

func newOrigin(t testing.TB, initArgs ...string) *origin {
	t.Helper()
	root := t.TempDir()
	o := &origin{t: t, root: root, dir: filepath.Join(root, originName)}
	run(t, root, nil, append([]string{"init", "--quiet", "--bare", "--initial-branch=main", o.dir}, initArgs...)...)
	return o
}

func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=1700000000 +0000",
	}
}

func run(t testing.TB, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, gitEnv(), bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (o *origin) git(args ...string) string { o.t.Helper(); return run(o.t, o.dir, nil, args...) }

func (o *origin) hash(kind, content string) string {
	o.t.Helper()
	return run(o.t, o.dir, []byte(content), "hash-object", "-w", "-t", kind, "--literally", "--stdin")
}

// commit puts a commit of exactly these files on the branch. Names may be followed by " @MODE".
func (o *origin) commit(branch string, files map[string]string) string {
	o.t.Helper()
	o.seq++
	var in bytes.Buffer
	when := 1700000000 + o.seq
	fmt.Fprintf(&in, "commit refs/heads/%s\nmark :1\ncommitter Ada <ada@example.com> %d +0000\ndata <<END\nchange %d on %s\nEND\n", branch, when, o.seq, branch)
	if o.exists("refs/heads/" + branch) {
		fmt.Fprintf(&in, "from refs/heads/%s^0\n", branch)
	}
	in.WriteString("deleteall\n")
	for name, content := range files {
		name, mode, found := strings.Cut(name, " @")
		if !found {
			mode = "100644"
		}
		if mode == "160000" {
			fmt.Fprintf(&in, "M 160000 %s %s\n", content, cQuote(name))
			continue
		}
		fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", mode, cQuote(name), len(content), content)
	}
	in.WriteString("get-mark :1\n")
	return run(o.t, o.dir, in.Bytes(), "fast-import", "--quiet", "--force", "--date-format=raw")
}

// commitTree puts a commit of a hand-made tree on the branch.
func (o *origin) commitTree(branch, tree string) string {
	o.t.Helper()
	hash := o.git("commit-tree", "-m", "by hand", tree)
	o.git("update-ref", "refs/heads/"+branch, hash)
	return hash
}

func (o *origin) exists(ref string) bool {
	_, err := os.Stat(filepath.Join(o.dir, ref)) // nothing packs refs here; to ask Git costs a process for each commit
	return err == nil
}

func cQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c < ' ' || c > '~' {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// rawTree encodes a tree object that git itself would not make.
func rawTree(entries ...string) string {
	var b strings.Builder
	for e := range slices.Chunk(entries, 3) {
		fmt.Fprintf(&b, "%s %s\x00", e[0], e[1])
		for i := 0; i < 40; i += 2 {
			var n byte
			_, _ = fmt.Sscanf(e[2][i:i+2], "%02x", &n)
			b.WriteByte(n)
		}
	}
	return b.String()
}

// gitServer serves an origin over smart HTTP with git's own backend.
type gitServer struct {
	*httptest.Server
	url      string
	requests atomic.Int64
	// around, when set, may answer instead of the backend or change what it answers.
	around atomic.Pointer[answerFunc]
}

type answerFunc func(w http.ResponseWriter, r *http.Request, backend http.Handler)

func (s *gitServer) answerWith(f answerFunc) {
	if f == nil {
		s.around.Store(nil)
		return
	}
	s.around.Store(&f)
}

func serve(t testing.TB, o *origin) *gitServer {
	t.Helper()
	s := &gitServer{}
	s.Server = httptest.NewServer(s.handler(t, o))
	t.Cleanup(s.Close)
	s.url = s.URL + "/" + originName
	return s
}

func (s *gitServer) handler(t testing.TB, o *origin) http.Handler {
	backend := gitBackend(t, o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if around := s.around.Load(); around != nil {
			(*around)(w, r, backend)
			return
		}
		backend.ServeHTTP(w, r)
	})
}

func gitBackend(t testing.TB, o *origin) http.Handler {
	t.Helper()
	path := filepath.Join(run(t, ".", nil, "--exec-path"), "git-http-backend")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the tests need git with its http-backend: %v", err)
	}
	return &cgi.Handler{
		Path: path, Stderr: io.Discard, // requests run side by side
		Env: append(gitEnv(), "GIT_PROJECT_ROOT="+o.root, "GIT_HTTP_EXPORT_ALL=1"),
	}
}

// withMaxPacks has a cache cloned afresh after n fetches; 1 clones at every change.
func withMaxPacks(n int) Option { return func(r *Repository) { r.maxPacks = n } }

func open(t testing.TB, dir string, opts ...Option) *Repository {
	t.Helper()
	r, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func fetch(t testing.TB, r *Repository, src Source) *Snapshot {
	t.Helper()
	s, err := r.Fetch(t.Context(), src)
	if err != nil {
		t.Fatalf("fetch %+v: %v", src.Ref, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func content(t testing.TB, s *Snapshot, name string) string {
	t.Helper()
	b, err := s.files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
