package webhook

import (
	"context"
	"errors"

	"github.com/muster-gitops/muster/gitsync"
)

// Provider is a family of signatures and payloads.
type Provider string

// The providers. Auto, for a Target alone, is whichever of them a delivery's headers name.
const (
	Auto    Provider = "auto"
	GitHub  Provider = "github"
	GitLab  Provider = "gitlab"
	Gitea   Provider = "gitea"
	Forgejo Provider = "forgejo"
	Generic Provider = "generic"
)

// Kind is what has happened.
type Kind string

// The kinds of events.
const (
	// Push: a branch or a tag was made, moved or deleted.
	Push Kind = "push"
	// PullRequestOpened: it was opened or opened again.
	PullRequestOpened Kind = "pull request opened"
	// PullRequestUpdated: it has other commits, or another base.
	PullRequestUpdated Kind = "pull request updated"
	// PullRequestClosed: it was closed, merged or not.
	PullRequestClosed Kind = "pull request closed"
	// Ping: the forge tries whether somebody answers.
	Ping Kind = "ping"
	// Other is everything that nobody here needs.
	Other Kind = "other"
)

// Event is what a verified delivery says. It is a hint: none of it may be acted upon without asking the forge.
type Event struct {
	Provider Provider
	Kind     Kind
	// Repository is the path of the repository below the forge's address, such as "platform/fleet"; the base repository of a
	// pull request. It is empty for Generic.
	Repository string
	// DefaultBranch is the short name of the repository's default branch, when the payload names it.
	DefaultBranch string
	// Ref is the full name of what was pushed, or of the branch that a pull request goes to. Empty for Generic: unknown.
	Ref string
	// Before and After are the commits of a push, all zeros where the ref did not or does not exist. Either may be empty.
	Before, After string
	// PullRequest is the number, 0 when the event is about none; Head its last commit.
	PullRequest int64
	Head        string
	// Fork says that the pull request comes from another repository, or from one that is gone.
	Fork bool
}

// IsPullRequest says whether the event is about a pull request.
func (e Event) IsPullRequest() bool { return e.PullRequest != 0 }

// Target is one receiver: who may send to it, and what is of interest.
type Target struct {
	// Secrets are the current one and, while it is being rotated, the one before: MaxSecrets at most. One that begins with
	// "whsec_" is a key for Standard Webhooks, and nothing else; any other is the key of an HMAC, or GitLab's plain token.
	Secrets [][]byte
	// Provider is what deliveries must look like.
	Provider Provider
	// RepositoryURL and Ref are what the receiver's owner follows.
	RepositoryURL string
	Ref           gitsync.Ref
}

// MaxSecrets is how many secrets a Target can have.
const MaxSecrets = 2

// MinSecretLength is the fewest bytes of a secret that can be used: it is all that stands between a stranger and a sync.
const MinSecretLength = 16

// ErrUnknown says that there is no such receiver.
var ErrUnknown = errors.New("no such receiver")

// Targets knows the receivers and is told of events.
type Targets interface {
	// Target finds a receiver. It returns ErrUnknown, perhaps wrapped, where there is none or none that can verify; any
	// other error means that nobody can say now. It is called for strangers too, and must be cheap.
	Target(ctx context.Context, namespace, name string) (Target, error)
	// Notify is told of a push or a pull request that concerns the target. It must not wait for work to be done, and must
	// not lose the last of several events. An error makes the forge see a failed delivery.
	Notify(ctx context.Context, namespace, name string, event Event) error
}
