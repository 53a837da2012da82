package worktree_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/gitsync/worktree"
)

// environment is one in which nothing of the machine's Git configuration counts, and a user's own in home does.
func environment(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(home),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
}

// work is a work tree that a shell script makes, with the real git.
type work struct {
	testing.TB
	dir string
	env []string
}

func newWork(t testing.TB) *work {
	t.Helper()
	home := t.TempDir()
	w := &work{TB: t, dir: filepath.Join(home, "fleet"), env: environment(home)}
	must(t, os.Mkdir(w.dir, 0o700))
	w.sh("git init --quiet --initial-branch=main && git commit --quiet --allow-empty -m first")
	return w
}

func (w *work) sh(script string) string {
	w.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir, cmd.Env = w.dir, w.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	return string(out)
}

func (w *work) open() *worktree.FS {
	w.Helper()
	disk, err := os.OpenRoot(w.dir)
	must(w, err)
	w.Cleanup(func() { must(w, disk.Close()) })
	tree, err := worktree.Open(w.Context(), disk, w.env)
	must(w, err)
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shown is everything that a tree shows: what Git would commit, as "mode content" by path, and what is left out.
func shown(t testing.TB, tree *worktree.FS) (committed, ignored map[string]string) {
	t.Helper()
	committed, ignored = map[string]string{}, map[string]string{}
	must(t, fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		e, ok := entry.(interface{ Ignored() bool })
		switch {
		case ok && e.Ignored():
			ignored[name] = "ignored"
		case entry.Type()&fs.ModeIrregular != 0:
			committed[name] = "160000"
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := tree.ReadLink(name)
			must(t, err)
			committed[name] = "120000 " + target
		default:
			content, err := fs.ReadFile(tree, name)
			must(t, err)
			committed[name] = "100644 " + string(content)
		}
		return nil
	}))
	return committed, ignored
}

// commit is what Git then commits, in the same form.
func (w *work) commit() map[string]string {
	w.Helper()
	committed := map[string]string{}
	listing := w.sh("git -c advice.addEmbeddedRepo=false add --all && git ls-tree -r -z $(git write-tree)")
	for line := range strings.SplitSeq(strings.TrimSuffix(listing, "\x00"), "\x00") {
		head, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(head)
		switch {
		case line == "":
		case fields[0] == "160000":
			committed[name] = "160000"
		default:
			committed[name] = strings.Replace(fields[0], "100755", "100644", 1) + " " + w.sh("git cat-file blob "+fields[2])
		}
	}
	return committed
}

func difference(got, want map[string]string) string {
	var b strings.Builder
	for name, content := range want {
		if got[name] != content {
			fmt.Fprintf(&b, "%s: shown %q, committed %q\n", name, got[name], content)
		}
	}
	for name, content := range got {
		if _, ok := want[name]; !ok {
			fmt.Fprintf(&b, "%s: shown %q, not committed\n", name, content)
		}
	}
	return b.String()
}

// Each row is a work tree. What the tree shows of it has to be what Git then commits.
func TestWhatGitWouldCommit(t *testing.T) {
	const base = "mkdir -p c/eu && echo a > c/a.yaml && echo eu > c/eu/b.yaml && echo x > x.txt && git add . && git commit -qm base && "
	for _, row := range []struct {
		reason, script string
		ignored        string // what is shown as ignored, with | between names
	}{
		{"tracked as it is in the work tree", base + "echo changed > c/a.yaml", ""},
		{"not tracked yet", base + "echo new > c/new.yaml; mkdir c/deep; echo d > c/deep/d.yaml", ""},
		{"deleted from the work tree", base + "rm c/a.yaml", ""},
		{"deleted with its folder", base + "rm -r c/eu", ""},
		{"a folder that is left empty", base + "rm c/eu/b.yaml", ""},
		{"staged, and changed again", base + "echo s > c/s.yaml; git add .; echo t > c/s.yaml", ""},
		{"intent to add", base + "echo n > c/n.yaml; git add -N c/n.yaml", ""},
		{"ignored by the root", base + "echo '*.local.yaml' > .gitignore; echo l > c/a.local.yaml", "c/a.local.yaml"},
		{"ignored by a nested file, which a nested one takes back", base + "echo '*.tmp.yaml' > c/.gitignore; echo '!b.tmp.yaml' > c/eu/.gitignore; echo t > c/a.tmp.yaml; echo t > c/eu/b.tmp.yaml; echo t > out.tmp.yaml", "c/a.tmp.yaml"},
		{"nothing comes back below an ignored folder", base + "printf 'build/\\n!build/keep.yaml\\n' > .gitignore; mkdir build; echo k > build/keep.yaml", "build"},
		{"what is kept of an ignored folder", base + "printf 'build/*\\n!build/keep.yaml\\n' > .gitignore; mkdir build; echo k > build/keep.yaml; echo n > build/no.yaml", "build/no.yaml"},
		{"two stars", base + "echo 'c/**/z.yaml' > .gitignore; echo z > c/z.yaml; mkdir -p c/q/r; echo z > c/q/r/z.yaml", "c/q|c/z.yaml"},
		{"an escaped mark, and blanks at the end", base + "printf '\\\\!a.yaml\\n\\\\#b.yaml\\nblank.yaml   \\nkept\\\\ \\n' > .gitignore; for f in '!a.yaml' '#b.yaml' blank.yaml 'kept ' kept; do echo x > \"$f\"; done", "!a.yaml|#b.yaml|blank.yaml|kept "},
		{"a class of characters", base + "echo '[!a-c]?.yaml' > .gitignore; echo x > a1.yaml; echo x > d1.yaml", "d1.yaml"},
		{"ignored and tracked all the same", base + "echo 'c/' > .gitignore; echo changed > c/a.yaml; echo n > c/new.yaml", "c/new.yaml"},
		{"added by force", base + "echo '*.env' > .gitignore; echo e > c/a.env; git add -f c/a.env; echo f > c/b.env", "c/b.env"},
		{"ignored by the repository alone", base + "echo 'c/mine.yaml' >> .git/info/exclude; echo m > c/mine.yaml", "c/mine.yaml"},
		{"ignored by the user", base + "mkdir -p ~/.config/git; echo '*.swp.yaml' > ~/.config/git/ignore; echo s > c/a.swp.yaml", "c/a.swp.yaml"},
		{"ignored by a file that the user's configuration includes", base + "echo '*.own.yaml' > ~/own; printf '[core]\\nexcludesFile = ~/own\\n' > ~/inc; printf '[include]\\npath = inc\\n' > ~/.gitconfig; echo s > c/a.own.yaml", "c/a.own.yaml"},
		{"ignored whatever the case", base + "git config core.ignoreCase true; echo '*.LOCAL.yaml' > .gitignore; echo l > c/a.local.yaml", "c/a.local.yaml"},
		{"case counts", base + "echo '*.LOCAL.yaml' > .gitignore; echo l > c/a.local.yaml", ""},
		{"a link", base + "ln -s a.yaml c/link.yaml; ln -s /etc/hostname c/out.yaml; ln -s nowhere c/dangling.yaml", ""},
		{"a link to a folder isn't followed", base + "ln -s eu c/us", ""},
		{"a file in the place of a folder", base + "rm -r c/eu; echo f > c/eu", ""},
		{"a link in the place of a folder", base + "mv c/eu c/us; ln -s us c/eu", ""},
		{"a folder in the place of a file", base + "rm c/a.yaml; mkdir c/a.yaml; echo n > c/a.yaml/n.yaml", ""},
		{"an empty folder in the place of a file", base + "rm c/a.yaml; mkdir c/a.yaml", ""},
		{"skipped, with changes", base + "git update-index --skip-worktree c/a.yaml; echo mine > c/a.yaml", ""},
		{"skipped, and deleted", base + "git update-index --skip-worktree c/a.yaml; rm c/a.yaml", ""},
		{"skipped, with a link in its place", base + "git update-index --skip-worktree c/a.yaml; ln -sf eu/b.yaml c/a.yaml", ""},
		{"a skipped link", base + "ln -s a.yaml c/l.yaml; git add .; git update-index --skip-worktree c/l.yaml; rm c/l.yaml", ""},
		{"assumed to be unchanged", base + "git update-index --assume-unchanged c/a.yaml; echo mine > c/a.yaml", ""},
		{"a sparse checkout", base + "git sparse-checkout set --no-cone /x.txt /c/a.yaml", ""},
		{"a sparse checkout of folders", base + "git sparse-checkout set --cone other", ""},
		{"a file outside of a sparse checkout that is there all the same, and one inside that is gone", "mkdir in out; echo i > in/i.yaml; echo o > out/o.yaml; git add .; git commit -qm base; " +
			"git sparse-checkout set --cone in; mkdir out; echo changed > out/o.yaml; rm in/i.yaml", ""},
		{"a sparse index", base + "git sparse-checkout set --cone --sparse-index other", ""},
		{"a second index format", base + "git update-index --index-version 4; echo changed > c/a.yaml", ""},
		{"a split index", base + "git config core.splitIndex true; git update-index --split-index; echo n > n.yaml; git add n.yaml; echo changed > c/a.yaml", ""},
		{"a cache of what is not tracked", base + "git update-index --untracked-cache; git status -s >/dev/null; echo n > c/n.yaml", ""},
		{"an object format of its own", "rm -rf .git; git init -q --object-format=sha256; " + base + "git update-index --skip-worktree c/a.yaml; echo mine > c/a.yaml", ""},
		{"a submodule", base + "git init -q ~/other; git -C ~/other commit -qm x --allow-empty; git -c protocol.file.allow=always submodule --quiet add ~/other c/sub; echo in > c/sub/in.yaml", ""},
		{"a submodule without content", base + "git init -q ~/other; git -C ~/other commit -qm x --allow-empty; git -c protocol.file.allow=always submodule --quiet add ~/other c/sub; git commit -qm s; git submodule --quiet deinit --all --force", ""},
		{"a submodule that is gone", base + "git init -q ~/other; git -C ~/other commit -qm x --allow-empty; git -c protocol.file.allow=always submodule --quiet add ~/other c/sub; git commit -qm s; rm -rf c/sub", ""},
		{"another repository in the work tree", base + "git init -q c/nested; echo in > c/nested/in.yaml; git -C c/nested commit -qm x --allow-empty", ""},
		{"another work tree of the repository", base + "git worktree add -q c/branch", ""},
		{"an ignored repository in the work tree", base + "echo /c/nested > .gitignore; git init -q c/nested; echo in > c/nested/in.yaml", "c/nested"},
		{"names that need quotes", base + "printf n > 'c/ü \"q\"\\t.yaml'; printf n > \"$(printf 'c/tab\\there.yaml')\"; printf n > c/:colon.yaml", ""},
		{"ignored by name, below a folder that isn't tracked", base + "echo '*.log' > .gitignore; mkdir new; echo l > new/a.log; echo k > new/k.yaml", "new/a.log"},
		{"attributes, which don't say what is committed", base + "echo '*.yaml export-ignore' > .gitattributes", ""},
		{"half of a merge", base + "git checkout -qb side; echo side > c/a.yaml; git commit -qam side; git checkout -q main; echo main > c/a.yaml; git commit -qam main; git merge side >/dev/null || true", ""},
	} {
		t.Run(row.reason, func(t *testing.T) {
			t.Parallel()
			w := newWork(t)
			w.sh(row.script)
			got, left := shown(t, w.open())
			if want := w.commit(); difference(got, want) != "" {
				t.Errorf("%s\n%s", row.script, difference(got, want))
			}
			if ignored := strings.Join(slices.Sorted(maps.Keys(left)), "|"); ignored != row.ignored {
				t.Errorf("%s\nignored %q, want %q", row.script, ignored, row.ignored)
			}
		})
	}
}

func TestAsFileSystem(t *testing.T) {
	w := newWork(t)
	w.sh("mkdir -p c/eu; echo a > c/a.yaml; echo b > c/eu/b.yaml; git add .; echo n > n.yaml; echo '*.i' > .gitignore; echo i > c/x.i; git update-index --skip-worktree c/a.yaml; rm c/a.yaml")
	tree := w.open()
	must(t, fstest.TestFS(ignoring{tree}, "c/a.yaml", "c/eu/b.yaml", "n.yaml", ".gitignore"))
	for _, name := range []string{"c/x.i", ".git/config", "gone", "c/a.yaml/x", "../fleet/n.yaml"} {
		if _, err := fs.ReadFile(tree, name); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := fs.ReadFile(tree, "c"); err == nil {
		t.Error("a folder is read")
	}
}

// ignoring hides what is ignored, which can't be opened.
type ignoring struct{ *worktree.FS }

func (i ignoring) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := i.FS.ReadDir(name)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Type()&fs.ModeIrregular != 0 }), err
}

func (i ignoring) Open(name string) (fs.File, error) {
	file, err := i.FS.Open(name)
	if dir, ok := file.(fs.ReadDirFile); ok {
		return hidden{dir}, err
	}
	return file, err
}

type hidden struct{ fs.ReadDirFile }

func (h hidden) ReadDir(n int) ([]fs.DirEntry, error) {
	list, err := h.ReadDirFile.ReadDir(n)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Type()&fs.ModeIrregular != 0 }), err
}

// A link isn't followed, even in the middle of a path and when it is asked for by name (CVE-2026-44740 and
// CVE-2026-44973 of go-billy).
func TestLinksAreNotFollowed(t *testing.T) {
	w := newWork(t)
	w.sh("mkdir c; echo a > c/a.yaml; ln -s c d; ln -s a.yaml c/l.yaml")
	tree := w.open()
	for _, name := range []string{"d/a.yaml", "c/l.yaml"} {
		if content, err := fs.ReadFile(tree, name); err == nil {
			t.Errorf("%s is read: %q", name, content)
		}
	}
	if info, err := tree.Stat("c/l.yaml"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("c/l.yaml: %v, %v", info, err)
	}
}

func TestWhatIsNoWorkTree(t *testing.T) {
	open := func(dir string, env []string) error {
		disk, err := os.OpenRoot(dir)
		must(t, err)
		defer func() { must(t, disk.Close()) }()
		_, err = worktree.Open(t.Context(), disk, env)
		return err
	}
	w := newWork(t)
	if err := open(filepath.Dir(w.dir), w.env); !errors.Is(err, worktree.ErrNotRepository) {
		t.Errorf("a folder above: %v", err)
	}
	w.sh("mkdir ../empty ../empty/.git")
	if err := open(filepath.Join(w.dir, "../empty"), w.env); !errors.Is(err, worktree.ErrNotRepository) {
		t.Errorf("an empty .git: %v", err)
	}
	w.sh("mkdir -p inner/.git; echo x > inner/.git/HEAD")
	if err := open(filepath.Join(w.dir, "inner"), w.env); !errors.Is(err, worktree.ErrNotRepository) {
		t.Errorf("a .git that is no repository, in one that is: %v", err)
	}
	w.sh("mkdir ../lost; echo 'gitdir: /nowhere/at/all' > ../lost/.git")
	if err := open(filepath.Join(w.dir, "../lost"), w.env); err == nil || errors.Is(err, worktree.ErrNotRepository) || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("a .git that leads nowhere: %v", err)
	}
	w.sh("echo nonsense > .git/index")
	if err := open(w.dir, w.env); err == nil || errors.Is(err, worktree.ErrNotRepository) || !strings.Contains(err.Error(), "index") {
		t.Errorf("a broken index: %v", err)
	}
}

func TestWithoutGit(t *testing.T) {
	w := newWork(t)
	t.Setenv("PATH", t.TempDir())
	disk, err := os.OpenRoot(w.dir)
	must(t, err)
	defer func() { must(t, disk.Close()) }()
	if _, err := worktree.Open(t.Context(), disk, w.env); !errors.Is(err, worktree.ErrNoGit) {
		t.Errorf("without git: %v", err)
	}
}

// In a hook, Git names the repository and the index in the environment. Those count for that work tree alone.
func TestEnvironment(t *testing.T) {
	w := newWork(t)
	w.sh("echo a > a.yaml; git add .; git commit -qm a; cp .git/index ../index; echo skipped > b.yaml; git add .; GIT_INDEX_FILE=../index git update-index --skip-worktree a.yaml; echo mine > a.yaml")
	other := newWork(t)
	other.sh("echo o > o.yaml; git add .; git commit -qm o")
	t.Chdir(w.dir)
	hook := append(slices.Clone(w.env), "GIT_DIR="+filepath.Join(w.dir, ".git"), "GIT_INDEX_FILE="+filepath.Join(w.dir, "../index"), "GIT_LITERAL_PATHSPECS=1")

	w.env = hook
	if got, _ := shown(t, w.open()); got["a.yaml"] != "100644 a\n" || got["b.yaml"] == "" {
		t.Errorf("the index of the hook doesn't count: %v", got)
	}
	other.env = hook
	if got, _ := shown(t, other.open()); got["o.yaml"] == "" || len(got) != 1 {
		t.Errorf("the index of the hook counts for another repository: %v", got)
	}

	bare := t.TempDir()
	work := other.dir
	must(t, os.Rename(filepath.Join(work, ".git"), filepath.Join(bare, "git")))
	other.env = append(environment(bare), "GIT_DIR="+filepath.Join(bare, "git"), "GIT_WORK_TREE="+work)
	if root := worktree.Root(t.Context(), other.env); root != work {
		t.Errorf("the work tree of the environment is %q, want %q", root, work)
	}
	if got, _ := shown(t, other.open()); got["o.yaml"] == "" || len(got) != 1 {
		t.Errorf("a work tree without .git: %v", got)
	}
	if root := worktree.Root(t.Context(), environment(bare)); root != "" {
		t.Errorf("nothing names a work tree, but there is %q", root)
	}
}

// What the repository configures isn't run, and nothing is fetched.
func TestNothingIsRun(t *testing.T) {
	w := newWork(t)
	w.sh("echo a > a.yaml; echo '*.yaml filter=evil' > .gitattributes; git add .; git commit -qm a")
	evil := filepath.Join(w.dir, "..", "evil")
	must(t, os.WriteFile(evil, []byte("#!/bin/sh\necho \"$0 $*\" >> "+evil+".ran\n"), 0o700))
	w.sh("git config core.fsmonitor " + evil + "; git config filter.evil.clean " + evil + "; git config filter.evil.smudge " + evil +
		"; git config core.hooksPath " + filepath.Dir(evil) + "; cp " + evil + " ../post-index-change; git config core.pager " + evil +
		"; git config core.sshCommand " + evil + "; git config protocol.ext.allow always; git config remote.origin.url 'ext::" + evil + "'" +
		"; git config remote.origin.promisor true; git config extensions.partialClone origin; git config core.repositoryFormatVersion 1" +
		"; git update-index --assume-unchanged a.yaml; rm -f " + evil + ".ran; rm .git/objects/$(git rev-parse :a.yaml | sed 's#..#&/#')")
	must(t, errors.Join(os.RemoveAll(evil+".ran"), os.WriteFile(filepath.Join(w.dir, "b.yaml"), []byte("b"), 0o600)))
	tree := w.open()
	if _, err := fs.ReadFile(tree, "a.yaml"); err == nil {
		t.Error("an object that is gone was read")
	}
	if content, err := fs.ReadFile(tree, "b.yaml"); err != nil || string(content) != "b" {
		t.Errorf("b.yaml: %q, %v", content, err)
	}
	if ran, err := os.ReadFile(evil + ".ran"); err == nil {
		t.Errorf("the repository has run %s", ran)
	}
}

func TestShow(t *testing.T) {
	w := newWork(t)
	w.sh("mkdir -p a/empty b/c; echo '*.i' > .gitignore; echo /gone/ >> .gitignore; echo i > b/c/x.i; mkdir -p gone/deep; echo g > gone/deep/g.yaml")
	tree := w.open()
	for name, ignores := range map[string]bool{".": false, "a/empty": false, "b/c": true, "gone": true, "gone/deep": true} {
		if got := tree.Show(name); got != ignores {
			t.Errorf("%s: ignored is %t, want %t", name, got, ignores)
		}
		if _, err := fs.ReadDir(tree, name); (err == nil) == ignores {
			t.Errorf("%s is listed: %v", name, err)
		}
	}
}
