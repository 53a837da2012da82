package report

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Metrics are the numbers of all syncs, labelled by namespace and name of the AuditSync. Their cardinality grows with the
// number of AuditSyncs, never with that of clusters.
type Metrics struct {
	clusters *prometheus.GaugeVec
	ready    *prometheus.GaugeVec
	stages   *prometheus.HistogramVec
	steps    *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	sync := []string{"namespace", "name"}
	m := &Metrics{
		clusters: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "muster_clusters",
			Help: "Clusters by state: total, applied, quarantined, held (removal waits), foreign (in no file)."}, append(sync, "state")),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "muster_sync_ready",
			Help: "1 when the AuditSync is Ready, 0 when it is not."}, sync),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "muster_stage_duration_seconds",
			Help: "Time that a stage of a sync took, in seconds: fetch, render, plan, apply.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}, append(sync, "stage")),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_changes_total",
			Help: "Changes applied, by action (add, change, remove) and cause (git, drift)."}, append(sync, "action", "cause")),
	}
	for _, c := range []prometheus.Collector{m.clusters, m.ready, m.stages, m.steps} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Stage notes how long a stage of a sync took.
func (m *Metrics) Stage(namespace, name, stage string, took time.Duration) {
	m.stages.WithLabelValues(namespace, name, stage).Observe(took.Seconds())
}

// Sync notes the state of a sync, and what was changed.
func (m *Metrics) Sync(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) {
	if c := status.Clusters; c != nil {
		for state, n := range map[string]int32{"total": c.Total, "applied": c.Applied, "quarantined": c.Quarantined, "held": c.Held, "foreign": c.Foreign} {
			m.clusters.WithLabelValues(sync.Namespace, sync.Name, state).Set(float64(n))
		}
	}
	ready := 0.0
	if o.Complete() {
		ready = 1
	}
	m.ready.WithLabelValues(sync.Namespace, sync.Name).Set(ready)
	if o.Plan == nil || o.Apply != nil || o.Plan.Empty() {
		return
	}
	for _, s := range o.Plan.Steps {
		cause := "git"
		if s.Drift {
			cause = "drift"
		}
		m.steps.WithLabelValues(sync.Namespace, sync.Name, string(s.Action), cause).Inc()
	}
}

// Forget drops the series of a sync that is gone.
func (m *Metrics) Forget(namespace, name string) {
	labels := prometheus.Labels{"namespace": namespace, "name": name}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.clusters, m.ready, m.stages, m.steps} {
		v.DeletePartialMatch(labels)
	}
}
