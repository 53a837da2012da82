package webhook

import (
	"encoding/json"
	"errors"
	"strings"
)

// maxText is the longest value that is read from a payload: that of a ref name.
const maxText = 1024

// text is a string in a payload, of limited length and without control characters. null is the empty string.
type text string

// UnmarshalJSON checks the length before it allocates a string.
func (t *text) UnmarshalJSON(raw []byte) error {
	if len(raw) > maxText {
		return errors.New("a value is too long")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return errors.New("a value is not a string")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return errors.New("a value has control characters, or is not UTF-8")
	}
	*t = text(s)
	return nil
}

// payloadError explains why a verified payload can't be parsed. It never quotes the payload.
type payloadError string

func (m payloadError) Error() string { return string(m) }

// parse parses a verified body. Errors are of the type payloadError.
func parse(c credentials, body []byte) (Event, error) {
	var event Event
	var err error
	switch c.provider {
	case GitHub, Gitea, Forgejo:
		event, err = parseGitHub(c.event, body)
	case GitLab:
		event, err = parseGitLab(c.event, body)
	default:
		event = parseGeneric(body)
	}
	if err != nil {
		return Event{}, err
	}
	event.Provider = c.provider
	return event, event.check()
}

// decode decodes the requested fields of a JSON object, and ignores the rest.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		// The library's errors quote their input. The library bounds the depth.
		return payloadError("the body is not the JSON of this webhook; check that the webhook's content type is application/json")
	}
	return nil
}

// check validates the fields that an event of its kind needs.
func (e Event) check() error {
	switch {
	case e.Kind == Ping || e.Kind == Other:
		return nil
	case e.Provider != Generic && e.Repository == "":
		return payloadError("the payload names no repository")
	case e.Ref != "" && !strings.HasPrefix(e.Ref, "refs/") || e.Ref == "" && e.Provider != Generic && e.Kind != PullRequestCommented:
		return payloadError("the payload names no ref")
	case !isCommit(e.Before) || !isCommit(e.After) || !isCommit(e.Head):
		return payloadError("the payload has an invalid commit hash")
	case e.Kind != Push && e.Kind != MergeGroup && e.PullRequest < 1:
		return payloadError("the payload names no pull request")
	case e.Kind != Push && e.Kind != PullRequestCommented && e.Head == "":
		return payloadError("the payload names no head commit")
	}
	return nil
}

// isCommit accepts SHA-1 and SHA-256 in hexadecimal, and the empty string.
func isCommit(s string) bool {
	if len(s) != 0 && len(s) != 40 && len(s) != 64 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

// gitHubPayload has the used fields of GitHub's payloads. Gitea and Forgejo use the same names.
type gitHubPayload struct {
	Ref         text  `json:"ref"`
	Before      text  `json:"before"`
	After       text  `json:"after"`
	Action      text  `json:"action"`
	Number      int64 `json:"number"`
	PullRequest *struct {
		Head gitHubSide `json:"head"`
		Base gitHubSide `json:"base"`
	} `json:"pull_request"`
	Changes struct {
		Base json.RawMessage `json:"base"` // GitHub: the base branch has changed
		Ref  json.RawMessage `json:"ref"`  // Gitea's name for it
	} `json:"changes"`
	Repository struct {
		FullName      text `json:"full_name"`
		DefaultBranch text `json:"default_branch"`
	} `json:"repository"`
}

type gitHubSide struct {
	Ref  text `json:"ref"`
	SHA  text `json:"sha"`
	Repo *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func parseGitHub(name string, body []byte) (Event, error) {
	switch name {
	case "ping":
		return Event{Kind: Ping}, nil
	case "push", "pull_request", "pull_request_sync": // the last is a type of Gitea's pull_request
	case "issue_comment", "pull_request_comment":
		return parseComment(body)
	case "merge_group":
		return parseMergeGroup(body)
	default:
		return Event{Kind: Other}, nil
	}
	var p gitHubPayload
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	e := Event{Repository: string(p.Repository.FullName), DefaultBranch: string(p.Repository.DefaultBranch)}
	if name == "push" {
		e.Kind, e.Ref, e.Before, e.After = Push, string(p.Ref), string(p.Before), string(p.After)
		return e, nil
	}
	if p.PullRequest == nil {
		return Event{}, payloadError("the payload names no pull request")
	}
	head, base := p.PullRequest.Head, p.PullRequest.Base
	e.PullRequest, e.Head, e.Ref = p.Number, string(head.SHA), "refs/heads/"+string(base.Ref)
	// The repository of a fork may have been deleted. An unknown repository counts as a fork.
	// A head that isn't on a branch was pushed to Gitea's refs/for/, which readers may do.
	e.Fork = head.Repo == nil || base.Repo == nil || head.Repo.ID != base.Repo.ID || strings.HasPrefix(string(head.Ref), "refs/")
	e.Kind = pullRequestKind(string(p.Action), len(p.Changes.Base)+len(p.Changes.Ref) > 0)
	return e, nil
}

// pullRequestKind maps the actions of GitHub, Gitea and Forgejo, and those of GitLab.
func pullRequestKind(action string, moved bool) Kind {
	switch action {
	case "opened", "reopened", "open", "reopen":
		return PullRequestOpened
	case "synchronize", "synchronized", "ready_for_review", "converted_to_draft": // GitHub; Gitea and Forgejo; GitHub
		return PullRequestUpdated
	case "edited", "update":
		if moved {
			return PullRequestUpdated
		}
		return Other
	case "closed", "close", "merge":
		return PullRequestClosed
	default:
		return Other
	}
}

type gitLabPayload struct {
	Ref     text `json:"ref"`
	Before  text `json:"before"`
	After   text `json:"after"`
	Project struct {
		Path          text `json:"path_with_namespace"`
		DefaultBranch text `json:"default_branch"`
	} `json:"project"`
	Changes struct {
		TargetBranch json.RawMessage `json:"target_branch"`
	} `json:"changes"`
	// For comments and issues these fields have other types, so they are decoded in a second step.
	Attributes json.RawMessage `json:"object_attributes"`
}

type mergeRequest struct {
	Number       int64 `json:"iid"`
	Action       text  `json:"action"`
	OldRevision  text  `json:"oldrev"` // only present if the commits have changed
	TargetBranch text  `json:"target_branch"`
	Source       int64 `json:"source_project_id"` // null, read as 0, if it was deleted
	Target       int64 `json:"target_project_id"`
	LastCommit   struct {
		ID text `json:"id"`
	} `json:"last_commit"`
}

// parseGitLab decodes the kind first. Unused events have other types in fields of the same names. Those about members,
// groups, projects and, for system hooks, repositories have no object_kind at all.
func parseGitLab(name string, body []byte) (Event, error) {
	var kind struct {
		ObjectKind text `json:"object_kind"`
	}
	if err := decode(body, &kind); err != nil {
		return Event{}, err
	}
	var p gitLabPayload
	err := decode(body, &p)
	e := Event{Kind: Other, Repository: string(p.Project.Path), DefaultBranch: string(p.Project.DefaultBranch)}
	switch kind.ObjectKind {
	case "push", "tag_push":
		e.Kind, e.Ref, e.Before, e.After = Push, string(p.Ref), string(p.Before), string(p.After)
	case "merge_request":
		var mr mergeRequest
		if err := errors.Join(err, decode(p.Attributes, &mr)); err != nil {
			return Event{}, err
		}
		e.about(mr)
		e.Kind = pullRequestKind(string(mr.Action), mr.OldRevision != "" || len(p.Changes.TargetBranch) > 0)
	case "note":
		return parseNote(e, body)
	case "":
		if name == "Push Hook" || name == "Tag Push Hook" || name == "Merge Request Hook" {
			return Event{}, payloadError("the payload has no object_kind")
		}
		return Event{Kind: Other}, nil
	default:
		if err != nil {
			return Event{Kind: Other}, nil //nolint:nilerr // verified, but unused, whatever its form
		}
	}
	return e, err
}

func (e *Event) about(mr mergeRequest) {
	e.PullRequest, e.Head, e.Ref = mr.Number, string(mr.LastCommit.ID), "refs/heads/"+string(mr.TargetBranch)
	e.Fork = mr.Source == 0 || mr.Source != mr.Target
}

// parseGeneric accepts any body: a sender with the secret may request a sync. If it is a JSON object with a ref, that is
// used as in GitHub's payloads.
func parseGeneric(body []byte) Event {
	var p struct {
		Ref text `json:"ref"`
	}
	if err := decode(body, &p); err != nil || !strings.HasPrefix(string(p.Ref), "refs/") {
		return Event{Kind: Push}
	}
	return Event{Kind: Push, Ref: string(p.Ref)}
}
