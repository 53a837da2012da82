package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// rulesFile is a file of rules as Prometheus reads it.
type rulesFile struct {
	Groups []ruleGroup `json:"groups"`
}

type ruleGroup struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type rule struct {
	Alert       string            `json:"alert,omitempty"`
	Record      string            `json:"record,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// rulesTests is as much of a file of unit tests as tells what is tested.
type rulesTests struct {
	Tests []struct {
		Name       string `json:"name"`
		AlertTests []struct {
			Alert  string `json:"alertname"`
			Expect []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

func prometheusFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "config", "prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	var file rulesFile
	if err := yaml.UnmarshalStrict(prometheusFile(t, "rules.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool runs promtool, which is built first if it isn't there, and returns what it prints.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	server.SkipShort(t)
	path, err := server.Binary(t.Context(), server.Promtool, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

func TestPrometheusRules(t *testing.T) {
	folder := filepath.Join(root, "config", "prometheus")
	if out, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(folder, "rules.yaml")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := promtool(t, "test", "rules", filepath.Join(folder, "rules_test.yaml")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	readme := string(prometheusFile(t, "README.md"))
	for _, r := range readRules(t) {
		if r.Alert == "" || !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%+v: an alert has a name and a severity", r)
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
		_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "config/prometheus/README.md#")
		if anchor != strings.ToLower(r.Alert) || !strings.Contains(readme, "\n### "+r.Alert+"\n") {
			t.Errorf("README.md does not say what to do about %s, or %q leads elsewhere", r.Alert, r.Annotations["runbook_url"])
		}
	}
	if n := strings.Count(readme, "\n### Muster"); n != len(readRules(t)) {
		t.Errorf("README.md has %d alerts, rules.yaml %d", n, len(readRules(t)))
	}
}

// Every alert has a test in which it fires and one in which it doesn't; and these do find out when it never does, or always.
func TestPrometheusRulesAreTested(t *testing.T) {
	var tests rulesTests
	if err := yaml.Unmarshal(prometheusFile(t, "rules_test.yaml"), &tests); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.AlertTests {
			fires[a.Alert] = fires[a.Alert] || len(a.Expect) > 0
			quiet[a.Alert] = quiet[a.Alert] || len(a.Expect) == 0
		}
	}
	for _, r := range readRules(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s has a test in which it fires: %t; in which it doesn't: %t", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
	for _, expr := range []string{"vector(0) > 1", "vector(1)"} {
		out := testChangedRules(t, func(r *rule) { r.Expr, r.For = expr, "" })
		for _, r := range readRules(t) {
			if !strings.Contains(out, "alertname: "+r.Alert+",") {
				t.Errorf("the tests don't notice that the expression of %s is %s", r.Alert, expr)
			}
		}
	}
}

// testChangedRules runs the unit tests on rules that were changed.
func testChangedRules(t *testing.T, change func(*rule)) string {
	t.Helper()
	var file rulesFile
	if err := yaml.UnmarshalStrict(prometheusFile(t, "rules.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for i := range g.Rules {
			change(&g.Rules[i])
		}
	}
	changed, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"rules.yaml": changed, "rules_test.yaml": prometheusFile(t, "rules_test.yaml")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := promtool(t, "test", "rules", filepath.Join(dir, "rules_test.yaml"))
	if err == nil {
		t.Errorf("the unit tests pass with changed rules:\n%s", out)
	}
	return out
}

// The PrometheusRule has the rules, the ServiceMonitor finds the Service, which finds the Pods, and Grafana gets the dashboard.
func TestPrometheusObjects(t *testing.T) {
	all := objects(t, kustomize(t, "prometheus"))
	for _, o := range all {
		if o.GetNamespace() != operatorNamespace {
			t.Errorf("the %s %s is in the namespace %q", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
	spec, err := yaml.Marshal(find[struct {
		Spec rulesFile `json:"spec"`
	}](t, all, "PrometheusRule", "muster").Spec)
	if err != nil {
		t.Fatal(err)
	}
	var file rulesFile
	if err := yaml.UnmarshalStrict(prometheusFile(t, "rules.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	rules, err := yaml.Marshal(file)
	if err != nil || !bytes.Equal(spec, rules) {
		t.Errorf("prometheusrule.yaml is not of rules.yaml (%v); run make generate", err)
	}

	service := find[corev1.Service](t, all, "Service", "muster-metrics")
	pod := find[appsv1.Deployment](t, objects(t, kustomize(t, "default")), "Deployment", "muster").Spec.Template
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) || len(service.Spec.Selector) == 0 {
		t.Errorf("the Service selects %v, and the Pods have %v", service.Spec.Selector, pod.Labels)
	}
	port := service.Spec.Ports[0]
	if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
		return port.TargetPort == intstr.FromString(p.Name) && p.ContainerPort == port.Port
	}) {
		t.Errorf("the Pod has no port for %+v", port)
	}
	monitor := find[serviceMonitor](t, all, "ServiceMonitor", "muster").Spec
	if len(monitor.Endpoints) != 1 || monitor.Endpoints[0].Port != port.Name || !monitor.Endpoints[0].HonorLabels {
		t.Errorf("the ServiceMonitor asks %+v, and the Service has %+v; labels are to be honoured", monitor.Endpoints, port)
	}
	if len(monitor.Selector.MatchLabels) == 0 || !labels.SelectorFromSet(monitor.Selector.MatchLabels).Matches(labels.Set(service.Labels)) {
		t.Errorf("the ServiceMonitor selects %v, and the Service has %v", monitor.Selector.MatchLabels, service.Labels)
	}
	dashboard := find[corev1.ConfigMap](t, all, "ConfigMap", "muster-dashboard")
	if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Data["muster.json"] != string(prometheusFile(t, "dashboard.json")) {
		t.Errorf("the ConfigMap has the labels %v, and %d bytes of a dashboard", dashboard.Labels, len(dashboard.Data["muster.json"]))
	}
}

// serviceMonitor is as much of a ServiceMonitor as is used.
type serviceMonitor struct {
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port        string `json:"port"`
			HonorLabels bool   `json:"honorLabels"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// dashboard is as much of a Grafana dashboard as can be wrong here.
type dashboard struct {
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string     `json:"name"`
			Type       string     `json:"type"`
			Definition string     `json:"definition"`
			Datasource datasource `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int        `json:"id"`
	Type       string     `json:"type"`
	Title      string     `json:"title"`
	Datasource datasource `json:"datasource"`
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		RefID      string     `json:"refId"`
		Expr       string     `json:"expr"`
		Datasource datasource `json:"datasource"`
	} `json:"targets"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(prometheusFile(t, "dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions are those of the dashboard's panels and variables, with Grafana's variables filled in.
func (d dashboard) expressions() (all []string) {
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*", "$auditsync", ".*")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, grafana.Replace(target.Expr))
		}
	}
	values := regexp.MustCompile(`^label_values\((.*), \w+\)$`)
	for _, v := range d.Templating.List {
		if m := values.FindStringSubmatch(v.Definition); m != nil {
			all = append(all, grafana.Replace(m[1]))
		}
	}
	return all
}

func TestPrometheusDashboard(t *testing.T) {
	d := readDashboard(t)
	want := datasource{"prometheus", "${datasource}"}
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, twice := ids[p.ID]; twice || p.ID == 0 {
			t.Errorf("%q has the id %d, and so has %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, twice := taken[[2]int{x, y}]; twice || x >= 24 {
					t.Fatalf("%q lies on %q, or beside the dashboard", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource != want {
			t.Errorf("%q has %d expressions, and the data source %v", p.Title, len(p.Targets), p.Datasource)
		}
		for _, target := range p.Targets {
			if target.Datasource != want || target.RefID == "" {
				t.Errorf("an expression of %q has the data source %v and the name %q", p.Title, target.Datasource, target.RefID)
			}
		}
	}
	if first := d.Templating.List[0]; first.Name != "datasource" || first.Type != "datasource" {
		t.Errorf("the first variable is %+v, and has to be the data source, which the others need", first)
	}
	if d.UID == "" || len(ids) < 20 {
		t.Errorf("the dashboard has the uid %q and %d panels", d.UID, len(ids))
	}
	if out, err := parseExpressions(t, d.expressions()); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := parseExpressions(t, []string{"sum by (muster_clusters"}); err == nil {
		t.Errorf("promtool parses what is none:\n%s", out)
	}
}

// parseExpressions has promtool parse expressions, as those of recording rules.
func parseExpressions(t *testing.T, expressions []string) (string, error) {
	t.Helper()
	file := rulesFile{Groups: []ruleGroup{{Name: "dashboard"}}}
	for i, expr := range expressions {
		file.Groups[0].Rules = append(file.Groups[0].Rules, rule{Record: fmt.Sprint("panel:", i), Expr: expr})
	}
	content, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return promtool(t, "check", "rules", path)
}
