package pullrequest

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// held are the removals of a merge that wait for an approval.
type held struct {
	// approval is the value that approves them, for the commit of the merge; "" if none wait.
	approval string
	since    time.Time
}

// Held takes the removals that wait at the branch's commit, as the value that approves exactly these; "" if none wait. If the
// AuditSync allows it, and a comment on the merged pull request approves them, it is recorded as the annotation that a user would
// set.
func (c *Checker) Held(audit *v1alpha1.AuditSync, approval string) {
	if c == nil {
		return
	}
	key := client.ObjectKeyFromObject(audit)
	if audit.Spec.Prune.ApproveOn != v1alpha1.ApproveOnPullRequest {
		approval = ""
	}
	if approval == "" && !c.waits(key) {
		return
	}
	a := c.audited(key)
	a.mu.Lock()
	changed := a.held.approval != approval
	if changed {
		a.held = held{approval: approval, since: c.Clock.Now()}
	}
	a.mu.Unlock()
	if changed { // also to none: the last problem is over
		c.queue.Add(item{NamespacedName: key, approval: true})
	}
}

// waits reports whether removals wait.
func (c *Checker) waits(key types.NamespacedName) bool {
	c.mu.Lock()
	a := c.syncs[key]
	c.mu.Unlock()
	return a != nil && a.waiting().approval != ""
}

func (a *audited) waiting() held {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

const (
	// settling is how long a forge may take to record a merge after it has moved the branch, and settle is when to ask again.
	settling = time.Minute
	settle   = 5 * time.Second
)

// approve looks for an approval of the removals that wait, on the pull request that was merged as their commit.
//
// What was approved is bound twice: by the head that was merged, and by the digest of all removals. So an approval ends with a
// push, and if the merge came to remove anything else, it doesn't fit. When the pull request was reopened doesn't matter: what
// counts is what was merged. The digest has only names, so it is the same for a check
// without keys, unless what is removed depends on them.
func (c *Checker) approve(ctx context.Context, a *audited, s *Subject, conn *connection) (problem string, again time.Duration, err error) {
	waiting := a.waiting()
	if waiting.approval == "" || s.AuditSync.Spec.Prune.ApproveOn != v1alpha1.ApproveOnPullRequest ||
		s.AuditSync.Annotations[inventory.ApproveAnnotation] == waiting.approval {
		return "", 0, nil
	}
	commit := forge.Commit{Hash: inventory.ApprovedRevision(waiting.approval)}
	merged, err := conn.MergedAs(ctx, commit, s.Branch)
	if err != nil {
		return "", 0, err
	}
	if len(merged) == 0 && c.Clock.Since(waiting.since) < settling {
		return "", settle, nil
	}
	if len(merged) > 1 {
		return fmt.Sprintf("pull requests #%d and #%d were both merged as %s, so comments on them approve nothing; use the annotation", merged[0].Number, merged[1].Number, commit), 0, nil
	}
	if len(merged) == 0 {
		return "", 0, nil
	}
	w := &answering{checker: c, audited: a, subject: s, conn: conn, known: known{PullRequest: merged[0]}, pull: &shown{}}
	user, err := w.commanded(ctx, review.ApproveCommand+w.Head+"-"+inventory.ApprovedDigest(waiting.approval))
	if user == "" || err != nil {
		return strings.Join(w.problems, "; "), 0, err
	}
	again, err = c.record(ctx, s, waiting.approval, merged[0], user)
	return "", again, err
}

// record sets the annotation, unless the AuditSync has changed since it was read: its policy may be another one, or a user may
// have set a newer value.
func (c *Checker) record(ctx context.Context, s *Subject, approval string, pr forge.PullRequest, user string) (again time.Duration, err error) {
	audit := s.AuditSync.DeepCopy()
	metav1.SetMetaDataAnnotation(&audit.ObjectMeta, inventory.ApproveAnnotation, approval)
	err = c.Client.Patch(ctx, audit, client.MergeFromWithOptions(s.AuditSync, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return time.Second, nil
	}
	if err != nil {
		return 0, fmt.Errorf("record the approval of removals: %w", err)
	}
	c.Events.Eventf(audit, nil, corev1.EventTypeNormal, "RemovalsApproved", "Approve", "%s approved the removals of pull request #%d: %s", user, pr.Number, approval)
	return 0, nil
}
