package gitea

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// pullRequest has the used fields of Gitea's answer.
type pullRequest struct {
	Number  int64       `json:"number"`
	State   string      `json:"state"`
	Draft   bool        `json:"draft"`
	Merged  bool        `json:"merged"`
	HTMLURL string      `json:"html_url"`
	Updated time.Time   `json:"updated_at"`
	User    *wire.Login `json:"user"`
	Head    side        `json:"head"`
	Base    side        `json:"base"`
	// MergeCommit is what the branch was moved to: a merge, the squashed commit, or the last rebased one.
	MergeCommit string `json:"merge_commit_sha"`
}

type side struct {
	Label string `json:"label"`
	Ref   string `json:"ref"`
	SHA   string `json:"sha"`
	Repo  *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func (p pullRequest) value() (forge.PullRequest, bool) {
	pull := forge.PullRequest{
		Number: p.Number, Head: p.Head.SHA, Base: p.Base.Ref, Fork: p.fork(), URL: p.HTMLURL,
		Open: p.State == "open", Draft: p.Draft, Merged: p.Merged, Updated: p.Updated.UTC(),
	}
	if p.User != nil {
		pull.Author = p.User.Login
	}
	return pull, p.Number > 0 && forge.Commit{Hash: p.Head.SHA}.Validate() == nil
}

// fork: a push to refs/for/ needs permission to read only, and makes a pull request from the base repository, by the ids. Its
// head has no label, because it isn't on a branch. The head is named by its ref as well when its branch was deleted.
func (p pullRequest) fork() bool {
	if p.Head.Repo == nil || p.Base.Repo == nil || p.Head.Repo.ID != p.Base.Repo.ID {
		return true
	}
	return p.Head.Label == "" || strings.HasPrefix(p.Head.Ref, "refs/")
}

func (c *Client) path(format string, args ...any) string {
	return "/repos/" + url.PathEscape(c.repository.Owner()) + "/" + url.PathEscape(c.repository.Name()) + fmt.Sprintf(format, args...)
}

// PullRequests lists the open pull requests into a branch. Gitea has no ETags, so it is asked for all of them.
func (c *Client) PullRequests(ctx context.Context, base string, since *forge.PullRequestList) (*forge.PullRequestList, error) {
	if err := forge.ValidateBranch(base); err != nil {
		return nil, err
	}
	return wire.PullRequests(ctx, c.conn, wire.Pages{
		Path:  c.path("/pulls"),
		Query: url.Values{"state": {"open"}, "sort": {"oldest"}, "base_branch": {base}}, // old versions ignore the base
		Size:  pageSize, Parameter: "limit", More: more,
	}, base, since, pullRequest.value)
}

// more: servers may have smaller pages. The total count tells, and if a proxy has dropped it, an empty page does.
func more(h http.Header, read, last int) bool {
	total, err := strconv.Atoi(h.Get("X-Total-Count"))
	if err != nil {
		return last > 0
	}
	return read < total
}

// PullRequest reads one pull request.
func (c *Client) PullRequest(ctx context.Context, number int64) (forge.PullRequest, error) {
	return wire.OnePullRequest(ctx, c.conn, c.path("/pulls/%d", number), number, pullRequest.value)
}

// MergedAs finds the pull request whose merge made a commit. The head is read from its ref, which stays after the merge. What
// Gitea gives as the head moves on with its branch.
func (c *Client) MergedAs(ctx context.Context, commit forge.Commit, base string) ([]forge.PullRequest, error) {
	if err := wire.ValidateMerge(commit, base); err != nil {
		return nil, err
	}
	action := "find the pull request that was merged as " + commit.String()
	found, err := wire.Object[pullRequest](ctx, c.conn, wire.Request{Path: c.path("/commits/%s/pull", commit.Hash), Text: maxText})
	if err != nil {
		return nil, wire.Unknown(c.conn.FailAbout(ctx, wire.PullRequest, action, err), "pull request does not exist")
	}
	pull, ok := found.value()
	if !ok || found.MergeCommit != commit.Hash {
		return nil, c.conn.FailAbout(ctx, wire.PullRequest, action, wire.ErrNothing)
	}
	name := forge.HeadRef(forge.Gitea, pull.Number)
	pull.Head = ""
	_, err = wire.Elements(ctx, c.conn, wire.Request{Path: c.path("/git/%s", name), Text: maxText}, func(r reference) error {
		if r.Name == name {
			pull.Head = r.Object.SHA
		}
		return nil
	})
	if err == nil && (forge.Commit{Hash: pull.Head}).Validate() != nil {
		err = wire.ErrNothing
	}
	if err != nil {
		return nil, c.conn.FailAbout(ctx, wire.PullRequest, action, err)
	}
	c.conn.Done()
	return wire.MergedInto(base, []forge.PullRequest{pull}), nil
}

// reference has the used fields of a ref. Gitea answers with all refs that begin with the name.
type reference struct {
	Name   string `json:"ref"`
	Object struct {
		SHA string `json:"sha"`
	} `json:"object"`
}

// maxText is long enough for names, hashes and addresses, and cuts what people write.
const maxText = 8 << 10

// Comments reads the conversation. Gitea answers it in one piece, whatever the size of a page.
func (c *Client) Comments(ctx context.Context, number int64) ([]forge.Comment, error) {
	return wire.Comments(ctx, c.conn, wire.Pages{Path: c.path("/issues/%d/comments", number)}, number, wire.IssueComment.Value)
}

// CreateComment adds a comment to the conversation.
func (c *Client) CreateComment(ctx context.Context, number int64, body string) (forge.Comment, error) {
	if err := forge.ValidateComment(number, body); err != nil {
		return forge.Comment{}, err
	}
	api, err := c.api(ctx)
	if err != nil {
		return forge.Comment{}, err
	}
	created, _, err := api.CreateIssueComment(c.repository.Owner(), c.repository.Name(), number, gitea.CreateIssueCommentOption{Body: body})
	if err == nil && created.ID < 1 {
		err = wire.ErrNothing
	}
	if err != nil {
		return forge.Comment{}, c.conn.FailAbout(ctx, wire.PullRequest, fmt.Sprintf("comment on pull request %d", number), err)
	}
	c.conn.Done()
	value := wire.IssueComment{ID: created.ID, Body: created.Body, Created: created.Created, Updated: created.Updated}
	if u := created.Poster; u != nil {
		value.User = &wire.Login{ID: u.ID, Login: u.UserName}
	}
	written, _ := value.Value()
	return written, nil
}

// UpdateComment replaces the text of a comment.
func (c *Client) UpdateComment(ctx context.Context, number, id int64, body string) error {
	if err := forge.ValidateNumber("comment", id); err != nil {
		return err
	}
	if err := forge.ValidateComment(number, body); err != nil {
		return err
	}
	api, err := c.api(ctx)
	if err != nil {
		return err
	}
	_, _, err = api.EditIssueComment(c.repository.Owner(), c.repository.Name(), id, gitea.EditIssueCommentOption{Body: body})
	if err != nil {
		return c.conn.FailAbout(ctx, wire.Comment, fmt.Sprintf("update comment %d on pull request %d", id, number), err)
	}
	c.conn.Done()
	return nil
}

// CanWrite asks whether a user may push to the repository. Gitea tells only administrators of the repository about others.
func (c *Client) CanWrite(ctx context.Context, u forge.User) (bool, error) {
	if err := u.Validate(); err != nil {
		return false, err
	}
	api, err := c.api(ctx)
	if err != nil {
		return false, err
	}
	found, _, err := api.CollaboratorPermission(c.repository.Owner(), c.repository.Name(), u.Login)
	if err == nil && (found == nil || found.User == nil || found.Permission == "") {
		err = wire.ErrNothing
	}
	if err != nil {
		err = c.conn.FailAbout(ctx, wire.User, "read the permission of "+u.Login, err)
		return false, wire.Unknown(err, "user does not exist")
	}
	c.conn.Done()
	switch found.Permission {
	case gitea.AccessModeWrite, gitea.AccessModeAdmin, gitea.AccessModeOwner:
		return found.User.ID == u.ID, nil // a login may be another account's by now
	}
	return false, nil
}

// Self is the account that the credentials belong to.
func (c *Client) Self(ctx context.Context) (forge.User, error) {
	return c.self.Get(func() (forge.User, error) {
		api, err := c.api(ctx)
		if err != nil {
			return forge.User{}, err
		}
		me, _, err := api.GetMyUserInfo()
		if err == nil && me.ID < 1 {
			err = wire.ErrNothing
		}
		if err != nil {
			return forge.User{}, c.conn.FailAbout(ctx, wire.Self, "read the account of the credentials", err)
		}
		c.conn.Done()
		return forge.User{ID: me.ID, Login: me.UserName}, nil
	})
}
