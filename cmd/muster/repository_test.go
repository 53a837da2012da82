package main

import (
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
)

// Without the git command nobody knows which files of a repository count, and Muster doesn't guess.
func TestRepositoryWithoutGit(t *testing.T) {
	dir := writeFiles(t, map[string]string{"eu.yaml": clusterFile("eu", "  kubeconfigSecretRef: {name: kubeconfig}\n")})
	t.Setenv("PATH", t.TempDir())
	if status, out := runWith(t, "lint", dir); status != exitOK || !strings.Contains(out, "[no-repository]") {
		t.Errorf("a folder that is in no repository: %d\n%s", status, out)
	}
	if _, err := git.PlainInit(dir, false); err != nil {
		t.Fatal(err)
	}
	if status, out := runWith(t, "lint", dir); status != exitFailure || !strings.Contains(out, "the git command is not installed") || !strings.Contains(out, "install git") {
		t.Errorf("a repository: %d\n%s", status, out)
	}
}
