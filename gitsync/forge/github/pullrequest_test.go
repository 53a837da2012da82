package github_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

var pull = forgetest.PullRequest{PullRequest: forge.PullRequest{Number: 7, Head: commit.Hash, Base: "main", Author: "jane", Open: true}}

// An App gets one token for statuses and one for pull requests. Each can do nothing else, and an installation that allows
// statuses alone still gets the first. It comments as its bot.
func TestAppOnPullRequests(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey})
	s.SetPullRequest(pull)
	s.SetUser(forge.User{ID: 5, Login: "jane"}, "write")
	c := dial(t, s, at, appSecret(key, "2"))
	me, err := c.Self(t.Context())
	if err != nil || me != forgetest.Bot {
		t.Fatalf("%+v, %v", me, err)
	}
	created, err := c.CreateComment(t.Context(), 7, "x")
	if err != nil || created.AuthorID != me.ID {
		t.Fatalf("%+v, %v", created, err)
	}
	if err := c.UpdateComment(t.Context(), 7, created.ID, "y"); err != nil {
		t.Error(err)
	}
	comments, err := c.Comments(t.Context(), 7)
	if err != nil || len(comments) != 1 || comments[0].AuthorID != me.ID {
		t.Errorf("%+v, %v", comments, err)
	}
	if list, err := c.PullRequests(t.Context(), "main", nil); err != nil || len(list.Items) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if ok, err := c.CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"}); err != nil || !ok {
		t.Errorf("%t, %v", ok, err)
	}
	if err := c.SetStatus(t.Context(), commit, forge.Status{Context: "c", State: forge.Success}); err != nil {
		t.Error(err)
	}
	if n := count(s, "/access_tokens"); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}

// The permission that is missing is the one that the call needs.
func TestRightsOnPullRequests(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey, ReadToken: "read-0nly"})
	s.SetPullRequest(pull)
	_, err = dial(t, s, at, map[string][]byte{"token": []byte("read-0nly")}).CreateComment(t.Context(), 7, "x")
	if !as[*forge.RefusedError](err) || !strings.Contains(err.Error(), "pull_requests=write") || !strings.Contains(err.Error(), `"Pull requests: write"`) {
		t.Errorf("%v", err)
	}
	s.AnswerWith(forgetest.Status(422, `{"message": "The permissions requested are not granted to this installation."}`))
	_, err = dial(t, s, at, appSecret(key, "2")).CreateComment(t.Context(), 7, "x")
	if !as[*forge.RefusedError](err) || !strings.Contains(err.Error(), `"Pull requests: write"`) || strings.Contains(err.Error(), "statuses") {
		t.Errorf("%v", err)
	}
}

// Lists may be long, and the answers on the way to them stay small.
func TestLongToken(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey})
	s.AnswerWith(forgetest.Status(201, `{"token": "`+strings.Repeat("x", 3<<20)+`"}`))
	_, err = dial(t, s, at, appSecret(key, "2")).PullRequests(t.Context(), "main", nil)
	if n := len(s.Requests()); !as[*forge.AnswerError](err) || !strings.Contains(err.Error(), "larger than 2 MiB") || n != 1 {
		t.Errorf("%v after %d requests", err, n)
	}
}

// Names that lead elsewhere aren't followed.
func TestAppOfAnotherName(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"", "../user", "a/b", "a?b", strings.Repeat("x", 300)} {
		s, at := start(t, forgetest.Options{App: &key.PublicKey})
		s.AnswerWith(forgetest.Status(200, `{"slug": "`+slug+`", "id": 1, "login": "x"}`))
		_, err := dial(t, s, at, appSecret(key, "2")).Self(t.Context())
		if n := len(s.Requests()); !as[*forge.AnswerError](err) || n != 1 {
			t.Errorf("%q: %v after %d requests", slug, err, n)
		}
	}
}

// Comments are content: GitHub accepts 80 a minute, and is not asked again before the time that it says.
func TestSecondaryRateLimitOfComments(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	s.SetPullRequest(pull)
	c := dial(t, s, at, token)
	var err error
	written := 0
	for err == nil && written < 200 {
		if _, err = c.CreateComment(t.Context(), 7, "x"); err == nil {
			written++
		}
	}
	limited, ok := errors.AsType[*forge.RateLimitedError](err)
	if !ok || written != 80 || !limited.Until.Equal(at.Now().Add(time.Minute)) {
		t.Fatalf("after %d: %v", written, err)
	}
	n := len(s.Requests())
	if err := c.UpdateComment(t.Context(), 7, 1, "y"); !as[*forge.RateLimitedError](err) || len(s.Requests()) != n {
		t.Errorf("too early: %v", err)
	}
	at.advance(time.Minute)
	if err := c.UpdateComment(t.Context(), 7, 1, "y"); err != nil {
		t.Errorf("when the time has come: %v", err)
	}
}

func TestCommentsThatAreLimited(t *testing.T) {
	for _, tt := range []struct {
		reason  string
		answer  http.HandlerFunc
		limited bool
	}{
		{"blocked for a while", forgetest.Status(403,
			`{"message": "You have exceeded a secondary rate limit and have been temporarily blocked from content creation. Please retry your request again later."}`), true},
		{"too quickly", forgetest.Status(422, `{"message": "Validation Failed", "errors": [{"resource": "IssueComment", "code": "unprocessable", "message": "was submitted too quickly"}]}`), true},
		{"invalid", forgetest.Status(422, `{"message": "Validation Failed", "errors": [{"resource": "IssueComment", "message": "Body is too long"}]}`), false},
	} {
		s, at := start(t, forgetest.Options{})
		s.AnswerWith(tt.answer)
		_, err := dial(t, s, at, token).CreateComment(t.Context(), 7, "x")
		if as[*forge.RateLimitedError](err) != tt.limited || as[*forge.RejectedError](err) == tt.limited {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

// GitHub shows "maintain" as a permission of its own in some versions. "triage", or a role that an organization defines, is
// what its base permission is.
func TestRoles(t *testing.T) {
	for body, want := range map[string]bool{
		`{"permission": "write", "role_name": "maintain", "user": {"id": 5}}`:      true,
		`{"permission": "maintain", "role_name": "maintain", "user": {"id": 5}}`:   true,
		`{"permission": "read", "role_name": "triage", "user": {"id": 5}}`:         false,
		`{"permission": "read", "role_name": "admin", "user": {"id": 5}}`:          false,
		`{"permission": "write", "role_name": "Security lead", "user": {"id": 5}}`: true,
		`{"permission": "none", "role_name": "", "user": {"id": 5}}`:               false,
		`{"permission": "write", "role_name": "write", "user": null}`:              false,
	} {
		s, at := start(t, forgetest.Options{})
		s.AnswerWith(forgetest.Status(200, body))
		if got, err := dial(t, s, at, token).CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"}); err != nil || got != want {
			t.Errorf("%s: %t, %v", body, got, err)
		}
	}
	s, at := start(t, forgetest.Options{})
	s.AnswerWith(forgetest.Status(404, `{"message": "Not Found"}`))
	if _, err := dial(t, s, at, token).CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"}); !as[*forge.NotFoundError](err) {
		t.Errorf("a repository that isn't there: %v", err)
	}
}

// What is asked is what GitHub documents: the version of the API and its media type.
func TestHeaders(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	var headers http.Header
	s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		headers = r.Header
		forgetest.Status(200, `[]`)(w, r)
	})
	if _, err := dial(t, s, at, token).PullRequests(t.Context(), "main", nil); err != nil {
		t.Fatal(err)
	}
	if headers.Get("Accept") != "application/vnd.github+json" || headers.Get("X-GitHub-Api-Version") == "" || headers.Get("User-Agent") != "muster" {
		t.Errorf("%v", headers)
	}
}
