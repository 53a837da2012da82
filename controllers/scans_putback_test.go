package controllers_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// gate holds up the writes to audit configs while it is shut.
type gate struct {
	next http.RoundTripper
	shut atomic.Bool
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	for r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/mondooauditconfigs/") && g.shut.Load() {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return g.next.RoundTrip(r)
}

// testScanPutBack has somebody remove an entry, and the operator its CronJob, before Muster puts the entry back: the commit has
// been scanned, and stays so, also for a process that comes later.
func testScanPutBack(t *testing.T) {
	w := newForgeWorld(t, forge.Gitea, time.Now)
	s := &scanned{world: w.world, bounds: testBounds}
	s.startOperator()
	t.Cleanup(s.stopOperator)
	commit := w.commit(s.fleet("eu", "us"))
	g := &gate{}
	s.start(func(next http.RoundTripper) http.RoundTripper { g.next = next; return g })
	s.createSync(w.withForge(forge.Gitea))
	s.untilScanned("Scanned", "2 clusters scanned")
	shown := func(hash, context string) string {
		status := w.forge.Shown(hash)["muster/production"+context]
		return string(status.State) + " " + status.Description
	}
	const scanned = "success 2 changed clusters scanned"
	w.eventually("the answer", func() bool { return shown(commit, "/scan") == scanned })
	posts := len(w.posts(commit))

	key := client.ObjectKey{Namespace: s.namespace, Name: operator.CronJobName("mondoo-client", "eu")}
	former, present := &batchv1.CronJob{}, &batchv1.CronJob{}
	must(t, s.admin.Get(t.Context(), key, former))
	g.shut.Store(true)
	w.edit(`{"spec":{"kubernetesResources":{"externalClusters":[]}}}`)
	w.eventually("the operator drops its CronJob", func() bool { return apierrors.IsNotFound(s.admin.Get(t.Context(), key, present)) })
	g.shut.Store(false)
	w.eventually("a new CronJob", func() bool { return s.admin.Get(t.Context(), key, present) == nil && present.UID != former.UID })
	w.eventually("drift is told", func() bool { return strings.HasPrefix(shown(commit, "/drift"), "success drift corrected: ") })
	s.settled()
	s.untilScanned("Awaiting", "2 of 2 clusters not scanned yet") // which is true of what is there
	if got := w.posts(commit)[posts:]; len(got) != 1 || shown(commit, "/scan") != scanned {
		t.Errorf("posted since: %q", got)
	}

	s.stopController()
	s.start()
	next := w.commit(map[string]string{"README.md": "Fleet\n"})
	s.request()
	w.eventually("the answer for the fleet", func() bool { return shown(next, "/scan") == "success 2 clusters scanned" })
	if got := w.posts(commit)[posts:]; len(got) != 1 {
		t.Errorf("posted since: %q", got)
	}
	for _, p := range w.posts(next) {
		if strings.Contains(p, "pending") && strings.Contains(p, "/scan") {
			t.Errorf("posted on the way: %s", p)
		}
	}
}

// testScanStaysScanned pauses scanning after a commit has been scanned, for which the operator changes its CronJobs, and deletes
// the Jobs. What was answered for the commit stays.
func testScanStaysScanned(t *testing.T) {
	w := newForgeWorld(t, forge.Gitea, time.Now)
	s := &scanned{world: w.world, bounds: testBounds}
	s.startOperator()
	t.Cleanup(s.stopOperator)
	commit := w.commit(s.fleet("eu", "us"))
	s.start()
	s.createSync(w.withForge(forge.Gitea))
	shown := func() string {
		status := w.forge.Shown(commit)["muster/production/scan"]
		return string(status.State) + " " + status.Description
	}
	const scanned = "success 2 changed clusters scanned"
	w.eventually("the answer", func() bool { return shown() == scanned })
	posts := len(w.posts(commit))

	s.scenario("_scanning", "paused")
	s.untilScanned("Paused", "2 clusters: eu, us")
	for _, cluster := range []string{"eu", "us"} {
		for _, job := range s.jobs(cluster) {
			must(t, s.admin.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
		}
	}
	s.settled()
	s.scenario()
	s.untilScanned("Scanned", "2 clusters scanned")
	s.settled()
	if got := w.posts(commit)[posts:]; len(got) > 0 || shown() != scanned {
		t.Errorf("posted since: %q", got)
	}
}
