package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

var approveCommand = regexp.MustCompile(`(?m)^/muster approve-removals [0-9a-f]{40}-[0-9a-f]{16}$`)

// applied lists the clusters in the live audit config, sorted.
func (p *pulls) applied() (names []string) {
	p.Helper()
	clusters, _, err := unstructured.NestedSlice(p.config().Object, "spec", "kubernetesResources", "externalClusters")
	must(p, err)
	for _, c := range clusters {
		names = append(names, fmt.Sprint(c.(map[string]any)["name"]))
	}
	slices.Sort(names)
	return names
}

// merge merges a pull request, and returns the branch's new commit.
func (p *pulls) merge(number int64, way string) (commit string) {
	p.Helper()
	p.eventually("it can be merged", func() bool {
		return p.gitea.API(p.Context(), http.MethodPost, fmt.Sprintf("/repos/%s/pulls/%d/merge", repository, number), map[string]any{"Do": way}, nil) == nil
	})
	p.git("pull", "-q", "origin", "main")
	return p.git("rev-parse", "HEAD")
}

// removing opens a pull request that removes these clusters, and returns the command that its comment prints.
func (p *pulls) removing(branch string, names ...string) (number int64, command string) {
	p.Helper()
	files := map[string]string{}
	for _, name := range names {
		files["clusters/"+name+".yaml"] = ""
	}
	head := p.branch(branch, files)
	number = p.open(branch, "main")
	comment := p.answered(number, head, "success", fmt.Sprint(len(names), " removals wait for approval"), "/muster approve-removals "+head)
	return number, approveCommand.FindString(comment)
}

// held waits until the removals of a commit are held, and reports the reason.
func (p *pulls) held(commit string) {
	p.Helper()
	p.eventually("the removals of "+commit+" are held", func() bool {
		status := p.audit().Status
		ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
		return strings.HasSuffix(status.LastAttemptedRevision, commit) && ready != nil && ready.Reason == report.ReasonHeld
	})
}

// TestRemovalsAreApprovedOnThePullRequest: more is removed than the budget allows. Once a maintainer has approved it by the
// comment, the merge is applied without a second step, however it is merged. Without it, or after a push, it is held, until the
// comment comes.
func TestRemovalsAreApprovedOnThePullRequest(t *testing.T) {
	p := newPulls(t)
	p.user("reader", "read")
	p.user("maintainer", "write")
	more := map[string]string{}
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		more["clusters/"+name+".yaml"] = plainCluster(name, far(i+1))
	}
	p.push(more)
	p.eventually("all are applied", func() bool { return len(p.applied()) == 8 })
	audit := p.audit()
	before := audit.DeepCopy()
	audit.Spec.Prune.ApproveOn = v1alpha1.ApproveOnPullRequest
	must(t, p.admin.Patch(t.Context(), audit, client.MergeFrom(before)))

	// Approved, and merged in one commit.
	number, command := p.removing("remove-ab", "a", "b", "c")
	p.say("reader", number, command)
	p.say("maintainer", number, command)
	commit := p.merge(number, "squash")
	p.eventually("the removals are carried out", func() bool { return slices.Equal(p.applied(), []string{"d", "e", "eu", "f", "us"}) })
	if value := p.audit().Annotations[inventory.ApproveAnnotation]; inventory.ApprovedRevision(value) != commit {
		t.Errorf("approved by %q, and the commit is %s", value, commit)
	}
	var events eventsv1.EventList
	p.eventually("an event tells who approved", func() bool {
		must(t, p.admin.List(t.Context(), &events, client.InNamespace(namespace)))
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Reason == "RemovalsApproved" && strings.HasPrefix(e.Note, fmt.Sprintf("maintainer approved the removals of pull request #%d", number))
		})
	})

	// A push after the approval, an approval by a reader, and none at all: all are held. The comment may come after the merge.
	number, command = p.removing("remove-de", "d", "e")
	p.say("maintainer", number, command)
	head := p.more("remove-de", map[string]string{"docs/readme.md": "another text\n"})
	comment := p.answered(number, head, "success", "2 removals wait for approval", "/muster approve-removals "+head)
	command = approveCommand.FindString(comment)
	p.say("reader", number, command)
	commit = p.merge(number, "merge")
	p.held(commit)
	p.request()
	if got := p.applied(); !slices.Equal(got, []string{"d", "e", "eu", "f", "us"}) {
		t.Errorf("removed without an approval: %v are left", got)
	}
	p.say("maintainer", number, command)
	p.eventually("the removals are carried out", func() bool { return slices.Equal(p.applied(), []string{"eu", "f", "us"}) })

	// The same removals by a push: there is no pull request, so there is nothing to approve them on.
	commit = p.push(map[string]string{"clusters/us.yaml": "", "clusters/f.yaml": ""})
	p.held(commit)
}
