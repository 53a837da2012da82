package controllers

import (
	"context"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/plan"
)

// ApplyPlan carries out a plan.
func ApplyPlan(ctx context.Context, c client.Client, namespace string, p *plan.Plan) error {
	return applier{objects: c, own: c, namespace: namespace}.run(ctx, p)
}

// Stick has the reconciler believe that a sync of an AuditSync was left alone, until it is released.
func (r *Reconciler) Stick(key types.NamespacedName) (release func(), _ error) {
	st, err := r.state(key)
	if err != nil {
		return nil, err
	}
	running := make(chan struct{})
	st.watchdog.running = running
	return func() { close(running) }, nil
}

// SyncRequests are syncRequests, for tests with a clock of their own.
type SyncRequests struct{ *syncRequests }

// NewSyncRequests makes syncRequests.
func NewSyncRequests(c client.Client, clock clock.Clock, log logr.Logger) SyncRequests {
	return SyncRequests{newSyncRequests(c, clock, log)}
}

// Ask asks for a sync.
func (s SyncRequests) Ask(key types.NamespacedName) { s.add(key) }

// Run passes requests on.
func (s SyncRequests) Run(ctx context.Context) { s.run(ctx) }

// Pending is for how many AuditSyncs something is remembered.
func (s SyncRequests) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}
