// Package forge has the types for Muster's communication with a Git forge: commit statuses, pull requests and their comments,
// as plain values, and the errors of requests.
//
// It owns the values (Repository, Commit, Status, PullRequest, Comment, User, Limits, Rate), the credentials
// (CredentialsFromSecret) and the errors.
// Each provider's client is in its own package: forge/github, forge/gitlab and forge/gitea, which serves Forgejo too.
// Package forge/connect selects one. A new forge is a new package with the same methods, and a line there.
//
// What all clients promise:
//
//   - Nothing is sent twice: clients neither repeat requests nor wait. RateLimitedError and UnavailableError tell the caller
//     when to try again. Before that time the client returns a RateLimitedError without a request.
//   - Clients use nothing of the process: no proxy and no token from the environment, no netrc.
//   - Credentials are sent only to the host of the API, over TLS 1.2 or newer, or to a loopback address. Redirects are followed
//     only within the host, and only for reads. No error contains a credential, whatever the forge answers.
//   - The size and number of answers are bounded, and so is the time of each request.
//
// Write a Status only if it differs from the present one, so ask first:
//
//	shown, err := client.Statuses(ctx, commit, []string{wanted.Context})
//	if !client.UpToDate(shown[wanted.Context], wanted) {
//		err = client.SetStatus(ctx, commit, wanted)
//	}
package forge
