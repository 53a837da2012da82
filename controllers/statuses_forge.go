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
	reasonRateLimited      = "RateLimited"        // the forge has been asked enough for now
	reasonForgeUnreachable = "Unreachable"        // it doesn't answer, or fails
	reasonTokenRefused     = "TokenRefused"       // the credentials are not accepted, or lack a right
	reasonRepository       = "RepositoryNotFound" // there is no such repository or commit, or the credentials may not see it
	reasonRejected         = "Rejected"           // the forge takes no such status, or no more of them
	reasonForgeInvalid     = "ForgeInvalid"       // spec.forge or its Secret can't be used
	reasonAnswer           = "UnexpectedAnswer"   // what answers is no forge, or sends elsewhere
	reasonReportFailed     = "ReportFailed"       // the management cluster is in the way
)

// poster is the way to one AuditSync's forge, and what is known to be shown there.
type poster struct {
	// version changes with everything that the client is made of, and redactor knows the credentials.
	version    string
	redactor   *redact.Redactor
	client     connect.Client
	at         v1alpha1.ReportPlace
	repository forge.Repository
	// settled are statuses that are shown as they were wanted, or were refused for good, for which rejected has the reason.
	settled  map[place]forge.Status
	rejected map[place]string
	pace     map[place]*rate.Limiter
	// notBefore is when the forge may be asked again, after as many failures in a row.
	notBefore time.Time
	failures  int
}

// place is where a status is shown.
type place struct{ hash, context string }

// settle notes that a status needs no more work. Err is why it was refused for good.
func (p *poster) settle(at place, status forge.Status, err error) {
	p.settled[at] = status
	delete(p.rejected, at)
	if err != nil {
		p.rejected[at] = err.Error()
	}
}

// rejection is the first of the refusals.
func (p *poster) rejection() string { return slices.Sorted(maps.Values(p.rejected))[0] }

// posterOf returns the way to the forge, a new one when anything about it has changed: somebody may have mended what failed.
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

// posterVersion changes with everything that a client is made of. The context is no part of that.
func posterVersion(at v1alpha1.ReportPlace, secret *corev1.Secret) string {
	return fmt.Sprintf("%q", []string{at.Provider, at.URL, at.APIURL, string(secret.UID), secret.ResourceVersion})
}

// newPoster makes a way to a forge. The redactor gets to know the credentials first: some servers echo what they are sent.
func (s *statuses) newPoster(redactor *redact.Redactor, secret *corev1.Secret, at v1alpha1.ReportPlace) (*poster, error) {
	hide(redactor, secret)
	repository, err := report.Repository(at)
	if err != nil {
		return nil, err
	}
	way, err := connect.To(connect.Config{Provider: forge.Provider(at.Provider), URL: at.URL, APIURL: at.APIURL,
		Secret: secret.Data, Options: forge.Options{Now: s.clock.Now}})
	if err != nil {
		return nil, err
	}
	return &poster{version: posterVersion(at, secret), redactor: redactor, client: way, at: at, repository: repository,
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

// redactorOf is the one that knows the secrets of an AuditSync.
func (s *statuses) redactorOf(c *commitReport) *redact.Redactor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.redactor
}

func hide(redactor *redact.Redactor, secret *corev1.Secret) {
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
	return fmt.Sprintf("the Secret %s, the credentials for the forge (spec.forge.secretRef), does not exist in the namespace %s; create it", e.name, e.namespace)
}

// final says whether asking again changes nothing, whatever time passes.
func final(err error) bool {
	var rejected *forge.RejectedError
	var limit *forge.LimitError
	return errors.As(err, &rejected) || errors.As(err, &limit)
}

// unlessFinal drops errors that there is no way out of, for a commit that nobody waits for: it may have been deleted.
func unlessFinal(err error) error {
	var missing *forge.NotFoundError
	if final(err) || errors.As(err, &missing) {
		return nil
	}
	return err
}

// failed reports why statuses could not be posted, and returns when to try again. Poster is nil when there is no way at all.
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

// classifyForge says what a failure is called, and how long to wait; 0 means until somebody changes the AuditSync or the Secret,
// which is noticed.
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
	case errors.As(err, &missing): // a commit that was pushed a moment ago may be on its way
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

// ignoreGone is when to look again after an AuditSync could not be read.
func ignoreGone(err error) time.Duration {
	if apierrors.IsNotFound(err) {
		return 0
	}
	return time.Second
}
