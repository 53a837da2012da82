package report_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	clustersv1alpha1 "github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// noon is when the tests of metrics happen.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// numbers are metrics with a registry and a clock of their own.
type numbers struct {
	*report.Metrics
	testing.TB
	registry *prometheus.Registry
	now      time.Time
}

func newNumbers(t testing.TB, series int) *numbers {
	t.Helper()
	n := &numbers{TB: t, registry: prometheus.NewPedanticRegistry(), now: noon}
	var err error
	n.Metrics, err = report.NewMetrics(n.registry, report.MetricsOptions{Version: "v1.2.3", ClusterSeries: series, Now: func() time.Time { return n.now }})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gather returns all series as they would be asked for, with their values; a histogram as the number of its observations.
func (n *numbers) gather() map[string]float64 {
	n.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			all[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return all
}

// want compares the series whose names start with one of the prefixes.
func (n *numbers) want(want map[string]float64, prefixes ...string) {
	n.Helper()
	got := n.gather()
	maps.DeleteFunc(got, func(name string, _ float64) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if value, ok := want[name]; !ok || value != got[name] {
			n.Errorf("%s is %v, want %v (expected at all: %t)", name, got[name], value, ok)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			n.Errorf("%s is missing; want %v", name, want[name])
		}
	}
}

func auditSync(name string) *v1alpha1.AuditSync {
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = "mondoo-operator", name
	return audit
}

// opened is a fleet of clusters of the audit config mondoo-client, named with how long their credentials last.
func opened(lasting map[string]time.Duration) *fleet.Opened {
	f := &fleet.Opened{}
	for _, name := range slices.Sorted(maps.Keys(lasting)) {
		c := fleet.Cluster{Name: name, AuditConfig: "mondoo-client"}
		if lasting[name] != 0 {
			c.Terms = token(noon.Add(lasting[name]))
		}
		f.Clusters = append(f.Clusters, c)
	}
	return f
}

func token(until time.Time) []credential.Term {
	return []credential.Term{{Kind: credential.KindToken, Until: until}}
}

// sync reports an outcome as Reconcile does.
func (n *numbers) sync(audit *v1alpha1.AuditSync, o report.Outcome) {
	n.Sync(audit, 5*time.Minute, report.Status(audit, o), o)
}

// inSync is the outcome of a sync in which all went well.
func inSync(f *fleet.Opened) report.Outcome {
	return report.Outcome{Revision: "main@sha1:1f", Fleet: f, Plan: &plan.Plan{}, Corrects: true}
}

const (
	lastScan = "muster_cluster_last_scan_success_timestamp_seconds"
	expiry   = "muster_cluster_credential_expiry_timestamp_seconds"
	ofOne    = `auditsync="production"`
	sums     = "muster_cluster_series_suppressed"
)

func series(metric, cluster string) string {
	kind := ""
	if metric == expiry {
		kind = `kind="token",`
	}
	return metric + `{audit_config="mondoo-client",auditsync="production",cluster="` + cluster + `",` + kind + `namespace="mondoo-operator"}`
}

func unix(t time.Time) float64 { return float64(t.Unix()) }

func TestClusterSeries(t *testing.T) {
	n := newNumbers(t, 100)
	audit := auditSync("production")
	o := inSync(opened(map[string]time.Duration{"eu": 20 * day, "us": 0, "old": -day}))
	suppressed := sums + `{auditsync="production",namespace="mondoo-operator"}`
	o.Scans = []scanstate.Status{
		{Cluster: "eu", AuditConfig: "mondoo-client", State: scanstate.Succeeded, LastSuccess: noon.Add(-time.Hour)},
		{Cluster: "us", State: scanstate.Awaiting},
		{Cluster: "foreign", AuditConfig: "mondoo-client", State: scanstate.Succeeded, LastSuccess: noon},
	}
	n.sync(audit, o)
	n.want(map[string]float64{
		series(lastScan, "eu"): unix(noon.Add(-time.Hour)),
		series(expiry, "eu"):   unix(noon.Add(20 * day)),
		series(expiry, "old"):  unix(noon.Add(-day)),
		suppressed:             0,
	}, "muster_cluster_")

	o = inSync(opened(map[string]time.Duration{"eu": 20 * day, "us": 7 * day}))
	n.sync(audit, o) // Scans nil: what was known stays
	n.want(map[string]float64{
		series(lastScan, "eu"): unix(noon.Add(-time.Hour)),
		series(expiry, "eu"):   unix(noon.Add(20 * day)),
		series(expiry, "us"):   unix(noon.Add(7 * day)),
		suppressed:             0,
	}, "muster_cluster_")

	n.sync(audit, report.Outcome{Fetch: &report.Failure{Class: report.Failed}})
	if got := len(n.gather()); got == 0 || n.gather()[series(expiry, "us")] == 0 {
		t.Error("a failed fetch makes clusters disappear")
	}
	n.Scans(audit.Namespace, audit.Name, []scanstate.Status{{Cluster: "us", LastSuccess: noon, State: scanstate.Succeeded}})
	n.want(map[string]float64{series(lastScan, "us"): unix(noon)}, lastScan)
	n.Scans(audit.Namespace, audit.Name, []scanstate.Status{{Cluster: "us", LastSuccess: noon.Add(time.Hour), State: scanstate.Succeeded}})
	n.want(map[string]float64{series(lastScan, "us"): unix(noon.Add(time.Hour))}, lastScan)
}

// What somebody has written into a file gets into a label only when Kubernetes would take it as a name.
func TestClusterSeriesOfHostileNames(t *testing.T) {
	n := newNumbers(t, 100)
	f := &fleet.Opened{}
	for _, name := range []string{"eu", "eu", "", "EU", "a b", "x\xff", "-x", strings.Repeat("x", 64), "a\",namespace=\"kube-system", "ENC[AES256_GCM,data:x]", "line\nbreak"} {
		f.Clusters = append(f.Clusters, fleet.Cluster{Name: name, AuditConfig: "mondoo-client", Terms: token(noon)})
	}
	f.Clusters = append(f.Clusters, fleet.Cluster{Name: "us", AuditConfig: "no audit config", Terms: token(noon)}, fleet.Cluster{Name: "us", Terms: token(noon)})
	n.sync(auditSync("production"), inSync(f))
	n.want(map[string]float64{series(expiry, "eu"): unix(noon)}, expiry)
}

func TestClusterSeriesAreBounded(t *testing.T) {
	suppressed := sums + `{auditsync="production",namespace="mondoo-operator"}`
	for _, tt := range []struct {
		reason string
		most   int
		want   map[string]float64
	}{
		{"as many as allowed", 2, map[string]float64{series(expiry, "eu"): unix(noon.Add(day)), series(expiry, "us"): unix(noon.Add(day)), suppressed: 0}},
		{"one too many, and none is there", 1, map[string]float64{suppressed: 2}},
		{"turned off", 0, map[string]float64{}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			n := newNumbers(t, tt.most)
			n.sync(auditSync("production"), inSync(opened(map[string]time.Duration{"eu": day, "us": day, "forever": 0})))
			n.want(tt.want, "muster_cluster_")
			if got := n.gather()[`muster_credentials{auditsync="production",namespace="mondoo-operator",state="urgent"}`]; got != 2 {
				t.Errorf("%v credentials are counted as expiring; counts don't depend on series", got)
			}
		})
	}
}

func TestCredentialsByTimeLeft(t *testing.T) {
	n := newNumbers(t, 100)
	n.sync(auditSync("production"), inSync(opened(map[string]time.Duration{"a": day, "b": 7 * day, "c": 15 * day, "d": 31 * day, "e": 0})))
	state := func(expired, urgent, expiring, later float64) map[string]float64 {
		of := `muster_credentials{auditsync="production",namespace="mondoo-operator",state=`
		return map[string]float64{of + `"expired"}`: expired, of + `"urgent"}`: urgent, of + `"expiring"}`: expiring, of + `"later"}`: later, of + `"unknown"}`: 1}
	}
	n.want(state(0, 2, 1, 1), "muster_credentials")
	n.now = noon.Add(day) // the very moment; nothing is synced in between
	n.want(state(1, 1, 2, 0), "muster_credentials")
	n.now = noon.Add(365 * day)
	n.want(state(4, 0, 0, 0), "muster_credentials")
}

// Of a short-lived token and a CA certificate, the metric has the one that ends first, and the count the one that is nearer to its end.
func TestCredentialsOfOneCluster(t *testing.T) {
	n := newNumbers(t, 100)
	terms := []credential.Term{
		{Kind: credential.KindToken, From: noon, Until: noon.Add(day)},
		{Kind: credential.KindCACertificate, From: noon.Add(-365 * day), Until: noon.Add(5 * day)},
	}
	f := &fleet.Opened{Clusters: []fleet.Cluster{{Name: "eu", AuditConfig: "mondoo-client", Terms: terms}}}
	state := func() string {
		for name, count := range n.gather() {
			if _, state, ok := strings.Cut(name, `muster_credentials{auditsync="production",namespace="mondoo-operator",state="`); ok && count == 1 {
				return strings.TrimSuffix(state, `"}`)
			}
		}
		return ""
	}
	n.sync(auditSync("production"), inSync(f))
	n.want(map[string]float64{series(expiry, "eu"): unix(noon.Add(day))}, expiry)
	if got := state(); got != "urgent" {
		t.Errorf("the certificate ends in 5 days: %s", got)
	}
	f.Clusters[0].Terms = terms[:1]
	n.sync(auditSync("production"), inSync(f))
	if got := state(); got != "later" {
		t.Errorf("a token for a day has just been issued: %s", got)
	}
	f.Clusters[0].File = &clustersv1alpha1.ExternalCluster{Metadata: clustersv1alpha1.Metadata{Annotations: map[string]string{clustersv1alpha1.AnnotationWarnBefore: "2d"}}}
	n.sync(auditSync("production"), inSync(f))
	if got := state(); got != "expiring" {
		t.Errorf("the cluster wants to know it two days before: %s", got)
	}
}

func TestScansByState(t *testing.T) {
	n := newNumbers(t, 100)
	failed := &scanstate.Status{State: scanstate.Failed}
	o := inSync(opened(nil))
	o.Scans = []scanstate.Status{{State: scanstate.Failed}, {State: scanstate.Running, Before: failed}, {State: scanstate.Running}, {State: scanstate.NotPickedUp}, {State: scanstate.NotPickedUp}}
	n.sync(auditSync("production"), o)
	of := `muster_scans{auditsync="production",namespace="mondoo-operator",state=`
	n.want(map[string]float64{of + `"failed"}`: 2, of + `"running"}`: 2, of + `"not_picked_up"}`: 2, of + `"succeeded"}`: 0, of + `"overdue"}`: 0,
		of + `"awaiting"}`: 0, of + `"paused"}`: 0}, "muster_scans")
}

func TestSyncMetrics(t *testing.T) {
	failure := func(class report.Class) *report.Failure { return &report.Failure{Class: class, Reason: "Because"} }
	broken := finding.Report{Findings: []finding.Finding{{Code: "x", Severity: finding.Error, Message: "broken", Cluster: "eu"}}}
	empty := &fleet.Opened{}
	for _, tt := range []struct {
		reason  string
		outcome report.Outcome
		result  string
		stage   string
		success bool
	}{
		{"all is well", inSync(empty), "complete", "", true},
		{"one cluster is quarantined", report.Outcome{Fleet: &fleet.Opened{Report: broken}, Plan: &plan.Plan{Report: broken}}, "partial", "", true},
		{"removals are held", report.Outcome{Fleet: empty, Plan: &plan.Plan{Held: 3, Report: finding.Report{Findings: []finding.Finding{{Code: plan.CodeHeld}}}}}, "partial", "", true},
		{"the remote is down", report.Outcome{Fetch: failure(report.Failed), Fleet: empty, Plan: &plan.Plan{}}, "failed", "fetch", false},
		{"the path is gone", report.Outcome{Render: failure(report.Rejected)}, "rejected", "render", false},
		{"a shared file is broken", report.Outcome{Fleet: &fleet.Opened{Report: finding.Report{Stopped: true, Findings: broken.Findings}}, Plan: &plan.Plan{Report: finding.Report{Stopped: true, Findings: broken.Findings}}}, "rejected", "render", false},
		{"there is no operator", report.Outcome{Fleet: empty, Apply: failure(report.Waiting)}, "waiting", "apply", false},
		{"the management cluster refuses one", report.Outcome{Fleet: empty, Plan: &plan.Plan{Report: broken}}, "rejected", "plan", true},
		{"the audit config is not there yet", report.Outcome{Fleet: empty, Plan: &plan.Plan{Waiting: true, Report: broken}}, "waiting", "plan", false},
		{"the API server refuses", report.Outcome{Fleet: empty, Plan: &plan.Plan{}, Apply: failure(report.Failed)}, "failed", "apply", false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			n := newNumbers(t, 0)
			n.sync(auditSync("production"), tt.outcome)
			want := map[string]float64{}
			for _, stage := range []string{"fetch", "render", "plan", "apply"} {
				want[`muster_sync_failing{auditsync="production",namespace="mondoo-operator",stage="`+stage+`"}`] = oneIf(stage == tt.stage)
			}
			for _, result := range []string{"complete", "partial", "rejected", "waiting", "failed"} {
				want[`muster_syncs_total{auditsync="production",namespace="mondoo-operator",result="`+result+`"}`] = oneIf(result == tt.result)
			}
			want[`muster_sync_ready{auditsync="production",namespace="mondoo-operator"}`] = oneIf(tt.result == "complete")
			want[`muster_sync_suspended{auditsync="production",namespace="mondoo-operator"}`] = 0
			want[`muster_sync_interval_seconds{auditsync="production",namespace="mondoo-operator"}`] = 300
			if tt.success {
				want[`muster_sync_last_success_timestamp_seconds{auditsync="production",namespace="mondoo-operator"}`] = unix(noon)
			}
			n.want(want, "muster_sync_", "muster_syncs_")
		})
	}
}

// TestUnchangedMetrics: a sync that finds nothing new counts, and is a success.
func TestUnchangedMetrics(t *testing.T) {
	n := newNumbers(t, 0)
	n.sync(auditSync("production"), report.Outcome{Fleet: &fleet.Opened{}, Plan: &plan.Plan{}, Fetch: &report.Failure{Class: report.Failed}})
	n.Unchanged("mondoo-operator", "production")
	const of = `{auditsync="production",namespace="mondoo-operator"`
	want := map[string]float64{"muster_sync_last_success_timestamp_seconds" + of + "}": unix(noon)}
	for _, result := range []string{"complete", "partial", "rejected", "waiting", "failed"} {
		want["muster_syncs_total"+of+`,result="`+result+`"}`] = oneIf(result == "complete" || result == "failed")
	}
	n.want(want, "muster_sync_last", "muster_syncs_")
}

func oneIf(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

func TestDriftMetrics(t *testing.T) {
	steps := []plan.Step{{Action: plan.Change, Kind: "Secret", Drift: true}, {Action: plan.Change, Kind: "cluster", Drift: true},
		{Action: plan.Add, Kind: "cluster"}, {Action: plan.Hold, Kind: "cluster"}}
	written := func(o report.Outcome) report.Outcome {
		o.Fleet, o.Plan = &fleet.Opened{}, &plan.Plan{Steps: steps, Secrets: make([]plan.SecretWrite, 1)}
		return o
	}
	const of = `auditsync="production",`
	for _, tt := range []struct {
		reason             string
		outcome            report.Outcome
		drifted, corrected float64
		changes            map[string]float64
	}{
		{"put right", written(report.Outcome{Corrects: true}), 0, 1, map[string]float64{"add git": 1, "change drift": 2}},
		{"only reported", written(report.Outcome{}), 2, 0, map[string]float64{"add git": 1}},
		{"could not be put right", written(report.Outcome{Corrects: true, Apply: &report.Failure{}}), 2, 0, nil},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			n := newNumbers(t, 0)
			n.sync(auditSync("production"), tt.outcome)
			want := map[string]float64{
				`muster_drifted_objects{` + of + `namespace="mondoo-operator"}`:         tt.drifted,
				`muster_drift_corrections_total{` + of + `namespace="mondoo-operator"}`: tt.corrected,
			}
			for _, action := range []string{"add", "change", "move", "remove"} { // all, or the first of one would be no increase
				for _, cause := range []string{"git", "drift"} {
					want[`muster_changes_total{action="`+action+`",`+of+`cause="`+cause+`",namespace="mondoo-operator"}`] = tt.changes[action+" "+cause]
				}
			}
			n.want(want, "muster_drift", "muster_changes")
		})
	}
}

func TestForgeMetrics(t *testing.T) {
	n := newNumbers(t, 0)
	n.Begin("mondoo-operator", "production")
	post := func(err error) { n.ForgePost("mondoo-operator", "production", forge.GitHub, err) }
	for outcome, errs := range map[string][]error{
		"posted":       {nil, nil},
		"refused":      {&forge.RefusedError{}, fmt.Errorf("post: %w", &forge.RefusedError{})},
		"not_found":    {&forge.NotFoundError{}},
		"rejected":     {&forge.RejectedError{}, &forge.LimitError{}},
		"rate_limited": {&forge.RateLimitedError{}},
		"unavailable":  {&forge.UnavailableError{}},
		"invalid":      {&forge.ConfigError{}, &forge.RedirectedError{}, &forge.AnswerError{}},
		"failed":       {errors.New("CANARY-of-an-error"), context.Canceled},
	} {
		for _, err := range errs {
			post(err)
		}
		name := `muster_forge_posts_total{auditsync="production",namespace="mondoo-operator",outcome="` + outcome + `",provider="github"}`
		if got := n.gather()[name]; got != float64(len(errs)) {
			t.Errorf("%s is %v, want %d", name, got, len(errs))
		}
	}
	n.ForgeRate("mondoo-operator", "production", forge.GitHub, forge.Rate{})
	n.want(map[string]float64{}, "muster_forge_rate") // it has not said anything
	n.ForgeRate("mondoo-operator", "production", forge.GitHub, forge.Rate{Limit: 5000, Remaining: 12, Reset: noon})
	n.ForgeBehind("mondoo-operator", "production", forge.GitHub, 2)
	const github = `{auditsync="production",namespace="mondoo-operator",provider="github"}`
	n.want(map[string]float64{"muster_forge_rate_limit" + github: 5000, "muster_forge_rate_remaining" + github: 12,
		"muster_forge_rate_reset_timestamp_seconds" + github: unix(noon), "muster_forge_statuses_behind" + github: 2}, "muster_forge_rate", "muster_forge_statuses")

	n.ForgeBehind("mondoo-operator", "production", "CANARY", 1) // moved to another forge, which has no name here
	for name := range n.gather() {
		if strings.Contains(name, "github") || strings.Contains(name, "CANARY") {
			t.Errorf("there still is, or should not be: %s", name)
		}
	}
	n.ForgetForge("mondoo-operator", "production")
	n.want(map[string]float64{}, "muster_forge_")
}

// An AuditSync that is gone leaves nothing behind, and takes nothing of another one with it.
func TestForget(t *testing.T) {
	n := newNumbers(t, 100)
	for _, name := range []string{"production", "staging"} {
		o := inSync(opened(map[string]time.Duration{"eu": day}))
		o.Plan = &plan.Plan{Steps: []plan.Step{{Action: plan.Add}}, Secrets: make([]plan.SecretWrite, 1)}
		o.Scans = []scanstate.Status{{Cluster: "eu", LastSuccess: noon}}
		n.sync(auditSync(name), o)
		n.Stage("mondoo-operator", name, "fetch", time.Second)
		n.Duration("mondoo-operator", name, time.Second)
		n.ForgePost("mondoo-operator", name, forge.GitLab, nil)
		n.ForgeBehind("mondoo-operator", name, forge.GitLab, 1)
		n.ForgeRate("mondoo-operator", name, forge.GitLab, forge.Rate{Limit: 1, Reset: noon})
	}
	all := n.gather()
	n.Forget("mondoo-operator", "production")
	left := n.gather()
	for name := range left {
		if strings.Contains(name, ofOne) {
			t.Errorf("there still is %s", name)
		}
	}
	if build := 1; len(all)-build != 2*(len(left)-build) || len(left) < 40 {
		t.Errorf("%d series of %d are left", len(left), len(all))
	}
	n.ForgePost("mondoo-operator", "production", forge.GitLab, nil) // the last answers come late
	n.ForgeBehind("mondoo-operator", "production", forge.GitLab, 1)
	n.ForgeRate("mondoo-operator", "production", forge.GitLab, forge.Rate{Limit: 1})
	if late := n.gather(); len(late) != len(left) {
		t.Errorf("%d series of %d after what came late", len(late), len(left))
	}
	n.Forget("mondoo-operator", "production") // again, and one that never was
	n.Forget("mondoo-operator", "nothing")

	n.Begin("mondoo-operator", "production") // made anew
	n.ForgeBehind("mondoo-operator", "production", forge.GitLab, 1)
	const posted = `muster_forge_posts_total{auditsync="production",namespace="mondoo-operator",outcome="posted",provider="gitlab"}`
	if got, ok := n.gather()[posted]; !ok || got != 0 {
		t.Errorf("%s is %v, and there: %t", posted, got, ok)
	}
}

// The first failure of an AuditSync is an increase of its counter.
func TestCountersBeginAtZero(t *testing.T) {
	n := newNumbers(t, 0)
	n.sync(auditSync("production"), inSync(&fleet.Opened{}))
	if got, ok := n.gather()[`muster_syncs_total{auditsync="production",namespace="mondoo-operator",result="failed"}`]; !ok || got != 0 {
		t.Errorf("the counter of failures is %v, and there: %t", got, ok)
	}
}

// Nobody looks at a suspended AuditSync, so nothing that was seen before is told of it.
func TestSuspended(t *testing.T) {
	n := newNumbers(t, 100)
	const name = `muster_sync_suspended{auditsync="production",namespace="mondoo-operator"}`
	n.sync(auditSync("production"), inSync(opened(map[string]time.Duration{"eu": day})))
	n.Suspended("mondoo-operator", "production")
	n.want(map[string]float64{name: 1, `muster_build_info{version="v1.2.3"}`: 1}, "muster_")
	n.sync(auditSync("production"), inSync(&fleet.Opened{}))
	if got := n.gather()[name]; got != 0 {
		t.Errorf("resumed, and suspended is %v", got)
	}
}
