package pullrequest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// TestLifeOfAPullRequest counts the forge's calls: at most 4 for a push, and one while nothing changes.
func TestLifeOfAPullRequest(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		head := s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
		s.look("opened", s.shows(1, head, forge.Success, "adds 1 cluster (asia)", "asia"))
		at := len(s.Requests())
		most := func(what string, n int) {
			t.Helper()
			if got := s.since(at); len(got) > n {
				t.Errorf("%s: %d calls, want at most %d:\n%s", what, len(got), n, strings.Join(got, "\n"))
			}
			at = len(s.Requests())
		}
		s.look("nothing changes", func() bool { return len(s.since(at)) > 0 })
		most("nothing changes", 1)
		head = s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "every night")})
		s.look("broken", s.shows(1, head, forge.Failure, "1 new error", "f/asia.yaml"))
		most("a push", 4)
		other := s.push(2, true, map[string]string{"f/us.yaml": plain("us", "9 1 * * *")})
		s.look("another one", s.shows(2, other, forge.Success, "keyless check: changes 1 cluster (us)", "/muster check "+other))
		most("a new one", 4)
		s.open(2, other, true) // it has not changed for an hour
		s.look("seen", func() bool { return true })
		at = len(s.Requests())
		s.look("nothing changes, with a fork", func() bool { return len(s.since(at)) > 0 })
		most("nothing changes, with a fork", 1)

		posts := len(s.Posts())
		s.start()
		s.look("after a restart", func() bool { return strings.HasPrefix(s.condition(), "True 2") })
		if len(s.Posts()) != posts || len(s.Commented(1)) != 1 || len(s.Commented(2)) != 1 {
			t.Errorf("a restart: %d new statuses, comments %d and %d", len(s.Posts())-posts, len(s.Commented(1)), len(s.Commented(2)))
		}
		s.DeleteComment(1)
		head = s.push(1, false, map[string]string{"f/africa.yaml": plain("africa", "7 1 * * *")})
		s.look("the comment was deleted", s.shows(1, head, forge.Success, "adds 1 cluster (africa)", "africa"))
		s.SetPullRequest(forgetest.PullRequest{PullRequest: forge.PullRequest{Number: 1, Head: head, Base: "main"}})
		s.look("closed", func() bool { return strings.HasPrefix(s.condition(), "True 1 pull") })
		a := s.checker.audited(key)
		a.mu.Lock()
		if len(a.pulls) != 1 || len(a.left) != 1 {
			t.Errorf("%d are kept, and %d numbers", len(a.pulls), len(a.left))
		}
		a.mu.Unlock()
		s.clean()
	})
}

// TestPathOfAPullRequest: one that removes the whole path, or adds it, gets an answer.
func TestPathOfAPullRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.Gitea)
	head := s.push(1, false, map[string]string{"f": ""})
	link := s.push(2, false, map[string]string{"f": "", "f @120000": "docs"})
	s.look("removed", s.shows(1, head, forge.Failure, "1 new error", "no YAML files"))
	s.look("a link", func() bool {
		return strings.Contains(s.Shown(link)[planned].Description, "symbolic link") && strings.HasPrefix(s.condition(), "True")
	})
	s.commit("refs/heads/main", "refs/heads/main^0", map[string]string{"f": ""})
	added := s.push(3, false, map[string]string{"f/config.yaml": config, "f/us.yaml": plain("us", "5 1 * * *")})
	s.look("added", s.shows(3, added, forge.Success, "adds 1 cluster (us)", "us"))
}

// TestFailingForge: a forge that fails is left alone, and the answers come when it is back, each once.
func TestFailingForge(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		heads := map[int64]string{}
		for number := range int64(12) {
			heads[number+1] = s.push(number+1, false, map[string]string{"f/asia.yaml": plain("asia", fmt.Sprintf("%d 1 * * *", number))})
		}
		// The first comments are written, but the answers are lost.
		lost := atomic.Int64{}
		method := func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
			if lost.Add(1) > 3 {
				next(w, r)
				return
			}
			next(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		suffix := "/comments"
		if s.Provider() == forge.GitLab {
			suffix = "/notes"
		}
		s.AnswerSome(http.MethodPost, suffix, method)
		s.look("answered", func() bool {
			for number, head := range heads {
				if !s.shows(number, head, forge.Success, "adds 1 cluster (asia)")() {
					return false
				}
			}
			return true
		})
		if n := len(s.Requests()); n > 12*8 {
			t.Errorf("%d requests", n)
		}
		for number := range heads {
			if n := len(s.Commented(number)); n != 1 {
				t.Errorf("#%d has %d comments", number, n)
			}
		}
	})
}

// discard is an answer that gets lost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// TestFailingComment: in a locked conversation there is the status alone, and the forge is not asked again and again.
func TestFailingComment(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.GitHub)
	s.AnswerSome(http.MethodPost, "/comments", func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		forgetest.Status(http.StatusForbidden, `{"message":"Unable to create comment because issue is locked."}`)(w, r)
	})
	head := s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
	s.look("the status", func() bool {
		return s.Shown(head)[planned].State == forge.Success && strings.Contains(s.condition(), "#1")
	})
	before := len(s.Requests())
	s.look("again", func() bool { return true })
	if got := s.since(before); len(got) > 1 {
		t.Errorf("asked again: %s", strings.Join(got, "\n"))
	}
}

// TestForgetDuringTheWork: the end of an AuditSync ends its checks at once, and leaves nothing.
func TestForgetDuringTheWork(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.Gitea)
	for number := range int64(8) {
		s.push(number+1, false, map[string]string{"f/asia.yaml": plain("asia", fmt.Sprintf("%d 1 * * *", number))})
	}
	for range 5 {
		s.gone.Store(false)
		s.checker.Look(key)
		time.Sleep(150 * time.Millisecond)
		s.gone.Store(true)
		began := time.Now()
		s.checker.Forget(key)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("forgetting took %s", took)
		}
	}
	s.look("at rest", func() bool {
		s.checker.mu.Lock()
		defer s.checker.mu.Unlock()
		return len(s.checker.syncs) == 0
	})
}

// TestListedDuringTheWork: a list that comes during a check doesn't give it another head.
func TestListedDuringTheWork(t *testing.T) {
	a := newAudited(t.TempDir(), limits)
	opened := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	list := func(head string, updated time.Time, items ...int64) *forge.PullRequestList {
		l := &forge.PullRequestList{}
		for _, number := range items {
			l.Items = append(l.Items, forge.PullRequest{Number: number, Head: head, Base: "main", Fork: true, Open: true, Updated: updated})
		}
		return l
	}
	if _, _, listed := a.pull(1); listed {
		t.Error("listed before the list")
	}
	a.listed(list("a", opened, 1), "v", opened)
	p, now, listed := a.pull(1)
	a.listed(list("b", opened, 1), "v", opened)
	if !listed || now.Head != "a" || p.Head != "b" {
		t.Errorf("head %s during the work, %s after it", now.Head, p.Head)
	}
	a.answered(p, answerKey(now.PullRequest, "v")+"keyless", opened)
	if due := a.listed(list("b", opened, 1), "v", opened.Add(time.Hour)); len(due) != 1 {
		t.Errorf("after a push: %v", due)
	}
	for _, row := range []struct {
		reason        string
		seen, updated time.Time
		due           int
	}{{"no news", opened, opened, 0}, {"perhaps in the same second", time.Time{}, opened, 1}, {"a comment", opened, opened.Add(time.Second), 1}, {"the forge has no times", time.Time{}, time.Time{}, 1}} {
		a.answered(p, answerKey(p.PullRequest, "v")+"keyless", row.seen)
		if due := a.listed(list("b", row.updated, 1), "v", opened); len(due) != row.due {
			t.Errorf("%s: %v", row.reason, due)
		}
	}
	// Closed, and opened again: what was allowed before doesn't count.
	if due := a.listed(list("b", opened, 2), "v", opened); !slices.Contains(due, 1) {
		t.Errorf("closed: %v", due)
	}
	a.leave(1)
	a.listed(list("b", opened.Add(time.Hour), 1, 2), "v", opened)
	if _, now, _ := a.pull(1); !now.since.Equal(opened.Add(time.Hour)) {
		t.Errorf("reopened at %s", now.since)
	}
	// Gone and back before the answer was taken back.
	a.answered(a.pulls[1], answerKey(p.PullRequest, "v")+"allowed", opened)
	a.listed(list("b", opened, 2), "v", opened)
	due := a.listed(list("b", opened.Add(2*time.Hour), 1, 2), "v", opened)
	a.leave(1)
	if _, now, listed := a.pull(1); !listed || !now.since.Equal(opened.Add(2*time.Hour)) || !slices.Contains(due, 1) {
		t.Errorf("back at %s, listed %t, due %v", now.since, listed, due)
	}
	a.reset(true)
	a.listed(list("b", opened.Add(time.Hour), 1, 2), "v", opened)
	if p, now, _ := a.pull(1); now.since.IsZero() || !p.inherited {
		t.Error("other credentials for the same repository forgot when it was reopened")
	}
}

// TestPrefetch: heads are fetched together if several have no answer for this version, but not again if that has failed. What a look has
// found of the base holds for its version alone.
func TestPrefetch(t *testing.T) {
	a := newAudited(t.TempDir(), limits)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	list := func(items ...int64) *forge.PullRequestList {
		l := &forge.PullRequestList{}
		for _, number := range items {
			l.Items = append(l.Items, forge.PullRequest{Number: number, Head: "h", Base: "main", Open: true})
		}
		return l
	}
	wants := func(reason, version string, want ...string) {
		t.Helper()
		if got := a.unanswered(forge.Gitea, version); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	knows := func(reason, version string, want gitsync.Known) {
		t.Helper()
		if got := a.commits("h", version); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	answer := func(number int64, version string) {
		p := a.pulls[number]
		a.answered(p, answerKey(p.PullRequest, version)+"full", now)
	}
	wants("before the list", "v1")
	a.listed(list(1, 2, 3, 4), "v1", now)
	answer(2, "v1")
	wants("all but the answered one", "v1", "refs/pull/1/head", "refs/pull/3/head", "refs/pull/4/head")
	a.fetched("base", "v1")
	knows("after the look", "v1", gitsync.Known{Base: "base", Head: "h"})
	knows("the branch may have moved", "v2", gitsync.Known{})
	a.listed(list(1, 2, 3), "v1", now)
	wants("one is closed", "v1", "refs/pull/1/head", "refs/pull/3/head")
	a.fetched("", "v1")
	wants("it has failed", "v1")
	wants("it has failed for another version", "v2", "refs/pull/1/head", "refs/pull/2/head", "refs/pull/3/head")
	a.fetched("base", "v2")
	answer(1, "v2")
	answer(2, "v2")
	wants("one is not worth it", "v2")
	knows("the check of the one asks", "v2", gitsync.Known{})
	var many []int64
	for number := range int64(2 * maxPrefetch) {
		many = append(many, number+1)
	}
	a.listed(list(many...), "v3", now)
	if got := a.unanswered(forge.Gitea, "v3"); len(got) != maxPrefetch {
		t.Errorf("of many pull requests, %d are fetched at once, want %d", len(got), maxPrefetch)
	}
}

// TestMovedHead: while the forge's API and its repository differ, they are asked less and less often.
func TestMovedHead(t *testing.T) {
	w := &answering{pull: &shown{}}
	var waits []time.Duration
	for range 30 {
		moved := w.moved("b").(*movedError) //nolint:errorlint,forcetypeassert // it is one
		waits = append(waits, moved.wait)
	}
	if waits[0] != time.Second || waits[3] != 8*time.Second || waits[29] != refusedRetry {
		t.Errorf("%s", waits)
	}
}
