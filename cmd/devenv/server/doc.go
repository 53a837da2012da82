// Package server starts the real servers for Muster's tests and its demo: a Kubernetes control plane (etcd and
// kube-apiserver, with kube-controller-manager on request), Vault, Gitea, and Git over HTTP, HTTPS and SSH.
//
// Nothing here is a fake. The Kubernetes binaries are built from their released Go modules (Binary), once per version, into
// .cache/devenv; Git is the machine's git behind its own smart HTTP and SSH protocols. All servers count requests, so that a
// test can prove what Muster does not do: ControlPlane.Requests reads the API server's audit log, Vault.Requests Vault's,
// Git.Requests and Gitea.Requests the access log.
//
// Everything listens on 127.0.0.1, on ports that the kernel assigns. Each server runs until its Stop or until its context
// ends, whichever comes first. On Linux the child processes die with this process even if it is killed. A server that can't
// be built or started is an error, on which a test must fail and not skip.
package server
