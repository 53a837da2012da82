package controllers

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// TestNextAfterAnotherListing: an AuditSync that uses the oldest listing that it may use, of another one, looks again within its
// interval since that listing, even if the sync itself takes some time.
func TestNextAfterAnotherListing(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, every := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour} {
		clock := clocktesting.NewFakePassiveClock(noon)
		r := Reconciler{Clock: clock}
		audit := &v1alpha1.AuditSync{Spec: v1alpha1.AuditSyncSpec{Interval: &metav1.Duration{Duration: every}}}
		st := &state{fetched: noon.Add(-every), source: "v1"}
		if !r.fetchDue(audit, st, "v1") {
			t.Fatal("no fetch is due")
		}
		listed := r.listedSince(audit, st, "v1")
		st.fetched = listed
		clock.SetTime(noon.Add(10 * time.Second))
		if next := clock.Now().Add(r.next(audit, st, report.Outcome{})); next.Sub(listed) > every {
			t.Errorf("each %s: listed at %s, and again at %s", every, listed, next)
		}
	}
}

// TestCloneOf: who shares a clone.
func TestCloneOf(t *testing.T) {
	usual := func() *v1alpha1.AuditSync {
		audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "mondoo-operator"}}
		audit.Spec.Source = v1alpha1.Source{URL: "https://git.example.com/fleet.git", Ref: &v1alpha1.Ref{Branch: "main"}, SecretRef: &v1alpha1.SecretRef{Name: "git"}}
		return audit
	}
	pinned := usual()
	pinned.Spec.Source.Ref.Commit = "1111111111111111111111111111111111111111"
	for _, test := range []struct {
		reason string
		with   *v1alpha1.AuditSync
		change func(*v1alpha1.AuditSync)
		shared bool
	}{
		{"another branch", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.Ref.Branch = "next" }, true},
		{"the default branch", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.Ref = nil }, true},
		{"another namespace", usual(), func(a *v1alpha1.AuditSync) { a.Namespace = "other" }, false},
		{"another URL", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.URL += "/" }, false},
		{"another Secret", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.SecretRef.Name = "other" }, false},
		{"no Secret", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.SecretRef = nil }, false},
		{"a commit", usual(), func(a *v1alpha1.AuditSync) { a.Spec.Source.Ref.Commit = pinned.Spec.Source.Ref.Commit }, false},
		{"the same commit", pinned, func(a *v1alpha1.AuditSync) { a.Spec.Source.Ref.Commit = pinned.Spec.Source.Ref.Commit }, true},
		{"another commit", pinned, func(a *v1alpha1.AuditSync) {
			a.Spec.Source.Ref.Commit = "2222222222222222222222222222222222222222"
		}, false},
	} {
		other := usual()
		test.change(other)
		a, b := cloneOf(test.with), cloneOf(other)
		if (a == b) != test.shared || (a.below("/cache") == b.below("/cache")) != test.shared {
			t.Errorf("%s: %+v and %+v", test.reason, a, b)
		}
	}
}

// TestForgetWhileStuck: a clone is released once the abandoned sync of a deleted AuditSync returns, and not before.
func TestForgetWhileStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, err := report.NewMetrics(prometheus.NewRegistry(), report.MetricsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r := Reconciler{CacheDir: t.TempDir(), Metrics: metrics}
		key := types.NamespacedName{Namespace: "mondoo-operator", Name: "production"}
		if r.state(key).clone, err = r.clones.use(cloneID{namespace: key.Namespace, url: "https://git.example.com/fleet.git"}, r.CacheDir, time.Now); err != nil {
			t.Fatal(err)
		}
		end := r.Stick(key)
		r.forget(key)
		synctest.Wait()
		if len(r.clones.open) != 1 {
			t.Error("the clone is released while it is in use")
		}
		end()
		synctest.Wait()
		if left, err := os.ReadDir(filepath.Join(r.CacheDir, key.Namespace)); len(r.clones.open) != 0 || len(left) != 0 {
			t.Errorf("%d clones, and %v on disk: %v", len(r.clones.open), left, err)
		}
	})
}
