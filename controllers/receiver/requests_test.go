package receiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// api is a client of a real API server, with one AuditSync and the Secret of its webhook.
func api(t *testing.T) (client.Client, *v1alpha1.AuditSync) {
	t.Helper()
	server.SkipShort(t)
	plane, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{})
	must(t, err)
	t.Cleanup(func() { _ = plane.Stop() })
	crd, err := os.ReadFile("../../config/crd/muster.dev_auditsyncs.yaml")
	must(t, err)
	must(t, server.InstallCRDs(t.Context(), plane.Config(), crd))
	scheme := runtime.NewScheme()
	must(t, v1alpha1.AddToScheme(scheme))
	must(t, corev1.AddToScheme(scheme))
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	must(t, err)
	meta := metav1.ObjectMeta{Namespace: "default", Name: "production"}
	audit := &v1alpha1.AuditSync{ObjectMeta: meta, Spec: v1alpha1.AuditSyncSpec{Source: v1alpha1.Source{URL: "https://git.example.com/platform/fleet.git"},
		Webhook: &v1alpha1.Webhook{SecretRef: v1alpha1.SecretRef{Name: meta.Name}}}}
	must(t, c.Create(t.Context(), audit))
	must(t, c.Create(t.Context(), &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"token": "CANARY-token-5d41402abc"}}))
	return client.WithFieldOwner(c, "muster"), audit
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRequests counts, with a clock that only the test moves, how often the API server is asked.
func TestRequests(t *testing.T) {
	admin, audit := api(t)
	key, gone := client.ObjectKeyFromObject(audit), types.NamespacedName{Namespace: audit.Namespace, Name: "gone"}
	now := clocktesting.NewFakeClock(time.Now())
	c := &countingClient{Client: admin}
	requests := newRequests(c, now, logr.Discard())
	pending := func() int {
		requests.mu.Lock()
		defer requests.mu.Unlock()
		return len(requests.wanted)
	}
	asked := func(want int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d requests", want), func() bool { return c.patches.Load() == want && (now.HasWaiters() || pending() == 0) })
	}
	annotation := func() string {
		must(t, admin.Get(t.Context(), key, audit))
		return audit.Annotations[v1alpha1.AnnotationReconcile]
	}
	requests.add(key)
	asked(1) // at once
	value := annotation()
	for range 1000 {
		requests.add(key)
	}
	asked(1) // not yet
	now.Step(time.Second)
	asked(2) // the burst
	if again := annotation(); again == value || again == "" {
		t.Errorf("the annotation is %q after %q", again, value)
	}
	now.Step(time.Second)
	asked(2) // and nothing more
	c.fail(errors.New("the API server is down"))
	requests.add(key)
	asked(3)
	now.Step(time.Second)
	asked(4)
	now.Step(time.Second)
	asked(4) // the second wait is longer
	c.fail(nil)
	now.Step(time.Second)
	asked(5) // what failed is tried again
	requests.add(gone)
	asked(6)
	eventually(t, "what is done is forgotten", func() bool {
		now.Step(time.Hour)
		return pending() == 0
	})
	requests.add(key)
	asked(7)
	requests.add(key)
	requests.finish()
	if n := c.patches.Load(); n != 8 {
		t.Errorf("%d requests after the order to stop, want 8: the last webhook is lost", n)
	}
}

// TestTarget looks up receivers that exist, and those that must look as if they didn't.
func TestTarget(t *testing.T) {
	c, audit := api(t)
	find := func(namespace, name string) error {
		w := &targets{reader: c, namespace: "default"}
		found, err := w.Target(t.Context(), namespace, name)
		if err == nil && (len(found.Secrets) != 1 || found.RepositoryURL != audit.Spec.Source.URL) {
			t.Errorf("found %s with %d secrets", found.RepositoryURL, len(found.Secrets))
		}
		return err
	}
	unknown := func(reason, namespace, name string) {
		t.Helper()
		if err := find(namespace, name); !errors.Is(err, webhook.ErrUnknown) {
			t.Errorf("%s: %v", reason, err)
		}
	}
	must(t, find(audit.Namespace, audit.Name))
	unknown("another name", audit.Namespace, "another")
	unknown("a namespace that is not Muster's", "kube-system", audit.Name)
	audit.Finalizers = []string{v1alpha1.Finalizer}
	must(t, c.Update(t.Context(), audit))
	must(t, c.Delete(t.Context(), audit))
	unknown("one that is being deleted", audit.Namespace, audit.Name)
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(audit), audit))
	audit.Finalizers = nil
	must(t, c.Update(t.Context(), audit))
	audit.ObjectMeta = metav1.ObjectMeta{Namespace: audit.Namespace, Name: audit.Name}
	audit.Spec.Webhook.SecretRef.Name = "missing"
	must(t, c.Create(t.Context(), audit))
	unknown("one without its Secret", audit.Namespace, audit.Name)
	audit.Spec.Webhook = nil
	must(t, c.Update(t.Context(), audit))
	unknown("one without a webhook", audit.Namespace, audit.Name)
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// countingClient counts the patches of a client, and can fail them.
type countingClient struct {
	client.Client
	patches atomic.Int32
	err     atomic.Pointer[error]
}

func (c *countingClient) fail(err error) { c.err.Store(&err) }

func (c *countingClient) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	defer c.patches.Add(1)
	if err := c.err.Load(); err != nil && *err != nil {
		return *err
	}
	err := c.Client.Patch(ctx, o, p, opts...)
	if o.GetName() == "gone" && !apierrors.IsNotFound(err) {
		return fmt.Errorf("a patch of nothing: %w", err)
	}
	return err
}
