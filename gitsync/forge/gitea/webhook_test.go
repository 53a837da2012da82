package gitea_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// hook is the one receiver, and passes on what it hears.
type hook struct {
	target webhook.Target
	events chan webhook.Event
}

func (h hook) Target(context.Context, string, string) (webhook.Target, error) { return h.target, nil }

func (h hook) Notify(_ context.Context, _, _ string, e webhook.Event) error {
	h.events <- e
	return nil
}

// What a real Gitea sends about pull requests and the comments on them is understood.
func TestWebhooksOfRealGitea(t *testing.T) {
	ctx := t.Context()
	const secret = "0123456789abcdef-of-a-test"
	r := startReviews(t, "hooks")
	h := hook{events: make(chan webhook.Event, 100), target: webhook.Target{
		Secrets: [][]byte{[]byte(secret)}, Provider: webhook.Gitea, RepositoryURL: r.gitURL, Ref: gitsync.Ref{Branch: "main"},
	}}
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := webhook.New(webhook.Options{Targets: h, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(receiver)
	t.Cleanup(server.Close)
	if err := live.AddWebhook(ctx, r.name, server.URL+"/hook/ns/production", secret, "pull_request", "pull_request_sync", "pull_request_comment", "issue_comment"); err != nil {
		t.Fatal(err)
	}
	want := func(kind webhook.Kind, n int64, head string) {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case e := <-h.events:
				if e.Kind == kind && e.PullRequest == n && e.Head == head && !e.Fork {
					return
				}
				t.Logf("heard %+v", e)
			case <-deadline:
				t.Fatalf("no event %q about %d at %q", kind, n, head)
			}
		}
	}

	head := r.commit("ours")
	r.git("push", "--quiet", r.as("hooks-keeper", r.token), "ours")
	n := r.open("hooks-keeper", "ours", "one")
	want(webhook.PullRequestOpened, n, head)

	if err := live.API(ctx, http.MethodPost, fmt.Sprintf("/repos/%s/issues/%d/comments", r.name, n), map[string]any{"body": "/muster check"}, nil); err != nil {
		t.Fatal(err)
	}
	want(webhook.PullRequestCommented, n, "")

	r.git("commit", "--quiet", "--allow-empty", "-m", "more")
	head = r.git("rev-parse", "HEAD")
	r.git("push", "--quiet", r.as("hooks-keeper", r.token), "ours")
	want(webhook.PullRequestUpdated, n, head)

	if err := live.API(ctx, http.MethodPatch, fmt.Sprintf("/repos/%s/pulls/%d", r.name, n), map[string]any{"state": "closed"}, nil); err != nil {
		t.Fatal(err)
	}
	want(webhook.PullRequestClosed, n, head)
}
