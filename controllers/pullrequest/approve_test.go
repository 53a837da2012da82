package pullrequest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktest "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// merges is a forge with comments, and with pull requests that were merged.
type merges struct {
	conversation
	commit, base string
	merged       []forge.PullRequest
	lookups      int
	down         error
}

func (m *merges) MergedAs(_ context.Context, commit forge.Commit, base string) ([]forge.PullRequest, error) {
	if m.lookups++; m.down != nil {
		return nil, m.down
	}
	if commit.Hash != m.commit || base != m.base {
		return nil, nil
	}
	return m.merged, nil
}

// writes keeps the patches that are sent to the API server.
type writes struct {
	client.Client
	patches []string
	fails   error
}

func (w *writes) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	data, err := patch.Data(object)
	w.patches = append(w.patches, string(data))
	if w.fails != nil {
		return w.fails
	}
	return err
}

var (
	mergeCommit, mergedHead = strings.Repeat("c", 40), strings.Repeat("a", 40)
	keys                    = []inventory.Key{inventory.ClusterKey(inventory.Cluster{AuditConfig: "mondoo-client", Name: "eu"})}
	waiting                 = inventory.ApprovalValue(mergeCommit, keys)
	approves                = "/muster approve-removals " + inventory.ApprovalValue(mergedHead, keys)
)

// approval is a Checker of one AuditSync whose removals wait.
type approval struct {
	*Checker
	forge  *merges
	writes *writes
	events *events.FakeRecorder
	clock  *clocktest.FakeClock
	sync   *v1alpha1.AuditSync
	item   item
}

const robot, maintainer, reader = 1, 2, 3

func newApproval(t *testing.T) *approval {
	t.Helper()
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	a := &approval{writes: &writes{}, events: events.NewFakeRecorder(10), clock: clocktest.NewFakeClock(at),
		forge: &merges{conversation: conversation{writers: map[int64]bool{robot: true, maintainer: true}}, commit: mergeCommit, base: "main",
			merged: []forge.PullRequest{{Number: 7, Head: mergedHead, Base: "main", Merged: true}}},
		sync: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", ResourceVersion: "41", Annotations: map[string]string{"a": "b"}},
			Spec: v1alpha1.AuditSyncSpec{Prune: v1alpha1.Prune{ApproveOn: v1alpha1.ApproveOnPullRequest}}}}
	dir := t.TempDir()
	a.Checker = New(Options{Client: a.writes, Clock: a.clock, Events: a.events, CacheDir: func(key types.NamespacedName) string { return filepath.Join(dir, key.Name) }})
	key := client.ObjectKeyFromObject(a.sync)
	a.item = item{NamespacedName: key, approval: true}
	a.Held(a.sync, waiting)
	return a
}

// look is one look at the forge.
func (a *approval) look(t *testing.T) (problem string, again time.Duration, err error) {
	t.Helper()
	return a.approve(t.Context(), a.audited(a.item.NamespacedName), &Subject{AuditSync: a.sync, Branch: "main"}, &connection{Client: a.forge})
}

func (a *approval) says(author int64, body string) forge.Comment {
	at := a.clock.Now()
	return forge.Comment{ID: 9, AuthorID: author, Author: "user", Body: body, Created: at, Updated: at}
}

func TestApproval(t *testing.T) {
	other := strings.Repeat("b", 40)
	said := func(author int64, body string) func(*approval) {
		return func(a *approval) { a.forge.comments = []forge.Comment{a.says(author, body)} }
	}
	byMaintainer := func(change func(*approval)) func(*approval) {
		return func(a *approval) { said(maintainer, approves)(a); change(a) }
	}
	for _, row := range []struct {
		reason   string
		change   func(*approval)
		approved bool
	}{
		{"a maintainer", said(maintainer, approves), true},
		{"with space around it", said(maintainer, "\r\n "+approves+" \r\n"), true},
		{"a reader, then a maintainer", func(a *approval) {
			a.forge.comments = []forge.Comment{a.says(reader, approves), a.says(maintainer, approves)}
		}, true},
		{"for a fork that was checked without keys", byMaintainer(func(a *approval) { a.forge.merged[0].Fork = true }), true},
		{"over the approval of an earlier commit", byMaintainer(func(a *approval) {
			a.sync.Annotations[inventory.ApproveAnnotation] = inventory.ApprovalValue(other, keys)
		}), true},
		{"no comment", func(*approval) {}, false},
		{"a reader", said(reader, approves), false},
		{"our own account, which may write", said(robot, approves), false},
		{"a deleted account", said(0, approves), false},
		{"edited", byMaintainer(func(a *approval) {
			a.forge.comments[0].Updated = a.forge.comments[0].Created.Add(time.Second)
		}), false},
		{"with other words", said(maintainer, "please never do this:\n"+approves), false},
		{"quoted", said(maintainer, "> "+approves), false},
		{"another digest", said(maintainer, "/muster approve-removals "+inventory.ApprovalValue(mergedHead, nil)), false},
		{"another head", said(maintainer, "/muster approve-removals "+inventory.ApprovalValue(other, keys)), false},
		{"the commit of the merge", said(maintainer, "/muster approve-removals "+waiting), false},
		{"the digest alone", said(maintainer, "/muster approve-removals "+inventory.ApprovedDigest(waiting)), false},
		{"the head alone", said(maintainer, "/muster approve-removals "+mergedHead), false},
		{"the command for checks", said(maintainer, "/muster check "+mergedHead), false},
		{"a head that was pushed after the comment", byMaintainer(func(a *approval) { a.forge.merged[0].Head = other }), false},
		{"merged as another commit", byMaintainer(func(a *approval) { a.forge.commit = other }), false},
		{"merged into another branch", byMaintainer(func(a *approval) { a.forge.base = "release" }), false},
		{"closed without a merge", byMaintainer(func(a *approval) { a.forge.merged = nil }), false},
		{"not allowed by the AuditSync", byMaintainer(func(a *approval) { a.sync.Spec.Prune.ApproveOn = v1alpha1.ApproveOnCluster }), false},
		{"not allowed by an AuditSync without the default", byMaintainer(func(a *approval) { a.sync.Spec.Prune.ApproveOn = "" }), false},
		{"nothing waits any more", byMaintainer(func(a *approval) { a.Held(a.sync, "") }), false},
		{"it is approved already", byMaintainer(func(a *approval) { a.sync.Annotations[inventory.ApproveAnnotation] = waiting }), false},
	} {
		t.Run(row.reason, func(t *testing.T) {
			a := newApproval(t)
			row.change(a)
			problem, _, err := a.look(t)
			if err != nil || problem != "" || (len(a.writes.patches) == 1) != row.approved || (len(a.events.Events) == 1) != row.approved {
				t.Fatalf("%q, %v, patches %q, %d events", problem, err, a.writes.patches, len(a.events.Events))
			}
			if !row.approved {
				return
			}
			if want := `{"metadata":{"annotations":{"muster.dev/approve-removals":"` + waiting + `"},"resourceVersion":"41"}}`; a.writes.patches[0] != want {
				t.Errorf("%s, want %s", a.writes.patches[0], want)
			}
			if event := <-a.events.Events; !strings.Contains(event, "user approved the removals of pull request #7: "+waiting) {
				t.Errorf("%s", event)
			}
		})
	}
}

// TestApprovalOfTwoPullRequests: when the forge takes two for merged as one commit, it is not clear which one was approved.
func TestApprovalOfTwoPullRequests(t *testing.T) {
	a := newApproval(t)
	a.forge.comments = []forge.Comment{a.says(maintainer, approves)}
	a.forge.merged = append(a.forge.merged, forge.PullRequest{Number: 8, Head: mergedHead, Base: "main", Merged: true})
	if problem, _, err := a.look(t); err != nil || !strings.Contains(problem, "#7 and #8") || len(a.writes.patches) != 0 {
		t.Errorf("%q, %v, %q", problem, err, a.writes.patches)
	}
}

// TestApprovalIsLookedForAgain: a comment that comes late, or while the forge was down, is found by a later look. Looks are at
// new removals and at each fetch, and none while nothing waits.
func TestApprovalIsLookedForAgain(t *testing.T) {
	a := newApproval(t)
	if n := a.queue.Len(); n != 1 {
		t.Fatalf("%d in the queue", n)
	}
	drain := func() (found []item) {
		for a.queue.Len() > 0 {
			it, _ := a.queue.Get()
			a.queue.Done(it)
			if it.approval {
				found = append(found, it)
			}
		}
		return found
	}
	if got := drain(); len(got) != 1 {
		t.Errorf("new removals: %v", got)
	}
	a.Held(a.sync, waiting)
	if got := drain(); len(got) != 0 {
		t.Errorf("the same removals: %v", got)
	}
	a.forge.down = &forge.UnavailableError{Problem: "the forge failed"}
	if _, _, err := a.look(t); err == nil {
		t.Error("no error while the forge is down")
	}
	a.forge.down = nil
	if _, _, err := a.look(t); err != nil || len(a.writes.patches) != 0 {
		t.Errorf("%v, %q", err, a.writes.patches)
	}
	a.Look(a.item.NamespacedName)
	if got := drain(); len(got) != 1 {
		t.Errorf("a fetch: %v", got)
	}
	a.forge.comments = []forge.Comment{a.says(maintainer, approves)}
	if _, _, err := a.look(t); err != nil || len(a.writes.patches) != 1 {
		t.Errorf("%v, %q", err, a.writes.patches)
	}
	a.Held(a.sync, "")
	drain()
	a.Look(a.item.NamespacedName)
	if got := drain(); len(got) != 0 {
		t.Errorf("a fetch while nothing waits: %v", got)
	}
	a.sync.Annotations[inventory.ApproveAnnotation] = inventory.ApprovalValue(mergedHead, nil) // an old one stays
	before := a.forge.lookups
	if _, _, err := a.look(t); err != nil || a.forge.lookups != before {
		t.Errorf("the forge was asked, %v", err)
	}
}

// TestHeldElsewhere: for removals that may be approved in the cluster alone, nothing is looked for.
func TestHeldElsewhere(t *testing.T) {
	a := newApproval(t)
	for a.queue.Len() > 0 {
		it, _ := a.queue.Get()
		a.queue.Done(it)
	}
	other := a.sync.DeepCopy()
	other.Name, other.Spec.Prune.ApproveOn = "other", v1alpha1.ApproveOnCluster
	a.Held(other, waiting)
	if a.queue.Len() != 0 || len(a.syncs) != 1 {
		t.Errorf("%d in the queue, %d AuditSyncs", a.queue.Len(), len(a.syncs))
	}
	var none *Checker
	none.Held(a.sync, waiting)
}

// TestMergeThatIsRecordedLate: forges move the branch before they record the merge. That must not wait for an interval.
func TestMergeThatIsRecordedLate(t *testing.T) {
	for _, row := range []struct {
		after time.Duration
		again bool
	}{{0, true}, {settling - time.Second, true}, {settling, false}} {
		a := newApproval(t)
		a.forge.merged = nil
		a.clock.SetTime(a.clock.Now().Add(row.after))
		if _, again, err := a.look(t); err != nil || (again == settle) != row.again {
			t.Errorf("after %s: again after %s, %v", row.after, again, err)
		}
	}
}

// TestApprovalDoesNotOverwrite: what a user or another approval has changed since is read first.
func TestApprovalDoesNotOverwrite(t *testing.T) {
	a := newApproval(t)
	a.forge.comments = []forge.Comment{a.says(maintainer, approves)}
	a.writes.fails = apierrors.NewConflict(schema.GroupResource{Resource: "auditsyncs"}, "s", nil)
	if problem, again, err := a.look(t); err != nil || problem != "" || len(a.events.Events) != 0 || again == 0 {
		t.Errorf("%q, %v, %d events, again after %s", problem, err, len(a.events.Events), again)
	}
	a.writes.fails = apierrors.NewForbidden(schema.GroupResource{Resource: "auditsyncs"}, "s", nil)
	if _, _, err := a.look(t); !apierrors.IsForbidden(err) || len(a.events.Events) != 0 {
		t.Errorf("%v", err)
	}
}

// TestApprovalWithoutPermission: credentials that may not ask who may write are told in the condition.
func TestApprovalWithoutPermission(t *testing.T) {
	a := newApproval(t)
	a.forge.comments, a.forge.refuses = []forge.Comment{a.says(maintainer, approves)}, true
	if problem, _, err := a.look(t); err != nil || !strings.Contains(problem, "lacks permission") || len(a.writes.patches) != 0 {
		t.Errorf("%q, %v", problem, err)
	}
}
