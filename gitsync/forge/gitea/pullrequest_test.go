package gitea_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// reviews is a repository with pull requests, the token that Muster would have, and that of a reader.
type reviews struct {
	*testing.T
	name, dir, gitURL string
	token, reader     string
	client            connect.Client
}

func startReviews(t *testing.T, name string) *reviews {
	t.Helper()
	r := &reviews{T: t, name: "platform/" + name, dir: t.TempDir()}
	var err error
	if r.gitURL, err = live.CreateRepository(t.Context(), r.name); err != nil {
		t.Fatal(err)
	}
	r.token = r.user(name+"-keeper", "admin", "write:repository", "write:issue", "read:user")
	r.reader = r.user(name+"-reader", "read", "write:repository", "write:issue", "read:user")
	if _, err := push(t.Context(), r.dir, r.as(name+"-keeper", r.token)); err != nil {
		t.Fatal(err)
	}
	r.awaitPush()
	r.client = client(t, r.gitURL, map[string]string{"token": r.token})
	return r
}

// awaitPush waits until Gitea has noticed the first push. Before that there are no pull requests.
func (r *reviews) awaitPush() {
	r.Helper()
	for empty := true; empty; {
		var repository struct {
			Empty bool `json:"empty"`
		}
		if err := live.API(r.Context(), http.MethodGet, "/repos/"+r.name, nil, &repository); err != nil {
			r.Fatal(err)
		}
		empty = repository.Empty
	}
}

func (r *reviews) user(name, permission string, scopes ...string) (token string) {
	r.Helper()
	token, err := live.CreateUser(r.Context(), name, scopes...)
	if err != nil {
		r.Fatal(err)
	}
	if err := live.AddCollaborator(r.Context(), r.name, name, permission); err != nil {
		r.Fatal(err)
	}
	return token
}

func (r *reviews) as(user, token string) string {
	return strings.Replace(r.gitURL, "://", "://"+user+":"+token+"@", 1)
}

func (r *reviews) git(args ...string) string {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), "git", append([]string{"-c", "user.name=Jane", "-c", "user.email=jane@example.com"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit makes a branch with one commit on main, and returns its hash.
func (r *reviews) commit(branch string) string {
	r.Helper()
	r.git("checkout", "--quiet", "-B", branch, "main")
	if err := os.WriteFile(filepath.Join(r.dir, branch+".yaml"), []byte("kind: ExternalCluster\n"), 0o600); err != nil {
		r.Fatal(err)
	}
	r.git("add", ".")
	r.git("commit", "--quiet", "-m", "add "+branch)
	return r.git("rev-parse", "HEAD")
}

// open opens a pull request in the name of a user.
func (r *reviews) open(user, head, title string) int64 {
	r.Helper()
	var opened struct {
		Number int64 `json:"number"`
	}
	if err := live.API(r.Context(), http.MethodPost, "/repos/"+r.name+"/pulls?sudo="+user,
		map[string]any{"head": head, "base": "main", "title": title, "body": strings.Repeat("text ", 2000)}, &opened); err != nil {
		r.Fatal(err)
	}
	return opened.Number
}

// A reader can open pull requests from a fork, and by a push to refs/for/. Both are a fork's, also without the fork.
func TestPullRequestsOnRealGitea(t *testing.T) {
	r := startReviews(t, "pulls")
	list, err := r.client.PullRequests(t.Context(), "main", nil)
	if err != nil || len(list.Items) != 0 {
		t.Errorf("none: %+v, %v", list, err)
	}
	keeper, reader, fork := "pulls-keeper", "pulls-reader", strings.Replace(r.gitURL, "/platform/", "/pulls-reader/", 1)

	ours := r.commit("ours")
	r.git("push", "--quiet", r.as(keeper, r.token), "ours")
	branch := r.open(keeper, "ours", "from a branch")

	theirs := r.commit("theirs")
	if err := live.API(t.Context(), http.MethodPost, "/repos/"+r.name+"/forks?sudo="+reader, map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	r.git("push", "--quiet", strings.Replace(fork, "://", "://"+reader+":"+r.reader+"@", 1), "theirs")
	forked := r.open(reader, reader+":theirs", "WIP: from a fork")

	pushed := r.commit("pushed")
	r.git("push", "--quiet", r.as(reader, r.reader), "HEAD:refs/for/main", "-o", "topic=pushed", "-o", "title=pushed by a reader")

	want := []forge.PullRequest{
		{Number: branch, Head: ours, Author: keeper},
		{Number: forked, Head: theirs, Author: reader, Fork: true, Draft: true},
		{Number: forked + 1, Head: pushed, Author: reader, Fork: true},
	}
	for i := range want {
		want[i].Base, want[i].Open, want[i].URL = "main", true, fmt.Sprintf("%s/%s/pulls/%d", live.URL(), r.name, want[i].Number)
		one, err := r.client.PullRequest(t.Context(), want[i].Number)
		want[i].Updated = one.Updated
		if err != nil || one != want[i] || one.Updated.IsZero() {
			t.Errorf("%+v, %v, want %+v", one, err, want[i])
		}
		if ref := r.git("ls-remote", r.as(keeper, r.token), forge.HeadRef(forge.Gitea, want[i].Number)); !strings.HasPrefix(ref, want[i].Head) {
			t.Errorf("the head's ref is at %q", ref)
		}
	}
	list, err = r.client.PullRequests(t.Context(), "main", list)
	if err != nil || list.Unchanged || !reflect.DeepEqual(list.Items, want) {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = r.client.PullRequests(t.Context(), "main", list); err != nil || !list.Unchanged {
		t.Errorf("again: %+v, %v", list, err)
	}
	time.Sleep(1100 * time.Millisecond) // its times have no fractions
	if _, err := r.client.CreateComment(t.Context(), branch, "a comment"); err != nil {
		t.Fatal(err)
	}
	if one, err := r.client.PullRequest(t.Context(), branch); err != nil || !one.Updated.After(want[0].Updated) {
		t.Errorf("after a comment: %+v, %v", one, err)
	}
	if other, err := r.client.PullRequests(t.Context(), "release", nil); err != nil || len(other.Items) != 0 {
		t.Errorf("into another branch: %+v, %v", other, err)
	}

	// What happens to them.
	if err := live.API(t.Context(), http.MethodDelete, "/repos/pulls-reader/pulls", nil, nil); err != nil {
		t.Fatal(err)
	}
	if one, err := r.client.PullRequest(t.Context(), forked); err != nil || !one.Fork || one.Head != theirs {
		t.Errorf("without its repository: %+v, %v", one, err)
	}
	if err := live.API(t.Context(), http.MethodPatch, fmt.Sprintf("/repos/%s/pulls/%d", r.name, forked), map[string]any{"state": "closed"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := live.API(t.Context(), http.MethodPost, fmt.Sprintf("/repos/%s/pulls/%d/merge", r.name, branch), map[string]any{"Do": "merge", "delete_branch_after_merge": true}, nil); err != nil {
		t.Fatal(err)
	}
	closed, errClosed := r.client.PullRequest(t.Context(), forked)
	merged, errMerged := r.client.PullRequest(t.Context(), branch)
	if errClosed != nil || errMerged != nil || closed.Open || closed.Merged || merged.Open || !merged.Merged {
		t.Errorf("closed %+v, %v; merged %+v, %v", closed, errClosed, merged, errMerged)
	}
	list, err = r.client.PullRequests(t.Context(), "main", list)
	if err != nil || list.Unchanged || len(list.Items) != 1 || list.Items[0].Number != forked+1 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := r.client.PullRequest(t.Context(), 99); !as[*forge.NotFoundError](err) {
		t.Errorf("no such one: %v", err)
	}
}

// The pull request of a commit is found however it was merged, with the head that was merged.
func TestMergedAsOnRealGitea(t *testing.T) {
	r := startReviews(t, "merges")
	keeper := "merges-keeper"
	for _, way := range []string{"merge", "squash", "rebase", "rebase-merge", "fast-forward-only"} {
		r.git("fetch", "--quiet", r.as(keeper, r.token), "+main:refs/remotes/origin/main")
		r.git("checkout", "--quiet", "--detach")
		r.git("branch", "--quiet", "--force", "main", "origin/main")
		head := r.commit(way)
		r.git("push", "--quiet", r.as(keeper, r.token), way)
		number := r.open(keeper, way, way)
		for attempt := 0; ; attempt++ { // until Gitea has checked for conflicts
			err := live.API(t.Context(), http.MethodPost, fmt.Sprintf("/repos/%s/pulls/%d/merge", r.name, number), map[string]any{"Do": way}, nil)
			if err == nil {
				break
			}
			if attempt == 100 {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		r.commit(way)
		r.git("commit", "--quiet", "--allow-empty", "-m", "after the merge")
		r.git("push", "--quiet", "--force", r.as(keeper, r.token), way) // the branch goes on
		merged := strings.Fields(r.git("ls-remote", r.as(keeper, r.token), "refs/heads/main"))[0]
		got, err := r.client.MergedAs(t.Context(), forge.Commit{Hash: merged}, "main")
		if err != nil || len(got) != 1 || got[0].Number != number || got[0].Head != head || got[0].Fork || !got[0].Merged {
			t.Errorf("%s: %+v, %v, want #%d with %s", way, got, err, number, head)
		}
		if got, err := r.client.MergedAs(t.Context(), forge.Commit{Hash: merged}, "release"); err != nil || len(got) != 0 {
			t.Errorf("%s, into another branch: %+v, %v", way, got, err)
		}
		if got, err := r.client.MergedAs(t.Context(), forge.Commit{Hash: strings.Repeat("0a", 20)}, "main"); err != nil || len(got) != 0 {
			t.Errorf("another commit: %+v, %v", got, err)
		}
	}
}

// More than a page of 50.
func TestManyPullRequestsOnRealGitea(t *testing.T) {
	r := startReviews(t, "many")
	const n = 53
	refs := []string{"push", "--quiet", r.as("many-keeper", r.token)}
	for i := range n {
		branch := fmt.Sprint("b", i)
		r.commit(branch)
		refs = append(refs, branch)
	}
	r.git(refs...)
	for i := range n {
		r.open("many-keeper", fmt.Sprint("b", i), fmt.Sprint("number ", i))
	}
	list, err := r.client.PullRequests(t.Context(), "main", nil)
	if err != nil || len(list.Items) != n || !slices.IsSortedFunc(list.Items, func(a, b forge.PullRequest) int { return int(a.Number - b.Number) }) {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestCommentsOnRealGitea(t *testing.T) {
	ctx := t.Context()
	r := startReviews(t, "talk")
	r.commit("ours")
	r.git("push", "--quiet", r.as("talk-keeper", r.token), "ours")
	n := r.open("talk-keeper", "ours", "one")

	me, err := r.client.Self(ctx)
	if err != nil || me.Login != "talk-keeper" || me.ID == 0 {
		t.Fatalf("%+v, %v", me, err)
	}
	if got, err := r.client.Comments(ctx, n); err != nil || len(got) != 0 {
		t.Errorf("none: %+v, %v", got, err)
	}
	long := "<!-- muster:production -->\n# 12 clusters\r\n/close\n🚀 日本 &lt;b&gt; \"\\\n" + strings.Repeat("<", 50_000) + "\n"
	first, err := r.client.CreateComment(ctx, n, "first")
	if err != nil || first.AuthorID != me.ID || first.Author != me.Login || first.Body != "first" {
		t.Fatalf("%+v, %v", first, err)
	}
	const others = 60 // more than a page of other lists
	for i := range others {
		if err := live.API(ctx, http.MethodPost, fmt.Sprintf("/repos/%s/issues/%d/comments?sudo=talk-reader", r.name, n), map[string]any{"body": fmt.Sprint("comment ", i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.client.UpdateComment(ctx, n, first.ID, long); err != nil {
		t.Fatal(err)
	}
	got, err := r.client.Comments(ctx, n)
	if err != nil || len(got) != 1+others || got[0].ID != first.ID || got[0].Body != long || got[others].Body != fmt.Sprint("comment ", others-1) ||
		got[1].Author != "talk-reader" || got[1].AuthorID == me.ID {
		t.Fatalf("%d comments, %v", len(got), err)
	}
	if err := live.API(ctx, http.MethodDelete, fmt.Sprintf("/repos/%s/issues/comments/%d", r.name, first.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.client.UpdateComment(ctx, n, first.ID, "x"); !as[*forge.NotFoundError](err) {
		t.Errorf("a comment that was deleted: %v", err)
	}
	reader := client(t, r.gitURL, map[string]string{"token": r.reader})
	if err := reader.UpdateComment(ctx, n, r.comment(ctx, n), "x"); !as[*forge.RefusedError](err) {
		t.Errorf("somebody else's comment: %v", err)
	}
	if _, err := r.client.CreateComment(ctx, 99, "x"); !as[*forge.UnavailableError](err) {
		t.Errorf("a pull request that isn't there: %v", err)
	}
	if _, err := r.client.Comments(ctx, 99); !as[*forge.UnavailableError](err) {
		t.Errorf("a pull request that isn't there: %v", err)
	}
}

func (r *reviews) comment(ctx context.Context, n int64) int64 {
	r.Helper()
	c, err := r.client.CreateComment(ctx, n, "mine")
	if err != nil {
		r.Fatal(err)
	}
	return c.ID
}

func TestCanWriteOnRealGitea(t *testing.T) {
	ctx := t.Context()
	r := startReviews(t, "rights")
	r.user("rights-writer", "write", "read:user")
	if _, err := live.CreateUser(ctx, "rights-stranger", "read:user"); err != nil {
		t.Fatal(err)
	}
	idOf := func(login string) int64 {
		var u struct {
			ID int64 `json:"id"`
		}
		if err := live.API(ctx, http.MethodGet, "/users/"+login, nil, &u); err != nil {
			t.Fatal(err)
		}
		return u.ID
	}
	can := func(c connect.Client, login string, id int64) (bool, error) {
		return c.CanWrite(ctx, forge.User{ID: id, Login: login})
	}
	for login, want := range map[string]bool{"rights-keeper": true, "rights-writer": true, "rights-reader": false, "rights-stranger": false, "administrator": true} {
		if got, err := can(r.client, login, idOf(login)); err != nil || got != want {
			t.Errorf("%s: %t, %v", login, got, err)
		}
	}
	if got, err := can(r.client, "rights-writer", idOf("rights-reader")); err != nil || got {
		t.Errorf("a writer's login with another id: %t, %v", got, err)
	}
	if got, err := can(r.client, "rights-nobody", 12345); err != nil || got {
		t.Errorf("a login that isn't there: %t, %v", got, err)
	}
	if err := live.AddCollaborator(ctx, r.name, "rights-writer", "read"); err != nil {
		t.Fatal(err)
	}
	if got, err := can(r.client, "rights-writer", idOf("rights-writer")); err != nil || got {
		t.Errorf("without the permission: %t, %v", got, err)
	}
	reader := client(t, r.gitURL, map[string]string{"token": r.reader})
	if _, err := can(reader, "rights-keeper", idOf("rights-keeper")); !as[*forge.RefusedError](err) || !strings.Contains(err.Error(), "administrator") {
		t.Errorf("asked by a reader: %v", err)
	}
	other := client(t, live.URL()+"/platform/other.git", map[string]string{"token": r.token})
	if _, err := can(other, "rights-keeper", idOf("rights-keeper")); !as[*forge.NotFoundError](err) {
		t.Errorf("in a repository that isn't there: %v", err)
	}
}

// A token for statuses alone gets an error that names the scopes.
func TestScopesOfRealGitea(t *testing.T) {
	r := startReviews(t, "scopes")
	few := client(t, r.gitURL, map[string]string{"token": r.user("scopes-few", "admin", "write:repository")})
	r.commit("ours")
	r.git("push", "--quiet", r.as("scopes-keeper", r.token), "ours")
	n := r.open("scopes-keeper", "ours", "one")
	_, errComments := few.Comments(t.Context(), n)
	_, errCreate := few.CreateComment(t.Context(), n, "x")
	_, errSelf := few.Self(t.Context())
	for _, err := range []error{errComments, errCreate, errSelf} {
		if !as[*forge.RefusedError](err) || !strings.Contains(err.Error(), "write:issue and read:user") {
			t.Errorf("%v", err)
		}
	}
	if _, err := few.PullRequest(t.Context(), n); err != nil {
		t.Errorf("reading needs no more: %v", err)
	}
}
