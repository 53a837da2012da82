package github_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

func startChecks(t *testing.T) (*forgetest.Server, connect.CheckRunner, *clock) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, forgetest.Options{App: &key.PublicKey})
	runner, ok := dial(t, s, at, appSecret(key, "2")).(connect.CheckRunner)
	if !ok {
		t.Fatal("an App can't set check runs")
	}
	return s, runner, at
}

// run is a check run with n annotations.
func run(state forge.State, id string, n int) forge.CheckRun {
	r := forge.CheckRun{Commit: commit, Name: "muster/production", ExternalID: id, State: state, Title: "12 clusters", Summary: "of **" + id + "**"}
	for i := range n {
		r.Annotations = append(r.Annotations, forge.Annotation{Path: "clusters/eu.yaml", Line: i + 1, Level: forge.Problem, Message: fmt.Sprint(id, " ", i)})
	}
	return r
}

// A run is set once, and changed in place as far as GitHub can.
func TestCheckRuns(t *testing.T) {
	s, runner, _ := startChecks(t)
	writes := func() (n int) {
		for _, r := range s.Requests() {
			if !strings.HasPrefix(r, http.MethodGet) && !strings.HasSuffix(r, "/access_tokens") {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		reason       string
		run          forge.CheckRun
		writes, runs int
		status       string
		annotations  int
	}{
		{"pending", run(forge.Pending, "a", 0), 1, 1, "in_progress/", 0},
		{"pending still", run(forge.Pending, "a", 0), 0, 1, "in_progress/", 0},
		{"a result, in place", run(forge.Failure, "b", 120), 3, 1, "completed/failure", 120},
		{"the same result", run(forge.Failure, "b", 120), 0, 1, "completed/failure", 120},
		{"the same content, another state", run(forge.Canceled, "b", 120), 1, 1, "completed/cancelled", 120},
		{"other annotations are another run", run(forge.Failure, "c", 50), 1, 2, "completed/failure", 50},
		{"no annotations", run(forge.Success, "d", 0), 1, 3, "completed/success", 0},
		{"an error", run(forge.Error, "e", 1), 1, 3, "completed/failure", 1},
	} {
		before := writes()
		if err := runner.SetCheckRun(t.Context(), tt.run); err != nil {
			t.Fatalf("%s: %v", tt.reason, err)
		}
		all := s.Checks()
		last := all[len(all)-1]
		if n := writes() - before; n != tt.writes || len(all) != tt.runs || last.Status+"/"+last.Conclusion != tt.status || len(last.Annotations) != tt.annotations ||
			last.ExternalID != tt.run.ExternalID || last.Summary != tt.run.Summary || last.Commit != commit.Hash {
			t.Errorf("%s: %d writes, %d runs, %+v", tt.reason, n, len(all), last)
		}
	}
	if first := s.Checks()[0]; first.Annotations[119] != "clusters/eu.yaml:120-120 failure b 119" || len(slices.Compact(slices.Sorted(slices.Values(first.Annotations)))) != 120 {
		t.Errorf("%q", first.Annotations)
	}
}

// A run whose requests are interrupted has no result, and is completed by the next call, without an annotation twice.
func TestCheckRunThatIsInterrupted(t *testing.T) {
	s, runner, at := startChecks(t)
	for i := range 78 {
		if err := runner.SetCheckRun(t.Context(), run(forge.Pending, fmt.Sprint(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	want := run(forge.Success, "x", 170)
	if err := runner.SetCheckRun(t.Context(), want); !as[*forge.RateLimitedError](err) {
		t.Fatalf("%v", err)
	}
	if c := s.Checks()[0]; c.Status != "in_progress" || len(c.Annotations) != 100 {
		t.Errorf("%s with %d annotations", c.Status, len(c.Annotations))
	}
	at.advance(2 * time.Minute)
	t.Run("other content", func(t *testing.T) {
		s, runner, at := startChecks(t)
		for i := range 78 {
			if err := runner.SetCheckRun(t.Context(), run(forge.Pending, fmt.Sprint(i), 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := runner.SetCheckRun(t.Context(), want); !as[*forge.RateLimitedError](err) {
			t.Fatalf("%v", err)
		}
		at.advance(2 * time.Minute)
		if err := runner.SetCheckRun(t.Context(), run(forge.Success, "y", 1)); err != nil {
			t.Fatal(err)
		}
		if all := s.Checks(); len(all) != 2 || all[0].Conclusion != "cancelled" || all[0].Title == "" || all[1].Conclusion != "success" || len(all[1].Annotations) != 1 {
			t.Errorf("%d runs", len(all))
		}
	})
	if err := runner.SetCheckRun(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	c := s.Checks()[0]
	if len(s.Checks()) != 1 || c.Conclusion != "success" || len(slices.Compact(slices.Sorted(slices.Values(c.Annotations)))) != 170 || len(c.Annotations) != 170 {
		t.Errorf("%s with %d annotations", c.Conclusion, len(c.Annotations))
	}
}

// Runs of other Apps, and other names, are none of ours.
func TestCheckRunsOfOthers(t *testing.T) {
	for _, shown := range []string{
		`{"id": 9, "name": "muster/production", "external_id": "a", "status": "completed", "conclusion": "success", "app": {"id": 2}}`,
		`{"id": 9, "name": "muster/other", "external_id": "a", "status": "completed", "conclusion": "success", "app": {"id": 1}}`,
	} {
		s, runner, _ := startChecks(t)
		if err := runner.SetCheckRun(t.Context(), run(forge.Pending, "0", 0)); err != nil { // the token is there
			t.Fatal(err)
		}
		var asked []string
		s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method)
			if r.Method == http.MethodGet {
				forgetest.Status(200, `{"check_runs": [`+shown+`]}`)(w, r)
				return
			}
			forgetest.Status(201, `{"id": 10}`)(w, r)
		})
		if err := runner.SetCheckRun(t.Context(), run(forge.Success, "a", 0)); err != nil || !slices.Equal(asked, []string{"GET", "POST"}) {
			t.Errorf("%s: %q, %v", shown, asked, err)
		}
	}
}

func TestCheckRunsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		reason string
		answer http.HandlerFunc
		check  func(error) bool
		says   string
	}{
		{"a permission that the App hasn't", forgetest.Status(422, `{"message": "The permissions requested are not granted to this installation."}`), as[*forge.RefusedError], `"Checks: write"`},
		{"failing", forgetest.Status(502, ``), as[*forge.UnavailableError], "failed"},
		{"no list", forgetest.Status(200, `{"token": "x", "expires_at": "2099-01-01T00:00:00Z"}`), as[*forge.AnswerError], "API"},
	} {
		s, runner, _ := startChecks(t)
		s.AnswerWith(tt.answer)
		if err := runner.SetCheckRun(t.Context(), run(forge.Success, "a", 0)); !tt.check(err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
	s, at := start(t, forgetest.Options{})
	if _, ok := dial(t, s, at, token).(connect.CheckRunner); ok {
		t.Error("a token can set check runs")
	}
}

func TestBadCheckRuns(t *testing.T) {
	s, runner, _ := startChecks(t)
	for reason, change := range map[string]func(*forge.CheckRun){
		"no commit":            func(r *forge.CheckRun) { r.Commit = forge.Commit{} },
		"no name":              func(r *forge.CheckRun) { r.Name = "" },
		"no state":             func(r *forge.CheckRun) { r.State = "" },
		"no id":                func(r *forge.CheckRun) { r.ExternalID = "" },
		"a long id":            func(r *forge.CheckRun) { r.ExternalID = strings.Repeat("x", 256) },
		"no title":             func(r *forge.CheckRun) { r.Title = " " },
		"no summary":           func(r *forge.CheckRun) { r.Summary = "" },
		"a long summary":       func(r *forge.CheckRun) { r.Summary = strings.Repeat("x", forge.MaxComment+1) },
		"a long text":          func(r *forge.CheckRun) { r.Text = strings.Repeat("x", forge.MaxComment+1) },
		"not UTF-8":            func(r *forge.CheckRun) { r.Summary = "\xff" },
		"too many annotations": func(r *forge.CheckRun) { *r = run(forge.Failure, "a", forge.MaxAnnotations+1) },
		"no path":              func(r *forge.CheckRun) { r.Annotations[0].Path = "" },
		"an absolute path":     func(r *forge.CheckRun) { r.Annotations[0].Path = "/etc/passwd" },
		"a path that escapes":  func(r *forge.CheckRun) { r.Annotations[0].Path = "../x" },
		"the folder above":     func(r *forge.CheckRun) { r.Annotations[0].Path = ".." },
		"no line":              func(r *forge.CheckRun) { r.Annotations[0].Line = 0 },
		"an end before":        func(r *forge.CheckRun) { r.Annotations[0].Line, r.Annotations[0].EndLine = 7, 6 },
		"no level":             func(r *forge.CheckRun) { r.Annotations[0].Level = "error" },
		"no message":           func(r *forge.CheckRun) { r.Annotations[0].Message = "\n" },
		"a long message":       func(r *forge.CheckRun) { r.Annotations[0].Message = strings.Repeat("x", forge.MaxAnnotation+1) },
	} {
		r := run(forge.Failure, "a", 1)
		change(&r)
		if err := runner.SetCheckRun(t.Context(), r); !as[*forge.ConfigError](err) {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
