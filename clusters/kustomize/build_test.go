package kustomize

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

type repository map[string]string

func (r repository) load(t testing.TB, dir string) *load.Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range r {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load.Load(t.Context(), fsys, dir, load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func (r repository) build(t testing.TB, dir string, opener Opener, unitSize int) *Result {
	t.Helper()
	result, err := build(t.Context(), seal.NewSealer().Seal(r.load(t, dir), nil), opener, nil, unitSize)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

const clusterHead = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\n"

func clusterFile(name, labels, spec string) string {
	return clusterHead + "metadata:\n  name: " + name + "\n  labels: {" + labels + "}\nspec: {" + spec + "}\n"
}

// tree is a random repository that kustomize can build.
type tree struct {
	rand  *rand.Rand
	files repository
	// names are the clusters of each kustomization, by the names that a patch may use.
	names map[string][]string
	count int
}

func randomTree(seed uint64) *tree {
	g := &tree{rand: rand.New(rand.NewPCG(seed, 0)), files: repository{}, names: map[string][]string{}}
	g.folder("fleet", 0)
	if g.chance(10) {
		g.edit("fleet", func(spec map[string]any) {
			spec["apiVersion"], spec["kind"] = "kustomize.config.k8s.io/v1alpha1", "Component"
		})
	}
	if g.chance(10) {
		g.edit("fleet", func(spec map[string]any) {
			spec["buildMetadata"] = []string{"originAnnotations", "managedByLabel"}
		})
	}
	// files that the root does not list
	for range g.rand.IntN(3) {
		g.count++
		g.files[fmt.Sprintf("fleet/unlisted-%d.yaml", g.count)] = clusterFile(fmt.Sprintf("unlisted-%d", g.count), "tier: a", "schedule: '@daily'")
	}
	return g
}

// edit changes an existing kustomization.
func (g *tree) edit(dir string, change func(spec map[string]any)) {
	spec := map[string]any{}
	if err := yaml.Unmarshal([]byte(g.files[path.Join(dir, "kustomization.yaml")]), &spec); err != nil {
		panic(err)
	}
	change(spec)
	g.write(dir, spec)
}

func (g *tree) oneOf(of ...string) string { return of[g.rand.IntN(len(of))] }

func (g *tree) chance(percent int) bool { return g.rand.IntN(100) < percent }

// folder writes a kustomization with clusters, folders below it, patches and so on.
func (g *tree) folder(dir string, depth int) {
	var resources, names []string
	for range 1 + g.rand.IntN(4) {
		g.count++
		name := fmt.Sprintf("c%d", g.count)
		tier := []string{"a", "b", "c"}[g.rand.IntN(3)]
		g.files[path.Join(dir, name+".yaml")] = clusterFile(name, "tier: "+tier, "schedule: '@daily', containerImageScanning: true, kubeconfig: 'credentials of "+name+"', filtering: {namespaces: {include: [x, y]}}")
		resources, names = append(resources, name+".yaml"), append(names, name)
	}
	if g.chance(50) {
		g.count++
		g.files[path.Join(dir, "config.yaml")] = fmt.Sprintf("apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m%d}\nspec: {mondooCredsSecretRef: {name: x}}\n", g.count)
		resources = append(resources, "config.yaml")
	}
	if g.chance(40) {
		g.count++
		g.files[path.Join(dir, "secrets.yaml")] = fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: s%d}\ndata: {a: ''}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: t%d}\n", g.count, g.count)
		resources = append(resources, "secrets.yaml")
	}
	if depth < 2 {
		for range g.rand.IntN(3) {
			g.count++
			below := fmt.Sprintf("d%d", g.count)
			g.folder(path.Join(dir, below), depth+1)
			resources = append(resources, below)
			names = append(names, g.names[path.Join(dir, below)]...)
		}
	}
	spec := map[string]any{}
	if g.chance(8) { // a name that clusters of other folders have too
		g.count++
		spec["namePrefix"] = fmt.Sprintf("q%d-", g.count)
		g.files[path.Join(dir, "main.yaml")] = clusterHead + "metadata: {name: main, namespace: " + g.oneOf("default", "n1", "n2") + ", annotations: {tier: main}}\nspec: {schedule: '@daily'}\n"
		resources, names = append(resources, "main.yaml"), append(names, "main")
	}
	if depth < 2 && g.chance(10) {
		resources = append(resources, g.diamond(dir)...)
	}
	spec["resources"] = resources
	g.shape(dir, spec, names)
	var components []string
	for range g.rand.IntN(3) {
		if depth < 2 && g.chance(50) {
			components = append(components, g.component(dir, &names))
		}
	}
	if components != nil {
		spec["components"] = components
	}
	g.write(dir, spec)
	g.names[dir] = names
	if prefix, ok := spec["namePrefix"].(string); ok {
		for _, name := range names {
			g.names[dir] = append(g.names[dir], prefix+name)
		}
	}
}

// diamond writes a base, and two folders that change it. A patch with the name of its cluster would match both.
func (g *tree) diamond(dir string) []string {
	g.count++
	base := fmt.Sprintf("base%d", g.count)
	g.files[path.Join(dir, base, "c.yaml")] = clusterFile(base, "tier: a", "schedule: '@daily', kubeconfig: 'credentials of "+base+"'")
	g.write(path.Join(dir, base), map[string]any{"resources": []string{"c.yaml"}})
	var folders []string
	for _, side := range []string{"left", "right"} {
		folder := fmt.Sprintf("%s%d", side, g.count)
		spec := map[string]any{"resources": []string{"../" + base}}
		g.shape(path.Join(dir, folder), spec, []string{base})
		spec["namePrefix"] = folder + "-"
		g.write(path.Join(dir, folder), spec)
		folders = append(folders, folder)
	}
	return folders
}

// component writes a component, which may add a cluster.
func (g *tree) component(dir string, names *[]string) string {
	g.count++
	name := fmt.Sprintf("component%d", g.count)
	spec := map[string]any{"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
	if g.chance(40) {
		own := fmt.Sprintf("own%d", g.count)
		g.files[path.Join(dir, name, "own.yaml")] = clusterFile(own, "tier: a", "schedule: '@daily'")
		spec["resources"] = []string{"own.yaml"}
		*names = append(*names, own)
	}
	g.shape(path.Join(dir, name), spec, *names)
	if len(spec) == 2 {
		spec["commonAnnotations"] = map[string]string{"from": name}
	}
	g.write(path.Join(dir, name), spec)
	return name
}

func (g *tree) write(dir string, spec map[string]any) {
	data, err := yaml.Marshal(spec)
	if err != nil {
		panic(err)
	}
	g.files[path.Join(dir, "kustomization.yaml")] = string(data)
}

// shape adds patches, labels, prefixes and generators.
func (g *tree) shape(dir string, spec map[string]any, names []string) {
	g.count++
	id := fmt.Sprint(g.count)
	var patches []map[string]any
	pick := func() string { return names[g.rand.IntN(len(names))] }
	strategic := func(name string) string {
		if name == "main" && g.chance(50) {
			name += "\n  namespace: " + g.oneOf("default", "n1", "n2")
		}
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\n  annotations: {p" + id + ": x}\nspec: {filtering: {namespaces: {exclude: [p" + id + "]}}}\n"
	}
	if g.chance(30) {
		one := map[string]any{"target": map[string]any{"kind": "ExternalCluster", "labelSelector": "tier=a"}}
		switch g.rand.IntN(3) {
		case 0:
			one["patch"] = `[{"op": "add", "path": "/spec/schedule", "value": "` + id + `"}]`
		case 1:
			one["patch"] = "- op: add\n  path: /spec/schedule\n  value: '" + id + "'\n"
		default:
			g.files[path.Join(dir, "operations.yaml")] = "# with a comment\n- {op: add, path: /spec/schedule, value: '" + id + "'}\n- {op: test, path: /kind, value: ExternalCluster}\n"
			one["path"] = "operations.yaml"
		}
		patches = append(patches, one)
	}
	if g.chance(30) {
		patches = append(patches, map[string]any{"target": map[string]any{"kind": "ExternalCluster", "name": "c.*"}, "patch": strategic("any")})
	}
	if g.chance(5) {
		g.files[path.Join(dir, "nothing.yaml")] = g.oneOf("", "# nothing\n", "---\n---\n", "null\n")
		patches = append(patches, map[string]any{"path": "nothing.yaml"})
	}
	if g.chance(20) {
		patches = append(patches, map[string]any{"target": map[string]any{"kind": "MondooAuditConfig"}, "patch": `[{"op": "add", "path": "/spec/annotations", "value": {"a": "` + id + `"}}]`})
	}
	if g.chance(10) {
		patches = append(patches, map[string]any{"target": map[string]any{"annotationSelector": "tier=main", "namespace": "n1"}, "patch": strategic("any")})
	}
	if g.chance(5) {
		patches = append(patches, map[string]any{"target": map[string]any{"kind": "ExternalCluster", "name": "c[0-9]*5"}, "patch": "$patch: delete\n" + strategic("any")})
	}
	if len(names) > 0 && g.chance(40) {
		patches = append(patches, map[string]any{"patch": strategic(pick())})
	}
	if len(names) > 0 && g.chance(30) {
		g.files[path.Join(dir, "patch.yaml")] = strategic(pick()) + "---\n" + strategic(pick()) + "---\n" + strategic(pick())
		patches = append(patches, map[string]any{"path": "patch.yaml"})
	}
	if len(names) > 0 && g.chance(10) {
		spec["patchesStrategicMerge"] = []string{strategic(pick())}
	}
	if patches != nil {
		spec["patches"] = patches
	}
	if g.chance(30) {
		spec["namePrefix"] = "p" + id + "-"
	}
	if g.chance(10) {
		spec["nameSuffix"] = "-s" + id
	}
	if g.chance(20) {
		spec["labels"] = []map[string]any{{"pairs": map[string]string{"l" + id: "x"}}}
	}
	if g.chance(10) {
		spec["commonLabels"] = map[string]string{"cl" + id: "x"}
	}
	if g.chance(5) {
		spec["labels"] = []map[string]any{{"pairs": map[string]string{"f" + id: "x"}, "fields": []map[string]any{{"path": "spec/labels", "kind": "ExternalCluster", "create": true}}}}
	}
	if g.chance(5) {
		spec["images"] = []map[string]string{{"name": "x", "newTag": id}}
	}
	if g.chance(20) {
		spec["commonAnnotations"] = map[string]string{"a" + id: "x"}
	}
	if g.chance(10) {
		spec["namespace"] = "mondoo-operator"
	}
	if g.chance(20) {
		spec["secretGenerator"] = []map[string]any{{"name": "g" + id, "literals": []string{"a="}}}
	}
}

// kustomize builds the tree with kustomize, after adding the unlisted files to the root's list.
func (g *tree) kustomize(t *testing.T, unlisted []string) ([]map[string]any, error) {
	t.Helper()
	fsys := filesys.MakeFsInMemory()
	for name, text := range g.files {
		if name == "fleet/kustomization.yaml" {
			spec := map[string]any{}
			if err := yaml.Unmarshal([]byte(text), &spec); err != nil {
				t.Fatal(err)
			}
			for _, u := range unlisted {
				spec["resources"] = append(spec["resources"].([]any), strings.TrimPrefix(u, "fleet/"))
			}
			data, err := yaml.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		if err := fsys.WriteFile("/"+name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fsys, "/fleet")
	if err != nil {
		return nil, err
	}
	var objects []map[string]any
	for _, r := range result.Resources() {
		object, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// trees is how many trees TestUnitsAreTheWhole builds. The race detector makes each take ten times as long, so make test builds
// 2,000 without it.
var trees = flag.Int("trees", 40, "how many random trees are built; a quarter of them with -short")

// TestUnitsAreTheWhole: a tree that is built in units of any size, with its secrets sealed, equals one kustomize build of the
// plaintext files.
func TestUnitsAreTheWhole(t *testing.T) {
	key, trees := sealtest.NewKey(t), *trees
	if testing.Short() {
		trees /= 4
	}
	var mu sync.Mutex
	refused := 0
	t.Run("trees", func(t *testing.T) {
		for seed := range uint64(trees) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				g := randomTree(seed)
				result := g.sealed(t, key).build(t, "fleet", nil, 2+g.rand.IntN(8))
				want, err := g.kustomize(t, result.Sealed.Loaded.Unlisted)
				if err != nil {
					mu.Lock()
					refused++
					mu.Unlock()
					if finding.Errors(result.Findings) == 0 {
						t.Errorf("kustomize fails and Muster does not: %v", err)
					}
					return
				}
				if result.Whole != "" {
					t.Fatalf("built whole: %s", result.Whole)
				}
				for _, f := range result.Findings {
					if f.Severity == finding.Error {
						t.Errorf("%s", f)
					}
				}
				opened(t, key, result)
				compare(t, want, result)
			})
		}
	})
	if refused > trees/5 { // half of the cases are refusals, such as a name that two clusters have
		t.Errorf("kustomize refuses %d of %d trees; the generator is of little use", refused, trees)
	}
}

// sealed returns the tree with the credentials of some clusters encrypted.
func (g *tree) sealed(t *testing.T, key *sealtest.Key) repository {
	t.Helper()
	files := maps.Clone(g.files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.Contains(files[name], "kubeconfig: ") && strings.HasPrefix(files[name], clusterHead) && g.chance(50) {
			files[name] = key.Encrypt(t, "c.yaml", files[name], sealtest.Credentials)
		}
	}
	return files
}

// opened replaces handles with their values.
func opened(t *testing.T, key *sealtest.Key, result *Result) {
	t.Helper()
	for _, r := range result.Resources {
		r.Object = openedValue(t, key, result, r.Object).(map[string]any)
	}
}

func openedValue(t *testing.T, key *sealtest.Key, result *Result, v any) any {
	t.Helper()
	switch v := v.(type) {
	case string:
		ref, sealed := result.Sealed.Ref(v)
		if !sealed {
			return v
		}
		plain, bad := key.Opener(t).Open(t.Context(), result.Sealed.Loaded.Files[ref.Path])
		if bad != nil {
			t.Fatal(bad)
		}
		value, ok := plain.Value(ref)
		if !ok {
			t.Fatalf("%v has no value", ref)
		}
		return value
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = openedValue(t, key, result, item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = openedValue(t, key, result, item)
		}
		return out
	default:
		return v
	}
}

func compare(t *testing.T, want []map[string]any, result *Result) {
	t.Helper()
	w, g := map[string]map[string]any{}, map[string]map[string]any{}
	for _, o := range want {
		w[(&Resource{Object: o}).id()] = o
	}
	for _, r := range result.Resources {
		if g[r.id()] != nil {
			t.Errorf("%s is there twice", r.id())
		}
		g[r.id()] = r.Object
	}
	if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
		t.Fatalf("kustomize has %q\nMuster has %q", a, b)
	}
	for id := range w {
		nameOfBuilder(w[id], g[id])
		withoutSteps(w[id])
		withoutSteps(g[id])
		if !reflect.DeepEqual(w[id], g[id]) {
			a, _ := yaml.Marshal(w[id])
			b, _ := yaml.Marshal(g[id])
			t.Errorf("%s differs:\nkustomize:\n%s\nMuster:\n%s", id, a, b)
		}
	}
}

// nameOfBuilder sets Muster's managedByLabel on kustomize's object: in a test, kustomize's own value is kustomize-(devel), which
// is not a valid label.
func nameOfBuilder(want, got map[string]any) {
	const label = "app.kubernetes.io/managed-by"
	value, _, _ := unstructured.NestedString(got, "metadata", "labels", label)
	if own, _, _ := unstructured.NestedString(want, "metadata", "labels", label); own == "kustomize-(devel)" && strings.HasPrefix(value, "kustomize") {
		want["metadata"].(map[string]any)["labels"].(map[string]any)[label] = value
	}
}

// withoutSteps removes the annotation of transformerAnnotations, because Muster has kustomize run other steps (see the package
// comment).
func withoutSteps(object map[string]any) {
	const steps = "alpha.config.kubernetes.io/transformations"
	annotations, found, err := unstructured.NestedMap(object, "metadata", "annotations")
	if _, has := annotations[steps]; err != nil || !found || !has {
		return
	}
	unstructured.RemoveNestedField(object, "metadata", "annotations", steps)
	if len(annotations) == 1 {
		unstructured.RemoveNestedField(object, "metadata", "annotations")
	}
}

// TestConcurrentBuilds: kyaml keeps process-wide state, but concurrent builds neither race nor affect each other.
func TestConcurrentBuilds(t *testing.T) {
	g := randomTree(1)
	want := g.files.build(t, "fleet", nil, 3)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got := g.files.build(t, "fleet", nil, 2)
			if !reflect.DeepEqual(got.Resources, want.Resources) {
				t.Error("two builds of one tree differ")
			}
		})
	}
	group.Wait()
}

// TestOrigin: every resource keeps its file and index, whatever its name becomes.
func TestOrigin(t *testing.T) {
	r := repository{
		"fleet/kustomization.yaml":      "namePrefix: x-\nresources: [../base, a.yaml]\nsecretGenerator:\n  - {name: g, literals: [a=]}\n",
		"fleet/a.yaml":                  clusterFile("a", "", ""),
		"base/kustomization.yaml":       "namePrefix: y-\nresources: [s.yaml]\n",
		"base/s.yaml":                   "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: t}\n",
		"fleet/sub/ignored/nothing.txt": "",
	}
	got := map[string]string{}
	for _, res := range r.build(t, "fleet", nil, 10).Resources {
		meta := res.Object["metadata"].(map[string]any)
		if meta["annotations"] != nil {
			t.Errorf("%s has annotations: %v", meta["name"], meta["annotations"])
		}
		got[strings.SplitN(meta["name"].(string), "-g-", 2)[0]] = fmt.Sprint(res.Path, " ", res.Document, " ", res.Generated)
	}
	want := map[string]string{"x-a": "fleet/a.yaml 0 false", "x-y-s": "base/s.yaml 0 false", "x-y-t": "base/s.yaml 1 false"}
	for name, place := range want {
		if got[name] != place {
			t.Errorf("%s: %s, not %s", name, got[name], place)
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(got)), "fleet/kustomization.yaml 0 true") {
		t.Errorf("the generated Secret's origin: %v", got)
	}
}

// TestQuarantineInUnits: of many files, exactly those that kustomize can't build are found.
func TestQuarantineInUnits(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprint("whole ", whole), func(t *testing.T) {
			r := repository{"fleet/kustomization.yaml": "patches:\n  - target: {kind: ExternalCluster, labelSelector: bad=yes}\n    patch: '[{\"op\": \"remove\", \"path\": \"/spec/nothing\"}]'\n"}
			if whole {
				r["fleet/kustomization.yaml"] += "configurations: [c.yaml]\n"
				r["fleet/c.yaml"] = "nameReference: []\n"
			}
			for i := range 120 {
				labels := "bad: 'no'"
				if i == 17 || i == 18 || i == 99 {
					labels = "bad: 'yes'"
				}
				r[fmt.Sprintf("fleet/c%03d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), labels, "")
			}
			result := r.build(t, "fleet", nil, unitSize)
			var broken []string
			for _, f := range result.Findings {
				broken = append(broken, f.Path)
			}
			slices.Sort(broken)
			if !slices.Equal(broken, []string{"fleet/c017.yaml", "fleet/c018.yaml", "fleet/c099.yaml"}) {
				t.Errorf("broken: %v", broken)
			}
			if len(result.Resources) != 117 || (result.Whole != "") != whole || result.Stopped {
				t.Errorf("%d resources, whole %q, stopped %t", len(result.Resources), result.Whole, result.Stopped)
			}
		})
	}
}

// TestPanic: kustomize panics on inconsistent annotations of its own. load refuses them in files, so the test adds them after
// load, as a patch might.
func TestPanic(t *testing.T) {
	for _, kustomization := range []string{"namePrefix: p-\n", "namePrefix: p-\nconfigurations: [c.txt]\n"} {
		r := repository{"fleet/kustomization.yaml": kustomization, "fleet/c.txt": "nameReference: []\n"}
		for i := range 20 {
			r[fmt.Sprintf("fleet/c%02d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "", "")
		}
		tree := seal.NewSealer().Seal(r.load(t, "fleet"), nil)
		tree.Content["fleet/c07.yaml"] = []byte("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad, annotations: " +
			"{internal.config.kubernetes.io/previousNames: secret, internal.config.kubernetes.io/previousKinds: 'a,b', internal.config.kubernetes.io/previousNamespaces: d}}\nspec: {}\n")
		result, err := Build(t.Context(), tree, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Findings) != 1 || result.Findings[0].Path != "fleet/c07.yaml" || result.Findings[0].Message != "kustomize can't build it: "+errPanic.Error() {
			t.Errorf("%v", result.Findings)
		}
		if len(result.Resources) != 19 || result.Stopped {
			t.Errorf("%d resources, stopped %t", len(result.Resources), result.Stopped)
		}
	}
}

// TestCause: text that a user may have written is not part of a message.
func TestCause(t *testing.T) {
	for text, want := range map[string]string{
		"remove operation does not apply: doc is missing key: /spec/hunter2: missing value":                                                          "remove operation does not apply: doc is missing key …",
		"loading KV pairs: literal sources [hunter2]: invalid literal source hunter2, expected key=value":                                            "loading KV pairs: literal sources …",
		"invalid literal source hunter2, expected key=value":                                                                                         "invalid literal source …",
		"trouble configuring builtin PatchTransformer with config: `\npatch: hunter2\n`: unable to parse SM or JSON patch from [patch: \"hunter2\"]": "PatchTransformer unable to parse SM or JSON patch from …",
		"hunter2":                              "the message is withheld because it may quote a credential",
		"json: unknown field \"hunter2\"":      "json: unknown field …",
		"wrong node kind: expected ScalarNode": "wrong node kind: expected ScalarNode",
	} {
		got, all := cause(errors.New(text))
		if got != want || all != (got == text) {
			t.Errorf("%q: %q, %t", text, got, all)
		}
	}
}

// TestInputThatIsAResource: a file may be both. As a resource it is sealed, whatever the generator reads.
func TestInputThatIsAResource(t *testing.T) {
	key := sealtest.NewKey(t)
	r := repository{
		"fleet/kustomization.yaml": "resources: [a.yaml, b.yaml, s.yaml]\nsecretGenerator:\n  - name: copy\n    files: [a.yaml, key=s.yaml]\n",
		"fleet/a.yaml":             key.Encrypt(t, "a.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: a}\nspec: {kubeconfig: hunter2}\n", sealtest.Credentials),
		"fleet/b.yaml":             clusterFile("b", "", ""),
		"fleet/s.yaml":             key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n", sealtest.Credentials),
	}
	result := r.build(t, "fleet", key.Opener(t), unitSize)
	if len(result.Findings) != 0 {
		t.Fatal(result.Findings)
	}
	if len(result.Resources) != 4 {
		t.Errorf("%d resources", len(result.Resources))
	}
	for _, res := range result.Resources {
		text := fmt.Sprint(res.Object)
		if !res.Generated && (strings.Contains(text, "hunter2") || res.Path != "fleet/b.yaml" && !seal.HasHandle(text)) {
			t.Errorf("%s is not sealed: %s", res.Path, text)
		}
		if data, ok := res.Object["data"].(map[string]any); res.Generated && (!ok || data["a.yaml"] == nil || data["key"] == nil) {
			t.Errorf("the generated object lacks a file: %s", text)
		}
	}
}

// TestWholeTreeThatCannotBeHelped stops after a limited number of builds instead of blaming every cluster.
func TestWholeTreeThatCannotBeHelped(t *testing.T) {
	r := repository{"fleet/kustomization.yaml": "replacements:\n  - source: {kind: Nothing, name: x}\n    targets:\n      - {select: {kind: ExternalCluster}, fieldPaths: [spec.x]}\n"}
	for i := range 300 {
		r[fmt.Sprintf("fleet/c%03d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "", "")
	}
	result := r.build(t, "fleet", nil, unitSize)
	if !result.Stopped || len(result.Findings) != 1 || len(result.Resources) != 0 {
		t.Errorf("stopped %t, %d findings, %d resources", result.Stopped, len(result.Findings), len(result.Resources))
	}
}

// TestUnreadablePatchFile: a patch that kustomize can't read is not skipped in a file with several.
func TestUnreadablePatchFile(t *testing.T) {
	for _, base := range []string{"", "m.yaml, "} {
		r := repository{
			"fleet/kustomization.yaml": "resources: [" + base + "a.yaml]\npatches: [{path: p.yaml}]\n",
			"fleet/m.yaml":             "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m}\nspec: {}\n",
			"fleet/a.yaml":             clusterFile("a", "", ""),
			"fleet/p.yaml":             clusterFile("a", "", "schedule: patched") + "---\nkind: ExternalCluster\nmetadata: [a]\n",
		}
		if result := r.build(t, "fleet", nil, 1); !result.Stopped {
			t.Errorf("base %q: not stopped: %v", base, result.Findings)
		}
	}
}

// TestMixedPatchFile: a file with patches for a cluster and for the audit config reaches both.
func TestMixedPatchFile(t *testing.T) {
	r := repository{
		"fleet/kustomization.yaml": "resources: [m.yaml, a.yaml, b.yaml]\npatches: [{path: p.yaml}]\n",
		"fleet/m.yaml":             "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m}\nspec: {}\n",
		"fleet/a.yaml":             clusterFile("a", "", ""), "fleet/b.yaml": clusterFile("b", "", ""),
		"fleet/p.yaml": clusterFile("a", "", "schedule: patched") + "---\napiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m}\nspec: {spaceId: patched}\n---\n" + clusterFile("b", "", "schedule: patched"),
	}
	result := r.build(t, "fleet", nil, 1)
	if len(result.Findings) > 0 || len(result.Resources) != 3 {
		t.Fatalf("%d resources, findings %v", len(result.Resources), result.Findings)
	}
	for _, res := range result.Resources {
		if !strings.Contains(fmt.Sprint(res.Object["spec"]), "patched") {
			t.Errorf("%s is not patched", res.Path)
		}
	}
}

// TestGeneratorInput: an encrypted input gives the plain file's name and content with a key, and handles without.
func TestGeneratorInput(t *testing.T) {
	key := sealtest.NewKey(t)
	plain := repository{
		"fleet/kustomization.yaml": "secretGenerator:\n  - {name: f, files: [password]}\n  - {name: e, envs: [s.env]}\n",
		"fleet/password":           "hunter2-hunter2",
		"fleet/s.env":              "A=first-value\nB=second=value\n",
		"fleet/x.yaml":             clusterFile("x", "", ""),
	}
	sealed := maps.Clone(plain)
	for _, name := range []string{"fleet/password", "fleet/s.env"} {
		sealed[name] = key.Encrypt(t, name, plain[name], sealtest.Everything)
	}
	want, open, closed := plain.build(t, "fleet", nil, 1), sealed.build(t, "fleet", key.Opener(t), 1), sealed.build(t, "fleet", nil, 1)
	if !reflect.DeepEqual(want.Resources, open.Resources) {
		t.Errorf("with a key:\n%v\nplain:\n%v", open.Resources, want.Resources)
	}
	for _, value := range []string{"hunter2-hunter2", "first-value", "second=value"} {
		if !slices.Contains(open.Opened, value) {
			t.Errorf("%s is not among what was opened", value)
		}
	}
	if len(closed.Resources) != 3 || len(closed.Opened) != 0 {
		t.Fatalf("without a key: %d resources", len(closed.Resources))
	}
	if n := len(closed.Findings); n != 2 || closed.Findings[0].Code != CodeGenerator || closed.Findings[0].Severity != finding.Info {
		t.Errorf("without a key: %v", closed.Findings)
	}
}

// TestCancelled: a cancelled build ends.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := repository{"fleet/a.yaml": clusterFile("a", "", "")}
	if _, err := Build(ctx, seal.NewSealer().Seal(r.load(t, "fleet"), nil), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := repository{"fleet/kustomization.yaml": "labels: [{pairs: {a: b}}]\n"}
			for i := range n {
				r[fmt.Sprintf("fleet/c%05d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "", "schedule: x")
			}
			sealed := seal.NewSealer().Seal(r.load(b, "fleet"), nil)
			for b.Loop() {
				if result, err := Build(b.Context(), sealed, nil, nil); err != nil || len(result.Resources) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestNothingIsFetched: no reference in any field makes a build open a connection.
func TestNothingIsFetched(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("fetched %s", r.URL) }))
	defer server.Close()
	for _, field := range []string{
		"resources: [URL/x.yaml]", "bases: [URL/x]", "components: [URL/x]", "patches: [{path: URL/x}]", "patchesStrategicMerge: [URL/x]",
		"patchesJson6902: [{path: URL/x, target: {version: v1, kind: ExternalCluster, name: a}}]", "replacements: [{path: URL/x}]",
		"configurations: [URL/x]", "crds: [URL/x]", "generators: [URL/x]", "transformers: [URL/x]", "validators: [URL/x]",
		"openapi: {path: URL/x}", "secretGenerator: [{name: s, files: [URL/x]}]", "configMapGenerator: [{name: s, envs: [URL/x]}]",
		"transformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: URL/x}\n']",
	} {
		for _, address := range []string{server.URL, strings.Replace(server.URL, "http://", "HTTP://", 1), "./" + server.URL} {
			r := repository{"fleet/kustomization.yaml": strings.ReplaceAll(field, "URL", address) + "\n", "fleet/a.yaml": clusterFile("a", "", "")}
			if result := r.build(t, "fleet", nil, 1); finding.Errors(result.Findings) == 0 {
				t.Errorf("%s: no finding", field)
			}
		}
	}
}

// TestListsAndKinds: no object that kustomize builds is lost, whatever its kind before and after.
func TestListsAndKinds(t *testing.T) {
	for _, row := range []struct {
		reason string
		files  repository
	}{
		{"a List of clusters", repository{"fleet/kustomization.yaml": "resources: [l.yaml, b.yaml]\n", "fleet/b.yaml": clusterFile("b", "", ""),
			"fleet/l.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: muster.dev/v1alpha1\n  kind: ExternalCluster\n  metadata: {name: a}\n  spec: {}\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n"}},
		{"a cluster that becomes something else", repository{"fleet/kustomization.yaml": "resources: [a.yaml, b.yaml]\npatches:\n- target: {name: a}\n  patch: |\n    - {op: replace, path: /kind, value: Other}\n",
			"fleet/b.yaml": clusterFile("b", "", ""), "fleet/a.yaml": clusterFile("a", "", "")}},
		{"something else that becomes a cluster", repository{"fleet/kustomization.yaml": "resources: [a.yaml, b.yaml]\npatches:\n- target: {name: a}\n  patch: |\n    - {op: replace, path: /kind, value: ExternalCluster}\n    - {op: replace, path: /apiVersion, value: muster.dev/v1alpha1}\n",
			"fleet/b.yaml": clusterFile("b", "", ""), "fleet/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}},
	} {
		t.Run(row.reason, func(t *testing.T) {
			result := row.files.build(t, "fleet", nil, 2)
			want, err := (&tree{files: row.files}).kustomize(t, result.Sealed.Loaded.Unlisted)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, want, result)
		})
	}
}
