package commitstatus

import (
	"errors"
	"fmt"
	"time"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Reasons of the condition Reported.
const (
	reasonRateLimited      = "RateLimited"        // too many requests
	reasonForgeUnreachable = "Unreachable"        // the forge doesn't respond, or fails
	reasonTokenRefused     = "TokenRefused"       // the forge rejects the credentials, or they lack a permission
	reasonRepository       = "RepositoryNotFound" // the repository or commit does not exist, or the credentials can't see it
	reasonRejected         = "Rejected"           // the forge rejects the status, or any more of them
	reasonSecretMissing    = "SecretMissing"      // the Secret with the credentials does not exist
	reasonForgeInvalid     = "ForgeInvalid"       // spec.forge or its Secret can't be used
	reasonAnswer           = "UnexpectedAnswer"   // the server is not a forge, or redirects
	reasonReportFailed     = "ReportFailed"       // a request to the management cluster failed
)

// backoff is when to try again after failures in a row.
type backoff struct {
	failures  int
	notBefore time.Time
}

// failed counts a failure, and returns its reason and how long to wait. 0 means until the AuditSync or the Secret changes; both are
// watched.
func (b *backoff) failed(err error, now time.Time) (reason string, wait time.Duration) {
	reason, wait = classify(err, b.failures, now)
	b.failures++
	b.notBefore = now.Add(wait)
	return reason, wait
}

func classify(err error, failures int, now time.Time) (reason string, wait time.Duration) {
	if limited, ok := errors.AsType[*forge.RateLimitedError](err); ok {
		return reasonRateLimited, max(limited.Until.Sub(now), time.Second)
	}
	if unavailable, ok := errors.AsType[*forge.UnavailableError](err); ok {
		return reasonForgeUnreachable, max(unavailable.RetryAfter, time.Second)
	}
	slowly := doubled(time.Minute, failures, 30*time.Minute)
	switch {
	case is[*forge.RefusedError](err):
		return reasonTokenRefused, slowly
	case is[*forge.NotFoundError](err): // the forge may not show a commit yet that was just pushed
		return reasonRepository, doubled(5*time.Second, failures, 5*time.Minute)
	case is[*secretMissingError](err):
		return reasonSecretMissing, 0
	case is[*forge.ConfigError](err), is[*gitsync.SecretError](err), is[*noWayError](err):
		return reasonForgeInvalid, 0
	case is[*forge.RedirectedError](err), is[*forge.AnswerError](err):
		return reasonAnswer, slowly
	case final(err):
		return reasonRejected, slowly
	}
	return reasonReportFailed, doubled(time.Second, failures, time.Minute)
}

func doubled(wait time.Duration, times int, limit time.Duration) time.Duration {
	return min(wait<<min(times, 16), limit)
}

// secretMissingError reports that the Secret with the credentials doesn't exist.
type secretMissingError struct{ name, namespace string }

func (e *secretMissingError) Error() string {
	return fmt.Sprintf("Secret %s, the credentials for the forge (spec.forge.secretRef), does not exist in namespace %s; create it", e.name, e.namespace)
}

// noWayError is why a forge can't be reached any more.
type noWayError struct{ why string }

func (e *noWayError) Error() string {
	return e.why + "; set these statuses by hand, or push another commit"
}

// is reports whether an error is, or wraps, one of a type.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// final reports whether an error is permanent, so that a retry won't help.
func final(err error) bool {
	return is[*forge.RejectedError](err) || is[*forge.LimitError](err)
}

// unlessFinal drops permanent errors, including that of a missing commit. It is for old commits, which may have been deleted.
func unlessFinal(err error) error {
	if final(err) || is[*forge.NotFoundError](err) {
		return nil
	}
	return err
}
