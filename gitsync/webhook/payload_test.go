package webhook

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPayloads(t *testing.T) {
	const (
		gitHubHead, gitHubBase = "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5", "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
		gitLabHead, gitLabBase = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "95790bf891e76fee5e1747ab589903a6a1f80f22"
		giteaHead, giteaBase   = "bffeb74224043ba2feb48d137756c8a9331c449a", "28e1879d029cb852e4844d9c718537df08844e03"
	)
	fleet := func(e Event) Event {
		e.Repository, e.DefaultBranch = "platform/fleet", "main"
		return e
	}
	for _, tt := range []struct {
		reason, file, event string
		provider            Provider
		replace             []string // pairs
		want                Event
	}{
		{"a push", "github-push", "push", GitHub, nil, fleet(Event{Kind: Push, Ref: "refs/heads/main", Before: gitHubBase, After: gitHubHead})},
		{"other commits, from a fork", "github-pull-request", "pull_request", GitHub, nil,
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"opened", "github-pull-request", "pull_request", GitHub, []string{"synchronize", "opened"},
			fleet(Event{Kind: PullRequestOpened, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"closed", "github-pull-request", "pull_request", GitHub, []string{"synchronize", "closed"},
			fleet(Event{Kind: PullRequestClosed, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"to another branch", "github-pull-request", "pull_request", GitHub, []string{`"action": "synchronize"`, `"action": "edited", "changes": {"base": {"ref": {"from": "x"}}}`},
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"another title", "github-pull-request", "pull_request", GitHub, []string{`"action": "synchronize"`, `"action": "edited", "changes": {"title": {"from": "x"}}`},
			fleet(Event{Kind: Other, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"not from a fork", "github-pull-request", "pull_request", GitHub, []string{`"id": 99,`, `"id": 17273051,`},
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead})},
		{"from a fork that is gone", "github-pull-request", "pull_request", GitHub, []string{`{"id": 99, "full_name": "ada/fleet", "fork": true}`, "null"},
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"ping", "github-ping", "ping", GitHub, nil, Event{Kind: Ping}},
		{"another event", "github-push", "issues", GitHub, nil, Event{Kind: Other}},
		{"a push", "gitea-push", "push", Gitea, nil, fleet(Event{Kind: Push, Ref: "refs/heads/main", Before: giteaBase, After: giteaHead})},
		{"a push", "gitea-push", "push", Forgejo, nil, fleet(Event{Kind: Push, Ref: "refs/heads/main", Before: giteaBase, After: giteaHead})},
		{"other commits", "gitea-pull-request", "pull_request", Gitea, nil,
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: giteaHead})},
		{"a label", "gitea-pull-request", "pull_request", Gitea, []string{"synchronized", "label_updated"},
			fleet(Event{Kind: Other, Ref: "refs/heads/main", PullRequest: 7, Head: giteaHead})},
		{"a push", "gitlab-push", "Push Hook", GitLab, nil, fleet(Event{Kind: Push, Ref: "refs/heads/main", Before: gitLabBase, After: gitLabHead})},
		{"a push by a system hook", "gitlab-push", "System Hook", GitLab, nil, fleet(Event{Kind: Push, Ref: "refs/heads/main", Before: gitLabBase, After: gitLabHead})},
		{"a tag", "gitlab-tag-push", "Tag Push Hook", GitLab, nil,
			fleet(Event{Kind: Push, Ref: "refs/tags/v1.0.0", Before: strings.Repeat("0", 40), After: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"})},
		{"other commits", "gitlab-merge-request", "Merge Request Hook", GitLab, nil,
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead})},
		{"another title", "gitlab-merge-request", "Merge Request Hook", GitLab, []string{`"oldrev": "95790bf891e76fee5e1747ab589903a6a1f80f22",`, ""},
			fleet(Event{Kind: Other, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead})},
		{"merged, from a fork that is gone", "gitlab-merge-request", "Merge Request Hook", GitLab,
			[]string{`"action": "update"`, `"action": "merge"`, `"source_project_id": 15`, `"source_project_id": null`},
			fleet(Event{Kind: PullRequestClosed, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead, Fork: true})},
		{"from a fork", "gitlab-merge-request", "Merge Request Hook", GitLab, []string{`"action": "update"`, `"action": "open"`, `"source_project_id": 15`, `"source_project_id": 16`},
			fleet(Event{Kind: PullRequestOpened, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead, Fork: true})},
		{"ready for review", "github-pull-request", "pull_request", GitHub, []string{"synchronize", "ready_for_review"},
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: gitHubHead, Fork: true})},
		{"a comment", "github-issue-comment", "issue_comment", GitHub, nil, fleet(Event{Kind: PullRequestCommented, PullRequest: 7})},
		{"a comment that was deleted", "github-issue-comment", "issue_comment", GitHub, []string{`"created"`, `"deleted"`}, fleet(Event{Kind: PullRequestCommented, PullRequest: 7})},
		{"a comment on an issue", "github-issue-comment", "issue_comment", GitHub, []string{`"pull_request": {`, `"other": {`}, fleet(Event{Kind: Other})},
		{"a merge group", "github-merge-group", "merge_group", GitHub, nil, fleet(Event{Kind: MergeGroup, Ref: "refs/heads/main", Head: gitHubHead})},
		{"a merge group that is gone", "github-merge-group", "merge_group", GitHub, []string{`"checks_requested"`, `"destroyed"`},
			fleet(Event{Kind: Other, Ref: "refs/heads/main", Head: gitHubHead})},
		{"other commits, by the name of the type", "gitea-pull-request", "pull_request_sync", Gitea, nil,
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: giteaHead})},
		{"a push to refs/for/", "gitea-pull-request", "pull_request", Gitea, []string{`"label": "eu", "ref": "eu"`, `"label": "", "ref": "refs/pull/7/head"`},
			fleet(Event{Kind: PullRequestUpdated, Ref: "refs/heads/main", PullRequest: 7, Head: giteaHead, Fork: true})},
		{"a comment", "gitea-issue-comment", "issue_comment", Gitea, nil, fleet(Event{Kind: PullRequestCommented, PullRequest: 7})},
		{"a comment", "gitea-issue-comment", "issue_comment", Forgejo, []string{`"pull_request": {"merged": false, "merged_at": null}`, `"pull_request": null`},
			fleet(Event{Kind: PullRequestCommented, PullRequest: 7})},
		{"a comment on an issue", "gitea-issue-comment", "issue_comment", Gitea,
			[]string{`"pull_request": {"merged": false, "merged_at": null}`, `"pull_request": null`, `"is_pull": true`, `"is_pull": false`}, fleet(Event{Kind: Other})},
		{"a comment on the diff", "gitea-pull-request", "pull_request_comment", Gitea, []string{"synchronized", "reviewed"}, fleet(Event{Kind: PullRequestCommented, PullRequest: 7})},
		{"a comment", "gitlab-note", "Note Hook", GitLab, nil,
			fleet(Event{Kind: PullRequestCommented, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead})},
		{"a comment, from a fork", "gitlab-note", "Confidential Note Hook", GitLab, []string{`"source_project_id": 15`, `"source_project_id": 16`},
			fleet(Event{Kind: PullRequestCommented, Ref: "refs/heads/main", PullRequest: 7, Head: gitLabHead, Fork: true})},
		{"a comment on something else", "gitlab-note", "Note Hook", GitLab, []string{`"merge_request": {`, `"issue": {`}, fleet(Event{Kind: Other})},
		{"whatever it is", "gitlab-tag-push", "push", Generic, nil, Event{Kind: Push, Ref: "refs/tags/v1.0.0"}},
	} {
		t.Run(string(tt.provider)+" "+tt.reason, func(t *testing.T) {
			text := string(payload(t, tt.file))
			for i := 0; i < len(tt.replace); i += 2 {
				if !strings.Contains(text, tt.replace[i]) {
					t.Fatalf("%q is not in %s", tt.replace[i], tt.file)
				}
				text = strings.Replace(text, tt.replace[i], tt.replace[i+1], 1)
			}
			tt.want.Provider = tt.provider
			got, err := parse(credentials{provider: tt.provider, event: tt.event}, []byte(text))
			if err != nil || got != tt.want {
				t.Errorf("%+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestBadPullRequests(t *testing.T) {
	for reason, replace := range map[string][2]string{
		"no number":         {`"number": 7,`, ""},
		"a number below 1":  {`"number": 7,`, `"number": -7,`},
		"a huge number":     {`"number": 7,`, `"number": 99999999999999999999,`},
		"no head":           {`"sha": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5"`, `"sha": null`},
		"a head that isn't": {`"sha": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5"`, `"sha": "../../etc/passwd"`},
		"no pull request":   {`"pull_request":`, `"pull_requests":`},
	} {
		text := strings.Replace(string(payload(t, "github-pull-request")), replace[0], replace[1], 1)
		if e, err := parse(credentials{provider: GitHub, event: "pull_request"}, []byte(text)); err == nil {
			t.Errorf("%s: %+v", reason, e)
		}
	}
}

// Bad payloads of the other events about pull requests.
func TestBadDiscussions(t *testing.T) {
	for _, tt := range []struct {
		reason, file, event string
		provider            Provider
		replace             [2]string
	}{
		{"no number", "github-issue-comment", "issue_comment", GitHub, [2]string{`"number": 7`, `"number": -7`}},
		{"a huge number", "github-issue-comment", "issue_comment", GitHub, [2]string{`"number": 7`, `"number": 99999999999999999999`}},
		{"no repository", "github-issue-comment", "issue_comment", GitHub, [2]string{`"full_name": "platform/fleet"`, `"full_name": null`}},
		{"another kind", "github-issue-comment", "issue_comment", GitHub, [2]string{`"pull_request": {`, `"pull_request": 1, "x": {`}},
		{"no head", "github-merge-group", "merge_group", GitHub, [2]string{`"head_sha"`, `"head"`}},
		{"a head that isn't", "github-merge-group", "merge_group", GitHub, [2]string{`"head_sha": "`, `"head_sha": "../`}},
		{"no base", "github-merge-group", "merge_group", GitHub, [2]string{`"base_ref"`, `"base"`}},
		{"a base that is no ref", "github-merge-group", "merge_group", GitHub, [2]string{`"base_ref": "refs/heads/main"`, `"base_ref": "main"`}},
		{"no number", "gitea-issue-comment", "issue_comment", Gitea, [2]string{`"number": 7`, `"number": -7`}},
		{"no number", "gitlab-note", "Note Hook", GitLab, [2]string{`"iid": 7`, `"iid": 0`}},
		{"a merge request of another kind", "gitlab-note", "Note Hook", GitLab, [2]string{`"merge_request": {`, `"merge_request": 1, "x": {`}},
		{"a head that isn't", "gitlab-note", "Note Hook", GitLab, [2]string{`"last_commit": {"id": "`, `"last_commit": {"id": "x`}},
	} {
		text := strings.Replace(string(payload(t, tt.file)), tt.replace[0], tt.replace[1], 1)
		if text == string(payload(t, tt.file)) {
			t.Fatalf("%q is not in %s", tt.replace[0], tt.file)
		}
		if e, err := parse(credentials{provider: tt.provider, event: tt.event}, []byte(text)); err == nil {
			t.Errorf("%s, %s: %+v", tt.file, tt.reason, e)
		}
	}
}

func TestLimitsThatCannotWork(t *testing.T) {
	for reason, l := range map[string]Limits{
		"less than nothing": {MaxBody: -1}, "nothing fits": {MaxBody: 10}, "a body that no forge sends": {MaxBody: 1 << 30},
		"negative": {MaxConcurrent: -1}, "a time before": {ReplayAge: -time.Second},
	} {
		if _, err := New(Options{Limits: l}); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

// FuzzPayload: whatever a body holds, for each forge, it is understood completely or not at all.
func FuzzPayload(f *testing.F) {
	for _, file := range []string{"github-push", "github-pull-request", "github-ping", "gitea-push", "gitea-pull-request", "gitlab-push", "gitlab-tag-push", "gitlab-merge-request",
		"github-issue-comment", "github-merge-group", "gitea-issue-comment", "gitlab-note"} {
		for _, event := range []string{"push", "pull_request", "issue_comment", "merge_group"} {
			f.Add(event, payload(f, file))
		}
	}
	f.Add("push", []byte(`{"ref":"refs/heads/\u0000","repository":{"full_name":"a/b"}}`))
	f.Add("ping", []byte(`[[[[`))
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		for _, p := range []Provider{GitHub, GitLab, Gitea, Forgejo, Generic} {
			e, err := parse(credentials{provider: p, event: event}, body)
			if err != nil {
				if ours := payloadError(""); !errors.As(err, &ours) {
					t.Errorf("%s: %v", p, err)
				}
				continue
			}
			texts := e.Repository + e.DefaultBranch + e.Ref + e.Before + e.After + e.Head
			if len(texts) > 6*maxText || strings.ContainsFunc(texts, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%s: %q", p, texts)
			}
			if e.Provider != p || e.Kind == "" || e.Kind == Push && p != Generic && !strings.HasPrefix(e.Ref, "refs/") {
				t.Errorf("%s: %+v", p, e)
			}
			_ = Target{RepositoryURL: address}.ignores(e)
		}
	})
}

// FuzzSignature: no headers but the right ones are good for a delivery.
func FuzzSignature(f *testing.F) {
	body := []byte("{}")
	now := time.Unix(1_800_000_000, 0)
	f.Add("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64), "X-GitHub-Event", "push")
	f.Add("X-Gitea-Signature", strings.Repeat("a", 64), "X-Forgejo-Event", "push")
	f.Add("X-Gitlab-Token", "secret", "X-Gitlab-Event", "Push Hook")
	f.Add("Webhook-Signature", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= v1a,x", "Webhook-Id", "a")
	f.Add("X-Signature", "sha256=", "X-Hub-Signature", "sha1=")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		h := http.Header{}
		h.Add(name1, value1)
		h.Add(name2, value2)
		h.Set("Webhook-Timestamp", "1800000000")
		c, err := readCredentials(h, now)
		if err != nil {
			if ours := credentialsError(""); !errors.As(err, &ours) || strings.Contains(err.Error(), secret) {
				t.Error(err)
			}
			return
		}
		if c.provider == "" || len(c.macs) == 0 && !c.hasToken {
			t.Errorf("nothing to check in %v", h)
		}
		for _, target := range []Target{{}, {Secrets: [][]byte{[]byte(secret), []byte(signing)}}} {
			v := c.verifier(target)
			_, _ = v.Write(body)
			if v.ok() {
				t.Errorf("%v is good", h)
			}
		}
	})
}
