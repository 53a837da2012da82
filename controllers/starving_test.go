package controllers_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
)

// TestOneDoesNotStarveOthers: AuditSyncs whose Git server never answers hold up nobody, with one place to render, and are ended and
// reported when their time is over.
func TestOneDoesNotStarveOthers(t *testing.T) {
	w := newWorld(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = mute.Close() })
	const hanging, others = 3, 20
	w.createSecret("eu", map[string]string{"kubeconfig": "for scans alone"})
	files := map[string]string{}
	for i := range others {
		dir := fmt.Sprintf("clusters/%d/", i)
		files[dir+"config.yaml"] = strings.Replace(auditConfigFile, "name: mondoo-client", fmt.Sprintf("name: mondoo-client-%d", i), 1)
		files[dir+"eu.yaml"] = clusterFile(fmt.Sprintf("eu-%d", i), "  kubeconfigSecretRef: {name: eu}\n")
	}
	w.push(files)
	create := func(name string, change func(*v1alpha1.AuditSync)) {
		sync := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: v1alpha1.AuditSyncSpec{
			Source: v1alpha1.Source{URL: w.url, Ref: &v1alpha1.Ref{Branch: "main"}, SecretRef: &v1alpha1.SecretRef{Name: "fleet-git"}},
			Path:   "./clusters", Interval: &metav1.Duration{Duration: time.Hour},
			AuditConfigs: v1alpha1.AuditConfigs{Allow: []string{"mondooCredsSecretRef=mondoo-client"}},
		}}
		change(sync)
		must(t, w.admin.Create(t.Context(), sync))
	}
	for i := range hanging {
		create(fmt.Sprintf("a-hanging-%d", i), func(s *v1alpha1.AuditSync) {
			s.Spec.Source = v1alpha1.Source{URL: "http://" + mute.Addr().String() + "/r.git", Timeout: &metav1.Duration{Duration: 10 * time.Minute}}
		})
	}
	for i := range others {
		create(fmt.Sprintf("b-other-%d", i), func(s *v1alpha1.AuditSync) { s.Spec.Path = fmt.Sprintf("./clusters/%d", i) })
	}
	cfg, err := plane.User(w.user, "system:serviceaccounts", "system:serviceaccounts:"+w.namespace)
	must(t, err)
	const limit = 45 * time.Second
	w.stop = w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.cacheDir, Concurrency: 1,
		SyncTimeout: limit, Registry: prometheus.NewRegistry()})
	started := time.Now()
	wait := func(what string, reached func(name string, conditions []metav1.Condition) bool) {
		deadline := time.Now().Add(patience)
		for {
			var list v1alpha1.AuditSyncList
			must(t, w.admin.List(t.Context(), &list, client.InNamespace(w.namespace)))
			missing := []string{}
			for _, s := range list.Items {
				if !reached(s.Name, s.Status.Conditions) {
					missing = append(missing, fmt.Sprintf("%s %+v", s.Name, s.Status.Conditions))
				}
			}
			if len(missing) == 0 {
				t.Logf("%s after %v", what, time.Since(started).Round(100*time.Millisecond))
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: not %d: %s", what, len(missing), missing[0])
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	wait("20 others are in sync", func(name string, conditions []metav1.Condition) bool {
		return !strings.HasPrefix(name, "b-") || meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady)
	})
	if took := time.Since(started); took > limit {
		t.Errorf("the others waited for those that hang: %v", took)
	}
	wait("those that hang are reported", func(name string, conditions []metav1.Condition) bool {
		fetched := meta.FindStatusCondition(conditions, v1alpha1.ConditionFetched)
		return !strings.HasPrefix(name, "a-") || fetched != nil && (fetched.Reason == "TookTooLong" && strings.Contains(fetched.Message, "was canceled in stage fetch") ||
			fetched.Reason == string(gitsync.TimedOut)) // those that share the clone get the answer of the one that asked
	})
}
