package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

const creds = "creds"

// withCredentials is a world whose Secrets are all known, with Mondoo's credentials among them.
func withCredentials(configs ...string) *world {
	w := newWorld(configs...)
	w.EverySecret = true
	w.put(creds, map[string]string{"config": `{"mrn":"x"}`})
	return w
}

// put makes a Secret, or makes it anew.
func (w *world) put(name string, data map[string]string) {
	w.version++
	version := strings.Repeat("v", w.version)
	w.Secrets[name] = plan.LiveSecret{Version: plan.Version{UID: version, ResourceVersion: version}, Data: bytesOf(data)}
}

// vault adds a cluster that reads its credentials from Vault.
func (d *desired) vault(name string, auth mondoo.VaultAuth) *desired {
	auth.Server, auth.VaultAddr, auth.AuthRole, auth.CredsRole = "https://x.example.com", "https://vault.example.com", "a", "c"
	d.Clusters = append(d.Clusters, fleet.Cluster{Name: name, AuditConfig: config, Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"},
		Entry: mondoo.Entry{Name: name, VaultAuth: &auth}, Hash: "1"})
	return d
}

func (d *desired) config() *desired {
	return d.inGit(config, map[string]any{"mondooCredsSecretRef": map[string]any{"name": creds}})
}

// TestMissingVaultCA: the operator stops at a cluster whose Vault CA is missing, so such a cluster waits for it, and no other one does.
func TestMissingVaultCA(t *testing.T) {
	for reason, auth := range map[string]mondoo.VaultAuth{
		"Vault's CA":      {CACertSecretRef: &mondoo.SecretRef{Name: "ca"}},
		"the target's CA": {TargetCACertSecretRef: &mondoo.SecretRef{Name: "ca"}},
	} {
		for what, data := range map[string]map[string]string{"is missing": nil, "has no ca.crt": {"tls.crt": "x"}} {
			w := withCredentials()
			if data != nil {
				w.put("ca", data)
			}
			fleet := newFleet().config().cluster("1", "a").vault("v", auth)
			p := w.sync(t, fleet, at("1"))
			want(t, reason+" "+what, w.names(t, config)+": "+codes(p), "a: secret-missing")
			if f := p.Findings[len(p.Findings)-1]; f.Severity != finding.Error || f.Cluster != "v" || p.Applied != 1 || p.LeftOut != 1 || !slices.Contains(p.Outside, "ca") {
				t.Errorf("%s %s: %+v, %d applied, %d left out, outside: %q", reason, what, f, p.Applied, p.LeftOut, p.Outside)
			}
			w.put("ca", map[string]string{"ca.crt": "x"})
			p = w.sync(t, fleet, at("1"))
			want(t, reason+" is there", w.names(t, config)+": "+codes(p), "a v: ")
		}
	}
	w := withCredentials()
	own := newFleet().config().vault("v", mondoo.VaultAuth{CACertSecretRef: &mondoo.SecretRef{Name: "ca"}}).secret("ca", "1")
	p := w.sync(t, own, at("1"))
	want(t, "a CA from Git", w.names(t, config)+": "+codes(p), "v: ")
	if !slices.Equal(p.Outside, []string{creds}) {
		t.Errorf("from elsewhere are %q", p.Outside)
	}
}

// TestWake: the operator doesn't watch the Secrets that it reads. It is woken when one has changed that it may wait for.
func TestWake(t *testing.T) {
	ca := mondoo.VaultAuth{CACertSecretRef: &mondoo.SecretRef{Name: "ca"}}
	inGit := func() *desired { return newFleet().config().cluster("1", "a").vault("v", ca) }
	for _, row := range []struct {
		reason string
		fleet  func() *desired
		// change is what happens to the Secrets after the fleet was applied.
		change func(*world)
		wakes  bool
	}{
		{"nothing", inGit, func(*world) {}, false},
		{"another CA", inGit, func(w *world) { w.put("ca", map[string]string{"ca.crt": "y"}) }, true},
		{"other credentials", inGit, func(w *world) { w.put(creds, map[string]string{"config": "{}"}) }, true},
		{"a Secret that a Pod mounts", inGit, func(w *world) { w.put("pull", map[string]string{"x": "y"}) }, false},
		{"credentials are gone", inGit, func(w *world) { delete(w.Secrets, creds) }, false},
		{"a CA is gone", inGit, func(w *world) { delete(w.Secrets, "ca") }, false},
		{"an audit config from elsewhere", func() *desired { return newFleet().existing(config).cluster("1", "a").vault("v", ca) },
			func(w *world) { w.put("ca", map[string]string{"ca.crt": "y"}) }, true},
		{"not all Secrets are known", inGit, func(w *world) { w.put("ca", nil); w.EverySecret = false }, false},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := withCredentials(config)
			if row.fleet().AuditConfigs[0].Object != nil {
				delete(w.AuditConfigs, config)
			}
			w.put("ca", map[string]string{"ca.crt": "x"})
			w.sync(t, row.fleet(), at("1"))
			w.operator(t)
			row.change(w)
			p := w.compute(row.fleet(), at("1"))
			if woken(p) != row.wakes || row.wakes != (len(p.Steps) == 1) {
				t.Fatalf("woken: %t, want %t; steps:\n%s", woken(p), row.wakes, describe(p))
			}
			w.apply(t, p, all)
			if again := w.compute(row.fleet(), at("1")); !again.Empty() {
				t.Errorf("and once more:\n%s", describe(again))
			}
		})
	}
	// What comes back as it was has changed all the same: the operator may wait since it was gone.
	w := withCredentials()
	w.put("ca", map[string]string{"ca.crt": "x"})
	w.sync(t, inGit(), at("1"))
	kept := w.Secrets["ca"]
	delete(w.Secrets, "ca")
	if p := w.sync(t, inGit(), at("1")); woken(p) {
		t.Error("woken for nothing to find")
	}
	w.Secrets["ca"] = kept
	if p := w.sync(t, inGit(), at("1")); !woken(p) {
		t.Error("not woken for a Secret that came back")
	}
	// An inventory of an older version knows nothing of it.
	for _, inv := range w.Inventories {
		inv.Reads = ""
	}
	if p := w.sync(t, inGit(), at("1")); woken(p) {
		t.Error("woken by an upgrade of Muster")
	}
}

// woken says whether a plan changes the annotation, and only writes what it would write anyway.
func woken(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Configs, func(c plan.ConfigWrite) bool {
		return mondoo.TextAt(c.Object, "metadata", "annotations", fleet.AnnotationReads) != ""
	})
}

// TestMondooCredentials: without them the operator makes nothing, and says nothing.
func TestMondooCredentials(t *testing.T) {
	for _, row := range []struct {
		reason, data string
		spec         map[string]any
		warned       bool
	}{
		{"JSON", `{"mrn":"x"}`, nil, false},
		{"JSON for a space", `{"mrn":"x"}`, map[string]any{"spaceId": "s"}, false},
		{"no JSON", "x", nil, false},
		{"no JSON for a space", "x", map[string]any{"spaceId": "s"}, true},
		{"empty", "", nil, true},
		{"missing", "-", nil, true},
		{"made from a token", "-", map[string]any{"mondooTokenSecretRef": map[string]any{"name": "token"}}, false},
		{"made from no token", "-", map[string]any{"mondooTokenSecretRef": map[string]any{"name": ""}}, true},
	} {
		for _, git := range []bool{true, false} {
			w := withCredentials()
			delete(w.Secrets, creds)
			if row.data != "-" {
				w.put(creds, map[string]string{"config": row.data})
			}
			spec := map[string]any{"mondooCredsSecretRef": map[string]any{"name": creds}}
			maps.Copy(spec, row.spec)
			fleet := newFleet().existing(config)
			if git {
				fleet = newFleet().inGit(config, spec)
			} else {
				w.AuditConfigs[config] = map[string]any{"metadata": map[string]any{"name": config}, "spec": spec}
			}
			p := w.sync(t, fleet.cluster("1", "a"), at("1"))
			if got := codes(p); got != "" && !row.warned || got != "mondoo-credentials" && row.warned {
				t.Errorf("%s, in Git: %t: %q", row.reason, git, got)
			}
			if w.names(t, config) != "a" {
				t.Errorf("%s: a warning keeps clusters back", row.reason)
			}
		}
	}
}

// TestLiveAuditConfigs: one bad duration in any audit config stops the operator for all, wherever it comes from.
func TestLiveAuditConfigs(t *testing.T) {
	w := withCredentials(config, "other")
	set := func(name, field string, value any) {
		w.AuditConfigs[name]["spec"].(map[string]any)["kubernetesResources"] = map[string]any{field: value}
	}
	set("other", "activeDeadline", "1d")
	set(config, "resourceWatcher", map[string]any{"debounceInterval": "10"})
	w.AuditConfigs["other"]["spec"].(map[string]any)["ofANewerOperator"] = true
	p := w.compute(newFleet().existing(config).cluster("1", "a"), at("1"))
	want(t, "findings", codes(p), "audit-config-field audit-config-field")
	if f := p.Findings[1]; f.Severity != finding.Warning || !strings.Contains(f.Message, "the audit config other of the management cluster, spec.kubernetesResources.activeDeadline is not a duration") {
		t.Errorf("%+v", f)
	}
	if p := w.compute(newFleet().config().cluster("1", "a"), at("1")); strings.Contains(p.Findings[0].Message, config+" of the") {
		t.Errorf("what Git replaces is judged: %+v", p.Findings)
	}
}
