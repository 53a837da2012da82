package explain

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// tree is a repository; its root is what is compiled.
type tree map[string]string

func (r tree) compile(t *testing.T) *fleet.Sealed {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range r {
		fsys[path.Join("fleet", name)] = &fstest.MapFile{Data: []byte(text)}
	}
	sealed, err := clusters.NewPipeline().Compile(t.Context(), clusters.Source{FS: fsys, Path: "fleet"}, compile.Options{AuditConfig: "mondoo-client"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func cluster(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n  kubeconfigSecretRef: {name: k}\n" + spec
}

// origin is the origin of one field in one line.
func origin(x Explanation, field string) string {
	for _, f := range x.Fields {
		if f.Path == field {
			return fmt.Sprintf("%s %s:%d %s", f.Origin.Kind, f.Origin.Path, f.Origin.Line, f.Origin.Detail)
		}
	}
	return "no such field"
}

func TestOrigins(t *testing.T) {
	const patched = "patches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: add, path: /spec/schedule, value: '1 * * * *'}\n"
	cases := map[string]struct {
		reason  string
		tree    tree
		cluster string
		field   string
		want    string
	}{
		"file":               {"nothing else touches it", tree{"a.yaml": cluster("a", "  schedule: 7 * * * *\n")}, "a", "schedule", "file fleet/a.yaml:7 "},
		"default by Muster":  {"the audit config is not known to have one", tree{"a.yaml": cluster("a", "")}, "a", "schedule", "muster-default :0 neither the file nor the audit config has a schedule"},
		"operator's default": {"it is false when it is absent", tree{"a.yaml": cluster("a", "")}, "a", "containerImageScanning", "operator-default :0 "},
		"inherited":          {"an absent filter inherits", tree{"a.yaml": cluster("a", "")}, "a", "filtering", "inherited :0 spec.filtering of the audit config mondoo-client"},
		"empty filter":       {"an empty one is the file's", tree{"a.yaml": cluster("a", "  filtering: {}\n")}, "a", "filtering.namespaces", "file fleet/a.yaml:7 "},
		"patch":              {"by a target", tree{"kustomization.yaml": "resources: [a.yaml]\n" + patched, "a.yaml": cluster("a", "  schedule: 7 * * * *\n")}, "a", "schedule", "patch fleet/kustomization.yaml:3 patches[0] for kind ExternalCluster"},
		"same value":         {"a patch that changes nothing is no origin", tree{"kustomization.yaml": "resources: [a.yaml]\n" + patched, "a.yaml": cluster("a", "  schedule: 1 * * * *\n")}, "a", "schedule", "file fleet/a.yaml:7 "},
		"the last of two":    {"kustomize takes them in order", tree{"kustomization.yaml": "resources: [a.yaml]\n" + patched + "- target: {name: a}\n  patch: |\n    - {op: replace, path: /spec/schedule, value: '2 * * * *'}\n", "a.yaml": cluster("a", "")}, "a", "schedule", "patch fleet/kustomization.yaml:6 patches[1] for name a"},
		"patch of another": {"its name is another's", tree{"kustomization.yaml": "resources: [a.yaml, b.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(cluster("b", "  schedule: 3 * * * *"), "\n", "\n    ") + "\n",
			"a.yaml": cluster("a", "  schedule: 7 * * * *\n"), "b.yaml": cluster("b", "")}, "a", "schedule", "file fleet/a.yaml:7 "},
		"strategic by old name": {"a patch may use the name before the prefix below", tree{"kustomization.yaml": "resources: [sub]\npatchesStrategicMerge: [p.yaml]\n", "p.yaml": cluster("a", "  schedule: 3 * * * *\n"),
			"sub/kustomization.yaml": "namePrefix: x-\nresources: [a.yaml]\n", "sub/a.yaml": cluster("a", "")}, "x-a", "schedule", "patch fleet/p.yaml:7 patchesStrategicMerge[0] of fleet/kustomization.yaml"},
		"prefix": {"it renames", tree{"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n", "a.yaml": cluster("a", "")}, "x-a", "name", "kustomization fleet/kustomization.yaml:2 namePrefix"},
		"component": {"a component's patch", tree{"kustomization.yaml": "resources: [a.yaml]\ncomponents: [c]\n", "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" + patched, "a.yaml": cluster("a", "")},
			"a", "schedule", "patch fleet/c/kustomization.yaml:4 patches[0] for kind ExternalCluster"},
		"taken twice": {"one file, two clusters: each has its own way", tree{"kustomization.yaml": "resources: [one, two]\n", "base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": cluster("a", ""),
			"one/kustomization.yaml": "resources: [../base]\nnamePrefix: one-\n", "two/kustomization.yaml": "resources: [../base]\nnamePrefix: two-\n" + patched}, "two-a", "schedule", "patch fleet/two/kustomization.yaml:4 patches[0] for kind ExternalCluster"},
		"transformer": {"kustomize's own, by its place", tree{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": cluster("a", ""),
			"t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\ntarget: {kind: ExternalCluster}\npatch: |\n  - {op: add, path: /spec/schedule, value: '4 * * * *'}\n"}, "a", "schedule", "kustomization fleet/kustomization.yaml:2 transformers[0]"},
		"replacement": {"another cluster's value can't be followed", tree{"kustomization.yaml": "resources: [a.yaml, b.yaml]\nreplacements:\n- source: {kind: ExternalCluster, name: b, fieldPath: spec.schedule}\n  targets:\n  - select: {name: a}\n    fieldPaths: [spec.schedule]\n",
			"a.yaml": cluster("a", "  schedule: 7 * * * *\n"), "b.yaml": cluster("b", "  schedule: 8 * * * *\n")}, "a", "schedule", "unknown fleet:0 changed by the kustomizations of this path"},
		"annotation from below": {"a patch selects by it", tree{"kustomization.yaml": "resources: [sub]\n" + strings.Replace(patched, "kind: ExternalCluster", "annotationSelector: tier=one", 1),
			"sub/kustomization.yaml": "resources: [a.yaml]\ncommonAnnotations: {tier: one}\n", "sub/a.yaml": cluster("a", "")}, "a", "schedule", "patch fleet/kustomization.yaml:3 patches[0] for annotationSelector tier=one"},
		"namespace from below": {"a patch selects by it", tree{"kustomization.yaml": "resources: [sub]\n" + strings.Replace(patched, "kind: ExternalCluster", "namespace: mondoo-operator", 1),
			"sub/kustomization.yaml": "resources: [a.yaml]\nnamespace: mondoo-operator\n", "sub/a.yaml": cluster("a", "")}, "a", "schedule", "patch fleet/kustomization.yaml:3 patches[0] for namespace mondoo-operator"},
		"quarantined": {"its file is read all the same", tree{"a.yaml": cluster("a", "  schedule: nonsense\n")}, "a", "schedule", "file fleet/a.yaml:7 "},
		"entry of an audit config": {"it stands there", tree{"m.yaml": "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m}\nspec:\n  mondooCredsSecretRef: {name: c}\n  kubernetesResources:\n    externalClusters:\n    - name: a\n      schedule: 7 * * * *\n      kubeconfigSecretRef: {name: k}\n"},
			"a", "schedule", "file fleet/m.yaml:9 "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sealed := c.tree.compile(t)
			i := slices.IndexFunc(sealed.Clusters, func(r fleet.Cluster) bool { return r.Name == c.cluster })
			if i < 0 {
				t.Fatalf("there is no cluster %s: %v", c.cluster, sealed.Findings)
			}
			entry, ok := Entry(sealed.Clusters[i])
			if !ok {
				t.Fatal("there is no entry")
			}
			x, err := Cluster(t.Context(), sealed, sealed.Clusters[i], entry, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := origin(x, c.field); got != c.want {
				t.Errorf("%s: %q, want %q (%v)", c.reason, got, c.want, x.Notes)
			}
		})
	}
}

// TestBounded checks that a kustomization with thousands of patches costs no more than some, and that this is said.
func TestBounded(t *testing.T) {
	text := "resources: [a.yaml]\npatches:\n"
	for i := range maxSteps + 20 {
		text += fmt.Sprintf("- target: {name: a}\n  patch: |\n    - {op: add, path: /spec/schedule, value: '%d * * * *'}\n", i%60)
	}
	sealed := tree{"kustomization.yaml": text, "a.yaml": cluster("a", "")}.compile(t)
	x, err := Cluster(t.Context(), sealed, sealed.Clusters[0], sealed.Clusters[0].Entry, nil)
	if err != nil || !slices.ContainsFunc(x.Notes, func(n string) bool { return strings.HasPrefix(n, "only the first") }) {
		t.Errorf("%v, %v", err, x.Notes)
	}
	if got := origin(x, "schedule"); !strings.HasPrefix(got, "unknown") {
		t.Errorf("what was not followed is taken for known: %s", got)
	}
}

func TestNear(t *testing.T) {
	known := []string{"prod-eu-west-1", "prod-us-east-1", "staging", "dev", "legacy"}
	for name, want := range map[string]string{
		"prod-eu-wst-1":             "prod-eu-west-1 prod-us-east-1",
		"eu-west-1":                 "prod-eu-west-1",
		"stagin":                    "staging",
		"deb":                       "dev",
		"nothing-like":              "",
		"":                          "",
		strings.Repeat("x", 10_000): "",
	} {
		if got := strings.Join(Near(name, known), " "); got != want {
			t.Errorf("%.20q: %q, want %q", name, got, want)
		}
	}
}
