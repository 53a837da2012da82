// Package gitea sets and reads commit statuses on Gitea and Forgejo.
package gitea

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"code.gitea.io/sdk/gitea"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// What Gitea takes has no documented end: its columns are of type TEXT, which holds 64 KiB in MySQL. These are what its pages
// show in one line, and what browsers take.
var limits = forge.Limits{Description: 255, TargetURL: 2048, NoCanceled: true}

const (
	pageSize = 50 // MAX_RESPONSE_ITEMS of Gitea; more are cut to this
	maxPages = 20 // of contexts, by all programs together
)

// Client speaks for one repository. It is safe for concurrent use.
type Client struct {
	repository forge.Repository
	conn       *wire.Conn
}

// New makes a client. It sends nothing yet.
func New(repository forge.Repository, credentials forge.Credentials, o forge.Options) *Client {
	return &Client{repository: repository, conn: wire.Dial(repository, credentials, dialect(), o)}
}

// Statuses returns the latest status of each of the contexts that has one.
func (c *Client) Statuses(ctx context.Context, commit forge.Commit, contexts []string) (map[string]forge.Status, error) {
	if err := commit.Validate(); err != nil {
		return nil, err
	}
	action := "read the statuses of " + commit.String()
	found := map[string]forge.Status{}
	for page := 1; page <= maxPages; page++ {
		statuses, last, err := c.page(ctx, commit, page)
		if err != nil {
			return nil, c.conn.Fail(ctx, action, err)
		}
		for _, s := range statuses {
			for _, name := range contexts {
				if s != nil && s.Context == name {
					found[name] = forge.Status{Context: name, State: forge.State(s.State), Description: s.Description, TargetURL: s.TargetURL}
				}
			}
		}
		if len(found) == len(contexts) || last {
			c.conn.Done()
			return found, nil
		}
	}
	return nil, &forge.LimitError{Call: c.call(action), What: "contexts of statuses", Limit: maxPages * pageSize}
}

// page reads the combined status, which has the latest of each context. It goes without the SDK, whose method for it can't
// ask for a second page, and takes an answer that broke off for one without statuses: that would be posted over and over.
func (c *Client) page(ctx context.Context, commit forge.Commit, page int) (_ []*gitea.Status, last bool, err error) {
	path := "/repos/" + url.PathEscape(c.repository.Owner()) + "/" + url.PathEscape(c.repository.Name()) + "/commits/" + commit.Hash + "/status"
	res, err := c.conn.Get(ctx, path, url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(pageSize)}})
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = res.Body.Close() }()
	var combined *gitea.CombinedStatus
	if err := json.NewDecoder(res.Body).Decode(&combined); err != nil {
		return nil, false, err
	}
	if combined == nil {
		return nil, false, wire.ErrNothing
	}
	// Servers may be set to smaller pages. The total tells, and where a proxy has dropped it an empty page does.
	total, err := strconv.Atoi(res.Header.Get("X-Total-Count"))
	whole := err == nil && page == 1 && len(combined.Statuses) >= total
	return combined.Statuses, whole || len(combined.Statuses) == 0, nil
}

// UpToDate says whether setting the wanted status would change nothing of what is shown.
func (c *Client) UpToDate(shown, wanted forge.Status) bool { return shown == limits.Fit(wanted) }

// SetStatus adds a status, which takes the place of its context's last one. For a commit that isn't there Gitea answers 500,
// as if it had failed; Statuses, which comes first, tells it apart.
func (c *Client) SetStatus(ctx context.Context, commit forge.Commit, status forge.Status) error {
	if err := commit.Validate(); err != nil {
		return err
	}
	if err := status.Validate(); err != nil {
		return err
	}
	api, err := c.api(ctx)
	if err != nil {
		return err
	}
	s := limits.Fit(status)
	_, _, err = api.CreateStatus(c.repository.Owner(), c.repository.Name(), commit.Hash, gitea.CreateStatusOption{
		State: gitea.StatusState(s.State), Context: s.Context, Description: s.Description, TargetURL: s.TargetURL,
	})
	if err != nil {
		return c.conn.Fail(ctx, "set the status "+s.Context+" of "+commit.String(), err)
	}
	c.conn.Done()
	return nil
}

// api makes an SDK's client for one request, because its context is the client's. An empty version keeps it from asking the
// server's, twice as many requests for nothing.
func (c *Client) api(ctx context.Context) (*gitea.Client, error) {
	server := c.repository.API
	server.Path = server.Path[:len(server.Path)-len(apiPath)]
	return gitea.NewClient(server.String(), gitea.SetContext(ctx), gitea.SetHTTPClient(c.conn.HTTP()), gitea.SetGiteaVersion(""))
}

const apiPath = "/api/v1" // which the SDK adds by itself

// Rate is what the server last said about how much it may be asked; Gitea itself says nothing.
func (c *Client) Rate() forge.Rate { return c.conn.Rate() }

func (c *Client) call(action string) forge.Call {
	return forge.Call{Provider: forge.Gitea, Host: c.repository.API.Host, Repository: c.repository.Path, Action: action}
}

// dialect is how Gitea speaks. It has no limits of rates; proxies before it answer 429 with Retry-After.
func dialect() wire.Dialect {
	return wire.Dialect{
		Right: func(a *wire.StatusError) (missing, remedy string) {
			switch {
			case a.Status == http.StatusUnauthorized:
				return "the server does not accept the credentials", "put a token that hasn't been deleted into the Secret"
			case a.Says("required scope"):
				return "the token lacks a scope", "give it write:repository"
			}
			return "the token may not do this", "give its owner write access to the repository, and the token the scope write:repository"
		},
	}
}
