package kustomize

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// written returns how many bytes the built objects take as JSON.
func (r repository) written(t *testing.T) int {
	t.Helper()
	result := r.build(t, "fleet", nil, unitSize)
	if result.Stopped {
		t.Fatal(result.Findings)
	}
	n := 0
	for _, res := range result.Resources {
		text, err := json.Marshal(res.Object)
		if err != nil {
			t.Fatal(err)
		}
		n += len(text)
	}
	return n
}

// numbered repeats a text, with its index for "%d".
func numbered(n int, text string) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(strings.ReplaceAll(text, "%d", fmt.Sprint(i)))
	}
	return out.String()
}

// oneCluster returns a fleet of one cluster, with a kustomization and other files.
func oneCluster(kustomization string, files ...string) repository {
	r := repository{"fleet/a.yaml": clusterFile("a", "tier: a", "schedule: '@daily', list: [{}, {}]"), "fleet/kustomization.yaml": "resources: [a.yaml]\n" + kustomization}
	for i := 0; i < len(files); i += 2 {
		r[files[i]] = files[i+1]
	}
	return r
}

// replacing returns replacements from one field of clusters to others.
func replacing(n int, from, to, options string) string {
	return numbered(n, "- source: {kind: ExternalCluster, "+from+"}\n  targets:\n  - select: {kind: ExternalCluster}\n    fieldPaths: ["+to+"]\n    options: {"+options+"}\n")
}

const (
	component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n"
	create    = "create: true"
)

// builtin returns the configuration of a transformer.
func builtin(kind, text string) string {
	return "apiVersion: builtin\nkind: " + kind + "\nmetadata: {name: t}\n" + text
}

// TestGrowth: what grows to more than its files suggest is refused before it is built.
func TestGrowth(t *testing.T) {
	lit := func(n int) string { return strings.Repeat("z", 64*n) }
	doubling := func(n int) string { return replacing(n, "fieldPath: spec", "spec.x%d", create) }
	fromMap := func(field, to string) string {
		return "- source: {kind: ConfigMap, fieldPath: " + field + "}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [" + to + "], options: {create: true}}]\n"
	}
	vars := "vars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: m}, fieldref: {fieldPath: data.x}}]\nconfigurations: [c.yaml]\n"
	for _, row := range []struct {
		reason string
		tree   func(n int) repository
		few    [2]int // three times as much with the higher number as with the lower
		many   int
		want   string
	}{
		{"a chain of replacements", func(n int) repository { return oneCluster("replacements:\n" + doubling(n)) }, [2]int{4, 6}, 20, "fleet/kustomization.yaml:"},
		{"one replacement with many fields", func(n int) repository {
			return oneCluster("replacements:\n" + replacing(1, "fieldPath: spec", numbered(n, "spec.x%d, ")+"spec.y", create))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:3:3"},
		{"one replacement with many targets", func(n int) repository {
			return oneCluster("replacements:\n- source: {kind: ExternalCluster, fieldPath: spec}\n  targets:\n" + numbered(n, "  - {select: {kind: ExternalCluster}, fieldPaths: [spec.x%d], options: {create: true}}\n"))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:3:3"},
		{"one replacement of every item of a list", func(n int) repository {
			return oneCluster("replacements:\n"+replacing(1, "fieldPath: spec", "spec.list.*", ""), "fleet/a.yaml", clusterFile("a", "", "list: ["+strings.Repeat("{}, ", n)+"]"))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:3:3"},
		{"replacements that copy to and fro", func(n int) repository {
			return oneCluster("replacements:\n" + numbered(n, "- source: {kind: ExternalCluster, fieldPath: spec}\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: [metadata.m.x%d], options: {create: true}}]\n"+
				"- source: {kind: ExternalCluster, fieldPath: metadata.m}\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: [spec.x%d], options: {create: true}}]\n"))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:"},
		{"replacements in a file", func(n int) repository {
			return oneCluster("replacements: [{path: r.yaml}]\n", "fleet/r.yaml", doubling(n))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:2:16"},
		{"one replacement in a file", func(n int) repository {
			return oneCluster("replacements: [{path: r.yaml}]\n", "fleet/r.yaml", strings.ReplaceAll(replacing(1, "fieldPath: spec", numbered(n, "spec.x%d, ")+"spec.y", create)[2:], "\n  ", "\n"))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:2:16"},
		{"replacements in a transformer", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\n", "fleet/t.yaml", builtin("ReplacementTransformer", "replacements:\n"+doubling(n)))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:2:16"},
		{"replacements in a component", func(n int) repository {
			return oneCluster("components: [../c]\n", "c/kustomization.yaml", component+"replacements:\n"+doubling(n))
		}, [2]int{4, 6}, 20, "c/kustomization.yaml:"},
		{"a component that is included many times", func(n int) repository {
			return oneCluster("components: ["+strings.Repeat("../c, ", n)+"../c]\n", "c/kustomization.yaml", component+"replacements:\n"+replacing(1, "fieldPath: spec", "spec.x, spec.y", create))
		}, [2]int{0, 1}, 20, "c/kustomization.yaml:4:3"},
		{"replacements in a base and above it", func(n int) repository {
			return repository{"fleet/kustomization.yaml": "resources: [../base]\nreplacements:\n" + doubling(n/2), "base/a.yaml": clusterFile("a", "", "schedule: x"),
				"base/kustomization.yaml": "resources: [a.yaml]\nreplacements:\n" + strings.ReplaceAll(doubling(n/2), "spec.x", "spec.y")}
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:"},
		{"texts that are joined", func(n int) repository {
			return oneCluster("replacements:\n" + replacing(n, "fieldPath: spec.schedule", "spec.schedule", "delimiter: ',', index: 99"))
		}, [2]int{6, 9}, 30, "fleet/kustomization.yaml:"},
		{"one text that is joined to itself", func(n int) repository {
			return oneCluster("replacements:\n" + replacing(1, "fieldPath: spec.schedule", strings.Repeat("spec.schedule, ", n)+"spec.schedule", "delimiter: ',', index: -1"))
		}, [2]int{6, 9}, 30, "fleet/kustomization.yaml:3:3"},
		{"a part of a text that is joined", func(n int) repository {
			return oneCluster("replacements:\n" + replacing(n, "fieldPath: spec.schedule, options: {delimiter: '!'}", "spec.schedule", "delimiter: ',', index: 99"))
		}, [2]int{6, 9}, 30, "fleet/kustomization.yaml:"},
		{"a long text of a generator", func(n int) repository {
			r := oneCluster("configMapGenerator: [{name: m, files: [x=long.txt]}]\nreplacements:\n- source: {kind: ConfigMap, name: m, fieldPath: data.x}\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: ["+numbered(n, "spec.x%d, ")+"spec.y], options: {create: true}}]\n",
				"fleet/long.txt", lit(n))
			return r
		}, [2]int{10, 20}, 2000, "fleet/kustomization.yaml:4:3"},
		{"a text that holds what it is set in", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, m.yaml]\nreplacements:\n"+numbered(n, fromMap("data.x", "data.x.c%d")), "fleet/m.yaml", configMap+"  x: '{\"a\": \"b\"}'\n")
		}, [2]int{}, 20, "fleet/kustomization.yaml:"},
		{"aliases in a text", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, m.yaml]\nreplacements:\n"+fromMap("metadata.name", "data.x.c"), "fleet/m.yaml", configMap+"  x: '{a: &a \""+lit(n)+"\", c: d, b: ["+strings.Repeat("*a ,", n)+"0]}'\n")
		}, [2]int{10, 20}, 1000, "fleet/kustomization.yaml:3:3"},
		{"lists in a text, which are indented", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, m.yaml]\nreplacements:\n"+fromMap("metadata.name", "data.x.c"), "fleet/m.yaml", configMap+"  x: |\n    {  \"c\": \"1\",\n      \"d\": "+strings.Repeat("[", n)+strings.Repeat("1,", n)+"1"+strings.Repeat("]", n)+"}\n")
		}, [2]int{100, 200}, 5000, "fleet/kustomization.yaml:3:3"},
		{"a var with a long value", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, m.yaml]\n"+vars, "fleet/c.yaml", "varReference: [{path: data/y}]\n", "fleet/m.yaml", configMap+"  x: "+lit(n)+"\n  y: "+strings.Repeat("$(A)", n)+"\n")
		}, [2]int{10, 20}, 2000, "fleet/kustomization.yaml:2:8"},
		{"a var that refers to itself", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, m.yaml]\n"+vars, "fleet/c.yaml", "varReference: [{path: data}, {path: data/y}, {path: data/y, kind: ConfigMap}, {path: data/y, version: v1}]\n",
				"fleet/m.yaml", configMap+"  x: "+strings.Repeat("$(A)", n)+"\n  y: $(A)\n")
		}, [2]int{}, 10, "fleet/kustomization.yaml:2:8"},
		{"copy operations behind another spelling", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\n", "fleet/t.yaml", builtin("PatchTransformer", "target: {kind: ExternalCluster}\npatch: '["+numbered(n, `{"op": "add", "op": "copy", "from": "/spec", "path": "/spec/x%d"}, `)+"{\"op\": \"add\", \"path\": \"/spec/y\", \"value\": 1}]'\n"))
		}, [2]int{4, 6}, 17, "fleet/kustomization.yaml:2:16"},
		{"copy operations that are JSON and no YAML", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\n", "fleet/t.yaml", builtin("PatchTransformer", "target: {kind: ExternalCluster}\n"+`patch: "[`+numbered(n, `{\"op\": \"copy\", \"from\": \"/spec\", \"path\": \"/spec/x%d\"}, `)+`{\"op\": \"add\", \"path\": \"/spec/y\", \"value\": \"\\ud83d\"}]"`+"\n"))
		}, [2]int{4, 6}, 17, "fleet/kustomization.yaml:2:16"},
		{"copy operations by a validator", func(n int) repository {
			return oneCluster("validators: [t.yaml]\n", "fleet/t.yaml", builtin("PatchTransformer", "target: {kind: ExternalCluster}\npatch: '["+numbered(n, `{"op": "copy", "from": "/spec", "path": "/spec/x%d"}, `)+"]'\n"))
		}, [2]int{}, 17, "fleet/kustomization.yaml:2:14"},
		{"a copy that replacements double", func(n int) repository {
			return oneCluster("patches:\n- target: {kind: ExternalCluster}\n  patch: '[{\"op\": \"copy\", \"from\": \"/spec\", \"path\": \"/spec/y\"}]'\nreplacements:\n" + replacing(n, "fieldPath: spec.y", "spec.y.x%d", create))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:"},
		{"a list that a patch adds, and replacements double", func(n int) repository {
			return oneCluster("patches:\n- target: {kind: ExternalCluster}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/l\", \"value\": [" + strings.Repeat("{}, ", n) + "{}]}]'\nreplacements:\n" + replacing(1, "fieldPath: spec", "spec.l.*", ""))
		}, [2]int{4, 6}, 20, "fleet/kustomization.yaml:6:3"},
		{"labels in many fields", func(n int) repository {
			return oneCluster("labels:\n- pairs: {" + numbered(n, "l%d: x, ") + "}\n  fields: [" + numbered(n, "{path: spec/x%d, create: true}, ") + "]\n")
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:3:3"},
		{"labels in every item of a list", func(n int) repository {
			return oneCluster("labels:\n- pairs: {"+numbered(n, "l%d: x, ")+"}\n  fields: [{path: 'spec/list[]/x', create: true}]\n", "fleet/a.yaml", clusterFile("a", "", "list: ["+strings.Repeat("{}, ", n)+"]"))
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:3:3"},
		{"labels in the fields of configurations", func(n int) repository {
			return oneCluster("commonLabels: {"+numbered(n, "l%d: x, ")+"}\nconfigurations: [c.yaml]\n", "fleet/c.yaml", "commonLabels: ["+numbered(n, "{path: spec/x%d, create: true}, ")+"]\n")
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml"},
		{"labels by a transformer", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\n", "fleet/t.yaml", builtin("LabelTransformer", "labels: {"+numbered(n, "l%d: x, ")+"}\nfieldSpecs: ["+numbered(n, "{path: spec/x%d, create: true}, ")+"]\n"))
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:2:16"},
		{"a prefix by a transformer", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\n", "fleet/t.yaml", builtin("PrefixTransformer", "prefix: "+lit(n)+"\nfieldSpecs: ["+strings.Repeat("{path: spec/schedule}, ", n)+"]\n"))
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:2:16"},
		{"a value by a transformer, with its fields in another file", func(n int) repository {
			return oneCluster("transformers: [t.yaml]\npatches: [{path: p.yaml, target: {kind: Nothing}}]\n", "fleet/p.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x}\ntargets: ["+strings.Repeat("{fieldPath: spec/schedule, filePathPosition: 1}, ", n)+"]\n",
				"fleet/t.yaml", builtin("ValueAddTransformer", "value: "+lit(n)+"\ntargetFilePath: p.yaml\n"))
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:2:16"},
		{"a long prefix of many", func(n int) repository {
			r := oneCluster("namePrefix: " + lit(n) + "\n")
			for i := range n {
				r[fmt.Sprintf("fleet/c%d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "", "")
			}
			return r
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:2:1"},
		{"a long image of many", func(n int) repository {
			return oneCluster("", "fleet/kustomization.yaml", "resources: [a.yaml, pod.yaml]\nimages: [{name: x, newName: "+lit(n)+"}]\n",
				"fleet/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: ["+strings.Repeat("{image: x}, ", n)+"]}\n")
		}, [2]int{10, 20}, 1500, "fleet/kustomization.yaml:2:10"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			if row.few[1] > 0 {
				few, more := row.tree(row.few[0]).written(t), row.tree(row.few[1]).written(t)
				if more < 2*few {
					t.Errorf("%d bytes with %d, %d with %d", few, row.few[0], more, row.few[1])
				}
			}
			if got := row.tree(row.many).amplified(t); !strings.HasPrefix(got, row.want) {
				t.Errorf("refused at %q, want %q", got, row.want)
			}
		})
	}
}

// TestHonestGrowth: what the kustomizations of a fleet of 10,000 clusters write can be built.
func TestHonestGrowth(t *testing.T) {
	settings := configMap + "  schedule: '@daily'\n  domain: example.com\n  json: '{\"a\": {\"b\": [1, 2, 3]}, \"c\": \"*\"}'\n"
	clusters := 10_000
	if testing.Short() {
		clusters = 1000
	}
	many := func(kustomization string, files ...string) repository {
		r := repository{"fleet/m.yaml": settings, "fleet/kustomization.yaml": "resources: [m.yaml]\n" + kustomization}
		for i := range clusters {
			name := fmt.Sprintf("c%04d", i)
			r["fleet/"+name+".yaml"] = clusterFile(name, "tier: a", "schedule: '$(A)', vaultAuth: {server: https://NAME.example.com, vaultAddr: https://vault}, filtering: {namespaces: {include: [a, b, c], exclude: ['team-*', d]}}")
		}
		for i := 0; i < len(files); i += 2 {
			r[files[i]] = files[i+1]
		}
		return r
	}
	into := func(source, target, options string) string {
		return "- source: {" + source + "}\n  targets:\n  - select: {kind: ExternalCluster}\n    fieldPaths: [" + target + "]\n    options: {" + options + "}\n"
	}
	label := builtin("LabelTransformer", "labels: {team: platform, stage: production}\nfieldSpecs: [{path: metadata/labels, create: true}]\n")
	for _, row := range []struct {
		reason string
		tree   repository
	}{
		{"values", many("configMapGenerator: [{name: g, literals: [x=y]}]\nreplacements:\n" +
			into("kind: ConfigMap, name: m, fieldPath: data.schedule", "spec.schedule", create) +
			into("kind: ConfigMap, name: g, fieldPath: data.x", "spec.vaultAuth.authPath", create) +
			into("kind: ExternalCluster, name: c0000, fieldPath: spec.vaultAuth.vaultAddr", "spec.vaultAuth.vaultAddr", "") + // itself included
			into("kind: ConfigMap, name: m, fieldPath: data.domain", "spec.vaultAuth.server", "delimiter: '/', index: 2") +
			into("kind: ConfigMap, name: m, fieldPath: data.domain", "spec.vaultAuth.authRole", create) +
			into("kind: ExternalCluster, name: c0000, fieldPath: spec.vaultAuth.authRole", "spec.vaultAuth.credsRole", create) +
			"- sourceValue: weekly\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: [spec.schedule]}]\n" +
			"- source: {kind: ConfigMap, name: m, fieldPath: data.domain}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.json.c]}]\n")},
		{"a mapping, and items of a list", many("replacements:\n" + into("kind: ExternalCluster, name: c0000, fieldPath: spec.filtering", "spec.filtering", create) +
			into("kind: ConfigMap, name: m, fieldPath: data.domain", "spec.filtering.namespaces.include.*", ""))},
		{"a value in a component, beside patches, labels, a transformer and a prefix", many("components: [../c]\ntransformers: [t.yaml]\nnamePrefix: prod-\nlabels: [{pairs: {team: platform}, fields: [{path: spec/labels, create: true}]}]\n"+
			"patches:\n- target: {kind: ExternalCluster}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/x\", \"value\": [a, b, c]}]'\n",
			"fleet/t.yaml", label, "c/kustomization.yaml", component+"replacements:\n"+into("kind: ConfigMap, name: m, fieldPath: data.schedule", "spec.schedule", create))},
		{"a var", many("configurations: [c.yaml]\nvars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: m}, fieldref: {fieldPath: data.schedule}}]\n", "fleet/c.yaml", "varReference: [{path: spec/schedule, kind: ExternalCluster}]\n")},
		{"a var in an annotation of all", many("vars: [{name: A, objref: {apiVersion: v1, kind: ConfigMap, name: m}}, {name: B, objref: {apiVersion: v1, kind: ConfigMap, name: m}, fieldref: {fieldPath: data}}]\n" +
			"commonAnnotations: {by: $(A), whole: $(B)}\n")},
	} {
		t.Run(row.reason, func(t *testing.T) {
			if got := row.tree.amplified(t); got != "" {
				t.Errorf("refused at %s", got)
			}
		})
	}
}
