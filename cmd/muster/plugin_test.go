package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func TestInvoked(t *testing.T) {
	for _, row := range []struct {
		reason string
		args   []string
		name   string
		rest   []string
	}{
		{"its own name", []string{"/usr/local/bin/muster", "status"}, "muster", []string{"status"}},
		{"a plugin", []string{"/home/ada/.krew/bin/kubectl-muster", "status"}, "kubectl muster", []string{"status"}},
		{"a plugin on Windows", []string{"kubectl-muster.exe"}, "kubectl muster", nil},
		{"a completion", []string{"kubectl_complete-muster", "status", ""}, "kubectl muster", []string{"__complete", "status", ""}},
		{"in the image", []string{"/muster", "controller"}, "muster", []string{"controller"}},
		{"another name", []string{"muster-1.2"}, "muster", nil},
		{"no name", nil, "muster", nil},
	} {
		if name, rest := invoked(row.args); name != row.name || !slices.Equal(rest, row.rest) {
			t.Errorf("%s: %q %q", row.reason, name, rest)
		}
	}
}

// TestPlugin runs the plugin and its completion through the real kubectl, which finds both in PATH.
func TestPlugin(t *testing.T) {
	server.SkipShort(t)
	kubectl, err := server.Binary(t.Context(), server.Kubectl, os.Stderr)
	check(t, err)
	self, err := os.Executable()
	check(t, err)
	dir := t.TempDir()
	check(t, os.Symlink(self, filepath.Join(dir, pluginFile))) // TestMain runs main under this name
	check(t, os.WriteFile(filepath.Join(dir, completionFile), []byte(pluginCompletion), 0o700))
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"muster", "version"}, "muster "},
		{[]string{"muster", "events", "--help"}, "  kubectl muster events production --watch"},
		{[]string{"__complete", "muster", "eve"}, "events\t"},
		{[]string{"__complete", "muster", "status", "--output", ""}, "wide"},
		{[]string{"plugin", "list"}, pluginFile},
	} {
		cmd := exec.CommandContext(t.Context(), kubectl, row.args...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":/usr/bin:/bin", "KUBECONFIG=/nowhere")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), row.want) {
			t.Errorf("kubectl %s: %v\n%s", strings.Join(row.args, " "), err, out)
		}
	}
}
