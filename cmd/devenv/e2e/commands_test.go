package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// TestSyncCommands runs the commands that change an AuditSync, against a running controller.
func TestSyncCommands(t *testing.T) {
	w := newWorld(t, false)
	binary := filepath.Join(t.TempDir(), "muster")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../muster")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(want int, text string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, append(args, "--kubeconfig", w.plane.KubeconfigPath())...)
		cmd.Env = append(os.Environ(), "NO_COLOR=1")
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want || !strings.Contains(string(out), text) {
			t.Errorf("muster %s: exit %d, not %d with %q (%v):\n%s", strings.Join(args, " "), got, want, text, err, out)
		}
		t.Logf("muster %s\n%s", strings.Join(args, " "), out)
	}
	run(2, "no AuditSync in the namespace", "reconcile")
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for _, name := range []string{"a", "b", "c", "d"} {
		files["clusters/"+name+".yaml"] = plainCluster(name, far(1))
	}
	w.push(files)
	w.startController(scanstate.Bounds{})
	w.createSync(nil)
	run(0, "Ready True", "reconcile", "--wait")
	run(0, "sync requested", "reconcile", syncName)
	run(2, "there is no AuditSync \"other\"", "reconcile", "other")

	run(0, "suspended", "suspend")
	w.eventually("it is suspended", func() bool { return w.audit().Spec.Suspend })
	run(2, "see muster resume", "reconcile")
	commit := w.push(map[string]string{"clusters/a.yaml": "", "clusters/b.yaml": "", "clusters/c.yaml": ""})
	run(1, "Ready False RemovalsHeld", "resume", "--wait")
	w.eventually("the removals wait", func() bool { return strings.HasSuffix(w.audit().Status.LastAttemptedRevision, commit) })

	run(2, "is not an approval", "approve", "yes")
	run(2, "the approval is for the commit 1111111", "approve", syncName, strings.Repeat("1", 40)+"-"+strings.Repeat("2", 16))
	value := ""
	for _, p := range w.audit().Status.Problems {
		if _, found, ok := strings.Cut(p.Fix, inventory.ApproveAnnotation+"="); ok {
			value = found
		}
	}
	if value == "" {
		t.Fatalf("no approval is shown: %+v", w.audit().Status.Problems)
	}
	run(0, "removals approved", "approve", value, "--wait")
	w.eventually("they are gone", func() bool { return w.audit().Status.Clusters.Applied == 1 })
}
