package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGitOverHTTP(t *testing.T) {
	plain, basic := GitOptions{}, GitOptions{Username: "jane", Password: "s3cret"}
	token, both := GitOptions{BearerToken: "t0ken"}, GitOptions{Username: "jane", Password: "s3cret", BearerToken: "t0ken"}
	secure := GitOptions{TLS: true, Username: "jane", Password: "s3cret"}
	for _, tt := range []struct {
		reason   string
		options  GitOptions
		userinfo string // in the URL
		bearer   string
		trust    bool // the server's CA
		refused  bool
	}{
		{reason: "no credentials asked for", options: plain},
		{reason: "basic", options: basic, userinfo: "jane:s3cret@"},
		{reason: "basic, none given", options: basic, refused: true},
		{reason: "basic, wrong password", options: basic, userinfo: "jane:guess@", refused: true},
		{reason: "basic, wrong user", options: basic, userinfo: "joe:s3cret@", refused: true},
		{reason: "basic, a bearer token given", options: basic, bearer: "s3cret", refused: true},
		{reason: "bearer", options: token, bearer: "t0ken"},
		{reason: "bearer, wrong token", options: token, bearer: "guess", refused: true},
		{reason: "bearer, empty basic credentials given", options: token, userinfo: ":@", refused: true},
		{reason: "either, basic given", options: both, userinfo: "jane:s3cret@"},
		{reason: "either, bearer given", options: both, bearer: "t0ken"},
		{reason: "TLS", options: secure, userinfo: "jane:s3cret@", trust: true},
		{reason: "TLS, unknown authority", options: secure, userinfo: "jane:s3cret@", refused: true},
		{reason: "TLS, wrong password", options: secure, userinfo: "jane:guess@", trust: true, refused: true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			g := startGit(t, tt.options)
			url, err := g.CreateRepository(t.Context(), "platform/fleet")
			if err != nil {
				t.Fatal(err)
			}
			c := gitClient{t: t}
			if tt.bearer != "" {
				c.set("http.extraHeader", "Authorization: Bearer "+tt.bearer)
			}
			if tt.trust {
				c.set("http.sslCAInfo", writeFile(t, "ca.crt", g.CACert()))
			}
			c.roundTrip(strings.Replace(url, "://", "://"+tt.userinfo, 1), tt.refused)
		})
	}
}

func TestGitTakesLargePushes(t *testing.T) {
	g := startGit(t, GitOptions{})
	url, err := g.CreateRepository(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 3<<20) // above http.postBuffer: Git sends it in chunks
	rand.Read(content)
	c := gitClient{t: t}
	work := c.commit(content)
	if out, err := c.git(work, "push", url, "HEAD:main"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
}

func TestGitCountsRequests(t *testing.T) {
	g := startGit(t, GitOptions{})
	url, err := g.CreateRepository(t.Context(), "fleet")
	if err != nil {
		t.Fatal(err)
	}
	c := gitClient{t: t}
	c.set("protocol.version", "0") // one request for the refs, as go-git makes it
	if out, err := c.git("", "ls-remote", url); err != nil {
		t.Fatalf("ls-remote: %v\n%s", err, out)
	}
	if out, err := c.git("", "ls-remote", g.URL()+"/nothing.git"); err == nil {
		t.Fatalf("of no repository: %s", out)
	}
	got := g.Requests()
	if len(got) != 2 {
		t.Fatalf("got %v, want 2", got)
	}
	for i, want := range []GitRequest{
		{Method: http.MethodGet, Path: "/fleet.git/info/refs", Query: "service=git-upload-pack", Code: 200},
		{Method: http.MethodGet, Path: "/nothing.git/info/refs", Query: "service=git-upload-pack", Code: 404},
	} {
		if !strings.HasPrefix(got[i].UserAgent, "git/") {
			t.Errorf("user agent: %q", got[i].UserAgent)
		}
		want.UserAgent = got[i].UserAgent
		if got[i] != want {
			t.Errorf("got %v, want %v", got[i], want)
		}
	}
}

func TestGitOutages(t *testing.T) {
	g := startGit(t, GitOptions{})
	url, err := g.CreateRepository(t.Context(), "fleet")
	if err != nil {
		t.Fatal(err)
	}
	c := gitClient{t: t}
	for _, outage := range []struct {
		name string
		set  func(bool)
		code int
	}{{"down", g.SetDown, http.StatusServiceUnavailable}, {"dropping", g.SetDropping, 0}} {
		outage.set(true)
		if out, err := c.git("", "ls-remote", url); err == nil {
			t.Errorf("%s: no error: %s", outage.name, out)
		}
		if all := g.Requests(); all[len(all)-1].Code != outage.code {
			t.Errorf("%s: got %v, want %d", outage.name, all[len(all)-1], outage.code)
		}
		outage.set(false)
		if out, err := c.git("", "ls-remote", url); err != nil {
			t.Errorf("after %s: %v\n%s", outage.name, err, out)
		}
	}
}

func TestCreateRepositoryRefusesNames(t *testing.T) {
	g := startGit(t, GitOptions{})
	if _, err := g.CreateRepository(t.Context(), "fleet"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"fleet": fs.ErrExist, "": fs.ErrInvalid, ".git": fs.ErrInvalid,
		"../fleet": fs.ErrInvalid, "a/../../b": fs.ErrInvalid, "//etc": fs.ErrInvalid,
	} {
		_, err := g.CreateRepository(t.Context(), name)
		var refused *RepositoryError
		if !errors.Is(err, want) || !errors.As(err, &refused) || refused.Name != name {
			t.Errorf("%q: got %v, want a RepositoryError of %v", name, err, want)
		}
	}
}

func TestGitStops(t *testing.T) {
	t.Run("temporary folder", func(t *testing.T) {
		g := startGit(t, GitOptions{})
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(g.root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder: %v", err)
		}
		if _, err := http.Get(g.URL()); err == nil {
			t.Error("it still answers")
		}
		if err := g.Stop(); err != nil {
			t.Errorf("to stop it again: %v", err)
		}
	})
	t.Run("given folder, with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		g, err := StartGit(ctx, GitOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		eventually(t, "it doesn't answer", func() bool {
			resp, err := http.Get(g.URL())
			if err == nil {
				resp.Body.Close()
			}
			return err != nil
		})
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the folder: %v", err)
		}
	})
}

func startGit(t *testing.T, o GitOptions) *Git {
	t.Helper()
	return started[*Git](t)(StartGit(t.Context(), o))
}

// gitClient is the git of the machine, without the configuration of the machine.
type gitClient struct {
	t      *testing.T
	config []string
	env    []string
}

func (c *gitClient) set(key, value string) { c.config = append(c.config, "-c", key+"="+value) }

func (c *gitClient) git(dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "git", append(c.config, args...)...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}, c.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// commit returns a working tree with one commit that has the file "file".
func (c *gitClient) commit(content []byte) (dir string) {
	c.t.Helper()
	dir = c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "one"}} {
		if out, err := c.git(dir, args...); err != nil {
			c.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// roundTrip pushes a commit and clones it again, or proves that neither works.
func (c *gitClient) roundTrip(url string, refused bool) {
	c.t.Helper()
	content := []byte("hello\n")
	work, clone := c.commit(content), filepath.Join(c.t.TempDir(), "clone")
	pushed, pushErr := c.git(work, "push", url, "HEAD:main")
	cloned, cloneErr := c.git("", "clone", "-q", url, clone)
	if refused {
		if pushErr == nil || cloneErr == nil {
			c.t.Errorf("not refused: push %v, clone %v\n%s\n%s", pushErr, cloneErr, pushed, cloned)
		}
		return
	}
	if pushErr != nil || cloneErr != nil {
		c.t.Fatalf("push: %v\n%s\nclone: %v\n%s", pushErr, pushed, cloneErr, cloned)
	}
	if got, err := os.ReadFile(filepath.Join(clone, "file")); err != nil || !bytes.Equal(got, content) {
		c.t.Errorf("cloned %q, %v; want %q", got, err, content)
	}
}

func writeFile(t *testing.T, name string, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
