package clusters_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// BenchmarkHostileTrees renders trees that are as hostile as the bounds allow. It prints how long each takes and how much memory it holds at
// most, and fails when that is more than one AuditSync may have of the gibibyte that the Deployment gives to all.
func BenchmarkHostileTrees(b *testing.B) {
	key := sealtest.NewKey(b)
	const most = 700 << 20
	for _, row := range []struct {
		reason string
		tree   files
	}{
		{"25-generators-of-400-KiB", generatorsOf(b, key, 25)},
		{"50-generators-of-400-KiB", generatorsOf(b, key, 50)},
		{"100-generators-of-400-KiB", generatorsOf(b, key, 100)},
		{"a-million-values", valuesOf(4, 240_000)},
		{"more-than-a-million-values", valuesOf(40, 240_000)},
		{"600-clusters-with-one-kubeconfig-of-400-KiB", sharing(b, key, 600)},
		{"10000-clusters-with-one-kubeconfig-of-1-MiB", sharing(b, key, 10_000)},
	} {
		b.Run(row.reason, func(b *testing.B) {
			var peak uint64
			for b.Loop() {
				peak = max(peak, sealtest.PeakHeap(func() { render(b, row.tree.fs(), "f", options, key.Opener(b)) }))
			}
			b.ReportMetric(float64(peak)/(1<<20), "MiB/peak")
			if peak > most {
				b.Errorf("%d MiB of heap", peak>>20)
			}
		})
	}
}

// generatorsOf has a folder for each of n clusters, with a generator of one encrypted file for all.
func generatorsOf(b *testing.B, key *sealtest.Key, n int) files {
	b.Helper()
	f := files{"f/m.yaml": auditConfig("mondoo-client"), "f/big": key.Encrypt(b, "big", strings.Repeat(strings.Repeat("x", 99)+"\n", 4096), sealtest.Everything)}
	list := "resources: [m.yaml"
	for i := range n {
		list += fmt.Sprintf(", d%d", i)
		f[fmt.Sprintf("f/d%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [c.yaml]\nsecretGenerator: [{name: s%d, files: [x=../big]}]\n", i)
		f[fmt.Sprintf("f/d%d/c.yaml", i)] = bare(fmt.Sprintf("c%d", i), "kubeconfigSecretRef: {name: x}")
	}
	f["f/kustomization.yaml"] = list + "]\n"
	return f
}

func bare(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

// valuesOf has clusters with so many values each.
func valuesOf(clusters, values int) files {
	f := files{"f/m.yaml": auditConfig("mondoo-client")}
	for i := range clusters {
		f[fmt.Sprintf("f/c%d.yaml", i)] = bare(fmt.Sprintf("c%d", i), "kubeconfigSecretRef: {name: x}") + "junk: [" + strings.Repeat("b,", values) + "]\n"
	}
	return f
}

// sharing has clusters that name one file.
func sharing(b *testing.B, key *sealtest.Key, clusters int) files {
	b.Helper()
	size := 400 << 10
	if clusters > 1000 {
		size = 1 << 20
	}
	text := kubeconfig("a")
	f := files{"f/m.yaml": auditConfig("mondoo-client"), "f/k": key.Encrypt(b, "k", text+"# "+strings.Repeat("x", size-len(text)-3)+"\n", sealtest.Everything)}
	for i := range clusters {
		f[fmt.Sprintf("f/c%d.yaml", i)] = bare(fmt.Sprintf("c%d", i), "kubeconfigFile: k")
	}
	return f
}
