// Package github sets and reads commit statuses on GitHub: github.com, GitHub Enterprise Cloud and Server. It reads pull
// requests and writes comments on them.
package github

import (
	"context"
	"net/http"
	"strings"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v88/github"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// GitHub's limits, from https://docs.github.com/rest/commits/statuses and its validation errors: "description is too long
// (maximum is 140 characters)", "description doesn't accept 4-byte Unicode", and "This SHA and context has reached the
// maximum number of statuses", which is 1,000.
var limits = forge.Limits{Description: 140, TargetURL: 2048, BasicPlane: true, NoCanceled: true}

const (
	maxStatuses = 1000
	pageSize    = 100
	maxPages    = 10 // of contexts, of all programs together
)

// Client is the client for one repository. It is safe for concurrent use.
type Client struct {
	repository forge.Repository
	conn       *wire.Conn
	api        *github.Client // for statuses
	pulls      *github.Client
	pullsConn  *wire.Conn
	app        *github.Client // as the App itself, or nil
	self       wire.Account
}

// New returns a client. It sends no request yet.
func New(repository forge.Repository, credentials forge.Credentials, o forge.Options) (_ *Client, err error) {
	c := &Client{repository: repository}
	conn := wire.Dial(repository, credentials, dialect(), o)
	c.conn, c.pullsConn = conn, conn
	if app := credentials.App(); app != nil {
		// An App may have been allowed to set statuses alone, and asking for more would get no token at all.
		c.conn = conn.With(installation(app, repository, &github.InstallationPermissions{Statuses: new("write")}))
		c.pullsConn = conn.With(installation(app, repository, &github.InstallationPermissions{PullRequests: new("write"), Metadata: new("read")}))
		if c.app, err = client(repository, conn.With(func(next http.RoundTripper) http.RoundTripper { return transport(next, app, repository) })); err != nil {
			return nil, err
		}
	}
	if c.api, err = client(repository, c.conn); err != nil {
		return nil, err
	}
	c.pulls, err = client(repository, c.pullsConn)
	return c, err
}

func client(repository forge.Repository, conn *wire.Conn) (*github.Client, error) {
	base := repository.API.String() + "/"
	return github.NewClient(github.WithHTTPClient(conn.HTTP()), github.WithURLs(&base, &base),
		github.WithDisableRateLimitCheck()) // it uses its own clock; the connection's gate uses the caller's
}

// installation gets the App's tokens. Each is valid for an hour, and only for these permissions in this repository.
func installation(app *forge.App, repository forge.Repository, permissions *github.InstallationPermissions) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		t := ghinstallation.NewFromAppsTransport(transport(next, app, repository), app.InstallationID)
		t.InstallationTokenOptions = &github.InstallationTokenOptions{Repositories: []string{repository.Name()}, Permissions: permissions}
		return t
	}
}

// transport signs requests with the App's key.
func transport(next http.RoundTripper, app *forge.App, repository forge.Repository) *ghinstallation.AppsTransport {
	t := ghinstallation.NewAppsTransportFromPrivateKey(next, app.ID, app.Key)
	t.BaseURL = repository.API.String()
	return t
}

// Statuses returns the latest status of each of the contexts that has one.
func (c *Client) Statuses(ctx context.Context, commit forge.Commit, contexts []string) (map[string]forge.Status, error) {
	if err := commit.Validate(); err != nil {
		return nil, err
	}
	action := "read the statuses of " + commit.String()
	found := map[string]forge.Status{}
	for page := 1; page <= maxPages; page++ {
		combined, res, err := c.api.Repositories.GetCombinedStatus(ctx, c.repository.Owner(), c.repository.Name(), commit.Hash,
			&github.ListOptions{Page: page, PerPage: pageSize})
		if err == nil && !strings.EqualFold(combined.GetSHA(), commit.Hash) { // the answer has the SHA, even without a status
			err = wire.ErrNothing
		}
		if err != nil {
			return nil, c.conn.Fail(ctx, action, err)
		}
		collect(found, combined.Statuses, contexts)
		if len(found) == len(contexts) || res.NextPage == 0 {
			c.conn.Done()
			return found, nil
		}
	}
	return nil, &forge.LimitError{Call: c.call(action), What: "contexts of statuses", Limit: maxPages * pageSize}
}

// collect selects by name, ignoring case as GitHub does.
func collect(found map[string]forge.Status, statuses []*github.RepoStatus, contexts []string) {
	for _, s := range statuses {
		for _, name := range contexts {
			if strings.EqualFold(s.GetContext(), name) {
				found[name] = forge.Status{
					Context: name, State: forge.State(s.GetState()), Description: s.GetDescription(), TargetURL: s.GetTargetURL(),
				}
			}
		}
	}
}

// UpToDate reports whether setting the wanted status would change nothing.
func (c *Client) UpToDate(shown, wanted forge.Status) bool { return shown == limits.Fit(wanted) }

// SetStatus adds a status, which replaces the last one of its context. After 1,000 statuses of a commit and context, the
// error is a *forge.LimitError.
func (c *Client) SetStatus(ctx context.Context, commit forge.Commit, status forge.Status) error {
	if err := commit.Validate(); err != nil {
		return err
	}
	if err := status.Validate(); err != nil {
		return err
	}
	s := limits.Fit(status)
	post := github.RepoStatus{State: new(string(s.State)), Context: &s.Context, Description: &s.Description}
	if s.TargetURL != "" {
		post.TargetURL = &s.TargetURL
	}
	action := "set the status " + s.Context + " of " + commit.String()
	_, _, err := c.api.Repositories.CreateStatus(ctx, c.repository.Owner(), c.repository.Name(), commit.Hash, post)
	if err != nil {
		return c.exhausted(action, c.conn.Fail(ctx, action, err))
	}
	c.conn.Done()
	return nil
}

// Rate is the rate limit that GitHub last reported.
func (c *Client) Rate() forge.Rate { return c.conn.Rate() }

func (c *Client) call(action string) forge.Call {
	return forge.Call{Provider: forge.GitHub, Host: c.repository.API.Host, Repository: c.repository.Path, Action: action}
}
