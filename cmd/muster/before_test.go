package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestLintAgainstTheCommitBefore: a change that breaks a file's MAC is told of without a key, before and after it is committed.
func TestLintAgainstTheCommitBefore(t *testing.T) {
	key, dir := sealtest.NewKey(t), t.TempDir()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() string {
		work, err := repo.Worktree()
		if err != nil {
			t.Fatal(err)
		}
		if err := work.AddWithOptions(&git.AddOptions{All: true}); err != nil {
			t.Fatal(err)
		}
		hash, err := work.Commit("change", &git.CommitOptions{Author: &object.Signature{Name: "a", Email: "a@example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		return hash.String()
	}
	plain := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: NAME\nspec:\n  kubeconfig: " + canary + "\n  schedule: 5 2 * * *\n"
	whole := key.Encrypt(t, "whole.yaml", strings.Replace(plain, "NAME", "whole", 1), sealtest.Credentials)
	recommended := key.Encrypt(t, "recommended.yaml", strings.Replace(plain, "NAME", "recommended", 1), sealtest.Recommended)
	write("whole.yaml", whole)
	write("recommended.yaml", recommended)
	good := commit()

	lint := func(want bool, args ...string) {
		t.Helper()
		status, out := runWith(t, append([]string{"lint", dir, "--no-keys"}, args...)...)
		found := strings.Contains(out, "[sops-mac]") && strings.Contains(out, "sops edit whole.yaml") && strings.Contains(out, "mac_only_encrypted: true")
		if found != want || strings.Contains(out, "[sops-mac]") != want || (status == exitFindings) != want || strings.Contains(out, "cluster recommended") || leak(out) != "" {
			t.Errorf("lint %v: status %d, want the finding: %v\n%s", args, status, want, out)
		}
	}
	edit := func(text string) string { return strings.Replace(text, "5 2 * * *", "5 3 * * *", 1) }
	lint(false)
	write("recommended.yaml", edit(recommended))
	lint(false)
	write("whole.yaml", edit(whole))
	lint(true)
	commit()
	lint(true)
	write("README.md", "nothing for Muster\n")
	commit()
	lint(false)
	lint(true, "--base", good)
	write("whole.yaml", key.Edit(t, "whole.yaml", whole, edit(strings.Replace(plain, "NAME", "whole", 1))))
	lint(false, "--base", good)
	if status, out := runWith(t, "lint", dir, "--no-keys", "--base", "nowhere"); status != exitFailure || !strings.Contains(out, "no such commit") {
		t.Errorf("an unknown base: status %d\n%s", status, out)
	}
	if status, _ := runWith(t, "lint", t.TempDir(), "--no-keys", "--base", "main"); status != exitFailure {
		t.Errorf("no work tree: status %d", status)
	}
}
