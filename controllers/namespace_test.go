package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// spiffeCluster wants a namespace without Pod Security.
const spiffeCluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\n" +
	"metadata:\n  name: spiffe\nspec:\n  spiffeAuth:\n    server: https://x.example.com\n    trustBundleSecretRef: {name: bundle}\n"

// podSecurity sets what the namespace enforces.
func (w *world) podSecurity(level string) {
	w.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, controllers.PodSecurityLabel, level)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	must(w.T, w.admin.Patch(w.Context(), namespace, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// startWithSPIFFE starts a controller and waits until its cluster is applied.
func (w *world) startWithSPIFFE() *v1alpha1.AuditSync {
	w.Helper()
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/spiffe.yaml": spiffeCluster})
	w.createSecret("bundle", map[string]string{"ca.crt": "x"})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Interval.Duration = 5 * time.Second })
	return w.untilReady(commit)
}

func warnedOfPodSecurity(s *v1alpha1.AuditSync) bool {
	return slices.ContainsFunc(s.Status.Problems, func(p v1alpha1.Problem) bool {
		return p.Cluster == "spiffe" && strings.Contains(p.Message, "Pod Security")
	})
}

// TestNamespaceWithPodSecurity: with the shipped rights the controller sees what its namespace enforces, and without the right
// to read it, everything else goes on.
func TestNamespaceWithPodSecurity(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		w := newWorld(t)
		w.podSecurity("restricted")
		if !allowed {
			w.changeVerbs("namespaces")
		}
		status := w.startWithSPIFFE()
		if warned := warnedOfPodSecurity(status); warned != allowed {
			t.Errorf("right to read the namespace: %t; warned: %t: %+v", allowed, warned, status.Status.Problems)
		}
		w.stopController()
	}
}

// TestPodSecurityChanges: a new level is read with the next commit, and when a sync is asked for. Between them it costs no
// request.
func TestPodSecurityChanges(t *testing.T) {
	w := newWorld(t)
	if s := w.startWithSPIFFE(); warnedOfPodSecurity(s) {
		t.Fatalf("%+v", s.Status.Problems)
	}
	w.podSecurity("restricted")
	if s := w.request(); !warnedOfPodSecurity(s) {
		t.Errorf("asked for a sync: no warning: %+v", s.Status.Problems)
	}
	w.podSecurity("privileged")
	commit := w.push(map[string]string{"README.md": "Fleet\n"})
	if s := w.untilReady(commit); warnedOfPodSecurity(s) {
		t.Errorf("a new commit: the warning stays: %+v", s.Status.Problems)
	}

	w.untilQuiet()
	mark := w.mark()
	w.podSecurity("baseline")
	w.untilPolled()
	for _, r := range w.requests(mark) {
		t.Errorf("with nothing to do, the controller asked the API server: %s", r)
	}
	w.stopController()
	w.startController(nil)
	w.until("the warning", warnedOfPodSecurity)
}
