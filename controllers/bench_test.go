package controllers_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// BenchmarkApply brings 1,000 clusters from an empty namespace to applied on a real API server, and one pushed change of
// them from push to applied. It prints seconds, or milliseconds for the change:
//
//	total                from the creation of the AuditSync, or from the push, until its status says applied
//	fetch render plan    the stages, as the metrics of the controller have them; apply is the rest of the work
//	compile open         the two parts of render, from a run of their own
//	secrets config       from the beginning of the first write of a kind to the end of the last: the inventory is written
//	inventory status     before everything else and after it, the status at the start and at the end
//	writes               how many writes there were, events apart
func BenchmarkApply(b *testing.B) {
	const n = 1000
	for b.Loop() {
		f := newFleet(newWorld(b))
		bench := &bench{fleet: f, B: b}
		commit := f.push(f.files(n))
		bench.renderAlone()
		stop := bench.start()
		mark, began := f.mark(), time.Now()
		f.createSync(nil)
		f.untilReady(commit)
		bench.report("empty", time.Second, began, mark)

		f.request() // what the watches have stirred up is over
		bench.spans.take()
		commit = f.push(map[string]string{pathOf(n / 2): strings.Replace(f.withToken(nameOf(n/2), "CANARY-new"), "spec:\n", "spec:\n    schedule: 5 5 * * *\n", 1)})
		mark, began = f.mark(), time.Now()
		bench.last = bench.stages()
		f.changeSync(func(s *v1alpha1.AuditSync) { s.Annotations = map[string]string{v1alpha1.AnnotationReconcile: commit} })
		f.untilReady(commit)
		bench.report("change", time.Millisecond, began, mark)
		stop()
	}
	b.ReportMetric(0, "ns/op") // setting up the repository is in it, so it says nothing
}

type bench struct {
	*fleet
	B        *testing.B
	registry *prometheus.Registry
	spans    spans
	last     map[string]time.Duration
}

func (b *bench) start() (stop func()) {
	cfg, err := plane.User(b.user, "system:serviceaccounts")
	must(b.B, err)
	b.spans.take()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { b.spans.next = next; return &b.spans })
	b.registry = prometheus.NewRegistry()
	return b.run(cfg, controllers.Options{Namespace: b.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: b.cacheDir, Concurrency: 1,
		Registry: b.registry, ShutdownTimeout: 5 * time.Second})
}

// stages are the sums of the controller's stage durations so far.
func (b *bench) stages() map[string]time.Duration {
	families, err := b.registry.Gather()
	must(b.B, err)
	sums := map[string]time.Duration{}
	for _, family := range families {
		if family.GetName() != "muster_stage_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "stage" {
					sums[label.GetValue()] = time.Duration(m.GetHistogram().GetSampleSum() * float64(time.Second))
				}
			}
		}
	}
	return sums
}

// renderAlone renders the work tree, to tell the two parts of rendering apart.
func (b *bench) renderAlone() {
	pipeline, opener, began := clusters.NewPipeline(), b.key.Opener(b.B), time.Now()
	sealed, err := pipeline.Compile(b.Context(), clusters.Source{FS: os.DirFS(b.work), Path: "clusters"}, compile.Options{Namespace: b.namespace, Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=mondoo-client"}}}, opener)
	must(b.B, err)
	compiled := time.Now()
	_, err = pipeline.Open(b.Context(), sealed, opener, &redact.Redactor{}, time.Now())
	must(b.B, err)
	b.B.ReportMetric(compiled.Sub(began).Seconds(), "empty:compile-s")
	b.B.ReportMetric(time.Since(compiled).Seconds(), "empty:open-s")
}

// report prints where the time has gone since a mark.
func (b *bench) report(what string, unit time.Duration, began time.Time, since server.Mark) {
	name := map[time.Duration]string{time.Second: "s", time.Millisecond: "ms"}[unit]
	metric := func(part string, took time.Duration) {
		b.B.ReportMetric(float64(took)/float64(unit), fmt.Sprintf("%s:%s-%s", what, part, name))
	}
	metric("total", time.Since(began))
	for stage, sum := range b.stages() {
		metric(stage, sum-b.last[stage])
	}
	for kind, span := range b.spans.take() {
		metric(kind, span)
	}
	b.B.ReportMetric(float64(len(b.written(since))), what+":writes")
}

// spans stands between the controller and the API server, and notes when the writes of a kind began and ended.
type spans struct {
	next http.RoundTripper

	mu          sync.Mutex
	first, last map[string]time.Time
}

func (s *spans) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := s.next.RoundTrip(r)
	if r.Method == http.MethodGet {
		return response, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, kind := range map[string]string{"/secrets/": "secrets", "/mondooauditconfigs/": "config", "/configmaps/": "inventory", "/auditsyncs/": "status"} {
		if !strings.Contains(r.URL.Path, part) {
			continue
		}
		if first, ok := s.first[kind]; !ok || began.Before(first) {
			s.first[kind] = began
		}
		s.last[kind] = time.Now()
	}
	return response, err
}

// take gives the time from the first write of each kind to the end of its last, and begins anew.
func (s *spans) take() map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := map[string]time.Duration{}
	for kind, first := range s.first {
		took[kind] = s.last[kind].Sub(first)
	}
	s.first, s.last = map[string]time.Time{}, map[string]time.Time{}
	return took
}
