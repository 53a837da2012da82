package gitsync

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestLinksAndSubmodules(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	sub := strings.Repeat("5a", 20)
	o.commit("main", map[string]string{
		"dir/file": "content", "link @120000": "dir/file", "out @120000": "../../etc/passwd", "folder @120000": "dir",
		"module @160000": sub, "dir/long @120000": strings.Repeat("x", maxLinkTarget+1),
	})
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})

	for name, want := range map[string]string{"link": "dir/file", "out": "../../etc/passwd", "folder": "dir"} {
		info, err := fs.Stat(s.FS(), name)
		if err != nil || info.Mode() != fs.ModeSymlink|0o777 {
			t.Errorf("%s: %v %v", name, info, err)
		}
		var link *SymlinkError
		if _, err := fs.ReadFile(s.FS(), name); !errors.As(err, &link) || link.Path != name || link.Target != want {
			t.Errorf("%s: %v", name, err)
		}
		if target, err := fs.ReadLink(s.FS(), name); err != nil || target != want {
			t.Errorf("%s: %q %v", name, target, err)
		}
	}
	var link *SymlinkError
	for _, read := range []func() error{
		func() error { _, err := fs.ReadFile(s.FS(), "folder/file"); return err },
		func() error { _, err := fs.ReadDir(s.FS(), "folder"); return err },
		func() error { _, err := fs.Sub(s.FS(), "folder"); return err },
		func() error { _, err := fs.Stat(s.FS(), "folder/file"); return err },
		func() error { f, _ := s.FS().Open("folder"); _, err := io.ReadAll(f); return err },
	} {
		if err := read(); !errors.As(err, &link) || link.Path != "folder" {
			t.Errorf("through a link: %v", err)
		}
	}
	var module *SubmoduleError
	info, err := fs.Stat(s.FS(), "module")
	if err != nil || info.Mode().Type() != fs.ModeIrregular || info.(interface{ Hash() string }).Hash() != sub {
		t.Errorf("module: %v %v", info, err)
	}
	for _, name := range []string{"module", "module/file"} {
		if _, err := fs.ReadFile(s.FS(), name); !errors.As(err, &module) || module.Path != "module" || module.Commit != sub {
			t.Errorf("%s: %v", name, err)
		}
	}
	var limit *LimitError
	if _, err := fs.ReadFile(s.FS(), "dir/long"); !errors.As(err, &limit) {
		t.Errorf("a link with a target of %d bytes: %v", maxLinkTarget+1, err)
	}
	// Messages name the path in the repository, not that in the Sub.
	dir, err := fs.Sub(s.FS(), "dir")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(dir, "long"); !errors.As(err, &limit) || limit.Name != "dir/long" {
		t.Errorf("in a Sub: %v", err)
	}
}

func TestFSWithLinksKeepsTheRules(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"a/b/c": "content", "link @120000": "a/b/c", "empty": ""})
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})
	if err := fstest.TestFS(s.FS(), "a/b/c", "link", "empty"); err != nil {
		t.Error(err)
	}
	sub, err := fs.Sub(s.FS(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "b/c"); err != nil {
		t.Error(err)
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"dir/file": "content"})
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})
	for name, want := range map[string]error{
		"nothing": fs.ErrNotExist, "dir/nothing": fs.ErrNotExist, "dir/file/below": fs.ErrNotExist, "Dir/file": fs.ErrNotExist,
		"": fs.ErrInvalid, "/dir": fs.ErrInvalid, "dir/": fs.ErrInvalid, "../x": fs.ErrInvalid, "dir/../dir/file": fs.ErrInvalid, "a\xff": fs.ErrInvalid,
	} {
		_, err := fs.ReadFile(s.FS(), name)
		var where *fs.PathError
		if !errors.Is(err, want) || !errors.As(err, &where) || where.Path != name {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := s.BlobHash(name); !errors.Is(err, want) {
			t.Errorf("hash of %q: %v", name, err)
		}
	}
	for _, op := range []func() error{
		func() error { _, err := fs.ReadFile(s.FS(), "dir"); return err },
		func() error { _, err := fs.ReadDir(s.FS(), "dir/file"); return err },
		func() error { _, err := fs.Sub(s.FS(), "dir/file"); return err },
		func() error { _, err := fs.ReadLink(s.FS(), "dir/file"); return err },
	} {
		if op() == nil {
			t.Error("a folder is a file, or a file a folder")
		}
	}
}

// Trees that git would not write, but that a server can send.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	blob := o.hash("blob", "content")
	inner := o.hash("tree", rawTree("100644", "not\xffutf8", blob, "100644", "fine", blob))
	tree := o.hash("tree", rawTree(
		"100644", ".", blob, "40000", "..", inner, "100644", "a/b", blob, `100644`, `back\slash`, blob,
		"100644", "twice", blob, "40000", "twice", inner, "40000", "dir", inner, "40000", "again", inner,
		"100644", "näme", blob, "100644", "new\nline", blob, "100600", "odd mode", blob,
		"100644", strings.Repeat("l", 300)+".yaml", blob,
	))
	o.commitTree("main", tree)
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})

	var paths []string
	if err := fs.WalkDir(s.FS(), ".", func(p string, _ fs.DirEntry, err error) error { paths = append(paths, p); return err }); err != nil {
		t.Fatal(err)
	}
	if want := []string{".", "again", "again/fine", "dir", "dir/fine", "new\nline", "näme", "odd mode"}; !slices.Equal(paths, want) {
		t.Errorf("shown: %q", paths)
	}
	var omitted []string
	for _, dir := range []string{".", "again", "dir", "dir/fine", "nothing"} {
		for _, o := range s.FS().(interface {
			Omitted(dir string) []fs.DirEntry
		}).Omitted(dir) {
			omitted = append(omitted, fmt.Sprint(dir, " ", o.Name(), " ", o.IsDir()))
		}
	}
	slices.Sort(omitted)
	want := []string{`. \. false`, `. \.. true`, `. a\x2fb false`, `. back\\slash false`, ". " + strings.Repeat("l", 127) + `\\` + strings.Repeat("l", 58) + ".yaml false", `. twice false`, `. twice true`, `again not\xffutf8 false`, `dir not\xffutf8 false`}
	if slices.Sort(want); !slices.Equal(omitted, want) {
		t.Errorf("omitted: %q", omitted)
	}
	if err := fstest.TestFS(s.FS(), "dir/fine", "näme"); err != nil {
		t.Error(err)
	}
}

func TestMalformedTrees(t *testing.T) {
	t.Parallel()
	// Git's own server does not send this one, so it can't be tried end to end.
	if nameless, err := parseTree([]byte("100644 \x00"+strings.Repeat("h", 20)), 1); err != nil || len(nameless.entries) != 0 || len(nameless.omitted) != 1 {
		t.Errorf("an empty name: %+v %v", nameless, err)
	}
	for name, raw := range map[string]string{
		"no hash": "100644 a\x00short", "no name": "100644", "no mode": " a\x00" + strings.Repeat("h", 20),
		"a mode that is no number": "rw a\x00" + strings.Repeat("h", 20), "a mode that is no kind": "150000 a\x00" + strings.Repeat("h", 20),
	} {
		if _, err := parseTree([]byte(raw), 10); !errors.Is(err, errTree) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeepTree(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	deep := strings.Repeat("d/", 1000)
	o.commit("main", map[string]string{deep + "file": "content"})
	url := serve(t, o).url
	s := fetch(t, open(t, t.TempDir()), Source{URL: url})
	if content(t, s, deep+"file") != "content" {
		t.Error("wrong content")
	}
	o.commit("deeper", map[string]string{strings.Repeat("d/", maxTreeDepth+1) + "file": "content"})
	_, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: "deeper"}})
	var limit *LimitError
	if !errors.As(err, &limit) || limit.What != "depth of folders" {
		t.Errorf("got %v", err)
	}
	for reason, length := range map[string]int{"as long as Linux allows": maxPath, "longer": maxPath + 1} {
		folders := strings.Repeat(strings.Repeat("d", 254)+"/", 16) // 4,080 bytes
		o.commit("long", map[string]string{folders + strings.Repeat("f", length-len(folders)): "content"})
		_, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: "long"}})
		if long := errors.As(err, &limit) && limit.What == "length of a path" && limit.Got == maxPath+1; long != (length > maxPath) || !long && err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "small", "zeros": strings.Repeat("\x00", 8<<20), "mid": strings.Repeat("m", 2000)})
	bomb := o.hash("tree", rawTree("100644", "f", o.hash("blob", "x"), "100644", "g", o.hash("blob", "x")))
	for range 40 {
		bomb = o.hash("tree", rawTree("40000", "a", bomb, "40000", "b", bomb))
	}
	o.commitTree("bomb", bomb)
	var noise strings.Builder
	for i := range 300000 {
		fmt.Fprintf(&noise, "%d ", i*i*i)
	}
	o.commit("noise", map[string]string{"noise": noise.String()})
	url := serve(t, o).url

	for _, tc := range []struct {
		what   string
		branch string
		limits Limits
	}{
		{"object", "main", Limits{ObjectBytes: 1 << 20}},
		{"unpacked pack", "main", Limits{TotalBytes: 1 << 20}},
		{"objects in a pack", "main", Limits{Objects: 3}},
		{"files in a commit", "main", Limits{Files: 2}},
		{"files in a commit", "bomb", Limits{}},
		// Much more than a frame and a buffer, which may be read before the pack in them is counted.
		{"pack", "noise", Limits{PackBytes: 1 << 20}},
	} {
		r := open(t, t.TempDir(), WithLimits(tc.limits))
		_, err := r.Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: tc.branch}})
		var limit *LimitError
		if !errors.As(err, &limit) || limit.What != tc.what || limit.Got <= limit.Limit {
			t.Errorf("%s of %s: %v", tc.what, tc.branch, err)
		}
	}

	s := fetch(t, open(t, t.TempDir(), WithLimits(Limits{FileBytes: 1000})), Source{URL: url})
	for name, ok := range map[string]bool{"f": true, "mid": false, "zeros": false} {
		var limit *LimitError
		_, err := fs.ReadFile(s.FS(), name)
		if ok != (err == nil) || !ok && (!errors.As(err, &limit) || limit.Name != name) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := fs.Stat(s.FS(), name); err != nil || info.Size() < 5 {
			t.Errorf("the size of %s is known all the same: %v %v", name, info, err)
		}
	}
}

func TestTenThousandFiles(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	files := manyFiles(10_000)
	o.commit("main", files)
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})
	seen := 0
	err := fs.WalkDir(s.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		got, err := fs.ReadFile(s.FS(), path)
		if string(got) != files[path] {
			t.Errorf("%s: wrong content", path)
		}
		return err
	})
	if err != nil || seen != len(files) || s.Files() != len(files) {
		t.Errorf("%d files, %v", seen, err)
	}
}

// manyFiles are as large as small cluster files, and no two alike.
func manyFiles(n int) map[string]string {
	files := make(map[string]string, n)
	for i := range n {
		name := fmt.Sprintf("clusters/region-%02d/cluster-%05d.yaml", i%40, i)
		files[name] = fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: cluster-%05d\nspec:\n  schedule: H */2 * * *\n%s", i, strings.Repeat(fmt.Sprintf("  # %x\n", i*i*7919), 20))
	}
	return files
}
