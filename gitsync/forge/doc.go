// Package forge holds what Muster says to a Git forge and hears from it: commit statuses, as plain values, and why
// something could not be said.
//
// It owns the values (Repository, Commit, Status, Limits, Rate), the credentials (CredentialsFromSecret) and the errors. The
// clients are packages of their own, one a provider: forge/github, forge/gitlab and forge/gitea, which serves Forgejo too.
// Package forge/connect picks one. Another forge is another package with the same methods, and a line there.
//
// What all clients promise:
//
//   - Nothing is sent twice: no request is repeated by itself, and none waits. Whoever calls knows when to come back, for
//     RateLimitedError and UnavailableError say so. Before that time a RateLimitedError comes without a request.
//   - Nothing of the process is read: no proxy and no token from the environment, no netrc.
//   - Credentials go to the host of the API alone, over TLS 1.2 or newer, or to a loopback address. Redirects are followed
//     within the host, and only for what reads. No error holds a credential, whatever the forge answers.
//   - Answers are bounded in size and number, and each request in time.
//
// A Status is written when it differs from what is shown, so ask first:
//
//	shown, err := client.Statuses(ctx, commit, []string{wanted.Context})
//	if !client.UpToDate(shown[wanted.Context], wanted) {
//		err = client.SetStatus(ctx, commit, wanted)
//	}
package forge
