package gitea_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// live is a real Gitea with the repository platform/fleet, one commit in it, and the robot who may write there.
var live struct {
	*server.Gitea
	gitURL, commit, token string
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if server.Short() {
		return 0
	}
	dir, err := os.MkdirTemp("", "muster-gitea-test-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = startReal(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := live.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}

func startReal(ctx context.Context, dir string) (err error) {
	if live.Gitea, err = server.StartGitea(ctx, server.GiteaOptions{}); err != nil {
		return err
	}
	if live.gitURL, err = live.CreateRepository(ctx, "platform/fleet"); err != nil {
		return err
	}
	if live.token, err = live.CreateUser(ctx, "robot", "write:repository"); err != nil {
		return err
	}
	if err := live.AddCollaborator(ctx, "platform/fleet", "robot", "write"); err != nil {
		return err
	}
	live.commit, err = push(ctx, dir, strings.Replace(live.gitURL, "://", "://robot:"+live.token+"@", 1))
	return err
}

func push(ctx context.Context, dir, url string) (commit string, err error) {
	if err := os.WriteFile(filepath.Join(dir, "cluster.yaml"), []byte("kind: ExternalCluster\n"), 0o600); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"add", "."},
		{"-c", "user.name=Jane", "-c", "user.email=jane@example.com", "commit", "--quiet", "-m", "a cluster"},
		{"push", "--quiet", url, "main"}, {"rev-parse", "HEAD"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
		commit = strings.TrimSpace(string(out))
	}
	return commit, nil
}

func client(t *testing.T, gitURL string, secret map[string]string) connect.Client {
	t.Helper()
	data := map[string][]byte{}
	for key, value := range secret {
		data[key] = []byte(value)
	}
	c, err := connect.To(connect.Config{Provider: forge.Gitea, URL: gitURL, Secret: data})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is set is shown as it was set, by each kind of credentials, and is not set again.
func TestOnRealGitea(t *testing.T) {
	ctx := t.Context()
	commit := forge.Commit{Hash: live.commit, Branch: "main"}
	long := strings.Repeat("prod-eu-west-1: the kubeconfig has expired, ", 20)
	posts := live.StatusPosts("platform/fleet", live.commit)
	for i, tt := range []struct {
		reason string
		secret map[string]string
		status forge.Status
	}{
		{"a token", map[string]string{"token": live.token}, forge.Status{State: forge.Pending, Description: "rendering"}},
		{"a bearer token", map[string]string{"bearerToken": live.token}, forge.Status{State: forge.Failure, Description: long}},
		{"the same Secret as for Git", map[string]string{"username": "robot", "password": live.token},
			forge.Status{State: forge.Error, Description: "🚀 emoji, <b>markup</b> & 日本語", TargetURL: "https://muster.example.com/a?b=c&d=%20"}},
		{"no description", map[string]string{"token": live.token}, forge.Status{State: forge.Success}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			c := client(t, live.gitURL, tt.secret)
			tt.status.Context = "muster/production"
			for range 2 {
				shown, err := c.Statuses(ctx, commit, []string{tt.status.Context, "muster/production/drift"})
				if err != nil {
					t.Fatal(err)
				}
				if c.UpToDate(shown[tt.status.Context], tt.status) {
					continue
				}
				if err := c.SetStatus(ctx, commit, tt.status); err != nil {
					t.Fatal(err)
				}
			}
			if n := live.StatusPosts("platform/fleet", live.commit) - posts; n != i+1 {
				t.Errorf("%d posts, want %d", n, i+1)
			}
		})
	}
}

// More contexts than a page holds, several in the same second.
func TestManyContexts(t *testing.T) {
	ctx := t.Context()
	commit := forge.Commit{Hash: live.commit}
	c := client(t, live.gitURL, map[string]string{"token": live.token})
	want := map[string]forge.Status{}
	var names []string
	for i := range 65 {
		s := forge.Status{Context: fmt.Sprintf("many/%d", i), State: forge.Pending}
		for _, state := range []forge.State{forge.Pending, forge.Success}[:1+i%2] {
			s.State = state
			if err := c.SetStatus(ctx, commit, s); err != nil {
				t.Fatal(err)
			}
		}
		want[s.Context], names = s, append(names, s.Context)
	}
	shown, err := c.Statuses(ctx, commit, append(names, "absent"))
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != len(want) {
		t.Errorf("%d contexts, want %d", len(shown), len(want))
	}
	for name, s := range want {
		if shown[name] != s {
			t.Errorf("%s: %+v, want %+v", name, shown[name], s)
		}
	}
}

func TestRefusalsOfRealGitea(t *testing.T) {
	ctx := t.Context()
	reading, err := live.CreateUser(ctx, "reader", "read:repository")
	if err != nil {
		t.Fatal(err)
	}
	writing, err := live.CreateUser(ctx, "guest", "write:repository")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := live.CreateUser(ctx, "stranger", "write:repository")
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"reader", "guest"} {
		if err := live.AddCollaborator(ctx, "platform/fleet", user, map[string]string{"reader": "write", "guest": "read"}[user]); err != nil {
			t.Fatal(err)
		}
	}
	here, absent := forge.Commit{Hash: live.commit}, forge.Commit{Hash: strings.Repeat("0", 40)}
	status := forge.Status{Context: "refused", State: forge.Success}
	for _, tt := range []struct {
		reason        string
		token, url    string
		commit        forge.Commit
		read, written func(error) bool
	}{
		{"an unknown token", "c0ffee", live.gitURL, here, as[*forge.RefusedError], as[*forge.RefusedError]},
		{"a token without the scope", reading, live.gitURL, here, none, as[*forge.RefusedError]},
		{"a user without the right", writing, live.gitURL, here, none, as[*forge.RefusedError]},
		{"a user who may not see the repository", stranger, live.gitURL, here, as[*forge.NotFoundError], as[*forge.NotFoundError]},
		{"no such repository", live.token, live.URL() + "/platform/other.git", here, as[*forge.NotFoundError], as[*forge.NotFoundError]},
		{"no such commit", live.token, live.gitURL, absent, as[*forge.NotFoundError], as[*forge.UnavailableError]},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			c := client(t, tt.url, map[string]string{"token": tt.token})
			_, errRead := c.Statuses(ctx, tt.commit, []string{"refused"})
			if !tt.read(errRead) {
				t.Errorf("read: %v", errRead)
			}
			errWrite := c.SetStatus(ctx, tt.commit, status)
			if !tt.written(errWrite) {
				t.Errorf("write: %v", errWrite)
			}
			for _, err := range []error{errRead, errWrite} {
				if err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), tt.token) {
					t.Errorf("an error holds the token: %v", err)
				}
			}
		})
	}
}

func TestRealGiteaThatIsAway(t *testing.T) {
	c := client(t, live.gitURL, map[string]string{"token": live.token})
	read := func() error {
		_, err := c.Statuses(t.Context(), forge.Commit{Hash: live.commit}, []string{"away"})
		return err
	}
	live.SetDown(true)
	errDown := read()
	live.SetDown(false)
	live.SetDropping(true)
	errDropping := read()
	live.SetDropping(false)
	for _, err := range []error{errDown, errDropping} {
		if e, ok := errors.AsType[*forge.UnavailableError](err); !ok || e.RetryAfter < time.Second {
			t.Errorf("%v", err)
		}
	}
	if err := read(); err != nil {
		t.Errorf("back again: %v", err)
	}
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func none(err error) bool { return err == nil }
