package report

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/preflight"
)

// preflightMetrics are the metrics about checks of credentials. They exist for AuditSyncs with spec.preflight.mode Report.
type preflightMetrics struct {
	clusters, failures, last *prometheus.GaugeVec
}

func newPreflightMetrics() preflightMetrics {
	return preflightMetrics{
		clusters: gauge("muster_preflight_clusters",
			"Clusters by the result of the last check of their credentials: passed, failed, not_checked (it is not possible from here), pending (no result yet).", "state"),
		failures: gauge("muster_preflight_failures",
			"Clusters whose last check failed, by cause.", "cause"),
		last: gauge("muster_preflight_last_check_timestamp_seconds",
			"When a cluster was last checked, in seconds since 1970."),
	}
}

func (p preflightMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.clusters, p.failures, p.last}
}

// set records results. Without any, it drops the series of an AuditSync whose clusters are no longer checked.
func (p preflightMetrics) set(namespace, name string, on bool, results *Preflight) {
	if !on {
		for _, c := range p.collectors() {
			drop(c, namespace, name)
		}
		return
	}
	if results == nil || results.Invalid != "" {
		return
	}
	for state, n := range map[string]int{"passed": results.Passed, "failed": len(results.Failures), "not_checked": results.NotChecked, "pending": results.Pending} {
		p.clusters.WithLabelValues(namespace, name, state).Set(float64(n))
	}
	counts := map[preflight.Cause]int{}
	for _, f := range results.Failures {
		counts[f.Check.Cause]++
	}
	for _, cause := range preflight.Causes() {
		p.failures.WithLabelValues(namespace, name, string(cause)).Set(float64(counts[cause]))
	}
	if !results.Last.IsZero() {
		p.last.WithLabelValues(namespace, name).Set(seconds(results.Last))
	}
}
