package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// connection is a client with the credentials of one version of a Secret.
type connection struct {
	connect.Client
	version    string
	place      string
	repository forge.Repository
}

// connect returns a client for the AuditSync's forge. It keeps the last one while nothing has changed, because that knows the
// forge's rate limits.
func (c *Checker) connect(ctx context.Context, a *audited, s *Subject) (*connection, error) {
	at := *report.Place(s.AuditSync)
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: s.AuditSync.Namespace, Name: s.AuditSync.Spec.Forge.SecretRef.Name}
	if err := c.Client.Get(ctx, name, secret); err != nil {
		return nil, fmt.Errorf("get Secret %s: %w", name.Name, err)
	}
	place := fmt.Sprintf("%q", []string{at.Provider, at.URL, at.APIURL, s.Branch})
	version := fmt.Sprintf("%s %s %s", place, secret.UID, secret.ResourceVersion)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.connection != nil && a.connection.version == version {
		return a.connection, nil
	}
	s.Redactor.AddFor("forge", forge.SecretValues(secret.Data)...)
	repository, err := report.Repository(at)
	if err != nil {
		return nil, err
	}
	client, err := connect.To(connect.Config{Provider: forge.Provider(at.Provider), URL: at.URL, APIURL: at.APIURL, Secret: secret.Data,
		Options: forge.Options{Now: c.Clock.Now}})
	if err != nil {
		return nil, err
	}
	a.reset(a.connection != nil && a.connection.place == place)
	a.connection = &connection{client, version, place, repository}
	return a.connection, nil
}

// down reports whether the forge answers no request now. Then the others needn't ask.
func down(err error) bool {
	return is[*forge.UnavailableError](err) || is[*forge.RateLimitedError](err) || rejected(err)
}

// rejected reports whether the forge has rejected the credentials themselves, and not only what they were used for.
func rejected(err error) bool {
	refused, ok := errors.AsType[*forge.RefusedError](err)
	return ok && refused.Status == http.StatusUnauthorized
}

// wait returns when to try again after an error.
func wait(err error, now time.Time) time.Duration {
	if limited, ok := errors.AsType[*forge.RateLimitedError](err); ok {
		return max(limited.Until.Sub(now), time.Second)
	}
	if down, ok := errors.AsType[*forge.UnavailableError](err); ok && down.RetryAfter > 0 {
		return down.RetryAfter
	}
	return retry
}
