package worktree_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/gitsync/worktree"
)

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	env := append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	commit := func(name, content string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", "-A")
		git("commit", "-q", "-m", name)
		return git("rev-parse", "HEAD")
	}
	git("init", "-q", "-b", "main")
	first := commit("a", "1")
	git("checkout", "-q", "-b", "feature")
	head := commit("b", "2")
	git("checkout", "-q", "main")
	base := commit("c", "3")

	c, err := worktree.Compare(t.Context(), dir, env, "main", "feature")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Base.Commit().Hash != base || c.Head.Commit().Hash != head || c.Ancestor.Commit().Hash != first {
		t.Errorf("%s %s %s", c.Base.Commit().Hash, c.Head.Commit().Hash, c.Ancestor.Commit().Hash)
	}
	if content, err := fs.ReadFile(c.Head.FS(), "b"); err != nil || string(content) != "2" {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := worktree.Compare(t.Context(), dir, env, "main", "--all"); !isRevision(err) {
		t.Errorf("a flag as a revision: %v", err)
	}
	if _, err := worktree.Compare(t.Context(), dir, env, "nowhere", "feature"); !isRevision(err) {
		t.Errorf("an unknown revision: %v", err)
	}
	git("checkout", "-q", "--orphan", "other")
	commit("d", "4")
	if _, err := worktree.Compare(t.Context(), dir, env, "main", "other"); err == nil || !strings.Contains(err.Error(), "no common ancestor") {
		t.Errorf("unrelated: %v", err)
	}
	shallow := t.TempDir()
	git("clone", "-q", "--depth=1", "--no-single-branch", "file://"+dir, shallow)
	if _, err := worktree.Compare(t.Context(), shallow, env, "origin/main", "origin/feature"); err == nil || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("a shallow clone: %v", err)
	}
}

func isRevision(err error) bool {
	_, ok := errors.AsType[*worktree.RevisionError](err)
	return ok
}
