package inventory_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/inventory"
)

func TestInventory(t *testing.T) {
	i := &inventory.Inventory{Sync: "prod", AuditConfig: "mondoo-client", Origin: "m.yaml", Commit: "c", Hash: "h",
		Clusters: []inventory.Item{{Name: "a", Origin: "a.yaml", Commit: "c", Hash: "h", Secrets: []string{"x", "y"}}}, Secrets: []inventory.Item{{Name: "s", Origin: "s.yaml"}}}
	one, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	two, err := i.Encode()
	if err != nil || string(one) != string(two) {
		t.Error("equal inventories have other bytes")
	}
	back, err := inventory.Decode(one)
	if err != nil || !back.Equal(i) {
		t.Errorf("%v: %v", err, back)
	}
	for name, text := range map[string]string{
		"long":           `{"clusters":[{"name":"` + strings.Repeat("x", 17<<20) + `"}]}`,
		"of empty items": `{"clusters":[{}` + strings.Repeat(",{}", 1<<20) + `]}`,
		"of corrections": `{"secrets":[{"corrected":[{}` + strings.Repeat(",{}", 1<<20) + `]}]}`,
	} {
		var data bytes.Buffer
		zip := gzip.NewWriter(&data)
		if _, err := zip.Write([]byte(text)); err != nil || zip.Close() != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := inventory.Decode(data.Bytes())
		runtime.ReadMemStats(&after)
		taken := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("an inventory %s, packed %d KiB: %d MiB allocated: %v", name, data.Len()>>10, taken, err)
		if !errors.Is(err, inventory.ErrSize) || taken > 128 {
			t.Errorf("%s: %d MiB, %v", name, taken, err)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "no gzip": []byte("{}"), "cut off": one[:len(one)/2]} {
		if _, err := inventory.Decode(data); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if !(*inventory.Inventory)(nil).Equal(&inventory.Inventory{Sync: "x"}) || i.Equal(nil) {
		t.Error("nil and empty are not the same")
	}
	if inventory.ConfigMapName("a", "") == inventory.ConfigMapName("a", "b") || inventory.ConfigMapName("a", "b-c") == inventory.ConfigMapName("a-b", "c") {
		t.Error("two inventories share a name")
	}
	many := &inventory.Inventory{Sync: "prod"}
	for n := range 5000 {
		many.Clusters = append(many.Clusters, inventory.Item{Name: fmt.Sprintf("cluster-%04d", n), Origin: fmt.Sprintf("fleet/cluster-%04d.yaml", n),
			Commit: "0123456789abcdef0123456789abcdef01234567", Hash: fmt.Sprintf("%032x", n*7919), Secrets: []string{fmt.Sprintf("mondoo-client-cluster-%04d-kubeconfig", n)}})
	}
	if data, err := many.Encode(); err != nil || len(data) > 1<<20 {
		t.Errorf("5,000 clusters take %d bytes, %v", len(data), err)
	}
}

// FuzzInventory: whatever a ConfigMap holds, it is an inventory that can be written again, or an error.
func FuzzInventory(f *testing.F) {
	f.Add([]byte(`{"sync":"s","clusters":[{"name":"a","corrected":[{}],"applied":"2026-01-01T00:00:00Z"}],"approved":{}}`))
	f.Add([]byte(`{"clusters":null} {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var data bytes.Buffer
		zip := gzip.NewWriter(&data)
		if _, err := zip.Write(text); err != nil || zip.Close() != nil {
			t.Fatal(err)
		}
		for _, packed := range [][]byte{data.Bytes(), text} {
			i, err := inventory.Decode(packed)
			if err != nil {
				continue
			}
			again, err := i.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := inventory.Decode(again); err != nil || !back.Equal(i) {
				t.Errorf("%v: %+v, not %+v", err, back, i)
			}
		}
	})
}

// TestClocksAreKept: what is noted comes back from a ConfigMap, and an inventory of before has none.
func TestClocksAreKept(t *testing.T) {
	i := &inventory.Inventory{Sync: "prod", AuditConfig: "mondoo-client", Clusters: []inventory.Item{{Name: "a", Origin: "a.yaml", Hash: "h",
		Applied: time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC), ScanDue: true, Scanned: true}, {Name: "b", Origin: "b.yaml", Hash: "h"}}}
	data, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := inventory.Decode(data)
	if err != nil || !back.Equal(i) || !back.Clusters[1].Applied.IsZero() {
		t.Errorf("%v: %+v", err, back)
	}
	for _, change := range []func(*inventory.Item){func(i *inventory.Item) { i.ScanDue = false }, func(i *inventory.Item) { i.Scanned = false }, func(i *inventory.Item) { i.Applied = time.Time{} },
		func(i *inventory.Item) { i.Changed = i.Applied }, func(i *inventory.Item) { i.Taken = i.Applied }} {
		other, err := inventory.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if change(&other.Clusters[0]); other.Equal(i) {
			t.Error("inventories that differ are equal")
		}
	}
}

func TestSettled(t *testing.T) {
	corrected := []inventory.Correction{{Path: "schedule"}}
	for _, test := range []struct {
		reason    string
		inventory inventory.Inventory
		settled   bool
	}{
		{"nothing expires", inventory.Inventory{Clusters: []inventory.Item{{Name: "eu"}}, Secrets: []inventory.Item{{Name: "s"}}}, true},
		{"the audit config was corrected", inventory.Inventory{Corrected: corrected}, false},
		{"a cluster was corrected", inventory.Inventory{Clusters: []inventory.Item{{Name: "eu", Corrected: corrected}}}, false},
		{"a Secret was corrected", inventory.Inventory{Secrets: []inventory.Item{{Name: "s", Corrected: corrected}}}, false},
		{"an approval is being carried out", inventory.Inventory{Approved: &inventory.Approval{}}, false},
	} {
		if got := test.inventory.Settled(); got != test.settled {
			t.Errorf("%s: settled is %t", test.reason, got)
		}
	}
}
