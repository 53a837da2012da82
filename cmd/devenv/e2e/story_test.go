package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// tell notes what is to be shown of a commit, and waits until it is. The next scene begins in another second than this one
// ended in: the times of the API are whole seconds, and a scan that began in the second of a change counts as one of after it.
func (l *loop) tell(title, commit string, expected ...shown) *chapter {
	l.Helper()
	l.story = append(l.story, chapter{title, commit, expected})
	c := &l.story[len(l.story)-1]
	l.untilShown(*c)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	return c
}

func (l *loop) untilShown(c chapter) {
	l.Helper()
	began := time.Now()
	for deadline := began.Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got := l.statuses(c.commit)
		if compare(c, got) == "" {
			l.Logf("%s: %s", c.title, time.Since(began).Round(10*time.Millisecond))
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s\nstatus of the AuditSync: %+v", compare(c, got), l.audit().Status)
		}
	}
}

func (l *loop) statuses(commit string) []server.GiteaStatus {
	l.Helper()
	statuses, err := l.gitea.Statuses(l.Context(), repository, commit)
	must(l, err)
	return statuses
}

// hold compares all that is shown with the story, and counts what was posted.
func (l *loop) hold() {
	l.Helper()
	posts := 0
	for _, c := range l.story {
		got := l.statuses(c.commit)
		if wrong := compare(c, got); wrong != "" {
			l.Error(wrong)
		}
		n := l.gitea.StatusPosts(repository, c.commit)
		if n != len(got) {
			l.Errorf("%s: %d posts for %d statuses", c.title, n, len(got))
		}
		posts += n
	}
	all := 0
	for _, r := range l.gitea.Requests() {
		if r.Method == http.MethodPost && strings.Contains(r.Path, "/statuses/") {
			all++
		}
	}
	if all != posts {
		l.Errorf("%d posts in all, and %d for the commits of the story", all, posts)
	}
}

// compare says in which way the statuses of a commit are others than they should be. Contexts are compared one by one, since
// what is true of one has nothing to do with when another is. A commit that takes longer than a second is said to be checked
// and applied first; that may or may not be, and once only.
func compare(c chapter, got []server.GiteaStatus) string {
	for _, context := range []string{itself, drift, scans} {
		var have []server.GiteaStatus
		for _, s := range got {
			if s.Context == context {
				have = append(have, s)
			}
		}
		if len(have) > 0 && have[0].State == "pending" && have[0].Description == "is being checked and applied" {
			have = have[1:]
		}
		var want []shown
		for _, s := range c.shown {
			if s.context == context {
				want = append(want, s)
			}
		}
		if !slices.EqualFunc(have, want, matches) {
			return fmt.Sprintf("%s: %s: shown is\n%s\nwanted is\n%+v", c.title, context, list(got), want)
		}
	}
	return ""
}

func matches(have server.GiteaStatus, want shown) bool {
	rest, begins := strings.CutPrefix(have.Description, want.text)
	return have.State == want.state && begins && strings.Contains(rest, want.within)
}

func list(statuses []server.GiteaStatus) string {
	var b strings.Builder
	for _, s := range statuses {
		fmt.Fprintf(&b, "  %-24s %-8s %s\n", s.Context, s.State, s.Description)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
