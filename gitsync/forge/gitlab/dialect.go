package gitlab

import (
	"net/http"

	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// dialect describes GitLab's answers:
// https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers and
// https://docs.gitlab.com/api/rest/troubleshooting/#status-codes.
func dialect() wire.Dialect {
	return wire.Dialect{
		RateLimit: "Ratelimit-Limit", RateRemaining: "Ratelimit-Remaining", RateReset: "Ratelimit-Reset",
		Right: func(a *wire.StatusError) (missing, remedy string) {
			switch {
			case a.Status == http.StatusUnauthorized:
				return "GitLab rejected the token", "put a token that hasn't expired into the Secret"
			case a.Says("insufficient_scope"):
				return "the token lacks a scope", "grant it the scope api"
			}
			return "the token lacks permission",
				"give its owner the role Developer, or Maintainer if the branch is protected, and the token the scope api"
		},
	}
}
