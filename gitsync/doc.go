// Package gitsync turns a Git repository into a Snapshot: one commit, read as a
// read-only fs.FS straight from Git objects.
//
// It owns the remote (HTTPS and SSH, credentials, refs), the bare cache on disk, and the reading of commits, trees and
// blobs. It never checks anything out, never writes to a remote, never runs a program, and knows nothing about Kubernetes or
// the meaning of the files. Apart from its Source it uses nothing of the process: no ~/.ssh, no ssh-agent, no Git
// configuration, no netrc. The one exception is HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which apply to HTTP as they do to any
// Go program.
//
// The main types are Source (what to fetch, with which Auth), Repository (the cache of one repository), Snapshot (one commit
// of it) and Verifier (the keys that may sign commits):
//
//	repo, err := gitsync.Open(dir)
//	snapshot, err := repo.Fetch(ctx, gitsync.Source{URL: url, Ref: gitsync.Ref{Branch: "main"}})
//	defer snapshot.Close()
//	err = verifier.Verify(snapshot.Commit(), time.Now())
//	fs.WalkDir(snapshot.FS(), ".", …)
//
// A Fetch that finds nothing new costs one request, which lists the refs. A Fetch that finds a new commit costs a second
// one, for the objects that the cache lacks; history is not fetched. After any error the cache and its snapshots are
// unchanged. A snapshot can be read concurrently: a pack has as many readers as there are processors.
//
// # Why fetches add to a store
//
// A fetch asks for the objects that the store lacks. Git's server leaves out known folders and files only in a thin pack, which
// thin.go completes. Without this, each change would need a clone. One changed file of 1,000 takes 2 KB and 64 ms; a clone takes
// 78 KB and 205 ms (BenchmarkFetchOneChangeIn1000Files). A store that has grown to twice its size is replaced by a clone.
//
// # Why not go-git's Remote
//
// The objects are go-git's: packs, indexes, protocol messages. Its Remote and transports are not used. They keep
// process-wide settings (protocol clients, ~/.ssh/config), read SOCKS proxies from the environment, don't stop an SSH
// handshake when the context ends, need two listings for a fetch, and break on a force-push to a shallow clone. The part of
// the protocol that a reader needs is small, and is in remote.go, http.go and ssh.go.
package gitsync
