package report

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Metrics are the metrics of all AuditSyncs, labelled by namespace and name. Other labels have fixed values. Only the series of single
// clusters also have the names of the cluster and its audit config, and their number is bounded. No label value contains text that
// is not a valid Kubernetes name. Deleted objects have no series.
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
	preflight preflightMetrics
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
	// ClusterSeries is how many series about single clusters an AuditSync may have. If it needs more, it gets none. 0 turns them off.
	ClusterSeries int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// syncKey names an AuditSync.
type syncKey struct{ namespace, name string }

func syncLabels(more ...string) []string { return append([]string{"namespace", "auditsync"}, more...) }

// The stages at which a sync can stop, and the results of syncs.
var (
	stages  = []string{"fetch", "render", "plan", "apply"}
	results = []string{resultComplete, resultPartial, resultRejected, resultWaiting, resultFailed}
)

// Why an object was changed.
const (
	causeGit   = "git"
	causeDrift = "drift"
	// causeSupplied is that of values from elsewhere.
	causeSupplied = "supplied"
)

const (
	resultComplete = "complete" // everything in the path is applied
	resultPartial  = "partial"  // all stages completed; clusters are quarantined, or removals held
	resultRejected = "rejected" // a stage needs a change by a user
	resultWaiting  = "waiting"  // a stage waits for something that may appear by itself
	resultFailed   = "failed"   // a stage is retried
)

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer, o MetricsOptions) (*Metrics, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{
		clusters: gauge("muster_clusters",
			"Clusters by state: total, applied, quarantined, held (removal waits for approval), foreign (in no file).", "state"),
		scans: gauge("muster_scans",
			"Clusters by the state of their scans: not_picked_up, failed, overdue, awaiting, paused, succeeded; and running, counted in addition to the result of the previous scan.", "state"),
		ready:     gauge("muster_sync_ready", "1 when the AuditSync is Ready, 0 when it is not."),
		suspended: gauge("muster_sync_suspended", "1 when the AuditSync is suspended, 0 when it is not."),
		failing: gauge("muster_sync_failing",
			"1 for the stage that the last sync did not complete (fetch, render, plan, apply), 0 for the others.", "stage"),
		interval: gauge("muster_sync_interval_seconds", "The AuditSync's interval, in seconds."),
		success: gauge("muster_sync_last_success_timestamp_seconds",
			"When a sync last completed all stages, in seconds since 1970. Single clusters may have been quarantined."),
		drifted: gauge("muster_drifted_objects", "Objects that differ from what Muster applied, and were not corrected."),
		corrected: counter("muster_drift_corrections_total",
			"Syncs that corrected drift."),
		syncs: counter("muster_syncs_total", "Syncs by result: complete, partial (clusters quarantined, removals held or refused), rejected, waiting, failed.", "result"),
		durations: histogram("muster_sync_duration_seconds",
			"Total duration of a sync, in seconds."),
		stages: histogram("muster_stage_duration_seconds",
			"Duration of a stage of a sync, in seconds: fetch, render, plan, apply.", "stage"),
		steps: counter("muster_changes_total",
			"Changes applied, by action (add, change, move, remove) and cause (git, drift, supplied: values from elsewhere, such as renewed tokens).", "action", "cause"),
		forge:     newForgeMetrics(),
		preflight: newPreflightMetrics(),
		fleet:     newFleetCollector(o.ClusterSeries, o.Now),
		now:       o.Now,
		forges:    map[syncKey]forge.Provider{},
		known:     map[syncKey]bool{},
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

// perSync returns the metrics that have series for each AuditSync, which are dropped with it.
func (m *Metrics) perSync() []prometheus.Collector {
	return slices.Concat([]prometheus.Collector{m.clusters, m.scans, m.ready, m.suspended, m.failing, m.interval, m.success, m.drifted, m.corrected,
		m.syncs, m.durations, m.stages, m.steps}, m.forge.collectors(), m.preflight.collectors())
}

// Stage records how long a stage of a sync took.
func (m *Metrics) Stage(namespace, name, stage string, took time.Duration) {
	m.stages.WithLabelValues(namespace, name, stage).Observe(took.Seconds())
}

// Duration records how long a whole sync took.
func (m *Metrics) Duration(namespace, name string, took time.Duration) {
	m.durations.WithLabelValues(namespace, name).Observe(took.Seconds())
}

// Suspended records that an AuditSync is suspended. It drops its other series, because its state is no longer checked.
func (m *Metrics) Suspended(namespace, name string) {
	m.Forget(namespace, name)
	m.suspended.WithLabelValues(namespace, name).Set(1)
}

// Sync records the outcome of a sync and its changes.
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
	m.preflight.set(namespace, name, audit.Spec.Preflight.On(), o.Preflight)
	m.changes(namespace, name, o)
}

// Unchanged records another sync with the outcome of the last one, which was complete.
func (m *Metrics) Unchanged(namespace, name string) {
	m.success.WithLabelValues(namespace, name).Set(seconds(m.now()))
	m.syncs.WithLabelValues(namespace, name, resultComplete).Inc()
}

// Scans records the scan states of an AuditSync's clusters.
func (m *Metrics) Scans(namespace, name string, statuses []scanstate.Status) {
	counts := map[scanstate.State]int{}
	for i := range statuses {
		s := &statuses[i]
		counts[s.Standing().State]++
		if s.State == scanstate.Running && s.Standing() != s {
			counts[scanstate.Running]++
		}
	}
	for _, state := range scanstate.States() {
		m.scans.WithLabelValues(namespace, name, snake(string(state))).Set(float64(counts[state]))
	}
	m.fleet.setScans(syncKey{namespace, name}, statuses)
}

// changes records the changes of a sync, and the drift that it did not correct.
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
		switch {
		case s.Drift:
			cause = causeDrift
		case s.Supplied:
			cause = causeSupplied
		}
		m.steps.WithLabelValues(namespace, name, string(s.Action), cause).Inc()
	}
}

// Begin creates the counters of a new AuditSync. They start at 0, so that the first count shows as an increase.
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
		if action.action != plan.Hold { // changes nothing
			m.steps.WithLabelValues(namespace, name, string(action.action), causeGit)
			m.steps.WithLabelValues(namespace, name, string(action.action), causeDrift)
		}
	}
}

// Forget drops the series of a deleted AuditSync.
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

// stuck returns the stage that the sync did not complete, or "".
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

// result returns the result of a sync, given the stage that it did not complete, if any.
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

// snake converts CamelCase to snake_case, the form of label values.
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

// seconds returns a time in seconds since 1970, as Prometheus expects it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
