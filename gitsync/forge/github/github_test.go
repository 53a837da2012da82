package github_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

var commit = forge.Commit{Hash: strings.Repeat("5f3c1a7b", 5)}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func start(t *testing.T, o forgetest.Options) (*forgetest.Server, *clock) {
	at := &clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	o.Now = at.Now
	s := forgetest.StartGitHub(t, o)
	s.AddCommit(commit.Hash)
	return s, at
}

func dial(t *testing.T, s *forgetest.Server, at *clock, secret map[string][]byte) connect.Client {
	t.Helper()
	c, err := connect.To(connect.Config{Provider: forge.GitHub, URL: s.GitURL(), Secret: secret, Options: forge.Options{Now: at.Now}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var token = map[string][]byte{"token": []byte("t0ken")}

// More than 80 statuses a minute bring GitHub's secondary limit: the client hears for how long, and keeps quiet until then.
func TestSecondaryRateLimit(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	c := dial(t, s, at, token)
	var err error
	set := 0
	for err == nil && set < 200 {
		if err = c.SetStatus(t.Context(), commit, forge.Status{Context: fmt.Sprint("c", set), State: forge.Success}); err == nil {
			set++
		}
	}
	limited, ok := errors.AsType[*forge.RateLimitedError](err)
	if !ok || set != 80 || !limited.Until.Equal(at.Now().Add(time.Minute)) || !strings.Contains(limited.Detail, "secondary rate limit") {
		t.Fatalf("after %d: %v", set, err)
	}
	n := len(s.Requests())
	at.advance(59 * time.Second)
	if _, err := c.Statuses(t.Context(), commit, []string{"c0"}); !as[*forge.RateLimitedError](err) || len(s.Requests()) != n {
		t.Errorf("a second before: %v", err)
	}
	at.advance(time.Second)
	if err := c.SetStatus(t.Context(), commit, forge.Status{Context: "later", State: forge.Success}); err != nil {
		t.Errorf("when the time has come: %v", err)
	}
}

// A 403 is a limit or a lack of rights; each of GitHub's signs for the first is enough.
func TestForbiddenOrLimited(t *testing.T) {
	for _, tt := range []struct {
		reason  string
		answer  http.HandlerFunc
		limited bool
	}{
		{"nothing remains", forgetest.Status(403, `{}`, "X-RateLimit-Remaining", "0"), true},
		{"it says when", forgetest.Status(403, `{}`, "Retry-After", "60"), true},
		{"its words", forgetest.Status(403, `{"message": "You have exceeded a secondary rate limit."}`), true},
		{"none of them", forgetest.Status(403, `{"message": "Resource not accessible by integration"}`, "X-RateLimit-Remaining", "17"), false},
	} {
		s, at := start(t, forgetest.Options{})
		s.AnswerWith(tt.answer)
		_, err := dial(t, s, at, token).Statuses(t.Context(), commit, []string{"x"})
		if as[*forge.RateLimitedError](err) != tt.limited || as[*forge.RefusedError](err) == tt.limited {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

// The 1,001st status of a commit and context is refused for good, and the one that is shown can still be read.
func TestThousandStatuses(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	c := dial(t, s, at, token)
	states := []forge.State{forge.Pending, forge.Success}
	for i := range 1000 {
		if i%80 == 0 {
			at.advance(time.Minute)
		}
		if err := c.SetStatus(t.Context(), commit, forge.Status{Context: "muster/production", State: states[i%2]}); err != nil {
			t.Fatalf("status %d: %v", i+1, err)
		}
	}
	err := c.SetStatus(t.Context(), commit, forge.Status{Context: "muster/production", State: forge.Pending})
	if e, ok := errors.AsType[*forge.LimitError](err); !ok || e.Limit != 1000 {
		t.Errorf("the 1,001st: %v", err)
	}
	shown, err := c.Statuses(t.Context(), commit, []string{"muster/production"})
	if err != nil || !c.UpToDate(shown["muster/production"], forge.Status{Context: "muster/production", State: forge.Success}) {
		t.Errorf("shown %+v, %v", shown, err)
	}
}

// Of 1,000 contexts and more, those that are asked for can't be found in a bounded number of pages.
func TestTooManyContexts(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	c := dial(t, s, at, token)
	for i := range 1001 {
		if i%80 == 0 {
			at.advance(time.Minute)
		}
		if err := c.SetStatus(t.Context(), commit, forge.Status{Context: fmt.Sprint("ci/", i), State: forge.Success}); err != nil {
			t.Fatal(err)
		}
	}
	n := len(s.Requests())
	if _, err := c.Statuses(t.Context(), commit, []string{"absent"}); !as[*forge.LimitError](err) {
		t.Errorf("%v", err)
	}
	if got := len(s.Requests()) - n; got != 10 {
		t.Errorf("%d requests, want 10", got)
	}
}

// GitHub's answer names its commit. One that doesn't is not GitHub's, and not taken for "no statuses".
func TestAnswerAboutNothing(t *testing.T) {
	for _, body := range []string{`{}`, `{"sha": "` + strings.Repeat("0", 40) + `", "statuses": []}`} {
		s, at := start(t, forgetest.Options{})
		s.AnswerWith(forgetest.Status(200, body))
		if shown, err := dial(t, s, at, token).Statuses(t.Context(), commit, []string{"x"}); !as[*forge.AnswerError](err) {
			t.Errorf("%s: %v, %v", body, shown, err)
		}
	}
}

// GitHub compares the names of contexts without regard to case.
func TestContextsOfAnotherCase(t *testing.T) {
	s, at := start(t, forgetest.Options{})
	c := dial(t, s, at, token)
	status := forge.Status{Context: "Muster/Production", State: forge.Success}
	if err := c.SetStatus(t.Context(), commit, status); err != nil {
		t.Fatal(err)
	}
	status.Context = "muster/production"
	shown, err := c.Statuses(t.Context(), commit, []string{status.Context})
	if err != nil || !c.UpToDate(shown[status.Context], status) {
		t.Errorf("%+v, %v", shown, err)
	}
}

func appSecret(key *rsa.PrivateKey, installation string) map[string][]byte {
	return map[string][]byte{
		"githubAppID": []byte("1"), "githubAppInstallationID": []byte(installation + "\n"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
}

// An App gets one token for many requests, good for statuses of this repository alone: the server refuses to make another.
func TestApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey})
	c := dial(t, s, at, appSecret(key, "2"))
	for i := range 3 {
		if err := c.SetStatus(t.Context(), commit, forge.Status{Context: fmt.Sprint("c", i), State: forge.Success}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Statuses(t.Context(), commit, []string{"c0"}); err != nil {
		t.Error(err)
	}
	if got := count(s, "/access_tokens"); got != 1 || len(s.Posts()) != 3 {
		t.Errorf("%d tokens for %d posts", got, len(s.Posts()))
	}
	if rate := c.Rate(); rate.Limit != 5000 || rate.Remaining != 4996 {
		t.Errorf("rate %+v", rate)
	}
}

func TestAppThatIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(other)})[100:160]
	for _, tt := range []struct {
		reason string
		secret map[string][]byte
		answer http.HandlerFunc
		check  func(error) bool
		says   string
	}{
		{"another key", appSecret(other, "2"), nil, as[*forge.RefusedError], "rejected"},
		{"no such installation", appSecret(key, "7"), forgetest.Status(404, `{"message": "Not Found"}`), as[*forge.RefusedError], "githubAppInstallationID"},
		{"rights that it hasn't", appSecret(key, "2"),
			forgetest.Status(422, `{"message": "The permissions requested are not granted to this installation."}`), as[*forge.RefusedError], "Commit statuses: write"},
		{"a repository that it may not see", appSecret(key, "2"), forgetest.Status(422,
			`{"message": "There is at least one repository that does not exist or is not accessible to the parent installation."}`), as[*forge.RefusedError], "add it to"},
		{"suspended", appSecret(key, "2"), forgetest.Status(403, `{"message": "This installation has been suspended"}`), as[*forge.RefusedError], "suspended"},
		{"failing", appSecret(key, "2"), forgetest.Status(502, ``), as[*forge.UnavailableError], "failed"},
		{"limited", appSecret(key, "2"), forgetest.Status(403, `{"message": "API rate limit exceeded"}`, "Retry-After", "30"), as[*forge.RateLimitedError], "rate limit"},
		{"an answer that is no token", appSecret(key, "2"), forgetest.Status(201, `<html>`), as[*forge.AnswerError], "API"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s, at := start(t, forgetest.Options{App: &key.PublicKey})
			s.AnswerWith(tt.answer)
			c := dial(t, s, at, tt.secret)
			_, err := c.Statuses(t.Context(), commit, []string{"x"})
			if !tt.check(err) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, err), string(body)) {
				t.Error("the error holds the key")
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// A server that echoes the App's token, which no Secret holds, doesn't get it into an error.
func TestAppTokenIsMasked(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey})
	c := dial(t, s, at, appSecret(key, "2"))
	if _, err := c.Statuses(t.Context(), commit, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	var sent string
	s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		_, sent, _ = strings.Cut(r.Header.Get("Authorization"), " ")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"message": "what is %s?"}`, sent)
	})
	_, err = c.Statuses(t.Context(), commit, []string{"x"})
	if err == nil || sent == "" || strings.Contains(err.Error(), sent) || !strings.Contains(err.Error(), "what is ***?") {
		t.Errorf("%v", err)
	}
}

// What GitHub says about rights gets into the error.
func TestRights(t *testing.T) {
	for _, tt := range []struct {
		reason, says string
		answer       http.HandlerFunc
	}{
		{"single sign-on", "single sign-on", forgetest.Status(403, `{"message": "Resource protected by organization SAML enforcement."}`,
			"X-GitHub-SSO", "required; url=https://github.com/orgs/platform/sso?authorization_request=x")},
		{"a list of addresses", "IP allow list", forgetest.Status(403,
			`{"message": "Although you appear to have the correct authorization credentials, the platform organization has an IP allow list enabled"}`)},
		{"a classic token", `"gist"`, forgetest.Status(403, `{"message": "Forbidden"}`, "X-OAuth-Scopes", "gist", "X-Accepted-OAuth-Scopes", "repo, repo:status")},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s, at := start(t, forgetest.Options{})
			s.AnswerWith(tt.answer)
			_, err := dial(t, s, at, token).Statuses(context.Background(), commit, []string{"x"})
			if !as[*forge.RefusedError](err) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func count(s *forgetest.Server, suffix string) (n int) {
	for _, r := range s.Requests() {
		if strings.HasSuffix(r, suffix) {
			n++
		}
	}
	return n
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
