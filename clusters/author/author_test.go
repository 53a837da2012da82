package author_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

func TestDraft(t *testing.T) {
	d := author.New("prod-eu")
	d.Cluster.Spec.ServiceAccountAuth = &v1alpha1.ServiceAccountAuth{Server: "https://a:6443", Token: "0123", CACert: "-----BEGIN\nx\n-----END\n"}
	d.Cluster.Spec.Filtering = &v1alpha1.Filtering{Namespaces: &v1alpha1.Patterns{Exclude: []string{"kube-*", "<&>"}}}
	d.Cluster.Spec.Repositories = &v1alpha1.Patterns{}
	d.Cluster.Spec.Schedule = "H * * * *"
	got, err := d.YAML("# header")
	if err != nil {
		t.Fatal(err)
	}
	const want = `# header
apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: prod-eu
spec:
  serviceAccountAuth:
    server: https://a:6443
    token: "0123"
    caCert: |
      -----BEGIN
      x
      -----END
  schedule: H * * * *
  filtering:
    namespaces:
      exclude:
        - kube-*
        - <&>
  repositories: {}
`
	if string(got) != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if fields := d.SecretFields(); len(fields) != 1 || strings.Join(fields[0], ".") != "spec.serviceAccountAuth.token" {
		t.Errorf("secret fields: %v", fields)
	}
}

// A repository with changes is what the disk has after they are written.
func TestWith(t *testing.T) {
	before := fstest.MapFS{
		"a/kept.yaml":    {Data: []byte("kept")},
		"a/changed.yaml": {Data: []byte("old")},
		"a/removed.yaml": {Data: []byte("removed")},
	}
	got := author.With(before,
		author.Change{Path: "a/changed.yaml", Before: []byte("old"), After: []byte("new, and longer")},
		author.Change{Path: "a/removed.yaml", Before: []byte("removed")},
		author.Change{Path: "a/new.yaml", After: []byte("new")},
		author.Change{Path: "b/c/deep.yaml", After: []byte("deep")},
		author.Change{Path: "b/d/deep.yaml", After: []byte{}},
	)
	want := fstest.MapFS{
		"a/kept.yaml":    {Data: []byte("kept")},
		"a/changed.yaml": {Data: []byte("new, and longer")},
		"a/new.yaml":     {Data: []byte("new")},
		"b/c/deep.yaml":  {Data: []byte("deep")},
		"b/d/deep.yaml":  {Data: []byte{}},
	}
	if list, expected := walk(t, got), walk(t, want); !slices.Equal(list, expected) {
		t.Errorf("got %q\nwant %q", list, expected)
	}
	for _, gone := range []string{"a/removed.yaml", "b/none"} {
		if _, err := fs.Stat(got, gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
		if _, err := fs.ReadFile(got, gone); err == nil {
			t.Errorf("%s can still be read", gone)
		}
	}
}

// walk lists all folders, and files with their size and content.
func walk(t *testing.T, tree fs.FS) []string {
	t.Helper()
	var list []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			list = append(list, name+"/")
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		info, err := fs.Lstat(tree, name)
		if err != nil {
			return err
		}
		if info.Size() != int64(len(data)) || info.Name() != d.Name() {
			t.Errorf("%s: described as %s with %d bytes, and has %d", name, info.Name(), info.Size(), len(data))
		}
		list = append(list, name+"="+string(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
