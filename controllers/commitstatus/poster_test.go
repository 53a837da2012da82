package commitstatus

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const token = "CANARY-forge-token-0b5e55ed"

var (
	first  = strings.Repeat("a", 40)
	second = strings.Repeat("b", 40)
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// posting is a forge, and what posts there.
type posting struct {
	*testing.T
	*poster
	forge  *forgetest.Server
	clock  *clocktesting.FakeClock
	failed int // attempts that failed
}

func newPosting(t *testing.T) *posting {
	t.Helper()
	now := clocktesting.NewFakeClock(time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC))
	p := &posting{T: t, clock: now, forge: forgetest.StartGitea(t, forgetest.Options{Repository: "platform/fleet", Token: token, Now: now.Now})}
	p.forge.AddCommit(first)
	p.forge.AddCommit(second)
	p.start()
	return p
}

// start begins with an empty memory, as a new process does.
func (p *posting) start() {
	p.Helper()
	client, err := connect.To(connect.Config{Provider: forge.Gitea, URL: p.forge.GitURL(), APIURL: p.forge.URL(),
		Secret: map[string][]byte{"token": []byte(token)}, Options: forge.Options{Now: p.clock.Now}})
	must(p, err)
	p.poster = newPoster(client, p.clock, func(err error) error {
		if err != nil {
			p.failed++
		}
		return err
	})
}

// show posts statuses of a commit, written as CONTEXT STATE DESCRIPTION, and returns how many requests that took.
func (p *posting) show(hash string, texts ...string) (requests int) {
	p.Helper()
	before := len(p.forge.Requests())
	_, err := p.post(p.Context(), forge.Commit{Hash: hash}, statuses(texts...), func() error { return nil })
	must(p, err)
	return len(p.forge.Requests()) - before
}

func statuses(texts ...string) (list []forge.Status) {
	for _, text := range texts {
		parts := strings.SplitN(text, " ", 3)
		list = append(list, forge.Status{Context: parts[0], State: forge.State(parts[1]), Description: parts[2]})
	}
	return list
}

// posts compares all that was posted of a commit.
func (p *posting) posts(hash string, want ...string) {
	p.Helper()
	if got := posted(p.forge, hash); !slices.Equal(got, want) {
		p.Errorf("posted of %s: %q, want %q", hash[:10], got, want)
	}
}

func posted(server *forgetest.Server, hash string) (all []string) {
	for _, post := range server.Posts() {
		if post.Commit == hash {
			all = append(all, post.Context+" "+string(post.State)+" "+post.Description)
		}
	}
	return all
}

// TestPost posts only differences, and sends no request for what is settled, whatever happened before this process.
func TestPost(t *testing.T) {
	p := newPosting(t)
	if n := p.show(first, "a success yes", "b failure no"); n != 3 {
		t.Errorf("%d requests, want one that reads and two posts", n)
	}
	if n := p.show(first, "a success yes", "b failure no"); n != 0 {
		t.Errorf("%d requests for what is settled", n)
	}
	if n := p.show(first, "a success yes", "b success yes"); n != 2 {
		t.Errorf("%d requests for one difference", n)
	}
	p.start()
	if n := p.show(first, "a success yes", "b success yes"); n != 1 {
		t.Errorf("%d requests of a new process, want one that reads", n)
	}
	p.posts(first, "a success yes", "b failure no", "b success yes")
	p.keep(func(hash string) bool { return hash != first })
	if n := p.show(first, "a success yes"); n != 1 {
		t.Errorf("%d requests for a commit that was forgotten, want one that reads", n)
	}
}

// TestPendingIsRemembered posts a pending status only once it is recorded.
func TestPendingIsRemembered(t *testing.T) {
	p := newPosting(t)
	broken := errors.New("the API server is down")
	_, err := p.post(t.Context(), forge.Commit{Hash: first}, statuses("a pending begun"), func() error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	p.posts(first)
	remembered := 0
	_, err = p.post(t.Context(), forge.Commit{Hash: first}, statuses("a pending begun", "b success yes"), func() error {
		remembered++
		p.posts(first)
		return nil
	})
	must(t, err)
	if p.posts(first, "a pending begun", "b success yes"); remembered != 1 {
		t.Errorf("remembered %d times", remembered)
	}
	if p.ended(forge.Commit{Hash: first}, []string{"a", "b"}) || p.ended(forge.Commit{Hash: second}, []string{"a"}) {
		t.Error("a pending or unknown status counts as final")
	}
	if p.show(first, "a success yes"); !p.ended(forge.Commit{Hash: first}, []string{"a", "b"}) {
		t.Error("the final ones don't")
	}
}

// TestPace has one status change all the time. Other statuses don't wait for it.
func TestPace(t *testing.T) {
	p := newPosting(t)
	text := func(i int) string { return "a failure " + strings.Repeat("x", i+1) }
	for i := range paceBurst + 5 {
		p.show(first, text(i))
	}
	if n := len(posted(p.forge, first)); n != paceBurst {
		t.Errorf("%d posts at once, want %d", n, paceBurst)
	}
	wait, err := p.post(t.Context(), forge.Commit{Hash: first}, statuses(text(20), "b success yes"), nil)
	must(t, err)
	if got := posted(p.forge, first); wait != paceEvery || got[len(got)-1] != "b success yes" {
		t.Errorf("wait %s; posted %q", wait, got)
	}
	if n := p.behind(forge.Commit{Hash: first}, statuses(text(20), "b success yes")); n != 1 {
		t.Errorf("%d statuses are behind", n)
	}
	p.clock.Step(wait)
	p.show(first, text(21))
	if got := posted(p.forge, first); got[len(got)-1] != text(21) {
		t.Errorf("posted %q after the wait", got[len(got)-1])
	}
}

// TestRejected has a forge that rejects a status for good: it isn't tried again, and doesn't keep others from being posted.
func TestRejected(t *testing.T) {
	p := newPosting(t)
	p.forge.AnswerWith(rejectPosts)
	if n := p.show(first, "a success yes", "b success yes"); n != 3 || p.failed != 2 {
		t.Errorf("%d requests, %d failures", n, p.failed)
	}
	p.forge.AnswerWith(nil)
	if n := p.show(first, "a success yes", "b success yes"); n != 0 {
		t.Errorf("%d requests for what was rejected", n)
	}
	if n := p.behind(forge.Commit{Hash: first}, statuses("a success yes", "b success yes")); n != 2 || !strings.Contains(p.rejection(), "rejected") {
		t.Errorf("%d statuses are behind; %q", n, p.rejection())
	}
	if p.show(first, "a success again", "b success again"); p.rejection() != "" {
		t.Errorf("still rejected: %s", p.rejection())
	}
}

// rejectPosts reads as a forge without statuses does, and rejects every post.
func rejectPosts(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		forgetest.Status(http.StatusOK, `{"statuses": [], "total_count": 0}`, "Content-Type", "application/json")(w, r)
		return
	}
	forgetest.Status(http.StatusUnprocessableEntity, `{"message":"no"}`, "Content-Type", "application/json")(w, r)
}

// TestEnd ends only what is pending, and lets the same status be posted later.
func TestEnd(t *testing.T) {
	p := newPosting(t)
	p.show(first, "a success yes", "b pending begun")
	must(t, p.end(t.Context(), forge.Commit{Hash: first}, statuses("a error over", "b error over", "c error over")))
	p.posts(first, "a success yes", "b pending begun", "b error over")
	must(t, p.end(t.Context(), forge.Commit{Hash: first}, statuses("a error over", "b error over", "c error over")))
	p.posts(first, "a success yes", "b pending begun", "b error over")
	p.show(first, "b pending begun")
	p.posts(first, "a success yes", "b pending begun", "b error over", "b pending begun")
}
