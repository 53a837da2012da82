// Package webhook receives the deliveries that forges send when a repository changes, verifies that the forge sent them, and
// passes on a hint.
//
// It owns the listener, the limits on what unverified senders can cost, the signatures and the payloads of GitHub, GitLab,
// Gitea, Forgejo and any other sender that can sign with HMAC-SHA256. It knows nothing about Kubernetes and decides nothing:
// an Event is only a hint that something has changed, and state is always read from the forge. So a dropped delivery loses
// nothing, and a repeated one gains nothing.
//
// The main types are Receiver (the server), Targets (looks up and notifies targets, implemented by the caller), Target (the
// secrets and the repository of one receiver) and Event (the content of a delivery).
//
// # Order of the checks
//
// Until its signature is verified, a delivery can use only the limits of its address: connections, concurrent requests,
// bytes in memory, and a bucket of failures. A verified delivery doesn't count as a failure, and is charged to its receiver;
// so unverified senders can't use up what the forge needs. The body is read once, through the HMAC. It is parsed only after
// the HMAC has matched. A receiver that doesn't exist is verified against random keys, so that neither the answer nor its
// timing reveals which receivers exist.
//
// # Several replicas
//
// Any replica may receive. Replicas don't share the deliveries that they remember: one that is repeated at another replica
// is passed on once more, which requests a sync that finds nothing new.
package webhook
