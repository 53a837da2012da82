package load

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/finding"
)

const someCluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: a}\nspec: {}\n"

func loadFiles(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := Load(t.Context(), fsys, "f", Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestWhatKustomizeRefuses: a kustomization that kustomize refuses stops the tree, wherever it is.
func TestWhatKustomizeRefuses(t *testing.T) {
	const component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	for _, row := range []struct {
		reason, root, below string // f/kustomization.yaml, and that of f/b
		want                string // code, path and line of the error; "" for none
	}{
		{"good", "resources: [b]\n", "namePrefix: x-\n", ""},
		{"the first document is empty", "# c\n---\n---\nnamePrefix: x-\nresources: [a.yaml]\n", "", "kustomization f/kustomization.yaml:1"},
		{"the first document of a base is null", "resources: [b]\n", "null\n---\nnamePrefix: x-\n", "kustomization f/b/kustomization.yaml:1"},
		{"a second document", "resources: [a.yaml]\n---\nnamePrefix: x-\n", "", ""},
		{"nothing, beside a cluster file", "resources:\n", "", ""},
		{"a base says nothing", "resources: [b]\n", "kind: Kustomization\n", "kustomization f/b/kustomization.yaml:1"},
		{"a base says nothing but its kind", "resources: [b]\n", "{}\n", "kustomization f/b/kustomization.yaml:1"},
		{"the path's own says nothing", "{}\n", "", ""},
		{"a base of an unknown kind", "resources: [b]\n", "kind: Kustomisation\nnamePrefix: x-\n", "kustomization f/b/kustomization.yaml:1"},
		{"the path's own is of an unknown kind", "kind: Foo\nresources: [a.yaml]\n", "", "kustomization f/kustomization.yaml:1"},
		{"another apiVersion", "apiVersion: v1\nresources: [a.yaml]\n", "", "kustomization f/kustomization.yaml:1"},
		{"a component of the version of kustomizations", "components: [b]\n", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Component\nnamePrefix: x-\n", "kustomization f/b/kustomization.yaml:1"},
		{"a component under resources", "resources: [a.yaml, b]\n", component + "namePrefix: x-\n", "kustomization f/kustomization.yaml:1"},
		{"a base under components", "components: [b]\n", "namePrefix: x-\n", "kustomization f/kustomization.yaml:1"},
		{"a component", "components: [b]\n", component + "namePrefix: x-\n", ""},
		{"an unknown order", "resources: [a.yaml]\nsortOptions: {order: lifo}\n", "", "kustomization f/kustomization.yaml:2"},
		{"an order", "resources: [a.yaml]\nsortOptions: {order: legacy}\n", "", ""},
		{"an unknown order of a base, which kustomize passes over", "resources: [b]\n", "namePrefix: x-\nsortOptions: {order: lifo}\n", ""},
		{"a patch that is none", "resources: [a.yaml]\npatches:\n- patch: \" \"\n", "", "kustomization f/kustomization.yaml:3"},
		{"a patch that is none, with a target", "resources: [a.yaml]\npatches:\n- target: {kind: Secret}\n", "", "kustomization f/kustomization.yaml:3"},
		{"a patch that is none, of a component", "components: [b]\n", component + "patches: [{patch: ''}]\n", "kustomization f/b/kustomization.yaml:3"},
		{"a patch and a path", "resources: [a.yaml]\npatches: [{path: a.yaml, patch: '{a: b}'}]\n", "", "kustomization f/kustomization.yaml:2"},
		{"a patch in one line", "resources: [a.yaml]\npatchesStrategicMerge: ['{apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: a}}']\n", "", ""},
		{"a patch after an empty document", "resources: [a.yaml]\npatchesStrategicMerge: [\"# a\\n---\\n{kind: x}\"]\n", "", ""},
		{"an empty patch beside another", "resources: [a.yaml]\npatchesStrategicMerge: [\"{kind: x}\\n\", '{}', '# a', 'null', '']\n", "", ""},
		{"empty patches alone", "resources: [a.yaml]\npatchesStrategicMerge: ['{}', '# a', '']\n", "", "kustomization f/kustomization.yaml:2"},
		{"no patch in the list of patches", "patchesStrategicMerge: [\"# nothing\\n\"]\n", "", "kustomization f/kustomization.yaml:1"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			files := map[string]string{"f/kustomization.yaml": row.root, "f/a.yaml": someCluster}
			if row.below != "" {
				files["f/b/kustomization.yaml"] = row.below
			}
			got := ""
			tree := loadFiles(t, files)
			for _, f := range tree.Findings {
				if f.Severity == finding.Error {
					got = fmt.Sprintf("%s %s:%d", f.Code, f.Path, f.Line)
				}
			}
			if got != row.want || tree.Stopped != (row.want != "") {
				t.Errorf("got %q, stopped %t", got, tree.Stopped)
			}
		})
	}
}

// TestNamesOfFiles: Muster accepts every file name that a disk accepts, even if it looks like an address.
func TestNamesOfFiles(t *testing.T) {
	for _, name := range []string{"a b.yaml", "ü.yaml", "s+1.yaml", "a=b.yaml", "a@b.yaml", "a(1).yaml", "a,b.yaml", "a..b.yaml", "a:b.yaml", "git@host:x.yaml", "x?ref=y.yaml",
		"github.com/a/b.yaml", "git::x.yaml", "gh:x.yaml", "a#b.yaml", "a%20b.yaml", "..a.yaml", "d e/a.yaml", "d..e/a.yaml"} {
		tree := loadFiles(t, map[string]string{"f/kustomization.yaml": "resources: ['" + name + "']\n", "f/" + name: someCluster})
		if len(tree.Findings) > 0 || !slices.Equal(tree.Kustomizations["f"].Resources, []string{"f/" + name}) {
			t.Errorf("%s: %v, %v", name, tree.Kustomizations["f"], tree.Findings)
		}
	}
	for _, ref := range []string{"https://x/y", "http:x.yaml", "git@host:x/y", "github.com/a/b", "git::https://x/y"} {
		tree := loadFiles(t, map[string]string{"f/kustomization.yaml": "resources: ['" + ref + "']\n", "f/http:x.yaml": someCluster, "f/github.com/a/b/kustomization.yaml": "resources: []\n"})
		if len(tree.Findings) != 1 || tree.Findings[0].Code != CodeRemote {
			t.Errorf("%s: %v", ref, tree.Findings)
		}
	}
}

// omitting is a file system that can't show some names, as Git's.
type omitting struct{ fstest.MapFS }

func (o omitting) Omitted(dir string) []fs.DirEntry {
	entries, err := fs.ReadDir(fstest.MapFS{`eu\xff.yaml`: {}, `notes\xff.txt`: {}, `.hidden\xff.yaml`: {}, `us\xff/a.yaml`: {}}, ".")
	if dir != "f" || err != nil {
		return nil
	}
	return entries
}

// TestNamesThatCannotBeRead: a file that may have been a cluster is broken, not deleted.
func TestNamesThatCannotBeRead(t *testing.T) {
	for reason, fsys := range map[string]fs.FS{
		"the file system tells of them": omitting{fstest.MapFS{"f/a.yaml": {Data: []byte(someCluster)}}},
		"the file system has them": fstest.MapFS{"f/a.yaml": {Data: []byte(someCluster)}, "f/eu\xff.yaml": {Data: []byte(someCluster)},
			"f/notes\xff.txt": {}, "f/.hidden\xff.yaml": {}, "f/us\xff/a.yaml": {Data: []byte(someCluster)}},
	} {
		tree, err := Load(t.Context(), fsys, "f", Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range tree.Findings {
			got = append(got, fmt.Sprint(f.Code, " ", f.Severity, " ", f.Path, " ", tree.Broken[f.Path]))
		}
		slices.Sort(got)
		want := []string{`file-name error f/eu\xff.yaml true`, `file-name error f/us\xff true`, `file-name info f/notes\xff.txt false`}
		if !slices.Equal(got, want) || len(tree.Files) != 1 {
			t.Errorf("%s:\n%s\n%d files", reason, strings.Join(got, "\n"), len(tree.Files))
		}
	}
}
