// Package connect picks the client for a forge. It is the one place that knows them all.
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

// Client is what every forge can do. All methods are safe for concurrent use, and answer with the errors of package forge, or
// with the context's when that was cancelled.
type Client interface {
	// Statuses returns the latest status of each of the contexts that has one.
	Statuses(ctx context.Context, commit forge.Commit, contexts []string) (map[string]forge.Status, error)
	// UpToDate says whether setting the wanted status would change nothing of what is shown. A zero status is one that isn't
	// there.
	UpToDate(shown, wanted forge.Status) bool
	// SetStatus sets a status, by at most one request that writes.
	SetStatus(ctx context.Context, commit forge.Commit, status forge.Status) error
	// Rate is what the forge last said about how much it may be asked.
	Rate() forge.Rate
}

// Config says which forge, and as whom.
type Config struct {
	// Provider may be empty for the public forges, whose names tell.
	Provider forge.Provider
	// URL is the repository's Git address, https:// or ssh://.
	URL string
	// APIURL is the address of the server or of its API, where that isn't at the Git address's host.
	APIURL string
	// Secret is the data of the Secret with the credentials; see forge.CredentialsFromSecret.
	Secret map[string][]byte

	forge.Options
}

// To makes a client, without a request. It remembers what the forge says about rates, so keep it for as long as the Config
// stays as it is. What can't work is a *forge.ConfigError, or a *gitsync.SecretError.
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
		return made(github.New(repository, credentials, c.Options))
	case forge.GitLab:
		return made(gitlab.New(repository, credentials, c.Options))
	default:
		return gitea.New(repository, credentials, c.Options), nil
	}
}

// made keeps a nil pointer from becoming a Client.
func made[T Client](client T, err error) (Client, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}

// repository finds the API. Secrets made for Flux say where a GitHub App's server is; it must not be another than the
// AuditSync's, or its key would go there.
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
		return repository, &gitsync.SecretError{Key: key, Problem: "is another address than spec.forge.apiURL", Remedy: "take one of them out"}
	}
	return repository, err
}
