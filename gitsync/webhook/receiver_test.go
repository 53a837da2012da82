package webhook

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync"
)

// TestSignatures sends deliveries of every forge, good ones and those of somebody who would like to be one, to a receiver on
// a real socket.
func TestSignatures(t *testing.T) {
	push := payload(t, "github-push")
	lab := payload(t, "gitlab-push")
	tea := payload(t, "gitea-push")
	anything := []byte("whatever somebody's own server sends")
	plain, signed := production(nil), production(func(t *Target) { t.Secrets = [][]byte{[]byte(signing)} })
	rotating := production(func(t *Target) { t.Secrets = [][]byte{[]byte(secret), []byte(previous)} })
	moving := production(func(t *Target) { t.Secrets = [][]byte{[]byte(signing), []byte(previous)} })
	only := func(p Provider) map[string]Target { return production(func(t *Target) { t.Provider = p }) }
	hosted := production(func(t *Target) { t.RepositoryURL = "https://github.com/platform/fleet" })
	const wrong = "somebody-elses-secret-0123456789"
	mac := func(key string, body []byte) string { return "sha256=" + hexMAC(key, body) }

	for _, tt := range []struct {
		reason  string
		targets map[string]Target
		body    []byte
		headers []string
		status  int
		says    string
	}{
		{"GitHub, good", plain, push, gitHub("push", secret, push), 202, "accepted"},
		{"Gitea, good", plain, tea, gitea("push", secret, tea), 202, "accepted"},
		{"Forgejo, good", plain, tea, forgejo("push", secret, tea), 202, "accepted"},
		{"GitLab token, good", plain, lab, gitLabToken("Push Hook", secret), 202, "accepted"},
		{"GitLab signed, good", signed, lab, gitLabSigned("Push Hook", signing, lab, 0), 202, "accepted"},
		{"GitLab with both kinds of secret", signed, lab, append(gitLabSigned("Push Hook", signing, lab, 0), "X-Gitlab-Token: another"), 202, "accepted"},
		{"GitLab with both, and only the token known here", plain, lab, append(gitLabSigned("Push Hook", signing, lab, 0), "X-Gitlab-Token: "+secret), 202, "accepted"},
		{"several signatures, one of them good", signed, lab, several(gitLabSigned("Push Hook", signing, lab, 0)), 202, "accepted"},
		{"generic, as Flux's", plain, anything, []string{"X-Signature: " + mac(secret, anything)}, 202, "accepted"},
		{"generic, as Bitbucket's", plain, anything, []string{"X-Hub-Signature: " + mac(secret, anything), "X-Event-Key: repo:push"}, 202, "accepted"},
		{"generic, Standard Webhooks", signed, anything, standard(signing, anything, 0), 202, "accepted"},
		{"generic, without a body", plain, nil, []string{"X-Signature: " + mac(secret, nil)}, 202, "accepted"},
		{"the previous secret", rotating, push, gitHub("push", previous, push), 202, "accepted"},
		{"the previous token", rotating, lab, gitLabToken("Push Hook", previous), 202, "accepted"},
		{"the token from before a signing token", moving, lab, gitLabToken("Push Hook", previous), 202, "accepted"},
		{"upper case digits", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", "sha256="+strings.ToUpper(hexMAC(secret, push))), 202, "accepted"},
		{"a charset", plain, push, append(gitHub("push", secret, push), "Content-Type: application/json; charset=utf-8"), 202, "accepted"},
		{"the provider that is asked for", only(GitHub), push, gitHub("push", secret, push), 202, "accepted"},
		{"Forgejo where Gitea is asked for", only(Gitea), tea, forgejo("push", secret, tea), 202, "accepted"},

		{"GitHub, wrong secret", plain, push, gitHub("push", wrong, push), 401, "no such receiver, or"},
		{"Gitea, wrong secret", plain, tea, gitea("push", wrong, tea), 401, "no such receiver, or"},
		{"Forgejo, wrong secret", plain, tea, forgejo("push", wrong, tea), 401, "no such receiver, or"},
		{"GitLab, wrong token", plain, lab, gitLabToken("Push Hook", wrong), 401, "no such receiver, or"},
		{"GitLab, the token's beginning", plain, lab, gitLabToken("Push Hook", secret[:8]), 401, "no such receiver, or"},
		{"GitLab, wrong signing token", signed, lab, gitLabSigned("Push Hook", "whsec_"+strings.Repeat("A", 44), lab, 0), 401, "no such receiver, or"},
		{"generic, wrong secret", plain, anything, []string{"X-Signature: " + mac(wrong, anything)}, 401, "no such receiver, or"},
		{"another body", plain, append(bytes.Clone(push), ' '), gitHub("push", secret, push), 401, "no such receiver, or"},
		{"a secret that is too short to be one", production(func(t *Target) { t.Secrets = [][]byte{[]byte("short")} }), push, gitHub("push", "short", push), 401, "no such receiver, or"},
		{"no secret at all", production(func(t *Target) { t.Secrets = nil }), push, gitHub("push", "", push), 401, "no such receiver, or"},
		{"an empty secret", production(func(t *Target) { t.Secrets = [][]byte{nil} }), lab, gitLabSigned("Push Hook", "", lab, 0), 401, "no such receiver, or"},
		{"no such receiver", map[string]Target{}, push, gitHub("push", secret, push), 401, "no such receiver, or"},
		{"no such receiver, with a token", map[string]Target{}, lab, gitLabToken("Push Hook", secret), 401, "no such receiver, or"},

		{"truncated", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", mac(secret, push)[:60]), 401, "it may have been cut off"},
		{"truncated by a byte", plain, tea, with(gitea("push", secret, tea), "X-Gitea-Signature", hexMAC(secret, tea)[:63]), 401, "it may have been cut off"},
		{"truncated base64", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-signature", "v1,AAAA"), 401, "other than a base64 HMAC-SHA256"},
		{"no hexadecimal", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", "sha256="+strings.Repeat("z", 64)), 401, "not hexadecimal"},
		{"SHA-1 alone", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", ""), 401, "signed with SHA-1 only"},
		{"another algorithm", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", "sha512="+hexMAC(secret, push)), 401, "the only accepted algorithm"},
		{"no algorithm", plain, push, with(gitHub("push", secret, push), "X-Hub-Signature-256", hexMAC(secret, push)), 401, "the only accepted algorithm"},
		{"a public-key signature", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-signature", "v1a,AAAA"), 401, "no v1 signature"},
		{"too many signatures", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-signature",
			strings.Repeat("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ", 17)), 401, "too many"},
		{"an endless header", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-signature", strings.Repeat("v1,A ", 2000)), 401, "must be short"},
		{"no signature", plain, push, []string{"X-GitHub-Event: push"}, 401, "set a secret in the webhook"},
		{"no signature of Gitea, and a good one for GitHub", plain, tea, with(gitea("push", secret, tea), "X-Gitea-Signature", ""), 401, "no X-Gitea-Signature"},
		{"a bad one of Forgejo, and a good one for Gitea", plain, tea, with(forgejo("push", secret, tea), "X-Forgejo-Signature", strings.Repeat("0", 64)), 401, "no such receiver, or"},
		{"no headers", plain, push, nil, 401, "has no signature"},
		{"GitLab without a token", plain, lab, []string{"X-Gitlab-Event: Push Hook"}, 401, "neither webhook-signature nor X-Gitlab-Token"},
		{"two of the same header", plain, push, append(gitHub("push", secret, push), "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)), 401, "more than once"},

		{"an old delivery", signed, lab, gitLabSigned("Push Hook", signing, lab, -6*time.Minute), 401, "the delivery is old"},
		{"one from the future", signed, lab, gitLabSigned("Push Hook", signing, lab, 6*time.Minute), 401, "a clock is wrong"},
		{"a time that is none", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-timestamp", "soon"), 401, "not a Unix time"},
		{"the time changed", signed, lab, with(gitLabSigned("Push Hook", signing, lab, -time.Minute), "webhook-timestamp", strconv.FormatInt(time.Now().Unix(), 10)), 401, "no such receiver, or"},
		{"the id changed", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-id", "another"), 401, "no such receiver, or"},
		{"a dot in the id", signed, lab, with(gitLabSigned("Push Hook", signing, lab, 0), "webhook-id", "a.b"), 401, "contains a dot"},

		{"GitLab's header with GitHub's signature", plain, push, append(gitHub("push", secret, push), "X-Gitlab-Event: Push Hook"), 401, "more than one kind"},
		{"GitLab's token with a bad signature", moving, lab, append(gitLabSigned("Push Hook", wrong, lab, 0), "X-Gitlab-Token: "+previous), 401, "no such receiver, or"},
		{"the signing token sent as a token", signed, lab, gitLabToken("Push Hook", signing), 401, "no such receiver, or"},
		{"the key in the signing token sent as a token", signed, lab, gitLabToken("Push Hook", "CANARY-signing-key-0123456789abc"), 401, "no such receiver, or"},
		{"the signing token used as GitHub's", signed, push, gitHub("push", signing, push), 401, "no such receiver, or"},
		{"a plain secret used as a signing token", plain, lab, gitLabSigned("Push Hook", secret, lab, 0), 401, "no such receiver, or"},
		{"GitLab where GitHub is asked for", only(GitHub), lab, gitLabToken("Push Hook", secret), 401, "no such receiver, or"},
		{"GitLab where the repository is on github.com", hosted, lab, gitLabToken("Push Hook", secret), 401, "no such receiver, or"},
		{"Gitea where GitHub is asked for", only(GitHub), tea, gitea("push", secret, tea), 401, "no such receiver, or"},
		{"GitHub where Gitea is asked for", only(Gitea), push, gitHub("push", secret, push), 401, "no such receiver, or"},
		{"GitHub where generic is asked for", only(Generic), push, gitHub("push", secret, push), 401, "no such receiver, or"},

		{"a form", plain, push, append(gitHub("push", secret, push), "Content-Type: application/x-www-form-urlencoded"), 415, "application/json"},
		{"compressed", plain, push, append(gitHub("push", secret, push), "Content-Encoding: gzip"), 415, "without compression"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := start(t, tt.targets, nil)
			got := s.post("production", tt.body, tt.headers...)
			if got.status != tt.status || !strings.Contains(got.text, tt.says) {
				t.Errorf("%d %q, want %d … %q", got.status, got.text, tt.status, tt.says)
			}
			if told := len(s.take()) == 1; told != (tt.status == 202) {
				t.Errorf("the target was told: %t", told)
			}
		})
	}
}

// Nobody learns which receivers there are, neither from the answer nor from its headers.
func TestUnknownReceiversAnswerLikeOthers(t *testing.T) {
	s := start(t, production(nil), nil)
	for _, headers := range [][]string{gitHub("push", "not-the-secret-0123456789", []byte("{}")), gitLabToken("Push Hook", "not-the-secret-0123456789"),
		gitLabSigned("Push Hook", signing, []byte("{}"), 0), standard(signing, []byte("{}"), 0)} {
		there, nowhere := s.post("production", []byte("{}"), headers...), s.post("nowhere", []byte("{}"), headers...)
		there.header.Del("Date")
		nowhere.header.Del("Date")
		if there.status != nowhere.status || there.text != nowhere.text || len(there.header) != len(nowhere.header) {
			t.Errorf("%+v\n%+v", there, nowhere)
		}
	}
}

func TestReplay(t *testing.T) {
	now := time.Now()
	s := start(t, production(nil), func(o *Options) { o.Now = func() time.Time { return now } })
	body := payload(t, "github-push")
	headers := gitHub("push", secret, body)
	s.err = errDown
	if got := s.post("production", body, headers...); got.status != 503 {
		t.Errorf("%d %q", got.status, got.text)
	}
	s.err = nil
	for _, step := range []struct {
		reason  string
		after   time.Duration
		headers []string
		status  int
		says    string
		told    int
	}{
		{"what failed may come again", 0, headers, 202, "accepted", 1},
		{"then it is a replay", 0, headers, 200, "received before", 0},
		{"still", 9 * time.Minute, headers, 200, "received before", 0},
		{"the same content in another delivery is another event", 0, with(headers, "X-GitHub-Delivery", "another"), 202, "accepted", 1},
		{"a delivery without an id is never a replay", 0, with(headers, "X-GitHub-Delivery", ""), 202, "accepted", 1},
		{"again", 0, with(headers, "X-GitHub-Delivery", ""), 202, "accepted", 1},
		{"sent again by hand, much later", 2 * time.Minute, headers, 202, "accepted", 1},
	} {
		now = now.Add(step.after)
		got := s.post("production", body, step.headers...)
		if told := len(s.take()); got.status != step.status || !strings.Contains(got.text, step.says) || told != step.told {
			t.Errorf("%s: %d %q, told %d times", step.reason, got.status, got.text, told)
		}
	}
}

// The memory of deliveries is bounded, and drops the oldest.
func TestRepliesAreForgotten(t *testing.T) {
	s := start(t, production(nil), func(o *Options) { o.Limits.Replays = 3 })
	body := payload(t, "github-push")
	first := gitHub("push", secret, body)
	s.post("production", body, first...)
	for range 3 {
		s.post("production", body, gitHub("push", secret, body)...)
	}
	if got := s.post("production", body, first...); got.status != 202 || s.seen.order.Len() != 3 {
		t.Errorf("%d %q, %d remembered", got.status, got.text, s.seen.order.Len())
	}
}

func TestIgnoredKindly(t *testing.T) {
	push := func(from, to string) []byte {
		return bytes.Replace(payload(t, "github-push"), []byte(from), []byte(to), 1)
	}
	pull := func(from, to string) []byte {
		return bytes.Replace(payload(t, "github-pull-request"), []byte(from), []byte(to), 1)
	}
	follow := func(ref gitsync.Ref) func(*Target) { return func(t *Target) { t.Ref = ref } }
	main := follow(gitsync.Ref{Branch: "main"})
	for _, tt := range []struct {
		reason, event string
		target        func(*Target)
		body          []byte
		status        int
		says          string
	}{
		{"the branch", "push", main, push("", ""), 202, "accepted"},
		{"another branch", "push", main, push("refs/heads/main", "refs/heads/x"), 200, `ignored: "refs/heads/x" was pushed, but this AuditSync follows the branch main`},
		{"a branch whose name ends so", "push", main, push("refs/heads/main", "refs/heads/x/main"), 200, "ignored"},
		{"a tag of that name", "push", main, push("refs/heads/main", "refs/tags/main"), 200, "ignored"},
		{"the branch is deleted", "push", main, push("59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5", strings.Repeat("0", 40)), 202, "accepted"},
		{"the tag", "push", follow(gitsync.Ref{Tag: "v1"}), push("refs/heads/main", "refs/tags/v1"), 202, "accepted"},
		{"another tag", "push", follow(gitsync.Ref{Tag: "v1"}), push("refs/heads/main", "refs/tags/v2"), 200, "follows the tag v1"},
		{"any tag, for a range", "push", follow(gitsync.Ref{SemVer: "1.x"}), push("refs/heads/main", "refs/tags/v2"), 202, "accepted"},
		{"a branch, for a range", "push", follow(gitsync.Ref{SemVer: "1.x"}), push("", ""), 200, "follows the tags in 1.x"},
		{"the default branch", "push", follow(gitsync.Ref{}), push("", ""), 202, "accepted"},
		{"not the default branch", "push", follow(gitsync.Ref{}), push("refs/heads/main", "refs/heads/x"), 200, "follows the default branch"},
		{"a commit that may only now be there", "push", follow(gitsync.Ref{Commit: strings.Repeat("a", 40)}), push("refs/heads/main", "refs/heads/x"), 202, "accepted"},
		{"a name", "push", follow(gitsync.Ref{Name: "refs/notes/x"}), push("refs/heads/main", "refs/notes/x"), 202, "accepted"},
		{"another repository", "push", main, push("platform/fleet", "platform/other"), 200, `"platform/other" is not the repository`},
		{"a repository whose name ends so", "push", main, push("platform/fleet", "m/fleet"), 200, "is not the repository"},
		{"the repository in other letters", "push", main, push("platform/fleet", "Platform/Fleet"), 202, "accepted"},
		{"a forge below a path", "push", func(t *Target) { t.RepositoryURL = "https://example.com/git/platform/fleet/"; main(t) }, push("", ""), 202, "accepted"},
		{"over ssh", "push", func(t *Target) { t.RepositoryURL = "ssh://git@git.internal:2222/platform/fleet.git"; main(t) }, push("", ""), 202, "accepted"},
		{"another event", "issues", main, push("", ""), 200, "ignored: this event is not used"},
		{"ping", "ping", main, payload(t, "github-ping"), 200, "pong"},
		{"a pull request", "pull_request", main, pull("", ""), 202, "accepted"},
		{"a pull request to another branch", "pull_request", follow(gitsync.Ref{Branch: "release"}), pull("", ""), 200, "follows the branch release"},
		{"a pull request where tags are followed", "pull_request", follow(gitsync.Ref{SemVer: "1.x"}), pull("", ""), 202, "accepted"},
		{"a label", "pull_request", main, pull("synchronize", "labeled"), 200, "this event is not used"},
		{"a comment, which names no base", "issue_comment", follow(gitsync.Ref{Branch: "release"}), payload(t, "github-issue-comment"), 202, "accepted"},
		{"a comment in another repository", "issue_comment", main, bytes.ReplaceAll(payload(t, "github-issue-comment"), []byte("platform/fleet"), []byte("platform/other")),
			200, "is not the repository"},
		{"a comment on an issue", "issue_comment", main, bytes.Replace(payload(t, "github-issue-comment"), []byte(`"pull_request"`), []byte(`"other"`), 1), 200, "this event is not used"},
		{"a merge group", "merge_group", main, payload(t, "github-merge-group"), 202, "accepted"},
		{"a merge group where tags are followed", "merge_group", follow(gitsync.Ref{SemVer: "1.x"}), payload(t, "github-merge-group"), 202, "accepted"},
		{"a merge group where a tag is followed", "merge_group", follow(gitsync.Ref{Tag: "v1"}), payload(t, "github-merge-group"), 202, "accepted"},
		{"a merge group for another branch", "merge_group", follow(gitsync.Ref{Branch: "release"}), payload(t, "github-merge-group"), 200, "follows the branch release"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := start(t, production(tt.target), nil)
			got := s.post("production", tt.body, gitHub(tt.event, secret, tt.body)...)
			if got.status != tt.status || !strings.Contains(got.text, tt.says) {
				t.Errorf("%d %q, want %d … %q", got.status, got.text, tt.status, tt.says)
			}
			if told := len(s.take()) == 1; told != (tt.status == 202) {
				t.Errorf("the target was told: %t", told)
			}
		})
	}
}

// What a client does that is none of a forge's.
func TestPaths(t *testing.T) {
	s := start(t, production(nil), nil)
	body := payload(t, "github-push")
	for path, want := range map[string]int{
		"/": 404, "/hook": 404, "/hook/ns": 404, "/hook/ns/production/": 404, "/hook//production": 404, "/hook/ns/../ns/production": 404,
		"/hook/NS/production": 404, "/hook/ns/" + strings.Repeat("a", 64): 404, "/hook/ns/a%2fb": 404, "/hook/ns/%2e%2e": 404,
	} {
		if got := s.send("POST", path, body, gitHub("push", secret, body)...); got.status != want {
			t.Errorf("POST %s: %d %q, want %d", path, got.status, got.text, want)
		}
	}
	if got := s.send("GET", "/hook/ns/production", nil); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %+v", got)
	}
	if told := s.take(); len(told) > 0 {
		t.Errorf("told %v", told)
	}
}
