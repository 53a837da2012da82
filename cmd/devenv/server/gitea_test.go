package server

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The forge as the end-to-end tests need it: a push by token, the webhook that follows, statuses that are set and counted, a
// protected branch that goes by them.
func TestGitea(t *testing.T) {
	SkipShort(t)
	ctx := t.Context()
	g := startGitea(t)
	const repository, branch = "platform/fleet", "main"
	gitURL, err := g.CreateRepository(ctx, repository)
	if err != nil {
		t.Fatal(err)
	}
	token, err := g.CreateUser(ctx, "robot", "write:repository")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.AddCollaborator(ctx, repository, "robot", "write"); err != nil {
		t.Fatal(err)
	}
	deliveries := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		deliveries <- r.Header.Get("X-Gitea-Event") + " " + strings.Repeat("*", len(r.Header.Get("X-Gitea-Signature")))
	}))
	defer receiver.Close()
	if err := g.AddWebhook(ctx, repository, receiver.URL, "webhook secret", "push"); err != nil {
		t.Fatal(err)
	}

	commit := pushTo(t, strings.Replace(gitURL, "://", "://robot:"+token+"@", 1), branch)
	if got, want := <-deliveries, "push "+strings.Repeat("*", 64); got != want {
		t.Errorf("webhook: %q, want %q", got, want)
	}
	if err := g.ProtectBranch(ctx, repository, branch, "muster/production"); err != nil {
		t.Error(err)
	}

	set := func(token, state string) int {
		body := strings.NewReader(`{"context": "muster/production", "state": "` + state + `"}`)
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, g.URL()+"/api/v1/repos/"+repository+"/statuses/"+commit, body)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "token "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if code := set(token, "pending"); code != http.StatusCreated {
		t.Errorf("a status set by a token with the right: %d", code)
	}
	if code := set("wrong", "success"); code != http.StatusUnauthorized {
		t.Errorf("a status set by nobody: %d", code)
	}
	if code := set(token, "success"); code != http.StatusCreated {
		t.Errorf("a second status: %d", code)
	}
	statuses, err := g.Statuses(ctx, repository, commit)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, s := range statuses {
		states = append(states, s.Context+" "+s.State)
	}
	if want := []string{"muster/production pending", "muster/production success"}; !slices.Equal(states, want) {
		t.Errorf("statuses %q, want %q", states, want)
	}
	if n := g.StatusPosts(repository, commit); n != 3 {
		t.Errorf("%d posts counted, want 3", n)
	}
}

func TestGiteaThatIsGone(t *testing.T) {
	SkipShort(t)
	g := startGitea(t)
	get := func() (int, error) {
		res, err := http.Get(g.URL() + "/api/v1/version")
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	g.SetDown(true)
	if code, err := get(); code != http.StatusServiceUnavailable {
		t.Errorf("down: %d, %v", code, err)
	}
	g.SetDown(false)
	g.SetDropping(true)
	if code, err := get(); err == nil {
		t.Errorf("dropping: %d", code)
	}
	g.SetDropping(false)
	if code, err := get(); code != http.StatusOK {
		t.Errorf("back: %d, %v", code, err)
	}
	if n := len(g.Requests()); n != 3 {
		t.Errorf("%d requests counted, want 3", n)
	}
	var answer *GiteaError
	if err := g.API(t.Context(), http.MethodGet, "/repos/no/where", nil, nil); !errors.As(err, &answer) || answer.Code != http.StatusNotFound {
		t.Errorf("a repository that isn't there: %v", err)
	}
	if username, password := g.Login(); !loggedIn(t, g, username, password) || loggedIn(t, g, username, "wrong") {
		t.Errorf("the login of %s", username)
	}
	dir := g.dir
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its folder is there: %v", err)
	}
}

func loggedIn(t *testing.T, g *Gitea, username, password string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL()+"/api/v1/user", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(username, password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func startGitea(t *testing.T) *Gitea {
	t.Helper()
	return started[*Gitea](t)(StartGitea(t.Context(), GiteaOptions{}))
}

// pushTo pushes one commit and returns its hash.
func pushTo(t *testing.T, url, branch string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Jane", "-c", "user.email=jane@example.com"}, args...)...)
		cmd.Env = append(repositories{root: dir}.env(), "GIT_TERMINAL_PROMPT=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch="+branch)
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("fleet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "--quiet", "-m", "first")
	git("push", "--quiet", url, branch)
	return git("rev-parse", "HEAD")
}
