package gitlab_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const hash = "5f3c1a7b9d2e4f60718293a4b5c6d7e8f9012345"

func start(t *testing.T, repository string) (*forgetest.Server, connect.Client) {
	t.Helper()
	s := forgetest.StartGitLab(t, forgetest.Options{Repository: repository})
	return s, client(t, s)
}

func client(t *testing.T, s *forgetest.Server) connect.Client {
	t.Helper()
	c, err := connect.To(connect.Config{Provider: forge.GitLab, URL: s.GitURL(), Secret: map[string][]byte{"token": []byte("t0ken")}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func set(t *testing.T, c connect.Client, commit forge.Commit, state forge.State, description string) {
	t.Helper()
	s := forge.Status{Context: "muster/production", State: state, Description: description}
	if err := c.SetStatus(t.Context(), commit, s); err != nil {
		t.Fatal(err)
	}
}

// A project below subgroups, with a dot in its name, is one segment of the path.
func TestSubgroups(t *testing.T) {
	s, c := start(t, "platform/security/scans/fleet.v2")
	s.AddCommit(hash)
	set(t, c, forge.Commit{Hash: hash}, forge.Success, "")
	if got := s.Requests()[0]; got != "POST /api/v4/projects/platform%2Fsecurity%2Fscans%2Ffleet%2Ev2/statuses/"+hash || len(s.Posts()) != 1 {
		t.Errorf("%s, %d posts", got, len(s.Posts()))
	}
}

// A status goes to the branch that it is about, even if others have the commit too; without one GitLab picks.
func TestBranch(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash, "feature", "main")
	set(t, c, forge.Commit{Hash: hash, Branch: "main"}, forge.Success, "")
	shown, err := c.Statuses(t.Context(), forge.Commit{Hash: hash, Branch: "feature"}, []string{"muster/production"})
	if err != nil || len(shown) != 0 {
		t.Errorf("at the other branch: %+v, %v", shown, err)
	}
	other := forge.Commit{Hash: "00" + hash[2:]}
	s.AddCommit(other.Hash, "feature", "main")
	set(t, c, other, forge.Success, "")
	if p := s.Posts(); len(p) != 2 || p[0].Branch != "main" || p[1].Branch != "feature" {
		t.Errorf("%+v", p)
	}
}

// What was started in one pipeline is ended there, even if another has begun since: else the first never ends. What comes
// after goes to the newest.
func TestPipelines(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	first := s.NewPipeline(hash, "main")
	set(t, c, at, forge.Pending, "rendering")
	second := s.NewPipeline(hash, "main")
	set(t, c, at, forge.Success, "12 clusters")
	set(t, c, at, forge.Failure, "1 cluster drifted")
	p := s.Posts()
	if len(p) != 3 || p[0].Pipeline != first || p[1].Pipeline != first || p[2].Pipeline != second {
		t.Fatalf("want pipelines %d, %d and %d: %+v", first, first, second, p)
	}
	shown, err := c.Statuses(t.Context(), at, []string{"muster/production"})
	if err != nil || shown["muster/production"].State != forge.Failure {
		t.Errorf("%+v, %v", shown, err)
	}
}

// What another process has started is ended in its pipeline: after a restart, which reads first, and when GitLab answers that
// it is pending already.
func TestPipelinesOfOthers(t *testing.T) {
	for reason, learn := range map[string]func(t *testing.T, c connect.Client, at forge.Commit) error{
		"it was read": func(t *testing.T, c connect.Client, at forge.Commit) error {
			t.Helper()
			_, err := c.Statuses(t.Context(), at, []string{"muster/production"})
			return err
		},
		"it was there already": func(t *testing.T, c connect.Client, at forge.Commit) error {
			t.Helper()
			return c.SetStatus(t.Context(), at, forge.Status{Context: "muster/production", State: forge.Pending})
		},
	} {
		t.Run(reason, func(t *testing.T) {
			s, earlier := start(t, "")
			s.AddCommit(hash)
			at := forge.Commit{Hash: hash, Branch: "main"}
			first := s.NewPipeline(hash, "main")
			set(t, earlier, at, forge.Pending, "rendering")
			c := client(t, s)
			if err := learn(t, c, at); err != nil {
				t.Fatal(err)
			}
			s.NewPipeline(hash, "main")
			set(t, c, at, forge.Success, "12 clusters")
			if p := s.Posts(); len(p) != 2 || p[1].Pipeline != first || p[1].State != forge.Success {
				t.Errorf("want the pipeline %d: %+v", first, p)
			}
		})
	}
}

// One request sets a status, and what is remembered of it ends with it.
func TestOneRequestForAStatus(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	for i, state := range []forge.State{forge.Success, forge.Pending, forge.Failure, forge.Pending, forge.Success} {
		set(t, c, at, state, "")
		if n := len(s.Requests()); n != i+1 || len(s.Posts()) != n {
			t.Errorf("%s: %d requests, %d posts, want %d", state, n, len(s.Posts()), i+1)
		}
	}
}

// A pipeline that was deleted keeps no status from being set.
func TestDeletedPipeline(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	set(t, c, at, forge.Pending, "")
	s.AnswerWith(forgetest.Status(404, `{"message": "404 Pipeline for pipeline_id, sha and ref Not Found"}`))
	done := forge.Status{Context: "muster/production", State: forge.Success}
	if err := c.SetStatus(t.Context(), at, done); err == nil {
		t.Error("a status in a deleted pipeline")
	}
	s.AnswerWith(nil)
	newest := s.NewPipeline(hash, "main")
	if err := c.SetStatus(t.Context(), at, done); err != nil {
		t.Fatal(err)
	}
	if p := s.Posts(); p[len(p)-1].Pipeline != newest {
		t.Errorf("want the pipeline %d: %+v", newest, p)
	}
}

// GitLab changes nothing of a status that is pending, so another text for it is no reason to post; nor is a state that comes
// from elsewhere and means the same.
func TestPendingIsNotRepeated(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	wanted := forge.Status{Context: "muster/production", State: forge.Pending, Description: "2 of 12 clusters scanned"}
	set(t, c, at, forge.Pending, "1 of 12 clusters scanned")
	shown, err := c.Statuses(t.Context(), at, []string{wanted.Context})
	if err != nil || !c.UpToDate(shown[wanted.Context], wanted) {
		t.Errorf("%+v, %v", shown, err)
	}
	n := len(s.Requests())
	if err := c.SetStatus(t.Context(), at, wanted); err != nil {
		t.Error(err)
	}
	for _, r := range s.Requests()[n:] {
		if strings.HasPrefix(r, http.MethodPost) {
			t.Errorf("a post that GitLab refuses: %s", r)
		}
	}
	wanted.Context = "muster/other"
	if c.UpToDate(shown["muster/production"], wanted) {
		t.Error("another context's status will do")
	}
}

// GitLab keeps the text and the link of a status that ends without any: that is no reason to post again.
func TestWhatIsKept(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	set(t, c, at, forge.Pending, "rendering")
	set(t, c, at, forge.Success, "")
	shown, err := c.Statuses(t.Context(), at, []string{"muster/production"})
	if err != nil {
		t.Fatal(err)
	}
	got := shown["muster/production"]
	if got.Description != "rendering" || !c.UpToDate(got, forge.Status{Context: "muster/production", State: forge.Success}) {
		t.Errorf("%+v", got)
	}
	if c.UpToDate(got, forge.Status{Context: "muster/production", State: forge.Success, Description: "12 clusters"}) {
		t.Error("another text will do")
	}
}

// Another replica may be faster. GitLab's answer to that is no failure, and what is shown is read; another 400 is one.
func TestTransitionErrors(t *testing.T) {
	for _, tt := range []struct {
		reason, body string
		harmless     bool
	}{
		{"pending already", `{"message": "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"}`, true},
		{"running already", `{"message": "Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"}`, true},
		{"cancelled while it was set", `{"message": "Cannot transition status via :drop from :canceled"}`, false},
		{"a name that is too long", `{"message": {"name": ["is too long (maximum is 255 characters)"]}}`, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s, c := start(t, "")
			s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					forgetest.Status(200, `[]`)(w, r)
					return
				}
				forgetest.Status(400, tt.body)(w, r)
			})
			err := c.SetStatus(t.Context(), forge.Commit{Hash: hash}, forge.Status{Context: "x", State: forge.Pending})
			if _, rejected := errors.AsType[*forge.RejectedError](err); rejected == tt.harmless || tt.harmless && err != nil {
				t.Errorf("%v", err)
			}
			want := 1
			if tt.harmless {
				want = 2
			}
			if n := len(s.Requests()); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		})
	}
}

// The server of these tests has GitLab's state machine: without what the client does about it, a second pending is refused.
func TestPendingTwice(t *testing.T) {
	s, c := start(t, "")
	s.AddCommit(hash)
	at := forge.Commit{Hash: hash, Branch: "main"}
	set(t, c, at, forge.Pending, "")
	raw, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/api/v4/projects/platform%2Ffleet/statuses/"+hash,
		strings.NewReader(`{"state": "pending", "name": "muster/production"}`))
	if err != nil {
		t.Fatal(err)
	}
	raw.Header.Set("Private-Token", "t0ken")
	res, err := http.DefaultClient.Do(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("pending twice: %d, which is not what GitLab does", res.StatusCode)
	}
}

// States that others have set, or that GitLab came to by itself.
func TestStatesOfGitLab(t *testing.T) {
	for _, tt := range []struct {
		state     string
		satisfies forge.State // empty: none
	}{
		{"created", forge.Pending}, {"waiting_for_resource", forge.Pending}, {"running", forge.Pending}, {"pending", forge.Pending},
		{"success", forge.Success}, {"failed", forge.Failure}, {"canceled", ""}, {"skipped", ""}, {"unheard of", ""},
	} {
		t.Run(tt.state, func(t *testing.T) {
			s, c := start(t, "")
			s.AnswerWith(forgetest.Status(200, `[{"id": 1, "name": "x", "status": "`+tt.state+`", "description": null, "target_url": null},
				{"id": 9, "name": "y", "status": "success"}, null]`))
			shown, err := c.Statuses(t.Context(), forge.Commit{Hash: hash}, []string{"x"})
			if err != nil || len(shown) != 1 {
				t.Fatalf("%+v, %v", shown, err)
			}
			for _, wanted := range []forge.State{forge.Pending, forge.Success, forge.Failure} {
				if got := c.UpToDate(shown["x"], forge.Status{Context: "x", State: wanted}); got != (wanted == tt.satisfies) {
					t.Errorf("%s for %s: %t", tt.state, wanted, got)
				}
			}
		})
	}
}
