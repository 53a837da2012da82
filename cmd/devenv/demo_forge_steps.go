package main

import (
	"fmt"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
)

// The titles of the steps with a forge.
const (
	stepForgeAdd    = "Push two clusters"
	stepForgeBreak  = "Push a broken file, and fix it"
	stepForgeEdit   = "Change a live schedule by hand"
	stepForgeScan   = "Let a scan run out of memory"
	stepForgePause  = "Pause scanning"
	stepForgeMerge  = "Merge a pull request"
	stepForgeForged = "Pretend to be Gitea"
)

// Changes of a cluster with nothing encrypted. Each but the last starts another scan.
const (
	dailyAnalytics  = `sed 's/schedule: .*/schedule: "H 3 * * *"/' ../try/analytics.yaml >clusters/analytics.yaml`
	weeklyAnalytics = `sed 's/schedule: .*/schedule: "H 3 * * 0"/' ../try/analytics.yaml >clusters/analytics.yaml`
	yearlyAnalytics = `sed 's/schedule: .*/schedule: "H 3 1 1 *"/' ../try/analytics.yaml >clusters/analytics.yaml`
	brokenAnalytics = `sed 's/schedule: .*/schedule: "every night"/' ../try/analytics.yaml >clusters/analytics.yaml`
)

func commitAnalytics(message string) string {
	return "git commit -qam '" + message + "' && git push -q"
}

func (d *demo) forgeSteps() []demoStep {
	edit := d.editAction(slowFirst)
	edit.expect = "Reverted within a second. " + forgeContext + "/drift of the applied commit names the change and its author."
	return []demoStep{
		{stepForgeAdd, []demoAction{{
			[]string{"cp ../try/*.yaml clusters/", "git add . && git commit -qm 'add dev-a and analytics' && git push -q"},
			"Gitea's webhook starts the sync at once. " + forgeContext + " goes from pending to success, and names both clusters.\n" +
				"Muster starts a scan of each as soon as the stand-in has created its CronJob; " + forgeContext + "/scan is pending until\n" +
				"both have succeeded.",
		}}},
		{stepForgeBreak, []demoAction{
			{
				[]string{brokenAnalytics, commitAnalytics("break analytics")},
				"Failure, with file, line and cause. The live objects don't change.",
			},
			{
				[]string{"git revert --no-edit HEAD >/dev/null && git push -q"},
				"Success again, for a commit that changes no live object: its scan status is about the whole fleet.",
			},
		}},
		{stepForgeEdit, []demoAction{edit}},
		{stepForgeScan, []demoAction{
			{
				[]string{d.scenarioCommand(`{"analytics": "oom"}`), dailyAnalytics, commitAnalytics("scan analytics at night")},
				"The commit is valid and applied, so " + forgeContext + " is a success; its scan is a failure that names the cluster\n" +
					"and the cause. (Other outcomes are fail, image and hang; refuse stops the operator at the entry.)",
			},
			{
				[]string{d.scenarioCommand(`{"analytics": null}`), weeklyAnalytics, commitAnalytics("scan analytics weekly")},
				"The commit is scanned.",
			},
		}},
		{stepForgePause, []demoAction{
			{
				[]string{d.scenarioCommand(`{"` + operator.KeyScanning + `": "paused"}`), yearlyAnalytics, commitAnalytics("scan analytics yearly")},
				"Applied, and its scan status is pending: scanning is paused.",
			},
			{
				[]string{d.scenarioCommand(`{"` + operator.KeyScanning + `": null}`)},
				"Muster catches up on the missed scan.",
			},
		}},
		{stepForgeMerge, []demoAction{
			{
				[]string{
					"git switch -qc proposal && git rm -q clusters/dev-a.yaml && git commit -qm 'remove dev-a'",
					"git push -q origin proposal && git switch -q main",
					askForge(`{"head": "proposal", "base": "main", "title": "remove dev-a"}`, "pulls"),
				},
				forgePlan + " of the pull request's commit is a success, and a comment lists what the merge would do. Nothing live has\n" +
					"changed. The page is " + d.forge.pages() + "/pulls/1.",
			},
			{
				[]string{askForge(`{"Do": "merge"}`, "pulls/1/merge") + " && git pull -q"},
				"The branch requires " + forgePlan + ", so Gitea merges. " + forgeContext + " of the merge reports that dev-a is removed,\n" +
					"as the comment had said.",
			},
		}},
		{stepForgeForged, []demoAction{{
			[]string{`curl -sS -H 'Content-Type: application/json' -H 'X-Gitea-Event: push' -H "X-Gitea-Signature: $(printf '%064d' 0)" \` + "\n" +
				`  -d '{"ref": "refs/heads/main"}' ` + d.forge.hookURL()},
			"Rejected: the signature was not made with the webhook's secret.",
		}}},
	}
}

// askForge calls Gitea's API for the repository. It retries while Gitea still compares the branches of a pull request.
func askForge(body, path string) string {
	return "curl -sSfK ../gitea.curl --retry 10 --retry-delay 1 --retry-all-errors -H 'Content-Type: application/json' \\\n  -d '" + body + "' $FLEET/" + path + " >/dev/null"
}

// scenarioCommand changes the scenario of the stand-in.
func (d *demo) scenarioCommand(data string) string {
	body := `{"data": ` + data + `}`
	if d.tools.kubectl {
		return fmt.Sprintf("kubectl patch configmap %s --type=merge -p '%s'", operator.ScenarioName, body)
	}
	return fmt.Sprintf("curl -sSfK ../admin.curl -X PATCH -H 'Content-Type: application/merge-patch+json' -d '%s' \\\n  %s/api/v1/namespaces/%s/configmaps/%s >/dev/null",
		body, d.plane.URL(), demoNamespace, operator.ScenarioName)
}
