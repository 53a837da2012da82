package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// ApplyPlan carries out a plan.
func ApplyPlan(ctx context.Context, c client.Client, namespace string, p *plan.Plan) error {
	return applier{objects: c, own: c, namespace: namespace}.run(ctx, p)
}

// Rebase has the reconciler believe that it has reported a sync of an AuditSync.
func (r *Reconciler) Rebase(audit *v1alpha1.AuditSync) { r.rebase(audit) }

// WithClock returns the options with a clock for renewals.
func (o Options) WithClock(c clock.WithTicker) Options {
	o.clock = c
	return o
}

// Stick has the reconciler believe that a sync of an AuditSync was left alone, until it is released.
func (r *Reconciler) Stick(key types.NamespacedName) (release func()) {
	st := r.state(key)
	running := make(chan struct{})
	st.watchdog.running = running
	return func() { close(running) }
}
