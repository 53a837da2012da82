package report

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// DefaultClusterSeries is the default limit on an AuditSync's series about single clusters: two for each of 10,000 clusters.
const DefaultClusterSeries = 20_000

// fleetCollector collects the metrics about single clusters, and those that depend on the current time. It builds the series when
// something changes; a scrape only reads them. So a fleet of thousands needs no gauge for each cluster that every sync would have to
// look up and set.
type fleetCollector struct {
	success, expiry, suppressed, credentials *prometheus.Desc
	most                                     int
	now                                      func() time.Time

	mu     sync.Mutex
	fleets map[syncKey]*fleetSeries
}

// fleetSeries holds the series of one AuditSync's clusters. Its slices are replaced and never modified, so that they can be read
// without the lock.
type fleetSeries struct {
	clusters []clusterName // of the repository; nil before they are known
	ends     []clusterEnd  // of each cluster
	scanned  []clusterScan
	// samples are the series. If there are too many, samples is empty and suppressed is their number.
	samples    []clusterSample
	suppressed int
}

func newFleetCollector(most int, now func() time.Time) *fleetCollector {
	one := syncLabels("audit_config", "cluster")
	return &fleetCollector{most: most, now: now, fleets: map[syncKey]*fleetSeries{},
		success: prometheus.NewDesc("muster_cluster_last_scan_success_timestamp_seconds",
			"When the last successful scan of the cluster ended, in seconds since 1970.", one, nil),
		expiry: prometheus.NewDesc("muster_cluster_credential_expiry_timestamp_seconds",
			"When the cluster's credentials in the repository expire, in seconds since 1970; the earliest of several. kind is which one: token, client-certificate, ca-certificate, registry-login.",
			syncLabels("audit_config", "cluster", "kind"), nil),
		suppressed: prometheus.NewDesc("muster_cluster_series_suppressed",
			"Series about single clusters if they are all left out because they exceed --metrics-cluster-series.", syncLabels(), nil),
		credentials: prometheus.NewDesc("muster_credentials",
			"Clusters in the repository by when their credentials expire: expired, urgent, expiring, later, unknown. Of several credentials, the worst counts.", syncLabels("state"), nil),
	}
}

// Describe implements prometheus.Collector.
func (c *fleetCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.success, c.expiry, c.suppressed, c.credentials} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *fleetCollector) Collect(metrics chan<- prometheus.Metric) {
	now := c.now()
	for key, s := range c.present() {
		for i := range s.samples {
			metrics <- &s.samples[i]
		}
		if c.most > 0 {
			metrics <- prometheus.MustNewConstMetric(c.suppressed, prometheus.GaugeValue, float64(s.suppressed), key.namespace, key.name)
		}
		for state, n := range expiries(s.ends, now) {
			metrics <- prometheus.MustNewConstMetric(c.credentials, prometheus.GaugeValue, float64(n), key.namespace, key.name, state)
		}
	}
}

// present returns the current series of the AuditSyncs whose clusters are known.
func (c *fleetCollector) present() map[syncKey]fleetSeries {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[syncKey]fleetSeries, len(c.fleets))
	for key, s := range c.fleets {
		if s.clusters != nil {
			all[key] = *s
		}
	}
	return all
}

// setFleet records the clusters in the repository. It ignores nil.
func (c *fleetCollector) setFleet(key syncKey, f *fleet.Opened) {
	if f == nil {
		return
	}
	clusters, ends := make([]clusterName, len(f.Clusters)), make([]clusterEnd, len(f.Clusters))
	for i := range f.Clusters {
		c := &f.Clusters[i]
		clusters[i], ends[i] = clusterName{c.AuditConfig, c.Name}, clusterEnd{c.Terms, c.WarnBefore()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of(key)
	if s.clusters != nil && slices.Equal(s.clusters, clusters) && slices.EqualFunc(s.ends, ends, clusterEnd.equal) {
		return
	}
	s.clusters, s.ends = clusters, ends
	c.build(key, s)
}

// setScans records when the clusters were last scanned.
func (c *fleetCollector) setScans(key syncKey, statuses []scanstate.Status) {
	scanned := make([]clusterScan, len(statuses))
	for i := range statuses {
		scanned[i] = clusterScan{clusterName{statuses[i].AuditConfig, statuses[i].Cluster}, statuses[i].LastSuccess}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of(key)
	if slices.EqualFunc(s.scanned, scanned, clusterScan.equal) {
		return
	}
	s.scanned = scanned
	c.build(key, s)
}

func (c *fleetCollector) of(key syncKey) *fleetSeries {
	s := c.fleets[key]
	if s == nil {
		s = &fleetSeries{}
		c.fleets[key] = s
	}
	return s
}

func (c *fleetCollector) forget(key syncKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fleets, key)
}

// clusterEnd is when the credentials of a cluster end.
type clusterEnd struct {
	terms      []credential.Term // those that end first at the front
	warnBefore time.Duration
}

func (e clusterEnd) equal(other clusterEnd) bool {
	return e.warnBefore == other.warnBefore && slices.Equal(e.terms, other.terms)
}

// stage is the last stage that one of the credentials has reached.
func (e clusterEnd) stage(now time.Time) credential.Stage {
	worst := credential.Lasting
	for _, t := range e.terms {
		stage, _ := t.Stage(now, e.warnBefore)
		worst = max(worst, stage)
	}
	return worst
}

// expiries counts clusters by when their credentials expire.
func expiries(ends []clusterEnd, now time.Time) map[string]int {
	counts := map[string]int{"expired": 0, "urgent": 0, "expiring": 0, "later": 0, "unknown": 0}
	for _, end := range ends {
		switch stage := end.stage(now); {
		case len(end.terms) == 0:
			counts["unknown"]++
		case stage == credential.Lasting:
			counts["later"]++
		default:
			counts[stage.String()]++
		}
	}
	return counts
}
