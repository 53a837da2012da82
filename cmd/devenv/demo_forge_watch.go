package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// watch writes a line for each new status. All requests to Gitea pass through this process, so it notices new statuses
// without polling.
func (f *demoForge) watch(ctx context.Context, d *demo) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	d.stops = append(d.stops, func() error { cancel(); <-ended; return nil })
	go func() {
		defer close(ended)
		w := statusWatch{gitea: f.gitea, out: d.out, reported: map[string]int{}}
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

// statusWatch reports new statuses.
type statusWatch struct {
	gitea    *server.Gitea
	out      *lines
	seen     int            // requests
	reported map[string]int // statuses by commit
}

// look reports the statuses that were set since the last look.
func (w *statusWatch) look(ctx context.Context) {
	for _, r := range w.gitea.Requests()[w.seen:] {
		_, commit, found := strings.Cut(r.Path, "/statuses/")
		if r.Method == http.MethodPost && found {
			if r.Code == 0 {
				return // no answer yet
			}
			w.tell(ctx, commit)
		}
		w.seen++
	}
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
