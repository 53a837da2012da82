package commitstatus

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// connection posts to one place, with the credentials in a Secret.
type connection struct {
	*poster
	backoff
	at         v1alpha1.ReportPlace
	repository forge.Repository
	// version changes with everything that the client depends on. redactor knows the credentials.
	version  string
	redactor *redact.Redactor
}

// connect returns the connection to the place that the AuditSync reports to. If the configuration changed it returns a new one without
// backoff, because the change may fix the failure.
func (r *Reporter) connect(ctx context.Context, audit *v1alpha1.AuditSync, e *entry) (*connection, error) {
	secret, err := r.secret(ctx, audit)
	if err != nil {
		return nil, err
	}
	at, redactor := *report.Place(audit), r.redactorOf(e)
	if c := e.connection; c != nil && c.version == version(at, secret) && c.redactor == redactor {
		return c, nil
	}
	e.connection, err = r.newConnection(audit, redactor, secret, at)
	return e.connection, err
}

// connectWhereShown returns a connection to the place where pending statuses are shown. That is the one that posted them, if this process
// still has it. Otherwise it uses the current credentials, if the current spec would send them to the same server.
func (r *Reporter) connectWhereShown(ctx context.Context, audit *v1alpha1.AuditSync, e *entry) (*connection, error) {
	at, here := audit.Status.PendingAt, report.Place(audit)
	if at == nil {
		at = here
	}
	known := e.connection
	if known != nil && (at == nil || !report.SameRepository(known.at, *at)) {
		known = nil
	}
	if here != nil && report.SameRepository(*at, *here) {
		c, err := r.connect(ctx, audit, e)
		if known != nil && is[*secretMissingError](err) {
			return known, nil // AuditSync and Secret are often deleted together
		}
		return c, err
	}
	if known != nil {
		return known, nil
	}
	if here == nil {
		return nil, &noWayError{"spec.forge was removed, and with it the credentials"}
	}
	former, err := report.Repository(*at)
	if err != nil {
		return nil, err
	}
	if present, err := report.Repository(*here); err != nil || present.API != former.API {
		return nil, &noWayError{"the credentials in spec.forge are for another server"}
	}
	secret, err := r.secret(ctx, audit)
	if err != nil {
		return nil, err
	}
	return r.newConnection(audit, r.redactorOf(e), secret, *at)
}

// newConnection returns a connection to a place. It first adds the credentials to the redactor, because some servers echo what they receive.
func (r *Reporter) newConnection(audit *v1alpha1.AuditSync, redactor *redact.Redactor, secret *corev1.Secret, at v1alpha1.ReportPlace) (*connection, error) {
	redactCredentials(redactor, secret)
	repository, err := report.Repository(at)
	if err != nil {
		return nil, err
	}
	forgeClient, err := connect.To(connect.Config{Provider: forge.Provider(at.Provider), URL: at.URL, APIURL: at.APIURL,
		Secret: secret.Data, Options: forge.Options{Now: r.Clock.Now}})
	if err != nil {
		return nil, err
	}
	key := client.ObjectKeyFromObject(audit)
	count := func(err error) error {
		if !errors.Is(err, context.Canceled) {
			r.Metrics.ForgePost(key.Namespace, key.Name, repository.Provider, err)
		}
		return err
	}
	return &connection{poster: newPoster(forgeClient, r.Clock, count), at: at, repository: repository, version: version(at, secret), redactor: redactor}, nil
}

// version changes with everything that a client depends on. It doesn't depend on the context.
func version(at v1alpha1.ReportPlace, secret *corev1.Secret) string {
	return fmt.Sprintf("%q", []string{at.Provider, at.URL, at.APIURL, string(secret.UID), secret.ResourceVersion})
}

// secret reads the credentials for the forge.
func (r *Reporter) secret(ctx context.Context, audit *v1alpha1.AuditSync) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: audit.Namespace, Name: audit.Spec.Forge.SecretRef.Name}
	err := r.Client.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		return nil, &secretMissingError{name.Name, audit.Namespace}
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %s: %w", name.Name, err)
	}
	return secret, nil
}

// redactorOf returns the redactor that knows the secrets of an AuditSync.
func (r *Reporter) redactorOf(e *entry) *redact.Redactor {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.redactor
}

// redactCredentials adds the credentials in a forge's Secret to a redactor.
func redactCredentials(redactor *redact.Redactor, secret *corev1.Secret) {
	redactor.AddFor("forge", forge.SecretValues(secret.Data)...)
}
