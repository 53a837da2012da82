package kustomize

import (
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestBesideAGenerator: kustomize has the plaintext of a generator's encrypted input. No other field may copy, compare or split
// what it didn't write itself, with keys or without.
func TestBesideAGenerator(t *testing.T) {
	key := sealtest.NewKey(t)
	env := key.Encrypt(t, "s.env", "PASSWORD=short\n", sealtest.Everything)
	const generator = "secretGenerator: [{name: s, envs: [s.env], type: Opaque}]\n"
	patch := func(operations string) string {
		return "patches:\n- target: {kind: Secret}\n  patch: |\n" + operations
	}
	for _, row := range []struct {
		reason, more string
		refused      string // start of the message
	}{
		{"nothing", "", ""},
		{"names, labels and options", "namePrefix: a-\nnameSuffix: -b\nnamespace: fleet\nlabels: [{pairs: {team: a}}]\ncommonAnnotations: {a: b}\ngeneratorOptions: {annotations: {x: z}}\nsortOptions: {order: fifo}\nbuildMetadata: [originAnnotations]\nreplacements: []\n", ""},
		{"another generator", "", ""},
		{"a component", "components: [../c]\n", ""},
		{"a patch that writes", patch("    - {op: add, path: /metadata/annotations, value: {a: b}}\n    - {op: replace, path: /type, value: kubernetes.io/basic-auth}\n    - {op: remove, path: /data/PASSWORD}\n"), ""},
		{"a strategic patch", "patches:\n- target: {kind: Secret}\n  patch: |\n    {apiVersion: v1, kind: Secret, metadata: {name: x, annotations: {a: b}}}\n", ""},
		{"copy", patch("    - {op: copy, from: /data/PASSWORD, path: /type}\n"), `a patch has an operation "copy"`},
		{"copy into an annotation", patch("    - {op: add, path: /metadata/annotations, value: {}}\n    - {op: copy, from: /data/PASSWORD, path: /metadata/annotations/x}\n"), `a patch has an operation "copy"`},
		{"move", patch("    - {op: move, from: /data/PASSWORD, path: /metadata/annotations}\n"), `a patch has an operation "move"`},
		{"test", patch("    - {op: test, path: /data/PASSWORD, value: c2hvcnQ=}\n"), `a patch has an operation "test"`},
		{"in capitals", patch("    - {op: TEST, path: /data/PASSWORD, value: c2hvcnQ=}\n"), `a patch has an operation "TEST"`},
		{"no operation", patch("    - {path: /type, value: x}\n"), `a patch has an operation ""`},
		{"in a file", "patches: [{path: p.yaml, target: {kind: Secret}}]\n", `a patch has an operation "test"`},
		{"as patchesJson6902", "patchesJson6902:\n- target: {version: v1, kind: Secret, name: s}\n  path: p.yaml\n", `a patch has an operation "test"`},
		{"in a component", "components: [../test]\n", `a patch has an operation "test"`},
		{"in a base of another generator", "resources: [../other]\n", `a patch has an operation "test"`},
		{"another kind", patch("    - {op: replace, path: /kind, value: ExternalCluster}\n"), "a patch changes the kind"},
		{"another version", patch("    - {op: replace, path: /apiVersion, value: muster.dev/v1alpha1}\n"), "a patch changes the kind"},
		{"all of it", patch("    - {op: replace, path: '', value: {}}\n"), "a patch changes the kind"},
		{"another kind by a strategic patch", "patches:\n- target: {kind: Secret}\n  options: {allowKindChange: true}\n  patch: |\n    {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n", "a patch may change the kind"},
		{"replacements", "replacements:\n- source: {kind: Secret, fieldPath: data.PASSWORD}\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: [metadata.name]}]\n", "replacements could"},
		{"in other letters", "Replacements:\n- source: {kind: Secret, fieldPath: data.PASSWORD}\n  targets: [{select: {kind: ExternalCluster}, fieldPaths: [metadata.name]}]\n", "replacements could"},
		{"vars", "vars: [{name: A, objref: {apiVersion: v1, kind: Secret, name: s}, fieldref: {fieldPath: data.PASSWORD}}]\n", "vars could"},
		{"a transformer that writes annotations", "transformers: [t.yaml]\n", ""},
		{"a transformer of any other kind", "transformers: [names.yaml]\n", "transformers could"},
		{"a transformer that copies", "transformers: [t.yaml, copy.yaml]\n", "transformers could"},
		{"a transformer that patches", "transformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: p}\n  patch: '[{op: copy, from: /data/PASSWORD, path: /type}]'\n  target: {kind: Secret}\n", "transformers could"},
		{"a validator", "validators: [t.yaml]\n", "validators could"},
		{"where names stand", "configurations: [conf.yaml]\n", ""},
		{"names in the data", "configurations: [data.yaml]\n", "configurations could"},
		{"names in the data, in other letters", "configurations: [letters.yaml]\n", "configurations could"},
		{"where vars stand", "configurations: [vars.yaml]\n", "configurations could"},
		{"a configuration that is none", "configurations: [empty.yaml]\n", "configurations could"},
		{"a ConfigMap of the same file", "configMapGenerator: [{name: m, envs: [s.env]}]\n", "configMapGenerator could"},
		{"images", "images: [{name: a, newName: b}]\n", "images could"},
		{"replicas", "replicas: [{name: a, count: 2}]\n", "replicas could"},
	} {
		files := repository{
			"fleet/a.yaml":             clusterFile("a", "tier: a", "schedule: '@daily'"),
			"fleet/s.env":              env,
			"fleet/p.yaml":             "- {op: test, path: /data/PASSWORD, value: c2hvcnQ=}\n",
			"fleet/t.yaml":             builtin("AnnotationsTransformer", "annotations: {a: b}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n"),
			"fleet/names.yaml":         builtin("PrefixTransformer", "prefix: a\nfieldSpecs: [{path: data/PASSWORD}]\n"),
			"fleet/copy.yaml":          builtin("ReplacementTransformer", "replacements: []\n"),
			"fleet/conf.yaml":          "nameReference: [{kind: Secret, version: v1, fieldSpecs: [{kind: ExternalCluster, path: spec/kubeconfigSecretRef/name}]}]\n",
			"fleet/data.yaml":          "nameReference: [{kind: Secret, version: v1, fieldSpecs: [{kind: Secret, path: data/PASSWORD}]}]\n",
			"fleet/letters.yaml":       "NAMEREFERENCE: [{Kind: Secret, FieldSpecs: [{Kind: Secret, Path: data/PASSWORD}]}]\n",
			"fleet/vars.yaml":          "varReference: [{path: spec/x}]\n",
			"fleet/empty.yaml":         "# nothing\n",
			"c/kustomization.yaml":     component + "namePrefix: c-\n",
			"test/kustomization.yaml":  component + patch("    - {op: test, path: /data/PASSWORD, value: c2hvcnQ=}\n"),
			"other/kustomization.yaml": "secretGenerator: [{name: o, literals: [a=b]}]\n" + patch("    - {op: test, path: /data/a, value: Yg==}\n"),
		}
		head := "resources: [a.yaml]\n"
		if strings.HasPrefix(row.more, "resources:") {
			head = ""
		}
		files["fleet/kustomization.yaml"] = head + generator + row.more
		for who, opener := range map[string]Opener{"with keys": key.Opener(t), "without keys": nil} {
			result := files.build(t, "fleet", opener, unitSize)
			found := slices.ContainsFunc(result.Findings, func(f finding.Finding) bool {
				return f.Code == load.CodeUnsupported && f.Severity == finding.Error && f.Path != "" && f.Line > 0 && row.refused != "" && strings.HasPrefix(f.Message, row.refused)
			})
			if result.Stopped != (row.refused != "") || found != (row.refused != "") {
				t.Errorf("%s, %s: stopped %t: %v", row.reason, who, result.Stopped, result.Findings)
			}
		}
		// Without the generator's encryption, all of it is ordinary.
		files["fleet/s.env"] = "PASSWORD=short\n"
		result := files.build(t, "fleet", nil, unitSize)
		if slices.ContainsFunc(result.Findings, func(f finding.Finding) bool {
			return f.Code == load.CodeUnsupported && strings.Contains(f.Message, "generator takes")
		}) {
			t.Errorf("%s, not encrypted: %v", row.reason, result.Findings)
		}
	}
}
