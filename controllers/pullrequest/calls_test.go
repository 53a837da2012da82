package pullrequest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// TestCalls holds how often the forge is asked: at most four times for a push, whatever the head is, and once, for the list,
// while nothing changes.
func TestCalls(t *testing.T) {
	const most = 4
	missing := forgetest.Status(http.StatusNotFound, `{"message": "404 References for commit Not Found"}`)
	for _, row := range []struct {
		reason string
		fork   bool
		status http.HandlerFunc // answers what sets one
	}{
		{"a branch", false, nil},
		{"a fork", true, nil},
		{"a fork whose project may not be written to", true, missing},
		{"a token that may not set statuses", false, forgetest.Status(http.StatusForbidden, `{"message": "403 Forbidden"}`)},
	} {
		t.Run(row.reason, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, s *stage) {
				s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
				s.look("the account is known", func() bool { return len(s.Commented(1)) == 1 })
				if row.status != nil {
					s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
						if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/statuses/") {
							row.status(w, r)
							return
						}
						s.Answer(w, r)
					})
				}
				for _, schedule := range []string{"7 1 * * *", "8 1 * * *", "every night", "9 1 * * *"} {
					before := len(s.Requests())
					head := s.push(2, row.fork, map[string]string{"f/us.yaml": plain("us", schedule)})
					s.look("a push", func() bool { return len(s.Commented(2)) == 1 && strings.Contains(s.Commented(2)[0], head) })
					if calls := s.since(before); len(calls) > most {
						t.Errorf("%s: %d calls, want at most %d:\n%s", schedule, len(calls), most, strings.Join(calls, "\n"))
					}
					if shown := s.Shown(head)[planned].State != ""; shown != (row.status == nil) {
						t.Errorf("%s: a status is shown: %t", schedule, shown)
					}
				}
				s.quiet()
			})
		})
	}
}

// TestGitCalls holds how often the repository is asked: for many pull requests as often as for one.
func TestGitCalls(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.Gitea)
	const most = 2 // the list of refs and a pack
	heads := map[int64]string{}
	answered := func(base string) func() bool {
		return func() bool {
			for number, head := range heads {
				if !s.shows(number, head, forge.Success, "", head, base)() {
					return false
				}
			}
			return true
		}
	}
	for number := range int64(9) {
		heads[number+1] = s.push(number+1, number%3 == 2, map[string]string{"f/us.yaml": plain("us", fmt.Sprint(number, " 9 * * *"))})
	}
	for _, reason := range []string{"all are new", "the base has moved", "again"} {
		before := len(s.repositories.Requests())
		s.look(reason, answered(s.version.Load().(string)))
		if calls := s.repositories.Requests()[before:]; len(calls) > most {
			t.Errorf("%s: %d calls, want at most %d: %s", reason, len(calls), most, calls)
		}
		s.commit("refs/heads/main", "refs/heads/main^0", map[string]string{"docs/a": reason})
	}
	heads[4] = s.push(4, false, map[string]string{"f/us.yaml": plain("us", "10 9 * * *")})
	s.look("a push to one, and another base", answered(s.version.Load().(string)))
}

// quiet holds that the list alone is asked for while nothing changes. A fork's comments are read until there can be none that the
// time of the last change doesn't show.
func (s *stage) quiet() {
	s.Helper()
	s.clock.Step(2 * settled)
	s.look("settled", func() bool { return true })
	for range 5 {
		before := len(s.Requests())
		s.look("nothing changes", func() bool { return true })
		if calls := s.since(before); len(calls) != 1 || !strings.HasPrefix(calls[0], http.MethodGet) || !strings.HasSuffix(calls[0], lists[s.Provider()]) {
			s.Errorf("nothing changes: %s", strings.Join(calls, "\n"))
		}
		s.clock.Step(time.Minute)
		s.rest()
	}
}

// TestPendingOnlyIfItTakesLong: the statuses of a head are the result alone, or pending after a second and then the result.
func TestPendingOnlyIfItTakesLong(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		hold := make(chan struct{})
		s.hold.Store(&hold)
		head := s.push(1, false, map[string]string{"f/eu.yaml": sealed(t, s.key, "eu", "CANARY-new")})
		s.checker.Look(key)
		for s.opened.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		s.clock.Step(patience - time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		if posts := s.Posts(); len(posts) != 0 {
			t.Errorf("before a second: %+v", posts)
		}
		s.clock.Step(time.Millisecond)
		for deadline := time.Now().Add(10 * time.Second); len(s.Posts()) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		close(hold)
		s.look("it is checked", s.shows(1, head, forge.Success, ""))
		quick := s.push(1, false, map[string]string{"f/us.yaml": plain("us", "9 1 * * *")})
		s.look("a quick one", s.shows(1, quick, forge.Success, ""))
		var got []string
		for _, post := range s.Posts() {
			got = append(got, map[string]string{head: "slow", quick: "quick"}[post.Commit]+" "+string(post.State))
		}
		if got := strings.Join(got, ", "); got != "slow pending, slow success, quick success" {
			t.Error(got)
		}
	})
}

// lists are the ends of the addresses of the lists.
var lists = map[forge.Provider]string{forge.GitHub: "/pulls", forge.GitLab: "/merge_requests", forge.Gitea: "/pulls"}
