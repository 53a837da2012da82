package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// With Gitea too, every step does what is promised when it is typed as it is printed.
func TestDemoWithGiteaDoesWhatItSays(t *testing.T) {
	server.SkipShort(t)
	v := newVisitor(t, true)
	if text := v.demo.text(); !strings.Contains(text, "THE MONDOO OPERATOR. A stand-in for it creates CronJobs") {
		t.Errorf("the text does not say what is not real:\n%s", text)
	}
	first := v.head()
	if !eventually(t, demoStepLimit, func() bool { return v.shows(forgeContext+"/scan", "success", "3 changed clusters scanned") }) {
		t.Fatalf("the first commit is not scanned; the demo says:\n%s", v.said)
	}
	v.lookAround()
	v.trySteps(v.forgeChecks())
	v.hasSaid(
		first[:7]+"  muster/fleet/scan: success: 3 changed clusters scanned",
		"stand-in       CronJobs: +analytics +dev-a",
		"stand-in       scan of analytics: out of memory (OOMKilled)",
		"muster/fleet: success: 5 clusters applied: 2 added (analytics, dev-a)",
		"muster/fleet: failure: 1 of 5 clusters can't be used: clusters/analytics.yaml:13",
		"muster/fleet/plan: success: removes 1 cluster (dev-a)",
		"1  comment of muster: Removes 1 cluster (dev-a).",
	)
	v.withoutKubectl()
	v.stop()
}

// lookAround types the commands that show the state, each of which has something to show.
func (v *visitor) lookAround() {
	v.Helper()
	for _, command := range v.demo.forgeLook() {
		if got := v.try(demoAction{commands: []string{command}}).output; strings.TrimSpace(got) == "" || got == "[]\n" {
			v.Errorf("%s prints nothing", command)
		}
	}
	if got := v.try(demoAction{commands: []string{showStatuses}}).output; !strings.Contains(got, `"status":"success"`+"\t"+`"description":"in sync"`+"\t"+`"context":"muster/fleet/drift"`) {
		v.Errorf("the statuses are printed as\n%s", got)
	}
}

// withoutKubectl types what is printed on machines that lack it.
func (v *visitor) withoutKubectl() {
	v.Helper()
	has := v.demo.tools
	v.demo.tools.kubectl = false
	v.lookAround()
	v.try(demoAction{commands: []string{v.demo.scenarioCommand(`{"dev-a": "explode"}`)}})
	if !eventually(v.T, demoStepLimit, func() bool {
		return strings.Contains(v.said.String(), `stand-in       the ConfigMap stand-in-operator: dev-a is "explode", but must be one of`)
	}) {
		v.Errorf("the scenario is not changed; the demo says:\n%s", v.said)
	}
	v.demo.tools = has
}

// forgeChecks are by step, one for each of its actions.
func (v *visitor) forgeChecks() map[string][]func(result) check {
	status := func(context, state, text string) func(result) check {
		return func(result) check {
			return check{context + " " + state + " " + text, func() bool { return v.shows(context, state, text) }}
		}
	}
	const scans, drift = forgeContext + "/scan", forgeContext + "/drift"
	return map[string][]func(result) check{
		stepForgeAdd: {status(scans, "success", "2 changed clusters scanned")},
		stepForgeBreak: {
			status(forgeContext, "failure", "clusters/analytics.yaml:13"),
			status(scans, "success", "5 clusters scanned"),
		},
		stepForgeEdit: {status(drift, "success", "drift corrected: ")},
		stepForgeScan: {
			status(scans, "failure", "analytics: OutOfMemory"),
			status(scans, "success", "1 changed cluster scanned"),
		},
		stepForgePause: {
			status(scans, "pending", "scanning is paused"),
			status(scans, "success", "1 changed cluster scanned"),
		},
		stepForgeMerge: {
			func(result) check {
				return check{"a pull request with its plan", func() bool {
					return v.showsAt(v.commit("origin/proposal"), forgePlan, "success", "removes 1 cluster (dev-a)") && v.commented("**Removes 1 cluster (`dev-a`).**")
				}}
			},
			func(result) check {
				return check{"a merge that is applied", func() bool {
					return v.merged() && v.shows(forgeContext, "success", "1 removed (dev-a)")
				}}
			},
		},
		stepForgeForged: {func(r result) check {
			return check{"a refusal by Muster", func() bool { return strings.Contains(r.output, "the signature does not match its secret") }}
		}},
	}
}

// merged reports whether the commit of the work tree is a merge, and Gitea's own branch is at it.
func (v *visitor) merged() bool {
	var branch struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}
	if err := v.demo.forge.gitea.API(v.Context(), http.MethodGet, "/repos/"+forgeRepository+"/branches/"+forgeBranch, nil, &branch); err != nil {
		v.Fatal(err)
	}
	parents := strings.Fields(v.try(demoAction{commands: []string{"git show -s --format=%P HEAD"}}).output)
	return branch.Commit.ID == v.head() && len(parents) == 2
}

// commented reports whether Muster's only comment has the text.
func (v *visitor) commented(text string) bool {
	comments, err := pullComments(v.Context(), v.demo.forge.gitea)
	if err != nil {
		v.Fatal(err)
	}
	return len(comments) == 1 && comments[0].User.Login == forgeRobot && strings.Contains(comments[0].Body, text)
}

// shows reports whether the latest status of the commit of the work tree in a context is this one.
func (v *visitor) shows(context, state, text string) bool {
	return v.showsAt(v.head(), context, state, text)
}

// showsAt is shows for another commit.
func (v *visitor) showsAt(commit, context, state, text string) bool {
	statuses, err := v.demo.forge.gitea.Statuses(v.Context(), forgeRepository, commit)
	if err != nil {
		v.Fatal(err)
	}
	var last server.GiteaStatus
	for _, s := range statuses {
		if s.Context == context {
			last = s
		}
	}
	return last.State == state && strings.Contains(last.Description, text)
}
