package load_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// workTree marks some files as ignored by Git, like a work tree does.
type workTree struct {
	fstest.MapFS
	ignores []string
}

type ignoredEntry struct{ fs.DirEntry }

func (ignoredEntry) Ignored() bool     { return true }
func (ignoredEntry) IsDir() bool       { return false }
func (ignoredEntry) Type() fs.FileMode { return fs.ModeIrregular }

func (w workTree) ReadDir(dir string) ([]fs.DirEntry, error) {
	list, err := w.MapFS.ReadDir(dir)
	for i, e := range list {
		if slices.Contains(w.ignores, strings.TrimPrefix(dir+"/"+e.Name(), "./")) {
			list[i] = ignoredEntry{e}
		}
	}
	return list, err
}

// Files that are not in the commit, and those of other repositories, are left out and reported.
func TestLeftOut(t *testing.T) {
	cluster := &fstest.MapFile{Data: []byte("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: a}\n")}
	module := &fstest.MapFile{Mode: fs.ModeIrregular}
	text := func(data string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(data)} }
	for _, row := range []struct {
		reason  string
		files   fstest.MapFS
		ignores []string
		want    []string // code, severity and path of each finding
		broken  []string
		stopped bool
	}{
		{"a submodule", fstest.MapFS{"c/a.yaml": cluster, "c/sub": module}, nil, []string{"submodule error c/sub"}, []string{"c/sub"}, false},
		{"a submodule beside a kustomization", fstest.MapFS{"c/kustomization.yaml": text("resources: [a.yaml]"), "c/a.yaml": cluster, "c/sub": module}, nil, []string{"submodule error c/sub"}, []string{"c/sub"}, false},
		{"nothing but a submodule", fstest.MapFS{"c/sub": module}, nil, []string{"submodule error c/sub"}, []string{"c/sub"}, false},
		{"a submodule further down", fstest.MapFS{"c/a.yaml": cluster, "c/x/y/sub": module}, nil, []string{"submodule error c/x/y/sub"}, []string{"c/x/y/sub"}, false},
		{"a submodule that is listed", fstest.MapFS{"c/a.yaml": cluster, "c/sub": module, "c/.musterignore": text("/sub/")}, nil, nil, nil, false},
		{"a hidden submodule", fstest.MapFS{"c/a.yaml": cluster, "c/.sub": module}, nil, nil, nil, false},
		{"a submodule elsewhere", fstest.MapFS{"c/a.yaml": cluster, "d": module}, nil, nil, nil, false},
		{"a submodule named like a file", fstest.MapFS{"c/a.yaml": cluster, "c/sub.yaml": module}, nil, []string{"submodule error c/sub.yaml"}, []string{"c/sub.yaml"}, false},
		{"a base in a submodule", fstest.MapFS{"c/kustomization.yaml": text("resources: [../sub]"), "sub": module}, nil, []string{"submodule error c/kustomization.yaml"}, []string{"c/kustomization.yaml"}, true},
		{"a file in a submodule", fstest.MapFS{"c/kustomization.yaml": text("resources: [a.yaml, ../sub/b.yaml]"), "c/a.yaml": cluster, "sub": module}, nil, []string{"submodule error c/kustomization.yaml"}, []string{"sub/b.yaml"}, false},
		{"an ignored file", fstest.MapFS{"c/a.yaml": cluster, "c/b.yaml": cluster}, []string{"c/b.yaml"}, []string{"git-ignored info c/b.yaml"}, nil, false},
		{"an ignored folder", fstest.MapFS{"c/a.yaml": cluster, "c/b/b.yaml": cluster}, []string{"c/b"}, []string{"git-ignored info c/b"}, nil, false},
		{"an ignored file of another kind", fstest.MapFS{"c/a.yaml": cluster, "c/b.txt": text("b")}, []string{"c/b.txt"}, nil, nil, false},
		{"an ignored file that is referred to", fstest.MapFS{"c/kustomization.yaml": text("resources: [a.yaml, b.yaml]"), "c/a.yaml": cluster, "c/b.yaml": cluster}, []string{"c/b.yaml"},
			[]string{"not-found error c/kustomization.yaml", "git-ignored info c/b.yaml"}, []string{"c/b.yaml"}, false},
		{"an ignored kustomization", fstest.MapFS{"c/kustomization.yaml": text("resources: [nowhere.yaml]"), "c/a.yaml": cluster}, []string{"c/kustomization.yaml"}, []string{"git-ignored info c/kustomization.yaml"}, nil, false},
		{"an ignored .musterignore", fstest.MapFS{"c/.musterignore": text("a.yaml"), "c/a.yaml": cluster}, []string{"c/.musterignore"}, nil, nil, false},
		{"nothing but ignored files is empty", fstest.MapFS{"c/a.yaml": cluster}, []string{"c/a.yaml"}, []string{"empty error c", "git-ignored info c/a.yaml"}, []string{"c"}, true},
		{"nothing but a link is empty", fstest.MapFS{"c/README": &fstest.MapFile{Mode: fs.ModeSymlink}}, nil, []string{"empty error c", "symlink info c/README"}, []string{"c"}, true},
	} {
		tree, err := load.Load(t.Context(), workTree{row.files, row.ignores}, "c", load.Limits{}, nil)
		if err != nil {
			t.Errorf("%s: %v", row.reason, err)
			continue
		}
		var got, broken []string
		for _, f := range finding.Sorted(tree.Findings) {
			got = append(got, string(f.Code)+" "+string(f.Severity)+" "+f.Path)
			if err := f.Check(); err != nil {
				t.Errorf("%s: %v", row.reason, err)
			}
		}
		for name := range tree.Broken {
			broken = append(broken, name)
		}
		slices.Sort(broken)
		if !slices.Equal(got, row.want) || !slices.Equal(broken, row.broken) || tree.Stopped != row.stopped {
			t.Errorf("%s: %q, broken %q, stopped %t; want %q, %q, %t", row.reason, got, broken, tree.Stopped, row.want, row.broken, row.stopped)
		}
		for name := range tree.Present {
			if slices.Contains(row.ignores, name) || row.files[name] == module {
				t.Errorf("%s: %s is taken for a file of the commit", row.reason, name)
			}
		}
	}
	for _, dir := range []string{"sub", "sub/c"} {
		if _, err := load.Load(t.Context(), fstest.MapFS{"sub": module}, dir, load.Limits{}, nil); err == nil || !strings.Contains(err.Error(), "submodule") {
			t.Errorf("the path %s: %v", dir, err)
		}
	}
}
