package main

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
)

// forgeText is text for the demo with a forge.
func (d *demo) forgeText() string {
	var b strings.Builder
	f := d.forge
	fmt.Fprintf(&b, `
Muster is running. The AuditSync %q manages the MondooAuditConfig %q from a repository on Gitea. It reports the
result of each commit to Gitea as commit statuses, and tells on each pull request what its merge would do.

  commits      %s/commits/branch/%s
               (log in as %s with the password %s; the pages have no styles, because Gitea's module contains none)
  webhook      %s
  everything   %s
  work tree    %s
  logs         %s
               %s
               %s

Real: Gitea with its webhook, its statuses and its pull requests, the Kubernetes control plane, and Muster.
Not real: THE MONDOO OPERATOR. A stand-in for it creates CronJobs from the entries, and simulates the Pods of scans as the
ConfigMap %s defines. Nothing is scanned. Lines that begin with stand-in show what it does.

Run this in another terminal. It sets KUBECONFIG, PATH, SOPS_AGE_KEY_FILE and FLEET, and changes to the work tree:

    . %s

Look at the state, statuses first.

`, demoSync, demoAuditConfig, f.pages(), forgeBranch, gitUsername, gitPassword, f.hookURL(), d.dir, d.file("fleet"), d.file("controller.log"),
		d.file("gitea", "gitea.log"), d.file("control-plane", "*.log"), operator.ScenarioName, d.file("env"))
	for _, c := range d.forgeLook() {
		b.WriteString(indented("    ", c))
	}
	d.writeSteps(&b)
	return b.String()
}

// forgeLook are the commands that show the state.
func (d *demo) forgeLook() []string {
	look := []string{showStatuses}
	if d.tools.kubectl {
		return append(look, "kubectl get auditsyncs -o wide", "kubectl get cronjobs,jobs")
	}
	return append(look,
		"curl -sSfK ../admin.curl "+d.objectURL("muster.dev/v1alpha1", "auditsyncs", demoSync),
		"curl -sSfK ../admin.curl "+d.objectURL("batch/v1", "cronjobs", ""))
}

// showStatuses prints all statuses of the work tree's commit, one per line, the latest first. It uses only tools that are
// available everywhere.
const showStatuses = `curl -sSfK ../gitea.curl $FLEET/commits/$(git rev-parse HEAD)/statuses |
  grep -oE '"(status|description|context)":"([^"\\]|\\.)+"' | paste - - -`
