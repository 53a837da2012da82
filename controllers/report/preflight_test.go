package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func failing(cluster string, cause preflight.Cause, since time.Time) PreflightFailure {
	return PreflightFailure{AuditConfig: "mondoo-client", Cluster: cluster, Since: since,
		Check: preflight.Check{Name: preflight.Login, State: preflight.Failed, Cause: cause, Message: "the token expired", Fix: "muster setup " + cluster}}
}

func checking() *v1alpha1.AuditSync {
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "production", Generation: 3}}
	audit.Spec.Preflight.Mode = v1alpha1.PreflightReport
	return audit
}

// reported is the AuditSync after a report of its preflight.
func reported(audit *v1alpha1.AuditSync, p *Preflight) (*v1alpha1.AuditSync, []Event) {
	status := Status(audit, Outcome{Preflight: p})
	events := preflightEvents(audit.Status, status)
	after := audit.DeepCopy()
	after.Status = status
	return after, events
}

func preflightOf(audit *v1alpha1.AuditSync) string {
	c := meta.FindStatusCondition(audit.Status.Conditions, v1alpha1.ConditionPreflight)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// TestPreflightReports follows an AuditSync through the life of its checks.
func TestPreflightReports(t *testing.T) {
	audit := checking()
	eu, us := failing("eu", preflight.TokenExpired, noon), failing("us", preflight.TokenExpired, noon)
	for _, step := range []struct {
		reason string
		p      *Preflight
		want   string
		event  string
	}{
		{"nothing is known yet", nil, "", ""},
		{"the first round", &Preflight{Passed: 1, Pending: 2}, "Unknown Pending: the credentials are being checked", ""},
		{"with a failure already", &Preflight{Pending: 2, Failures: []PreflightFailure{eu}}, "Unknown Pending: the credentials are being checked", ""},
		{"all passed", &Preflight{Passed: 3, NotChecked: 1}, "True Passed: 3 clusters passed; 1 not checked from here", ""},
		{"after a restart", &Preflight{Passed: 1, Pending: 3}, "True Passed: 3 clusters passed; 1 not checked from here", ""},
		{"after a restart, before the first sync", nil, "True Passed: 3 clusters passed; 1 not checked from here", ""},
		{"one fails", &Preflight{Passed: 2, Failures: []PreflightFailure{eu}}, "False Failed: 1 of 3 clusters failed: eu: login: the token expired [token-expired]; muster setup eu", "Warning PreflightFailed"},
		{"still", &Preflight{Passed: 2, Failures: []PreflightFailure{eu}}, "False Failed: 1 of 3 clusters failed: eu: login: the token expired [token-expired]; muster setup eu", ""},
		{"another one, too", &Preflight{Passed: 1, Failures: []PreflightFailure{eu, us}}, "False Failed: 2 of 3 clusters failed: eu: login: the token expired [token-expired]; muster setup eu; and 1 more in status.preflight.failures", "Warning PreflightFailed"},
		{"while the new credential is checked", &Preflight{Passed: 1, Pending: 1, Failures: []PreflightFailure{us}}, "False Failed: 2 of 3 clusters failed: eu: login: the token expired [token-expired]; muster setup eu; and 1 more in status.preflight.failures", ""},
		{"they work again", &Preflight{Passed: 3}, "True Passed: 3 clusters passed", "Normal PreflightPassed"},
		{"the spec can't be used", &Preflight{Invalid: `"1.2.3" is no address`}, `False Invalid: "1.2.3" is no address`, "Warning PreflightInvalid"},
		{"the spec is mended", &Preflight{Pending: 3}, "Unknown Pending: the credentials are being checked", ""},
		{"none can be checked", &Preflight{NotChecked: 2}, "Unknown NotChecked: no cluster could be checked; 2 not checked from here", ""},
		{"there is no cluster", &Preflight{}, "Unknown NotChecked: no cluster could be checked", ""},
	} {
		var events []Event
		audit, events = reported(audit, step.p)
		if got := preflightOf(audit); got != step.want {
			t.Errorf("%s: %q, want %q", step.reason, got, step.want)
		}
		event := ""
		if len(events) > 0 {
			event = events[0].Type + " " + events[0].Reason
		}
		if event != step.event || len(events) > 1 {
			t.Errorf("%s: the events %+v, want %q", step.reason, events, step.event)
		}
	}
	audit.Spec.Preflight.Mode = v1alpha1.PreflightOff
	if audit, _ = reported(audit, nil); preflightOf(audit) != "" || audit.Status.Preflight != nil {
		t.Errorf("off: %q %+v", preflightOf(audit), audit.Status.Preflight)
	}
}

func TestPreflightStatus(t *testing.T) {
	var many []PreflightFailure
	for i := range 70 {
		many = append(many, failing(fmt.Sprintf("c%02d", i), preflight.TokenExpired, noon))
	}
	audit, _ := reported(checking(), &Preflight{Passed: 5, NotChecked: 2, Failures: many, Last: noon.Add(time.Minute + time.Millisecond)})
	s := audit.Status.Preflight
	if s.Passed != 5 || s.Failed != 70 || s.NotChecked != 2 || len(s.Failures) != 50 || !s.LastCheckTime.Equal(&metav1.Time{Time: noon.Add(time.Minute)}) {
		t.Errorf("%+v", s)
	}
	want := v1alpha1.PreflightFailure{Cluster: "c00", AuditConfig: "mondoo-client", Check: "login", Cause: "token-expired", Message: "the token expired", Fix: "muster setup c00", Since: &metav1.Time{Time: noon}}
	if fmt.Sprint(s.Failures[0]) != fmt.Sprint(want) {
		t.Errorf("%+v", s.Failures[0])
	}
	for _, tt := range []struct {
		reason string
		after  time.Duration
		failed int
		same   bool
	}{
		{"checked again, with the same result", 30 * time.Minute, 70, true},
		{"an hour later", time.Hour, 70, false},
		{"another result", time.Minute, 69, false},
	} {
		failures := many[:tt.failed]
		after, _ := reported(audit, &Preflight{Passed: 5, NotChecked: 2, Failures: failures, Last: s.LastCheckTime.Add(tt.after)})
		if same := after.Status.Preflight.LastCheckTime.Equal(s.LastCheckTime); same != tt.same {
			t.Errorf("%s: the status is the same: %t", tt.reason, same)
		}
	}
	// A restart begins with a later time; another cause has its own.
	again := []PreflightFailure{failing("c00", preflight.TokenExpired, noon.Add(time.Hour)), failing("c01", preflight.HostUnknown, noon.Add(time.Hour))}
	after, _ := reported(audit, &Preflight{Failures: again})
	if f := after.Status.Preflight.Failures; !f[0].Since.Time.Equal(noon) || !f[1].Since.Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("since %v and %v", f[0].Since, f[1].Since)
	}
}

// Texts are shown in terminals, and stored.
func TestPreflightTextsAreBounded(t *testing.T) {
	f := failing("eu", preflight.TokenExpired, noon)
	f.Check.Message, f.Check.Fix = "\x1b[2J"+strings.Repeat("a", 5000), strings.Repeat("b", 5000)
	audit, events := reported(checking(), &Preflight{Failures: []PreflightFailure{f}})
	for _, text := range []string{preflightOf(audit), audit.Status.Preflight.Failures[0].Message, audit.Status.Preflight.Failures[0].Fix, events[0].Note} {
		if len([]rune(text)) > 1100 || strings.Contains(text, "\x1b") {
			t.Errorf("%d characters: %q", len(text), text)
		}
	}
}

func TestPreflightMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry, MetricsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	audit := checking()
	show := func(p *Preflight) string {
		o := Outcome{Preflight: p}
		m.Sync(audit, time.Minute, Status(audit, o), o)
		var text strings.Builder
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, one := range f.GetMetric() {
				if name := strings.TrimPrefix(f.GetName(), "muster_preflight_"); name != f.GetName() && one.GetGauge().GetValue() != 0 {
					for _, l := range one.GetLabel() {
						if l.GetName() == "cause" || l.GetName() == "state" {
							name += " " + l.GetValue()
						}
					}
					fmt.Fprintf(&text, "%s %v; ", name, one.GetGauge().GetValue())
				}
			}
		}
		return text.String()
	}
	for _, step := range []struct {
		reason string
		mode   v1alpha1.PreflightMode
		p      *Preflight
		want   string
	}{
		{"failures", "Report", &Preflight{Passed: 4, NotChecked: 3, Pending: 1, Last: time.Unix(100, 0), Failures: []PreflightFailure{failing("eu", preflight.TokenExpired, noon), failing("us", preflight.TokenExpired, noon)}},
			"clusters failed 2; clusters not_checked 3; clusters passed 4; clusters pending 1; failures token-expired 2; last_check_timestamp_seconds 100; "},
		{"unknown", "Report", nil, "clusters failed 2; clusters not_checked 3; clusters passed 4; clusters pending 1; failures token-expired 2; last_check_timestamp_seconds 100; "},
		{"mended", "Report", &Preflight{Passed: 6, Last: time.Unix(200, 0)}, "clusters passed 6; last_check_timestamp_seconds 200; "},
		{"off", "Off", nil, ""},
	} {
		audit.Spec.Preflight.Mode = step.mode
		if got := show(step.p); got != step.want {
			t.Errorf("%s: %q, want %q", step.reason, got, step.want)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "muster_preflight_") {
			t.Errorf("off: %s is left", f.GetName())
		}
	}
}
