package kustomize

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/config"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// mixes is how many trees TestAsKustomizeDoes builds. Each takes about as long as in TestUnitsAreTheWhole.
var (
	mixes     = flag.Int("mixes", 50, "how many trees of mixed features are built; a quarter of them with -short")
	firstSeed = flag.Uint64("mixes-seed", 0, "the seed of the first of them")
)

// ownRules are the rules by which Muster refuses what kustomize accepts. Any other code means that kustomize refuses it too.
var ownRules = []finding.Code{load.CodeRemote, load.CodeOutside, load.CodeUnsupported, load.CodeSize, load.CodeAliases, load.CodeEncoding, load.CodeDuplicateKey,
	load.CodeDocuments, load.CodeNotObject, load.CodeEmpty, load.CodeSymlink, CodeEnvironment}

// TestAsKustomizeDoes: Muster's result for a tree equals that of sops and kustomize, unless one of Muster's own rules refuses
// it. Whatever kustomize refuses, Muster refuses.
func TestAsKustomizeDoes(t *testing.T) {
	key, mixes := sealtest.NewKey(t), *mixes
	if testing.Short() {
		mixes /= 4
	}
	var mu sync.Mutex
	outcomes := map[string]int{}
	t.Run("trees", func(t *testing.T) {
		for seed := range uint64(mixes) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				g := &mixed{tree: randomTree(*firstSeed + seed + 1_000_000), key: key}
				g.mix(t)
				outcome := g.differ(t)
				mu.Lock()
				outcomes[outcome]++
				mu.Unlock()
			})
		}
	})
	t.Logf("of %d trees: %v", mixes, outcomes)
	if equal := outcomes["equal"]; mixes >= 100 && (equal < mixes/3 || equal > mixes*9/10) {
		t.Errorf("%d of %d trees are built; the generator is of little use", equal, mixes)
	}
}

// mixed is a random tree with more variety: names, types, documents, formats, generators, and kustomizations with errors.
type mixed struct {
	*tree
	key *sealtest.Key
	// done lists the changes to the tree, for failure messages.
	done []string
}

func (g *mixed) note(format string, args ...any) {
	g.done = append(g.done, fmt.Sprintf(format, args...))
}

// differ compares Muster's result for the tree with that of sops and kustomize.
func (g *mixed) differ(t *testing.T) (outcome string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("what is special: %q", g.done)
		}
	}()
	result := g.files.build(t, "fleet", g.key.Opener(t), 2+g.rand.IntN(8))
	want, err := g.reference(t, result.Sealed.Loaded.Unlisted)
	var bad []finding.Finding
	for _, f := range result.Findings {
		if f.Severity == finding.Error {
			bad = append(bad, f)
		}
	}
	switch {
	case err != nil && len(bad) == 0:
		t.Errorf("kustomize refuses it, and Muster does not: %v", err)
		return "failed"
	case err != nil:
		return "refused by both"
	case len(bad) > 0:
		var codes []string
		for _, f := range bad {
			if !slices.Contains(ownRules, f.Code) {
				t.Errorf("kustomize takes it, and Muster does not: %s", f)
			}
			codes = append(codes, string(f.Code))
		}
		slices.Sort(codes)
		return "refused by Muster: " + strings.Join(slices.Compact(codes), ", ")
	}
	opened(t, g.key, result)
	compare(t, want, result)
	return "equal"
}

// reference returns the result of sops and then kustomize, from real files.
func (g *mixed) reference(t *testing.T, unlisted []string) ([]map[string]any, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range g.files {
		if name == "fleet/kustomization.yaml" && len(unlisted) > 0 {
			spec := map[string]any{}
			if yaml.Unmarshal([]byte(text), &spec) == nil && spec != nil {
				list, isList := spec["resources"].([]any)
				for _, u := range unlisted {
					list = append(list, strings.TrimPrefix(u, "fleet/"))
				}
				if spec["resources"] == nil || isList {
					spec["resources"] = list
					data, err := yaml.Marshal(spec)
					if err != nil {
						t.Fatal(err)
					}
					text = string(data)
				}
			}
		}
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(g.decrypted(t, name, text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	result, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, "fleet"))
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

// decrypted returns what sops prints for an encrypted file.
func (g *mixed) decrypted(t *testing.T, name, text string) string {
	t.Helper()
	if !strings.Contains(text, "ENC[AES256_GCM") {
		return text
	}
	store := common.DefaultStoreForPath(g.stores(t, path.Dir(name)), name)
	tree, err := store.LoadEncryptedFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	master := tree.Metadata.KeyGroups[0][0].(*sopsage.MasterKey)
	var identities sopsage.ParsedIdentities
	if err := identities.Import(g.key.Private()); err != nil {
		t.Fatal(err)
	}
	identities.ApplyToMasterKey(master)
	dataKey, err := master.Decrypt()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Decrypt(dataKey, aes.NewCipher()); err != nil {
		t.Fatal(err)
	}
	plain, err := store.EmitPlainFile(tree.Branches)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// stores returns sops' output settings for a folder.
func (g *mixed) stores(t *testing.T, dir string) *config.StoresConfig {
	t.Helper()
	settings, found := g.files[path.Join(dir, ".sops.yaml")]
	if !found {
		if dir == "." {
			return config.NewStoresConfig()
		}
		return g.stores(t, path.Dir(dir))
	}
	file := filepath.Join(t.TempDir(), ".sops.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	stores, err := config.LoadStoresConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return stores
}

// dirs returns the folders with a kustomization.
func (g *mixed) dirs() []string {
	var dirs []string
	for _, name := range slices.Sorted(maps.Keys(g.files)) {
		if path.Base(name) == "kustomization.yaml" {
			dirs = append(dirs, path.Dir(name))
		}
	}
	return dirs
}

// odd are parts of names that a disk accepts, and that have a meaning somewhere.
var odd = []string{" ", "ü", "+", "=", "@", "(1)", ",", "..", ":", "?ref=x", "#", "%20", "&", "'", "[", "git@", "~", "!"}

func (g *mixed) mix(t *testing.T) {
	t.Helper()
	for range g.rand.IntN(4) {
		g.rename()
	}
	for range g.rand.IntN(3) {
		g.asJSON(t)
	}
	for range g.rand.IntN(3) {
		g.secrets(t)
	}
	for range g.rand.IntN(3) {
		g.generator(t)
	}
	if g.chance(40) {
		g.patch()
	}
	for range g.rand.IntN(3) {
		dir := path.Dir(g.oneOf(slices.Sorted(maps.Keys(g.files))...))
		g.files[path.Join(dir, ".sops.yaml")] = fmt.Sprintf("stores:\n  yaml: {indent: %d}\n  json: {indent: %d}\n  json_binary: {indent: %d}\n", 1+g.rand.IntN(8), g.rand.IntN(9)-1, g.rand.IntN(9)-1)
		g.note("indents in %s: %s", dir, g.files[path.Join(dir, ".sops.yaml")])
	}
	if g.chance(25) {
		g.mutate()
	}
	for _, name := range slices.Sorted(maps.Keys(g.files)) {
		if strings.Contains(g.files[name], "kubeconfig: ") && strings.HasPrefix(g.files[name], clusterHead) && path.Ext(name) == ".yaml" && !strings.Contains(g.files[name], "ENC[") && g.chance(50) {
			g.files[name] = g.key.Encrypt(t, name, g.files[name], sealtest.Credentials)
		}
	}
}

// resource picks an entry of a kustomization that is a file or a folder below it.
func (g *mixed) resource(dir string, folder bool) (entry string, ok bool) {
	spec := map[string]any{}
	if yaml.Unmarshal([]byte(g.files[path.Join(dir, "kustomization.yaml")]), &spec) != nil {
		return "", false
	}
	list, _ := spec["resources"].([]any)
	var fit []string
	for _, item := range list {
		name, _ := item.(string)
		isFile := g.files[path.Join(dir, name)] != ""
		if isFile != folder && !strings.Contains(name, "..") && !strings.Contains(name, "base") {
			fit = append(fit, name)
		}
	}
	if fit == nil {
		return "", false
	}
	return g.oneOf(fit...), true
}

// rename renames a file or folder, and the references to it.
func (g *mixed) rename() {
	dir, folder := g.oneOf(g.dirs()...), g.chance(30)
	old, ok := g.resource(dir, folder)
	if !ok {
		return
	}
	part := g.oneOf(odd...)
	renamed := part + old
	if ext := path.Ext(old); !folder && g.chance(50) {
		renamed = strings.TrimSuffix(old, ext) + part + ext
	}
	for _, name := range slices.Sorted(maps.Keys(g.files)) {
		from := path.Join(dir, old)
		if rest, below := strings.CutPrefix(name, from+"/"); below || name == from {
			to := path.Join(dir, renamed)
			if below {
				to += "/" + rest
			}
			g.files[to] = g.files[name]
			delete(g.files, name)
		}
	}
	g.replace(dir, old, renamed)
	g.note("%s/%s is %s", dir, old, renamed)
}

// replace changes a reference of a kustomization.
func (g *mixed) replace(dir, old, renamed string) {
	g.edit(dir, func(spec map[string]any) {
		list, _ := spec["resources"].([]any)
		for i := range list {
			if list[i] == old {
				list[i] = renamed
			}
		}
	})
}

func (g *mixed) asJSON(t *testing.T) {
	t.Helper()
	dir := g.oneOf(g.dirs()...)
	old, ok := g.resource(dir, false)
	if !ok || strings.Contains(g.files[path.Join(dir, old)], "\n---") || strings.Contains(g.files[path.Join(dir, old)], "ENC[") {
		return
	}
	data, err := yaml.YAMLToJSON([]byte(g.files[path.Join(dir, old)]))
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.TrimSuffix(old, path.Ext(old)) + ".json"
	text := string(data)
	if strings.Contains(text, `"kubeconfig"`) && g.chance(50) {
		text = g.key.Encrypt(t, "c.json", text, sealtest.Credentials)
	}
	g.files[path.Join(dir, renamed)] = text
	delete(g.files, path.Join(dir, old))
	g.replace(dir, old, renamed)
	g.note("%s/%s is JSON", dir, old)
}

// secrets adds a file of Secrets with all sorts of values and documents.
func (g *mixed) secrets(t *testing.T) {
	t.Helper()
	dir := g.oneOf(g.dirs()...)
	var text strings.Builder
	for range 1 + g.rand.IntN(3) {
		g.count++
		text.WriteString(g.oneOf("", "---\n", "---\n# nothing\n", "# a comment\n---\n", "---\nnull\n", "---\n---\n"))
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: m%d\n  labels: {n: %s}\nstringData:\n  a: %s\n  b: %s\n", g.count, g.oneOf("'1'", "x", `"yes"`),
			g.oneOf("text", "'0123'", `"1.10"`, "|\n    lines\n\n    more\n", ">-\n    folded\n    text\n", "' blanks '", `"\ttab"`, "'#'", `"\u00fc\u2028"`, "'null'", "&x y", "!!str 5"),
			g.oneOf("text", "'~'", "'2001-01-01'", `"a: b"`, "'- a'", `""`, "'<<'"))
	}
	name := fmt.Sprintf("mixed%d.yaml", g.count)
	g.files[path.Join(dir, name)] = text.String()
	if g.chance(30) && !strings.Contains(text.String(), "null") && !strings.Contains(text.String(), "# ") && !strings.Contains(text.String(), "---\n---") {
		g.files[path.Join(dir, name)] = g.key.Encrypt(t, "s.yaml", strings.ReplaceAll(text.String(), "&x y", "y"), sealtest.Credentials)
	}
	g.add(dir, "resources", name)
	g.note("Secrets in %s/%s", dir, name)
}

// add adds to a list of a kustomization.
func (g *mixed) add(dir, field string, item any) {
	g.edit(dir, func(spec map[string]any) {
		list, _ := spec[field].([]any)
		spec[field] = append(list, item)
	})
}

// generator adds a generator with inputs, encrypted or not.
func (g *mixed) generator(t *testing.T) {
	t.Helper()
	dir := g.oneOf(g.dirs()...)
	g.count++
	id := fmt.Sprint(g.count)
	input := map[string]string{"in" + id + ".txt": "text\nof two lines\n", "in" + id + ".env": "A=1\nB = two \nC=" + g.oneOf("x", " trailing ", "tab\t", "nbsp\u00a0", "", "a=b") + "\n",
		"in" + id + ".json": g.oneOf(`{"auths": {"r.example.com": {"auth": "eDp5"}}}`, `{"data": "hello"}`, `{"data": {"a": "b"}}`, `{"data": ["a", {"b": null}], "n": 1.50}`, "{\n  \"a\": [],\n  \"b\": \"<&>\"\n}\n"),
		"in" + id + ".yaml": g.oneOf("a: b\nlist:\n- 1\n- two\n", "a:\n    b: {c: [x, y]}\n    d: |\n        lines\n", "---\na: b\n---\nc: 'd'\n", "a: \"\"\nb: ~\nc: 0123\n")}
	input["in"+id+".env"] = strings.ReplaceAll(input["in"+id+".env"], "B = two ", "B=two ")
	for name, text := range input {
		if g.chance(40) {
			text = g.key.Encrypt(t, name, text, sealtest.Everything)
		}
		g.files[path.Join(dir, name)] = text
	}
	one := map[string]any{"name": "gen" + id}
	if g.chance(60) {
		one["files"] = []string{g.oneOf("in"+id+".txt", "key=in"+id+".json", "in"+id+".yaml", "k=in"+id+".txt", "in"+id+".json")}
	}
	if g.chance(60) {
		one["envs"] = []string{"in" + id + ".env"}
	}
	if g.chance(40) {
		one["literals"] = []string{g.oneOf("L=v", "L='quoted'", "L=a=b", "L=")}
	}
	if g.chance(30) {
		one["options"] = map[string]any{"labels": map[string]any{"o": "x"}, "disableNameSuffixHash": g.chance(50)}
	}
	if g.chance(20) {
		one["type"] = "example.com/type"
	}
	if g.chance(10) {
		one["behavior"] = g.oneOf("create", "create", "merge", "nothing")
	}
	switch {
	case g.chance(25):
		one["apiVersion"], one["kind"], one["metadata"] = "builtin", "SecretGenerator", map[string]any{"name": "gen" + id}
		data, err := yaml.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		g.files[path.Join(dir, "generator"+id+".yaml")] = string(data)
		g.add(dir, "generators", "generator"+id+".yaml")
	default:
		g.add(dir, "secretGenerator", one)
	}
	if g.chance(20) {
		g.edit(dir, func(spec map[string]any) {
			spec["generatorOptions"] = map[string]any{"immutable": true, "annotations": map[string]any{"g": "x"}}
		})
	}
	g.note("generator %v in %s", one, dir)
}

// patch adds patches that overwrite, drop and rename.
func (g *mixed) patch() {
	dir := g.oneOf(g.dirs()...)
	operation := func(op, at string, value any) string {
		data, err := json.Marshal([]map[string]any{{"op": op, "path": at, "value": value}})
		if err != nil {
			panic(err)
		}
		return string(data)
	}
	target := map[string]any{"kind": g.oneOf("ExternalCluster", "Secret", "MondooAuditConfig")}
	if g.chance(50) {
		target["name"] = g.oneOf("c.*", "c[0-9]*[13579]", "main", "m.*", "s.*")
	}
	one := map[string]any{"target": target}
	switch g.rand.IntN(7) {
	case 0:
		one["patch"] = operation("add", "/metadata/annotations", map[string]any{"team": "x"})
	case 1:
		one["patch"] = operation("add", "/metadata/annotations", map[string]any{"config.kubernetes.io/local-config": g.oneOf("true", "false")})
	case 2:
		one["patch"] = "$patch: delete\napiVersion: v1\nkind: x\nmetadata: {name: x}\n"
	case 3:
		target["name"] = g.oneOf("c1", "c2", "c3")
		one["patch"] = operation("replace", "/metadata/name", "renamed")
	case 4:
		target["name"] = g.oneOf("c1", "c2", "c3")
		one["patch"], one["options"] = "apiVersion: v1\nkind: x\nmetadata: {name: given}\n", map[string]any{"allowNameChange": true}
	case 5:
		one["patch"] = operation("remove", "/metadata/annotations", nil)
	case 6:
		one["patch"] = operation("test", "/kind", "ExternalCluster")
	}
	g.add(dir, "patches", one)
	if g.chance(30) {
		g.edit("fleet", func(spec map[string]any) { spec["buildMetadata"] = []string{"originAnnotations"} })
	}
	if one["patch"] != nil && strings.Contains(fmt.Sprint(one["patch"]), "name") && g.chance(50) { // by its new name
		g.add("fleet", "patches", map[string]any{"patch": clusterHead + "metadata: {name: " + g.oneOf("given", "renamed") + "}\nspec: {schedule: '@weekly'}\n"})
	}
	g.note("patch %v in %s", one, dir)
}

// mutate makes a change to a kustomization that kustomize may or may not accept.
func (g *mixed) mutate() {
	dir := g.oneOf(g.dirs()...)
	name := path.Join(dir, "kustomization.yaml")
	set := func(field string, value any) { g.edit(dir, func(spec map[string]any) { spec[field] = value }) }
	other := g.oneOf(g.dirs()...)
	ref, err := filepath.Rel("/"+dir, "/"+other)
	if err != nil {
		panic(err)
	}
	choices := []func(){
		func() { set("kind", g.oneOf("Kustomisation", "Component", "Kustomization", "component", "")) },
		func() {
			set("apiVersion", g.oneOf("v1", "kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1alpha1", ""))
		},
		func() { set(g.oneOf("resuorces", "NAMEPREFIX", "metadata", "nameprefix"), g.oneOf("x-", "")) },
		func() {
			g.add(dir, "resources", g.oneOf("gone.yaml", "", ".", "..", "gone", "./", "https://x.invalid/y", "github.com/a/b"))
		},
		func() { g.add(dir, g.oneOf("resources", "components", "bases"), ref) },
		func() {
			g.files[name] = g.oneOf("# c\n---\n---\n", "---\n", "---\n---\n", "null\n---\n", "\ufeff") + g.files[name]
		},
		func() { g.files[name] += g.oneOf("---\nnamePrefix: second-\n", "---\n", "...\n") },
		func() { set("sortOptions", map[string]any{"order": g.oneOf("fifo", "legacy", "lifo", "")}) },
		func() {
			g.add(dir, "patches", g.any("patch", g.oneOf("", " ", "# nothing", "{}", "[]", "text", "a: b")))
		},
		func() { g.add(dir, "patches", g.any("path", g.oneOf("", "gone.yaml", "kustomization.yaml"))) },
		func() {
			set(g.oneOf("namePrefix", "nameSuffix", "namespace", "resources", "patches", "labels", "commonAnnotations"), g.scalar())
		},
		func() {
			g.files[name] = g.oneOf("", "{}\n", "kind: Kustomization\n", "[]\n", "text\n", "resources: []\n", "resources:\n", "# nothing\n")
		},
		func() { set("commonLabels", map[string]any{"a": g.scalar()}) },
		func() { set("generatorOptions", g.scalar()) },
		func() {
			g.add(dir, "configMapGenerator", map[string]any{"name": g.scalar(), "literals": []any{g.scalar()}})
		},
		func() {
			g.add(dir, "patchesStrategicMerge", g.oneOf("gone.yaml", "", clusterHead+"metadata: {name: nobody}\n", "{}", "# a\n\n", "{}\n", "# a", "null", "[]",
				"{apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: nobody}}", "# a\n---\n"+clusterHead+"metadata: {name: nobody}\n"))
		},
		func() {
			g.add(dir, g.oneOf("transformers", "validators"), "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: x}\nprefix: t-\nfieldSpecs: [{path: metadata/name}]\n")
		},
		func() { set("buildMetadata", []any{g.oneOf("originAnnotations", "transformerAnnotations", "nothing")}) },
		func() {
			g.add(dir, "labels", map[string]any{"pairs": map[string]any{"x": g.scalar()}, "includeSelectors": true})
		},
		func() {
			g.add(dir, "replacements", map[string]any{"source": map[string]any{"kind": "Secret"}, "targets": []any{}})
		},
	}
	i := g.rand.IntN(len(choices))
	before := g.files[name]
	defer func() {
		if recover() != nil { // the kustomization is no longer one
			g.files[name] = before
		}
	}()
	choices[i]()
	g.note("change %d of %s: %q", i, name, g.files[name])
}

func (g *mixed) any(field string, value any) map[string]any {
	one := map[string]any{field: value}
	if g.chance(50) {
		one["target"] = map[string]any{"kind": "ExternalCluster"}
	}
	return one
}

func (g *mixed) scalar() any {
	return []any{"x", 5, true, nil, 1.5, []any{"a"}, map[string]any{"a": "b"}, "", "a b"}[g.rand.IntN(9)]
}
