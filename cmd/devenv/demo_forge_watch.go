package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// watch writes a line for each status that is set. What is asked of Gitea passes through this process, so that nothing needs to
// be asked to know when there is one.
func (f *demoForge) watch(ctx context.Context, d *demo) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	d.stops = append(d.stops, func() error { cancel(); <-ended; return nil })
	go func() {
		defer close(ended)
		w := statusWatch{gitea: f.gitea, out: d.out, told: map[string]int{}}
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

// statusWatch tells of statuses.
type statusWatch struct {
	gitea *server.Gitea
	out   *lines
	seen  int            // requests
	told  map[string]int // statuses by commit
}

// look tells of the statuses that were set since the last look.
func (w *statusWatch) look(ctx context.Context) {
	for _, r := range w.gitea.Requests()[w.seen:] {
		_, commit, found := strings.Cut(r.Path, "/statuses/")
		if r.Method == http.MethodPost && found {
			if r.Code == 0 {
				return // not answered yet
			}
			w.tell(ctx, commit)
		}
		w.seen++
	}
}

func (w *statusWatch) tell(ctx context.Context, commit string) {
	statuses, err := w.gitea.Statuses(ctx, forgeRepository, commit)
	if err != nil {
		return // it is ending
	}
	for _, s := range statuses[min(w.told[commit], len(statuses)):] {
		w.out.Event("Gitea", "%s  %s: %s: %s", commit[:min(7, len(commit))], s.Context, s.State, s.Description)
	}
	w.told[commit] = len(statuses)
}
