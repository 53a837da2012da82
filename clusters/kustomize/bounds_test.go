package kustomize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestTries: kustomize matches every patch with a target against every object.
func TestTries(t *testing.T) {
	fleet := func(clusters int, kustomization string) repository {
		r := repository{"fleet/kustomization.yaml": kustomization}
		for i := range clusters {
			r[fmt.Sprintf("fleet/c%04d.yaml", i)] = clusterFile(fmt.Sprintf("c%04d", i), "", "")
		}
		return r
	}
	patches := func(n int, target string) string {
		return "patches:\n" + strings.Repeat("  - {target: {"+target+"}, patch: '[{\"op\": \"add\", \"path\": \"/spec/x\", \"value\": 1}]'}\n", n)
	}
	replacements := func(n int) string {
		return "replacements:\n  - source: {kind: Secret, name: x}\n    targets:\n" + strings.Repeat("      - {select: {name: nobody}, fieldPaths: [a]}\n", n)
	}
	byName := func(n int) string {
		return "patches:\n" + numbered(n, "- patch: '{apiVersion: v1, kind: Secret, metadata: {name: s%d}}'\n")
	}
	ofClusters := func(n int) string {
		return "buildMetadata: [originAnnotations]\npatches:\n" + numbered(n, "- patch: '{apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: c%d}}'\n")
	}
	merged := func(generators, keys int) string {
		text := "secretGenerator:\n- {name: s0, options: {disableNameSuffixHash: true}, literals: [x=y]}\n"
		for i := range generators {
			text += fmt.Sprintf("- {name: s0, behavior: merge, literals: [%s]}\n", numbered(keys, fmt.Sprintf("k%d-%%d=v, ", i)))
		}
		return text
	}
	plugins := func(n int) repository {
		return fleet(1, "generators: ["+strings.Repeat("../g.yaml, ", n)+"]\nresources: [s.yaml]\n").
			with("g.yaml", builtin("SecretGenerator", "behavior: merge\nliterals: [a=b]\n")).with("fleet/s.yaml", manyKeys(2000))
	}
	long := "name: " + strings.Repeat("x*", 480)
	for _, row := range []struct {
		reason string
		tree   repository
		want   string
	}{
		{"300 patches for 10,000 clusters", fleet(10_000, patches(300, "name: nobody")), ""},
		{"4,000 patches that fit nothing", fleet(1000, patches(4000, "name: nobody")), "fleet/kustomization.yaml:2:5"},
		{"4,000 patches for a few", fleet(100, patches(4000, "name: nobody")), ""},
		{"some long selectors", fleet(1000, patches(150, long)), ""},
		{"long selectors", fleet(1000, patches(250, long)), "fleet/kustomization.yaml:2:5"},
		{"replacements", fleet(1000, replacements(4000)), "fleet/kustomization.yaml:2:5"},
		{"images", fleet(1000, "images:\n"+numbered(4000, "- {name: x%d, newName: zz}\n")), "fleet/kustomization.yaml:2:3"},
		{"images of a few", fleet(100, "images:\n"+numbered(4000, "- {name: x%d, newName: zz}\n")), ""},
		{"replicas", fleet(1000, "replicas:\n"+numbered(4000, "- {name: x%d, count: 2}\n")), "fleet/kustomization.yaml:2:3"},
		{"10,000 names among 6,000 objects", secrets(6000).with("fleet/kustomization.yaml", byName(10_000)), "fleet/kustomization.yaml:30:3"},
		{"1,000 names among 6,000 objects", secrets(6000).with("fleet/kustomization.yaml", byName(1000)), ""},
		{"build metadata of ten patches", fleet(10_000, "buildMetadata: [originAnnotations]\n"+patches(10, "name: nobody")), ""},
		{"build metadata of a patch for each", fleet(5000, ofClusters(5000)), ""},
		{"build metadata of 200 patches", fleet(1000, "buildMetadata: [originAnnotations]\n"+patches(200, "name: nobody")), "fleet/kustomization.yaml:1:1"},
		{"build metadata of 200 patches for one", fleet(1000, ofClusters(1)+strings.Repeat(ofClusters(1)[len(ofClusters(0)):], 199)), "fleet/kustomization.yaml:1:1"},
		{"build metadata of a patch in many components", fleet(1000, "buildMetadata: [originAnnotations]\ncomponents: ["+strings.Repeat("../c, ", 200)+"]\n").with("c/kustomization.yaml", component+patches(1, "name: nobody")), "fleet/kustomization.yaml:1:1"},
		{"keys of generators that merge", fleet(1, merged(8, 1000)), ""},
		{"more of them", fleet(1, merged(100, 100)), "fleet/kustomization.yaml:3:3"},
		{"keys that are merged into a file", fleet(1, "resources: [s.yaml]\n"+merged(1000, 1)).with("fleet/s.yaml", manyKeys(2000)), "fleet/kustomization.yaml:4:3"},
		{"keys that a plugin merges", plugins(1000), "fleet/kustomization.yaml:1:14"},
		{"the fields of configurations", fleet(1000, "configurations: [../refs.yaml]\n").with("refs.yaml", configuredFields(200)), ""},
		{"many fields of configurations", fleet(10_000, "configurations: [../refs.yaml]\n").with("refs.yaml", configuredFields(1100)), "fleet/kustomization.yaml:1:1"},
		{"12,001 clusters in units", fleet(12_001, "namePrefix: x-\n"), ""},
		{"12,001 clusters in one piece", fleet(12_001, "vars: [{name: X, objref: {kind: Secret, name: x}}]\n"), "fleet/kustomization.yaml"},
		{"12,001 others", secrets(12_001), "fleet/kustomization.yaml"},
		{"almost as many", secrets(11_999), ""},
	} {
		t.Run(row.reason, func(t *testing.T) {
			if got := row.tree.amplified(t); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// secrets returns n Secrets, in files of 500.
func secrets(n int) repository {
	r := repository{}
	list := ""
	for i := range n {
		file := fmt.Sprintf("s%d.yaml", i/500)
		if i%500 == 0 {
			list += "  - " + file + "\n"
		}
		r["fleet/"+file] += fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: s%d}\n", i)
	}
	r["fleet/kustomization.yaml"] = "resources:\n" + list
	return r
}

// configuredFields returns a configuration that names n fields with references.
func configuredFields(n int) string {
	return "nameReference:\n- kind: ConfigMap\n  fieldSpecs:\n" + numbered(n, "  - {path: spec/f%d, kind: ExternalCluster}\n")
}

// manyKeys returns a Secret with n keys.
func manyKeys(n int) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: t}\ndata: {" + numbered(n, "k%d: '', ") + "}\n"
}

// lines returns n lines of an env file.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "K%d=some-value-%d\n", i, i)
	}
	return b.String()
}

// TestLargeGenerators: the output of generators is limited in keys, because kustomize compares each with all others, in size,
// wherever the content comes from, and in lines, each of which is masked.
func TestLargeGenerators(t *testing.T) {
	key := sealtest.NewKey(t)
	defer func(before int) { maxMasked = before }(maxMasked)
	maxMasked = 10_000
	file := strings.Repeat(strings.Repeat("abcdefghijklmno", 10)+"\n", 400<<10/151)
	folders := func(n int, generator string) repository {
		r, list := repository{}, ""
		for i := range n {
			list += fmt.Sprintf("  - d%d\n", i)
			r[fmt.Sprintf("fleet/d%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [c.yaml]\nnameSuffix: -x%d\n", i) + generator
			r[fmt.Sprintf("fleet/d%d/c.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "", "")
		}
		r["fleet/kustomization.yaml"] = "resources:\n" + list
		return r
	}
	const files, envs = "secretGenerator:\n  - {name: s, files: [x=../big]}\n", "secretGenerator:\n  - {name: s, envs: [../big]}\n"
	for _, row := range []struct {
		reason string
		tree   repository
		want   string
	}{
		{"100 of 400 KiB", folders(100, files).with("fleet/big", file), ""},
		{"300 of 400 KiB", folders(300, files).with("fleet/big", file), "fleet/d0/kustomization.yaml:4:5"},
		{"300 of 400 KiB, encrypted", folders(300, files).with("fleet/big", key.Encrypt(t, "big", file, sealtest.Everything)), "fleet/d0/kustomization.yaml:4:5"},
		{"300 of a plugin", folders(300, "generators: [../g.yaml]\n").with("fleet/big", file).with("fleet/g.yaml",
			"apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: s}\nfiles: [x=../big]\n"), "fleet/d0/kustomization.yaml:3:14"},
		{"2,000 keys", folders(1, envs).with("fleet/big", lines(2000)), ""},
		{"2,001 keys", folders(1, envs).with("fleet/big", lines(2001)), "fleet/d0/kustomization.yaml:4:5"},
		{"2,001 keys, encrypted", folders(1, envs).with("fleet/big", key.Encrypt(t, "big.env", lines(2001), sealtest.Everything)), "fleet/d0/kustomization.yaml:4:5"},
		{"2,001 keys of a ConfigMap", folders(1, strings.Replace(envs, "secret", "configMap", 1)).with("fleet/big", lines(2001)), "fleet/d0/kustomization.yaml:4:5"},
		{"2,001 literals", folders(1, "secretGenerator:\n  - name: s\n    literals:\n"+strings.ReplaceAll(lines(2001), "K", "      - K")), "fleet/d0/kustomization.yaml:4:5"},
		{"2,001 literals of a plugin", folders(1, "generators: [../g.yaml]\n").with("fleet/g.yaml", builtin("ConfigMapGenerator", "literals:\n"+strings.ReplaceAll(lines(2001), "K", "- K"))), "fleet/d0/kustomization.yaml:3:14"},
		{"lines by the thousand", folders(1, strings.Replace(files, "../big", "../l0, y=../l1", 1)).
			with("fleet/l0", key.Encrypt(t, "l", numbers(0, 6000), sealtest.Everything)).
			with("fleet/l1", key.Encrypt(t, "l", numbers(6000, 12_000), sealtest.Everything)), "fleet/d0/kustomization.yaml:4:5"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			tree := row.tree
			if row.want == "" && len(tree) > 100 {
				if got := tree.amplified(t); got != "" { // building it takes long
					t.Errorf("refused at %s", got)
				}
				return
			}
			result := tree.build(t, "fleet", key.Opener(t), unitSize)
			got := ""
			for _, f := range result.Findings {
				if f.Code != load.CodeSize || f.Fix == "" {
					t.Errorf("finding %+v", f)
				}
				if got = f.Place(); got == row.want {
					break
				}
			}
			if got != row.want || result.Stopped != (row.want != "") {
				t.Errorf("stopped %t, %v", result.Stopped, result.Findings)
			}
		})
	}
}

// numbers returns lines of eight digits.
func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%08d\n", i)
	}
	return b.String()
}
