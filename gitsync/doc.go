// Package gitsync turns a Git repository into a Snapshot: one commit, read as a
// read-only fs.FS straight from Git objects.
//
// It owns the remote (HTTPS and SSH, credentials, refs), the bare cache on disk,
// and the reading of commits, trees and blobs. It never checks anything out, never
// writes to a remote, never runs a program, and knows nothing of Kubernetes or of
// what the files mean. Beside the Source that it is given it reads nothing of the
// process: no ~/.ssh, no ssh-agent, no Git configuration, no netrc. The one exception
// is HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which apply to HTTP as they do to any Go program.
//
// The main types are Source (what to fetch, with which Auth), Repository (the cache
// of one repository), Snapshot (one commit of it) and Verifier (who may have signed that):
//
//	repo, err := gitsync.Open(dir)
//	snapshot, err := repo.Fetch(ctx, gitsync.Source{URL: url, Ref: gitsync.Ref{Branch: "main"}})
//	defer snapshot.Close()
//	err = verifier.Verify(snapshot.Commit(), time.Now())
//	fs.WalkDir(snapshot.FS(), ".", …)
//
// A Fetch that finds nothing new costs one request, the listing of the refs. One that
// finds a new commit costs a second, for the objects that the cache lacks; history is
// not fetched. Whatever goes wrong, the cache and the snapshots read from it stay as they were. Many may read a snapshot at once: a
// pack has as many readers as there are processors.
//
// # Why not go-git's Remote
//
// The objects are go-git's: packs, indexes, the wire messages. Its Remote and transports
// are not used. They keep process-wide settings (protocol clients, ~/.ssh/config), read
// SOCKS proxies from the environment, don't stop an SSH handshake when the context ends,
// need two listings for a fetch, and break on a force-push to a shallow clone. What remains
// of the protocol when one only reads is small, and lives in remote.go, http.go and ssh.go.
package gitsync
