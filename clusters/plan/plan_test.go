package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

const (
	namespace = "mondoo-operator"
	config    = "mondoo-client"
)

// desired is a fleet in the making.
type desired struct{ fleet.Opened }

func newFleet() *desired {
	return &desired{fleet.Opened{Namespace: namespace, Sync: "prod"}}
}

// existing names an audit config that Muster does not apply itself.
func (d *desired) existing(name string) *desired {
	d.AuditConfigs = append(d.AuditConfigs, fleet.AuditConfig{Name: name})
	return d
}

// inGit adds an audit config that Muster applies as a whole.
func (d *desired) inGit(name string, spec map[string]any) *desired {
	d.AuditConfigs = append(d.AuditConfigs, fleet.AuditConfig{Name: name, Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"},
		Object: map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": name}, "spec": spec}})
	return d
}

// cluster adds clusters with a kubeconfig each, whose content is the version.
func (d *desired) cluster(version string, names ...string) *desired {
	for _, name := range names {
		secret := made(config, name)
		d.Clusters = append(d.Clusters, fleet.Cluster{Name: name, AuditConfig: config, Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"},
			Entry: mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: secret}}, Secrets: []string{secret}, Hash: "hash-" + version})
		d.Secrets = append(d.Secrets, fleet.Secret{Name: secret, Type: "Opaque", Data: map[string]string{"kubeconfig": "secret-" + version},
			Cluster: name, AuditConfig: config, Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"}, Hash: "secret-" + version})
	}
	return d
}

// made is the name of the Secret that is made for a cluster, without a hash: a plan doesn't look at its form.
func made(auditConfig, cluster string) string { return auditConfig + "-" + cluster + "-kubeconfig" }

// secret adds a Secret of its own.
func (d *desired) secret(name, version string) *desired {
	d.Secrets = append(d.Secrets, fleet.Secret{Name: name, Type: "Opaque", Data: map[string]string{"a": version},
		Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"}, Hash: version})
	return d
}

func (d *desired) edit(name string, change func(*fleet.Cluster)) *desired {
	for i := range d.Clusters {
		if d.Clusters[i].Name == name {
			change(&d.Clusters[i])
		}
	}
	return d
}

func (d *desired) quarantine(name string) *desired {
	for i := range d.Secrets {
		d.Secrets[i].Quarantined = d.Secrets[i].Quarantined || d.Secrets[i].Cluster == name
	}
	return d.broken("fleet/"+name+".yaml").edit(name, func(c *fleet.Cluster) { c.Quarantined, c.Entry = true, mondoo.Entry{} })
}

func (d *desired) broken(path string) *desired {
	d.Report = d.Report.Clone()
	d.Reject(finding.Finding{Code: "test", Path: path})
	return d
}

// present says which files of what was applied are there, next to those of the fleet.
func (d *desired) present(paths ...string) *desired {
	d.Present = map[string]bool{}
	for _, c := range d.Clusters {
		d.Present[c.Origin.Path] = true
	}
	for _, s := range d.Secrets {
		d.Present[s.Origin.Path] = true
	}
	for _, path := range paths {
		d.Present[path] = true
	}
	return d
}

// world is a management cluster.
type world struct {
	plan.Live
	version int
}

func newWorld(configs ...string) *world {
	w := &world{Live: plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{}, Syncs: map[string]bool{"prod": true}}}
	for _, name := range configs {
		w.AuditConfigs[name] = map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
			"metadata": map[string]any{"name": name, "namespace": namespace, "resourceVersion": "1"},
			"spec":     map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"}}}
	}
	return w
}

func clone[T any](t testing.TB, v T) T {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// apply carries out a plan, or its first steps alone, as a server would.
func (w *world) apply(t *testing.T, p *plan.Plan, steps int) {
	t.Helper()
	var todo []func()
	for _, i := range p.Before {
		todo = append(todo, func() { w.inventory(t, i) })
	}
	for _, s := range p.Secrets {
		todo = append(todo, func() {
			live := w.Secrets[s.Name]
			w.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Data: bytesOf(s.Data), Labels: merged(live.Labels, s.Labels), Annotations: merged(live.Annotations, s.Annotations)}
		})
	}
	for _, c := range p.Configs {
		todo = append(todo, func() { w.config(t, c) })
	}
	for _, name := range p.Delete.Secrets {
		todo = append(todo, func() { delete(w.Secrets, name.Name) })
	}
	for _, gone := range p.Delete.AuditConfigs {
		todo = append(todo, func() { delete(w.AuditConfigs, gone.Name) })
	}
	for _, i := range p.After {
		todo = append(todo, func() { w.inventory(t, i) })
	}
	for i, do := range todo {
		if i == steps {
			return
		}
		do()
	}
}

const all = 1 << 20

func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func (w *world) config(t testing.TB, c plan.ConfigWrite) {
	t.Helper()
	live := w.AuditConfigs[c.Name]
	if live == nil && c.ResourceVersion != "" {
		t.Errorf("%s has a resourceVersion and does not exist", c.Name)
	}
	object := clone(t, c.Object)
	if spec, _ := object["spec"].(map[string]any); len(spec) == 1 && live != nil { // the list alone
		entries, err := mondoo.Entries(object)
		if err != nil {
			t.Fatal(err)
		}
		object = clone(t, live)
		if err := mondoo.SetEntries(object, entries); err != nil {
			t.Fatal(err)
		}
	}
	w.version++
	object["metadata"].(map[string]any)["resourceVersion"] = fmt.Sprint(w.version)
	w.AuditConfigs[c.Name] = object
}

func (w *world) inventory(t testing.TB, i *inventory.Inventory) {
	t.Helper()
	data, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := inventory.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	w.Inventories = slices.DeleteFunc(slices.Clone(w.Inventories), func(j *inventory.Inventory) bool { return j.Sync == i.Sync && j.AuditConfig == i.AuditConfig })
	if !stored.Empty() {
		w.Inventories = append(w.Inventories, stored)
	}
}

// operator does what the Mondoo Operator does to its objects: a finalizer, defaults, and the canonical form of entries.
func (w *world) operator(t *testing.T) {
	t.Helper()
	for name, object := range w.AuditConfigs {
		object = clone(t, object)
		meta, spec := object["metadata"].(map[string]any), object["spec"].(map[string]any)
		meta["finalizers"] = []any{"k8s.mondoo.com/delete"}
		meta["generation"], meta["uid"], meta["managedFields"] = float64(7), "x", []any{}
		spec["nodes"] = map[string]any{"schedule": "5 * * * *"}
		spec["filtering"] = map[string]any{"namespaces": map[string]any{}}
		resources := spec["kubernetesResources"].(map[string]any)
		resources["resourceWatcher"] = map[string]any{}
		for _, item := range resources["externalClusters"].([]any) {
			entry := item.(map[string]any)
			if f, ok := entry["filtering"].(map[string]any); ok && f["namespaces"] == nil {
				f["namespaces"] = map[string]any{}
			}
			if v, ok := entry["vaultAuth"].(map[string]any); ok {
				v["authPath"], v["secretsPath"] = "auth/kubernetes", "kubernetes"
			}
			if entry["privateRegistriesPullSecretRef"] == nil {
				entry["privateRegistriesPullSecretRef"] = map[string]any{}
			}
		}
		object["status"] = map[string]any{"scanningPaused": false}
		w.AuditConfigs[name] = object
	}
}

func policy() plan.Policy {
	return plan.Policy{Revision: "rev1", Prune: true, Foreign: plan.KeepForeign, CorrectDrift: true}
}

func at(revision string) plan.Policy {
	p := policy()
	p.Revision = revision
	return p
}

func (w *world) compute(d *desired, p plan.Policy) *plan.Plan {
	return plan.Compute(&d.Opened, w.Live, p)
}

// sync applies a fleet, and checks that there is nothing left to do afterwards.
func (w *world) sync(t *testing.T, d *desired, p plan.Policy) *plan.Plan {
	t.Helper()
	done := w.compute(d, p)
	if next := plan.Compute(&d.Opened, plan.Outcome(w.Live, done), p); !next.Empty() {
		t.Errorf("in the outcome, it is not done:\n%s", describe(next))
	}
	w.apply(t, done, all)
	if again := w.compute(d, p); !again.Empty() {
		t.Errorf("applied once, it is not done:\n%s", describe(again))
	}
	return done
}

// describe lists steps as "action kind name (reason)", with "drift" where it is.
func describe(p *plan.Plan) string {
	var lines []string
	for _, s := range p.Steps {
		line := string(s.Action) + " " + s.Kind + " " + s.Name
		if s.Drift {
			line += " drift"
		}
		for _, f := range s.Fields {
			line += " " + f.Path
		}
		if s.Reason != "" {
			line += " (" + string(s.Reason) + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (w *world) names(t *testing.T, config string) string {
	t.Helper()
	entries, err := mondoo.Entries(w.AuditConfigs[config])
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, fmt.Sprint(e["name"]))
	}
	return strings.Join(names, " ")
}

func codes(p *plan.Plan) string {
	var list []string
	for _, f := range p.Findings {
		if f.Code != "test" {
			list = append(list, string(f.Code))
		}
	}
	return strings.Join(list, " ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

// TestSteps: one change at a time, from a synced world.
func TestSteps(t *testing.T) {
	spec := func() map[string]any { return map[string]any{"spaceId": "x", "annotations": map[string]any{"a": "b"}} }
	base := func() *desired {
		return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c", "d").secret("s", "1")
	}
	for _, row := range []struct {
		reason string
		// live changes the world after base was applied, next is the fleet after base.
		live   func(*world)
		next   func() *desired
		policy func(*plan.Policy)
		// approved: somebody has seen what is held, and approved it.
		approved bool
		steps    string
		codes    string
		names    string
		held     int
		// unstable: applying does not lead to a world without anything to do.
		unstable bool
	}{
		{reason: "nothing", names: "a b c d"},
		{reason: "a cluster more", next: func() *desired { return base().cluster("1", "e") }, names: "a b c d e",
			steps: "add Secret mondoo-client-e-kubeconfig\nadd cluster e"},
		{reason: "another credential", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").cluster("2", "d").secret("s", "1")
		}, names: "a b c d", steps: "change Secret mondoo-client-d-kubeconfig data.kubeconfig"},
		{reason: "another field", next: func() *desired {
			return base().edit("a", func(c *fleet.Cluster) { c.Entry.Schedule, c.Hash = "1 * * * *", "2" })
		}, names: "a b c d", steps: "change cluster a schedule"},
		{reason: "another method", next: func() *desired {
			d := base().edit("a", func(c *fleet.Cluster) {
				c.Entry = mondoo.Entry{Name: "a", KubeconfigSecretRef: &mondoo.SecretRef{Name: "elsewhere"}}
				c.Secrets, c.Hash = nil, "2"
			})
			d.Secrets = d.Secrets[1:]
			return d
		}, names: "a b c d", steps: "remove Secret mondoo-client-a-kubeconfig (its cluster no longer needs it)\nchange cluster a kubeconfigSecretRef.name"},
		{reason: "a file has another name", next: func() *desired {
			return base().edit("a", func(c *fleet.Cluster) { c.Origin.Path = "fleet/eu/a.yaml" })
		}, names: "a b c d", steps: "move cluster a (was fleet/a.yaml)"},
		{reason: "a cluster less", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1") },
			names: "a b c", steps: "remove Secret mondoo-client-d-kubeconfig\nremove cluster d"},
		{reason: "two clusters less are over the budget", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b").secret("s", "1") },
			names: "a b c d", steps: "hold cluster c (over the removal budget)\nhold cluster d (over the removal budget)", codes: "removals-held", held: 2},
		{reason: "approved", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b").secret("s", "1") },
			approved: true, names: "a b",
			steps: "remove Secret mondoo-client-c-kubeconfig\nremove Secret mondoo-client-d-kubeconfig\nremove cluster c\nremove cluster d"},
		{reason: "approved for another commit", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b").secret("s", "1") },
			policy: func(p *plan.Policy) { p.Approved = "rev1" }, names: "a b c d", held: 2, codes: "removals-held",
			steps: "hold cluster c (over the removal budget)\nhold cluster d (over the removal budget)"},
		{reason: "a budget of two", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b").secret("s", "1") },
			policy: func(p *plan.Policy) { p.MaxRemovals = "2" }, names: "a b",
			steps: "remove Secret mondoo-client-c-kubeconfig\nremove Secret mondoo-client-d-kubeconfig\nremove cluster c\nremove cluster d"},
		{reason: "a budget that is no number holds everything", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1")
		}, policy: func(p *plan.Policy) { p.MaxRemovals = "many" }, names: "a b c d", held: 1, codes: "removals-held", steps: "hold cluster d (over the removal budget)"},
		{reason: "no pruning", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c") },
			policy: func(p *plan.Policy) { p.Prune = false }, names: "a b c d", steps: "hold Secret s (pruning is off)\nhold cluster d (pruning is off)"},
		{reason: "a Secret less", next: func() *desired { return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c", "d") },
			names: "a b c d", steps: "remove Secret s"},
		{reason: "quarantined", next: func() *desired { return base().quarantine("d") }, names: "a b c d"},
		{reason: "its file can't be read", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").broken("fleet/d.yaml")
		}, names: "a b c d", steps: "hold cluster d (its file has an error)"},
		{reason: "its file has another name and can't be read", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").broken("fleet/eu/d.yaml")
		}, names: "a b c d", steps: "hold cluster d (an unreadable file may contain it)", codes: "removals-held", held: 1},
		{reason: "its file has another name and can't be read, approved", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").broken("fleet/eu/d.yaml")
		}, approved: true, names: "a b c", steps: "remove Secret mondoo-client-d-kubeconfig\nremove cluster d"},
		{reason: "what was for another tool may be a cluster whose kind is misspelt", next: func() *desired {
			d := newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1")
			d.Reject(finding.Finding{Code: compile.CodeKind, Path: "fleet/d-renamed.yaml"})
			return d
		}, names: "a b c d", steps: "hold cluster d (an unreadable file may contain it)", codes: "kind removals-held", held: 1},
		{reason: "another file was moved over its file, and can't be read", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "b", "c").secret("s", "1").broken("fleet/a.yaml").present("fleet/a.yaml")
		}, names: "a b c d", steps: "hold cluster a (its file has an error)\nhold cluster d (an unreadable file may contain it)",
			codes: "removals-held", held: 1},
		{reason: "a broken file does not hold back what its own file no longer has", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").cluster("1", "e").secret("s", "1").
				edit("e", func(c *fleet.Cluster) { c.Origin.Path = "fleet/d.yaml" }).broken("fleet/x.yaml").present("fleet/d.yaml")
		}, names: "a b c e", steps: "remove Secret mondoo-client-d-kubeconfig\nadd Secret mondoo-client-e-kubeconfig\nremove cluster d\nadd cluster e"},
		{reason: "its file is there and holds nothing", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").present("fleet/d.yaml")
		}, names: "a b c d", steps: "hold cluster d (its file exists, but no longer contains it)", codes: "removals-held", held: 1},
		{reason: "its file is there and holds nothing, approved", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").present("fleet/d.yaml")
		}, approved: true, names: "a b c", steps: "remove Secret mondoo-client-d-kubeconfig\nremove cluster d"},
		{reason: "its file is a Secret now", next: func() *desired {
			d := newFleet().inGit(config, spec()).cluster("1", "a", "b", "c").secret("s", "1").secret("d", "1").present("fleet/d.yaml")
			return d
		}, names: "a b c", steps: "add Secret d\nremove Secret mondoo-client-d-kubeconfig\nremove cluster d"},
		{reason: "a Secret's file is there and holds nothing", next: func() *desired {
			return newFleet().inGit(config, spec()).cluster("1", "a", "b", "c", "d").present("fleet/s.yaml")
		}, names: "a b c d", steps: "hold Secret s (its file exists, but no longer contains it)", codes: "removals-held", held: 1},
		{reason: "stopped", next: func() *desired { d := newFleet(); d.Stopped = true; return d }, names: "a b c d"},

		{reason: "the audit config changes", next: func() *desired {
			return newFleet().inGit(config, map[string]any{"spaceId": "y", "annotations": map[string]any{"a": "b"}}).cluster("1", "a", "b", "c", "d").secret("s", "1")
		}, names: "a b c d", steps: "change MondooAuditConfig mondoo-client metadata.annotations.muster.dev/origin spec.spaceId"},
		{reason: "a field of the audit config goes", next: func() *desired {
			return newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a", "b", "c", "d").secret("s", "1")
		}, names: "a b c d", steps: "change MondooAuditConfig mondoo-client metadata.annotations.muster.dev/origin"},
		{reason: "the audit config is no longer in Git", next: func() *desired { return newFleet().secret("s", "1") }, names: "a b c d", held: 5,
			steps: "hold MondooAuditConfig mondoo-client (an audit config is never removed without approval)\nhold cluster a (over the removal budget)\nhold cluster b (over the removal budget)\nhold cluster c (over the removal budget)\nhold cluster d (over the removal budget)",
			codes: "removals-held removals-held"},
		{reason: "the audit config is no longer in Git, approved", next: func() *desired { return newFleet().secret("s", "1") },
			approved: true,
			steps:    "remove MondooAuditConfig mondoo-client\nremove Secret mondoo-client-a-kubeconfig\nremove Secret mondoo-client-b-kubeconfig\nremove Secret mondoo-client-c-kubeconfig\nremove Secret mondoo-client-d-kubeconfig"},
		{reason: "the audit config is no longer in Git, and has a foreign entry", next: func() *desired { return newFleet().secret("s", "1") }, names: "a b c d z", held: 5,
			live: func(w *world) { w.setEntries(config, append(w.list(config), map[string]any{"name": "z"})) },
			steps: "hold MondooAuditConfig mondoo-client (an audit config is never removed without approval)\nhold cluster a (over the removal budget)\nhold cluster b (over the removal budget)" +
				"\nhold cluster c (over the removal budget)\nhold cluster d (over the removal budget)\nhold cluster z (it is in no file, and is removed with its audit config)",
			codes: "foreign-cluster removals-held removals-held"},
		{reason: "the audit config is no longer in Git, and has a foreign entry, approved", next: func() *desired { return newFleet().secret("s", "1") }, approved: true,
			live: func(w *world) { w.setEntries(config, append(w.list(config), map[string]any{"name": "z"})) },
			steps: "remove MondooAuditConfig mondoo-client\nremove Secret mondoo-client-a-kubeconfig\nremove Secret mondoo-client-b-kubeconfig\nremove Secret mondoo-client-c-kubeconfig" +
				"\nremove Secret mondoo-client-d-kubeconfig\nremove cluster z (it is in no file, and is removed with its audit config)"},

		{reason: "the audit config's file has an error, and its clusters would go to another", next: func() *desired {
			d := newFleet().existing("other").broken("fleet/"+config+".yaml").cluster("1", "a", "b", "c", "d").secret("s", "1")
			for i := range d.Clusters {
				d.Clusters[i].AuditConfig = "other"
			}
			return d
		}, live: func(w *world) { w.AuditConfigs["other"] = newWorld("other").AuditConfigs["other"] }, names: "a b c d", codes: "audit-config"},
		{reason: "somebody edits an entry", live: func(w *world) { w.entry(config, "a")["schedule"] = "1 1 1 1 1" }, names: "a b c d", steps: "change cluster a drift schedule"},
		{reason: "somebody removes an entry", live: func(w *world) { w.setEntries(config, w.list(config)[1:]) }, names: "a b c d", steps: "add cluster a drift (it was removed from the audit config)"},
		{reason: "drift is only reported", live: func(w *world) { w.entry(config, "a")["schedule"] = "1 1 1 1 1" }, policy: func(p *plan.Policy) { p.CorrectDrift = false },
			names: "a b c d", steps: "change cluster a drift schedule"},
		{reason: "somebody edits a Secret", live: func(w *world) { w.Secrets["s"].Data["a"] = []byte("x") }, names: "a b c d", steps: "change Secret s drift data.a"},
		{reason: "somebody edits a Secret, only reported", live: func(w *world) { w.Secrets["s"].Data["a"] = []byte("x") }, policy: func(p *plan.Policy) { p.CorrectDrift = false },
			names: "a b c d", steps: "change Secret s drift data.a"},
		{reason: "somebody removes a Secret", live: func(w *world) { delete(w.Secrets, "mondoo-client-a-kubeconfig") }, names: "a b c d",
			steps: "add Secret mondoo-client-a-kubeconfig drift (it was deleted)"},
		{reason: "somebody adds to a Secret", live: func(w *world) { w.Secrets["s"].Data["b"] = []byte("x"); w.Secrets["s"].Labels["x"] = "y" }, names: "a b c d"},
		{reason: "somebody takes the label off", live: func(w *world) { delete(w.Secrets["s"].Labels, fleet.LabelSync) }, names: "a b c d",
			steps: "change Secret s drift metadata.labels.muster.dev/sync"},
		{reason: "somebody edits the audit config", live: func(w *world) { w.AuditConfigs[config]["spec"].(map[string]any)["spaceId"] = "z" }, names: "a b c d",
			steps: "change MondooAuditConfig mondoo-client drift spec.spaceId"},
		{reason: "somebody removes the audit config", live: func(w *world) { delete(w.AuditConfigs, config) }, names: "a b c d",
			steps: "add MondooAuditConfig mondoo-client drift\nadd cluster a drift (it was removed from the audit config)\nadd cluster b drift (it was removed from the audit config)\nadd cluster c drift (it was removed from the audit config)\nadd cluster d drift (it was removed from the audit config)"},
		{reason: "an entry twice", live: func(w *world) { w.setEntries(config, append(w.list(config), w.list(config)[0])) }, names: "a b c d"},
		{reason: "the list is no list", live: func(w *world) {
			w.AuditConfigs[config]["spec"].(map[string]any)["kubernetesResources"].(map[string]any)["externalClusters"] = "x"
		}, names: "a b c d",
			steps: "add cluster a drift (it was removed from the audit config)\nadd cluster b drift (it was removed from the audit config)\nadd cluster c drift (it was removed from the audit config)\nadd cluster d drift (it was removed from the audit config)"},

		{reason: "a foreign entry stays", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "kubeconfigSecretRef": map[string]any{"name": "y"}}))
		}, names: "a b c d z", codes: "foreign-cluster"},
		{reason: "a foreign entry that can't be read stays", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "schedule": map[string]any{"new": "form"}}))
		}, names: "a b c d z", codes: "foreign-cluster"},
		{reason: "a foreign entry is removed", live: func(w *world) { w.setEntries(config, append(w.list(config), map[string]any{"name": "z"})) },
			policy: func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }, names: "a b c d", steps: "remove cluster z (it is in no file, and foreignClusters is Remove)"},
		{reason: "a foreign entry is not removed while a file can't be read", live: func(w *world) { w.setEntries(config, append(w.list(config), map[string]any{"name": "z"})) },
			next:   func() *desired { return base().broken("fleet/half.yaml").present("fleet/half.yaml") },
			policy: func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }, names: "a b c d z", steps: "hold cluster z (an unreadable file may contain it)", codes: "removals-held", held: 1},
		{reason: "more foreign entries than may be removed at once", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "x"}, map[string]any{"name": "y"}))
		}, policy: func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }, names: "a b c d x y", held: 2, codes: "removals-held",
			steps: "hold cluster x (over the removal budget)\nhold cluster y (over the removal budget)"},
		{reason: "more foreign entries than may be removed at once, approved", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "x"}, map[string]any{"name": "y"}))
		}, policy: func(p *plan.Policy) { p.Foreign = plan.RemoveForeign }, approved: true, names: "a b c d",
			steps: "remove cluster x (it is in no file, and foreignClusters is Remove)\nremove cluster y (it is in no file, and foreignClusters is Remove)"},
		{reason: "a foreign entry is taken over", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "schedule": "1 * * * *"}))
		}, next: func() *desired { return base().cluster("1", "z") }, names: "a b c d z",
			steps: "add Secret mondoo-client-z-kubeconfig\nchange cluster z kubeconfigSecretRef schedule (takes over an entry that was made by hand)"},
		{reason: "a foreign entry that is the same is taken over silently", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "kubeconfigSecretRef": map[string]any{"name": "mondoo-client-z-kubeconfig"}}))
		}, next: func() *desired { return base().cluster("1", "z") }, names: "a b c d z", steps: "add Secret mondoo-client-z-kubeconfig"},
		{reason: "a foreign entry under the name of a quarantined cluster stays", live: func(w *world) {
			w.setEntries(config, append(w.list(config), map[string]any{"name": "z"}))
		}, next: func() *desired { return base().cluster("1", "z").quarantine("z") }, names: "a b c d z"},

		{reason: "another AuditSync's Secret", live: func(w *world) {
			w.Syncs["other"] = true
			w.Secrets["mondoo-client-e-kubeconfig"] = plan.LiveSecret{Type: "Opaque", Labels: map[string]string{fleet.LabelSync: "other"}}
		}, next: func() *desired { return base().cluster("1", "e") }, names: "a b c d", codes: "secret-owned"},
		{reason: "a Secret of an AuditSync that is gone", live: func(w *world) {
			w.Secrets["mondoo-client-e-kubeconfig"] = plan.LiveSecret{Type: "Opaque", Labels: map[string]string{fleet.LabelSync: "other"}}
		}, next: func() *desired { return base().cluster("1", "e") }, names: "a b c d e",
			steps: "change Secret mondoo-client-e-kubeconfig data.kubeconfig metadata.labels.muster.dev/sync metadata.annotations.muster.dev/made-for metadata.annotations.muster.dev/origin\nadd cluster e"},
		{reason: "a Secret of another type", live: func(w *world) {
			w.Secrets["mondoo-client-e-kubeconfig"] = plan.LiveSecret{Type: "kubernetes.io/tls", Labels: map[string]string{fleet.LabelSync: "prod"}}
		}, next: func() *desired { return base().cluster("1", "e") }, names: "a b c d", codes: "secret-type-changed"},
		{reason: "a key of a Secret goes", live: func(w *world) { w.Secrets["s"].Data["old"] = []byte("x") },
			next: func() *desired {
				d := newFleet().inGit(config, spec()).cluster("1", "a", "b", "c", "d").secret("s", "1")
				d.Secrets[len(d.Secrets)-1].Hash = "2"
				return d
			}, names: "a b c d", steps: "change Secret s data.old"},
		{reason: "a Secret with the label that Muster did not make", live: func(w *world) {
			w.Secrets["copied"] = plan.LiveSecret{Labels: map[string]string{fleet.LabelSync: "prod"}}
		}, names: "a b c d"},
		{reason: "an entry names a Secret that nobody has", live: func(w *world) { w.EverySecret = true }, next: func() *desired {
			return base().edit("a", func(c *fleet.Cluster) {
				c.Entry.PrivateRegistriesPullSecretRef = &mondoo.SecretRef{Name: "nowhere"}
				c.Hash = "2"
			})
		}, names: "a b c d", steps: "change cluster a privateRegistriesPullSecretRef", codes: "secret-missing"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld()
			w.sync(t, base(), at("rev1"))
			w.operator(t)
			if p := w.compute(base(), at("rev2")); !p.Empty() || len(p.Steps) > 0 {
				t.Fatalf("what the operator does is drift:\n%s", describe(p))
			}
			if row.live != nil {
				row.live(w)
			}
			next := base()
			if row.next != nil {
				next = row.next()
			}
			pol := at("rev2")
			if row.policy != nil {
				row.policy(&pol)
			}
			if row.approved {
				pol.Approved = w.compute(next, pol).Approval
			}
			p := w.compute(next, pol)
			want(t, "steps", describe(p), row.steps)
			want(t, "codes", codes(p), row.codes)
			if p.Held != row.held {
				t.Errorf("held: %d", p.Held)
			}
			w.apply(t, p, all)
			want(t, "entries", w.names(t, config), row.names)
			again := w.compute(next, pol)
			if !again.Empty() && !row.unstable {
				t.Errorf("applied once, it is not done:\n%s\n%d %d %d %d", describe(again), len(again.Before), len(again.Secrets), len(again.Configs), len(again.After))
			}
			for _, s := range p.Steps {
				for _, f := range s.Fields {
					if s.Kind == plan.KindSecret && strings.HasPrefix(f.Path, "data.") && f.From+f.To != "" {
						t.Errorf("the plan shows a secret: %v", f)
					}
				}
			}
		})
	}
}

func (w *world) list(config string) []map[string]any {
	entries, err := mondoo.Entries(w.AuditConfigs[config])
	if err != nil {
		panic(err)
	}
	return entries
}

func (w *world) setEntries(config string, entries []map[string]any) {
	if err := mondoo.SetEntries(w.AuditConfigs[config], entries); err != nil {
		panic(err)
	}
}

func (w *world) entry(config, name string) map[string]any {
	for _, e := range w.list(config) {
		if e["name"] == name {
			return e
		}
	}
	panic("no entry " + name)
}

// TestExistingConfig: of an audit config that isn't in Git, the list is all that changes.
func TestExistingConfig(t *testing.T) {
	w := newWorld(config)
	p := w.sync(t, newFleet().existing(config).cluster("1", "a"), policy())
	if spec := p.Configs[0].Object["spec"].(map[string]any); len(spec) != 1 || len(spec["kubernetesResources"].(map[string]any)) != 1 {
		t.Errorf("more than the list: %v", spec)
	}
	if p.Configs[0].ResourceVersion != "1" {
		t.Errorf("resourceVersion: %q", p.Configs[0].ResourceVersion)
	}
	want(t, "steps", describe(p), "add Secret mondoo-client-a-kubeconfig\nadd cluster a")
}

// TestMissingConfig: clusters wait for their audit config, and nothing is applied for them.
func TestMissingConfig(t *testing.T) {
	w := newWorld()
	p := w.compute(newFleet().existing(config).cluster("1", "a"), policy())
	if !p.Waiting || len(p.Steps) > 0 || len(p.Secrets)+len(p.Configs)+len(p.Before)+len(p.After) > 0 {
		t.Errorf("waiting %t:\n%s", p.Waiting, describe(p))
	}
	want(t, "codes", codes(p), "audit-config-missing")
}

// TestTwoSyncs: an audit config has one AuditSync; one that is gone leaves it to the next.
func TestTwoSyncs(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a"), policy())
	other := newFleet().existing(config).cluster("1", "b")
	other.Sync = "other"
	w.Syncs["other"] = true
	p := w.compute(other, policy())
	want(t, "codes", codes(p), "audit-config-owned")
	if !p.Empty() {
		t.Errorf("it changes something:\n%s", describe(p))
	}
	delete(w.Syncs, "prod")
	w.sync(t, other, policy())
	want(t, "entries", w.names(t, config), "a b")
}

// TestMoveBetweenConfigs: a cluster that goes to another audit config is no removal, and stays while it can't be applied
// there.
func TestMoveBetweenConfigs(t *testing.T) {
	two := func() *desired { return newFleet().existing(config).existing("second") }
	w := newWorld(config, "second")
	w.sync(t, two().cluster("1", "a", "b"), policy())
	move := func(c *fleet.Cluster) { c.AuditConfig = "second" }
	quarantined := two().cluster("1", "a", "b").edit("a", move).quarantine("a")
	p := w.compute(quarantined, policy())
	want(t, "steps", describe(p), "hold cluster a (it has an error where it moves to)")
	moved := two().cluster("1", "b")
	other := two().cluster("1", "a").edit("a", move)
	secret := "second-a-kubeconfig"
	other.Clusters[0].Entry.KubeconfigSecretRef.Name, other.Clusters[0].Secrets = secret, []string{secret}
	other.Secrets[0].Name, other.Secrets[0].AuditConfig = secret, "second"
	moved.Clusters, moved.Secrets = append(moved.Clusters, other.Clusters...), append(moved.Secrets, other.Secrets...)
	pol := policy()
	pol.MaxRemovals = "0"
	p = w.sync(t, moved, pol)
	want(t, "steps", describe(p), "remove Secret mondoo-client-a-kubeconfig\nadd Secret second-a-kubeconfig\nremove cluster a\nadd cluster a")
	want(t, "entries", w.names(t, config)+"|"+w.names(t, "second"), "b|a")
}

// TestMoveIntoFull: a cluster that goes to an audit config with no room for it stays where it is.
func TestMoveIntoFull(t *testing.T) {
	two := func() *desired { return newFleet().existing(config).existing("second") }
	w := newWorld(config, "second")
	w.sync(t, two().cluster("1", "a", "b"), at("rev1"))
	moved := two().cluster("1", "a", "b").edit("a", func(c *fleet.Cluster) {
		c.AuditConfig, c.Secrets = "second", []string{"second-a-kubeconfig"}
		c.Entry.KubeconfigSecretRef.Name = "second-a-kubeconfig"
		c.Entry.Filtering = &mondoo.Filtering{Namespaces: mondoo.Patterns{Include: []string{strings.Repeat("x", 1<<20)}}}
	})
	moved.Secrets[0].Name, moved.Secrets[0].AuditConfig = "second-a-kubeconfig", "second"
	p := w.compute(moved, at("rev2"))
	want(t, "codes", codes(p), "audit-config-size")
	want(t, "steps", describe(p), "hold cluster a (it has an error where it moves to)")
	w.apply(t, p, all)
	want(t, "entries", w.names(t, config)+"|"+w.names(t, "second"), "a b|")
	if _, there := w.Secrets["mondoo-client-a-kubeconfig"]; !there {
		t.Error("the credential of the cluster is gone")
	}
}

// TestTooLarge: an audit config over the limit is refused as a whole, and its Secrets with it.
func TestTooLarge(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a"), policy())
	large := newFleet().existing(config).cluster("1", "a", "b").edit("b", func(c *fleet.Cluster) {
		c.Entry.Filtering = &mondoo.Filtering{Namespaces: mondoo.Patterns{Include: []string{strings.Repeat("x", 1<<20)}}}
	})
	p := w.compute(large, at("rev2"))
	want(t, "codes", codes(p), "audit-config-size")
	if !p.Empty() || len(p.Steps) > 0 {
		t.Errorf("it changes something:\n%s", describe(p))
	}
}

// TestKilled: a run that ends after any of its writes leaves nothing behind that the next run doesn't know of.
func TestKilled(t *testing.T) {
	first := func() *desired {
		return newFleet().inGit(config, map[string]any{"spaceId": "x"}).cluster("1", "a", "b").secret("s", "1")
	}
	second := func() *desired {
		return newFleet().inGit(config, map[string]any{"spaceId": "y"}).cluster("2", "b", "c").secret("t", "1")
	}
	for steps := range 12 {
		for _, empty := range []bool{true, false} {
			w := newWorld()
			if !empty {
				w.sync(t, first(), at("rev1"))
			}
			pol := at("rev2")
			pol.Approved = w.compute(second(), pol).Approval
			w.apply(t, w.compute(second(), pol), steps)
			// The cluster is taken out again before the next run comes to it.
			third := newFleet().inGit(config, map[string]any{"spaceId": "y"}).cluster("2", "b")
			p3 := at("rev3")
			p3.Approved = w.compute(third, p3).Approval
			w.sync(t, third, p3)
			want(t, fmt.Sprint("entries after ", steps, " writes"), w.names(t, config), "b")
			if names := slices.Sorted(maps.Keys(w.Secrets)); !slices.Equal(names, []string{"mondoo-client-b-kubeconfig"}) {
				t.Errorf("Secrets after %d writes: %v", steps, names)
			}
		}
	}
}

// TestCommits: what a commit did not change keeps the commit that did.
func TestCommits(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b"), at("rev1"))
	w.sync(t, newFleet().existing(config).cluster("1", "a").cluster("2", "b"), at("rev2"))
	for _, item := range w.Inventories[0].Clusters {
		if want := map[string]string{"a": "rev1", "b": "rev2"}[item.Name]; item.Commit != want {
			t.Errorf("%s: %s", item.Name, item.Commit)
		}
	}
	for name, want := range map[string]string{"mondoo-client-a-kubeconfig": "fleet/a.yaml@rev1", "mondoo-client-b-kubeconfig": "fleet/b.yaml@rev2"} {
		if got := w.Secrets[name].Annotations[fleet.AnnotationOrigin]; got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestWithoutRevision: a plan without revision, as the command line makes, is not approved by having no approval.
func TestWithoutRevision(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c"), policy())
	p := w.compute(newFleet().existing(config).cluster("1", "a"), plan.Policy{Prune: true})
	if p.Held != 2 {
		t.Errorf("held: %d\n%s", p.Held, describe(p))
	}
}

func bytesOf(data map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(data))
	for key, value := range data {
		out[key] = []byte(value)
	}
	return out
}

// TestVaultComesLast: the operator stops at the first entry that fails, and a Vault that doesn't answer is what fails most.
func TestVaultComesLast(t *testing.T) {
	d := newFleet().inGit(config, map[string]any{}).cluster("1", "a", "b", "c", "d").edit("a", func(c *fleet.Cluster) { c.Entry.VaultAuth = &mondoo.VaultAuth{Server: "https://a"} }).
		edit("c", func(c *fleet.Cluster) { c.Entry.VaultAuth = &mondoo.VaultAuth{Server: "https://c"} })
	w := newWorld()
	w.sync(t, d, policy())
	list, err := mondoo.Entries(w.AuditConfigs[config])
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, fmt.Sprint(entry["name"]))
	}
	want(t, "order", strings.Join(names, " "), "b d a c")
	p := w.compute(d, policy())
	want(t, "steps", describe(p), "")
}

// TestHeldStaysHeld: what a commit adds doesn't raise the budget for what it removes, not even in the sync after it.
func TestHeldStaysHeld(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c", "d"), at("rev1"))
	grown := newFleet().existing(config).cluster("1", "c", "d")
	for i := range 8 {
		grown.cluster("1", fmt.Sprint("new-", i))
	}
	for range 3 {
		p := w.compute(grown, at("rev2"))
		if p.Held != 2 {
			t.Fatalf("%d held:\n%s", p.Held, describe(p))
		}
		w.apply(t, p, all)
	}
}
