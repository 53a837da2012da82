package scans

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/clusters/inventory"
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
