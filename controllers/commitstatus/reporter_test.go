package commitstatus

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// api returns a client of the real API server that all tests share.
var api = sync.OnceValues(func() (client.Client, error) {
	ctx := context.Background()
	plane, err := server.StartControlPlane(ctx, server.ControlPlaneOptions{})
	if err != nil {
		return nil, err
	}
	stop = func() { _ = plane.Stop() }
	crd, err := os.ReadFile("../../config/crd/muster.dev_auditsyncs.yaml")
	if err != nil {
		return nil, err
	}
	if err := server.InstallCRDs(ctx, plane.Config(), crd); err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	return client.WithFieldOwner(c, "muster"), err
})

var stop = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stop()
	os.Exit(code)
}

// reporting is a Reporter without a reconciler: the test says what to show.
type reporting struct {
	*testing.T
	*Reporter
	forge    *forgetest.Server
	clock    *clocktesting.FakeClock
	audit    *v1alpha1.AuditSync
	redactor *redact.Redactor
	events   *events.FakeRecorder
	changed  chan event.TypedGenericEvent[*v1alpha1.AuditSync]
}

func newReporting(t *testing.T) *reporting {
	t.Helper()
	server.SkipShort(t)
	now := clocktesting.NewFakeClock(time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC))
	h := &reporting{T: t, clock: now, forge: forgetest.StartGitea(t, forgetest.Options{Repository: "platform/fleet", Token: token, Now: now.Now})}
	h.forge.AddCommit(first)
	h.forge.AddCommit(second)
	h.start(now)
	h.audit = h.create(h.forge)
	return h
}

// create makes an AuditSync, and its Secret, that reports to a forge.
func (h *reporting) create(server *forgetest.Server) *v1alpha1.AuditSync {
	h.Helper()
	meta := metav1.ObjectMeta{Namespace: "default", GenerateName: "fleet-"}
	secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"token": token}}
	must(h.T, h.Client.Create(h.Context(), secret))
	audit := &v1alpha1.AuditSync{ObjectMeta: meta, Spec: v1alpha1.AuditSyncSpec{Source: v1alpha1.Source{URL: server.GitURL()},
		Forge: &v1alpha1.Forge{Provider: "gitea", APIURL: server.URL(), SecretRef: v1alpha1.SecretRef{Name: secret.Name}, Context: "c"}}}
	must(h.T, h.Client.Create(h.Context(), audit))
	return audit
}

// start begins with an empty memory, as a new process does.
func (h *reporting) start(clock clock.PassiveClock) {
	h.Helper()
	metrics, err := report.NewMetrics(prometheus.NewRegistry(), report.MetricsOptions{})
	must(h.T, err)
	c, err := api()
	must(h.T, err)
	h.redactor, h.events, h.changed = &redact.Redactor{}, events.NewFakeRecorder(100), make(chan event.TypedGenericEvent[*v1alpha1.AuditSync], 100)
	h.Reporter = New(Options{Client: c, Clock: clock, Metrics: metrics, Events: h.events, Changed: h.changed})
}

// want has a commit shown as failed, because of a cause.
func (h *reporting) want(audit *v1alpha1.AuditSync, hash, cause string) {
	h.Show(audit, audit.Status, report.Outcome{Revision: "main@sha1:" + hash,
		Render: &report.Failure{Class: report.Rejected, Reason: report.ReasonPathInvalid, Message: cause}}, h.redactor)
}

// work has the Reporter look once, and returns how many requests it sent and when it wants to look again.
func (h *reporting) work() (requests int, again time.Duration) {
	h.Helper()
	before := len(h.forge.Requests())
	result, err := h.Reconcile(h.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(h.audit)})
	must(h.T, err)
	must(h.T, h.Client.Get(h.Context(), client.ObjectKeyFromObject(h.audit), h.audit))
	return len(h.forge.Requests()) - before, result.RequeueAfter
}

// change updates the AuditSync.
func (h *reporting) change(edit func(*v1alpha1.AuditSync)) {
	h.Helper()
	edit(h.audit)
	must(h.T, h.Client.Update(h.Context(), h.audit))
}

func (h *reporting) posts(hash string, want ...string) {
	h.Helper()
	if got := posted(h.forge, hash); fmt.Sprint(got) != fmt.Sprint(want) {
		h.Errorf("posted of %s: %q, want %q", hash[:10], got, want)
	}
}

// begun has the first commit shown as pending.
func (h *reporting) begun() {
	h.Helper()
	h.Begin(h.audit, "main@sha1:"+first, h.redactor)
	if n, again := h.work(); n != 0 || again != begunPatience {
		h.Errorf("%d requests for a sync that has just begun; again after %s", n, again)
	}
	h.clock.Step(begunPatience)
	h.work()
	h.posts(first, begun)
	if len(h.audit.Status.PendingRevisions) != 1 || h.audit.Status.PendingAt.Context != "c" {
		h.Fatalf("pending %v at %+v", h.audit.Status.PendingRevisions, h.audit.Status.PendingAt)
	}
}

const begun = "c pending is being checked and applied"

// TestShow posts the newest wanted status, once, whichever process posted it.
func TestShow(t *testing.T) {
	h := newReporting(t)
	h.want(h.audit, first, "an old cause")
	h.want(h.audit, first, "a new cause")
	h.work()
	h.posts(first, "c failure a new cause")
	h.want(h.audit, first, "a new cause")
	if n, again := h.work(); n != 0 || again != 0 {
		t.Errorf("%d requests while nothing changes, and again after %s", n, again)
	}
	h.start(h.clock)
	if n, _ := h.work(); n != 0 {
		t.Errorf("%d requests before the first sync", n)
	}
	h.want(h.audit, first, "a new cause")
	if n, _ := h.work(); n != 1 {
		t.Errorf("%d requests of a new process, want one that reads", n)
	}
	h.posts(first, "c failure a new cause")
}

// TestSuperseded has another commit begin before the first had a result.
func TestSuperseded(t *testing.T) {
	h := newReporting(t)
	h.begun()
	h.start(h.clock)
	h.want(h.audit, second, "a cause")
	h.work()
	h.posts(first, begun, "c error superseded by "+second[:10]+" before there was a result")
	h.posts(second, "c failure a cause")
	if len(h.audit.Status.PendingRevisions) != 0 {
		t.Errorf("pending %v", h.audit.Status.PendingRevisions)
	}
}

// TestMaxPending: of more than maxPending commits with pending statuses the newest are recorded, each once.
func TestMaxPending(t *testing.T) {
	h := newReporting(t)
	j := &job{reporter: h.Reporter, audit: h.audit}
	revision := func(i int) string { return fmt.Sprintf("main@sha1:%040x", i) }
	for i := range maxPending + 2 {
		must(t, j.remember(t.Context(), revision(i)))
		must(t, j.remember(t.Context(), revision(i)))
	}
	must(t, h.Client.Get(t.Context(), client.ObjectKeyFromObject(h.audit), h.audit))
	pending := h.audit.Status.PendingRevisions
	if len(pending) != maxPending || pending[0] != revision(2) || pending[maxPending-1] != revision(maxPending+1) {
		t.Errorf("%d are recorded: %q", len(pending), pending)
	}
}

// TestSuspended ends what is pending when the AuditSync is suspended, however long that takes.
func TestSuspended(t *testing.T) {
	h := newReporting(t)
	h.begun()
	h.forge.AnswerWith(forgetest.Status(http.StatusServiceUnavailable, `{"message":"down"}`))
	h.change(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true })
	h.Stop(h.audit)
	_, again := h.work()
	if n, _ := h.work(); n != 0 || again == 0 {
		t.Errorf("%d requests before the wait of %s is over", n, again)
	}
	h.clock.Step(time.Hour)
	h.work()
	h.forge.AnswerWith(nil)
	h.clock.Step(time.Hour)
	h.work()
	h.posts(first, begun, "c error the AuditSync was suspended before there was a result")
	if len(h.audit.Status.PendingRevisions) != 0 || len(h.events.Events) != 0 {
		t.Errorf("pending %v, and %d events", h.audit.Status.PendingRevisions, len(h.events.Events))
	}
}

// TestAnotherServer moves the AuditSync to another server after the process that knew the credentials for the former one: the new ones are
// not sent there, and an event says what stays pending.
func TestAnotherServer(t *testing.T) {
	h := newReporting(t)
	h.begun()
	h.start(h.clock)
	other := forgetest.StartGitea(t, forgetest.Options{Repository: "platform/fleet", Token: token, Now: h.clock.Now})
	h.change(func(s *v1alpha1.AuditSync) { s.Spec.Source.URL, s.Spec.Forge.APIURL = other.GitURL(), other.URL() })
	h.want(h.audit, first, "a cause")
	if n, _ := h.work(); n != 0 {
		t.Errorf("%d requests to the former server", n)
	}
	if len(h.events.Events) != 1 {
		t.Fatalf("%d events", len(h.events.Events))
	}
	if text := <-h.events.Events; !strings.Contains(text, "LeftPending") || !strings.Contains(text, first[:10]) {
		t.Error(text)
	}
}

// TestDeletion has a deletion wait for the worker, but not for a forge that hangs.
func TestDeletion(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %t", hangs), func(t *testing.T) {
			h := newReporting(t)
			h.begun()
			h.change(func(s *v1alpha1.AuditSync) { s.Finalizers = []string{v1alpha1.Finalizer} })
			must(t, h.Client.Delete(t.Context(), h.audit))
			must(t, h.Client.Get(t.Context(), client.ObjectKeyFromObject(h.audit), h.audit))
			if wait := h.StopForDeletion(h.audit); wait != deletionPatience {
				t.Errorf("waits %s", wait)
			}
			if hangs {
				h.clock.Step(deletionPatience)
			} else {
				h.work()
				h.posts(first, begun, "c error the AuditSync was deleted before there was a result")
			}
			if wait := h.StopForDeletion(h.audit); wait != 0 || len(h.events.Events) > 0 != hangs {
				t.Errorf("waits %s, and records %d events", wait, len(h.events.Events))
			}
		})
	}
}

// TestCondition tells the reconciler once that the result has changed, without the credentials that a server repeats.
func TestCondition(t *testing.T) {
	h := newReporting(t)
	asked := func(want int, reason string) {
		t.Helper()
		h.work()
		if len(h.changed) != want {
			t.Errorf("asked %d times for a sync, want %d", len(h.changed), want)
		}
		status := h.audit.Status.DeepCopy()
		h.SetCondition(h.audit, status)
		if c := status.Conditions; len(c) != 1 || c[0].Reason != reason || strings.Contains(c[0].Message, "CANARY") {
			t.Errorf("conditions %+v", c)
		}
	}
	h.forge.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		forgetest.Status(http.StatusForbidden, `{"message":"no access with `+r.Header.Get("Authorization")+`"}`)(w, r)
	})
	h.want(h.audit, first, "a cause")
	asked(1, reasonTokenRefused)
	h.clock.Step(time.Hour)
	asked(1, reasonTokenRefused)
	h.forge.AnswerWith(nil)
	h.clock.Step(time.Hour)
	asked(2, report.ReasonSucceeded)
	asked(2, report.ReasonSucceeded)
}

// TestHangingForge has the forge of one AuditSync hang: the statuses of another are posted meanwhile.
func TestHangingForge(t *testing.T) {
	h := newReporting(t)
	h.start(clock.RealClock{})
	h.forge.AnswerWith(h.forge.Hang)
	other := forgetest.StartGitea(t, forgetest.Options{Repository: "platform/fleet", Token: token})
	other.AddCommit(second)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Start(ctx) }()
	before := len(h.forge.Requests())
	h.want(h.audit, first, "a cause")
	eventually(t, "the forge hangs", func() bool { return len(h.forge.Requests()) > before })
	h.want(h.create(other), second, "another cause")
	eventually(t, "the other forge shows it", func() bool { return other.Shown(second)["c"].State == forge.Failure })
	h.posts(first)
	cancel()
	must(t, <-done)
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
