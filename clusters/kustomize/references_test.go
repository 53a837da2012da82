package kustomize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/seal"
)

// A kustomization can reach more objects than the files show by their kinds, and write into lists, names and references. Each large tree
// made kustomize use gigabytes or minutes. The same tree with fewer objects is built.
func TestWhatIsNotWrittenOnceAnObject(t *testing.T) {
	values := func(n int) string {
		return "'[{\"op\": \"add\", \"path\": \"/data\", \"value\": [" + strings.Repeat("1,", n) + "1]}]'\n"
	}
	pod := func(n int) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [" + strings.Repeat("{configMap: {name: m}}, ", n) + "]}\n"
	}
	base := func(n int, patch string) []string {
		files, names := []string{}, ""
		for i := range n {
			names += fmt.Sprintf("m%d.yaml, ", i)
			files = append(files, fmt.Sprintf("base/m%d.yaml", i), fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d}\n", i))
		}
		return append(files, "base/kustomization.yaml", "resources: ["+names+"]\n"+patch)
	}
	tree := func(kustomization string, files ...string) repository {
		return oneCluster("", append([]string{"fleet/kustomization.yaml", kustomization}, files...)...)
	}
	for _, row := range []struct {
		reason string
		tree   func(n int) repository
		few    int
		many   int
	}{
		{"references to one object", func(n int) repository {
			return tree("namePrefix: x-\nresources: [a.yaml, m.yaml, pod.yaml]\n", "fleet/m.yaml", configMap+"  x: y\n", "fleet/pod.yaml", pod(n))
		}, 500, 30_000},
		{"references to an object that a patch names", func(n int) repository {
			return tree("resources: [a.yaml, m.yaml, pod.yaml]\npatches:\n- path: p.yaml\n  target: {kind: ConfigMap, name: old}\n  options: {allowNameChange: true}\n",
				"fleet/m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n", "fleet/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n", "fleet/pod.yaml", pod(n))
		}, 500, 30_000},
		{"references that a patch writes", func(n int) repository {
			pods, names := []string{"fleet/m.yaml", configMap + "  x: y\n"}, ""
			for i := range 50 {
				names += fmt.Sprintf(", p%d.yaml", i)
				pods = append(pods, fmt.Sprintf("fleet/p%d.yaml", i), fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\n", i))
			}
			return tree("namePrefix: x-\nresources: [a.yaml, m.yaml"+names+"]\npatches:\n- target: {kind: Pod}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec\", \"value\": {\"volumes\": ["+
				strings.Repeat("{\"configMap\": {\"name\": \"m\"}}, ", n)+"{}]}}]'\n", pods...)
		}, 10, 1_000},
		{"a long prefix", func(n int) repository {
			return tree("namePrefix: "+strings.Repeat("p", n)+"\nresources: [a.yaml, m.yaml, pod.yaml]\n", "fleet/m.yaml", configMap+"  x: y\n", "fleet/pod.yaml", pod(2_000))
		}, 30, 20_000},
		{"kinds that a patch changes", func(n int) repository {
			return tree("resources: [a.yaml, ../base]\npatches:\n- target: {kind: Other}\n  patch: "+values(n*10),
				base(n, "patches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"replace\", \"path\": \"/kind\", \"value\": \"Other\"}]'\n")...)
		}, 5, 500},
		{"objects of a List", func(n int) repository {
			return tree("resources: [a.yaml, l.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: "+values(n*10),
				"fleet/l.yaml", "apiVersion: v1\nkind: List\nitems:\n"+numbered(n, "- {apiVersion: v1, kind: ConfigMap, metadata: {name: m%d}}\n"))
		}, 5, 500},
		{"labels of claims", func(n int) repository {
			return tree("resources: [a.yaml, s.yaml]\ncommonLabels: {"+numbered(n, "l%d: x, ")+"}\n",
				"fleet/s.yaml", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {volumeClaimTemplates: ["+strings.Repeat("{}, ", 50*n)+"{}]}\n")
		}, 5, 400},
		{"labels of generators", func(n int) repository {
			return tree("resources: [a.yaml]\ngeneratorOptions:\n  labels: {" + numbered(n, "l%d: x, ") + "}\nconfigMapGenerator:\n" + numbered(n, "- {name: g%d, literals: [a=b]}\n"))
		}, 5, 2_000},
	} {
		for _, n := range []int{row.few, row.many} {
			b := newBuilder(seal.NewSealer().Seal(row.tree(n).load(t, "fleet"), nil), unitSize)
			if b.scan(); b.result.Stopped {
				t.Fatalf("%s, %d: %v", row.reason, n, b.result.Findings)
			}
			if b.refuseAmplified(); b.result.Stopped != (n == row.many) {
				t.Errorf("%s, %d: refused %t: %v", row.reason, n, b.result.Stopped, b.result.Findings)
			}
		}
	}
}
