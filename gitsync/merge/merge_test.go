package merge_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/merge"
)

var merges = flag.Int("merges", 200, "random merges to compare with git merge-tree")

// file is one file of a test tree. The mode is Git's: 100644, 100755 or 120000.
type file struct{ mode, content string }

type tree map[string]file

// repository is a bare repository with commits for merges.
type repository struct {
	dir string
	t   *testing.T
}

func newRepository(t *testing.T) *repository {
	r := &repository{dir: t.TempDir(), t: t}
	r.git(nil, "init", "-q", "--bare", ".")
	return r
}

func (r *repository) git(stdin []byte, args ...string) string {
	r.t.Helper()
	out, err := r.try(stdin, args...)
	if err != nil {
		r.t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (r *repository) try(stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	return string(out), err
}

// commit stores trees, and returns their commits. Every third tree is the parent of the next two.
func (r *repository) commit(trees ...tree) []string {
	r.t.Helper()
	var stream bytes.Buffer
	for i, files := range trees {
		fmt.Fprintf(&stream, "commit refs/heads/b%d\nmark :%d\ncommitter A <a@example.com> 1700000000 +0000\ndata 0\n", i, i+1)
		if i%3 != 0 {
			fmt.Fprintf(&stream, "from :%d\ndeleteall\n", i-i%3+1)
		}
		for _, name := range slices.Sorted(keys(files)) {
			fmt.Fprintf(&stream, "M %s inline %s\ndata %d\n%s\n", files[name].mode, name, len(files[name].content), files[name].content)
		}
	}
	r.git(stream.Bytes(), "fast-import", "--quiet", "--force")
	commits := make([]string, len(trees))
	for i := range trees {
		commits[i] = strings.TrimSpace(r.git(nil, "rev-parse", fmt.Sprintf("refs/heads/b%d", i)))
	}
	return commits
}

func keys(files tree) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}
}

// snapshots shows commits as the controller sees them.
func (r *repository) snapshots(commits ...string) []fs.FS {
	r.t.Helper()
	objects := r.git(nil, append([]string{"rev-list", "--objects", "--no-object-names", "--no-walk"}, commits...)...)
	pack := r.git([]byte(objects), "pack-objects", "--stdout", "--quiet")
	snapshots, err := gitsync.ReadPack(r.t.Context(), strings.NewReader(pack), gitsync.Limits{}, commits...)
	if err != nil {
		r.t.Fatal(err)
	}
	list := make([]fs.FS, len(snapshots))
	for i, s := range snapshots {
		r.t.Cleanup(func() { _ = s.Close() })
		list[i] = s.FS()
	}
	return list
}

// hashOf is the Git hash of a whole tree.
func hashOf(t *testing.T, fsys fs.FS) string {
	t.Helper()
	info, err := fs.Stat(fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	return info.(interface{ Hash() string }).Hash()
}

func text(lines ...string) file { return file{"100644", strings.Join(lines, "\n") + "\n"} }

func TestTrees(t *testing.T) {
	lines := func(changed ...string) file {
		all := strings.Split("one two three four five six seven eight nine ten", " ")
		for _, c := range changed {
			from, to, _ := strings.Cut(c, "=")
			all[slices.Index(all, from)] = to
		}
		return text(all...)
	}
	many := make([]string, 6000)
	for i := range many {
		many[i] = fmt.Sprint("line ", i)
	}
	changedAt := func(at int) file {
		list := slices.Clone(many)
		list[at] = "changed"
		return text(list...)
	}
	for _, row := range []struct {
		name               string
		base, ours, theirs tree
		want               tree
		conflicts          []merge.Conflict
	}{
		{name: "nothing changed", base: tree{"a": text("1")}, ours: tree{"a": text("1")}, theirs: tree{"a": text("1")}, want: tree{"a": text("1")}},
		{name: "theirs adds, ours changes another", base: tree{"d/a": text("1")}, ours: tree{"d/a": text("2")}, theirs: tree{"d/a": text("1"), "d/b": text("3"), "e/f/g": text("4")},
			want: tree{"d/a": text("2"), "d/b": text("3"), "e/f/g": text("4")}},
		{name: "both remove the last file of a folder", base: tree{"d/a": text("1"), "x": text("1")}, ours: tree{"x": text("1")}, theirs: tree{"x": text("1")}, want: tree{"x": text("1")}},
		{name: "each removes another file of a folder", base: tree{"d/a": text("1"), "d/b": text("1"), "x": text("1")}, ours: tree{"d/a": text("1"), "x": text("1")}, theirs: tree{"d/b": text("1"), "x": text("1")},
			want: tree{"x": text("1")}},
		{name: "lines of one file", base: tree{"a": lines()}, ours: tree{"a": lines("two=2")}, theirs: tree{"a": lines("nine=9")}, want: tree{"a": lines("two=2", "nine=9")}},
		{name: "the same change", base: tree{"a": lines()}, ours: tree{"a": lines("two=2")}, theirs: tree{"a": lines("two=2")}, want: tree{"a": lines("two=2")}},
		{name: "mode and content", base: tree{"a": lines()}, ours: tree{"a": {"100755", lines().content}}, theirs: tree{"a": lines("two=2")}, want: tree{"a": {"100755", lines("two=2").content}}},
		{name: "mode and content, the other way", base: tree{"a": lines()}, ours: tree{"a": lines("two=2")}, theirs: tree{"a": {"100755", lines().content}}, want: tree{"a": {"100755", lines("two=2").content}}},
		{name: "a file becomes a folder", base: tree{"a": text("1")}, ours: tree{"a": text("1"), "z": text("2")}, theirs: tree{"a/b": text("1")}, want: tree{"a/b": text("1"), "z": text("2")}},
		{name: "the same lines", base: tree{"a": lines()}, ours: tree{"a": lines("two=2")}, theirs: tree{"a": lines("two=zwei")}, conflicts: []merge.Conflict{{"a", merge.Content}}},
		{name: "added twice", base: tree{"x": text("1")}, ours: tree{"x": text("1"), "a": text("1")}, theirs: tree{"x": text("1"), "a": text("2")}, conflicts: []merge.Conflict{{"a", merge.Added}}},
		{name: "removed and changed", base: tree{"d/a": lines(), "x": text("1")}, ours: tree{"x": text("1")}, theirs: tree{"d/a": lines("two=2"), "x": text("1")}, conflicts: []merge.Conflict{{"d/a", merge.Deleted}}},
		{name: "file and folder", base: tree{"x": text("1")}, ours: tree{"x": text("1"), "a": text("1")}, theirs: tree{"x": text("1"), "a/b": text("2")}, conflicts: []merge.Conflict{{"a", merge.Kind}}},
		{name: "file and link", base: tree{"a": text("1")}, ours: tree{"a": text("2")}, theirs: tree{"a": {"120000", "x"}}, conflicts: []merge.Conflict{{"a", merge.Kind}}},
		{name: "binary", base: tree{"a": {"100644", "\x00\n1\n2\n3\n4\n5\n"}}, ours: tree{"a": {"100644", "\x00\n0\n2\n3\n4\n5\n"}}, theirs: tree{"a": {"100644", "\x00\n1\n2\n3\n4\n6\n"}}, conflicts: []merge.Conflict{{"a", merge.Binary}}},
		{name: "too many lines", base: tree{"a": text(many...)}, ours: tree{"a": changedAt(1)}, theirs: tree{"a": changedAt(5000)}, conflicts: []merge.Conflict{{"a", merge.TooLarge}}},
		{name: "two conflicts, sorted", base: tree{"b": lines(), "a": lines()}, ours: tree{"b": lines("two=2"), "a": lines("two=2")}, theirs: tree{"b": lines("two=zwei"), "a": lines("two=zwei")},
			conflicts: []merge.Conflict{{"a", merge.Content}, {"b", merge.Content}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRepository(t)
			want := row.want
			if want == nil {
				want = row.base
			}
			trees := r.snapshots(r.commit(row.base, row.ours, row.theirs, want)...)
			merged, err := merge.Trees(t.Context(), trees[0], trees[1], trees[2])
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(merged.Conflicts, row.conflicts) {
				t.Fatalf("conflicts %v, not %v", merged.Conflicts, row.conflicts)
			}
			if len(row.conflicts) > 0 {
				if merged.FS != nil {
					t.Error("a merge with conflicts has a tree")
				}
				return
			}
			if got, want := hashOf(t, merged.FS), hashOf(t, trees[3]); got != want {
				t.Errorf("tree %s, not %s", got, want)
			}
			if err := fstest.TestFS(merged.FS, slices.Collect(keys(row.want))...); err != nil {
				t.Error(err)
			}
			for name, f := range row.want {
				if got, err := fs.ReadFile(merged.FS, name); err != nil || string(got) != f.content {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			changes, err := merge.Changes(t.Context(), trees[1], merged.FS)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := changes, changesOf(row.ours, row.want); !slices.Equal(got, want) {
				t.Errorf("changes %v, not %v", got, want)
			}
		})
	}
}

// changesOf lists the files that differ, by comparing all of them.
func changesOf(from, to tree) []merge.Change {
	var changes []merge.Change
	for name := range keys(from) {
		if now, found := to[name]; now != from[name] {
			changes = append(changes, merge.Change{Path: name, Before: true, After: found})
		}
	}
	for name := range keys(to) {
		if _, found := from[name]; !found {
			changes = append(changes, merge.Change{Path: name, After: true})
		}
	}
	slices.SortFunc(changes, func(a, b merge.Change) int { return strings.Compare(a.Path, b.Path) })
	return changes
}

func TestCancelled(t *testing.T) {
	r := newRepository(t)
	trees := r.snapshots(r.commit(tree{"a": text("1")}, tree{"a": text("2")}, tree{"a": text("1"), "b": text("1")})...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := merge.Trees(ctx, trees[0], trees[1], trees[2]); !errors.Is(err, context.Canceled) {
		t.Errorf("trees: %v", err)
	}
	if _, err := merge.Changes(ctx, trees[0], trees[1]); !errors.Is(err, context.Canceled) {
		t.Errorf("changes: %v", err)
	}
}

func TestNoHashes(t *testing.T) {
	plain := fstest.MapFS{"a": {Data: []byte("1")}}
	if _, err := merge.Trees(t.Context(), plain, plain, plain); err == nil || !strings.Contains(err.Error(), "no hashes") {
		t.Errorf("%v", err)
	}
}

// TestAsGitDoes compares random merges with git merge-tree. Where both are clean, the trees must be equal. A merge may be
// clean in only one of them: Git aligns repeated lines differently, and Trees accepts only what is the same forwards and
// backwards.
func TestAsGitDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := newRepository(t)
	var trees []tree
	for range *merges {
		base := randomTree(random)
		trees = append(trees, base, edited(random, base), edited(random, base))
	}
	commits := r.commit(trees...)
	files := r.snapshots(commits...)
	var stdin strings.Builder
	for i := 0; i < len(commits); i += 3 {
		fmt.Fprintf(&stdin, "%s %s\n", commits[i+1], commits[i+2])
	}
	out := r.git([]byte(stdin.String()), "-c", "merge.renames=false", "merge-tree", "-z", "--name-only", "--no-messages", "--stdin")
	clean, both, onlyOne := 0, 0, 0
	for i := 0; i < len(files); i += 3 {
		// For each merge: 1 or 0, the tree, the names of conflicts, and an empty text.
		status, rest, _ := strings.Cut(out, "\x00")
		wantTree, rest, _ := strings.Cut(rest, "\x00")
		for {
			var name string
			if name, rest, _ = strings.Cut(rest, "\x00"); name == "" {
				break
			}
		}
		out = rest
		merged, err := merge.Trees(t.Context(), files[i], files[i+1], files[i+2])
		if err != nil {
			t.Fatal(err)
		}
		switch gitClean := status == "1"; {
		case gitClean && merged.FS != nil:
			clean++
			if got := hashOf(t, merged.FS); got != wantTree {
				t.Errorf("merge %d: tree %s, git has %s\nbase %q\nours %q\ntheirs %q", i/3, got, wantTree, trees[i], trees[i+1], trees[i+2])
			}
		case !gitClean && merged.FS == nil:
			both++
		default:
			onlyOne++
		}
	}
	t.Logf("%d clean in both and equal, %d conflicts in both, %d in one only", clean, both, onlyOne)
	if clean < *merges/4 || both < *merges/20 || onlyOne > *merges/10 {
		t.Error("the random merges compare too little, or differ too often")
	}
}

func randomTree(random *rand.Rand) tree {
	files := tree{"always": text("here")}
	for range 1 + random.IntN(5) {
		files[randomName(random)] = text(randomLines(random, 1+random.IntN(20))...)
	}
	return withoutClashes(files)
}

func randomName(random *rand.Rand) string {
	return []string{"a", "b", "d/a", "d/b", "d/e/a", "f/a", "f/b.yaml", "c"}[random.IntN(8)]
}

func randomLines(random *rand.Rand, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprint("line ", random.IntN(40))
	}
	return lines
}

// edited changes a few lines, adds and removes files, and turns files into folders.
func edited(random *rand.Rand, base tree) tree {
	files := maps.Clone(base)
	names := slices.Sorted(keys(files))
	for range 1 + random.IntN(3) {
		name := names[random.IntN(len(names))]
		f, found := files[name]
		switch random.IntN(8) {
		case 0:
			delete(files, name)
		case 1:
			files[randomName(random)] = text(randomLines(random, 3)...)
		case 2:
			if found {
				files[name] = file{"100755", f.content}
			}
		case 3:
			if found {
				delete(files, name)
				files[name+"/x"] = text(randomLines(random, 3)...)
			}
		default:
			if found {
				lines := strings.Split(strings.TrimSuffix(f.content, "\n"), "\n")
				at := random.IntN(len(lines))
				switch random.IntN(3) {
				case 0:
					lines[at] = fmt.Sprint("edited ", random.IntN(1000))
				case 1:
					lines = slices.Insert(lines, at, fmt.Sprint("inserted ", random.IntN(1000)))
				case 2:
					if len(lines) > 1 {
						lines = slices.Delete(lines, at, at+1)
					}
				}
				files[name] = file{f.mode, strings.Join(lines, "\n") + "\n"}
			}
		}
	}
	return withoutClashes(files)
}

// withoutClashes removes files below other files.
func withoutClashes(files tree) tree {
	for _, name := range slices.Sorted(keys(files)) {
		for other := range files {
			if strings.HasPrefix(name, other+"/") {
				delete(files, name)
			}
		}
	}
	return files
}

// BenchmarkRepeatedLines merges texts of the maximum size that are hard for diff algorithms: random, of two different lines.
func BenchmarkRepeatedLines(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	lines := func() string {
		var out strings.Builder
		for range 4900 {
			out.WriteString([]string{"a\n", "b\n"}[random.IntN(2)])
		}
		return out.String()
	}
	for b.Loop() {
		merge.MergeLines(lines(), lines(), lines())
	}
}
