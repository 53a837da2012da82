package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// recorder is a registry that remembers what the metrics in it are called and which labels they have.
type recorder struct {
	*prometheus.Registry
	labels map[string][]string
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func (r *recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		m := descForm.FindStringSubmatch(d.String())
		if m == nil {
			return fmt.Errorf("prometheus describes a metric as %s", d)
		}
		r.labels[m[1]] = []string{}
		if m[2] != "" {
			name, _, _ := strings.Cut(m[2], "=")
			r.labels[m[1]] = append(r.labels[m[1]], name)
		}
		if m[3] != "" {
			r.labels[m[1]] = append(r.labels[m[1]], strings.Split(m[3], ",")...)
		}
	}
	return r.Registry.Register(c)
}

// everyMetric registers all metrics of Muster, and has one AuditSync go through all that can be counted.
func everyMetric(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{Registry: prometheus.NewPedanticRegistry(), labels: map[string][]string{}}
	if _, err := webhook.NewMetrics(r); err != nil {
		t.Fatal(err)
	}
	m, err := report.NewMetrics(r, report.MetricsOptions{Version: "devel", ClusterSeries: 100})
	if err != nil {
		t.Fatal(err)
	}
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = operatorNamespace, "production"
	audit.Spec.Preflight.Mode = v1alpha1.PreflightReport
	broken := finding.Report{Findings: []finding.Finding{{Code: "x", Severity: finding.Error, Cluster: "eu"}}}
	all := &fleet.Opened{Report: broken, Clusters: []fleet.Cluster{{Name: "eu", AuditConfig: "mondoo-client", Terms: []credential.Term{{Kind: credential.KindToken, Until: time.Unix(1, 0)}}}}}
	failure := &report.Failure{Class: report.Failed}
	for _, o := range []report.Outcome{
		{Fetch: failure}, {Render: failure}, {Fleet: all, Apply: failure},
		{Fleet: all, Corrects: true, Plan: &plan.Plan{Report: broken, Secrets: make([]plan.SecretWrite, 1), Steps: changes()},
			Scans:     []scanstate.Status{{Cluster: "eu", AuditConfig: "mondoo-client", LastSuccess: time.Unix(1, 0)}},
			Preflight: &report.Preflight{Last: time.Unix(1, 0)}},
	} {
		m.Sync(audit, time.Minute, report.Status(audit, o), o)
	}
	for _, stage := range []string{"fetch", "render", "plan", "apply"} {
		m.Stage(audit.Namespace, audit.Name, stage, time.Second)
	}
	m.Duration(audit.Namespace, audit.Name, time.Second)
	m.ForgePost(audit.Namespace, audit.Name, forge.GitHub, nil)
	m.ForgeBehind(audit.Namespace, audit.Name, forge.GitHub, 1)
	m.ForgeRate(audit.Namespace, audit.Name, forge.GitHub, forge.Rate{Limit: 1, Reset: time.Unix(1, 0)})
	return r
}

// changes are steps of each action, from Git and because of drift.
func changes() (steps []plan.Step) {
	for _, action := range []plan.Action{plan.Add, plan.Change, plan.Move, plan.Remove, plan.Hold} {
		steps = append(steps, plan.Step{Action: action}, plan.Step{Action: action, Drift: true})
	}
	return steps
}

// size is how many series Prometheus makes of a metric.
func size(family *dto.MetricFamily) (n int) {
	for _, m := range family.GetMetric() {
		if h := m.GetHistogram(); h != nil {
			n += len(h.GetBucket()) + 3 // +Inf, the sum and the count
			continue
		}
		n++
	}
	return n
}

// README.md has every metric, with its labels, and as many series as there are.
func TestMetricsAreDocumented(t *testing.T) {
	r := everyMetric(t)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{}
	for _, f := range families {
		sizes[f.GetName()] = size(f)
	}
	row := regexp.MustCompile("(?m)^\\| `(muster_[a-z_]+)(?:\\{([a-z_,]+)\\})?` \\| (gauge|counter|histogram) \\| (\\d+)( a cluster)? \\| .+ \\|$")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(prometheusFile(t, "README.md")), -1) {
		name, labels := m[1], []string{}
		if m[2] != "" {
			labels = strings.Split(m[2], ",")
		}
		documented[name] = true
		has, exists := r.labels[name]
		if !exists {
			t.Errorf("README.md has %s, which there is not", name)
			continue
		}
		if !slices.Equal(slices.Sorted(slices.Values(has)), slices.Sorted(slices.Values(labels))) {
			t.Errorf("%s has the labels %v, and in README.md %v", name, has, labels)
		}
		want := sizes[name]
		if name == "muster_webhook_requests_total" {
			outcomes := webhookOutcomes(t)
			want = len(outcomes) * len([]webhook.Provider{webhook.GitHub, webhook.GitLab, webhook.Gitea, webhook.Forgejo, webhook.Generic, "unknown"})
			if sizes[name] != want {
				t.Errorf("%d of the %d series of %s begin at 0; of the others the first would be seen as no increase", sizes[name], want, name)
			}
			for _, o := range outcomes {
				if !strings.Contains(m[0], o) {
					t.Errorf("README.md does not have the outcome %s of %s", o, name)
				}
			}
		}
		if n, err := strconv.Atoi(m[4]); err != nil || n != want {
			t.Errorf("%s has %d series, and in README.md %s", name, want, m[4])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.labels)) {
		if !documented[name] {
			t.Errorf("README.md does not have %s", name)
		}
		if !strings.HasPrefix(name, "muster_") {
			t.Errorf("%s is not called after Muster", name)
		}
	}
}

// webhookOutcomes are the outcomes that the receiver counts. To have it count each takes all that its own tests do, so they are taken
// from its source.
func webhookOutcomes(t *testing.T) (all []string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, "gitsync", "webhook", "answer.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+outcome[A-Z]\w*\s+outcome = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		all = append(all, m[1])
	}
	if len(all) < 10 {
		t.Fatalf("answer.go has only the outcomes %v", all)
	}
	return all
}

// selector is a metric in an expression, with what it selects.
type selector struct {
	metric   string
	matchers [][3]string // label, operator, value
	expr     string
}

var (
	selectorForm = regexp.MustCompile(`\b((?:muster|workqueue|leader_election|process|go|controller_runtime|rest_client)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcherForm  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// selectors are all metrics that rules and dashboard use.
func selectors(t *testing.T) (all []selector) {
	t.Helper()
	expressions := readDashboard(t).expressions()
	for _, r := range readRules(t) {
		expressions = append(expressions, r.Expr)
		// The queries in texts have their labels from the alert.
		expressions = append(expressions, strings.ReplaceAll(r.Annotations["description"], "=%q", `=~".*"`))
	}
	for _, expr := range expressions {
		for _, m := range selectorForm.FindAllStringSubmatch(expr, -1) {
			s := selector{metric: m[1], expr: expr}
			for _, matcher := range matcherForm.FindAllStringSubmatch(m[2], -1) {
				s.matchers = append(s.matchers, [3]string(matcher[1:]))
			}
			all = append(all, s)
		}
	}
	if len(all) < 60 {
		t.Fatalf("only %d metrics are used", len(all))
	}
	return all
}

// matches says whether a series is selected.
func (s selector) matches(series map[string]string) bool {
	for _, m := range s.matchers {
		value, has := series[m[0]]
		pattern := regexp.MustCompile("^(?:" + m[2] + ")$")
		switch {
		case !has:
			return false
		case m[1] == "=" && value != m[2], m[1] == "!=" && value == m[2],
			m[1] == "=~" && !pattern.MatchString(value), m[1] == "!~" && pattern.MatchString(value):
			return false
		}
	}
	return true
}

// What rules and dashboard ask for is there, with these labels and these values.
func TestPrometheusUsesMetricsThatAreThere(t *testing.T) {
	r := everyMetric(t)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string][]map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			of := map[string]string{}
			for _, l := range m.GetLabel() {
				of[l.GetName()] = l.GetValue()
			}
			series[f.GetName()] = append(series[f.GetName()], of)
		}
	}
	for _, outcome := range webhookOutcomes(t) {
		series["muster_webhook_requests_total"] = append(series["muster_webhook_requests_total"], map[string]string{"provider": "github", "outcome": outcome})
	}
	used := map[string]bool{}
	for _, s := range selectors(t) {
		if !strings.HasPrefix(s.metric, "muster_") {
			continue // testMetrics asks the program
		}
		name := strings.TrimSuffix(s.metric, "_bucket")
		used[name] = true
		labels, exists := r.labels[name]
		if !exists {
			t.Errorf("there is no metric %s, which %s asks for", name, s.expr)
		}
		for _, m := range s.matchers {
			if !slices.Contains(labels, m[0]) {
				t.Errorf("%s has no label %s, which %s asks for", name, m[0], s.expr)
			}
			for value := range strings.SplitSeq(m[2], "|") {
				has := func(of map[string]string) bool { return of[m[0]] == value }
				if m[1] == "=~" && value != ".*" && !slices.ContainsFunc(series[name], has) {
					t.Errorf("%s is never %s in %s, which %s asks for", m[0], value, name, s.expr)
				}
			}
		}
		if !slices.ContainsFunc(series[name], s.matches) {
			t.Errorf("no series of %s is ever such as %s asks for", name, s.expr)
		}
	}
	for name := range r.labels {
		if !used[name] && name != "muster_webhook_body_bytes" {
			t.Errorf("nobody looks at %s", name)
		}
	}
}

// testMetrics asks a program that has synced once for what rules and dashboard need besides Muster's own metrics, and for some of these.
func (in *installation) testMetrics(t *testing.T) {
	exposed := in.scrape(t)
	for _, s := range selectors(t) {
		of := []string{"muster_build_info", "muster_sync_ready", "muster_clusters", "muster_credentials", "muster_sync_last_success_timestamp_seconds"}
		if strings.HasPrefix(s.metric, "muster_") && !slices.Contains(of, s.metric) {
			continue
		}
		found := false
		for line := range strings.Lines(exposed) {
			name, rest, _ := strings.Cut(line, "{")
			if rest == "" {
				name, _, _ = strings.Cut(line, " ")
			}
			of := map[string]string{}
			for _, m := range matcherForm.FindAllStringSubmatch(rest, -1) {
				of[m[1]] = m[3]
			}
			found = found || name == s.metric && s.matches(of)
		}
		if !found {
			t.Errorf("the program has no %s such as %s asks for", s.metric, s.expr)
		}
	}
}

// scrape asks the program for its metrics as Prometheus does.
func (in *installation) scrape(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+in.metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", response.Status, err)
	}
	return string(body)
}
