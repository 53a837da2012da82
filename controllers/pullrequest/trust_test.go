package pullrequest

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// conversation is a forge with comments, and users who may write.
type conversation struct {
	connect.Client
	comments []forge.Comment
	writers  map[int64]bool
	asked    int
	refuses  bool
}

func (c *conversation) Self(context.Context) (forge.User, error) {
	return forge.User{ID: 1, Login: "robot"}, nil
}

func (c *conversation) Comments(context.Context, int64) ([]forge.Comment, error) {
	return c.comments, nil
}

func (c *conversation) CanWrite(_ context.Context, u forge.User) (bool, error) {
	if c.asked++; c.refuses {
		return false, &forge.RefusedError{Missing: "the token lacks permission"}
	}
	return c.writers[u.ID], nil
}

// TestTrust: what a comment allows doesn't outlive the head, and nothing else allows it (CVE-2026-58424 and CVE-2026-58439 of Gitea).
func TestTrust(t *testing.T) {
	const robot, maintainer, stranger = 1, 2, 3
	head, other := strings.Repeat("a", 40), strings.Repeat("b", 40)
	opened := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	say := func(author int64, body string) forge.Comment {
		return forge.Comment{ID: 7, AuthorID: author, Author: "user", Body: body, Created: opened.Add(time.Minute), Updated: opened.Add(time.Minute)}
	}
	edited, early := say(maintainer, "/muster check "+head), say(maintainer, "/muster check "+head)
	edited.Updated = edited.Created.Add(time.Second)
	early.Created, early.Updated = opened.Add(-time.Second), opened.Add(-time.Second)
	for _, row := range []struct {
		reason   string
		comments []forge.Comment
		want     review.Trust
		asked    int
	}{
		{"no comment", nil, review.Keyless, 0},
		{"a maintainer", []forge.Comment{say(maintainer, "/muster check "+head)}, review.Allowed, 1},
		{"with space around it", []forge.Comment{say(maintainer, "\r\n /muster check "+head+" \r\n")}, review.Allowed, 1},
		{"a stranger", []forge.Comment{say(stranger, "/muster check "+head)}, review.Keyless, 1},
		{"a stranger, many times", []forge.Comment{say(stranger, "/muster check "+head), say(stranger, "/muster check "+head)}, review.Keyless, 1},
		{"a stranger, then a maintainer", []forge.Comment{say(stranger, "/muster check "+head), say(maintainer, "/muster check "+head)}, review.Allowed, 2},
		{"our own account, which may write", []forge.Comment{say(robot, "/muster check "+head)}, review.Keyless, 0},
		{"a deleted account", []forge.Comment{say(0, "/muster check "+head)}, review.Keyless, 0},
		{"another head", []forge.Comment{say(maintainer, "/muster check "+other)}, review.Keyless, 0},
		{"a part of the head", []forge.Comment{say(maintainer, "/muster check "+head[:10])}, review.Keyless, 0},
		{"a longer head", []forge.Comment{say(maintainer, "/muster check "+head+"a")}, review.Keyless, 0},
		{"no head", []forge.Comment{say(maintainer, "/muster check")}, review.Keyless, 0},
		{"quoted", []forge.Comment{say(maintainer, "> /muster check "+head)}, review.Keyless, 0},
		{"in a text", []forge.Comment{say(maintainer, "never say\n/muster check "+head)}, review.Keyless, 0},
		{"with a text", []forge.Comment{say(maintainer, "/muster check "+head+"\nor not?")}, review.Keyless, 0},
		{"edited", []forge.Comment{edited}, review.Keyless, 0},
		{"before it was reopened", []forge.Comment{early}, review.Keyless, 0},
	} {
		t.Run(row.reason, func(t *testing.T) {
			c := &conversation{comments: row.comments, writers: map[int64]bool{robot: true, maintainer: true}}
			w := &answering{conn: &connection{Client: c}, known: known{PullRequest: forge.PullRequest{Number: 5, Head: head, Fork: true}, since: opened}}
			got, _, err := w.trust(t.Context())
			if err != nil || got != row.want || c.asked != row.asked {
				t.Errorf("%s after %d requests, %v", got, c.asked, err)
			}
		})
	}
}

func TestTrustIsNotBoughtByComments(t *testing.T) {
	head := strings.Repeat("a", 40)
	c := &conversation{}
	for i := range 100 {
		c.comments = append(c.comments, forge.Comment{ID: int64(i), AuthorID: int64(10 + i), Author: "user", Body: "/muster check " + head})
	}
	w := &answering{conn: &connection{Client: c}, known: known{PullRequest: forge.PullRequest{Number: 5, Head: head, Fork: true}}}
	if got, _, err := w.trust(t.Context()); got != review.Keyless || err != nil || c.asked > maxAsked {
		t.Errorf("%s after %d requests, %v", got, c.asked, err)
	}
}

// TestTrustWithoutPermission: credentials that may not ask who may write don't keep the check from being made.
func TestTrustWithoutPermission(t *testing.T) {
	head := strings.Repeat("a", 40)
	c := &conversation{comments: []forge.Comment{{ID: 1, AuthorID: 2, Author: "user", Body: "/muster check " + head}}, refuses: true}
	w := &answering{conn: &connection{Client: c}, known: known{PullRequest: forge.PullRequest{Number: 5, Head: head, Fork: true}}}
	if got, _, err := w.trust(t.Context()); got != review.Keyless || err != nil || !strings.Contains(strings.Join(w.problems, ""), "lacks permission") {
		t.Errorf("%s, %q, %v", got, w.problems, err)
	}
}

func TestNoForkNeedsNoPermission(t *testing.T) {
	w := &answering{known: known{PullRequest: forge.PullRequest{Number: 5, Head: strings.Repeat("a", 40)}}}
	if got, _, err := w.trust(t.Context()); got != review.Full || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestQueuedRefs(t *testing.T) {
	for _, row := range []struct {
		ref      string
		provider forge.Provider
		want     bool
	}{
		{"refs/heads/gh-readonly-queue/main/pr-7-" + strings.Repeat("a", 40), forge.GitHub, true},
		{"refs/heads/gh-readonly-queue/other/pr-7-" + strings.Repeat("a", 40), forge.GitHub, false},
		{"refs/heads/gh-readonly-queue/main/other/pr-7-" + strings.Repeat("a", 40), forge.GitHub, false},
		{"refs/heads/main", forge.GitHub, false},
		{"refs/heads/gh-readonly-queue/main/pr-7-" + strings.Repeat("a", 40), forge.GitLab, false},
		{"refs/merge-requests/7/train", forge.GitLab, true},
		{"refs/merge-requests/7/head", forge.GitLab, false},
		{"refs/merge-requests/x/train", forge.GitLab, false},
		{"refs/merge-requests/7/train", forge.GitHub, false},
	} {
		if got := isQueued(row.ref, row.provider, "main"); got != row.want {
			t.Errorf("%s on %s: %t", row.ref, row.provider, got)
		}
	}
}

// TestRefusals: what the forge refuses for good doesn't keep the rest of the answer away, and everything else does.
func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		err   error
		stops bool
	}{
		{&forge.RefusedError{}, false}, {&forge.RefusedError{Status: 403}, false}, {&forge.RefusedError{Status: 401}, true}, {&forge.NotFoundError{}, false}, {&forge.RejectedError{}, false}, {&forge.LimitError{}, false}, {&forge.ConfigError{}, false},
		{&forge.UnavailableError{}, true}, {&forge.RateLimitedError{}, true}, {&forge.AnswerError{}, true}, {context.Canceled, true}, {nil, false},
	} {
		w := &answering{}
		if got := w.stops(row.err); got != row.stops || len(w.problems) > 0 != (row.err != nil && !row.stops) {
			t.Errorf("%T: %t, %q", row.err, got, w.problems)
		}
		if w.stops(row.err); len(w.problems) > 1 {
			t.Errorf("%T is told twice", row.err)
		}
	}
}

// app is a forge with check runs.
type app struct {
	conversation
	runs []forge.CheckRun
	err  error
}

func (a *app) SetCheckRun(_ context.Context, run forge.CheckRun) error {
	a.runs = append(a.runs, run)
	return a.err
}

func TestCheckRuns(t *testing.T) {
	head := strings.Repeat("a", 40)
	subject := &Subject{AuditSync: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Name: "production"}}, Redactor: &redact.Redactor{}}
	subject.Redactor.Add("CANARY-token")
	a := &app{}
	w := &answering{subject: subject, conn: &connection{Client: a}, known: known{PullRequest: forge.PullRequest{Number: 5, Head: head}}, pull: &shown{}}
	broken := answer{head: head, status: forge.Status{State: forge.Failure, Description: "1 new error"}, annotations: []review.Annotation{{Path: "clusters/a.yaml", Line: 3, EndLine: 3,
		Severity: finding.Error, Title: "a: schedule", Message: "CANARY-token is not a schedule"}}}
	for _, shown := range []answer{{head: head, status: forge.Status{State: forge.Success, Description: "nothing"}}, broken, {head: head, status: forge.Status{State: forge.Success, Description: "mended"}}} {
		if err := w.setCheckRun(t.Context(), shown); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.runs) != 2 || len(a.runs[0].Annotations) != 1 || len(a.runs[1].Annotations) != 0 || a.runs[0].ExternalID == a.runs[1].ExternalID {
		t.Fatalf("%+v", a.runs)
	}
	for _, run := range a.runs {
		if err := run.Validate(); err != nil {
			t.Error(err)
		}
	}
	if message := a.runs[0].Annotations[0].Message; strings.Contains(message, "CANARY") || a.runs[0].Annotations[0].Level != forge.Problem {
		t.Errorf("%+v", a.runs[0].Annotations)
	}
	a.err = &forge.RefusedError{Missing: "the App lacks the permission checks: write"}
	if err := w.setCheckRun(t.Context(), broken); w.stops(err) || !strings.Contains(strings.Join(w.problems, ""), "checks: write") {
		t.Errorf("without permission: %v, %q", err, w.problems)
	}
}
