package clusters_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// BenchmarkFleet renders fleets whose clusters have an age-encrypted kubeconfig of 5 KB each, through one kustomization with
// a patch and labels. It prints, per size:
//
//	ms/cold        Load to Open, with nothing cached
//	ms/plan        comparison of the fleet with a management cluster that has all of it: what a watch event costs
//	ms/floor       the same files decrypted one by one with the sops library alone, divided by the processors
//	cold/floor     the ratio of the two, from the same run
//	MiB/heap       live heap with the fleet in memory
func BenchmarkFleet(b *testing.B) {
	for _, n := range []int{100, 1_000, 5_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkFleet(b, n) })
	}
}

func benchmarkFleet(b *testing.B, n int) {
	key := sealtest.NewKey(b)
	repository := largeFleet(b, key, n)
	source := clusters.Source{FS: repository.fs(), Path: "f"}
	opener := key.Opener(b)
	var cold, compare time.Duration
	var opened *fleet.Opened
	for b.Loop() {
		began := time.Now()
		pipeline, redactor := clusters.NewPipeline(), &redact.Redactor{}
		sealed, err := pipeline.Compile(context.Background(), source, options, opener)
		if err != nil {
			b.Fatal(err)
		}
		if opened, err = pipeline.Open(context.Background(), sealed, opener, redactor, now); err != nil {
			b.Fatal(err)
		}
		cold += time.Since(began)
		if len(opened.Secrets) != n || len(opened.Broken) > 0 {
			b.Fatalf("%d Secrets, broken %v", len(opened.Secrets), opened.Broken)
		}
		live := applied(opened)
		began = time.Now()
		if p := plan.Compute(opened, live, plan.Policy{Revision: "x", Prune: true, CorrectDrift: true}); len(p.Secrets) > 0 {
			b.Fatalf("%d Secrets to write", len(p.Secrets))
		}
		compare += time.Since(began)
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	floor := sopsFloor(b, key, repository)
	rounds := time.Duration(b.N)
	b.ReportMetric(float64((cold / rounds).Milliseconds()), "ms/cold")
	b.ReportMetric(float64((compare/rounds).Microseconds())/1000, "ms/plan")
	b.ReportMetric(float64(floor.Milliseconds()), "ms/floor")
	b.ReportMetric(float64(cold/rounds)/float64(floor), "cold/floor")
	b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MiB/heap")
	b.ReportMetric(0, "ns/op") // setting up the live objects is in it, so it says nothing
	runtime.KeepAlive(opened)
}

// largeFleet is a repository of n clusters. Their kubeconfigs have 5 KB.
func largeFleet(b *testing.B, key *sealtest.Key, n int) files {
	b.Helper()
	repository := files{
		"f/mondoo-client.yaml": auditConfig("mondoo-client"),
		"f/kustomization.yaml": "resources: [mondoo-client.yaml]\nlabels: [{pairs: {fleet: large}}]\npatches:\n- target: {kind: ExternalCluster}\n" +
			"  patch: |\n    - {op: add, path: /spec/containerImageScanning, value: true}\n",
	}
	const size = 5 << 10
	for i := range n {
		name := fmt.Sprintf("cluster-%05d", i)
		text := kubeconfig(name)
		text += "# " + strings.Repeat("x", max(0, size-len(text)-3)) + "\n"
		repository["f/"+name+".yaml"] = key.Encrypt(b, "c.yaml",
			"apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: "+name+"\nspec:\n  schedule: H * * * *\n  kubeconfig: |\n"+indent(4, text), sealtest.Credentials)
	}
	return repository
}

// applied is a management cluster that has everything of a fleet.
func applied(opened *fleet.Opened) plan.Live {
	policy := plan.Policy{Revision: "x", Prune: true, CorrectDrift: true}
	p := plan.Compute(opened, plan.Live{}, policy)
	live := plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{}, Inventories: p.After}
	for _, c := range p.Configs {
		live.AuditConfigs[c.Name] = c.Object
	}
	for _, s := range p.Secrets {
		live.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Labels: s.Labels, Annotations: s.Annotations, Data: bytesOf(s.Data)}
	}
	return live
}

// sopsFloor decrypts every cluster file with the sops library, one after the other, and divides by the processors: what
// nobody who verifies the MACs can do without.
func sopsFloor(b *testing.B, key *sealtest.Key, repository files) time.Duration {
	b.Helper()
	ring := &keys.Ring{}
	if err := ring.AddAge("benchmark", key.Private()); err != nil {
		b.Fatal(err)
	}
	store, cipher := yaml.NewStore(&config.YAMLStoreConfig{}), aes.NewCipher()
	began := time.Now()
	for name, content := range repository {
		if !strings.HasPrefix(name, "f/cluster-") {
			continue
		}
		tree, err := store.LoadEncryptedFile([]byte(content))
		if err != nil {
			b.Fatal(err)
		}
		dataKey, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{ring}, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = tree.Decrypt(dataKey, cipher); err != nil {
			b.Fatal(err)
		}
		if _, err = store.EmitPlainFile(tree.Branches); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / time.Duration(runtime.GOMAXPROCS(0))
}

func bytesOf(data map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(data))
	for key, value := range data {
		out[key] = []byte(value)
	}
	return out
}
