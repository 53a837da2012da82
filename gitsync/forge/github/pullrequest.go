package github

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/google/go-github/v88/github"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// pullRequest has the used fields of https://docs.github.com/rest/pulls/pulls. Lists have no field "merged".
type pullRequest struct {
	Number   int64       `json:"number"`
	State    string      `json:"state"`
	Draft    bool        `json:"draft"`
	MergedAt *time.Time  `json:"merged_at"`
	Updated  time.Time   `json:"updated_at"`
	HTMLURL  string      `json:"html_url"`
	User     *wire.Login `json:"user"`
	Head     side        `json:"head"`
	Base     side        `json:"base"`
	// MergeCommit is what the branch was moved to: a merge, the squashed commit, or the last rebased one. Before the merge it is
	// GitHub's test of it.
	MergeCommit string `json:"merge_commit_sha"`
}

type side struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func (p pullRequest) value() (forge.PullRequest, bool) {
	pull := forge.PullRequest{
		Number: p.Number, Head: p.Head.SHA, Base: p.Base.Ref, URL: p.HTMLURL,
		Fork: p.Head.Repo == nil || p.Base.Repo == nil || p.Head.Repo.ID != p.Base.Repo.ID,
		Open: p.State == "open", Draft: p.Draft, Merged: p.MergedAt != nil, Updated: p.Updated.UTC(),
	}
	if p.User != nil {
		pull.Author = p.User.Login
	}
	return pull, p.Number > 0 && forge.Commit{Hash: p.Head.SHA}.Validate() == nil
}

func (c *Client) path(format string, args ...any) string {
	return "/repos/" + url.PathEscape(c.repository.Owner()) + "/" + url.PathEscape(c.repository.Name()) + fmt.Sprintf(format, args...)
}

func pages(path string, query url.Values) wire.Pages {
	return wire.Pages{Path: path, Query: query, Size: pageSize, Parameter: "per_page", More: wire.LinkToNext}
}

// PullRequests lists the open pull requests into a branch. An answer "not modified" doesn't count against the rate limit.
func (c *Client) PullRequests(ctx context.Context, base string, since *forge.PullRequestList) (*forge.PullRequestList, error) {
	if err := forge.ValidateBranch(base); err != nil {
		return nil, err
	}
	query := url.Values{"state": {"open"}, "base": {base}, "sort": {"created"}, "direction": {"asc"}}
	return wire.PullRequests(ctx, c.pullsConn, pages(c.path("/pulls"), query), base, since, pullRequest.value)
}

// PullRequest reads one pull request.
func (c *Client) PullRequest(ctx context.Context, number int64) (forge.PullRequest, error) {
	return wire.OnePullRequest(ctx, c.pullsConn, c.path("/pulls/%d", number), number, pullRequest.value)
}

// MergedAs finds the pull request whose merge made a commit. GitHub lists all that have the commit, merged or not.
func (c *Client) MergedAs(ctx context.Context, commit forge.Commit, base string) ([]forge.PullRequest, error) {
	return wire.MergedAs(ctx, c.pullsConn, pages(c.path("/commits/%s/pulls", commit.Hash), nil), commit, base, func(p pullRequest) (forge.PullRequest, bool) {
		pull, ok := p.value()
		return pull, ok && p.MergeCommit == commit.Hash
	})
}

// Comments reads the conversation, without the comments on lines of the diff.
func (c *Client) Comments(ctx context.Context, number int64) ([]forge.Comment, error) {
	return wire.Comments(ctx, c.pullsConn, pages(c.path("/issues/%d/comments", number), nil), number, wire.IssueComment.Value)
}

// CreateComment adds a comment to the conversation.
func (c *Client) CreateComment(ctx context.Context, number int64, body string) (forge.Comment, error) {
	if err := forge.ValidateComment(number, body); err != nil {
		return forge.Comment{}, err
	}
	created, _, err := c.pulls.Issues.CreateComment(ctx, c.repository.Owner(), c.repository.Name(), int(number), &github.IssueComment{Body: &body})
	if err == nil && created.GetID() < 1 {
		err = wire.ErrNothing
	}
	if err != nil {
		return forge.Comment{}, c.pullsConn.FailAbout(ctx, wire.PullRequest, fmt.Sprintf("comment on pull request %d", number), err)
	}
	c.pullsConn.Done()
	return forge.Comment{
		ID: created.GetID(), AuthorID: created.GetUser().GetID(), Author: created.GetUser().GetLogin(), Body: created.GetBody(),
		Created: created.GetCreatedAt().Time, Updated: created.GetUpdatedAt().Time,
	}, nil
}

// UpdateComment replaces the text of a comment.
func (c *Client) UpdateComment(ctx context.Context, number, id int64, body string) error {
	if err := forge.ValidateNumber("comment", id); err != nil {
		return err
	}
	if err := forge.ValidateComment(number, body); err != nil {
		return err
	}
	_, _, err := c.pulls.Issues.EditComment(ctx, c.repository.Owner(), c.repository.Name(), id, &github.IssueComment{Body: &body})
	if err != nil {
		return c.pullsConn.FailAbout(ctx, wire.Comment, fmt.Sprintf("update comment %d on pull request %d", id, number), err)
	}
	c.pullsConn.Done()
	return nil
}

// CanWrite asks whether a user may push to the repository. GitHub reports the role "maintain" as write, and "triage" as read.
func (c *Client) CanWrite(ctx context.Context, u forge.User) (bool, error) {
	if err := u.Validate(); err != nil {
		return false, err
	}
	level, _, err := c.pulls.Repositories.GetPermissionLevel(ctx, c.repository.Owner(), c.repository.Name(), u.Login)
	if err == nil && level.GetPermission() == "" {
		err = wire.ErrNothing
	}
	if err != nil {
		err = c.pullsConn.FailAbout(ctx, wire.User, "read the permission of "+u.Login, err)
		return false, wire.Unknown(err, "is not a user")
	}
	c.pullsConn.Done()
	switch level.GetPermission() {
	case "admin", "maintain", "write":
		return level.GetUser().GetID() == u.ID, nil // a login may be another account's by now
	}
	return false, nil
}

// Self is the account that the credentials belong to. An App comments as its bot, an account whose login is the App's name
// with [bot].
func (c *Client) Self(ctx context.Context) (forge.User, error) {
	return c.self.Get(func() (forge.User, error) {
		login, err := c.botLogin(ctx)
		var me *github.User
		if err == nil {
			me, _, err = c.pulls.Users.Get(ctx, login)
		}
		if err == nil && me.GetID() < 1 {
			err = wire.ErrNothing
		}
		if err != nil {
			return forge.User{}, c.pullsConn.FailAbout(ctx, wire.Self, "read the account of the credentials", err)
		}
		c.pullsConn.Done()
		return forge.User{ID: me.GetID(), Login: me.GetLogin()}, nil
	})
}

// botLogin is empty for the credentials of a user.
func (c *Client) botLogin(ctx context.Context) (string, error) {
	if c.app == nil {
		return "", nil
	}
	app, _, err := c.app.Apps.Get(ctx, "")
	if err != nil {
		return "", err
	}
	login := app.GetSlug() + "[bot]"
	if app.GetSlug() == "" || (forge.User{ID: 1, Login: login}).Validate() != nil {
		return "", wire.ErrNothing
	}
	return login, nil
}
