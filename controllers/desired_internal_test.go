package controllers

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/renewals"
)

// emptyCluster has no object, and counts reads.
type emptyCluster struct {
	client.Reader
	reads int
}

func (c *emptyCluster) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	c.reads++
	return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
}

// TestAbandoned: a sync that was left alone takes nothing up when it returns. Its AuditSync may be suspended or deleted by then, and
// nothing would ever end the renewals.
func TestAbandoned(t *testing.T) {
	seed := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:scan:eu"}`)) + ".c2ln"
	rendered := &fleet.Opened{Secrets: []fleet.Secret{{Name: "s", Cluster: "eu", AuditConfig: "a", Renew: time.Hour, Data: map[string]string{mondoo.KeyToken: seed}}},
		Clusters: []fleet.Cluster{{Name: "eu", AuditConfig: "a"}}}
	live := &emptyCluster{}
	r := &Reconciler{Renewals: renewals.New(renewals.Options{Clock: clock.RealClock{}, Live: live})}
	desire := func(ctx context.Context) error {
		audit := &v1alpha1.AuditSync{}
		audit.Namespace, audit.Name = "mondoo", "production"
		if _, failure := r.desire(ctx, audit, &state{fleet: rendered, redactor: &redact.Redactor{}}); failure != nil {
			return failureError(failure)
		}
		return nil
	}
	abandoned, cancel := context.WithCancel(t.Context())
	cancel()
	if err := desire(abandoned); err == nil || live.reads > 0 {
		t.Errorf("abandoned: %v, and %d tokens taken up", err, live.reads)
	}
	if err := desire(t.Context()); err != nil || live.reads != 1 {
		t.Errorf("at work: %v, and %d tokens taken up", err, live.reads)
	}
}
