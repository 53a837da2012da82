package webhook

// parseComment parses a comment on GitHub, Gitea and Forgejo. Comments on issues are the same event. Comments on the diff are
// another event of the last two, which has the pull request at its top.
func parseComment(body []byte) (Event, error) {
	var p struct {
		gitHubPayload
		IsPull bool `json:"is_pull"` // Gitea and Forgejo
		Issue  struct {
			Number      int64     `json:"number"`
			PullRequest *struct{} `json:"pull_request"` // GitHub
		} `json:"issue"`
	}
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	e := Event{Kind: PullRequestCommented, Repository: string(p.Repository.FullName), DefaultBranch: string(p.Repository.DefaultBranch)}
	switch {
	case p.Issue.Number != 0 && (p.IsPull || p.Issue.PullRequest != nil):
		e.PullRequest = p.Issue.Number
	case p.Issue.Number == 0 && p.PullRequest != nil:
		e.PullRequest = p.Number
	default:
		e.Kind = Other
	}
	return e, nil
}

// parseMergeGroup parses GitHub's request for the checks of a merge group. Another one tells that it is gone.
func parseMergeGroup(body []byte) (Event, error) {
	var p struct {
		gitHubPayload
		MergeGroup struct {
			HeadSHA text `json:"head_sha"`
			BaseRef text `json:"base_ref"`
		} `json:"merge_group"`
	}
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	e := Event{Kind: MergeGroup, Repository: string(p.Repository.FullName), DefaultBranch: string(p.Repository.DefaultBranch),
		Ref: string(p.MergeGroup.BaseRef), Head: string(p.MergeGroup.HeadSHA)}
	if p.Action != "checks_requested" {
		e.Kind = Other
	}
	return e, nil
}

// parseNote parses a comment on GitLab, which may be about something else than a merge request.
func parseNote(e Event, body []byte) (Event, error) {
	var p struct {
		MergeRequest *mergeRequest `json:"merge_request"`
	}
	if err := decode(body, &p); err != nil || p.MergeRequest == nil {
		return e, err
	}
	e.Kind = PullRequestCommented
	e.about(*p.MergeRequest)
	return e, nil
}
