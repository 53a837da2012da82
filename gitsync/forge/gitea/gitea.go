// Package gitea sets and reads commit statuses on Gitea and Forgejo, and reads pull requests and writes comments on them.
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

// Gitea documents no limits: its columns are of type TEXT, which holds 64 KiB in MySQL. These are what its pages show on one
// line, and what browsers accept.
var limits = forge.Limits{Description: 255, TargetURL: 2048, NoCanceled: true}

const (
	pageSize = 50 // MAX_RESPONSE_ITEMS of Gitea; more are cut to this
	maxPages = 20 // of contexts, of all programs together
)

// Client is the client for one repository. It is safe for concurrent use.
type Client struct {
	repository forge.Repository
	conn       *wire.Conn
	self       wire.Account
}

// New returns a client. It sends no request yet.
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

// page reads the combined status, which has the latest status of each context. It doesn't use the SDK, whose method can't
// request a second page, and treats a truncated answer as one without statuses: the same status would be posted over and
// over.
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
	// Servers may have smaller pages. The total count tells, and if a proxy has dropped it, an empty page does.
	total, err := strconv.Atoi(res.Header.Get("X-Total-Count"))
	whole := err == nil && page == 1 && len(combined.Statuses) >= total
	return combined.Statuses, whole || len(combined.Statuses) == 0, nil
}

// UpToDate reports whether setting the wanted status would change nothing.
func (c *Client) UpToDate(shown, wanted forge.Status) bool { return shown == limits.Fit(wanted) }

// SetStatus adds a status, which replaces the last one of its context. For an unknown commit Gitea answers 500, as for an
// internal error; Statuses, which is called first, tells the difference.
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

// api returns an SDK client for one request, because its context is the client's. An empty version keeps it from requesting
// the server's version, which would double the number of requests.
func (c *Client) api(ctx context.Context) (*gitea.Client, error) {
	server := c.repository.API
	server.Path = server.Path[:len(server.Path)-len(apiPath)]
	return gitea.NewClient(server.String(), gitea.SetContext(ctx), gitea.SetHTTPClient(c.conn.HTTP()), gitea.SetGiteaVersion(""))
}

const apiPath = "/api/v1" // the SDK adds it itself

// Rate is the rate limit that the server last reported; Gitea itself reports none.
func (c *Client) Rate() forge.Rate { return c.conn.Rate() }

func (c *Client) call(action string) forge.Call {
	return forge.Call{Provider: forge.Gitea, Host: c.repository.API.Host, Repository: c.repository.Path, Action: action}
}

// dialect describes Gitea's answers. It has no rate limits; proxies in front of it answer 429 with Retry-After.
func dialect() wire.Dialect {
	return wire.Dialect{
		Right: func(a *wire.StatusError) (missing, remedy string) {
			switch {
			case a.Status == http.StatusUnauthorized:
				return "the server rejected the credentials", "put a token that hasn't been deleted into the Secret"
			case a.Says("required scope") && a.About != "":
				return "the token lacks a scope", "grant it write:repository, write:issue and read:user"
			case a.Says("required scope"):
				return "the token lacks a scope", "grant it write:repository"
			case a.About == wire.User:
				return "the token may not see what other users may do", "make its owner an administrator of the repository"
			}
			return "the token lacks permission", "give its owner write access to the repository, and the token the scope write:repository"
		},
	}
}
