package controllers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestInputsAreCompared changes the inputs of a settled sync one after the other, in the API server and in Git. Each change makes a new
// plan, by itself or with the next poll. Polls without news make none, and neither do commits that change nothing below the path.
func TestInputsAreCompared(t *testing.T) {
	w := newWorld(t)
	cfg, err := plane.User(w.user, "system:serviceaccounts", "system:serviceaccounts:"+w.namespace)
	must(t, err)
	registry := prometheus.NewRegistry()
	w.stop = w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.cacheDir, Concurrency: 1, Registry: registry})
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Interval = &metav1.Duration{Duration: 5 * time.Second} })
	w.untilReady(w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")}))
	t.Cleanup(func() { w.T = t })
	plans := func() uint64 { return planned(t, registry) }
	touch := func(object client.Object, name string) {
		object.SetNamespace(w.namespace)
		object.SetName(name)
		must(w.T, w.admin.Patch(w.Context(), object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"by":"a test"}}}`))))
	}
	for _, test := range []struct {
		reason string
		change func()
		same   bool
	}{
		{"nothing", func() {}, true},
		{"a commit beside the path", func() {
			commit := w.push(map[string]string{"README.md": "changed"})
			w.until("the commit", func(s *v1alpha1.AuditSync) bool { return strings.HasSuffix(s.Status.LastAppliedRevision, commit) })
		}, true},
		{"a commit in the path", func() { w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")}) }, false},
		{"the spec of the AuditSync", func() { w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.ForeignClusters = "Remove" }) }, false},
		{"an annotation of the AuditSync", func() { touch(w.sync(), syncName) }, false},
		{"a requested sync", func() { w.request() }, false},
		{"a generated Secret", func() {
			for name := range w.secrets() {
				touch(&corev1.Secret{}, name)
			}
		}, false},
		{"a Secret that the audit config names", func() { touch(&corev1.Secret{}, "mondoo-client") }, false},
		{"the Secret with the keys", func() { touch(&corev1.Secret{}, "sops-keys") }, false},
		{"a Secret that nothing names", func() { w.createSecret("another", nil) }, false},
		{"an inventory", func() { touch(&corev1.ConfigMap{}, "muster-production.mondoo-client") }, false},
		{"the audit config", func() { touch(w.auditConfig("mondoo-client"), "mondoo-client") }, false},
		{"another AuditSync", func() {
			must(w.T, w.admin.Create(w.Context(), &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "staging"},
				Spec: v1alpha1.AuditSyncSpec{Source: v1alpha1.Source{URL: w.url}, Path: "./staging", Suspend: true}}))
		}, false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w.T = t // which a failing wait ends
			w.settled()
			before, idle := plans(), w.unchanged()
			test.change()
			if !test.same {
				w.eventually("a new plan", func() bool { return plans() > before })
				return
			}
			w.eventually("two polls that do nothing", func() bool { return w.unchanged() >= idle+2 })
			if n := plans() - before; n > 0 {
				t.Errorf("%d new plans", n)
			}
		})
	}
}

// unchanged counts the syncs that have decided from their inputs that there is nothing to do.
func (w *world) unchanged() (n int) {
	for line := range strings.Lines(logs.String()) {
		if strings.Contains(line, "nothing has changed since the last sync") && strings.Contains(line, `"namespace":"`+w.namespace+`"`) {
			n++
		}
	}
	return n
}

// planned counts the plans that a controller has computed.
func planned(t *testing.T, registry *prometheus.Registry) uint64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() != "muster_stage_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "stage" && label.GetValue() == "plan" {
					return m.GetHistogram().GetSampleCount()
				}
			}
		}
	}
	return 0
}
