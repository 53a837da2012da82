package preflights

import (
	"context"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/preflight"
)

// TestIdentityIsRemembered: the cluster that was found first behind a server is compared with, with any credential and in the next
// process, until the server changes in Git.
func TestIdentityIsRemembered(t *testing.T) {
	inBubble(t, func(r *room) {
		behind := "first"
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			result := passes(ctx, t)
			if t.UID != "" && t.UID != behind {
				result = fails(preflight.OtherCluster)(ctx, t)
			}
			result.UID = behind
			return result
		})
		a := newApplied("eu")
		compared := func(reason, want string) {
			t.Helper()
			r.look(a)
			r.sleep(time.Minute)
			if got := r.given["eu"].UID; got != want {
				t.Errorf("%s: compared with %q, want %q", reason, got, want)
			}
		}
		compared("a new cluster", "")
		seen := r.checker.Seen(a.key())("mondoo-client", "eu")
		if seen.UID != "first" || seen.Place == "" || r.plans != 1 {
			t.Fatalf("to be recorded: %+v, %d changes of plans", seen, r.plans)
		}
		a.change(func(_ *fleet.Opened, i *inventory.Inventory) { i.Clusters[0].Seen = seen })
		a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Hash = "2" })
		compared("a new credential", "first")

		r.stop()
		r.begin()
		behind = "second"
		compared("a restart", "first")
		if p := r.look(a); len(p.Failures) != 1 || p.Failures[0].Check.Cause != preflight.OtherCluster {
			t.Errorf("another cluster behind the address: %+v", p)
		}
		if again := r.checker.Seen(a.key())("mondoo-client", "eu"); again != seen || r.plans != 1 {
			t.Errorf("to be recorded: %+v, %d changes of plans", again, r.plans)
		}
		a.change(func(f *fleet.Opened, i *inventory.Inventory) {
			moved := *f.Clusters[0].Entry.ServiceAccountAuth
			moved.Server = "https://elsewhere"
			f.Clusters[0].Entry.ServiceAccountAuth, f.Clusters[0].Hash, i.Clusters[0].Hash = &moved, "2", "2"
		})
		compared("a deliberate move", "")
		if now := r.checker.Seen(a.key())("mondoo-client", "eu"); now.UID != "second" || now.Place == seen.Place || r.plans != 2 {
			t.Errorf("to be recorded: %+v, %d changes of plans", now, r.plans)
		}
		r.sleep(48 * time.Hour)
		if r.plans != 2 {
			t.Errorf("%d changes of plans at rest", r.plans-2)
		}
	})
	var none *Checker
	if s := none.Seen(newApplied("eu").key())("mondoo-client", "eu"); s != (inventory.Seen{}) {
		t.Errorf("%+v", s)
	}
}
