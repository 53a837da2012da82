package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// in moves the clusters of a fleet to an audit config, with their Secrets.
func (d *desired) in(auditConfig string) *desired {
	for i := range d.Clusters {
		c := &d.Clusters[i]
		secret := made(auditConfig, c.Name)
		c.AuditConfig, c.Secrets = auditConfig, []string{secret}
		c.Entry.KubeconfigSecretRef = &mondoo.SecretRef{Name: secret}
		d.Secrets[i].Name, d.Secrets[i].AuditConfig = secret, auditConfig
	}
	return d
}

// and adds the clusters and Secrets of another fleet.
func (d *desired) and(other *desired) *desired {
	d.Clusters, d.Secrets = append(d.Clusters, other.Clusters...), append(d.Secrets, other.Secrets...)
	return d
}

// TestApprovalIsForWhatWasSeen: the removals of two clusters are approved, and then the same commit comes to mean something else.
func TestApprovalIsForWhatWasSeen(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	six := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d", "e", "f") }
	four := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d") }
	foreign := func(names ...string) func(*world) {
		return func(w *world) {
			for _, name := range names {
				w.setEntries(config, append(w.list(config), map[string]any{"name": name}))
			}
		}
	}
	for _, row := range []struct {
		reason string
		live   func(*world)
		next   func() *desired
		policy func(*plan.Policy)
		names  string
	}{
		{reason: "nothing has changed", names: "a b c d"},
		{reason: "a cluster is added, and another is broken", names: "a b c d g", next: func() *desired { return four().cluster("1", "g").quarantine("a") }},
		{reason: "a removed cluster has lost its entry", names: "a b c d", live: func(w *world) { w.setEntries(config, w.list(config)[:5]) }},
		{reason: "a removed cluster is in Git again", names: "a b c d e", next: func() *desired { return four().cluster("1", "e") }},
		{reason: "more is gone", names: "a b c d e f", next: func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c") }},
		{reason: "everything is gone", names: "a b c d e f", next: func() *desired { return newFleet().inGit(config, spec) }},
		{reason: "others are gone", names: "a b c d e f", next: func() *desired { return newFleet().inGit(config, spec).cluster("1", "c", "d", "e", "f") }},
		{reason: "the audit config is gone as well", names: "a b c d e f", next: func() *desired { return newFleet().cluster("1", "a", "b", "c", "d").quarantine("a") }},
		{reason: "foreign entries are to go as well", names: "a b c d e f x y z", live: foreign("x", "y", "z"), policy: func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }},
		{reason: "another commit", names: "a b c d e f", policy: func(p *plan.Policy) { p.Revision = "rev3" }},
		{reason: "the commit alone", names: "a b c d e f", policy: func(p *plan.Policy) { p.Approved = "rev2" }},
		{reason: "nothing is approved", names: "a b c d e f", policy: func(p *plan.Policy) { p.Approved = "" }},
		{reason: "a work tree", names: "a b c d e f", policy: func(p *plan.Policy) { p.Revision = "" }},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld()
			w.sync(t, six(), at("rev1"))
			pol := at("rev2")
			seen := w.compute(four(), pol)
			if seen.Held != 2 || !strings.HasPrefix(seen.Approval, "rev2-") {
				t.Fatalf("held %d, %q", seen.Held, seen.Approval)
			}
			for _, s := range seen.Steps {
				if s.Approvable() != (s.Action == plan.Hold) {
					t.Errorf("approvable: %v, %s %s", s.Approvable(), s.Action, s.Name)
				}
			}
			pol.Approved = seen.Approval
			next := four()
			if row.next != nil {
				next = row.next()
			}
			if row.live != nil {
				row.live(w)
			}
			if row.policy != nil {
				row.policy(&pol)
			}
			p := w.compute(next, pol)
			if pol.Approved != "" && p.Approval == pol.Approved {
				t.Errorf("what is approved is asked for again: %q", p.Approval)
			}
			w.apply(t, p, all)
			want(t, "entries", w.names(t, config), row.names)
			if again := w.compute(next, pol); !again.Empty() {
				t.Errorf("applied once, it is not done:\n%s", describe(again))
			}
		})
	}
}

// TestApprovalIsForTheEntriesThatWereShown: the removal of an audit config is approved, and then it has other foreign entries. None goes
// with it that was not shown, also when the removal has begun.
func TestApprovalIsForTheEntriesThatWereShown(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	remove := func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }
	for _, row := range []struct {
		reason string
		policy func(*plan.Policy)
		before string // the foreign entries that were shown
		after  string // those that are there when the approval is given
		stay   string // those that may not go; none: the audit config goes
	}{
		{reason: "none"},
		{reason: "the one that was shown", before: "x", after: "x"},
		{reason: "one is added", after: "y", stay: "y"},
		{reason: "another is added", before: "x", after: "x y", stay: "y"},
		{reason: "one comes for another", before: "x", after: "y", stay: "y"},
		{reason: "all are to be removed, and were shown", policy: remove, before: "x z", after: "x z"},
		{reason: "all are to be removed, and more are added than may go at once", policy: remove, before: "x z", after: "u v x y z", stay: "u v y"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			for _, writes := range []int{0, 1, 2, 3} {
				w := newWorld()
				w.sync(t, newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d"), at("rev1"))
				own := w.list(config)
				set := func(names string) {
					entries := slices.Clone(own)
					for name := range strings.FieldsSeq(names) {
						entries = append(entries, map[string]any{"name": name})
					}
					w.setEntries(config, entries)
				}
				pol := at("rev2")
				if row.policy != nil {
					row.policy(&pol)
				}
				set(row.before)
				pol.Approved = w.compute(newFleet(), pol).Approval
				w.apply(t, w.compute(newFleet(), pol), min(writes, len(w.compute(newFleet(), pol).Before)))
				set(row.after)
				for range 3 {
					w.apply(t, w.compute(newFleet(), pol), all)
				}
				if row.stay == "" {
					if w.AuditConfigs[config] != nil {
						t.Errorf("approved after %d writes, it is still there", writes)
					}
					continue
				}
				for name := range strings.FieldsSeq(row.stay) {
					if w.AuditConfigs[config] == nil || !slices.ContainsFunc(w.list(config), func(entry map[string]any) bool { return entry["name"] == name }) {
						t.Fatalf("after %d writes, %s is gone, which nobody was shown", writes, name)
					}
				}
				pol.Approved = w.compute(newFleet(), pol).Approval
				if w.apply(t, w.compute(newFleet(), pol), all); w.AuditConfigs[config] != nil {
					t.Errorf("approved again after %d writes, it is still there: %s", writes, w.names(t, config))
				}
			}
		})
	}
}

// TestApprovalIsCarriedThrough: what was approved goes although a run was killed in the midst of it, and nothing else does.
func TestApprovalIsCarriedThrough(t *testing.T) {
	both := func(first, second *desired) *desired {
		return newFleet().inGit(config, map[string]any{"a": "b"}).existing("second").and(first.in(config)).and(second.in("second"))
	}
	before := func() *desired {
		return both(newFleet().cluster("1", "a", "b", "c"), newFleet().cluster("1", "d", "e", "f")).secret("s", "1").secret("t", "1")
	}
	after := func() *desired { return both(newFleet().cluster("1", "a"), newFleet().cluster("1", "d")) }
	for steps := range 24 {
		for reason, next := range map[string]func() *desired{
			"the same":        after,
			"more is gone":    func() *desired { return both(newFleet(), newFleet()) },
			"others are gone": func() *desired { return both(newFleet().cluster("1", "b"), newFleet().cluster("1", "e")) },
		} {
			w := newWorld("second")
			w.sync(t, before(), at("rev1"))
			for _, name := range []string{config, "second"} {
				w.setEntries(name, append(w.list(name), map[string]any{"name": "x"}, map[string]any{"name": "y"}))
			}
			pol := at("rev2")
			pol.Foreign, pol.MaxRemovals = plan.RemoveForeign, "1"
			pol.Approved = w.compute(after(), pol).Approval
			w.apply(t, w.compute(after(), pol), steps)
			w.sync(t, next(), pol)
			what := fmt.Sprintf("%s after %d writes", reason, steps)
			got := " " + w.names(t, config) + " " + w.names(t, "second") + " "
			if !strings.Contains(got, " a ") || !strings.Contains(got, " d ") {
				t.Errorf("%s: a or d is gone, which nobody has approved: %s", what, got)
			}
			if reason != "the same" {
				continue
			}
			want(t, what, got, " a d ")
			if names := slices.Sorted(maps.Keys(w.Secrets)); !slices.Equal(names, []string{"mondoo-client-a-kubeconfig", "second-d-kubeconfig"}) {
				t.Errorf("%s: Secrets %v", what, names)
			}
			for _, inv := range w.Inventories {
				if inv.Approved != nil {
					t.Errorf("%s: the inventory of %s still knows of the approval", what, inv.AuditConfig)
				}
			}
		}
	}
}
