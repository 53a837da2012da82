package operator_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
)

func TestParseScenario(t *testing.T) {
	for _, tt := range []struct {
		reason         string
		data           map[string]string
		broken, paused bool
		clusters       map[string]operator.Outcome
		says           string
	}{
		{"nothing", nil, false, false, nil, ""},
		{"clusters", map[string]string{"a": "oom", "b": " fail\n"}, false, false, map[string]operator.Outcome{"a": "oom", "b": "fail"}, ""},
		{"the operator", map[string]string{"_operator": "broken", "_scanning": "paused"}, true, true, nil, ""},
		{"the operator, well", map[string]string{"_operator": "works", "_scanning": "active"}, false, false, nil, ""},
		{"no such outcome", map[string]string{"a": "boom", "b": "oom"}, false, false, map[string]operator.Outcome{"b": "oom"},
			`a is "boom", but must be one of success, fail, oom, image, hang or refuse`},
		{"no such state", map[string]string{"_operator": "dead"}, false, false, nil, `_operator is "dead", but must be one of works or broken`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := operator.ParseScenario(tt.data)
			if got.Broken != tt.broken || got.Paused != tt.paused || !maps.Equal(got.Clusters, tt.clusters) {
				t.Errorf("got %+v", got)
			}
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want %q", err, tt.says)
			}
		})
	}
}

func TestCronJobName(t *testing.T) {
	long := strings.Repeat("x", 30)
	seen := map[string]string{}
	for _, tt := range []struct{ auditConfig, cluster, want string }{
		{"mondoo-client", "eu", "mondoo-k8s-scan-eu"},
		{"mondoo-client-dev", "eu", "mondoo-k8s-scan-dev-eu"},
		{"mondoo-clients", "eu", "mondoo-k8s-scan-mondoo-clients-eu"},
		{"other", "eu", "mondoo-k8s-scan-other-eu"},
		{"mondoo-client-" + long, "a-cluster", "mondoo-k8s-scan-666a596d-a-cluster"},
		{"mondoo-client-" + long + "y", "a-cluster", ""},
		{"mondoo-client", long + long, ""},
		{"mondoo-client", long + long + "y", ""},
		{"other", long + long, ""},
		{"mondoo-client", strings.Repeat("x", 36), "mondoo-k8s-scan-" + strings.Repeat("x", 36)},
	} {
		got := operator.CronJobName(tt.auditConfig, tt.cluster)
		if tt.want != "" && got != tt.want || len(got) > 52 || !strings.HasPrefix(got, "mondoo-k8s-scan-") {
			t.Errorf("%s, %s: got %q, want %q", tt.auditConfig, tt.cluster, got, tt.want)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s is the name for two: %s and %s/%s", got, other, tt.auditConfig, tt.cluster)
		}
		seen[got] = tt.auditConfig + "/" + tt.cluster
	}
}
