// Package gitlab sets and reads commit statuses on GitLab: gitlab.com and self-hosted servers. It reads merge requests and
// writes comments on them.
//
// GitLab stores a status as a job of a pipeline, which causes three differences to other forges. A status belongs to a
// branch or tag, so Commit.Branch matters. A status that isn't final can't be set to its present state: the answer "Cannot
// transition status" means that it has that state already. And a status that was started in a pipeline must be ended in the
// same one, or that pipeline never ends; the client remembers which one that is.
package gitlab

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	gitlab "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// GitLab's limits, from https://docs.gitlab.com/api/commits/#set-commit-pipeline-status: "Must be 255 characters or fewer".
var limits = forge.Limits{Description: 255, TargetURL: 255}

const (
	pageSize = 100
	maxPages = 5 // of pipelines in which one commit has a status of one name
)

// Client is the client for one project. It is safe for concurrent use.
type Client struct {
	repository forge.Repository
	conn       *wire.Conn
	api        *gitlab.Client
	self       wire.Account
	begun      begun
}

// New returns a client. It sends no request yet.
func New(repository forge.Repository, credentials forge.Credentials, o forge.Options) (*Client, error) {
	conn := wire.Dial(repository, credentials, dialect(), o)
	// The connection authenticates, and alone decides when to retry. Without these options the SDK repeats POSTs, and
	// sleeps.
	api, err := gitlab.NewAuthSourceClient(gitlab.Unauthenticated{},
		gitlab.WithBaseURL(repository.API.String()), gitlab.WithHTTPClient(conn.HTTP()), gitlab.WithoutRetries(),
		gitlab.WithCustomLimiter(unlimited{}), gitlab.WithURLWarningLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return &Client{repository: repository, conn: conn, api: api}, nil
}

// unlimited replaces a limiter that sleeps.
type unlimited struct{}

func (unlimited) Wait(context.Context) error { return nil }

// Statuses returns the latest status of each of the contexts that has one, on the commit's branch if that is known. It asks
// by name, with one request each, because a commit may have hundreds of other jobs. It remembers where the pending ones must be
// ended.
func (c *Client) Statuses(ctx context.Context, commit forge.Commit, contexts []string) (map[string]forge.Status, error) {
	if err := commit.Validate(); err != nil {
		return nil, err
	}
	found := map[string]forge.Status{}
	for _, name := range contexts {
		job, err := c.latest(ctx, commit, name)
		if err != nil {
			return nil, err
		}
		if job != nil {
			found[name] = forge.Status{Context: name, State: stateOf(job.Status), Description: job.Description, TargetURL: job.TargetURL}
		}
	}
	return found, nil
}

// latest returns the newest job of that name, or nil.
func (c *Client) latest(ctx context.Context, commit forge.Commit, name string) (*gitlab.CommitStatus, error) {
	action := "read the statuses of " + commit.String()
	o := &gitlab.GetCommitStatusesOptions{
		Name: &name, ListOptions: gitlab.ListOptions{PerPage: pageSize, Page: 1},
	}
	if commit.Branch != "" {
		o.Ref = &commit.Branch
	}
	var newest *gitlab.CommitStatus
	for range maxPages {
		jobs, res, err := c.api.Commits.GetCommitStatuses(c.repository.Path, commit.Hash, o, gitlab.WithContext(ctx))
		if err == nil && jobs == nil {
			err = wire.ErrNothing
		}
		if err != nil {
			return nil, c.conn.Fail(ctx, action, err)
		}
		for _, job := range jobs {
			if job != nil && job.Name == name && (newest == nil || job.ID > newest.ID) {
				newest = job
			}
		}
		if res.NextPage == 0 {
			c.conn.Done()
			c.begun.record(commit, name, newest)
			return newest, nil
		}
		o.Page = res.NextPage
	}
	return nil, &forge.LimitError{Call: c.call(action), What: "pipelines with the status " + name, Limit: maxPages * pageSize}
}

// UpToDate reports whether setting the wanted status would change nothing. Only the state of a pending status can be
// changed, and a description or link can be replaced but not removed.
func (c *Client) UpToDate(shown, wanted forge.Status) bool {
	wanted = limits.Fit(wanted)
	if wanted.State == forge.Pending && shown.State == forge.Pending {
		return shown.Context == wanted.Context
	}
	wanted.State = stateOf(string(buildState(wanted.State)))
	wanted.Description = cmp.Or(wanted.Description, shown.Description)
	wanted.TargetURL = cmp.Or(wanted.TargetURL, shown.TargetURL)
	return shown == wanted
}

// SetStatus adds a status, or ends the pending one, in its pipeline. It knows those that this client has set, and those that
// Statuses has found: ask first if another program may have set one.
func (c *Client) SetStatus(ctx context.Context, commit forge.Commit, status forge.Status) error {
	if err := commit.Validate(); err != nil {
		return err
	}
	if err := status.Validate(); err != nil {
		return err
	}
	s := limits.Fit(status)
	pending := c.begun.job(commit, s.Context)
	if pending != nil && s.State == forge.Pending {
		return nil // GitLab would change nothing
	}
	action := "set the status " + s.Context + " of " + commit.String()
	set, _, err := c.api.Commits.SetCommitStatus(c.repository.Path, commit.Hash, post(commit, s, pending), gitlab.WithContext(ctx))
	if err == nil && set == nil {
		err = wire.ErrNothing
	}
	if err != nil {
		return c.unset(ctx, commit, s, c.conn.Fail(ctx, action, err))
	}
	c.conn.Done()
	c.begun.record(commit, s.Context, set)
	return nil
}

// post is the request for a status. It goes to the pipeline of the pending one, if there is one.
func post(commit forge.Commit, s forge.Status, pending *gitlab.CommitStatus) *gitlab.SetCommitStatusOptions {
	post := &gitlab.SetCommitStatusOptions{State: buildState(s.State), Name: &s.Context, Description: &s.Description}
	if s.TargetURL != "" {
		post.TargetURL = &s.TargetURL
	}
	if commit.Branch != "" {
		post.Ref = &commit.Branch
	}
	if pending != nil {
		post.PipelineID, post.Ref = &pending.PipelineID, &pending.Ref
	}
	return post
}

// unset returns the error of a status that wasn't set. It is none if another replica, or GitLab itself, was faster; then the
// pending one is read, because it must be ended in its pipeline.
func (c *Client) unset(ctx context.Context, commit forge.Commit, s forge.Status, err error) error {
	if _, missing := errors.AsType[*forge.NotFoundError](err); missing {
		c.begun.record(commit, s.Context, nil) // perhaps its pipeline was deleted
	}
	rejected, ok := errors.AsType[*forge.RejectedError](err)
	if ok && rejected.Status == http.StatusBadRequest && (strings.Contains(rejected.Detail, "Cannot transition status via :enqueue") ||
		strings.Contains(rejected.Detail, "Cannot transition status via :run")) {
		_, err = c.latest(ctx, commit, s.Context)
	}
	return err
}

// Rate is the rate limit that GitLab last reported.
func (c *Client) Rate() forge.Rate { return c.conn.Rate() }

func (c *Client) call(action string) forge.Call {
	return forge.Call{Provider: forge.GitLab, Host: c.repository.API.Host, Repository: c.repository.Path, Action: action}
}

func buildState(s forge.State) gitlab.BuildStateValue {
	switch s {
	case forge.Pending:
		return gitlab.Pending
	case forge.Success:
		return gitlab.Success
	case forge.Canceled:
		return gitlab.Canceled
	default:
		return gitlab.Failed
	}
}

// stateOf maps GitLab's states. A state that isn't final is pending. A final state that can't be set keeps its name, and so
// differs from any wanted state.
func stateOf(s string) forge.State {
	switch gitlab.BuildStateValue(s) {
	case gitlab.Success:
		return forge.Success
	case gitlab.Failed:
		return forge.Failure
	case gitlab.Created, gitlab.WaitingForResource, gitlab.Preparing, gitlab.Pending, gitlab.Running:
		return forge.Pending
	}
	return forge.State(s)
}
