package pullrequest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
)

// workers is how many pull requests are checked concurrently. Those of one AuditSync share a pipeline and take turns to render.
const workers = 4

// Subject is what a pull request into an AuditSync's branch is judged with.
type Subject struct {
	AuditSync *v1alpha1.AuditSync
	// Source is the repository and the branch. Branch is its name.
	Source gitsync.Source
	Branch string
	// Options, Opener, Live and Policy are those of a sync.
	Options compile.Options
	Opener  clusters.Opener
	Live    plan.Live
	Policy  plan.Policy
	// Redactor knows the credentials and keys of the AuditSync.
	Redactor *redact.Redactor
	// Supply fills in the credentials from elsewhere that the last sync had.
	Supply func(*fleet.Opened) *fleet.Opened
	// Version changes with everything but the live objects that a review depends on.
	Version string
}

// Story is what the reconciler knows. Subject returns nil for an AuditSync whose pull requests are not to be answered. Its
// errors are for the condition of the AuditSync.
type Story interface {
	Subject(ctx context.Context, key types.NamespacedName) (*Subject, error)
}

// Options are what a Checker works with.
type Options struct {
	Client client.Client
	Story  Story
	Clock  clock.WithTicker
	// Try checks the credentials of clusters that aren't applied; nil checks none.
	Try TryFunc
	// CacheDir returns the folder for the clone of an AuditSync's pull requests.
	CacheDir func(key types.NamespacedName) string
	// Events records who approved removals.
	Events events.EventRecorder
	// Changed gets the AuditSyncs whose condition must change. The caller reconciles them.
	Changed chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]
	Log     logr.Logger
}

// item is one piece of work: a pull request, a ref of the merge queue, the removals that wait or, without any of them, the list
// of the first two.
type item struct {
	types.NamespacedName
	number   int64
	ref      string
	approval bool
}

// String names the item in a condition; "" is the list.
func (it item) String() string {
	if it.number != 0 {
		return fmt.Sprintf("#%d", it.number)
	}
	if it.approval {
		return "approval of removals"
	}
	return it.ref
}

// Checker answers pull requests. A nil Checker answers none.
type Checker struct {
	Options
	queue  workqueue.TypedRateLimitingInterface[item]
	limits gitsync.Limits

	mu    sync.Mutex
	syncs map[types.NamespacedName]*audited
}

// New returns a Checker, which works once it is started.
func New(o Options) *Checker {
	return &Checker{Options: o, limits: limits, syncs: map[types.NamespacedName]*audited{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[item](), workqueue.TypedRateLimitingQueueConfig[item]{Name: "pullrequest", Clock: o.Clock})}
}

// NeedLeaderElection returns true: only the leader answers.
func (c *Checker) NeedLeaderElection() bool { return true }

// Start answers until ctx ends. What is in the queue then is found again after the next start.
func (c *Checker) Start(ctx context.Context) error {
	unmanaged, err := controller.NewTypedUnmanaged("pullrequest", controller.TypedOptions[item]{Reconciler: c, MaxConcurrentReconciles: workers, Logger: c.Log,
		SkipNameValidation: new(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[item]) workqueue.TypedRateLimitingInterface[item] {
			return c.queue
		}})
	if err != nil {
		return err
	}
	return unmanaged.Start(ctx)
}

// Look has the open pull requests of an AuditSync listed. It is called whenever a sync fetches: at each interval, after a
// webhook, and when the AuditSync has changed.
func (c *Checker) Look(key types.NamespacedName) {
	if c == nil {
		return
	}
	c.queue.Add(item{NamespacedName: key})
	if c.waits(key) { // a comment may have come
		c.queue.Add(item{NamespacedName: key, approval: true})
	}
}

// Forget ends the work for an AuditSync whose pull requests are not to be answered any more, and drops everything that is kept
// for it.
func (c *Checker) Forget(key types.NamespacedName) {
	if c == nil {
		return
	}
	c.mu.Lock()
	known := c.syncs[key]
	delete(c.syncs, key)
	c.mu.Unlock()
	if known != nil {
		known.close()
	}
}

// SetCondition sets the condition PullRequests in a status of an AuditSync.
func (c *Checker) SetCondition(audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	if audit.Spec.Forge == nil || !audit.Spec.Forge.PullRequests {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionPullRequests)
		return
	}
	if c == nil {
		return
	}
	c.mu.Lock()
	known := c.syncs[client.ObjectKeyFromObject(audit)]
	c.mu.Unlock()
	if known == nil {
		return
	}
	if condition := known.condition(); condition != nil {
		condition.ObservedGeneration = audit.Generation
		meta.SetStatusCondition(&status.Conditions, *condition)
	}
}

// audited returns what is kept for an AuditSync, and makes it if necessary.
func (c *Checker) audited(key types.NamespacedName) *audited {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.syncs[key]
	if known == nil {
		known = newAudited(filepath.Join(c.CacheDir(key), "pulls"), c.limits)
		c.syncs[key] = known
	}
	return known
}

// result records the result of an item, and asks for a sync if the condition changes by it.
func (c *Checker) result(ctx context.Context, audit *v1alpha1.AuditSync, a *audited, it item, problem string) {
	if a.record(it.String(), problem) {
		select {
		case c.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
		case <-ctx.Done():
		}
	}
}

// Reasons of the condition PullRequests.
const (
	reasonAnswered = "Answered"
	reasonFailing  = "Failing"
)

func conditionOf(failing map[string]string, open int) *metav1.Condition {
	c := &metav1.Condition{Type: v1alpha1.ConditionPullRequests, Status: metav1.ConditionTrue, Reason: reasonAnswered, Message: openText(open)}
	if len(failing) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonFailing, failingText(failing)
	}
	return c
}

const (
	// retry is when to try again after a failure, if the forge names no time.
	retry = 30 * time.Second
	// refusedRetry is when to try again what the forge has refused. It takes a change by people there.
	refusedRetry = 10 * time.Minute
)
