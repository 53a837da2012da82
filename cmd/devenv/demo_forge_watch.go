package main

import (
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// watch writes a line for each new status and each comment of Muster. All requests to Gitea pass through this process, so it
// notices them without polling.
func (f *demoForge) watch(ctx context.Context, d *demo) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	d.stops = append(d.stops, func() error { cancel(); <-ended; return nil })
	go func() {
		defer close(ended)
		w := statusWatch{gitea: f.gitea, out: d.out, reported: map[string]int{}, commented: map[int64]string{}}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look(watching)
			case <-watching.Done():
				return
			}
		}
	}()
}

// statusWatch reports new statuses and comments.
type statusWatch struct {
	gitea     *server.Gitea
	out       *lines
	seen      int              // requests
	reported  map[string]int   // statuses by commit
	commented map[int64]string // verdicts by comment
}

// look reports the statuses that were set, and the comments that were written, since the last look.
func (w *statusWatch) look(ctx context.Context) {
	for _, r := range w.gitea.Requests()[w.seen:] {
		if r.Method == http.MethodPost || r.Method == http.MethodPatch {
			if r.Code == 0 {
				return // no answer yet
			}
			if _, commit, found := strings.Cut(r.Path, "/statuses/"); found {
				w.tell(ctx, commit)
			}
			if strings.Contains(r.Path, "/issues/") && strings.Contains(r.Path, "/comments") {
				w.tellComments(ctx)
			}
		}
		w.seen++
	}
}

// tellComments reports the comments that are new or have changed.
func (w *statusWatch) tellComments(ctx context.Context) {
	comments, err := pullComments(ctx, w.gitea)
	if err != nil {
		return // the demo is ending
	}
	for _, c := range comments {
		if verdict := c.verdict(); w.commented[c.ID] != verdict {
			w.commented[c.ID] = verdict
			w.out.Event("Gitea", "%s  comment of %s: %s", path.Base(c.PullRequest), c.User.Login, verdict)
		}
	}
}

// giteaComment is a comment on a pull request.
type giteaComment struct {
	ID          int64
	Body        string
	PullRequest string `json:"pull_request_url"`
	User        struct{ Login string }
}

// verdict is the first sentence of Muster's comment, or the first line of another.
func (c giteaComment) verdict() string {
	lines := strings.Split(c.Body, "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "**") {
			return strings.NewReplacer("**", "", "`", "").Replace(line)
		}
	}
	return lines[0]
}

// pullComments are all comments in the repository.
func pullComments(ctx context.Context, gitea *server.Gitea) (comments []giteaComment, err error) {
	return comments, gitea.API(ctx, http.MethodGet, "/repos/"+forgeRepository+"/issues/comments", nil, &comments)
}

func (w *statusWatch) tell(ctx context.Context, commit string) {
	statuses, err := w.gitea.Statuses(ctx, forgeRepository, commit)
	if err != nil {
		return // the demo is ending
	}
	for _, s := range statuses[min(w.reported[commit], len(statuses)):] {
		w.out.Event("Gitea", "%s  %s: %s: %s", commit[:min(7, len(commit))], s.Context, s.State, s.Description)
	}
	w.reported[commit] = len(statuses)
}
