package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

func TestEach(t *testing.T) {
	// An admission webhook may refuse with any code, and without a reason.
	refused := &ApplyError{Kind: "Secret", Name: "s", Err: &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusTeapot}}}
	silent := &ApplyError{Kind: "Secret", Name: "s", Err: errors.New("connection refused")}
	const n = 100
	for _, test := range []struct {
		reason string
		ended  bool
		err    error
		// tried is how many writes there may be, and failed how many errors there must be.
		tried, failed int
	}{
		{"all are written", false, nil, n, 0},
		{"what is refused holds up nothing", false, refused, n, n},
		{"nobody answers: those that have begun are the last", false, silent, 2 * writers, n},
		{"the process ends", true, nil, 0, n},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if test.ended {
			cancel()
		}
		var tried atomic.Int32
		failed := 0
		for _, err := range each(ctx, make([]int, n), func(context.Context, int) error {
			tried.Add(1)
			return test.err
		}) {
			if err != nil {
				failed++
			}
		}
		if got := int(tried.Load()); got > test.tried || test.tried == n && got != n || failed != test.failed {
			t.Errorf("%s: %d tried, %d failed", test.reason, got, failed)
		}
		cancel()
	}
}

// refusing takes all audit configs and Secrets but one, and notes the clusters of each audit config.
type refusing struct {
	client.Client
	name    string
	entries map[string]string
	mu      sync.Mutex
}

func (r *refusing) Apply(_ context.Context, config runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	name, _, _ := unstructured.NestedString(object, "metadata", "name")
	if name == r.name {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if entries, err := mondoo.Entries(object); err == nil && object["kind"] == mondoo.Kind {
		r.entries[name] = ""
		for _, e := range entries {
			r.entries[name] += fmt.Sprint(e["name"], " ")
		}
	}
	return nil
}

// TestMovesArriveFirst: a cluster leaves an audit config when it has arrived in the other, and not before.
func TestMovesArriveFirst(t *testing.T) {
	for _, test := range []struct{ reason, refused, from, to string }{
		{"both are written", "", "stays ", "moves "},
		{"the other audit config is refused", "second", "moves stays ", ""},
		{"its Secret is refused", "second-moves-kubeconfig", "moves stays ", ""},
	} {
		entry := func(config, name string) mondoo.Entry {
			return mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: config + "-" + name + "-kubeconfig"}}
		}
		live := map[string]any{"metadata": map[string]any{"name": "first"}}
		if err := mondoo.SetEntries(live, []map[string]any{entry("first", "moves").Map(), entry("first", "stays").Map()}); err != nil {
			t.Fatal(err)
		}
		desired := &fleet.Opened{Namespace: "n", Sync: "s", AuditConfigs: []fleet.AuditConfig{{Name: "first"}, {Name: "second"}},
			Clusters: []fleet.Cluster{{Name: "stays", AuditConfig: "first", Hash: "1", Entry: entry("first", "stays")},
				{Name: "moves", AuditConfig: "second", Hash: "1", Entry: entry("second", "moves"), Secrets: []string{"second-moves-kubeconfig"}}},
			Secrets: []fleet.Secret{{Name: "second-moves-kubeconfig", Type: "Opaque", Cluster: "moves", AuditConfig: "second", Data: map[string]string{"kubeconfig": "x"}}}}
		p := plan.Compute(desired, plan.Live{AuditConfigs: map[string]map[string]any{"first": live, "second": {}}, Inventories: []*inventory.Inventory{
			{Sync: "s", AuditConfig: "first", Clusters: []inventory.Item{{Name: "moves", Hash: "1"}, {Name: "stays", Hash: "1"}}}}}, plan.Policy{Revision: "r", Prune: true})
		objects := &refusing{name: test.refused, entries: map[string]string{"first": "moves stays "}}
		if err := (applier{objects: objects, own: objects, namespace: "n"}).run(t.Context(), p); (err != nil) != (test.refused != "") {
			t.Errorf("%s: %v", test.reason, err)
		}
		if objects.entries["first"] != test.from || objects.entries["second"] != test.to {
			t.Errorf("%s: %v", test.reason, objects.entries)
		}
	}
}

// TestClustersChangePlaces: of two clusters that change places between audit configs, none is in no audit config at the end.
func TestClustersChangePlaces(t *testing.T) {
	entry := func(name string) mondoo.Entry {
		return mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: "k"}}
	}
	for _, test := range []struct{ reason, refused, first, second string }{
		{"both are written", "", "two ", "one "},
		{"the first is refused", "first", "one ", "one two "},
		{"the second is refused", "second", "one two ", "two "},
	} {
		live := plan.Live{AuditConfigs: map[string]map[string]any{}}
		for config, cluster := range map[string]string{"first": "one", "second": "two"} {
			object := map[string]any{"metadata": map[string]any{"name": config}}
			if err := mondoo.SetEntries(object, []map[string]any{entry(cluster).Map()}); err != nil {
				t.Fatal(err)
			}
			live.AuditConfigs[config] = object
			live.Inventories = append(live.Inventories, &inventory.Inventory{Sync: "s", AuditConfig: config, Clusters: []inventory.Item{{Name: cluster, Hash: "1"}}})
		}
		desired := &fleet.Opened{Namespace: "n", Sync: "s", AuditConfigs: []fleet.AuditConfig{{Name: "first"}, {Name: "second"}},
			Clusters: []fleet.Cluster{{Name: "two", AuditConfig: "first", Hash: "1", Entry: entry("two")}, {Name: "one", AuditConfig: "second", Hash: "1", Entry: entry("one")}}}
		p := plan.Compute(desired, live, plan.Policy{Revision: "r", Prune: true})
		objects := &refusing{name: test.refused, entries: map[string]string{"first": "one ", "second": "two "}}
		if err := (applier{objects: objects, own: objects, namespace: "n"}).run(t.Context(), p); (err != nil) != (test.refused != "") {
			t.Errorf("%s: %v", test.reason, err)
		}
		if objects.entries["first"] != test.first || objects.entries["second"] != test.second {
			t.Errorf("%s: %v", test.reason, objects.entries)
		}
	}
}

func TestFirstOf(t *testing.T) {
	one, two := &ApplyError{Kind: "Secret", Name: "one", Err: errors.New("x")}, &ApplyError{Kind: "Secret", Name: "two", Err: errors.New("y")}
	for _, test := range []struct {
		err  error
		want string
	}{
		{one, "apply Secret one: x"},
		{errors.Join(one), "apply Secret one: x"},
		{errors.Join(one, two, errNotTried), "apply Secret one: x; and 2 more that could not be written"},
	} {
		if got := firstOf(test.err); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
