package load_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/load"
)

func tree(t *testing.T, dir string, files map[string]string) *load.Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	loaded, err := load.Load(t.Context(), fsys, dir, load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestCleanPath(t *testing.T) {
	for given, want := range map[string]string{"": ".", ".": ".", "./": ".", "a": "a", "./a/": "a", "a//b/./c": "a/b/c", "a/../b": "b", "./a/b": "a/b"} {
		if got, err := load.CleanPath(given); err != nil || got != want {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
	for _, given := range []string{"/", "/a", "..", "../a", "a/../..", "./../a"} {
		_, err := load.CleanPath(given)
		if target := (*load.PathError)(nil); !errors.As(err, &target) {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestIsRemote(t *testing.T) {
	for ref, want := range map[string]bool{
		"a.yaml": false, "./a:b": false, "../base": false, "dir/with:colon": false, "github.company/x": false,
		"https://x/y": true, "HTTPS://x/y": true, "ssh://git@x/y": true, "git@x:y/z": true, "git::https://x": true, "gh:org/repo": true,
		"github.com/org/repo": true, "file:///x": true, "https:x": true, "host:path/x": true,
	} {
		if got := load.IsRemote(ref); got != want {
			t.Errorf("%q: %t", ref, got)
		}
	}
}

const cluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: NAME}\n# of a MondooAuditConfig\nspec: {kubeconfigFile: k.yaml}\n"

// TestUnlisted: with a kustomization, unlisted cluster files are included, and no other files.
func TestUnlisted(t *testing.T) {
	loaded := tree(t, "fleet", map[string]string{
		"fleet/kustomization.yaml":     "resources: [a.yaml, sub]\n",
		"fleet/a.yaml":                 cluster,
		"fleet/b.yaml":                 cluster + "# another\n",
		"fleet/deep/er/c.yml":          cluster,
		"fleet/k.yaml":                 "apiVersion: v1\nkind: Config\n# ExternalCluster\n",
		"fleet/values.yaml":            "mentions: ExternalCluster\n",
		"fleet/other.yaml":             "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
		"fleet/broken.yaml":            "no: [cluster\n",
		"fleet/sub/kustomization.yaml": "resources: [d.yaml]\n",
		"fleet/sub/d.yaml":             cluster,
		"fleet/sub/e.yaml":             cluster,
		"fleet/.hidden/f.yaml":         cluster,
		"fleet/.musterignore":          "ignored/\n",
		"fleet/ignored/g.yaml":         cluster,
		"outside/h.yaml":               cluster,
	})
	if want := []string{"fleet/b.yaml", "fleet/deep/er/c.yml"}; !slices.Equal(loaded.Unlisted, want) {
		t.Errorf("unlisted: %v", loaded.Unlisted)
	}
	want := []string{"fleet/kustomization.yaml", "fleet/sub/d.yaml", "fleet/sub/kustomization.yaml"}
	if got := loaded.Paths(); !slices.Equal(got[len(got)-2:], want[1:]) {
		t.Errorf("files: %v", got)
	}
	for _, f := range loaded.Findings {
		if f.Code != load.CodeDuplicateName && f.Path != "fleet/broken.yaml" {
			t.Errorf("%s", f)
		}
	}
	for _, name := range []string{"fleet/sub/e.yaml", "fleet/broken.yaml", "fleet/other.yaml"} {
		if !loaded.Present[name] {
			t.Errorf("%s is not present", name)
		}
	}
	for _, name := range []string{"fleet/ignored/g.yaml", "fleet/.hidden/f.yaml", "outside/h.yaml", "fleet/deep"} {
		if loaded.Present[name] {
			t.Errorf("%s is present", name)
		}
	}
}

// TestRepeats: kustomize would build the base of a diamond once per path.
func TestRepeats(t *testing.T) {
	diamonds := func(levels int) map[string]string {
		repository := map[string]string{"fleet/l0/kustomization.yaml": "resources: [a.yaml]\n", "fleet/l0/a.yaml": cluster}
		for i := range levels {
			repository[fmt.Sprintf("fleet/x%d/kustomization.yaml", i+1)] = fmt.Sprintf("nameSuffix: x%d\nresources: [../l%d]\n", i, i)
			repository[fmt.Sprintf("fleet/l%d/kustomization.yaml", i+1)] = fmt.Sprintf("resources: [../l%d, ../x%d]\n", i, i+1)
		}
		repository["fleet/kustomization.yaml"] = fmt.Sprintf("resources: [./l%d]\n", levels)
		return repository
	}
	for levels, stopped := range map[int]bool{1: false, 9: false, 10: true, 100: true} {
		loaded := tree(t, "fleet", diamonds(levels))
		if loaded.Stopped != stopped {
			t.Errorf("%d levels: stopped is %t: %v", levels, loaded.Stopped, loaded.Findings)
		}
		if stopped && (len(loaded.Findings) != 1 || loaded.Findings[0].Code != load.CodeSize) {
			t.Errorf("%d levels: %v", levels, loaded.Findings)
		}
	}
	components := map[string]string{"fleet/part/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nnamePrefix: p-\n"}
	for i := range 1000 {
		components[fmt.Sprintf("fleet/c%d/kustomization.yaml", i)] = "resources: [a.yaml]\ncomponents: [../part]\n"
		components[fmt.Sprintf("fleet/c%d/a.yaml", i)] = strings.Replace(cluster, "name: ", fmt.Sprintf("name: c%d-", i), 1)
	}
	if loaded := tree(t, "fleet", components); loaded.Stopped {
		t.Errorf("a component that many folders use: %v", loaded.Findings)
	}
}

// TestCrowdedFiles: kustomize needs quadratic time for these files.
func TestCrowdedFiles(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s%d}\n"
	var labels, documents, merged strings.Builder
	fmt.Fprintf(&labels, secret+"data:\n", 1)
	for i := range 2001 {
		fmt.Fprintf(&labels, "  k%d: ''\n", i)
	}
	for i := range 501 {
		fmt.Fprintf(&documents, "---\n"+secret, i)
	}
	fmt.Fprintf(&merged, secret+"x:\n", 1)
	for i := range 3 {
		fmt.Fprintf(&merged, "  a%d: &a%d\n", i, i)
		for j := range 1000 {
			fmt.Fprintf(&merged, "    k%d-%d: ''\n", i, j)
		}
	}
	merged.WriteString("data:\n  <<: [*a0, *a1, *a2]\n")
	for name, content := range map[string]string{"labels": labels.String(), "documents": documents.String(), "merged": merged.String()} {
		loaded := tree(t, "fleet", map[string]string{"fleet/s.yaml": content})
		if len(loaded.Findings) != 1 || loaded.Findings[0].Code != load.CodeSize || loaded.Findings[0].Line == 0 || !loaded.Broken["fleet/s.yaml"] {
			t.Errorf("%s: %v", name, loaded.Findings)
		}
	}
	full := tree(t, "fleet", map[string]string{"fleet/s.yaml": strings.Replace(documents.String(), "---\n"+fmt.Sprintf(secret, 500), "", 1)})
	if len(full.Findings) != 0 {
		t.Errorf("500 documents: %v", full.Findings)
	}
}

// TestAliasesTogether: each file is within its limit, but together they would fill the memory.
func TestAliasesTogether(t *testing.T) {
	values := "a: &a [" + strings.TrimSuffix(strings.Repeat("x, ", 1000), ", ") + "]\nb: [" + strings.TrimSuffix(strings.Repeat("*a, ", 100), ", ") + "]\n"
	named := func(name string) string { return strings.Replace(cluster, "NAME", name, 1) }
	loaded := tree(t, "fleet", map[string]string{"fleet/1.yaml": named("c1") + values, "fleet/2.yaml": named("c2") + values, "fleet/3.yaml": named("c3") + values,
		"fleet/4.yaml": named("c4") + values, "fleet/5.yaml": named("c5")})
	for name, broken := range map[string]bool{"fleet/1.yaml": false, "fleet/2.yaml": false, "fleet/3.yaml": true, "fleet/4.yaml": true, "fleet/5.yaml": false} {
		if loaded.Broken[name] != broken {
			t.Errorf("%s: broken %t", name, loaded.Broken[name])
		}
	}
	for _, f := range loaded.Findings {
		if f.Code != load.CodeAliases {
			t.Error(f)
		}
	}
}

// TestFoldersWithKustomizations: without a kustomization at the path, those below are built, but for what they use of each
// other.
func TestFoldersWithKustomizations(t *testing.T) {
	loaded := tree(t, "fleet", map[string]string{
		"fleet/a/kustomization.yaml":    "resources: [../base]\ncomponents: [../part]\n",
		"fleet/b/kustomization.yaml":    "namePrefix: b-\nresources: [x.yaml]\n",
		"fleet/b/x.yaml":                cluster,
		"fleet/base/kustomization.yaml": "resources: [y.yaml]\n",
		"fleet/base/y.yaml":             cluster,
		"fleet/part/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nnamePrefix: p-\n",
	})
	if got, want := loaded.Kustomizations["fleet"].Resources, []string{"fleet/a", "fleet/b"}; !slices.Equal(got, want) {
		t.Errorf("resources: %v", got)
	}
	if len(loaded.Findings) > 0 {
		t.Errorf("findings: %v", loaded.Findings)
	}
}

func TestPosition(t *testing.T) {
	loaded := tree(t, "f", map[string]string{"f/x.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: one\ndata: {}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: two\nlist:\n  - a\n  - b: c\n"})
	file := loaded.Files["f/x.yaml"]
	for _, row := range []struct {
		document     int
		field        []string
		line, column int
	}{
		{0, nil, 1, 1}, {0, []string{"metadata", "name"}, 4, 3}, {0, []string{"metadata", "labels", "x"}, 3, 1}, {0, []string{"nothing"}, 1, 1},
		{1, []string{"metadata", "name"}, 10, 3}, {1, []string{"list", "[1]", "b"}, 13, 5}, {1, []string{"list", "[7]"}, 11, 1}, {2, nil, 0, 0},
	} {
		if line, column := file.Position(row.document, row.field); line != row.line || column != row.column {
			t.Errorf("%d %v: %d:%d", row.document, row.field, line, column)
		}
	}
	for name, want := range map[string]int{"one": 0, "two": 1, "prefix-two-suffix": 1, "a-one-two": 1, "three": 0} {
		if got := file.Document("Secret", name); got != want {
			t.Errorf("%s: document %d", name, got)
		}
	}
}

// TestSymlinksOnDisk: a work tree on disk, where the operating system would follow links (CVE-2026-44740 and CVE-2026-44973 of go-billy).
func TestSymlinksOnDisk(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("outside/kustomization.yaml", "resources: [x.yaml]\n")
	write("outside/x.yaml", cluster)
	for name, text := range map[string]string{
		"resource": "resources: [link]\n", "file": "resources: [link/x.yaml]\n", "component": "components: [link]\n", "patch": "patches: [{path: link/x.yaml}]\n",
		"input": "secretGenerator: [{name: s, files: [link/x.yaml]}]\n",
	} {
		write("repository/"+name+"/kustomization.yaml", text)
		link("../../outside", "repository/"+name+"/link")
		loaded, err := load.Load(t.Context(), os.DirFS(filepath.Join(dir, "repository")), name, load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(loaded.Paths(), func(p string) bool { return p == name+"/kustomization.yaml" }) || len(loaded.Paths()) > 1 {
			t.Errorf("%s: read %v", name, loaded.Paths())
		}
		found := false
		for _, f := range loaded.Findings {
			found = found || f.Code == load.CodeSymlink && f.Severity == "error"
		}
		if !found {
			t.Errorf("%s: %v", name, loaded.Findings)
		}
	}
}
