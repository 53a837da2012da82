package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	gitlab "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// mergeRequest has the used fields of https://docs.gitlab.com/api/merge_requests/. The id of a deleted project is null.
type mergeRequest struct {
	Number  int64     `json:"iid"`
	State   string    `json:"state"`
	Draft   bool      `json:"draft"`
	SHA     string    `json:"sha"`
	Base    string    `json:"target_branch"`
	Source  int64     `json:"source_project_id"`
	Target  int64     `json:"target_project_id"`
	Updated time.Time `json:"updated_at"`
	HTMLURL string    `json:"web_url"`
	Author  *user     `json:"author"`
	// MergeCommit and SquashCommit are null where the merge made no such commit.
	MergeCommit  string `json:"merge_commit_sha"`
	SquashCommit string `json:"squash_commit_sha"`
}

type user struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
}

func (m mergeRequest) value() (forge.PullRequest, bool) {
	pull := forge.PullRequest{
		Number: m.Number, Head: m.SHA, Base: m.Base, Fork: m.Source == 0 || m.Source != m.Target, URL: m.HTMLURL,
		Open:  m.State == "opened" || m.State == "locked", // locked while it is being merged
		Draft: m.Draft, Merged: m.State == "merged", Updated: m.Updated.UTC(),
	}
	if m.Author != nil {
		pull.Author = m.Author.Username
	}
	return pull, m.Number > 0 && forge.Commit{Hash: m.SHA}.Validate() == nil
}

// note is a comment, or GitLab's note of an event.
type note struct {
	ID      int64     `json:"id"`
	Type    string    `json:"type"`
	System  bool      `json:"system"`
	Body    string    `json:"body"`
	Author  *user     `json:"author"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

// value leaves out notes on lines of the diff, as the other forges do.
func (n note) value() (forge.Comment, bool) {
	comment := forge.Comment{ID: n.ID, Body: withoutEscapes(n.Body), Created: n.Created, Updated: n.Updated}
	if n.Author != nil {
		comment.AuthorID, comment.Author = n.Author.ID, n.Author.Username
	}
	return comment, n.ID > 0 && !n.System && n.Type != "DiffNote"
}

func (c *Client) path(format string, args ...any) string {
	return "/projects/" + gitlab.PathEscape(c.repository.Path) + fmt.Sprintf(format, args...)
}

func pages(path string, query url.Values) wire.Pages {
	return wire.Pages{Path: path, Query: query, Size: pageSize, Parameter: "per_page", More: more}
}

func more(h http.Header, _, _ int) bool { return h.Get("X-Next-Page") != "" }

// PullRequests lists the open merge requests into a branch.
func (c *Client) PullRequests(ctx context.Context, base string, since *forge.PullRequestList) (*forge.PullRequestList, error) {
	if err := forge.ValidateBranch(base); err != nil {
		return nil, err
	}
	query := url.Values{"state": {"opened"}, "target_branch": {base}, "order_by": {"created_at"}, "sort": {"asc"}}
	return wire.PullRequests(ctx, c.conn, pages(c.path("/merge_requests"), query), base, since, mergeRequest.value)
}

// PullRequest reads one merge request.
func (c *Client) PullRequest(ctx context.Context, number int64) (forge.PullRequest, error) {
	return wire.OnePullRequest(ctx, c.conn, c.path("/merge_requests/%d", number), number, mergeRequest.value)
}

// MergedAs finds the merge request whose merge made a commit. GitLab lists all that have the commit, merged or not. Without a
// merge commit, the branch was moved to the squashed commit, or to the head.
func (c *Client) MergedAs(ctx context.Context, commit forge.Commit, base string) ([]forge.PullRequest, error) {
	path := c.path("/repository/commits/%s/merge_requests", commit.Hash)
	return wire.MergedAs(ctx, c.conn, pages(path, nil), commit, base, func(m mergeRequest) (forge.PullRequest, bool) {
		pull, ok := m.value()
		return pull, ok && cmp.Or(m.MergeCommit, m.SquashCommit, m.SHA) == commit.Hash
	})
}

// Comments reads the conversation. Old versions of GitLab answer with their notes of events as well.
func (c *Client) Comments(ctx context.Context, number int64) ([]forge.Comment, error) {
	query := url.Values{"activity_filter": {"only_comments"}, "order_by": {"created_at"}, "sort": {"asc"}}
	return wire.Comments(ctx, c.conn, pages(c.path("/merge_requests/%d/notes", number), query), number, note.value)
}

// CreateComment adds a comment to the conversation.
func (c *Client) CreateComment(ctx context.Context, number int64, body string) (forge.Comment, error) {
	if err := forge.ValidateComment(number, body); err != nil {
		return forge.Comment{}, err
	}
	created, _, err := c.api.Notes.CreateMergeRequestNote(c.repository.Path, number,
		&gitlab.CreateMergeRequestNoteOptions{Body: new(withEscapes(body))}, gitlab.WithContext(ctx))
	if err == nil && (created == nil || created.ID < 1) {
		err = wire.ErrNothing
	}
	if err != nil {
		return forge.Comment{}, c.conn.FailAbout(ctx, wire.PullRequest, fmt.Sprintf("comment on pull request %d", number), err)
	}
	c.conn.Done()
	comment := forge.Comment{ID: created.ID, AuthorID: created.Author.ID, Author: created.Author.Username, Body: withoutEscapes(created.Body)}
	if created.CreatedAt != nil && created.UpdatedAt != nil {
		comment.Created, comment.Updated = *created.CreatedAt, *created.UpdatedAt
	}
	return comment, nil
}

// UpdateComment replaces the text of a comment.
func (c *Client) UpdateComment(ctx context.Context, number, id int64, body string) error {
	if err := forge.ValidateNumber("comment", id); err != nil {
		return err
	}
	if err := forge.ValidateComment(number, body); err != nil {
		return err
	}
	_, _, err := c.api.Notes.UpdateMergeRequestNote(c.repository.Path, number, id,
		&gitlab.UpdateMergeRequestNoteOptions{Body: new(withEscapes(body))}, gitlab.WithContext(ctx))
	if err != nil {
		return c.conn.FailAbout(ctx, wire.Comment, fmt.Sprintf("update comment %d on pull request %d", id, number), err)
	}
	c.conn.Done()
	return nil
}

// CanWrite asks whether a user may push to the project: as a Developer or more, of the project or of a group that has it.
// GitLab answers by the id, and 404 for who is no member.
func (c *Client) CanWrite(ctx context.Context, u forge.User) (bool, error) {
	if err := u.Validate(); err != nil {
		return false, err
	}
	member, _, err := c.api.ProjectMembers.GetInheritedProjectMember(c.repository.Path, u.ID, gitlab.WithContext(ctx))
	if err == nil && (member == nil || member.ID != u.ID) {
		err = wire.ErrNothing
	}
	if err != nil {
		return false, noMember(c.conn.FailAbout(ctx, wire.User, "read the permission of "+u.Login, err))
	}
	c.conn.Done()
	return member.AccessLevel >= gitlab.DeveloperPermissions && member.State == "active", nil
}

// noMember returns no error for a user who is no member. The project's own 404 has other words.
func noMember(err error) error {
	missing, ok := errors.AsType[*forge.NotFoundError](err)
	if ok && missing.Detail != "404 Project Not Found" {
		return nil
	}
	return err
}

// Self is the account that the token belongs to. For the token of a project or a group that is its bot.
func (c *Client) Self(ctx context.Context) (forge.User, error) {
	return c.self.Get(func() (forge.User, error) {
		me, _, err := c.api.Users.CurrentUser(gitlab.WithContext(ctx))
		if err == nil && (me == nil || me.ID < 1) {
			err = wire.ErrNothing
		}
		if err != nil {
			return forge.User{}, c.conn.FailAbout(ctx, wire.Self, "read the account of the credentials", err)
		}
		c.conn.Done()
		return forge.User{ID: me.ID, Login: me.Username}, nil
	})
}
