package plan_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
)

// meta sets a label or an annotation of a live audit config.
func (w *world) meta(field, key, value string) {
	w.AuditConfigs[config]["metadata"].(map[string]any)[field] = map[string]any{key: value}
}

func errorsOf(p *plan.Plan) string {
	var list []string
	for _, f := range p.Findings {
		if f.Severity == finding.Error {
			list = append(list, string(f.Code))
		}
	}
	return strings.Join(list, " ")
}

// TestAdoption: an audit config that was made by hand is taken over as a whole only when it says so.
func TestAdoption(t *testing.T) {
	inGit := func() *desired {
		return newFleet().inGit(config, map[string]any{"spaceId": "canary-git"}).cluster("1", "a")
	}
	for _, row := range []struct {
		reason string
		live   func(*world)
		want   string
	}{
		{"made by hand", nil, string(plan.CodeConfigForeign)},
		{"annotated", func(w *world) { w.meta("annotations", plan.AdoptAnnotation, "prod") }, ""},
		{"annotated for another AuditSync", func(w *world) { w.meta("annotations", plan.AdoptAnnotation, "other") }, string(plan.CodeConfigForeign)},
		{"its list was Muster's before", func(w *world) { w.sync(t, newFleet().existing(config).cluster("1", "a"), policy()) }, string(plan.CodeConfigForeign)},
		{"its list was Muster's before, and it is annotated", func(w *world) {
			w.sync(t, newFleet().existing(config).cluster("1", "a"), policy())
			w.meta("annotations", plan.AdoptAnnotation, "prod")
		}, ""},
		{"applied as a whole before, and the inventory is lost", func(w *world) { w.meta("labels", fleet.LabelSync, "prod") }, ""},
		{"applied by an AuditSync that is gone", func(w *world) { w.meta("labels", fleet.LabelSync, "gone") }, ""},
		{"applied by another AuditSync", func(w *world) { w.Syncs["other"] = true; w.meta("labels", fleet.LabelSync, "other") }, string(plan.CodeConfigOwned)},
	} {
		w := newWorld(config)
		w.AuditConfigs[config]["spec"].(map[string]any)["spaceId"] = "canary-live"
		if row.live != nil {
			row.live(w)
		}
		p := w.compute(inGit(), at("rev1"))
		if got := errorsOf(p); got != row.want {
			t.Errorf("%s: %q, want %q", row.reason, got, row.want)
		}
		if row.want == "" {
			continue
		}
		if len(p.Configs)+len(p.Secrets)+len(p.Delete.Secrets)+len(p.Delete.AuditConfigs)+len(p.Before)+len(p.After) > 0 || len(p.Refused) != 1 {
			t.Errorf("%s: something is written\n%s", row.reason, describe(p))
		}
		if row.want != string(plan.CodeConfigForeign) {
			continue
		}
		for _, f := range p.Findings {
			if f.Code == plan.CodeConfigForeign && (!strings.Contains(f.Message, "would change spec.spaceId") || strings.Contains(f.Message, "canary") || !strings.Contains(f.Fix, "muster.dev/adopt=prod")) {
				t.Errorf("%s: %s", row.reason, f)
			}
		}
	}
}

// TestAdoptedStays: once it is taken over, the annotation isn't needed any more, and a new file changes the audit config.
func TestAdoptedStays(t *testing.T) {
	w := newWorld(config)
	w.meta("annotations", plan.AdoptAnnotation, "prod")
	w.sync(t, newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a"), at("rev1"))
	delete(w.AuditConfigs[config]["metadata"].(map[string]any)["annotations"].(map[string]any), plan.AdoptAnnotation)
	p := w.sync(t, newFleet().inGit(config, map[string]any{"spaceId": "y"}).cluster("1", "a"), at("rev2"))
	if got := errorsOf(p); got != "" {
		t.Error(got)
	}
}

// TestNothingMovesIntoRefused: clusters don't leave an audit config for one that can't be changed.
func TestNothingMovesIntoRefused(t *testing.T) {
	w := newWorld(config, "second")
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b"), at("rev1"))
	for _, refuse := range []func(*desired){
		func(d *desired) { d.inGit("second", map[string]any{"spaceId": "x"}) },
		func(d *desired) {
			d.existing("second")
			w.AuditConfigs["second"]["spec"].(map[string]any)["remoteManaged"] = true
		},
	} {
		moved := newFleet().existing(config)
		refuse(moved)
		moved.cluster("1", "a", "b").edit("a", func(c *fleet.Cluster) { c.AuditConfig = "second" })
		for i := range moved.Secrets {
			if moved.Secrets[i].Cluster == "a" {
				moved.Secrets[i].AuditConfig = "second"
			}
		}
		w.apply(t, w.compute(moved, at("rev2")), all)
		want(t, "entries", w.names(t, config), "a b")
	}
}

// TestRemoteManaged: where Mondoo's console replaces the list, nothing is applied, and nothing passes for applied.
func TestRemoteManaged(t *testing.T) {
	for _, fleetOf := range []func() *desired{
		func() *desired { return newFleet().existing(config).cluster("1", "a") },
		func() *desired {
			return newFleet().inGit(config, map[string]any{"remoteManaged": false}).cluster("1", "a")
		},
	} {
		w := newWorld(config)
		w.meta("annotations", plan.AdoptAnnotation, "prod")
		w.AuditConfigs[config]["spec"].(map[string]any)["remoteManaged"] = true
		p := w.compute(fleetOf(), at("rev1"))
		if got := errorsOf(p); got != "remote-managed" || !p.Empty() || len(p.Refused) != 1 {
			t.Errorf("%q\n%s", got, describe(p))
		}
		w.AuditConfigs[config]["spec"].(map[string]any)["remoteManaged"] = false
		if p := w.compute(fleetOf(), at("rev1")); errorsOf(p) != "" || len(p.Configs) != 1 {
			t.Errorf("turned off: %s", describe(p))
		}
	}
}

// TestAuditConfigNamesReserved: what AuditSyncs use is in no audit config from Git.
func TestAuditConfigNamesReserved(t *testing.T) {
	ref := func(name string) map[string]any { return map[string]any{"name": name} }
	deep := func(name string) map[string]any {
		return map[string]any{"scanner": map[string]any{"env": []any{map[string]any{"name": "A", "valueFrom": map[string]any{"secretKeyRef": ref(name)}}}}}
	}
	for _, row := range []struct {
		reason string
		spec   map[string]any
		want   string
	}{
		{"SOPS keys", map[string]any{"mondooCredsSecretRef": ref("sops-age")}, "secret-reserved"},
		{"SOPS keys in an environment", deep("sops-age"), "secret-reserved"},
		{"another one", deep("other"), ""},
	} {
		w := newWorld()
		w.Reserved = map[string]string{"sops-age": "the AuditSync prod"}
		p := w.compute(newFleet().inGit(config, row.spec).cluster("1", "a"), at("rev1"))
		if got := errorsOf(p); got != row.want || (row.want == "") != (len(p.Configs) == 1) {
			t.Errorf("%s: %q\n%s", row.reason, got, describe(p))
		}
	}
}

// TestRemovalTellsOfTheIntegration: whoever approves the removal of an audit config is told what goes with it at Mondoo.
func TestRemovalTellsOfTheIntegration(t *testing.T) {
	for _, row := range []struct {
		policy any
		mrn    string
		want   string
	}{
		{"Delete", "//integration/1", "removing it also deletes its integration at Mondoo"},
		{nil, "//integration/1", "removing it also deletes its integration at Mondoo"},
		{"Delete", "", "if the operator made its integration at Mondoo, removing it deletes that too"},
		{"Retain", "//integration/1", ""},
		{nil, "", ""},
	} {
		w := newWorld()
		w.sync(t, newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a"), at("rev1"))
		if row.policy != nil {
			w.AuditConfigs[config]["spec"].(map[string]any)["consoleIntegration"] = map[string]any{"deletionPolicy": row.policy}
		}
		w.AuditConfigs[config]["status"] = map[string]any{"integrationMRN": row.mrn}
		p := w.compute(newFleet(), at("rev2"))
		var text string
		for _, f := range p.Findings {
			if f.Code == plan.CodeHeld {
				text += f.Message
			}
		}
		if !strings.Contains(text, "stays until its removal is approved") || strings.Contains(text, "integration") != (row.want != "") || !strings.Contains(text, row.want) {
			t.Errorf("%+v: %q", row, text)
		}
	}
}
