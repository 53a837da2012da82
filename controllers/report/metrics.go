package report

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scan"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Metrics are the numbers of all syncs, labelled by namespace and name of the AuditSync. Besides these two, labels hold words of
// a fixed list; the series of single clusters, which also hold the names of cluster and audit config, are bounded in number. No
// label holds text that Kubernetes would not take as a name. What is gone has no series.
type Metrics struct {
	clusters  *prometheus.GaugeVec
	scans     *prometheus.GaugeVec
	ready     *prometheus.GaugeVec
	suspended *prometheus.GaugeVec
	failing   *prometheus.GaugeVec
	interval  *prometheus.GaugeVec
	success   *prometheus.GaugeVec
	drifted   *prometheus.GaugeVec
	corrected *prometheus.CounterVec
	syncs     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	stages    *prometheus.HistogramVec
	steps     *prometheus.CounterVec
	forge     forgeMetrics
	fleet     *fleetCollector
	now       func() time.Time

	mu     sync.Mutex
	forges map[syncKey]forge.Provider
	known  map[syncKey]bool
}

// MetricsOptions configure Metrics.
type MetricsOptions struct {
	// Version is the program's, for muster_build_info.
	Version string
	// ClusterSeries is how many series about single clusters an AuditSync may have; one that needs more gets none. 0: nobody gets any.
	ClusterSeries int
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// syncKey names an AuditSync.
type syncKey struct{ namespace, name string }

func syncLabels(more ...string) []string { return append([]string{"namespace", "auditsync"}, more...) }

// The stages that an AuditSync can be stuck in, and the results of syncs.
var (
	stages  = []string{"fetch", "render", "plan", "apply"}
	results = []string{resultComplete, resultPartial, resultRejected, resultWaiting, resultFailed}
)

// Why something was changed.
const (
	causeGit   = "git"
	causeDrift = "drift"
)

const (
	resultComplete = "complete" // everything in the path is applied
	resultPartial  = "partial"  // all stages were gone through; clusters are quarantined, or removals held
	resultRejected = "rejected" // a stage waits for somebody to change something
	resultWaiting  = "waiting"  // a stage waits for something that may come by itself
	resultFailed   = "failed"   // a stage is tried again
)

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer, o MetricsOptions) (*Metrics, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{
		clusters: gauge("muster_clusters",
			"Clusters by state: total, applied, quarantined, held (removal waits), foreign (in no file).", "state"),
		scans: gauge("muster_scans",
			"Clusters by the state of their scans: not_picked_up, failed, overdue, awaiting, paused, succeeded; and running, which counts besides how the scan before has ended.", "state"),
		ready:     gauge("muster_sync_ready", "1 when the AuditSync is Ready, 0 when it is not."),
		suspended: gauge("muster_sync_suspended", "1 when the AuditSync is suspended, 0 when it is not."),
		failing: gauge("muster_sync_failing",
			"1 for a stage that the last sync could not get through (fetch, render, plan, apply), 0 for the others.", "stage"),
		interval: gauge("muster_sync_interval_seconds", "The AuditSync's interval, in seconds."),
		success: gauge("muster_sync_last_success_timestamp_seconds",
			"When a sync last got through all stages, in seconds since 1970. Single clusters may have been quarantined."),
		drifted: gauge("muster_drifted_objects", "Objects that differ from what Muster applied, and were not put right."),
		corrected: counter("muster_drift_corrections_total",
			"Syncs that have put drift right."),
		syncs: counter("muster_syncs_total", "Syncs by result: complete, partial (clusters quarantined, removals held or refused), rejected, waiting, failed.", "result"),
		durations: histogram("muster_sync_duration_seconds",
			"Time that a sync took in all, in seconds."),
		stages: histogram("muster_stage_duration_seconds",
			"Time that a stage of a sync took, in seconds: fetch, render, plan, apply.", "stage"),
		steps: counter("muster_changes_total",
			"Changes applied, by action (add, change, move, remove) and cause (git, drift).", "action", "cause"),
		forge:  newForgeMetrics(),
		fleet:  newFleetCollector(o.ClusterSeries, o.Now),
		now:    o.Now,
		forges: map[syncKey]forge.Provider{},
		known:  map[syncKey]bool{},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "muster_build_info", Help: "Always 1; its label is the version of Muster.",
		ConstLabels: prometheus.Labels{"version": strings.ToValidUTF8(o.Version, "")}})
	build.Set(1)
	for _, c := range append(m.perSync(), m.fleet, build) {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, syncLabels(labels...))
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, syncLabels(labels...))
}

// histogram has buckets from a millisecond to four minutes.
func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help,
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}, syncLabels(labels...))
}

// perSync are the metrics that have series for each AuditSync, and are dropped with it.
func (m *Metrics) perSync() []prometheus.Collector {
	return append([]prometheus.Collector{m.clusters, m.scans, m.ready, m.suspended, m.failing, m.interval, m.success, m.drifted, m.corrected,
		m.syncs, m.durations, m.stages, m.steps}, m.forge.collectors()...)
}

// Stage notes how long a stage of a sync took.
func (m *Metrics) Stage(namespace, name, stage string, took time.Duration) {
	m.stages.WithLabelValues(namespace, name, stage).Observe(took.Seconds())
}

// Duration notes how long a whole sync took.
func (m *Metrics) Duration(namespace, name string, took time.Duration) {
	m.durations.WithLabelValues(namespace, name).Observe(took.Seconds())
}

// Suspended notes that an AuditSync is suspended. Nobody looks at it then, so nothing else is told of it.
func (m *Metrics) Suspended(namespace, name string) {
	m.Forget(namespace, name)
	m.suspended.WithLabelValues(namespace, name).Set(1)
}

// Sync notes the state of a sync, and what was changed.
func (m *Metrics) Sync(audit *v1alpha1.AuditSync, interval time.Duration, status v1alpha1.AuditSyncStatus, o Outcome) {
	namespace, name := audit.Namespace, audit.Name
	m.Begin(namespace, name)
	if c := status.Clusters; c != nil {
		for state, n := range map[string]int32{"total": c.Total, "applied": c.Applied, "quarantined": c.Quarantined, "held": c.Held, "foreign": c.Foreign} {
			m.clusters.WithLabelValues(namespace, name, state).Set(float64(n))
		}
	}
	m.ready.WithLabelValues(namespace, name).Set(oneIf(o.Complete()))
	m.suspended.WithLabelValues(namespace, name).Set(0)
	m.interval.WithLabelValues(namespace, name).Set(interval.Seconds())
	stuck := o.stuck()
	for _, stage := range stages {
		m.failing.WithLabelValues(namespace, name, stage).Set(oneIf(stage == stuck))
	}
	if o.Fetch == nil && o.inForce() {
		m.success.WithLabelValues(namespace, name).Set(seconds(m.now()))
	}
	m.syncs.WithLabelValues(namespace, name, o.result(stuck)).Inc()
	m.fleet.setFleet(syncKey{namespace, name}, o.Fleet)
	if o.Scans != nil {
		m.Scans(namespace, name, o.Scans)
	}
	m.changes(namespace, name, o)
}

// Scans notes what became of the scans of an AuditSync's clusters.
func (m *Metrics) Scans(namespace, name string, statuses []scan.Status) {
	counts := map[scan.State]int{}
	for i := range statuses {
		s := &statuses[i]
		counts[s.Standing().State]++
		if s.State == scan.Running && s.Standing() != s {
			counts[scan.Running]++
		}
	}
	for _, state := range scan.States() {
		m.scans.WithLabelValues(namespace, name, snake(string(state))).Set(float64(counts[state]))
	}
	m.fleet.setScans(syncKey{namespace, name}, statuses)
}

// changes notes what was changed, and the drift that was not.
func (m *Metrics) changes(namespace, name string, o Outcome) {
	if o.Plan == nil || o.Plan.Stopped {
		return
	}
	drifted, corrected := len(o.Plan.Drifted()), len(o.Plan.Corrected())
	if o.Corrects && o.Apply == nil {
		if corrected > 0 {
			m.corrected.WithLabelValues(namespace, name).Inc()
		}
		drifted -= corrected
	}
	m.drifted.WithLabelValues(namespace, name).Set(float64(drifted))
	if o.Apply != nil || o.Plan.Empty() {
		return
	}
	for _, s := range o.Plan.Steps {
		if s.Action == plan.Hold || s.Drift && (!o.Corrects || !s.Until.IsZero()) {
			continue
		}
		cause := causeGit
		if s.Drift {
			cause = causeDrift
		}
		m.steps.WithLabelValues(namespace, name, string(s.Action), cause).Inc()
	}
}

// Begin notes that somebody looks at an AuditSync. The counters of a new one begin at 0, so that the first of a kind is seen as an
// increase.
func (m *Metrics) Begin(namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := syncKey{namespace, name}
	if m.known[key] {
		return
	}
	m.known[key] = true
	m.corrected.WithLabelValues(namespace, name)
	for _, result := range results {
		m.syncs.WithLabelValues(namespace, name, result)
	}
	for _, action := range actionWords {
		if action.action != plan.Hold { // which changes nothing
			m.steps.WithLabelValues(namespace, name, string(action.action), causeGit)
			m.steps.WithLabelValues(namespace, name, string(action.action), causeDrift)
		}
	}
}

// Forget drops the series of an AuditSync that is gone.
func (m *Metrics) Forget(namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetForge(namespace, name)
	delete(m.known, syncKey{namespace, name})
	for _, c := range m.perSync() {
		drop(c, namespace, name)
	}
	m.fleet.forget(syncKey{namespace, name})
}

func drop(c prometheus.Collector, namespace, name string) {
	if v, ok := c.(interface{ DeletePartialMatch(prometheus.Labels) int }); ok {
		v.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "auditsync": name})
	}
}

// stuck is the stage that the sync did not get through; empty when there is none.
func (o *Outcome) stuck() string {
	switch {
	case o.Fetch != nil:
		return "fetch"
	case o.Render != nil, o.Fleet != nil && o.Fleet.Stopped:
		return "render"
	case o.Apply != nil:
		return "apply"
	case o.Plan == nil, o.Plan.Waiting, planErrors(*o) > 0:
		return "plan"
	}
	return ""
}

// result says in a word what became of a sync that is stuck in a stage, or in none.
func (o *Outcome) result(stuck string) string {
	if o.Complete() {
		return resultComplete
	}
	if stuck == "" {
		return resultPartial
	}
	switch _, _, class := verdict(*o); class {
	case Waiting:
		return resultWaiting
	case Failed:
		return resultFailed
	}
	return resultRejected
}

// snake writes a name in CamelCase the way that label values are written.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

func oneIf(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
