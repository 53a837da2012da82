package kustomize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// amplified returns the finding for a tree that writes too much, or "". It builds nothing.
func (r repository) amplified(t *testing.T) string {
	t.Helper()
	tree := seal.NewSealer().Seal(r.load(t, "fleet"), nil)
	b := newBuilder(tree, unitSize)
	b.result.Report = finding.Report{}
	if tree.Stopped {
		t.Fatal(tree.Findings)
	}
	b.scan()
	b.refuseAmplified()
	if len(b.result.Findings) == 0 {
		return ""
	}
	f := b.result.Findings[0]
	if f.Code != load.CodeSize || !b.result.Stopped || f.Fix == "" {
		t.Errorf("finding %+v", f)
	}
	return f.Place()
}

// TestAmplification: the limit on what kustomizations write counts the objects that they write into.
func TestAmplification(t *testing.T) {
	fleetOf := func(n int, dir, kustomization string) repository {
		r := repository{}
		for i := range n {
			name := fmt.Sprintf("c%04d", i)
			r[dir+"/"+name+".yaml"] = clusterFile(name, "tier: a", "schedule: '@daily'")
		}
		if dir != "fleet" {
			refs := ""
			for i := range n {
				refs += fmt.Sprintf("  - c%04d.yaml\n", i)
			}
			r[dir+"/kustomization.yaml"] = "resources:\n" + refs
			r["fleet/kustomization.yaml"] = "resources:\n  - ../" + dir + "\n"
		}
		r["fleet/kustomization.yaml"] += kustomization
		return r
	}
	list := func(n int) string { return "[0" + strings.Repeat(", 1", n-1) + "]" }
	jsonPatch := func(target string, n int) string {
		return "  - target: {" + target + "}\n    patch: '[{\"op\": \"add\", \"path\": \"/spec/x\", \"value\": " + list(n) + "}]'\n"
	}
	merge := func(target, value string) string {
		return "  - target: {" + target + "}\n    patch: |\n      kind: x\n      metadata: {name: x}\n      spec: {x: " + value + "}\n"
	}
	twenty := "  - target: {kind: ExternalCluster}\n    patch: |\n"
	for i := range 20 {
		twenty += fmt.Sprintf("      - {op: add, path: /spec/filtering/namespaces/exclude/-, value: team-%d-of-the-platform}\n", i)
	}
	copying := func(n int) string {
		text := "  - target: {kind: ExternalCluster}\n    patch: |\n"
		for i := range n {
			text += fmt.Sprintf("      - {op: copy, from: /spec, path: /spec/x%d}\n", i)
		}
		return text
	}
	labels := "labels:\n  - pairs: {"
	for i := range 1500 {
		labels += fmt.Sprintf("l%d: x, ", i)
	}
	labels += "z: z}\n"
	for _, row := range []struct {
		reason string
		tree   repository
		want   string
	}{
		{"twenty operations for 10,000 clusters", fleetOf(10_000, "fleet", "patches:\n"+twenty), ""},
		{"a list for a few", fleetOf(80, "fleet", "patches:\n"+jsonPatch("kind: ExternalCluster", 10_000)), ""},
		{"a list for many", fleetOf(160, "fleet", "patches:\n"+jsonPatch("kind: ExternalCluster", 10_000)), "fleet/kustomization.yaml:2:5"},
		{"a target without kind", fleetOf(160, "fleet", "patches:\n"+jsonPatch("name: c.*", 10_000)), "fleet/kustomization.yaml:2:5"},
		{"another kind", fleetOf(160, "fleet", "patches:\n"+jsonPatch("kind: Secret", 10_000)), ""},
		{"one of many", fleetOf(160, "fleet", "patches:\n"+jsonPatch("kind: ExternalCluster, name: c0007", 10_000)), ""},
		{"some of many", fleetOf(160, "fleet", "patches:\n"+jsonPatch("kind: ExternalCluster, name: c000.", 10_000)), ""},
		{"a strategic patch for many", fleetOf(160, "fleet", "patches:\n"+merge("kind: ExternalCluster", list(10_000))), "fleet/kustomization.yaml:2:5"},
		{"a strategic patch with aliases", fleetOf(160, "fleet", "patches:\n"+merge("kind: ExternalCluster", "{a: &a "+list(1000)+", b: [*a, *a, *a, *a, *a, *a, *a, *a, *a]}")), "fleet/kustomization.yaml:2:5"},
		{"few values, but large ones", fleetOf(1000, "fleet", "patches:\n"+merge("kind: ExternalCluster", strings.Repeat("x", 100_000))), "fleet/kustomization.yaml:2:5"},
		{"many patches, the largest of which is named", fleetOf(160, "fleet", "patches:\n"+jsonPatch("kind: ExternalCluster", 3000)+jsonPatch("kind: ExternalCluster", 4000)+jsonPatch("kind: ExternalCluster", 3000)),
			"fleet/kustomization.yaml:4:5"},
		{"a patch in a file", fleetOf(160, "fleet", "patches:\n  - target: {kind: ExternalCluster}\n    path: ../patch.yaml\n").with("patch.yaml", "[{op: add, path: /spec/x, value: "+list(10_000)+"}]\n"), "fleet/kustomization.yaml:2:5"},
		{"the deprecated list", fleetOf(160, "fleet", "patchesJson6902:\n"+jsonPatch("version: v1alpha1, kind: ExternalCluster, name: c.*", 10_000)), "fleet/kustomization.yaml:2:5"},
		{"labels", fleetOf(1000, "fleet", labels), "fleet/kustomization.yaml:2:5"},
		{"what a base writes into its own", fleetOf(160, "base", "").with("base/kustomization.yaml", "patches:\n"+jsonPatch("kind: ExternalCluster", 10_000)), "base/kustomization.yaml:163:5"},
		{"a component", fleetOf(160, "fleet", "components: [../component]\n").with("component/kustomization.yaml",
			"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n"+jsonPatch("kind: ExternalCluster", 10_000)), "component/kustomization.yaml:4:5"},
		{"one copy for 10,000 clusters", fleetOf(10_000, "base", "patches:\n"+copying(1)), ""},
		{"copies that double an object", fleetOf(1, "fleet", "patches:\n"+copying(17)), "fleet/kustomization.yaml:2:5"},
		{"copies in a component at the root", fleetOf(1, "fleet", component+"patches:\n"+copying(17)), "fleet/kustomization.yaml:4:5"},
		{"copies in many patches", fleetOf(1, "fleet", "patches:\n"+strings.Repeat(copying(2), 9)), "fleet/kustomization.yaml:2:5"},
		{"copies in a base and above it", fleetOf(1, "base", "patches:\n"+copying(9)).with("base/kustomization.yaml", "patches:\n"+copying(8)), "base/kustomization.yaml:4:5"},
		{"copies under another spelling", fleetOf(1, "fleet", "patches:\n"+strings.ReplaceAll(copying(17), "op: copy", `op: "\x63opy"`)), "fleet/kustomization.yaml:2:5"},
		{"a patch in a transformer", fleetOf(160, "fleet", "transformers: [../t.yaml]\n").with("t.yaml",
			"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npatch: '[{op: add, path: /spec/x, value: "+list(10_000)+"}]'\n"), "fleet/kustomization.yaml:1:16"},
		{"copies in a transformer", fleetOf(1, "fleet", "transformers: [../t.yaml]\n").with("t.yaml", "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npatch: |\n"+
			copying(17)[len("  - target: {kind: ExternalCluster}\n    patch: |\n"):]), "fleet/kustomization.yaml:1:16"},
		{"a short copy in each of many transformers", fleetOf(1, "fleet", "transformers: ["+strings.Repeat("../t.yaml, ", 17)+"]\n").with("t.yaml",
			"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\ntarget: {kind: ExternalCluster}\npatch: '[{op: copy, from: /spec, path: /spec/x}]'\n"), "fleet/kustomization.yaml:1:16"},
		{"a name that only a patch gives", fleetOf(160, "base", "patches:\n"+jsonPatch("name: renamed-.*", 10_000)).with("base/kustomization.yaml",
			"patches:\n  - target: {kind: ExternalCluster}\n    patch: '[{op: replace, path: /metadata, value: {name: renamed-x}}]'\n"), "fleet/kustomization.yaml:4:5"},
		{"a name that a transformer gives", fleetOf(160, "base", "patches:\n"+jsonPatch("name: renamed-.*", 10_000)).with("base/kustomization.yaml", "transformers: [../t.yaml]\n").with("t.yaml",
			"apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: t}\nprefix: renamed-\nfieldSpecs: [{path: metadata/name}]\n"), "fleet/kustomization.yaml:4:5"},
		{"an alias to itself in a transformer's patch", fleetOf(1, "fleet", "transformers: [../t.yaml]\n").with("t.yaml",
			"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npatch: 'spec: &a {"+strings.Repeat("x", 64)+": *a}'\n"), "fleet/kustomization.yaml:1:16"},
		{"prefixes at many levels", prefixes(18), "l0/kustomization.yaml:1:1"},
		{"a transformer", fleetOf(160, "fleet", "transformers: [../t.yaml]\n").with("t.yaml", "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\ntarget: {kind: ExternalCluster}\npatch: 'x'\nmore: "+list(10_000)+"\n"),
			"fleet/kustomization.yaml:1:16"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			if got := row.tree.amplified(t); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// with adds a file to the repository.
func (r repository) with(name, text string) repository {
	r[name] += text
	return r
}

// prefixes returns a fleet with a prefix at each of n levels. kustomize keeps the names of all levels in each object.
func prefixes(levels int) repository {
	r := repository{"fleet/kustomization.yaml": "resources: [../l0]\n"}
	for i := range levels {
		r[fmt.Sprintf("l%d/kustomization.yaml", i)] = fmt.Sprintf("namePrefix: %s-\nresources: [../l%d]\n", strings.Repeat("x", 1000), i+1)
	}
	list := ""
	for i := range 1000 {
		list += fmt.Sprintf("- c%d.yaml\n", i)
		r[fmt.Sprintf("l%d/c%d.yaml", levels, i)] = clusterFile(fmt.Sprintf("c%d", i), "", "")
	}
	r[fmt.Sprintf("l%d/kustomization.yaml", levels)] = "resources:\n" + list
	return r
}
