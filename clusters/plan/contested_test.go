package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// contestedFleet has all that decides where a credential goes, what is scanned and what runs, and a field that no operator knows.
func contestedFleet() *desired {
	ref := func(name string) *mondoo.SecretRef { return &mondoo.SecretRef{Name: name} }
	d := newFleet().inGit(config, map[string]any{
		"mondooCredsSecretRef": map[string]any{"name": "creds"}, "spaceId": "space",
		"scanner":    map[string]any{"image": map[string]any{"name": "ghcr.io/mondoo/cnspec"}, "serviceAccountName": "scanner"},
		"filtering":  map[string]any{"namespaces": map[string]any{"exclude": []any{"kube-system"}}},
		"containers": map[string]any{"enable": true, "repositories": map[string]any{"include": []any{"x"}}},
		"extra":      map[string]any{"enable": true}, "extraSecretRef": map[string]any{"name": "x"},
	}).cluster("1", "k", "sa", "vault", "spiffe").secret("alone", "1")
	for i := range d.Clusters {
		c := &d.Clusters[i]
		e := &c.Entry
		e.Schedule, e.ContainerImageScanning, e.PrivateRegistriesPullSecretRef = "1 * * * *", true, ref("pull")
		e.Filtering = &mondoo.Filtering{Namespaces: mondoo.Patterns{Include: []string{"a", "b"}}}
		e.Repositories = &mondoo.Patterns{Exclude: []string{"r"}}
		switch c.Name {
		case "sa":
			e.ServiceAccountAuth = &mondoo.ServiceAccountAuth{Server: "https://sa.example.com", CredentialsSecretRef: *e.KubeconfigSecretRef}
		case "vault":
			e.VaultAuth = &mondoo.VaultAuth{Server: "https://v.example.com", VaultAddr: "https://vault.example.com", AuthRole: "r", CredsRole: "c", TTL: "1h",
				CACertSecretRef: ref("ca"), TargetCACertSecretRef: ref("target-ca"), KubernetesNamespace: "n"}
		case "spiffe":
			e.SPIFFEAuth = &mondoo.SPIFFEAuth{Server: "https://s.example.com", TrustBundleSecretRef: *ref("bundle"), Audience: "a"}
		}
		if c.Name != "k" {
			e.KubeconfigSecretRef = nil
		}
	}
	return d
}

// set changes or removes (nil) what is at a dotted path.
func set(object map[string]any, path string, value any) {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		object = object[key].(map[string]any)
	}
	if object[keys[len(keys)-1]] = value; value == nil {
		delete(object, keys[len(keys)-1])
	}
}

// TestNeverGivesIn: no change by hand wins, however often and by whom it is made, and at whatever commits.
func TestNeverGivesIn(t *testing.T) {
	entry := func(cluster, path string, value any) func(*world, int) {
		return func(w *world, _ int) { set(w.entry(config, cluster), path, value) }
	}
	object := func(path string, value any) func(*world, int) {
		return func(w *world, _ int) { set(spec(w), path, value) }
	}
	by := func(manager string, change func(*world, int)) func(*world, int) {
		return func(w *world, n int) {
			change(w, n)
			w.AuditConfigs[config]["metadata"].(map[string]any)["managedFields"] = decode[[]any](t, []string{
				fmt.Sprintf(`{"manager": %q, "operation": "Update", "fieldsV1": {"f:spec": {"f:kubernetesResources": {"f:externalClusters": {}}}}}`, manager)})
		}
	}
	evil := "https://evil.example.com"
	rows := map[string]func(*world, int){
		"the server of a token":       entry("sa", "serviceAccountAuth.server", evil),
		"TLS is not verified":         entry("sa", "serviceAccountAuth.skipTLSVerify", true),
		"another Secret with a token": entry("sa", "serviceAccountAuth.credentialsSecretRef", map[string]any{"name": "other"}),
		"no Secret with a token":      entry("sa", "serviceAccountAuth.credentialsSecretRef", map[string]any{}),
		"another kubeconfig":          entry("k", "kubeconfigSecretRef.name", "other"),
		"no kubeconfig":               entry("k", "kubeconfigSecretRef", nil),
		"another method": func(w *world, _ int) {
			e := w.entry(config, "k")
			e["serviceAccountAuth"] = w.entry(config, "sa")["serviceAccountAuth"]
		},
		"another Vault":                        entry("vault", "vaultAuth.vaultAddr", evil),
		"a Vault without its CA":               entry("vault", "vaultAuth.caCertSecretRef", nil),
		"a target without its CA":              entry("vault", "vaultAuth.targetCACertSecretRef", nil),
		"no TTL":                               entry("vault", "vaultAuth.ttl", nil),
		"another path in Vault":                entry("vault", "vaultAuth.authPath", "auth/other"),
		"no audience":                          entry("spiffe", "spiffeAuth.audience", nil),
		"another trust bundle":                 entry("spiffe", "spiffeAuth.trustBundleSecretRef.name", "other"),
		"another filter":                       entry("k", "filtering.namespaces.include", []any{"nothing"}),
		"an emptied filter":                    entry("k", "filtering", map[string]any{"namespaces": map[string]any{}}),
		"no filter":                            entry("k", "filtering", nil),
		"no filter of images":                  entry("k", "repositories", nil),
		"no pull secret":                       entry("k", "privateRegistriesPullSecretRef", nil),
		"images are not scanned":               entry("k", "containerImageScanning", nil),
		"another schedule":                     entry("k", "schedule", "0 0 31 2 *"),
		"an entry that can't be read":          entry("k", "schedule", map[string]any{"a": "b"}),
		"no schedule, by kubectl":              by("kubectl-edit", entry("k", "schedule", nil)),
		"no schedule, by Helm":                 by("helm", entry("k", "schedule", nil)),
		"the server, by the operator":          by("mondoo-operator", entry("sa", "serviceAccountAuth.server", evil)),
		"no filter, by the operator":           by("mondoo-operator", entry("k", "filtering", nil)),
		"another Secret with Mondoo's account": object("mondooCredsSecretRef.name", "sops-age"),
		"no Secret with Mondoo's account":      object("mondooCredsSecretRef", nil),
		"another image":                        object("scanner.image.name", "evil"),
		"no image":                             object("scanner.image", nil),
		"no scanner":                           object("scanner", nil),
		"another space":                        object("spaceId", "other"),
		"no space":                             object("spaceId", nil),
		"no filter in the audit config":        object("filtering", nil),
		"no filter of images there":            object("containers.repositories", nil),
		"image scanning is off":                object("containers.enable", false),
		"another value of an unknown field":    object("extra.enable", "other"),
		"an unknown field that names a Secret": object("extraSecretRef", nil),
		"values by turns":                      func(w *world, n int) { set(w.entry(config, "sa"), "serviceAccountAuth.server", fmt.Sprint(evil, n%2)) },
		"a value and none, by turns":           func(w *world, n int) { set(w.entry(config, "k"), "schedule", []any{nil, "9 9 9 9 *"}[n%2]) },
		"an entry is removed":                  func(w *world, _ int) { w.setEntries(config, w.list(config)[1:]) },
		"all entries are removed":              func(w *world, _ int) { w.setEntries(config, nil) },
		"the list is no list":                  object("kubernetesResources.externalClusters", "x"),
		"a Secret has another token":           func(w *world, _ int) { w.Secrets["alone"].Data["a"] = []byte("other") },
		"a Secret is removed":                  func(w *world, _ int) { delete(w.Secrets, "alone") },
		"the Secret of a cluster is removed":   func(w *world, _ int) { delete(w.Secrets, "mondoo-client-k-kubeconfig") },
		"the Secret of a cluster is another's": func(w *world, _ int) { w.Secrets["mondoo-client-k-kubeconfig"].Data["kubeconfig"] = []byte("evil") },
		"the Secret of a cluster has no origin": func(w *world, _ int) {
			delete(w.Secrets["mondoo-client-k-kubeconfig"].Annotations, fleet.AnnotationOrigin)
		},
	}
	for reason, change := range rows {
		for _, commits := range []int{1, 5} {
			t.Run(fmt.Sprint(reason, " at ", commits), func(t *testing.T) {
				w, d := newWorld(), contestedFleet()
				pol := at("rev0")
				pol.Now = time.Date(2026, 3, 3, 3, 3, 3, 3, time.UTC)
				w.apply(t, w.compute(d, pol), all)
				if p := w.compute(d, pol); !p.Empty() {
					t.Fatalf("not in sync to begin with:\n%s", describe(p))
				}
				for n := range 15 {
					pol.Revision = fmt.Sprint("rev", n%commits)
					w.apply(t, w.compute(d, pol), all)
					change(w, n)
					p := w.compute(d, pol)
					if len(p.Drifted()) == 0 {
						t.Fatalf("change %d is let be: %s", n, codes(p))
					}
					if !p.Next.IsZero() {
						if wait := p.Next.Sub(pol.Now); wait > 5*time.Minute || len(p.Corrected()) > 0 {
							t.Fatalf("change %d waits for %s:\n%s", n, wait, describe(p))
						}
						pol.Now = p.Next
						p = w.compute(d, pol)
					}
					w.apply(t, p, all)
					after := w.compute(d, pol)
					if len(after.Drifted()) > 0 || len(after.NotKept) > 0 {
						t.Fatalf("after change %d was to be put right:\n%s", n, describe(after))
					}
					if told := len(after.Contested) > 0; told != (n >= 3) {
						t.Fatalf("after %d changes, that somebody does so again and again is told: %t", n+1, told)
					}
					pol.Now = pol.Now.Add(time.Second)
				}
			})
		}
	}
}

// TestPausesBetweenCorrections: a machine that changes a field at once keeps Muster from nothing else, and is answered at growing intervals.
func TestPausesBetweenCorrections(t *testing.T) {
	d, w := contestedFleet(), newWorld()
	pol := at("rev1")
	pol.Now = time.Date(2026, 3, 3, 3, 3, 3, 0, time.UTC)
	w.apply(t, w.compute(d, pol), all)
	machine := func() { set(w.entry(config, "sa"), "schedule", "9 9 9 9 *") }
	writes := 0
	for end := pol.Now.Add(time.Hour); pol.Now.Before(end); pol.Now = pol.Now.Add(time.Second) {
		machine()
		if p := w.compute(d, pol); !p.Empty() {
			writes++
			w.apply(t, p, all)
		}
	}
	if writes < 12 || writes > 30 {
		t.Errorf("%d corrections in an hour", writes)
	}
	machine()
	p := w.compute(d, pol)
	if len(p.Contested) != 1 || p.Contested[0].Name != "sa" || p.Contested[0].Fields[0].Path != "schedule" || !p.Empty() {
		t.Errorf("contested: %+v, %s", p.Contested, describe(p))
	}
	want(t, "while it waits", describe(p), "change cluster sa drift schedule (it keeps being changed)")
	// What else somebody changes doesn't wait for it.
	set(w.entry(config, "sa"), "serviceAccountAuth.server", "https://evil.example.com")
	set(w.entry(config, "k"), "filtering", nil)
	w.apply(t, w.compute(d, pol), all)
	if server := w.entry(config, "sa")["serviceAccountAuth"].(map[string]any)["server"]; server != "https://sa.example.com" || w.entry(config, "k")["filtering"] == nil {
		t.Errorf("another field is not put right while one is contested: %v", w.list(config))
	}
	// A new commit is applied at once, contested or not.
	machine()
	next := contestedFleet().edit("sa", func(c *fleet.Cluster) { c.Entry.Schedule, c.Hash = "2 * * * *", "hash-2" })
	w.apply(t, w.compute(next, pol), all)
	want(t, "the schedule of another commit", fmt.Sprint(w.entry(config, "sa")["schedule"]), "2 * * * *")
	// Long afterwards it counts from the beginning, and a clock that was wrong holds up nothing.
	for _, later := range []time.Duration{time.Hour, -24 * time.Hour} {
		pol.Now = pol.Now.Add(later)
		if p := w.compute(next, pol); len(p.Contested) > 0 {
			t.Errorf("%s later it is still contested: %+v", later, p.Contested)
		}
		machine()
		if p := w.compute(next, pol); !p.Next.IsZero() || len(p.Configs) != 1 {
			t.Errorf("%s later it waits:\n%s", later, describe(p))
		}
	}
}

// TestNotKeptIsNamed: what Muster gives in to is in the plan by its name for as long as it lasts.
func TestNotKeptIsNamed(t *testing.T) {
	d, w := contestedFleet(), newWorld()
	w.settle(t, d, "rev1", func(w *world) { delete(spec(w), "extra"); delete(w.entry(config, "k"), "schedule") })
	p := w.compute(d, at("rev2"))
	var got []string
	for _, s := range p.NotKept {
		got = append(got, s.Kind+" "+s.Name+" "+s.Fields[0].Path)
	}
	want(t, "not kept", strings.Join(got, ", "), "cluster k schedule, MondooAuditConfig mondoo-client spec.extra")
	if len(p.Drifted()) > 0 {
		t.Error(describe(p))
	}
}
