package report

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/util/validation"
)

// clusterName identifies a cluster of an AuditSync.
type clusterName struct{ auditConfig, name string }

// clusterScan is the time of a cluster's last successful scan; zero for never.
type clusterScan struct {
	clusterName
	success time.Time
}

func (s clusterScan) equal(t clusterScan) bool {
	return s.clusterName == t.clusterName && s.success.Equal(t.success)
}

// clusterSample is a series that can be collected any number of times.
type clusterSample struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	gauge  *dto.Gauge
}

// Desc implements prometheus.Metric.
func (s *clusterSample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *clusterSample) Write(m *dto.Metric) error {
	m.Label, m.Gauge = s.labels, s.gauge
	return nil
}

// build builds the series of an AuditSync's clusters. If there are too many it builds none, because a part would look complete.
func (c *fleetCollector) build(key syncKey, s *fleetSeries) {
	s.samples, s.suppressed = nil, 0
	if c.most == 0 {
		return
	}
	clusters := s.times()
	n := 0
	for i := range clusters {
		n += clusters[i].series()
	}
	if n > c.most {
		s.suppressed = n
		return
	}
	s.samples = make([]clusterSample, 0, n)
	labels := labeller(key)
	for i := range clusters {
		t := &clusters[i]
		if t.series() == 0 {
			continue
		}
		of := labels(t.clusterName)
		if !t.success.IsZero() {
			s.samples = append(s.samples, clusterSample{c.success, of, timestamp(t.success)})
		}
		if t.end.expires() {
			first := t.end.terms[0]
			s.samples = append(s.samples, clusterSample{c.expiry, slices.Insert(slices.Clip(of), kindAt, pair("kind", string(first.Kind))), timestamp(first.Until)})
		}
	}
}

// clusterTimes are the times of one cluster; zero for none.
type clusterTimes struct {
	clusterName
	end     clusterEnd
	success time.Time
}

func (e clusterEnd) expires() bool { return len(e.terms) > 0 }

func (t *clusterTimes) series() int {
	n := 0
	if t.end.expires() {
		n++
	}
	if !t.success.IsZero() {
		n++
	}
	return n
}

// times joins the times of all clusters. Clusters whose name is invalid in Kubernetes get no series: their file has an error, and the
// name may be any text. Of duplicate names, which are an error too, the first counts.
func (s *fleetSeries) times() []clusterTimes {
	all := make([]clusterTimes, 0, len(s.clusters))
	seen := make(map[clusterName]bool, len(s.clusters))
	scanned := make(map[clusterName]time.Time, len(s.scanned))
	for _, scan := range s.scanned {
		scanned[scan.clusterName] = scan.success
	}
	valid := map[string]bool{} // audit configs
	for i, c := range s.clusters {
		ok, known := valid[c.auditConfig]
		if !known {
			ok = len(validation.IsDNS1123Subdomain(c.auditConfig)) == 0
			valid[c.auditConfig] = ok
		}
		if seen[c] || !ok || len(validation.IsDNS1123Label(c.name)) > 0 {
			continue
		}
		seen[c] = true
		success, known := scanned[c]
		if !known {
			success = scanned[clusterName{name: c.name}] // if there is only one audit config, scans don't name it
		}
		all = append(all, clusterTimes{c, s.ends[i], success})
	}
	return all
}

// kindAt is where the label kind belongs among a cluster's labels.
const kindAt = 3

// labeller returns a function that returns the labels of a cluster, sorted by name as the registry requires. Clusters share the
// labels that they have in common.
func labeller(key syncKey) func(clusterName) []*dto.LabelPair {
	namespace, sync := pair("namespace", key.namespace), pair("auditsync", key.name)
	configs := map[string]*dto.LabelPair{}
	return func(c clusterName) []*dto.LabelPair {
		config := configs[c.auditConfig]
		if config == nil {
			config = pair("audit_config", c.auditConfig)
			configs[c.auditConfig] = config
		}
		return []*dto.LabelPair{config, sync, pair("cluster", c.name), namespace}
	}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

func timestamp(t time.Time) *dto.Gauge {
	value := seconds(t)
	return &dto.Gauge{Value: &value}
}
