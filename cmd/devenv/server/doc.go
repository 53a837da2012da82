// Package server starts the real servers that Muster's tests and its demo talk to: a Kubernetes control plane (etcd and
// kube-apiserver, with kube-controller-manager on request), Vault, Gitea, and Git over HTTP, HTTPS and SSH.
//
// Nothing here imitates anything. The Kubernetes binaries are built from their released Go modules (Binary), once per
// version, into .cache/devenv; Git is the git of the machine behind its own smart HTTP and SSH protocols. Both kinds of
// server count what is asked of them, so that a test can prove what Muster does not do: ControlPlane.Requests reads the
// API server's audit log, Vault.Requests Vault's, Git.Requests and Gitea.Requests the
// access log.
//
// Everything listens on 127.0.0.1, on ports that the kernel gives. Whatever Start… returns lives until its Stop or until
// the end of its context, whichever comes first. On Linux the child processes die with this process even when it is
// killed. A server that can't be built or started is an error, which a test must fail on and not skip.
package server
