package main

import (
	"fmt"
	"os/exec"
)

// demoStep is something to try: commands and the expected result, in turn.
type demoStep struct {
	title   string
	actions []demoAction
}

// demoAction is a group of commands for a shell in the clone of the repository.
type demoAction struct {
	commands []string
	expect   string
}

// tools are optional programs.
type tools struct{ kubectl, curl bool }

func findTools() tools {
	has := func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
	return tools{kubectl: has("kubectl"), curl: has("curl")}
}

// The titles of the steps. The test finds the steps by them.
const (
	stepAdd     = "Add two clusters"
	stepChange  = "Change a schedule"
	stepBreak   = "Break a file, and fix it"
	stepRemove  = "Remove a cluster, and then too many"
	stepEdit    = "Change the live list by hand"
	stepRestart = "Kill the controller"
	stepLook    = "Ask without changing anything"
)

func (d *demo) steps() []demoStep {
	if d.forge != nil {
		return d.forgeSteps()
	}
	return []demoStep{
		{stepAdd, []demoAction{{
			[]string{"cp ../try/*.yaml clusters/", "git add . && git commit -qm 'add dev-a and analytics' && git push -q"},
			fmt.Sprintf("Within %s the audit config has five clusters, and the Secret of dev-a exists. The token of dev-a is\n"+
				"encrypted in Git; analytics has no secrets.", demoInterval),
		}}},
		{stepChange, []demoAction{{
			[]string{`git show HEAD:clusters/staging.yaml | sed 's/schedule: .*/schedule: "H 3 * * *"/' >clusters/staging.yaml`,
				"git commit -qam 'scan staging at night' && git push -q"},
			"The entry of staging gets its own minute for H. The kubeconfig in the file is encrypted, and .sops.yaml has\n" +
				"mac_only_encrypted: so you can change plain values in any editor, without a key. Credentials need `sops edit`.",
		}}},
		{stepBreak, []demoAction{
			{
				[]string{`sed 's/schedule: .*/schedule: "every night"/' ../try/analytics.yaml >clusters/analytics.yaml`,
					"git commit -qam 'break analytics' && git push -q"},
				"Quarantined, with file and line. The live entry of analytics stays as it was, and the other clusters are synced\n" +
					"as ever.",
			},
			{
				[]string{"git revert --no-edit HEAD >/dev/null && git push -q"},
				"Ready again.",
			},
		}},
		{stepRemove, []demoAction{
			{
				[]string{"git rm -q clusters/dev-a.yaml && git commit -qm 'remove dev-a' && git push -q"},
				"The entry is removed, and then its Secret.",
			},
			{
				[]string{"git rm -q clusters/prod-*.yaml && git commit -qm 'remove too much' && git push -q"},
				"Held: this is more than a quarter of the fleet (spec.prune.maxRemovals). The status explains how to approve\n" +
					"exactly these removals.",
			},
			{
				[]string{"git revert --no-edit HEAD >/dev/null && git push -q"},
				"Ready again, and nothing was removed.",
			},
		}},
		{stepEdit, []demoAction{d.editAction(removeFirst)}},
		{stepRestart, []demoAction{{
			[]string{"kill $(cat ../controller.pid)"},
			"The demo restarts it, as a Deployment would. Nothing is written, because nothing has changed.",
		}}},
		{stepLook, []demoAction{{
			[]string{"muster lint clusters", "muster plan clusters", "muster render clusters"},
			"What a pipeline would report about the work tree, what the controller would change, and what it applies. All three\n" +
				"run the controller's code.",
		}}},
	}
}

// Changes by hand to the live list. The first entry is that of analytics.
const (
	removeFirst = `[{"op":"remove","path":"/spec/kubernetesResources/externalClusters/0"}]`
	slowFirst   = `[{"op":"add","path":"/spec/kubernetesResources/externalClusters/0/schedule","value":"0 0 1 1 *"}]`
)

// editAction needs a client for the API server. Without one there is no command.
func (d *demo) editAction(patch string) demoAction {
	expect := "Reverted within a second, without waiting for the interval."
	switch {
	case d.tools.kubectl:
		return demoAction{[]string{fmt.Sprintf("kubectl patch mondooauditconfig %s --type=json -p '%s'", demoAuditConfig, patch)}, expect}
	case d.tools.curl:
		return demoAction{[]string{fmt.Sprintf("curl -sSfK ../admin.curl -X PATCH -H 'Content-Type: application/json-patch+json' \\\n  -d '%s' \\\n  %s >/dev/null",
			patch, d.objectURL("k8s.mondoo.com/v1alpha2", "mondooauditconfigs", demoAuditConfig))}, expect}
	default:
		return demoAction{nil, "(This needs kubectl or curl, and neither is on the PATH.) " + expect}
	}
}

func (d *demo) objectURL(group, resource, name string) string {
	return fmt.Sprintf("%s/apis/%s/namespaces/%s/%s/%s", d.plane.URL(), group, demoNamespace, resource, name)
}
