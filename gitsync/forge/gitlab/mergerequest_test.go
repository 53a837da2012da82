package gitlab_test

import (
	"errors"
	"testing"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// The states of GitLab, which has one more while it merges.
func TestStatesOfMergeRequests(t *testing.T) {
	for state, want := range map[string][2]bool{"opened": {true, false}, "locked": {true, false}, "closed": {false, false}, "merged": {false, true}} {
		s, c := start(t, "")
		s.AnswerWith(forgetest.Status(200, `{"iid": 7, "state": "`+state+`", "sha": "`+hash+`", "target_branch": "main", "source_project_id": 1, "target_project_id": 1}`))
		got, err := c.PullRequest(t.Context(), 7)
		if err != nil || got.Open != want[0] || got.Merged != want[1] || got.Fork {
			t.Errorf("%s: %+v, %v", state, got, err)
		}
	}
}

// Without both ids a merge request is a fork's.
func TestProjectsOfMergeRequests(t *testing.T) {
	for ids, fork := range map[string]bool{
		`"source_project_id": 1, "target_project_id": 1`:    false,
		`"source_project_id": 2, "target_project_id": 1`:    true,
		`"source_project_id": null, "target_project_id": 1`: true,
		`"source_project_id": 1`:                            true,
		`"target_project_id": 1`:                            true,
		`"author": null`:                                    true,
	} {
		s, c := start(t, "")
		s.AnswerWith(forgetest.Status(200, `{"iid": 7, "state": "opened", "sha": "`+hash+`", "target_branch": "main", `+ids+`}`))
		if got, err := c.PullRequest(t.Context(), 7); err != nil || got.Fork != fork {
			t.Errorf("%s: %+v, %v", ids, got, err)
		}
	}
}

// Comments on lines of the diff are no part of the conversation, and neither are events.
func TestKindsOfNotes(t *testing.T) {
	s, c := start(t, "")
	s.AnswerWith(forgetest.Status(200, `[
		{"id": 1, "type": null, "body": "a comment", "author": {"id": 5, "username": "jane"}},
		{"id": 2, "type": "DiscussionNote", "body": "an answer", "author": null},
		{"id": 3, "type": "DiffNote", "body": "on a line"},
		{"id": 4, "type": null, "system": true, "body": "an event"}]`))
	got, err := c.Comments(t.Context(), 7)
	if err != nil || len(got) != 2 || got[0].AuthorID != 5 || got[1].AuthorID != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Roles are numbers, and a blocked account may do nothing.
func TestMembers(t *testing.T) {
	for body, want := range map[string]bool{
		`{"id": 5, "state": "active", "access_level": 50}`:  true,
		`{"id": 5, "state": "active", "access_level": 30}`:  true,
		`{"id": 5, "state": "active", "access_level": 29}`:  false,
		`{"id": 5, "state": "active", "access_level": 20}`:  false,
		`{"id": 5, "state": "blocked", "access_level": 50}`: false,
		`{"id": 5, "access_level": 50}`:                     false,
	} {
		s, c := start(t, "")
		s.AnswerWith(forgetest.Status(200, body))
		if got, err := c.CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"}); err != nil || got != want {
			t.Errorf("%s: %t, %v", body, got, err)
		}
	}
	s, c := start(t, "")
	s.AnswerWith(forgetest.Status(404, `{"message": "404 Project Not Found"}`))
	_, err := c.CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"})
	if _, ok := errors.AsType[*forge.NotFoundError](err); !ok {
		t.Errorf("a project that isn't there: %v", err)
	}
}

// A project below subgroups is one segment of the path.
func TestMergeRequestsOfSubgroups(t *testing.T) {
	s, c := start(t, "platform/security/scans/fleet.v2")
	if _, err := c.PullRequests(t.Context(), "main", nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[0]; got != "GET /api/v4/projects/platform%2Fsecurity%2Fscans%2Ffleet%2Ev2/merge_requests" {
		t.Error(got)
	}
}
