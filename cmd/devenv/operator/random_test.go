package operator_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

var (
	repositories = flag.Int("repositories", 500, "how many random repositories TestRandomRepositories tries")
	firstSeed    = flag.Uint64("first-seed", 1, "the seed of the first one")
)

// TestRandomRepositories makes repositories of values as people write them, right and wrong. What Muster would apply of one, the real API
// server takes by the CRD's schema, and the stand-in serves to its last entry: it can read it, and the API server takes each CronJob that
// it makes of it.
func TestRandomRepositories(t *testing.T) {
	server.SkipShort(t)
	c, err := client.New(plane.Config(), client.Options{Scheme: clientscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	dry := client.NewDryRunClient(c)
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: randomNamespace}}); err != nil {
		t.Fatal(err)
	}
	applied, entries, stopped := 0, 0, 0
	codes := map[finding.Code]int{}
	for i := range *repositories {
		seed := *firstSeed + uint64(i)
		files := (&writer{rand.New(rand.NewPCG(seed, 0))}).repository()
		p := planOf(t, files)
		for _, f := range p.Findings {
			if f.Severity == finding.Error {
				codes[f.Code]++
			}
		}
		if len(p.Configs) == 0 {
			stopped++
		}
		for _, write := range p.Configs {
			applied++
			list, why := serve(t.Context(), dry, write.Object)
			entries += list
			if why != "" {
				t.Errorf("seed %d: the audit config %s passes, and %s\n%s", seed, write.Name, why, show(files))
			}
		}
	}
	t.Logf("%d repositories: %d audit configs with %d entries pass and are served, %d repositories have none that passes; errors: %v", *repositories, applied, entries, stopped, codes)
	if applied < *repositories/10 || entries < *repositories/4 || stopped < *repositories/10 {
		t.Error("nearly all or nearly none pass: the generator says little")
	}
}

const randomNamespace = "random"

// serve has the API server and the stand-in look at an audit config, and says what goes wrong.
func serve(ctx context.Context, dry client.Client, object map[string]any) (entries int, why string) {
	config := &unstructured.Unstructured{}
	data, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(data, &config.Object)
	}
	if err != nil {
		return 0, "it is no JSON: " + err.Error()
	}
	if err := dry.Create(ctx, config.DeepCopy()); err != nil {
		return 0, "the API server refuses it: " + err.Error()
	}
	config.SetUID("0") // of an owner
	stops, crons := operator.Serve(config)
	if stops != "" {
		return 0, "the operator stops: " + stops
	}
	for _, cron := range crons {
		if err := dry.Create(ctx, cron); err != nil {
			return 0, "the API server refuses its CronJob: " + err.Error()
		}
	}
	return len(crons), ""
}

func planOf(t *testing.T, files map[string]any) *plan.Plan {
	t.Helper()
	tree := fstest.MapFS{}
	for name, content := range files {
		data, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		tree["fleet/"+name] = &fstest.MapFile{Data: data}
	}
	allowed := policy.Policy{Source: "the test", VaultAddresses: []string{"https://vault.example.com"}, Allow: []string{"containers.workloadIdentity", "scanner.image",
		"scanner.env", "mondooCredsSecretRef=creds", "jobOverrides"}}
	pipeline, opener := clusters.NewPipeline(), unseal.NewOpener()
	sealed, err := pipeline.Compile(t.Context(), clusters.Source{FS: tree, Path: "fleet"}, compile.Options{Namespace: randomNamespace, Sync: "test", Policy: allowed}, opener)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := pipeline.Open(t.Context(), sealed, opener, &redact.Redactor{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return plan.Compute(opened, plan.Live{}, plan.Policy{Revision: "1", Prune: true, MaxRemovals: "25%"})
}

func show(files map[string]any) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data, _ := yaml.Marshal(files[name])
		fmt.Fprintf(&out, "--- %s\n%s", name, data)
	}
	return out.String()
}

// writer writes files as people do who know the fields and not every rule.
type writer struct{ *rand.Rand }

func (w *writer) chance(percent int) bool { return w.IntN(100) < percent }

// pick takes the first of two lists mostly, which has what is right, and the second seldom.
func (w *writer) pick(right []any, wrong ...any) any {
	if len(wrong) > 0 && w.chance(2) {
		return wrong[w.IntN(len(wrong))]
	}
	return right[w.IntN(len(right))]
}

// maybe sets a field now and then.
func (w *writer) maybe(m map[string]any, percent int, field string, value func() any) {
	if w.chance(percent) {
		m[field] = value()
	}
}

func (w *writer) of(right []any, wrong ...any) func() any {
	return func() any { return w.pick(right, wrong...) }
}

func list(values ...any) []any { return values }

func (w *writer) repository() map[string]any {
	files := map[string]any{}
	configs := list(w.configName())
	if w.chance(25) {
		configs = append(configs, w.pick(list("second", "mondoo-client-second"), "mondoo-client", "eu"))
	}
	for i, name := range configs {
		files[fmt.Sprintf("config-%d.yaml", i)] = w.auditConfig(name)
	}
	for i := range w.IntN(6) {
		files[fmt.Sprintf("cluster-%d.yaml", i)] = w.cluster(configs, fmt.Sprint(i))
	}
	return files
}

func (w *writer) configName() any {
	return w.pick(list("mondoo-client", "mondoo-client-eu", "eu", "fleet-of-the-platform-team", "team.eu", "a.b.c", "mondoo-client-"+strings.Repeat("e", 40), "x"+strings.Repeat("-y", 30)),
		"eu.west-1.production.example.com", strings.Repeat("a.", 20)+"b", strings.Repeat("n", 63), strings.Repeat("n", 64), "Upper", "-x", "x.", "a..b", 7)
}

func (w *writer) auditConfig(name any) map[string]any {
	resources := map[string]any{}
	spec := map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"}, "kubernetesResources": resources}
	w.maybe(resources, 30, "enable", w.of(list(true, false), "yes"))
	w.maybe(resources, 60, "schedule", w.schedule)
	w.maybe(resources, 20, "activeDeadline", w.duration)
	w.maybe(resources, 10, "resourceWatcher", func() any {
		return map[string]any{"enable": w.pick(list(true, false)), "debounceInterval": w.duration(), "minimumScanInterval": w.duration()}
	})
	w.maybe(spec, 20, "scanner", w.scanner)
	w.maybe(spec, 20, "nodes", func() any {
		nodes := map[string]any{"enable": w.pick(list(true, false))}
		w.maybe(nodes, 40, "schedule", w.schedule)
		w.maybe(nodes, 30, "style", w.of(list("cronjob", "deployment", "daemonset")))
		w.maybe(nodes, 30, "intervalTimer", w.of(list(5, 60), "60", 1.5))
		w.maybe(nodes, 30, "resources", w.resources)
		return nodes
	})
	w.maybe(spec, 30, "containers", func() any {
		containers := map[string]any{}
		w.maybe(containers, 60, "enable", w.of(list(true, false)))
		w.maybe(containers, 30, "schedule", w.schedule)
		w.maybe(containers, 30, "activeDeadline", w.duration)
		w.maybe(containers, 30, "resources", w.resources)
		w.maybe(containers, 30, "repositories", w.patterns)
		w.maybe(containers, 30, "scanCache", func() any { return map[string]any{"enable": true, "cacheTTL": w.duration()} })
		w.maybe(containers, 30, "workloadIdentity", func() any {
			return w.pick(list(map[string]any{"provider": "eks", "eks": map[string]any{"region": "eu-west-1", "roleArn": "arn:aws:iam::123456789012:role/x"}},
				map[string]any{"provider": "gke", "gke": map[string]any{"projectId": "p", "clusterName": "c", "clusterLocation": "l", "googleServiceAccount": "x@p.iam.gserviceaccount.com"}}),
				map[string]any{"provider": "eks"}, map[string]any{"provider": "gke", "gke": map[string]any{}}, map[string]any{"provider": "ibm"}, map[string]any{"eks": map[string]any{"region": "x"}})
		})
		return containers
	})
	w.maybe(spec, 20, "filtering", w.filtering)
	w.maybe(spec, 20, "spaceId", w.of(list("space-1", ""), 5))
	w.maybe(spec, 25, "annotations", w.annotations)
	w.maybe(spec, 10, "consoleIntegration", func() any {
		return map[string]any{"enable": true, "deletionPolicy": w.pick(list("Delete", "Retain"), "Keep", "", 1)}
	})
	w.maybe(spec, 2, "mondooCredsSecretRef", w.of(list(map[string]any{"name": "creds"}), map[string]any{}, map[string]any{"name": ""}, "creds"))
	w.maybe(spec, 2, "unknown", w.of(list(1)))
	w.maybe(resources, 15, "externalClusters", func() any {
		return w.pick(list(list(), list(w.entry("x")), list(w.entry("x"), w.entry("y"))), list(w.entry("x"), w.entry("x")), "none", list("x"))
	})
	meta := map[string]any{"name": name}
	w.maybe(meta, 10, "labels", func() any {
		return map[string]any{"team": w.pick(list("platform", "a.b_c", ""), "a b", 1, strings.Repeat("v", 64), "-x"), w.pick(list("example.com/a", "b"), "a b", "", "a/b/c", "-x").(string): "x"}
	})
	w.maybe(meta, 10, "annotations", func() any {
		return map[string]any{"note": w.pick(list("any text: at all", ""), 1, nil), w.pick(list("example.com/a", "b"), "a b", "", "a/b/c").(string): "x"}
	})
	w.maybe(meta, 3, "finalizers", w.of(list(list("example.com/x")), list("not qualified"), "x"))
	w.maybe(meta, 2, "lables", w.of(list(map[string]any{"a": "b"})))
	w.maybe(meta, 3, "generateName", w.of(list("x-"), 1))
	return map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig", "metadata": meta, "spec": spec}
}

func (w *writer) schedule() any {
	return w.pick(list("0 * * * *", "*/15 * * * *", "H H * * *", "@daily", "@hourly", "30 2 * * MON-FRI", "H(0-29)/10 * * * *", "0 0 1 * *", "TZ=Europe/Berlin 0 3 * * *", "CRON_TZ=UTC 5 4 * * *", ""),
		"@every 1h", "60 * * * *", "* * * *", "0 0 31 2 *", "@reboot", "* * * * * *", "0 0 * * 8", "TZ=Mars/Base 0 * * * *", "every hour", 5, "0 0 0 * *", "5,10-7 * * * *", "*/0 * * * *", "? ? * * ?", "0 0 L * *")
}

func (w *writer) duration() any {
	return w.pick(list("1h", "90m", "1h30m", "45s", "24h0m0s", "1.5h"), "1d", "-1h", "0s", "500ms", "", 3600, "1h 30m", "PT1H", "1H", "9999999999h", "10", true, "0.9s", "1e3s")
}

func (w *writer) amount() any {
	return w.pick(list("100m", "1", 2, "300Mi", "1Gi", 0.5, "1e3"), "-1", "1 Gi", "1GiB", "lots", true, "", "1..5", "1Zi")
}

func (w *writer) resources() any {
	r := map[string]any{}
	for _, kind := range []string{"limits", "requests"} {
		w.maybe(r, 60, kind, func() any {
			amounts := map[string]any{}
			for _, name := range []string{"cpu", "memory", "ephemeral-storage"} {
				w.maybe(amounts, 50, name, w.amount)
			}
			w.maybe(amounts, 10, "gpu", w.amount)
			return amounts
		})
	}
	return r
}

func (w *writer) scanner() any {
	s := map[string]any{}
	w.maybe(s, 70, "resources", w.resources)
	w.maybe(s, 30, "replicas", w.of(list(1, 2), "2", 1.5, -1))
	w.maybe(s, 20, "image", func() any {
		return map[string]any{"name": "registry.example.com/scanner", "tag": w.pick(list("1", "latest"), 1)}
	})
	return s
}

func (w *writer) annotations() any {
	a := map[string]any{}
	for range w.IntN(3) {
		key := w.pick(list("team", "cost-center", "a.example.com/b", "ü"), "", "a=b", strings.Repeat("k", 256), strings.Repeat("k", 257), strings.Repeat("ü", 200))
		a[key.(string)] = w.pick(list("platform", "x y", "42", "=", strings.Repeat("v", 256)), "", strings.Repeat("v", 257), strings.Repeat("ü", 200), 1, nil, true)
	}
	return a
}

func (w *writer) patterns() any {
	p := map[string]any{}
	for _, field := range []string{"include", "exclude"} {
		w.maybe(p, 60, field, func() any {
			all := []any{}
			for range w.IntN(3) {
				all = append(all, w.pick(list("default", "kube-*", "team-?", "prod"), "", "{a,b}", "[a", "!x", "a,b", " x", "a b", 1, "Ü"))
			}
			return all
		})
	}
	return p
}

func (w *writer) filtering() any { return map[string]any{"namespaces": w.patterns()} }

func (w *writer) cluster(configs []any, number string) map[string]any {
	spec := w.method()
	w.maybe(spec, 50, "schedule", w.schedule)
	w.maybe(spec, 25, "filtering", w.filtering)
	w.maybe(spec, 40, "containerImageScanning", w.of(list(true, false), "true"))
	w.maybe(spec, 20, "repositories", w.patterns)
	w.maybe(spec, 15, "privateRegistries", func() any { return map[string]any{"secretRef": w.ref()} })
	if len(configs) > 1 || w.chance(10) {
		spec["auditConfig"] = configs[w.IntN(len(configs))]
	}
	name := w.pick(list("prod-"+number, "dev-"+number, "eu-west-"+number, "production-of-the-payments-team-in-frankfurt-"+number, strings.Repeat("c", 40)+number, "b"+strings.Repeat("-c", 25)+number,
		strings.Repeat("d", 53)+"-"+number, strings.Repeat("n", 62)+number), "prod",
		strings.Repeat("n", 64), "Prod", "a.b", "-a", "a-", "", 5)
	return map[string]any{"apiVersion": "muster.dev/v1alpha1", "kind": "ExternalCluster", "metadata": map[string]any{"name": name}, "spec": spec}
}

// entry is one that is written into an audit config.
func (w *writer) entry(name string) any {
	entry := w.method()
	entry["name"] = name
	w.maybe(entry, 50, "schedule", w.schedule)
	w.maybe(entry, 25, "filtering", w.filtering)
	w.maybe(entry, 40, "containerImageScanning", w.of(list(true, false), "true"))
	w.maybe(entry, 15, "privateRegistriesPullSecretRef", w.ref)
	return entry
}

func (w *writer) ref() any {
	return w.pick(list(map[string]any{"name": "there"}, map[string]any{"name": "a.b-c"}), map[string]any{"name": ""}, map[string]any{}, map[string]any{"name": "Not_valid"}, map[string]any{"name": strings.Repeat("s", 254)},
		map[string]any{"name": "x", "key": "y"}, "there")
}

func (w *writer) server() any {
	return w.pick(list("https://k8s.example.com", "https://k8s.example.com:6443", "https://10.1.2.3", "https://[fd00::1]:6443"), "http://k8s.example.com", "k8s.example.com", "", "https://", "HTTPS://k8s.example.com", "https://a b", 7)
}

func (w *writer) method() map[string]any {
	methods := []func(map[string]any){
		func(s map[string]any) { s["kubeconfigSecretRef"] = w.ref() },
		func(s map[string]any) {
			s["serviceAccountAuth"] = map[string]any{"server": w.server(), "credentialsSecretRef": w.ref(), "skipTLSVerify": w.pick(list(true, false), "no")}
		},
		func(s map[string]any) {
			m := map[string]any{"server": w.server(), "vaultAddr": w.pick(list("https://vault.example.com", "https://vault.example.com/"), "https://vault.example.com/v1", "http://vault.example.com", "https://other.example.com", ""),
				"authRole": w.pick(list("muster"), "", 1), "credsRole": w.pick(list("scan"), "")}
			w.maybe(m, 30, "authPath", w.of(list("auth/kubernetes", "auth/eu"), "/auth/kubernetes", "", "auth/../sys"))
			w.maybe(m, 30, "ttl", w.of(list("1h", "30m", "24h"), "1d", "0s", "-1h", "x", 60))
			w.maybe(m, 30, "caCertSecretRef", w.ref)
			w.maybe(m, 30, "targetCACertSecretRef", w.ref)
			s["vaultAuth"] = m
		},
		func(s map[string]any) {
			m := map[string]any{"server": w.server(), "trustBundleSecretRef": w.ref()}
			w.maybe(m, 30, "socketPath", w.of(list("/run/spire/agent.sock"), "run/agent.sock", "/run/../etc", "", 1))
			w.maybe(m, 30, "audience", w.of(list("k8s"), "", 1))
			s["spiffeAuth"] = m
		},
		func(s map[string]any) { s["workloadIdentity"] = w.identity() },
	}
	spec := map[string]any{}
	methods[w.IntN(len(methods))](spec)
	if w.chance(2) {
		methods[w.IntN(len(methods))](spec)
	}
	return spec
}

func (w *writer) identity() any {
	endpoint := func(m map[string]any) map[string]any {
		w.maybe(m, 30, "endpoint", w.server)
		return m
	}
	blocks := map[string]func() map[string]any{
		"gke": func() map[string]any {
			return endpoint(map[string]any{"projectId": w.pick(list("project-1"), "", 1), "clusterName": "c", "clusterLocation": w.pick(list("europe-west1"), ""), "googleServiceAccount": w.pick(list("x@project-1.iam.gserviceaccount.com"), "x", "")})
		},
		"eks": func() map[string]any {
			return endpoint(map[string]any{"region": w.pick(list("eu-west-1"), "", 1), "clusterName": w.pick(list("c"), ""), "roleArn": w.pick(list("arn:aws:iam::123456789012:role/x"), "x", "")})
		},
		"aks": func() map[string]any {
			id := "00000000-0000-0000-0000-000000000001"
			m := endpoint(map[string]any{"subscriptionId": w.pick(list(id), "x", ""), "resourceGroup": "g", "clusterName": "c", "clientId": id, "tenantId": w.pick(list(id), "")})
			w.maybe(m, 30, "loginServer", w.of(list("x.azurecr.io"), "https://x.azurecr.io", ""))
			return m
		},
	}
	provider := w.pick(list("gke", "eks", "aks"), "ibm", "").(string)
	m := map[string]any{"provider": provider}
	if block := blocks[provider]; block != nil && !w.chance(2) {
		m[provider] = block()
	}
	if w.chance(2) {
		m["eks"] = blocks["eks"]()
	}
	return m
}
