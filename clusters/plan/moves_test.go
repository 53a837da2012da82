package plan_test

import (
	"testing"

	"github.com/muster-gitops/muster/clusters/plan"
)

// TestRetiredConfig: the file of an audit config is gone, and its clusters are in another one now. They stay where they are until its
// removal is approved, and go with it.
func TestRetiredConfig(t *testing.T) {
	in := func(auditConfig string, names ...string) *desired {
		return newFleet().existing(auditConfig).and(newFleet().cluster("1", names...).in(auditConfig))
	}
	retired := func() *desired { return in("second", "a", "b", "c", "d") }
	oneBroken := func() *desired { return retired().quarantine("a") }
	const unapproved = "hold MondooAuditConfig mondoo-client (an audit config is never removed without approval)"
	for _, row := range []struct {
		reason string
		next   func() *desired
		// seen is the fleet whose plan was approved; nil for none.
		seen   func() *desired
		live   func(*world)
		policy func(*plan.Policy)
		// auditConfig is what becomes of the first audit config, and held how many removals wait.
		auditConfig   string
		held          int
		first, second string
	}{
		{reason: "nobody has approved it", next: retired, auditConfig: unapproved, held: 1, first: "a b c d"},
		{reason: "a budget for everything is none for this", next: retired, policy: func(p *plan.Policy) { p.MaxRemovals = "100%" },
			auditConfig: unapproved, held: 1, first: "a b c d"},
		{reason: "a new cluster goes where it belongs", next: func() *desired { return in("second", "a", "b", "c", "d", "e") },
			auditConfig: unapproved, held: 1, first: "a b c d", second: "e"},
		{reason: "approved", next: retired, seen: retired, auditConfig: "remove MondooAuditConfig mondoo-client", second: "a b c d"},
		{reason: "approved for another audit config", next: retired, seen: func() *desired { return in("third", "a", "b", "c", "d") },
			auditConfig: unapproved, held: 1, first: "a b c d"},
		{reason: "approved for fewer", next: retired, seen: func() *desired { return in("second", "a", "b", "c") },
			auditConfig: unapproved, held: 1, first: "a b c d"},
		{reason: "approved while one can't be applied there", next: oneBroken, seen: oneBroken,
			auditConfig: "hold MondooAuditConfig mondoo-client (some of its clusters stay)", first: "a", second: "b c d"},
		{reason: "approved while the other is not there", next: retired, seen: retired, live: func(w *world) { delete(w.AuditConfigs, "second") },
			auditConfig: "hold MondooAuditConfig mondoo-client (some of its clusters stay)", first: "a b c d"},
		{reason: "nothing is pruned", next: retired, policy: func(p *plan.Policy) { p.Prune = false },
			auditConfig: "hold MondooAuditConfig mondoo-client (pruning is off)", first: "a b c d", second: "a b c d"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld("second", "third")
			w.sync(t, newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a", "b", "c", "d"), at("rev1"))
			if row.live != nil {
				row.live(w)
			}
			pol := at("rev2")
			if row.policy != nil {
				row.policy(&pol)
			}
			if row.seen != nil {
				pol.Approved = w.compute(row.seen(), pol).Approval
			}
			p := w.sync(t, row.next(), pol)
			first := plan.Plan{Steps: p.Steps[:1]}
			want(t, "the audit config", describe(&first), row.auditConfig)
			if p.Held != row.held {
				t.Errorf("held: %d", p.Held)
			}
			want(t, "entries", w.names(t, config)+"|"+w.names(t, "second"), row.first+"|"+row.second)
		})
	}
}

// TestRetiredConfigInParts: an approved audit config goes with the last cluster that kept it, and needs no second approval.
func TestRetiredConfigInParts(t *testing.T) {
	w := newWorld("second")
	w.sync(t, newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a", "b"), at("rev1"))
	retired := func() *desired {
		return newFleet().existing("second").and(newFleet().cluster("1", "a", "b").in("second"))
	}
	pol := at("rev2")
	pol.Approved = w.compute(retired(), pol).Approval
	full := w.AuditConfigs["second"]
	delete(w.AuditConfigs, "second")
	w.sync(t, retired(), pol)
	want(t, "entries", w.names(t, config), "a b")
	w.AuditConfigs["second"] = full
	w.sync(t, retired(), pol)
	want(t, "entries", w.names(t, config)+"|"+w.names(t, "second"), "|a b")
	if w.AuditConfigs[config] != nil {
		t.Error("the audit config is still there")
	}
}
