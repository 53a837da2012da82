package webhook

import (
	"strings"
	"testing"
	"time"
)

// TestNotForUs: a verified delivery that is about something else is answered with 200, whatever it looks like and however many there are.
// GitLab turns a webhook off after four other answers in a row.
func TestNotForUs(t *testing.T) {
	now := time.Now()
	s := start(t, production(nil), func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Limits.TargetRate, o.Limits.TargetBurst = 1, 1
	})
	for _, tt := range []struct {
		reason string
		body   string
		event  string // of all dialects; GitLab's names have blanks in them
	}{
		{"a member of a group", `{"created_at": "2026-11-01T10:00:00Z", "group_name": "platform", "group_path": "platform", "group_id": 100, "user_username": "ada", "event_name": "user_add_to_group"}`, "Member Hook"},
		{"a subgroup", `{"event_name": "subgroup_create", "name": "edge", "path": "edge", "full_path": "platform/edge", "group_id": 10, "parent_group_id": 7}`, "Subgroup Hook"},
		{"a project", `{"event_name": "project_create", "name": "fleet", "owner_email": "", "owners": [{"name": "Ada"}], "path_with_namespace": "platform/fleet", "project_id": 1, "project_visibility": "private"}`, "Project Hook"},
		{"the refs of a repository", `{"event_name": "repository_update", "user_id": 1, "project_id": 1, "project": {"name": "fleet", "path_with_namespace": "platform/fleet", "default_branch": "main"},
			"changes": [{"before": "8205ea8d81ce0c6b90fbe8280d118cc9fdad6130", "after": "4045ea7a3df38697b3730a20fb73c8bed8a3e69e", "ref": "refs/heads/main"}], "refs": ["refs/heads/main"]}`, "System Hook"},
		{"a user", `{"event_name": "user_create", "username": "ada", "user_id": 41, "project": null, "changes": 7, "ref": {}}`, "System Hook"},
		{"an issue", `{"object_kind": "issue", "project": [], "changes": [{"target_branch": 1}], "ref": 1, "object_attributes": "closed"}`, "Issue Hook"},
		{"a pipeline", `{"object_kind": "pipeline", "object_attributes": {"id": 31, "ref": "main"}, "project": {"path_with_namespace": "platform/fleet"}}`, "Pipeline Hook"},
		{"an emoji", `{"object_kind": "emoji", "event_type": "award", "project_id": 7}`, "Emoji Hook"},
		{"a kind that GitLab has yet to invent", `{"object_kind": "thing", "ref": 3}`, "Thing Hook"},
		{"nothing at all", `{}`, "Resource Access Token Hook"},
		{"another repository", strings.ReplaceAll(string(payload(t, "gitlab-push")), "platform/fleet", "platform/other"), "Push Hook"},
	} {
		for range 6 {
			if got := s.post("production", []byte(tt.body), gitLabToken(tt.event, secret)...); got.status != 200 {
				t.Fatalf("GitLab, %s: %d %q", tt.reason, got.status, got.text)
			}
		}
		name := strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(tt.event, " Hook"), " ", "_"))
		if name == "push" {
			continue
		}
		for forge, headers := range map[string][]string{"GitHub": gitHub(name, secret, []byte(tt.body)), "Gitea": gitea(name, secret, []byte(tt.body)), "Forgejo": forgejo(name, secret, []byte(tt.body))} {
			if got := s.post("production", []byte(tt.body), headers...); got.status != 200 {
				t.Errorf("%s, %s: %d %q", forge, tt.reason, got.status, got.text)
			}
		}
	}
	if told := s.take(); len(told) > 0 {
		t.Errorf("told %v", told)
	}
	// One that matters still gets through.
	body := payload(t, "gitlab-push")
	if got := s.post("production", body, gitLabToken("Push Hook", secret)...); got.status != 202 {
		t.Errorf("a push: %d %q", got.status, got.text)
	}
}
