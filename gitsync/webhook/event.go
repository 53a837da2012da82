package webhook

import (
	"context"
	"errors"

	"github.com/muster-gitops/muster/gitsync"
)

// Provider is a family of signatures and payloads.
type Provider string

// The providers. Auto is only for a Target: it accepts the provider that a delivery's headers name.
const (
	Auto    Provider = "auto"
	GitHub  Provider = "github"
	GitLab  Provider = "gitlab"
	Gitea   Provider = "gitea"
	Forgejo Provider = "forgejo"
	Generic Provider = "generic"
)

// Kind is the kind of change.
type Kind string

// The kinds of events.
const (
	// Push: a branch or a tag was created, moved or deleted.
	Push Kind = "push"
	// PullRequestOpened: it was opened or reopened.
	PullRequestOpened Kind = "pull request opened"
	// PullRequestUpdated: it has other commits, or another base.
	PullRequestUpdated Kind = "pull request updated"
	// PullRequestClosed: it was closed, merged or not.
	PullRequestClosed Kind = "pull request closed"
	// PullRequestCommented: a comment in its conversation was written, changed or deleted.
	PullRequestCommented Kind = "pull request commented"
	// MergeGroup: GitHub's merge queue waits for the checks of a commit that it has made of pull requests.
	MergeGroup Kind = "merge group"
	// Ping: the forge tests the webhook.
	Ping Kind = "ping"
	// Other is every event that isn't used.
	Other Kind = "other"
)

// Event is the content of a verified delivery. It is a hint: never act on it without asking the forge.
type Event struct {
	Provider Provider
	Kind     Kind
	// Repository is the path of the repository on the forge, such as "platform/fleet". For a pull request it is the base
	// repository. It is empty for Generic.
	Repository string
	// DefaultBranch is the short name of the repository's default branch, if the payload has it.
	DefaultBranch string
	// Ref is the full name of the pushed ref, or of the base branch of a pull request or merge group. It is empty if unknown:
	// for Generic, and for comments, which only GitLab sends with it.
	Ref string
	// Before and After are the commits of a push, all zeros if the ref did not or does not exist. Either may be empty.
	Before, After string
	// PullRequest is the number, or 0 if the event isn't about a pull request. Head is its last commit, or that of the merge
	// group. It is empty if Ref is.
	PullRequest int64
	Head        string
	// Fork reports that the pull request comes from another repository, or from one that was deleted, as far as the event
	// tells.
	Fork bool
}

// IsPullRequest reports whether the event is about a pull request.
func (e Event) IsPullRequest() bool { return e.PullRequest != 0 }

// Target is one receiver: which senders and events it accepts.
type Target struct {
	// Secrets are the current one and, during a rotation, the previous one: at most MaxSecrets. A secret that begins with
	// "whsec_" is only a key for Standard Webhooks; any other is the key of an HMAC, or GitLab's plain token.
	Secrets [][]byte
	// Provider is the required format of deliveries.
	Provider Provider
	// RepositoryURL and Ref are what the AuditSync follows.
	RepositoryURL string
	Ref           gitsync.Ref
}

// MaxSecrets is how many secrets a Target can have.
const MaxSecrets = 2

// MinSecretLength is the minimum length of a secret in bytes. The secret is the only protection against forged deliveries.
const MinSecretLength = 16

// ErrUnknown reports that the receiver does not exist.
var ErrUnknown = errors.New("no such receiver")

// Targets looks up receivers and is notified of events.
type Targets interface {
	// Target finds a receiver. It returns ErrUnknown, perhaps wrapped, if there is none or if it can't verify; any other
	// error means that the lookup failed. It is called for unverified senders too, and must be cheap.
	Target(ctx context.Context, namespace, name string) (Target, error)
	// Notify reports a push or a pull request that concerns the target. It must not wait for work to be done, and must not
	// lose the last of several events. After an error the forge sees a failed delivery.
	Notify(ctx context.Context, namespace, name string, event Event) error
}
