package main

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
)

// forgeText is text with a forge.
func (d *demo) forgeText() string {
	var b strings.Builder
	f := d.forge
	fmt.Fprintf(&b, `
Muster is running. The AuditSync %q drives the MondooAuditConfig %q from a repository on Gitea, and tells
Gitea by commit statuses what became of each commit.

  commits      %s/commits/branch/%s
               (log in as %s with the password %s; the pages are plain, for Gitea's module has no styles)
  webhook      %s
  everything   %s
  work tree    %s
  logs         %s
               %s
               %s

What is real: Gitea with its webhook, its statuses and its pull requests, the Kubernetes control plane, and Muster.
What is not: THE MONDOO OPERATOR. A stand-in for it makes CronJobs of the entries, and plays the Pods of scans as the
ConfigMap %s says. Nothing is scanned. What it does is told in lines that begin with stand-in.

Type this in another terminal. It sets KUBECONFIG, PATH, SOPS_AGE_KEY_FILE and FLEET, and goes to the work tree:

    . %s

Look at what is there, the statuses first.

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

// showStatuses prints all statuses of the commit of the work tree, the latest first, a line each, with the little that is
// everywhere.
const showStatuses = `curl -sSfK ../gitea.curl $FLEET/commits/$(git rev-parse HEAD)/statuses |
  grep -oE '"(status|description|context)":"([^"\\]|\\.)+"' | paste - - -`
