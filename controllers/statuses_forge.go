package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// Reasons of the condition Reported.
const (
	reasonRateLimited      = "RateLimited"        // too many requests
	reasonForgeUnreachable = "Unreachable"        // the forge doesn't respond, or fails
	reasonTokenRefused     = "TokenRefused"       // the forge rejects the credentials, or they lack a permission
	reasonRepository       = "RepositoryNotFound" // the repository or commit does not exist, or the credentials can't see it
	reasonRejected         = "Rejected"           // the forge rejects the status, or any more of them
	reasonForgeInvalid     = "ForgeInvalid"       // spec.forge or its Secret can't be used
	reasonAnswer           = "UnexpectedAnswer"   // the server is not a forge, or redirects
	reasonReportFailed     = "ReportFailed"       // a request to the management cluster failed
)

// poster posts to one AuditSync's forge, and remembers what is shown there.
type poster struct {
	// version changes with everything that the client depends on. redactor knows the credentials.
	version    string
	redactor   *redact.Redactor
	client     connect.Client
	at         v1alpha1.ReportPlace
	repository forge.Repository
	// settled are statuses that are shown as wanted, or were rejected permanently. rejected has the reason for the latter.
	settled  map[place]forge.Status
	rejected map[place]string
	pace     map[place]*rate.Limiter
	// notBefore is when the forge may be tried again, after failures in a row.
	notBefore time.Time
	failures  int
}

// place identifies a status by commit and context.
type place struct{ hash, context string }

// settle records that a status is done. A non-nil err is why it was rejected permanently.
func (p *poster) settle(at place, status forge.Status, err error) {
	p.settled[at] = status
	delete(p.rejected, at)
	if err != nil {
		p.rejected[at] = err.Error()
	}
}

// rejection returns the first rejection, in sorted order.
func (p *poster) rejection() string { return slices.Sorted(maps.Values(p.rejected))[0] }

// posterOf returns the poster for the forge. If the configuration changed it returns a new one without backoff, because the change may fix
// the failure.
func (s *statuses) posterOf(ctx context.Context, audit *v1alpha1.AuditSync, c *commitReport) (*poster, error) {
	secret, err := s.forgeSecret(ctx, audit)
	if err != nil {
		return nil, err
	}
	at, redactor := *report.Place(audit), s.redactorOf(c)
	if c.poster != nil && c.poster.version == posterVersion(at, secret) && c.poster.redactor == redactor {
		return c.poster, nil
	}
	c.poster = nil
	p, err := s.newPoster(redactor, secret, at)
	if err == nil {
		c.poster = p
	}
	return p, err
}

// posterVersion changes with everything that a client depends on. It doesn't depend on the context.
func posterVersion(at v1alpha1.ReportPlace, secret *corev1.Secret) string {
	return fmt.Sprintf("%q", []string{at.Provider, at.URL, at.APIURL, string(secret.UID), secret.ResourceVersion})
}

// newPoster returns a poster for a forge. It first adds the credentials to the redactor, because some servers echo what they receive.
func (s *statuses) newPoster(redactor *redact.Redactor, secret *corev1.Secret, at v1alpha1.ReportPlace) (*poster, error) {
	redactForge(redactor, secret)
	repository, err := report.Repository(at)
	if err != nil {
		return nil, err
	}
	forgeClient, err := connect.To(connect.Config{Provider: forge.Provider(at.Provider), URL: at.URL, APIURL: at.APIURL,
		Secret: secret.Data, Options: forge.Options{Now: s.clock.Now}})
	if err != nil {
		return nil, err
	}
	return &poster{version: posterVersion(at, secret), redactor: redactor, client: forgeClient, at: at, repository: repository,
		settled: map[place]forge.Status{}, rejected: map[place]string{}, pace: map[place]*rate.Limiter{}}, nil
}

// forgeSecret reads the credentials for the forge.
func (s *statuses) forgeSecret(ctx context.Context, audit *v1alpha1.AuditSync) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: audit.Namespace, Name: audit.Spec.Forge.SecretRef.Name}
	err := s.client.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		return nil, &secretMissingError{name.Name, audit.Namespace}
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %s: %w", name.Name, err)
	}
	return secret, nil
}

// redactorOf returns the redactor that knows the secrets of an AuditSync.
func (s *statuses) redactorOf(c *commitReport) *redact.Redactor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.redactor
}

// redactForge adds the credentials in a forge's Secret to a redactor.
func redactForge(redactor *redact.Redactor, secret *corev1.Secret) {
	const owner = "forge"
	var values []string
	for key, value := range secret.Data {
		if !notSecret[key] {
			values = append(values, string(value))
		}
	}
	redactor.AddFor(owner, values...)
}

// notSecret are the fields of a forge's Secret that may be shown.
var notSecret = map[string]bool{"username": true, "caFile": true, "ca.crt": true, "githubAppID": true,
	"githubAppInstallationID": true, "githubAppBaseURL": true}

type secretMissingError struct{ name, namespace string }

func (e *secretMissingError) Error() string {
	return fmt.Sprintf("Secret %s, the credentials for the forge (spec.forge.secretRef), does not exist in namespace %s; create it", e.name, e.namespace)
}

// final reports whether an error is permanent, so that a retry won't help.
func final(err error) bool {
	var rejected *forge.RejectedError
	var limit *forge.LimitError
	return errors.As(err, &rejected) || errors.As(err, &limit)
}

// unlessFinal drops permanent errors, including that of a missing commit. It is for old commits, which may have been deleted.
func unlessFinal(err error) error {
	var missing *forge.NotFoundError
	if final(err) || errors.As(err, &missing) {
		return nil
	}
	return err
}

// failed reports why statuses could not be posted, and returns when to try again. Poster is nil if there is none.
func (s *statuses) failed(ctx context.Context, audit *v1alpha1.AuditSync, p *poster, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	failures := 0
	if p != nil {
		failures = p.failures
		p.failures++
	}
	reason, wait := classifyForge(err, failures, s.clock.Now())
	if p != nil && wait > 0 {
		p.notBefore = s.clock.Now().Add(wait)
	}
	s.result(ctx, audit, metav1.ConditionFalse, reason, err.Error())
	return wait
}

// classifyForge returns the reason for a failure and how long to wait. 0 means until the AuditSync or the Secret changes; both are watched.
func classifyForge(err error, failures int, now time.Time) (reason string, wait time.Duration) {
	slowly := doubled(time.Minute, failures, 30*time.Minute)
	var (
		limited     *forge.RateLimitedError
		unavailable *forge.UnavailableError
		refused     *forge.RefusedError
		missing     *forge.NotFoundError
		config      *forge.ConfigError
		secret      *gitsync.SecretError
		noSecret    *secretMissingError
		noWay       *noWayError
		redirected  *forge.RedirectedError
		answer      *forge.AnswerError
	)
	switch {
	case errors.As(err, &limited):
		return reasonRateLimited, max(limited.Until.Sub(now), time.Second)
	case errors.As(err, &unavailable):
		return reasonForgeUnreachable, max(unavailable.RetryAfter, time.Second)
	case errors.As(err, &refused):
		return reasonTokenRefused, slowly
	case errors.As(err, &missing): // the forge may not show a commit yet that was just pushed
		return reasonRepository, doubled(5*time.Second, failures, 5*time.Minute)
	case errors.As(err, &noSecret):
		return "SecretMissing", 0
	case errors.As(err, &config), errors.As(err, &secret), errors.As(err, &noWay):
		return reasonForgeInvalid, 0
	case errors.As(err, &redirected), errors.As(err, &answer):
		return reasonAnswer, slowly
	case final(err):
		return reasonRejected, slowly
	}
	return reasonReportFailed, doubled(time.Second, failures, time.Minute)
}

func doubled(wait time.Duration, times int, limit time.Duration) time.Duration {
	return min(wait<<min(times, 16), limit)
}

// ignoreGone returns when to try again after an AuditSync could not be read.
func ignoreGone(err error) time.Duration {
	if apierrors.IsNotFound(err) {
		return 0
	}
	return time.Second
}
