package report_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// fleetOf is a fleet of clusters that all have both series, with their scans.
func fleetOf(n int) report.Outcome {
	f := &fleet.Opened{}
	scans := make([]scanstate.Status, n)
	for i := range n {
		name := fmt.Sprintf("prod-eu-west-1-%05d", i)
		f.Clusters = append(f.Clusters, fleet.Cluster{Name: name, AuditConfig: "mondoo-client", Terms: token(noon.Add(time.Duration(i) * time.Hour))})
		scans[i] = scanstate.Status{Cluster: name, AuditConfig: "mondoo-client", State: scanstate.Succeeded, LastSuccess: noon.Add(-time.Duration(i) * time.Second)}
	}
	o := inSync(f)
	o.Scans = scans
	return o
}

// What a scrape costs: gathered and written as Prometheus asks for it, without compression.
func BenchmarkScrape(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("clusters=%d", size), func(b *testing.B) {
			registry := prometheus.NewRegistry() // the others' is pedantic
			metrics, err := report.NewMetrics(registry, report.MetricsOptions{ClusterSeries: 2 * size})
			if err != nil {
				b.Fatal(err)
			}
			audit, o := auditSync("production"), fleetOf(size)
			metrics.Sync(audit, time.Minute, report.Status(audit, o), o)
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
			request := httptest.NewRequest("GET", "/metrics", nil)
			b.ReportAllocs()
			b.ResetTimer()
			var answer *httptest.ResponseRecorder
			for b.Loop() {
				answer = httptest.NewRecorder()
				handler.ServeHTTP(answer, request)
			}
			b.ReportMetric(float64(answer.Body.Len())/1024, "KiB/scrape")
			if answer.Code != 200 {
				b.Fatal(answer.Body.String())
			}
		})
	}
}

// What a sync costs by its metrics: one that finds nothing new, and one that finds a scan more.
func BenchmarkSyncMetrics(b *testing.B) {
	const size = 10_000
	audit, o := auditSync("production"), fleetOf(size)
	status := report.Status(audit, o)
	for _, changed := range []bool{false, true} {
		b.Run(fmt.Sprintf("clusters=%d/changed=%t", size, changed), func(b *testing.B) {
			n := newNumbers(b, 2*size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if changed {
					o.Scans[i%size].LastSuccess = noon.Add(time.Duration(i) * time.Second)
				}
				n.Sync(audit, time.Minute, status, o)
			}
		})
	}
}
