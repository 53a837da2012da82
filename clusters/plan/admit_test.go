package plan_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestAdmitted: what is held back, and what only looks as if it had to be.
func TestAdmitted(t *testing.T) {
	base := func() *desired { return newFleet().existing(config).cluster("1", "a") }
	names := func(secret string) func(*fleet.Cluster) {
		return func(c *fleet.Cluster) { c.Entry.PrivateRegistriesPullSecretRef = &mondoo.SecretRef{Name: secret} }
	}
	const made = "change Secret mondoo-client-e-kubeconfig data.kubeconfig metadata.labels.muster.dev/sync metadata.annotations.muster.dev/made-for metadata.annotations.muster.dev/origin"
	for _, row := range []struct {
		reason       string
		live         func(*world)
		next         func() *desired
		steps, codes string
	}{
		{reason: "the Secret made for a cluster that is held back is not written",
			next: func() *desired { return base().cluster("1", "e").edit("e", names("mondoo-client-a-kubeconfig")) }, codes: "secret-of-other"},
		{reason: "a refused Secret that is made for a cluster holds it back, even if its entry doesn't name it", live: func(w *world) { w.Secrets["mondoo-client-e-kubeconfig"] = plan.LiveSecret{Type: "Opaque"} },
			next: func() *desired {
				return base().cluster("1", "e").edit("e", func(c *fleet.Cluster) { c.Entry.KubeconfigSecretRef = &mondoo.SecretRef{Name: "by-hand"} })
			}, codes: "secret-foreign"},
		{reason: "a live Secret whose type isn't known", live: func(w *world) {
			w.Secrets["mondoo-client-e-kubeconfig"] = plan.LiveSecret{Labels: map[string]string{fleet.LabelSync: "gone"}}
		}, next: func() *desired { return base().cluster("1", "e") }, steps: made + "\nadd cluster e"},
		{reason: "a manifest without values, for a Secret that another controller has filled in", live: func(w *world) {
			w.Secrets["filled"] = plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"x": []byte("y")}, Annotations: map[string]string{plan.AdoptAnnotation: "prod"}}
		}, next: func() *desired {
			d := base().secret("filled", "1")
			d.Secrets[1].Data = nil
			return d
		}, steps: "change Secret filled data.x metadata.labels.muster.dev/sync metadata.annotations.muster.dev/origin (takes over a Secret that was made by hand)"},
		{reason: "a token of an AuditSync that is gone", live: func(w *world) {
			w.Secrets["token"] = plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"server": []byte("https://evil")}, Labels: map[string]string{fleet.LabelSync: "gone"}}
		}, next: func() *desired { return base().cluster("1", "e").names("e", "token") }, steps: "add cluster e"},
		{reason: "a token of an AuditSync, in a plan for none", live: func(w *world) {
			*w = *newWorld(config)
			w.Secrets["token"] = plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"server": []byte("https://evil")}, Labels: map[string]string{fleet.LabelSync: "prod"}}
		}, next: func() *desired {
			d := newFleet().existing(config).cluster("1", "e").names("e", "token")
			d.Sync = ""
			return d
		}, steps: "add cluster e"},
	} {
		w := newWorld(config)
		w.sync(t, base(), at("rev1"))
		if row.live != nil {
			row.live(w)
		}
		p := w.compute(row.next(), at("rev2"))
		if got := describe(p); got != row.steps || codes(p) != row.codes {
			t.Errorf("%s: %q, %q", row.reason, got, codes(p))
		}
	}
}

// TestImmutableWithMore: a live immutable Secret has a key that its manifest lacks. If others have added it, that is no difference. If the
// manifest had it before, it is one that can't be applied.
func TestImmutableWithMore(t *testing.T) {
	fleetOf := func(hash string, immutable bool) *desired {
		d := newFleet().existing(config).secret("s", "1")
		d.Secrets[0].Immutable, d.Secrets[0].Hash = immutable, hash
		return d
	}
	for hash, want := range map[string]string{"1": "", "2": "secret-immutable"} {
		w := newWorld(config)
		w.sync(t, fleetOf("1", false), at("rev1"))
		live := w.Secrets["s"]
		live.Immutable, live.Data["more"] = true, []byte("x")
		w.Secrets["s"] = live
		if got := codes(w.compute(fleetOf(hash, true), at("rev2"))); got != want {
			t.Errorf("content %s: %q, want %q", hash, got, want)
		}
	}
}

// TestMovesBetweenConfigs: which clusters leave an audit config because its file is gone.
func TestMovesBetweenConfigs(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	in := func(auditConfig, version string, names ...string) *desired {
		return newFleet().cluster(version, names...).in(auditConfig)
	}

	t.Run("a move between two audit configs in Git needs no approval", func(t *testing.T) {
		w := newWorld()
		both := func(first, second []string) *desired {
			return newFleet().inGit(config, spec).inGit("second", spec).and(in(config, "1", first...)).and(in("second", "1", second...))
		}
		w.sync(t, both([]string{"a", "b"}, []string{"c"}), at("rev1"))
		p := w.sync(t, both([]string{"b"}, []string{"a", "c"}), at("rev2"))
		if p.Held != 0 || w.names(t, config) != "b" || w.names(t, "second") != "a c" {
			t.Errorf("%d held:\n%s", p.Held, describe(p))
		}
	})
	t.Run("nor does one to an audit config that is new in Git", func(t *testing.T) {
		w := newWorld()
		w.sync(t, newFleet().inGit(config, spec).and(in(config, "1", "a", "b")), at("rev1"))
		p := w.sync(t, newFleet().inGit(config, spec).inGit("second", spec).and(in(config, "1", "b")).and(in("second", "1", "a")), at("rev2"))
		if p.Held != 0 || w.names(t, config) != "b" || w.names(t, "second") != "a" {
			t.Errorf("%d held:\n%s", p.Held, describe(p))
		}
	})
	t.Run("nor does one out of an audit config that Muster doesn't apply, or that is deleted", func(t *testing.T) {
		for _, first := range []*desired{newFleet().existing(config), newFleet().inGit(config, spec)} {
			w := newWorld(config, "second")
			w.Secrets[made(config, "a")] = plan.LiveSecret{Type: "Opaque", Annotations: map[string]string{plan.AdoptAnnotation: "prod"}}
			whole := first.AuditConfigs[0].Object != nil
			if whole {
				delete(w.AuditConfigs, config)
			}
			w.sync(t, first.and(in(config, "1", "a")), at("rev1"))
			if whole {
				delete(w.AuditConfigs, config)
			}
			p := w.compute(newFleet().existing("second").and(in("second", "1", "a")), at("rev2"))
			w.apply(t, p, all)
			if w.names(t, "second") != "a" {
				t.Errorf("whole %t, held %d:\n%s", whole, p.Held, describe(p))
			}
		}
	})
	t.Run("a cluster that only shares its name doesn't move", func(t *testing.T) {
		w := newWorld("second")
		w.sync(t, newFleet().inGit(config, spec).existing("second").and(in(config, "1", "a")).and(in("second", "1", "a")), at("rev1"))
		p := w.compute(newFleet().existing("second").and(in("second", "2", "a")), at("rev2"))
		if got := describe(p); !strings.Contains(got, "change Secret second-a-kubeconfig") {
			t.Errorf("it isn't updated where it stays:\n%s", got)
		}
	})
	t.Run("one with an error doesn't move", func(t *testing.T) {
		w := newWorld("second")
		w.sync(t, newFleet().inGit(config, spec).and(in(config, "1", "a")), at("rev1"))
		p := w.compute(newFleet().existing("second").and(in("second", "1", "a")).quarantine("a"), at("rev2"))
		if got := describe(p); !strings.Contains(got, "hold cluster a (it has an error where it moves to)") {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("an approval doesn't depend on the order of the targets", func(t *testing.T) {
		w := newWorld("second", "third")
		w.sync(t, newFleet().inGit(config, spec).and(in(config, "1", "a")), at("rev1"))
		to := func(first, second string) string {
			return w.compute(newFleet().existing("second").existing("third").and(in(first, "1", "a")).and(in(second, "1", "a")), at("rev2")).Approval
		}
		if one, other := to("second", "third"), to("third", "second"); one != other || one == "" {
			t.Errorf("%q, and %q", one, other)
		}
	})
}

// TestReasonsToStay: what looks like a removal, from a synced world of cluster a and Secret s.
func TestReasonsToStay(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	const file = "fleet/" + config + ".yaml"
	whole := func(d *desired) *desired { return d.edit("a", func(c *fleet.Cluster) { c.Origin.Path = file }) }
	for _, row := range []struct {
		reason string
		next   *desired
		steps  string
	}{
		{"a cluster goes from the file of its audit config, which is there", newFleet().inGit(config, spec).secret("s", "1").present(file),
			"remove Secret mondoo-client-a-kubeconfig\nremove cluster a"},
		{"a cluster of the Secret's name is in a file that isn't used", whole(newFleet().inGit(config, spec).cluster("1", "a")).unused("s").present(),
			"remove Secret s"},
		{"a cluster is in a file that isn't used", newFleet().inGit(config, spec).secret("s", "1").unused("a").present(),
			"hold cluster a (its file exists, but no longer contains it)"},
		{"a cluster's audit config isn't known", newFleet().inGit(config, spec).cluster("1", "a").secret("s", "1").quarantine("a").
			edit("a", func(c *fleet.Cluster) { c.AuditConfig = "" }), ""},
	} {
		w := newWorld()
		w.sync(t, whole(newFleet().inGit(config, spec).cluster("1", "a").secret("s", "1")), at("rev1"))
		pol := at("rev2")
		pol.MaxRemovals = "100%"
		if got := describe(w.compute(row.next, pol)); got != row.steps {
			t.Errorf("%s:\n%s\nwant:\n%s", row.reason, got, row.steps)
		}
	}
}

// unused adds the finding about a cluster in a file that isn't used.
func (d *desired) unused(cluster string) *desired {
	d.Report = d.Report.Clone()
	d.Add(finding.Finding{Code: load.CodeUnused, Severity: finding.Info, Cluster: cluster, Path: "fleet/unused/" + cluster + ".yaml", Message: "it isn't used", Fix: "list it"})
	return d
}
