package commitstatus

import (
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

const (
	// begunPatience is how long a sync may run before its commit is posted as pending. Most syncs end earlier, which saves two
	// requests.
	begunPatience = time.Second
	// workers is how many AuditSyncs are posted concurrently, so that one hanging forge doesn't block the others for long.
	workers = 4
	// maxCondition is the maximum length of a forge's message in a condition.
	maxCondition = 1024
)

// Options are what a Reporter works with.
type Options struct {
	// Client reads AuditSyncs and Secrets through caches, sees its own writes, and writes the status of AuditSyncs.
	Client  client.Client
	Clock   clock.PassiveClock
	Metrics *report.Metrics
	// Events records an event about statuses that stay pending.
	Events events.EventRecorder
	// Changed gets the AuditSyncs whose condition Reported must change, or whose deletion need not wait any more. The caller reconciles
	// them.
	Changed chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]
	// URL is the link to details, with placeholders; empty for none. See ValidateURL.
	URL string
	Log logr.Logger
}

// Reporter posts the commit statuses that the reconciler wants, and retries until the forge shows them. It runs concurrently with the
// reconciler. A nil Reporter reports nothing.
type Reporter struct {
	Options
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry holds the wanted commit statuses of one AuditSync and the state of posting them.
type entry struct {
	// at is where to post, from the AuditSync at the time of the sync. The AuditSync may have changed before the worker runs. A status
	// that is posted in one place and recorded as pending in another would never be completed.
	at *v1alpha1.ReportPlace
	// wanted are the statuses from the last sync. current are the revisions that are being synced or applied, the newest first. The
	// statuses of other revisions are superseded.
	wanted  []report.CommitStatus
	current []string
	// begun is the pending status of the revision that is being synced, since begunSince; nil for none.
	begun      *report.CommitStatus
	begunSince time.Time
	redactor   *redact.Redactor
	condition  *metav1.Condition

	// deletingSince is when the AuditSync's deletion started to wait. released is true once it no longer has to.
	deletingSince time.Time
	released      bool

	// connection and ending are only used by the worker. The queue ensures that each AuditSync has at most one.
	connection *connection
	ending     ending
}

// New returns a Reporter, which posts once it is started.
func New(opts Options) *Reporter {
	return &Reporter{Options: opts, entries: map[types.NamespacedName]*entry{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request](),
			workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: "commitstatus"})}
}

// NeedLeaderElection returns true: only the leader posts.
func (r *Reporter) NeedLeaderElection() bool { return true }

// Start posts until ctx ends. Statuses that aren't posted by then are posted after the next start.
func (r *Reporter) Start(ctx context.Context) error {
	c, err := controller.NewUnmanaged("commitstatus", controller.Options{Reconciler: r, MaxConcurrentReconciles: workers, Logger: r.Log,
		SkipNameValidation: new(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
			return r.queue
		}})
	if err != nil {
		return err
	}
	return c.Start(ctx)
}

// add has the worker look at an AuditSync.
func (r *Reporter) add(key types.NamespacedName, after time.Duration) {
	r.queue.AddAfter(reconcile.Request{NamespacedName: key}, after)
}

// entry returns the entry of an AuditSync, a new one if there is none. The caller holds the lock.
func (r *Reporter) entry(key types.NamespacedName) *entry {
	e := r.entries[key]
	if e == nil {
		e = &entry{redactor: &redact.Redactor{}}
		r.entries[key] = e
	}
	return e
}

// place sets where to post. A new place drops what was wanted in the old one.
func (e *entry) place(at *v1alpha1.ReportPlace) {
	if e.at == nil || *e.at != *at {
		e.at, e.wanted, e.current, e.begun = at, nil, nil, nil
	}
}

// Begin records that the sync of a revision has begun.
func (r *Reporter) Begin(audit *v1alpha1.AuditSync, revision string, redactor *redact.Redactor) {
	if r == nil || audit.Spec.Forge == nil || audit.Status.LastAttemptedRevision == revision {
		return
	}
	key := client.ObjectKeyFromObject(audit)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(key)
	e.place(report.Place(audit))
	if e.begun != nil && e.begun.Revision == revision {
		return
	}
	begun := report.CommitBegun(audit, revision)
	e.begun, e.begunSince, e.redactor = &begun, r.Clock.Now(), redactor
	e.current = []string{revision, audit.Status.LastAppliedRevision}
	r.add(key, begunPatience)
}

// Show sets the wanted statuses after a sync. Audit is the AuditSync before the sync, and status its status after it. The redactor knows
// the secrets of its fleet. It gets to know the credentials for the forge.
func (r *Reporter) Show(audit *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o report.Outcome, redactor *redact.Redactor) {
	if r == nil || audit.Spec.Forge == nil {
		r.Stop(audit)
		return
	}
	key := client.ObjectKeyFromObject(audit)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(key)
	e.place(report.Place(audit))
	e.redactor = redactor
	if o.Revision != "" || o.Refused != "" {
		e.wanted = report.CommitStatuses(audit, status, o)
		for i := range e.wanted {
			e.wanted[i].Description = redactor.String(e.wanted[i].Description)
			if e.begun != nil && e.begun.Revision == e.wanted[i].Revision {
				e.begun = nil
			}
		}
		e.current = []string{o.Refused, o.Revision, status.LastAppliedRevision}
	}
	r.add(key, 0)
}

// Stop stops reporting for an AuditSync that is suspended or no longer has a forge. Its pending statuses will be ended.
func (r *Reporter) Stop(audit *v1alpha1.AuditSync) {
	if r == nil {
		return
	}
	key := client.ObjectKeyFromObject(audit)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[key] == nil && len(audit.Status.PendingRevisions) == 0 {
		return
	}
	e := r.entry(key)
	e.wanted, e.current, e.begun = nil, nil, nil
	r.add(key, 0)
}

// Forget drops everything that is kept for a deleted AuditSync.
func (r *Reporter) Forget(key types.NamespacedName) {
	if r != nil {
		r.forget(key, false)
	}
}

// forget drops the entry of an AuditSync, if it is idle or needn't be.
func (r *Reporter) forget(key types.NamespacedName, onlyIdle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[key]
	if e == nil || onlyIdle && (e.begun != nil || len(e.wanted) > 0) {
		return
	}
	delete(r.entries, key)
	r.Metrics.ForgetForge(key.Namespace, key.Name)
}

// SetCondition sets the condition Reported in a status of an AuditSync, from the result of the last attempt to post.
func (r *Reporter) SetCondition(audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	if audit.Spec.Forge == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReported)
		return
	}
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[client.ObjectKeyFromObject(audit)]; e != nil && e.condition != nil {
		condition := *e.condition
		condition.ObservedGeneration = audit.Generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
}

// result records the result of the last attempt, and asks for a sync if it differs from the one before.
func (r *Reporter) result(ctx context.Context, audit *v1alpha1.AuditSync, status metav1.ConditionStatus, reason, message string) {
	r.mu.Lock()
	e := r.entries[client.ObjectKeyFromObject(audit)]
	if e == nil {
		r.mu.Unlock()
		return
	}
	before := e.condition
	e.condition = &metav1.Condition{Type: v1alpha1.ConditionReported, Status: status, Reason: reason,
		Message: report.Cut(e.redactor.String(message), maxCondition)}
	same := before != nil && *before == *e.condition
	r.mu.Unlock()
	if !same {
		r.requestSync(ctx, audit)
	}
}

func (r *Reporter) requestSync(ctx context.Context, audit *v1alpha1.AuditSync) {
	select {
	case r.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}
