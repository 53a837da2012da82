package plan_test

import (
	"reflect"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestComputeOnlyReads: callers hold on to what they hand in, and plan with it again.
func TestComputeOnlyReads(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c", "d").secret("s", "1"), policy())
	w.entry(config, "a")["schedule"] = "1 1 1 1 *"
	secret := w.Secrets["mondoo-client-b-kubeconfig"]
	secret.Data = map[string][]byte{"kubeconfig": []byte("drifted")}
	w.Secrets["mondoo-client-b-kubeconfig"] = secret
	w.setEntries(config, append(w.list(config), map[string]any{"name": "foreign"}))
	d := newFleet().existing(config).cluster("1", "a", "b").cluster("2", "c", "e").quarantine("c")
	live, opened := clone(t, w.Live), clone[fleet.Opened](t, d.Opened)
	before := clone(t, live)
	fleetBefore := clone(t, opened)
	if p := plan.Compute(&opened, live, at("rev2")); len(p.Steps) < 4 {
		t.Fatalf("the plan should have something of everything:\n%s", describe(p))
	}
	if !reflect.DeepEqual(live, before) {
		t.Error("the live objects have changed")
	}
	if !reflect.DeepEqual(opened, fleetBefore) {
		t.Error("the fleet has changed")
	}
}
