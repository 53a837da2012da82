package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// CommitStatuses are statuses for tests with a clock of their own, which work when they are told to.
type CommitStatuses struct{ *statuses }

// NewCommitStatuses makes statuses that a test works by hand.
func NewCommitStatuses(t testing.TB, c client.Client, clock clock.WithTicker, registry prometheus.Registerer, recorder events.EventRecorder, url string) (CommitStatuses, *report.Metrics) {
	metrics, err := report.NewMetrics(registry, report.MetricsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := newStatuses(c, clock, metrics, recorder, url)
	s.changed = make(chan event.TypedGenericEvent[*v1alpha1.AuditSync], 1000)
	t.Cleanup(s.queue.ShutDown)
	return CommitStatuses{s}, metrics
}

// Work brings the statuses of one AuditSync up to date, and returns when to do so again.
func (s CommitStatuses) Work(ctx context.Context, key types.NamespacedName) time.Duration {
	return s.work(ctx, key)
}

// Asked says whether a sync was asked for since the last call.
func (s CommitStatuses) Asked() bool {
	asked := false
	for {
		select {
		case <-s.changed:
			asked = true
		default:
			return asked
		}
	}
}

// Show has a reconciler use the statuses.
func (r *Reconciler) Show(s CommitStatuses) { r.statuses = s.statuses }
