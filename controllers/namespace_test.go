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
	w.labelNamespace(controllers.PodSecurityLabel, level)
}

func (w *world) labelNamespace(key, value string) {
	w.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, key, value)
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

// TestPodSecurityChanges changes what the namespace enforces, with no commit and no interval that asks for it: the finding comes
// and goes. What else is changed of the namespace, and time, cost no request.
func TestPodSecurityChanges(t *testing.T) {
	w := newWorld(t)
	if s := w.startWithSPIFFE(); warnedOfPodSecurity(s) {
		t.Fatalf("%+v", s.Status.Problems)
	}
	w.podSecurity("restricted")
	w.until("the warning", warnedOfPodSecurity)
	w.podSecurity("privileged")
	w.until("no more warning", func(s *v1alpha1.AuditSync) bool { return !warnedOfPodSecurity(s) })

	w.untilQuiet()
	mark := w.mark()
	w.labelNamespace("example.com/owner", "somebody")
	time.Sleep(7 * time.Second) // an interval, and more
	requests := w.requests(mark)
	for _, r := range requests {
		t.Errorf("with nothing to do, the controller asked the API server: %s", r)
	}
	w.stopController()
	w.podSecurity("baseline")
	w.startController(nil)
	w.until("the warning", warnedOfPodSecurity)
}

// TestPodSecurityWithoutWatch is an installation whose Role is of an older version: the level is as of the last commit.
func TestPodSecurityWithoutWatch(t *testing.T) {
	w := newWorld(t)
	w.changeVerbs("namespaces", "get")
	w.startWithSPIFFE()
	w.podSecurity("restricted")
	if s := w.request(); warnedOfPodSecurity(s) {
		t.Error("it is followed all the same; is the right to watch superfluous?")
	}
	w.push(map[string]string{"README.md": "Fleet\n"})
	if s := w.request(); !warnedOfPodSecurity(s) {
		t.Errorf("it is not read with the next commit: %+v", s.Status.Problems)
	}
}
