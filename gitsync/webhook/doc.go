// Package webhook receives what forges send when a repository changes, proves that the forge sent it, and passes on a hint.
//
// It owns the listener, the limits on what strangers can cost, the signatures and the payloads of GitHub, GitLab, Gitea,
// Forgejo and of whatever else can sign with HMAC-SHA256. It knows nothing of Kubernetes and decides nothing: an Event is a
// hint that something has changed, and state is always read from the forge. So nothing is lost by a delivery that is
// dropped, and nothing is won by one that is repeated.
//
// The main types are Receiver (the server), Targets (who has receivers and is told, implemented by the caller), Target (the
// secrets and the repository of one receiver) and Event (what a delivery says).
//
// # The order of things
//
// Until a signature is verified, the sender is a stranger, and pays from what belongs to its address alone: connections,
// requests at the same time, bytes in memory, and a bucket of failures. A delivery that is verified costs its sender none of
// the last, and is charged to the receiver that it is for; so strangers can't use up what the forge needs. The body is read
// once, through the HMAC; it is parsed only when that has matched. A receiver that doesn't exist is verified against random
// keys, so that neither the answer nor the time it takes tells which receivers there are.
//
// # Several replicas
//
// Any replica may receive. What a replica remembers of deliveries is its own: a delivery repeated at another replica is
// passed on once more, which asks for a sync that finds nothing new.
package webhook
