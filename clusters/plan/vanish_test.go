package plan_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestNothingVanishes: what is no longer in the fleet, and of which a file still speaks, stays until somebody says that it may go.
func TestNothingVanishes(t *testing.T) {
	rest := func() *desired { return newFleet().existing(config).cluster("1", "b", "c", "d", "e") }
	warned := func(d *desired, f finding.Finding) *desired {
		d.Report = d.Report.Clone()
		f.Severity = finding.Warning
		d.Add(f)
		return d
	}
	for _, row := range []struct {
		reason       string
		next         func() *desired
		steps, codes string
	}{
		{"its file is gone", rest, "remove Secret mondoo-client-a-kubeconfig\nremove cluster a", ""},
		{"its file has an error", func() *desired { return rest().broken("fleet/a.yaml") }, "hold cluster a (its file has an error)", ""},
		{"its file can't be read, of which a warning tells", func() *desired {
			d := warned(rest().present("fleet/a.yaml"), finding.Finding{Code: "test", Path: "fleet/a.yaml"})
			d.Broken = map[string]bool{"fleet/a.yaml": true}
			return d
		}, "hold cluster a (its file exists, but no longer contains it)", "removals-held"},
		{"a file that isn't taken for its name holds it", func() *desired {
			return warned(rest(), finding.Finding{Code: load.CodeUnused, Cluster: "a", Path: "fleet/a.YAML"})
		}, "hold cluster a (its file exists, but no longer contains it)", "unused removals-held"},
		{"such a file holds another", func() *desired {
			return warned(rest(), finding.Finding{Code: load.CodeUnused, Cluster: "x", Path: "fleet/x.YAML"})
		}, "remove Secret mondoo-client-a-kubeconfig\nremove cluster a", "unused"},
		{"another warning names it", func() *desired {
			return warned(rest(), finding.Finding{Code: "test", Cluster: "a", Path: "fleet/x.yaml"})
		}, "remove Secret mondoo-client-a-kubeconfig\nremove cluster a", ""},
	} {
		w := newWorld(config)
		w.sync(t, rest().cluster("1", "a"), at("rev1"))
		p := w.compute(row.next(), at("rev2"))
		want(t, row.reason+": steps", describe(p), row.steps)
		want(t, row.reason+": codes", codes(p), row.codes)
		if !strings.HasSuffix(row.codes, "removals-held") {
			continue
		}
		pol := at("rev2")
		pol.Approved = p.Approval
		w.sync(t, row.next(), pol)
		want(t, row.reason+": approved", w.names(t, config), "b c d e")
	}
}

// TestEmptiedSecret: a Secret that was applied with values is not left without any because its manifest holds nothing now. One that never
// had any is somebody else's to fill in.
func TestEmptiedSecret(t *testing.T) {
	with := func(version string) *desired { return newFleet().existing(config).secret("s", version) }
	empty := func(version string) *desired {
		d := with(version)
		d.Secrets[0].Data = nil
		return d
	}
	w := newWorld(config)
	w.sync(t, with("1"), at("rev1"))
	for range 2 { // it is refused for as long as it is so
		p := w.compute(empty("2"), at("rev2"))
		want(t, "emptied", codes(p), "secret-emptied")
		w.apply(t, p, all)
		want(t, "the value", string(w.Secrets["s"].Data["a"]), "1")
	}
	w.sync(t, with("3"), at("rev3"))
	want(t, "another value", string(w.Secrets["s"].Data["a"]), "3")
	w.sync(t, newFleet().existing(config), at("rev4"))
	if _, there := w.Secrets["s"]; there {
		t.Error("a manifest that is gone leaves its Secret")
	}
	w.sync(t, empty("1"), at("rev5"))
	filled := w.Secrets["s"]
	filled.Data = map[string][]byte{"a": []byte("theirs")}
	w.Secrets["s"] = filled
	if p := w.compute(empty("1"), at("rev6")); codes(p) != "" {
		t.Errorf("filled in by somebody else: %s", codes(p))
	}
}

// TestDriftIsOnlyReported: where drift is to be reported, what somebody has changed is told of and stays, in a Secret as in an entry; what
// Git changes is applied all the same.
func TestDriftIsOnlyReported(t *testing.T) {
	first := func() *desired { return newFleet().existing(config).cluster("1", "a", "b").secret("s", "1") }
	report := func(revision string) plan.Policy {
		p := at(revision)
		p.CorrectDrift = false
		return p
	}
	w := newWorld(config)
	w.sync(t, first(), report("rev1"))
	changed := w.Secrets["s"]
	changed.Data = map[string][]byte{"a": []byte("by hand")}
	w.Secrets["s"] = changed
	w.entry(config, "a")["schedule"] = "1 1 * * *"
	p := w.compute(first(), report("rev1"))
	if len(p.Secrets)+len(p.Configs) > 0 || !strings.Contains(describe(p), "change Secret s drift") || !strings.Contains(describe(p), "change cluster a drift") {
		t.Errorf("%d Secrets and %d audit configs are written:\n%s", len(p.Secrets), len(p.Configs), describe(p))
	}
	if p := w.compute(first(), at("rev1")); len(p.Secrets) != 1 || len(p.Configs) != 1 {
		t.Errorf("to be corrected, %d Secrets and %d audit configs are written:\n%s", len(p.Secrets), len(p.Configs), describe(p))
	}
	next := func() *desired {
		return newFleet().existing(config).cluster("1", "a").cluster("2", "b").secret("s", "2").edit("b", func(c *fleet.Cluster) { c.Entry.Schedule = "2 2 * * *" })
	}
	p = w.compute(next(), report("rev2"))
	if len(p.Secrets) == 0 || len(p.Configs) != 1 {
		t.Errorf("a change of Git: %d Secrets and %d audit configs are written:\n%s", len(p.Secrets), len(p.Configs), describe(p))
	}
}

// TestWhatIsKnownOfSecrets: a preview takes over what somebody lets any AuditSync take, and nothing else; a manifest says which server its
// token is for, and not the Secret that it replaces; and whom a Secret was made for is known when only the inventory tells.
func TestWhatIsKnownOfSecrets(t *testing.T) {
	base := func() *desired { return newFleet().existing(config).cluster("1", "e") }
	manifest := func(server string) *desired {
		d := base().names("e", "s").secret("s", "1")
		d.Secrets[len(d.Secrets)-1].Data = map[string]string{"token": "t", "server": server, "ca.crt": "c"}
		return d
	}
	for _, row := range []struct {
		reason string
		sync   string
		live   func(*world)
		next   func() *desired
		codes  string
	}{
		{"made by hand, in a preview", "", func(w *world) { w.Secrets["s"] = plan.LiveSecret{Type: "Opaque"} }, func() *desired { return base().secret("s", "1") }, "secret-foreign"},
		{"for somebody to take over, in a preview", "", func(w *world) {
			w.Secrets["s"] = plan.LiveSecret{Type: "Opaque", Annotations: map[string]string{plan.AdoptAnnotation: "some"}}
		}, func() *desired { return base().secret("s", "1") }, ""},
		{"the server of the manifest is the entry's", "prod", func(w *world) {
			w.Secrets["s"] = plan.LiveSecret{Type: "Opaque", Annotations: map[string]string{plan.AdoptAnnotation: "prod"}, Data: map[string][]byte{"token": []byte("t"), "server": []byte("https://before")}}
		}, func() *desired { return manifest("https://evil") }, ""},
		{"only the inventory knows whom it was made for", "prod", func(w *world) {
			w.Secrets["s"] = plan.LiveSecret{Type: "Opaque"}
			w.Inventories = append(w.Inventories, &inventory.Inventory{Sync: "prod", Secrets: []inventory.Item{{Name: "s", Hash: "h", MadeFor: inventory.Cluster{AuditConfig: config, Name: "gone"}}}})
		}, func() *desired { return base().names("e", "s") }, "secret-of-other"},
	} {
		w := newWorld(config)
		row.live(w)
		d := row.next()
		d.Sync = row.sync
		want(t, row.reason, codes(w.compute(d, at("rev1"))), row.codes)
	}
}
