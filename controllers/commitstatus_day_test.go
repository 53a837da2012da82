package controllers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/commitstatus"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const forgeToken = "CANARY-forge-token-0b5e55ed"

// forgeWorld is a world whose repository is on a forge.
type forgeWorld struct {
	*world
	forge *forgetest.Server
}

// newForgeWorld moves a world's repository to where its forge says that it is.
func newForgeWorld(t T, provider forge.Provider, now func() time.Time) *forgeWorld {
	t.Helper()
	w := newWorld(t)
	repository := "platform/" + w.namespace
	var err error
	w.url, err = gitServer.CreateRepository(t.Context(), repository)
	must(t, err)
	w.git("remote", "set-url", "origin", strings.Replace(w.url, "://", "://muster:"+gitPassword+"@", 1))
	w.createSecret("fleet-forge", map[string]string{"token": forgeToken})
	return &forgeWorld{world: w, forge: forgetest.Start(t, provider, forgetest.Options{Repository: repository, Token: forgeToken, Now: now})}
}

// commit pushes to Git and makes the commit known to the forge.
func (w *forgeWorld) commit(files map[string]string, remove ...string) string {
	w.Helper()
	hash := w.push(files, remove...)
	w.forge.AddCommit(hash)
	return hash
}

// withForge has an AuditSync report to the forge.
func (w *forgeWorld) withForge(provider forge.Provider) func(*v1alpha1.AuditSync) {
	return func(s *v1alpha1.AuditSync) {
		s.Spec.Forge = &v1alpha1.Forge{Provider: string(provider), APIURL: w.forge.URL(), SecretRef: v1alpha1.SecretRef{Name: "fleet-forge"}}
	}
}

// posts are all that was posted of a commit, as "CONTEXT STATE DESCRIPTION".
func (w *forgeWorld) posts(hash string) (all []string) {
	for _, p := range w.forge.Posts() {
		if p.Commit == hash {
			all = append(all, fmt.Sprintf("%s %s %s", p.Context, p.State, p.Description))
		}
	}
	return all
}

// byHand is the real reconciler and the real statuses on the real API server, with a clock that a test moves.
type byHand struct {
	*forgeWorld
	provider forge.Provider
	clock    *testclock.FakeClock
	r        *controllers.Reconciler
	s        *commitstatus.Reporter
	// requested has the AuditSyncs that the Reporter wants reconciled.
	requested chan event.TypedGenericEvent[*v1alpha1.AuditSync]
	key       types.NamespacedName
	// events are those of the present process.
	events *events.FakeRecorder
	// syncDue and statusDue are when each wants to look again; zero for never.
	syncDue, statusDue time.Time
	syncs              int
}

func newByHand(t T, provider forge.Provider) *byHand {
	t.Helper()
	clock := testclock.NewFakeClock(time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC))
	h := &byHand{forgeWorld: newForgeWorld(t, provider, clock.Now), provider: provider, clock: clock}
	h.key = types.NamespacedName{Namespace: h.namespace, Name: syncName}
	h.start()
	return h
}

// start begins with an empty memory, as a new process does.
func (h *byHand) start() {
	h.Helper()
	h.events = events.NewFakeRecorder(100_000)
	metrics, err := report.NewMetrics(prometheus.NewRegistry(), report.MetricsOptions{})
	must(h.T, err)
	h.requested = make(chan event.TypedGenericEvent[*v1alpha1.AuditSync], 1000)
	h.s = commitstatus.New(commitstatus.Options{Client: client.WithFieldOwner(h.admin, controllers.FieldManager), Clock: h.clock, Metrics: metrics,
		Events: h.events, Changed: h.requested, URL: "https://muster.example.com/{namespace}/{name}?at={commit}"})
	h.r = &controllers.Reconciler{Client: h.admin, Live: h.admin, As: controllers.Impersonate(plane.Config(), client.Options{Scheme: h.admin.Scheme()}),
		Events: h.events, Metrics: metrics, Clock: h.clock, Keys: keys.NewRemote(h.clock.Now), CacheDir: h.TempDir(), Statuses: h.s}
}

// reconcile reconciles, and then posts what there is to post.
func (h *byHand) reconcile() {
	h.Helper()
	for again := true; again; again = h.asked() {
		result, err := h.r.Reconcile(h.Context(), ctrl.Request{NamespacedName: h.key})
		must(h.T, err)
		h.syncs++
		h.syncDue = h.clock.Now().Add(result.RequeueAfter)
		h.post()
	}
}

func (h *byHand) post() {
	h.Helper()
	h.statusDue = time.Time{}
	result, err := h.s.Reconcile(h.Context(), ctrl.Request{NamespacedName: h.key})
	must(h.T, err)
	if result.RequeueAfter > 0 {
		h.statusDue = h.clock.Now().Add(result.RequeueAfter)
	}
}

// asked reports whether the Reporter wanted a sync since the last call.
func (h *byHand) asked() (asked bool) {
	for ; len(h.requested) > 0; <-h.requested {
		asked = true
	}
	return asked
}

// pass lets time pass, a minute at a time.
func (h *byHand) pass(d time.Duration) {
	h.Helper()
	for end := h.clock.Now().Add(d); h.clock.Now().Before(end); {
		h.clock.Step(time.Minute)
		if !h.clock.Now().Before(h.syncDue) {
			h.reconcile()
		}
		if !h.statusDue.IsZero() && !h.clock.Now().Before(h.statusDue) {
			h.post()
			if h.asked() {
				h.reconcile()
			}
		}
	}
}

// TestADayOfStatuses lets a day go by at each forge, with a sync every five minutes: each status is posted when its state
// changes, once, and never because time has passed.
func TestADayOfStatuses(t *testing.T) {
	for _, provider := range forge.Providers() {
		t.Run(string(provider), func(t *testing.T) {
			t.Parallel()
			h := newByHand(t, provider)
			h.createSync(func(s *v1alpha1.AuditSync) {
				h.withForge(provider)(s)
				s.Spec.Interval.Duration = 5 * time.Minute
			})
			good := h.commit(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": h.tokenCluster("eu", ""), "clusters/us.yaml": h.tokenCluster("us", "")})
			h.reconcile()
			h.pass(6 * time.Hour)
			broken := h.commit(map[string]string{"clusters/bad.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec: {schedule: nonsense}\n"})
			h.pass(6 * time.Hour)
			h.edit(`{"spec":{"kubernetesResources":{"externalClusters":[]}}}`)
			h.reconcile()
			h.pass(time.Hour)
			h.start() // a new process
			h.reconcile()
			h.pass(3 * time.Hour)
			h.forge.AnswerWith(forgetest.Status(http.StatusServiceUnavailable, `{"message":"down"}`))
			fixed := h.commit(nil, "clusters/bad.yaml")
			h.pass(30 * time.Minute)
			last := h.commit(map[string]string{"clusters/asia.yaml": h.tokenCluster("asia", "")})
			h.pass(90 * time.Minute)
			down := len(h.forge.Requests())
			h.forge.AnswerWith(nil)
			h.pass(time.Hour)
			before := len(h.forge.Requests())
			h.pass(5 * time.Hour)
			if quiet := h.forge.Requests()[before:]; len(quiet) > 0 {
				t.Errorf("requests while nothing happened: %v", quiet)
			}

			h.shows(good, "muster/production success 2 clusters applied: 2 added (eu, us)", "muster/production/drift success in sync")
			h.shows(broken, "muster/production failure 1 of 3 clusters can't be used: clusters/bad.yaml:4: ", "muster/production/drift success in sync",
				"muster/production/drift success drift corrected: mondoo-client: cluster eu: removed by kubectl-edit at ")
			h.shows(fixed)
			h.shows(last, "muster/production success 3 clusters applied: 1 added (asia)", "muster/production/drift success in sync")
			t.Logf("%d syncs, %d requests (%d by the time the forge came back), %d posts", h.syncs, len(h.forge.Requests()), down, len(h.forge.Posts()))
		})
	}
}

// shows compares what was posted of a commit with the beginnings of what should have been.
func (w *forgeWorld) shows(hash string, want ...string) {
	w.Helper()
	got := w.posts(hash)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		w.Errorf("posted of %s:\n\t%s\nwant\n\t%s", hash[:10], strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
