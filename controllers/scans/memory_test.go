package scans

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// TestMemory: what was seen of a cluster stays known for as long as the cluster has the same form.
func TestMemory(t *testing.T) {
	at := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	live := map[string]any{"metadata": map[string]any{"name": "m", "uid": "1", "generation": int64(1)},
		"spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": []any{map[string]any{"name": "a"}}}}}
	for _, row := range []struct {
		reason         string
		next           inventory.Item
		scanned, taken bool
	}{
		{"nothing has changed", inventory.Item{Name: "a", Hash: "1", Changed: at}, true, true},
		{"the entry has changed", inventory.Item{Name: "a", Hash: "2", Changed: at.Add(time.Minute)}, false, false},
		{"only its Secret has changed", inventory.Item{Name: "a", Hash: "2", Changed: at}, false, true},
		{"another cluster", inventory.Item{Name: "b", Hash: "1", Changed: at}, false, false},
	} {
		m := &Memory{}
		look := func(item inventory.Item) []*config {
			return m.refresh(Sync{AuditConfigs: map[string]map[string]any{"m": live}, Inventories: []*inventory.Inventory{{AuditConfig: "m", Clusters: []inventory.Item{item}}, {AuditConfig: "gone"}}})
		}
		first := look(inventory.Item{Name: "a", Hash: "1", Changed: at})
		if len(first) != 1 || m.Scanned("m", "a") || m.Scanned("gone", "a") {
			t.Fatalf("got %+v", first)
		}
		first[0].scanned["a"], first[0].taken["a"] = true, at.Add(time.Second)
		next := look(row.next)[0]
		_, taken := next.taken["a"]
		if m.Scanned("m", "a") != row.scanned || taken != row.taken || next.entries[0].Taken.IsZero() == row.taken {
			t.Errorf("%s: scanned %t, taken %t, entry %+v", row.reason, m.Scanned("m", "a"), taken, next.entries[0])
		}
	}
}

// TestPause: a look that is due shortens the pause, but not that of a sync that waits to be tried again.
func TestPause(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC))
	s, key := newTestObserver(t, now), types.NamespacedName{Namespace: "ns", Name: "prod"}
	for _, row := range []struct {
		reason      string
		retry       bool
		again       time.Time
		want, delay time.Duration
	}{
		{"no look is due", false, time.Time{}, time.Minute, debounce},
		{"one is due before", false, now.Now().Add(10 * time.Second), 10 * time.Second, debounce},
		{"one was due", false, now.Now().Add(-time.Hour), debounce, debounce},
		{"one is due later", false, now.Now().Add(time.Hour), time.Minute, debounce},
		{"it waits to be tried again", true, now.Now().Add(10 * time.Second), time.Minute, time.Minute},
		{"it waits no more", false, time.Time{}, time.Minute, debounce},
	} {
		if got := s.Pause(key, time.Minute, row.retry, row.again); got != row.want || s.delay(key) != row.delay {
			t.Errorf("%s: %s, and changes wait for %s", row.reason, got, s.delay(key))
		}
	}
}

// TestParsedAgain: the entries are parsed again when the audit config has another generation, or is another of its name. Whoever still has
// the former ones keeps them as they were.
func TestParsedAgain(t *testing.T) {
	m := &Memory{}
	look := func(uid string, generation int64, taken time.Time, entries ...any) *config {
		return m.refresh(Sync{Inventories: []*inventory.Inventory{{AuditConfig: "m", Clusters: []inventory.Item{{Name: "a", Taken: taken}}}}, AuditConfigs: map[string]map[string]any{
			"m": {"metadata": map[string]any{"name": "m", "uid": uid, "generation": generation}, "spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": entries}}}}})[0]
	}
	a, b := map[string]any{"name": "a"}, map[string]any{"name": "b"}
	first := look("1", 1, time.Time{}, a)
	if same := look("1", 1, time.Unix(1, 0), a, b); len(same.entries) != 1 || same.entries[0].Taken.IsZero() || !first.entries[0].Taken.IsZero() {
		t.Errorf("of one generation: %+v, and before %+v", same.entries, first.entries)
	}
	if next := look("1", 2, time.Time{}, a, b); len(next.entries) != 2 {
		t.Errorf("of the next generation: %+v", next.entries)
	}
	if other := look("2", 2, time.Time{}, a); len(other.entries) != 1 {
		t.Errorf("of another audit config: %+v", other.entries)
	}
}

// TestObserve: what a look adds to what is remembered.
func TestObserve(t *testing.T) {
	at := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	c := &config{items: map[string]*inventory.Item{}, scanned: map[string]bool{"waits": true}, taken: map[string]time.Time{}}
	for name, changed := range map[string]time.Time{"taken": at, "waits": at, "unchanged": {}} {
		c.items[name] = &inventory.Item{Name: name, Changed: changed}
	}
	c.entries = []scanstate.Entry{{Name: "taken"}, {Name: "waits"}, {Name: "unchanged"}}
	for _, taken := range []time.Time{at.Add(time.Second), at.Add(time.Hour)} { // the operator writes its objects again
		statuses := []scanstate.Status{{Cluster: "taken", Taken: taken}, {Cluster: "waits", NotTaken: true, Before: &scanstate.Status{Cluster: "waits"}}, {Cluster: "unchanged", Taken: taken}}
		c.observe(statuses)
		if len(c.taken) != 1 || !c.taken["taken"].Equal(at.Add(time.Second)) || !c.entries[0].Taken.Equal(at.Add(time.Second)) || !c.entries[2].Taken.IsZero() || c.awaited != 1 {
			t.Errorf("taken %v, entries %+v, %d awaited", c.taken, c.entries, c.awaited)
		}
		if statuses[0].Scanned || !statuses[1].Scanned || !statuses[1].Before.Scanned {
			t.Errorf("statuses %+v", statuses)
		}
	}
}
