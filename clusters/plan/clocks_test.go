package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// clocks are the hour at which each cluster got its form, and "!" where a scan is due for that.
func (w *world) clocks() string {
	text := ""
	for _, item := range w.Inventories[0].Clusters {
		text += item.Name + item.Applied.Format("15")
		if item.ScanDue {
			text += "!"
		}
		text += " "
	}
	return text
}

// TestClocks: only a cluster that gets a new form has its clock begin anew and is due for a scan.
func TestClocks(t *testing.T) {
	hour := func(revision string, hour int) plan.Policy {
		p := at(revision)
		p.Now, p.ScanChanged = time.Date(2026, 3, 3, hour, 30, 1, 999, time.UTC), true
		return p
	}
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b"), hour("rev1", 1))
	want(t, "both are new", w.clocks(), "a01! b01! ")
	w.Inventories[0] = w.Inventories[0].ScanAsked(map[string]bool{"a": true, "b": true, "other": true}, nil)
	want(t, "both were scanned", w.clocks(), "a01 b01 ")
	if w.Inventories[0].ScanAsked(map[string]bool{"a": true}, nil) != nil {
		t.Error("nothing was due, and there is something to write")
	}
	w.sync(t, newFleet().existing(config).cluster("1", "a").cluster("2", "b"), hour("rev2", 2))
	want(t, "one has changed", w.clocks(), "a01 b02! ")
	w.sync(t, newFleet().existing(config).cluster("1", "a").cluster("2", "b"), hour("rev3", 3))
	want(t, "a commit that changes nothing", w.clocks(), "a01 b02! ")

	off := hour("rev4", 4)
	off.ScanChanged = false
	w.sync(t, newFleet().existing(config).cluster("1", "a").cluster("2", "b").cluster("1", "c"), off)
	want(t, "scanOnChange is turned off", w.clocks(), "a01 b02 c04 ")

	if err := mondoo.SetEntries(w.AuditConfigs[config], nil); err != nil {
		t.Fatal(err)
	}
	w.sync(t, newFleet().existing(config).cluster("1", "a").cluster("2", "b").cluster("1", "c"), hour("rev4", 5))
	want(t, "somebody has removed them, and the operator makes everything anew", w.clocks(), "a05 b05 c05 ")

	p := w.compute(newFleet().existing(config).cluster("1", "a").cluster("2", "b").cluster("1", "c"), at("rev4"))
	if !p.Empty() {
		t.Errorf("without a clock, as on the command line, there is something to do:\n%s", describe(p))
	}
}

// TestScannedIsKept: that a cluster was scanned is noted when somebody removes its entry, whether that is put right or only
// reported, and holds until the cluster gets another form.
func TestScannedIsKept(t *testing.T) {
	scanned := func(w *world) (text string) {
		for _, item := range w.Inventories[0].Clusters {
			if item.Scanned {
				text += item.Name
			}
		}
		return text
	}
	policy := func(revision, names string, correct bool) plan.Policy {
		p := at(revision)
		p.CorrectDrift = correct
		p.Scanned = func(auditConfig, cluster string) bool {
			return auditConfig == config && strings.Contains(names, cluster)
		}
		return p
	}
	for _, correct := range []bool{true, false} {
		w := newWorld(config)
		w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy("rev1", "", true))
		if p := w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy("rev1", "ab", correct)); !p.Empty() {
			t.Errorf("a scan makes something to do:\n%s", describe(p))
		}
		w.setEntries(config, w.list(config)[1:])
		w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy("rev1", "ab", correct))
		want(t, "somebody has removed a", scanned(w), "a")
		w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy("rev2", "", true))
		want(t, "another commit", scanned(w), "a")
		if p := w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy("rev2", "", true)); !p.Empty() {
			t.Errorf("there is something to do all the time:\n%s", describe(p))
		}
		w.setEntries(config, w.list(config)[2:])
		w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), at("rev2"))
		want(t, "nobody knows of b", scanned(w), "a")
		w.sync(t, newFleet().existing(config).cluster("2", "a").cluster("1", "b", "c"), policy("rev3", "abc", true))
		want(t, "a has another form, which nobody has scanned", scanned(w), "")
	}
}

// TestClocksOfTakenOver: an entry that was made by hand and is taken over as it stands is nothing new.
func TestClocksOfTakenOver(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a"), at("rev1"))
	w.Inventories = nil
	p := at("rev1")
	p.Now, p.ScanChanged = time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC), true
	w.sync(t, newFleet().existing(config).cluster("1", "a"), p)
	want(t, "taken over", w.clocks(), "a07 ")
}

// TestScansDueAreBounded: of a change of a whole fleet the first are due, and what waits already goes before.
func TestScansDueAreBounded(t *testing.T) {
	var names []string
	for i := range plan.MaxScansDue + 20 {
		names = append(names, fmt.Sprintf("c%03d", i))
	}
	p := at("rev1")
	p.Now, p.ScanChanged = time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC), true
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "z"), p)
	p.Revision, p.Now = "rev2", p.Now.Add(time.Hour)
	done := w.sync(t, newFleet().existing(config).cluster("1", "z").cluster("1", names...), p)
	if done.ScansLeft != 21 || len(done.After) != 1 {
		t.Errorf("%d are left, %d inventories are written", done.ScansLeft, len(done.After))
	}
	due := map[string]bool{}
	for _, item := range w.Inventories[0].Clusters {
		if item.ScanDue {
			due[item.Name] = true
		}
	}
	if len(due) != plan.MaxScansDue || !due["z"] || !due["c098"] || due["c099"] {
		t.Errorf("due are %d, with z %t, c098 %t, c099 %t", len(due), due["z"], due["c098"], due["c099"])
	}
}

// TestSeen: the cluster behind a server is recorded when it is known, and kept while it isn't.
func TestSeen(t *testing.T) {
	first, second := inventory.Seen{UID: "1", Place: "p"}, inventory.Seen{UID: "2", Place: "q"}
	finds := func(revision string, s inventory.Seen) plan.Policy {
		p := at(revision)
		p.Seen = func(auditConfig, cluster string) inventory.Seen {
			if auditConfig == "mondoo-client" && cluster == "a" {
				return s
			}
			return inventory.Seen{}
		}
		return p
	}
	w := newWorld(config)
	for _, step := range []struct {
		reason string
		policy plan.Policy
		hash   string
		want   inventory.Seen
	}{
		{"not checked", at("rev1"), "1", inventory.Seen{}},
		{"found", finds("rev1", first), "1", first},
		{"after a restart", at("rev1"), "1", first},
		{"not found yet, with another credential", finds("rev2", inventory.Seen{}), "2", first},
		{"found elsewhere", finds("rev3", second), "3", second},
	} {
		w.sync(t, newFleet().existing(config).cluster(step.hash, "a", "b"), step.policy)
		if a, b := w.Inventories[0].Cluster("a").Seen, w.Inventories[0].Cluster("b").Seen; a != step.want || b != (inventory.Seen{}) {
			t.Errorf("%s: %+v and %+v", step.reason, a, b)
		}
	}
}
