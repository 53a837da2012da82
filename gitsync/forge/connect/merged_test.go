package connect_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// What a commit was merged from is what the forge says was merged, into this branch, as this commit.
func TestMergedAs(t *testing.T) {
	other := strings.Repeat("0a", 20)
	merge := func(p *forgetest.PullRequest) { p.Open, p.Merged, p.MergedAs = false, true, commitHash }
	type change = func(*forgetest.PullRequest)
	for _, tt := range []struct {
		reason string
		change change
		found  bool
	}{
		{"a merge commit", merge, true},
		{"squashed", func(p *forgetest.PullRequest) { merge(p); p.Squashed = true }, true},
		{"squashed, and the branch moved forward", func(p *forgetest.PullRequest) { merge(p); p.Squashed, p.Forward = true, true }, true},
		{"the branch moved forward to the head", func(p *forgetest.PullRequest) { merge(p); p.Forward, p.Head = true, commitHash }, true},
		{"from a fork", func(p *forgetest.PullRequest) { merge(p); p.Fork = true }, true},
		{"from a fork that was deleted", func(p *forgetest.PullRequest) { merge(p); p.Fork, p.Gone = true, true }, true},
		{"merged into another branch", func(p *forgetest.PullRequest) { merge(p); p.Base = "release" }, false},
		{"merged as another commit, with this head", func(p *forgetest.PullRequest) { merge(p); p.Head, p.MergedAs = commitHash, other }, false},
		{"open, and this is the forge's test of the merge", func(p *forgetest.PullRequest) { p.MergedAs = commitHash }, false},
		{"closed without a merge", func(p *forgetest.PullRequest) { p.Open, p.MergedAs = false, commitHash }, false},
		{"open, with this head", func(p *forgetest.PullRequest) { p.Head = commitHash }, false},
		{"closed, with this head", func(p *forgetest.PullRequest) { p.Open, p.Head = false, commitHash }, false},
		{"about another commit", nil, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				one := pull(7, tt.change)
				s.SetPullRequest(one)
				s.SetPullRequest(pull(3, nil))
				var want []forge.PullRequest
				if tt.found {
					want = []forge.PullRequest{one.PullRequest}
				}
				got, err := client.MergedAs(t.Context(), commit, "main")
				if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Errorf("%+v, %v, want %+v", got, err, want)
				}
			})
		})
	}
}

// A pull request that is opened with the same commits counts as merged with the other one. GitHub and GitLab show both, also
// when there are many between them.
func TestSeveralMergedAsOne(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		if provider(t) == forge.Gitea {
			return // it answers with one
		}
		for i := range int64(230) {
			s.SetPullRequest(pull(i+1, func(p *forgetest.PullRequest) {
				p.Head = commitHash
				if i == 0 || i == 229 {
					p.Open, p.Merged, p.MergedAs, p.Forward = false, true, commitHash, true
				}
			}))
		}
		got, err := client.MergedAs(t.Context(), commit, "main")
		if err != nil || len(got) != 2 || got[0].Number != 1 || got[1].Number != 230 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestMergedAsIsBounded(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		if provider(t) == forge.Gitea {
			return // it answers with one
		}
		for i := range int64(forge.MaxPullRequests + 1) {
			s.SetPullRequest(pull(i+1, func(p *forgetest.PullRequest) { p.Head = commitHash }))
		}
		_, err := client.MergedAs(t.Context(), commit, "main")
		if e, ok := errors.AsType[*forge.LimitError](err); !ok || e.Limit != forge.MaxPullRequests || e.Remedy == "" {
			t.Errorf("%v", err)
		}
	})
}

// Answers about something else name no pull request, and bad arguments reach no forge.
func TestStrangeMerges(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		for i, bad := range []struct {
			commit forge.Commit
			base   string
		}{{forge.Commit{}, "main"}, {forge.Commit{Hash: "../../x"}, "main"}, {forge.Commit{Hash: commitHash[:10]}, "main"}, {commit, ""}, {commit, "refs/heads/main"}} {
			if got, err := client.MergedAs(t.Context(), bad.commit, bad.base); !as[*forge.ConfigError](err) {
				t.Errorf("%d: %+v, %v", i, got, err)
			}
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
		one := fmt.Sprintf(`{"number": 7, "iid": 7, "state": "merged", "merged": true, "merged_at": "2026-11-20T08:00:00Z", "sha": %[1]q, "head": {"sha": %[1]q}, "base": {"ref": "main"}, "target_branch": "main", "merge_commit_sha": null}`, strings.Repeat("0a", 20))
		for _, body := range []string{`null`, `{}`, `[{}]`, `[null]`, one, `[` + one + `]`} {
			s.AnswerWith(forgetest.Status(200, body))
			if got, _ := client.MergedAs(t.Context(), commit, "main"); len(got) != 0 {
				t.Errorf("%s: %+v", body, got)
			}
		}
	})
}
