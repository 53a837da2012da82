package controllers_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterfleet "github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestWritesCarryWhatWasSeen plans something for each kind of object, changes the object, and carries the plan out: nothing is written over
// or deleted that the plan did not know.
func TestWritesCarryWhatWasSeen(t *testing.T) {
	w := newWorld(t)
	ctx, meta := t.Context(), metav1.ObjectMeta{Namespace: w.namespace, Name: "object"}
	object := func(kind string) client.Object {
		switch kind {
		case "Secret":
			return &corev1.Secret{ObjectMeta: meta}
		case "ConfigMap":
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: inventory.ConfigMapName("sync", "object")}}
		}
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "x"}}}}
		u.SetGroupVersionKind(auditConfigGVK)
		u.SetNamespace(meta.Namespace)
		u.SetName(meta.Name)
		return u
	}
	write := func(kind string, seen plan.Version) *plan.Plan {
		switch kind {
		case "Secret":
			return &plan.Plan{Secrets: []plan.SecretWrite{{Version: seen, Name: "object", Data: map[string]string{"a": "b"}, Labels: map[string]string{"ours": ""}}}}
		case "ConfigMap":
			return &plan.Plan{Before: []*inventory.Inventory{{Version: seen, Sync: "sync", AuditConfig: "object", Origin: "x"}}}
		}
		return &plan.Plan{Configs: []plan.ConfigWrite{{Version: seen, Name: "object", Object: map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
			"metadata": map[string]any{"name": "object", "namespace": w.namespace, "labels": map[string]any{"ours": ""}},
			"spec":     map[string]any{"mondooCredsSecretRef": map[string]any{"name": "ours"}}}}}}
	}
	remove := func(kind string, seen plan.Version) *plan.Plan {
		gone := []plan.Deletion{{Name: "object", Version: seen}}
		switch kind {
		case "Secret":
			return &plan.Plan{Delete: plan.Deletions{Secrets: gone}}
		case "ConfigMap":
			return &plan.Plan{After: []*inventory.Inventory{{Version: seen, Sync: "sync", AuditConfig: "object"}}}
		}
		return &plan.Plan{Delete: plan.Deletions{AuditConfigs: gone}}
	}
	for _, kind := range []string{"Secret", plan.KindAuditConfig, "ConfigMap"} {
		create := func() client.Object {
			o := object(kind)
			must(t, w.admin.Create(ctx, o))
			return o
		}
		touch := func(o client.Object) {
			o.SetAnnotations(map[string]string{"by": "hand"})
			must(t, w.admin.Update(ctx, o))
		}
		again := func(o client.Object) {
			must(t, w.admin.Delete(ctx, o))
			create()
		}
		gone := func(o client.Object) { must(t, w.admin.Delete(ctx, o)) }
		for _, row := range []struct {
			reason string
			there  bool // when it is planned
			since  func(client.Object)
			plan   func(string, plan.Version) *plan.Plan
			done   bool
		}{
			{"created", false, nil, write, true},
			{"has appeared", false, func(client.Object) { create() }, write, false},
			{"changed", true, nil, write, true},
			{"has changed", true, touch, write, false},
			{"is another", true, again, write, false},
			{"is gone, and to be changed", true, gone, write, false},
			{"deleted", true, nil, remove, true},
			{"has changed, and is to be deleted", true, touch, remove, false},
			{"is another, and is to be deleted", true, again, remove, false},
			{"is gone already", true, gone, remove, true},
		} {
			t.Run(kind+" "+row.reason, func(t *testing.T) {
				get := func() (client.Object, bool) {
					o := object(kind)
					err := w.admin.Get(ctx, client.ObjectKeyFromObject(o), o)
					return o, err == nil
				}
				var seen plan.Version
				before := object(kind)
				if row.there {
					before = create()
					seen = plan.Version{UID: string(before.GetUID()), ResourceVersion: before.GetResourceVersion()}
				}
				if row.since != nil {
					row.since(before)
				}
				before, existed := get()
				err := controllers.ApplyPlan(ctx, w.admin, w.namespace, row.plan(kind, seen))
				after, exists := get()
				if exists {
					must(t, w.admin.Delete(ctx, after))
				}
				switch {
				case row.done && err != nil:
					t.Errorf("refused: %v", err)
				case !row.done && !apierrors.IsConflict(err):
					t.Errorf("no conflict: %v", err)
				case !row.done && (exists != existed || after.GetResourceVersion() != before.GetResourceVersion()):
					t.Errorf("what the plan did not know was changed: %v", after)
				}
			})
		}
	}
}

// TestManagerOfWhatIsCreated: what a create leaves can be taken back by a later apply.
func TestManagerOfWhatIsCreated(t *testing.T) {
	w := newWorld(t)
	secret := func() plan.Version {
		s := w.secret("object")
		return plan.Version{UID: string(s.UID), ResourceVersion: s.ResourceVersion}
	}
	must(t, controllers.ApplyPlan(t.Context(), w.admin, w.namespace, &plan.Plan{Secrets: []plan.SecretWrite{{Name: "object", Data: map[string]string{"a": "1", "b": "2"}}}}))
	must(t, controllers.ApplyPlan(t.Context(), w.admin, w.namespace, &plan.Plan{Secrets: []plan.SecretWrite{{Version: secret(), Name: "object", Data: map[string]string{"a": "1"}}}}))
	if data := w.secret("object").Data; len(data) != 1 {
		t.Errorf("the key that was taken out is still there: %v", data)
	}
}

// stall holds back what watches of a resource tell.
type stall struct {
	next     http.RoundTripper
	resource string
	on       atomic.Bool
}

func (s *stall) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.next.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") != "" && strings.HasSuffix(r.URL.Path, "/"+s.resource) {
		response.Body = &stalledBody{ReadCloser: response.Body, stall: s}
	}
	return response, err
}

type stalledBody struct {
	io.ReadCloser
	stall  *stall
	closed atomic.Bool
}

func (b *stalledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for b.stall.on.Load() && !b.closed.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return n, err
}

func (b *stalledBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// TestStaleCache changes Secrets by hand that the controller does not see, for its watch stands still.
func TestStaleCache(t *testing.T) {
	manifest := func(w *world, name, value string) string {
		return w.key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+"}\nstringData: {password: CANARY-"+value+"}\n", sealtest.Credentials)
	}
	for _, row := range []struct {
		reason string
		// byHand is what somebody does, and files what the next commit has of the Secret; empty: nothing.
		byHand func(*world)
		file   string
		// code is the finding that tells of it in the end, and value what the Secret then has.
		code, value string
	}{
		{"a Secret appears", func(w *world) { w.createSecret("new", map[string]string{"password": "theirs"}) }, "new", "secret-foreign", "theirs"},
		{"the label is taken off one that is to go", func(w *world) {
			s := w.secret("old")
			delete(s.Labels, musterfleet.LabelSync)
			must(t, w.admin.Update(t.Context(), s))
		}, "", "", "CANARY-1"},
		{"one that is to go is another's now", func(w *world) {
			must(t, w.admin.Delete(t.Context(), w.secret("old")))
			w.createSecret("old", map[string]string{"password": "theirs"})
		}, "", "", "theirs"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld(t)
			commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/old.yaml": manifest(w, "old", "1")})
			var secrets *stall
			w.startController(func(next http.RoundTripper) http.RoundTripper {
				secrets = &stall{next: next, resource: "secrets"}
				return secrets
			})
			w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Prune.MaxRemovals = percent("100%") })
			w.untilReady(commit)
			w.untilQuiet()
			secrets.on.Store(true)
			defer secrets.on.Store(false)
			row.byHand(w)
			name := "old"
			if row.file == "new" {
				name = "new"
			}
			before := w.secret(name)
			if row.file != "" {
				w.push(map[string]string{"clusters/" + row.file + ".yaml": manifest(w, row.file, "2")})
			} else {
				w.push(map[string]string{"clusters/README.md": "x"}, "clusters/old.yaml")
			}
			w.request()
			w.eventually("the controller has read past its cache", func() bool {
				s := w.sync().Status
				return condition(s, v1alpha1.ConditionReady).Reason != "Conflict" && (row.code == "" || slices.ContainsFunc(s.Problems, func(p v1alpha1.Problem) bool { return p.Code == row.code }))
			})
			after := w.secret(name)
			switch {
			case after == nil:
				t.Error("it is gone")
			case row.value != "" && (after.ResourceVersion != before.ResourceVersion || string(after.Data["password"]) != row.value):
				t.Errorf("it was changed: %v %s", after.Labels, after.Data)
			}
		})
	}
}
