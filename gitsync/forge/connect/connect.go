// Package connect selects the client for a forge. It is the only package that knows them all.
package connect

import (
	"context"
	"strings"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/gitea"
	"github.com/muster-gitops/muster/gitsync/forge/github"
	"github.com/muster-gitops/muster/gitsync/forge/gitlab"
)

// Client is what every forge supports. All methods are safe for concurrent use, and return the errors of package forge, or
// the context's if it was cancelled.
type Client interface {
	// Statuses returns the latest status of each of the contexts that has one.
	Statuses(ctx context.Context, commit forge.Commit, contexts []string) (map[string]forge.Status, error)
	// UpToDate reports whether setting the wanted status would change nothing. A zero status is one that doesn't exist.
	UpToDate(shown, wanted forge.Status) bool
	// SetStatus sets a status with at most one request that writes.
	SetStatus(ctx context.Context, commit forge.Commit, status forge.Status) error
	// Rate is the rate limit that the forge last reported.
	Rate() forge.Rate

	// PullRequests lists the open pull requests into a branch. Since is what an earlier call returned, or nil. If nothing has
	// changed, the same items come back with Unchanged, on GitHub and GitLab at the cost of one conditional request for each 100
	// of them.
	PullRequests(ctx context.Context, base string, since *forge.PullRequestList) (*forge.PullRequestList, error)
	// PullRequest reads one pull request, open or not.
	PullRequest(ctx context.Context, number int64) (forge.PullRequest, error)
	// MergedAs returns the pull requests that were merged into the base as this commit: as a merge commit, squashed, rebased or by
	// moving the branch forward. Their heads are those that were merged. Nearly always it is one, or none for a commit that was
	// pushed. Forges record a merge a moment after the branch has moved.
	MergedAs(ctx context.Context, commit forge.Commit, base string) ([]forge.PullRequest, error)
	// Comments returns the comments in the conversation of a pull request, oldest first. If there are more than
	// forge.MaxComments, the error is a *forge.LimitError.
	Comments(ctx context.Context, number int64) ([]forge.Comment, error)
	// CreateComment adds a comment of at most forge.MaxComment bytes.
	CreateComment(ctx context.Context, number int64, body string) (forge.Comment, error)
	// UpdateComment replaces the text of a comment. If it was deleted, the error is a *forge.NotFoundError.
	UpdateComment(ctx context.Context, number, id int64, body string) error
	// CanWrite asks the forge whether a user may push to the repository now. The login and the id must belong together: logins
	// can be changed, and used again by others.
	CanWrite(ctx context.Context, user forge.User) (bool, error)
	// Self is the account that writes the comments. It is asked for once.
	Self(ctx context.Context) (forge.User, error)
}

// CheckRunner is a Client that can set check runs: that of a GitHub App.
type CheckRunner interface {
	// SetCheckRun shows a check run on its commit, and changes the one that is there. If the same one is shown already, nothing
	// is sent.
	SetCheckRun(ctx context.Context, run forge.CheckRun) error
}

// Config selects the forge and the credentials.
type Config struct {
	// Provider may be empty for the public forges, which are known by their hosts.
	Provider forge.Provider
	// URL is the repository's Git address, https:// or ssh://.
	URL string
	// APIURL is the address of the server or of its API, if it isn't at the Git address's host.
	APIURL string
	// Secret is the data of the Secret with the credentials; see forge.CredentialsFromSecret.
	Secret map[string][]byte

	forge.Options
}

// To returns a client without sending a request. It remembers the forge's rate limits, so keep it while the Config is
// unchanged. An invalid Config is a *forge.ConfigError, or a *gitsync.SecretError.
func To(c Config) (Client, error) {
	repository, err := c.repository()
	if err != nil {
		return nil, err
	}
	credentials, err := forge.CredentialsFromSecret(repository.Provider, c.Secret)
	if err != nil {
		return nil, err
	}
	switch repository.Provider {
	case forge.GitHub:
		if credentials.App() != nil {
			return made(github.NewApp(repository, credentials, c.Options))
		}
		return made(github.New(repository, credentials, c.Options))
	case forge.GitLab:
		return made(gitlab.New(repository, credentials, c.Options))
	default:
		return gitea.New(repository, credentials, c.Options), nil
	}
}

// made keeps a nil pointer from becoming a non-nil Client.
func made[T Client](client T, err error) (Client, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}

// repository finds the API. Secrets in Flux's format contain the address of a GitHub App's server. It must match the
// AuditSync's, or the App's key would be sent elsewhere.
func (c Config) repository() (forge.Repository, error) {
	const key = "githubAppBaseURL"
	base := strings.TrimSpace(string(c.Secret[key]))
	if base == "" {
		return forge.ParseRepository(c.Provider, c.URL, c.APIURL)
	}
	inSecret, err := forge.ParseRepository(c.Provider, c.URL, base)
	if err != nil || c.APIURL == "" {
		return inSecret, err
	}
	repository, err := forge.ParseRepository(c.Provider, c.URL, c.APIURL)
	if err == nil && repository != inSecret {
		return repository, &gitsync.SecretError{Key: key, Problem: "differs from spec.forge.apiURL", Remedy: "remove one of them"}
	}
	return repository, err
}
