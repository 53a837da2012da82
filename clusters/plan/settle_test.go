package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// settle applies plans until there is nothing to do, and says how many it took. After each, the server has its way.
func (w *world) settle(t *testing.T, d *desired, revision string, server func(*world)) int {
	t.Helper()
	for round := range 8 {
		p := w.compute(d, at(revision))
		if p.Empty() {
			return round
		}
		w.apply(t, p, all)
		server(w)
	}
	t.Fatalf("it never ends:\n%s", describe(w.compute(d, at(revision))))
	return 0
}

func spec(w *world) map[string]any { return w.AuditConfigs[config]["spec"].(map[string]any) }

// TestSettles: what API server and operator make of an audit config doesn't keep Muster busy for ever.
func TestSettles(t *testing.T) {
	for _, row := range []struct {
		reason string
		object map[string]any // laid over the audit config in Git
		spec   map[string]any
		server func(*world)
		rounds int
		code   string
	}{
		{reason: "nothing", rounds: 1},
		{reason: "a field that the CRD does not have", spec: map[string]any{"extra": map[string]any{"enable": true}}, rounds: 3, code: "field-not-kept",
			server: func(w *world) { delete(spec(w), "extra") }},
		{reason: "a field below others that an older CRD does not have", spec: map[string]any{"containers": map[string]any{"jobOverrides": map[string]any{"ttlSecondsAfterFinished": float64(60)}}},
			rounds: 3, code: "field-not-kept", server: func(w *world) { spec(w)["containers"] = map[string]any{} }},
		{reason: "the operator turns it on", spec: map[string]any{"containers": map[string]any{"enable": false}}, rounds: 3, code: "field-not-kept",
			server: func(w *world) { spec(w)["containers"] = map[string]any{"enable": true} }},
		{reason: "false is left out", spec: map[string]any{"nodes": map[string]any{"enable": false}}, rounds: 1, server: func(w *world) { spec(w)["nodes"] = map[string]any{} }},
		{reason: "false is left out with its block", spec: map[string]any{"nodes": map[string]any{"enable": false, "n": float64(0), "s": "", "l": []any{}}}, rounds: 1,
			server: func(w *world) { delete(spec(w), "nodes") }},
		{reason: "null", spec: map[string]any{"nodes": nil, "scanner": map[string]any{"image": nil}}, rounds: 1,
			server: func(w *world) { spec(w)["nodes"] = map[string]any{"enable": true} }},
		{reason: "quantities", spec: map[string]any{"scanner": map[string]any{"resources": map[string]any{"limits": map[string]any{"cpu": "1000m", "memory": "1024Mi"}}}}, rounds: 1,
			server: func(w *world) {
				spec(w)["scanner"] = map[string]any{"resources": map[string]any{"limits": map[string]any{"cpu": "1", "memory": "1Gi"}}}
			}},
		{reason: "a quantity that is a number", spec: map[string]any{"scanner": map[string]any{"resources": map[string]any{"limits": map[string]any{"cpu": 2}}}}, rounds: 1,
			server: func(w *world) {
				spec(w)["scanner"] = map[string]any{"resources": map[string]any{"limits": map[string]any{"cpu": "2"}}}
			}},
		{reason: "an export of kubectl", object: map[string]any{"status": map[string]any{"x": "y"}, "metadata": map[string]any{"name": config,
			"creationTimestamp": nil, "resourceVersion": "12", "uid": "u", "generation": 3, "managedFields": []any{"x"}, "selfLink": "/x", "finalizers": []any{"a"},
			"annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}, rounds: 1,
			server: func(w *world) {
				meta := w.AuditConfigs[config]["metadata"].(map[string]any)
				meta["creationTimestamp"], meta["generation"], meta["uid"] = "2026-01-01T00:00:00Z", float64(9), "v"
				meta["finalizers"] = []any{"a", "b"}
				delete(w.AuditConfigs[config], "status")
			}},
		{reason: "a field of an entry that the operator's version doesn't know", rounds: 3, code: "field-not-kept",
			server: func(w *world) { delete(w.entry(config, "b"), "schedule") }},
	} {
		t.Run(row.reason, func(t *testing.T) {
			if row.spec == nil {
				row.spec = map[string]any{"spaceId": "x"}
			}
			if row.server == nil {
				row.server = func(*world) {}
			}
			d := newFleet().inGit(config, row.spec).cluster("1", "a", "b").edit("b", func(c *fleet.Cluster) { c.Entry.Schedule = "1 * * * *" })
			maps.Copy(d.AuditConfigs[0].Object, row.object)
			w := newWorld()
			if rounds := w.settle(t, d, "rev1", row.server); rounds != row.rounds {
				t.Errorf("it took %d rounds, not %d", rounds, row.rounds)
			}
			p := w.compute(d, at("rev1"))
			want(t, "codes", codes(p), row.code)
			want(t, "steps", describe(p), "")
			if meta := w.AuditConfigs[config]["metadata"].(map[string]any); meta["selfLink"] != nil || meta["managedFields"] != nil {
				t.Errorf("applied what is the server's: %v", meta)
			}
			// Another commit doesn't start it again, and changes of people are still put right.
			if rounds := w.settle(t, d, "rev2", row.server); rounds > 0 {
				t.Errorf("at another commit it took %d rounds", rounds)
			}
			for _, id := range []string{"q", "r", "s"} {
				w.entry(config, "a")["schedule"] = id + " * * * *"
				want(t, "codes", codes(w.compute(d, at("rev2"))), row.code)
				if rounds := w.settle(t, d, "rev2", row.server); rounds == 0 || w.entry(config, "a")["schedule"] != nil {
					t.Errorf("a change by hand stays: %v", w.entry(config, "a"))
				}
			}
		})
	}
}

// TestPeopleAreCorrected: whoever sets a field to another value is corrected, however often, and is no API server that drops it. With
// corrections off, nothing is counted.
func TestPeopleAreCorrected(t *testing.T) {
	d := newFleet().inGit(config, map[string]any{"extra": "x", "spaceId": "x"}).cluster("1", "a")
	w := newWorld()
	w.sync(t, d, at("rev0"))
	for n := range 12 {
		revision := fmt.Sprint("rev", n/4)
		spec(w)["spaceId"], spec(w)["extra"] = "z", "z"
		p := w.compute(d, at(revision))
		want(t, "steps", describe(p), "change MondooAuditConfig mondoo-client drift spec.extra spec.spaceId")
		w.apply(t, p, all)
	}
	report := at("rev3")
	report.CorrectDrift = false
	delete(spec(w), "extra")
	for range 5 {
		w.apply(t, w.compute(d, report), all)
	}
	want(t, "codes", codes(w.compute(d, report)), "")
}

// TestConverges: whatever fields an operator drops or fills in, three rounds later there is nothing to do.
func TestConverges(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := newFleet().inGit(config, randomObject(r, 3))
		for n := range r.IntN(5) {
			d.cluster("1", fmt.Sprint("c", n)).edit(fmt.Sprint("c", n), func(c *fleet.Cluster) {
				c.Entry.Schedule = []string{"", "1 * * * *"}[r.IntN(2)]
				c.Entry.ContainerImageScanning = r.IntN(2) == 0
				if r.IntN(2) == 0 {
					c.Entry.Filtering = &mondoo.Filtering{Namespaces: mondoo.Patterns{Include: []string{"x"}[:r.IntN(2)]}}
				}
			})
		}
		if r.IntN(2) == 0 {
			d.secret("s", "1")
		}
		rewrite := r.Uint64()
		w := newWorld()
		rounds := w.settle(t, d, "rev1", func(w *world) { // the same each time, as machines are
			r := rand.New(rand.NewPCG(rewrite, 2))
			rewriteObject(r, spec(w), "")
			for _, entry := range w.list(config) {
				r := rand.New(rand.NewPCG(rewrite, uint64(len(fmt.Sprint(entry["name"])))))
				for _, field := range []string{"schedule"} {
					if r.IntN(3) == 0 {
						delete(entry, field)
					}
				}
			}
		})
		if rounds > 3 {
			t.Errorf("seed %d: %d rounds", seed, rounds)
		}
	}
}

// randomObject makes a spec of the field names f0 to f4.
func randomObject(r *rand.Rand, depth int) map[string]any {
	object := map[string]any{}
	for n := range 5 {
		var v any
		switch kind := r.IntN(10); {
		case kind < 3:
			continue
		case kind < 5 && depth > 0:
			v = randomObject(r, depth-1)
		case kind == 5 && depth > 0:
			v = []any{randomObject(r, depth-1), "x"}
		default:
			v = []any{nil, true, false, "", "x", "1000m", float64(0), float64(3), []any{}, map[string]any{}}[r.IntN(10)]
		}
		object[fmt.Sprint("f", n)] = v
	}
	return object
}

// rewriteObject drops fields and fills in those that aren't there, each by its path: the same in every call.
func rewriteObject(r *rand.Rand, object map[string]any, path string) {
	seed := r.Uint64()
	for n := range 5 {
		name := fmt.Sprint("f", n)
		field := rand.New(rand.NewPCG(seed, uint64(n)+uint64(strings.Count(path, "."))))
		switch field.IntN(5) {
		case 0:
			delete(object, name)
		case 1:
			if object[name] == nil {
				object[name] = []any{true, "x", float64(1), map[string]any{"f0": "y"}}[field.IntN(4)]
			}
		default:
			if inner, ok := object[name].(map[string]any); ok {
				rewriteObject(field, inner, path+"."+name)
			}
		}
	}
}

// TestListInGit has the audit config in Git with a list of its own, of which compile leaves an empty one: the clusters are
// compared one by one, and the list is no field that drifts.
func TestListInGit(t *testing.T) {
	w := newWorld()
	fleet := newFleet().inGit(config, map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"},
		"kubernetesResources": map[string]any{"schedule": "1 * * * *", "externalClusters": []any{}}}).cluster("1", "a", "b")
	w.sync(t, fleet, at("rev1"))
	if got := len(w.list(config)); got != 2 {
		t.Fatalf("%d entries are applied", got)
	}
	if p := w.sync(t, fleet, at("rev1")); len(p.Steps) > 0 || !p.Empty() {
		t.Errorf("there is something to do all the time:\n%s", describe(p))
	}
	w.setEntries(config, w.list(config)[1:])
	want(t, "a removed entry", describe(w.compute(fleet, at("rev1"))), "add cluster a drift (it was removed from the audit config)")
}
