package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// The contexts of the statuses.
const (
	itself = "muster/" + syncName
	drift  = itself + "/drift"
	scans  = itself + "/scan"
)

// scanTakes is how long a scan takes. That each is seen to be waited for doesn't depend on it: Muster says so in the same sync
// that starts it.
const scanTakes = 500 * time.Millisecond

// TestTheWholeLoop goes through what happens to a fleet, and holds what Gitea shows of each commit to the exact sequence of
// statuses. Nothing may be posted that isn't shown, and nothing twice.
func TestTheWholeLoop(t *testing.T) {
	l := &loop{world: newWorld(t, true)}
	l.startStandIn()
	l.scenes()
	l.request() // a sync with nothing new, which has nothing to post
	// The statuses of an AuditSync are posted one after the other: once those of one more commit are shown, nothing before them is under way.
	l.tell("a commit that changes nothing", l.push(map[string]string{"README.md": "Fleet\n"}),
		shown{itself, "success", "6 clusters applied", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "success", "6 clusters scanned", ""})
	l.hold()
	for _, c := range l.story {
		l.Logf("%s: %d posts\n%s", c.title, l.gitea.StatusPosts(repository, c.commit), list(l.statuses(c.commit)))
	}
}

// loop is a world in which a story is told.
type loop struct {
	*world
	story []chapter
}

// chapter is a commit, and what Gitea has to show of it, by context, in this order.
type chapter struct {
	title, commit string
	shown         []shown
}

// shown is one status. Text is the beginning of its description, and within is somewhere behind it.
type shown struct{ context, state, text, within string }

func (l *loop) startStandIn() {
	l.Helper()
	standIn, err := operator.Start(l.Context(), l.plane.Config(), operator.Options{Namespace: namespace, Takes: scanTakes,
		Tell: func(format string, args ...any) { l.Logf("stand-in: "+format, args...) }})
	must(l, err)
	l.Cleanup(func() { must(l, standIn.Stop()) })
}

var farHour = (time.Now().UTC().Hour() + 12) % 24

// far is a schedule that is not due while the test runs: Muster leaves scans that are about to start to their schedules.
func far(minute int) string { return fmt.Sprintf("%d %d * * *", minute, farHour) }

func asia(minute int) map[string]string {
	return map[string]string{"clusters/asia.yaml": plainCluster("asia", far(minute))}
}

func (l *loop) scenes() {
	l.tell("a first commit", l.begin(),
		shown{itself, "success", "2 clusters applied: 2 added (eu, us)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 2 changed clusters: eu, us", ""},
		shown{scans, "success", "2 changed clusters scanned", ""})

	l.tell("a good commit", l.push(asia(1)),
		shown{itself, "success", "3 clusters applied: 1 added (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})

	l.tell("a broken file", l.push(map[string]string{"clusters/asia.yaml": plainCluster("asia", "every night")}),
		shown{itself, "failure", "1 of 3 clusters can't be used: clusters/asia.yaml:6: spec.schedule can't be used", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "success", "3 clusters scanned", ""})

	l.tell("a fix", l.push(asia(1)),
		shown{itself, "success", "3 clusters applied", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "success", "3 clusters scanned", ""})

	l.tenAtOnce()
	l.liveEdit()

	l.scenario("asia", "fail")
	l.tell("a scan that fails", l.push(asia(20)),
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "failure", "1 of 1 changed cluster not scanned; asia: ", "certificate has expired"})

	l.scenario("asia", "oom")
	l.tell("a scan that runs out of memory", l.push(asia(21)),
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "failure", "1 of 1 changed cluster not scanned; asia: OutOfMemory: ", "300Mi"})

	l.scenario("asia", "")
	l.tell("a scan that succeeds again", l.push(asia(22)),
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})

	l.superseded()
	l.paused()
	l.notPickedUp()
	l.stoppedAtVault()
}

// begin pushes the first files and starts everything. There is no webhook for what was pushed before there was an AuditSync.
func (l *loop) begin() string {
	l.Helper()
	commit := l.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml": l.sealedCluster("eu", far(40)), "clusters/us.yaml": plainCluster("us", far(41))})
	l.startController(scanstate.Bounds{})
	l.createSync(nil)
	return commit
}

// tenAtOnce pushes ten commits, of which only the last is ever looked at.
func (l *loop) tenAtOnce() {
	l.Helper()
	var commits []string
	for i := range 10 {
		commits = append(commits, l.commit(asia(2+i)))
	}
	l.git("push", "-q", "origin", "main")
	l.tell("the last of ten commits", commits[9],
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})
	for i, commit := range commits[:9] {
		l.story = append(l.story, chapter{title: fmt.Sprintf("commit %d of ten", i+1), commit: commit})
	}
}

// liveEdit changes what is live in a way that its CronJob doesn't show. It is put right, and told of on the commit that is
// applied.
func (l *loop) liveEdit() {
	l.Helper()
	patch := []byte(`[{"op": "add", "path": "/spec/kubernetesResources/externalClusters/0/containerImageScanning", "value": true}]`)
	must(l, l.admin.Patch(l.Context(), l.config(), client.RawPatch(types.JSONPatchType, patch), client.FieldOwner("kubectl-edit")))
	last := slices.IndexFunc(l.story, func(c chapter) bool { return c.title == "the last of ten commits" })
	l.story[last].title += ", edited live"
	l.story[last].shown = append(l.story[last].shown, shown{drift, "success", "drift corrected: ", "kubectl-edit"})
	l.untilShown(l.story[last])
}

// superseded pushes a commit while the scan for the one before it hangs. That one gets an end, for nobody waits for it now.
func (l *loop) superseded() {
	l.Helper()
	l.scenario("asia", "hang")
	hangs := l.tell("a scan that hangs", l.push(asia(23)),
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""})
	next := l.push(asia(24))
	hangs.shown = append(hangs.shown, shown{scans, "error", "superseded by " + next[:10], ""})
	hangs.title += ", superseded"
	l.untilShown(*hangs)
	l.scenario("asia", "")
	l.tell("a commit that waits for the scan before it", next,
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})
}

// paused has the operator suspend everything.
func (l *loop) paused() {
	l.Helper()
	l.scenario(operator.KeyScanning, "paused")
	l.eventually("Muster has seen that scanning is paused", func() bool {
		c := meta.FindStatusCondition(l.audit().Status.Conditions, v1alpha1.ConditionScanned)
		return c != nil && c.Reason == "Paused"
	})
	paused := l.tell("a commit while scanning is paused", l.push(asia(25)),
		shown{itself, "success", "3 clusters applied: 1 changed (asia)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "scanning is paused for 1 of 1 changed cluster: asia", ""})
	l.scenario(operator.KeyScanning, "")
	paused.shown = append(paused.shown,
		shown{scans, "pending", "waits for the scan of 1 changed cluster: asia", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})
	l.untilShown(*paused)
}

// notPickedUp starts the controller again, with a bound that a test can wait for, and then has the operator do nothing.
func (l *loop) notPickedUp() {
	l.Helper()
	l.stopController()
	l.startController(scanstate.Bounds{PickUp: 10 * time.Second})
	l.request()
	l.hold() // a process that starts finds everything shown

	l.scenario(operator.KeyOperator, "broken")
	late := l.tell("a cluster that the operator doesn't pick up", l.push(map[string]string{"clusters/late.yaml": plainCluster("late", far(42))}),
		shown{itself, "success", "4 clusters applied: 1 added (late)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 1 changed cluster: late", ""},
		shown{scans, "failure", "1 of 1 changed cluster not scanned; late: ", "the operator has created no CronJob"})
	l.scenario(operator.KeyOperator, "")
	late.shown = append(late.shown,
		shown{scans, "pending", "waits for the scan of 1 changed cluster: late", ""},
		shown{scans, "success", "1 changed cluster scanned", ""})
	l.untilShown(*late)
}

// stoppedAtVault has the operator stop at the entry of Vault, which comes last, so that the other is scanned.
func (l *loop) stoppedAtVault() {
	l.Helper()
	l.scenario("vault", "refuse")
	stopped := l.tell("an operator that stops at an entry", l.push(map[string]string{
		"clusters/vault.yaml": vaultCluster("vault", far(43)), "clusters/west.yaml": plainCluster("west", far(44))}),
		shown{itself, "success", "6 clusters applied: 2 added (vault, west)", ""},
		shown{drift, "success", "in sync", ""},
		shown{scans, "pending", "waits for the scan of 2 changed clusters: vault, west", ""},
		shown{scans, "failure", "1 of 2 changed clusters not scanned; vault: ", "stops at entry vault, where it has to log in to Vault"})
	l.scenario("vault", "")
	stopped.shown = append(stopped.shown,
		shown{scans, "pending", "waits for the scan of 2 changed clusters: vault, west", ""},
		shown{scans, "success", "2 changed clusters scanned", ""})
	l.untilShown(*stopped)
}
