package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// dialect describes GitHub's answers: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api and
// https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api.
func dialect() wire.Dialect {
	return wire.Dialect{
		RateLimit: "X-Ratelimit-Limit", RateRemaining: "X-Ratelimit-Remaining", RateReset: "X-Ratelimit-Reset",
		Header: map[string]string{"Accept": "application/vnd.github+json", "X-Github-Api-Version": "2022-11-28"},
		// An App's tokens are created in the App's name, with a separate limit, and so it is asked for its name.
		Aside: func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/access_tokens") || strings.HasSuffix(r.URL.Path, "/app")
		},
		Throttled: func(a *wire.StatusError) bool {
			if a.Status == http.StatusUnprocessableEntity {
				return a.Says("submitted too quickly") // comments
			}
			return a.Status == http.StatusForbidden &&
				(a.Header.Get("X-Ratelimit-Remaining") == "0" || a.Header.Get("Retry-After") != "" || a.Says("rate limit"))
		},
		Missing: func(a *wire.StatusError) bool {
			return a.Status == http.StatusUnprocessableEntity && a.Says("no commit found")
		},
		Right: right,
	}
}

func right(a *wire.StatusError) (missing, remedy string) {
	switch {
	case a.Aside && a.Status == http.StatusNotFound:
		return "the App has no such installation", "copy githubAppInstallationID from the address of the installation's page"
	case a.Aside && a.Says("permissions requested are not granted"):
		return "the App's installation lacks permission to " + use(a.About), `grant the App "` + permission(a.About) + `", and have the organization accept it`
	case a.Aside && a.Status == http.StatusUnprocessableEntity:
		return "the App's installation has no access to the repository", "add it to the repositories of the installation"
	case a.Status == http.StatusUnauthorized:
		return "GitHub rejected the credentials", "put a token that hasn't expired into the Secret, or the App's present key"
	case a.Header.Get("X-Github-Sso") != "":
		return "the token is not authorized for the organization's single sign-on", "authorize it in the settings of the user it belongs to"
	case a.Says("ip allow list"):
		return "the organization's IP allow list does not contain the cluster's address", "add the cluster's address to the IP allow list"
	}
	missing = "the credentials lack permission"
	// GitHub names what is required: for classic tokens, and for fine-grained ones and Apps.
	if accepted := a.Header.Get("X-Accepted-Github-Permissions"); accepted != "" {
		missing += fmt.Sprintf("; it requires %s", forge.Truncate(forge.Line(accepted), 80))
	} else if has, wants := a.Header.Get("X-Oauth-Scopes"), a.Header.Get("X-Accepted-Oauth-Scopes"); wants != "" {
		missing += fmt.Sprintf("; it requires one of the scopes %s, and the token has %q",
			forge.Truncate(forge.Line(wants), 80), forge.Truncate(forge.Line(has), 80))
	}
	scope := "repo"
	if a.About == "" {
		scope = "repo:status"
	}
	return missing, `grant a fine-grained token or an App "` + permission(a.About) + `" on this repository, or a classic token the scope ` + scope
}

func permission(about string) string {
	switch about {
	case "":
		return "Commit statuses: write"
	case wire.CheckRun:
		return "Checks: write"
	}
	return "Pull requests: write"
}

func use(about string) string {
	switch about {
	case "":
		return "set statuses"
	case wire.CheckRun:
		return "set check runs"
	}
	return "comment on pull requests"
}

// exhausted recognizes that a commit accepts no more statuses.
func (c *Client) exhausted(action string, err error) error {
	rejected, ok := errors.AsType[*forge.RejectedError](err)
	if ok && strings.Contains(strings.ToLower(rejected.Detail), "maximum number of statuses") {
		return &forge.LimitError{Call: c.call(action), What: "statuses of one context", Limit: maxStatuses, Detail: rejected.Detail}
	}
	return err
}
