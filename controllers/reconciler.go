package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/commitstatus"
	"github.com/muster-gitops/muster/controllers/preflights"
	"github.com/muster-gitops/muster/controllers/pullrequest"
	"github.com/muster-gitops/muster/controllers/renewals"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scans"
	"github.com/muster-gitops/muster/controllers/sources"
)

// Muster's field managers; see package plan.
const (
	FieldManager = plan.FieldManager
	ListManager  = plan.ListManager
)

// Reconciler reconciles AuditSyncs.
type Reconciler struct {
	// Client reads through caches and sees its own writes.
	Client client.Client
	// Live reads from the API server objects that are needed too rarely to be cached.
	Live client.Reader
	// As returns a client that writes as a ServiceAccount.
	As func(namespace, serviceAccount string) (client.Client, error)
	// Events records an event when something changes.
	Events  events.EventRecorder
	Metrics *report.Metrics
	Clock   clock.PassiveClock
	// Keys requests data keys from key services, for all AuditSyncs.
	Keys *keys.Remote
	// CacheDir holds the clones of repositories. It may be lost at any time.
	CacheDir string
	// Scans observes scans; nil turns that off.
	Scans *scans.Observer
	// SyncTimeout bounds one sync of one AuditSync; 0 means DefaultSyncTimeout.
	SyncTimeout time.Duration
	// renders limits how many AuditSyncs are rendered at the same time; nil means no limit.
	renders *semaphore.Weighted
	// Statuses posts commit statuses to forges; nil for none.
	Statuses *commitstatus.Reporter
	// PullRequests answers pull requests; nil answers none.
	PullRequests *pullrequest.Checker
	// Preflights checks the credentials of clusters; nil checks none.
	Preflights *preflights.Checker
	// Renewals renews tokens; nil renews none.
	Renewals *renewals.Renewer
	// Sources reads credentials that come from elsewhere; nil reads none.
	Sources *sources.Reader
	// Webhooks is true if this process receives webhooks.
	Webhooks bool

	inventories inventories
	clones      clones

	mu     sync.Mutex
	states map[types.NamespacedName]*state
	// outside are the Secrets that the plan of each AuditSync depends on but that it did not apply; sorted.
	outside map[types.NamespacedName][]string
	// subjects are what pull requests are judged with.
	subjects map[types.NamespacedName]*subject
	// requests are the last requests for a sync that watches have seen.
	requests map[types.NamespacedName]request
	// changes counts, by namespace, the changes of objects that plans depend on; nil without watches.
	changes map[string]uint64
}

// Reconcile syncs one AuditSync.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	audit := &v1alpha1.AuditSync{}
	if err := r.Client.Get(ctx, req.NamespacedName, audit); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("get AuditSync: %w", err)
	}
	if !audit.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, audit)
	}
	if audit.Spec.Suspend {
		r.Metrics.Suspended(audit.Namespace, audit.Name)
		r.Statuses.Stop(audit)
		r.Preflights.Forget(req.NamespacedName)
		r.Renewals.Forget(req.NamespacedName)
		r.Sources.Forget(req.NamespacedName)
		return ctrl.Result{}, r.suspended(ctx, audit)
	}
	if controllerutil.AddFinalizer(audit, v1alpha1.Finalizer) {
		if err := r.patchFinalizers(ctx, audit); err != nil {
			return ctrl.Result{}, err
		}
	}
	st := r.state(req.NamespacedName)
	if st.watchdog.stuck() {
		// An earlier sync has overrun, has been reported, and is still running. A reconcile after its end continues.
		return ctrl.Result{RequeueAfter: min(time.Minute, interval(audit))}, nil
	}
	started, now := r.Clock.Now(), r.see(ctx, audit)
	r.Metrics.Begin(req.Namespace, req.Name)
	outcome, overrun := st.watchdog.run(ctx, r.syncTimeout(), func(ctx context.Context) report.Outcome { return r.sync(ctx, audit.DeepCopy(), st, now) })
	if overrun != nil {
		return r.overran(ctx, audit, st, overrun)
	}
	if outcome.Unchanged {
		r.Metrics.Duration(req.Namespace, req.Name, r.Clock.Since(started))
		return r.staysSettled(ctx, audit, st)
	}
	again := r.scans(ctx, audit, st, &outcome)
	outcome.Preflight = r.preflight(ctx, audit, st, outcome.Fleet)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	r.Metrics.Duration(req.Namespace, req.Name, r.Clock.Since(started))
	outcome.Changes = st.tally.Note(audit.Status, outcome)
	before := audit.DeepCopy()
	if err := r.report(ctx, audit, outcome); err != nil {
		return ctrl.Result{}, err
	}
	r.Statuses.Show(before, audit.Status, outcome, st.redactor)
	r.rebase(audit)
	if outcome.Plan != nil {
		r.PullRequests.Held(audit, outcome.Plan.Approval)
	}
	st.remember(audit, outcome, now, again)
	return ctrl.Result{RequeueAfter: r.nextLook(audit, r.next(audit, st, outcome), again, outcome)}, nil
}

// overran reports a sync that took too long. It doesn't touch the state, which may still be in use. The next attempt comes at the next
// interval, because an earlier one would most likely take too long as well.
func (r *Reconciler) overran(ctx context.Context, audit *v1alpha1.AuditSync, st *state, f *report.Failure) (ctrl.Result, error) {
	outcome := st.watchdog.overran(f, audit)
	if err := r.report(ctx, audit, outcome); err != nil {
		return ctrl.Result{}, err
	}
	r.rebase(audit)
	return ctrl.Result{RequeueAfter: interval(audit)}, nil
}

func (r *Reconciler) syncTimeout() time.Duration {
	if r.SyncTimeout > 0 {
		return r.SyncTimeout
	}
	return DefaultSyncTimeout
}

// sync runs all stages once. Failures are in the outcome, with secrets masked.
func (r *Reconciler) sync(ctx context.Context, audit *v1alpha1.AuditSync, st *state, now seen) report.Outcome {
	o := report.Outcome{Now: r.Clock.Now(), Mask: st.redactor.String, Corrects: audit.Spec.Drift != v1alpha1.DriftReport}
	st.watchdog.enter(stageFetch)
	o.Fetch = r.fetch(ctx, audit, st)
	o.Refused = st.refused
	if st.snapshot == nil || o.Fetch != nil && st.origin != originOf(audit) {
		return o // no snapshot, or one from the AuditSync's previous source
	}
	o.Revision = st.snapshot.Revision().String()
	if o.Fetch == nil && r.unchanged(audit, st, now) {
		o.Unchanged = true
		return o
	}
	r.Statuses.Begin(audit, o.Revision, st.redactor)
	st.watchdog.enter(stageRender)
	if o.Render = r.render(ctx, audit, st); o.Render != nil {
		return o
	}
	if st.desired, o.Render = r.desire(ctx, audit, st); o.Render != nil {
		return o
	}
	o.Fleet = st.desired
	st.watchdog.enter(stageApply)
	for {
		o.Plan, o.Apply = r.plan(ctx, audit, st, now)
		r.rememberOutside(client.ObjectKeyFromObject(audit), o.Plan)
		if o.Apply != nil || o.Plan.Empty() {
			return o
		}
		if o.Apply = r.apply(ctx, audit, st, o.Plan); !st.learned {
			return o
		}
	}
}

// rememberOutside stores the Secrets that a plan depends on and that the AuditSync did not apply.
func (r *Reconciler) rememberOutside(key types.NamespacedName, p *plan.Plan) {
	if p == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outside == nil {
		r.outside = map[types.NamespacedName][]string{}
	}
	r.outside[key] = p.Outside
}

// dependsOn reports whether the plan of an AuditSync depends on a Secret that it did not apply.
func (r *Reconciler) dependsOn(key types.NamespacedName, secret string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, found := slices.BinarySearch(r.outside[key], secret)
	return found
}

// report writes status, events and metrics if they have changed.
func (r *Reconciler) report(ctx context.Context, audit *v1alpha1.AuditSync, o report.Outcome) error {
	status := report.Status(audit, o)
	r.otherStatus(ctx, audit, &status)
	r.Metrics.Sync(audit, interval(audit), status, o)
	r.recordEvents(ctx, audit, report.Events(audit, status, o))
	return r.patchStatus(ctx, audit, status)
}

// otherStatus sets the part of a status that doesn't come from a sync.
func (r *Reconciler) otherStatus(ctx context.Context, audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	r.webhookStatus(ctx, audit, status)
	r.Statuses.SetCondition(audit, status)
	r.PullRequests.SetCondition(audit, status)
}

// suspended reports that an AuditSync is suspended.
func (r *Reconciler) suspended(ctx context.Context, audit *v1alpha1.AuditSync) error {
	status := report.Suspended(audit)
	if before := meta.FindStatusCondition(audit.Status.Conditions, v1alpha1.ConditionReady); before == nil || before.Reason != report.ReasonSuspended {
		r.recordEvents(ctx, audit, []report.Event{{Type: corev1.EventTypeNormal, Reason: report.ReasonSuspended, Action: "Sync", Note: "suspended"}})
	}
	return r.patchStatus(ctx, audit, status)
}

func (r *Reconciler) patchStatus(ctx context.Context, audit *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus) error {
	if equality.Semantic.DeepEqual(audit.Status, status) {
		return nil
	}
	before := audit.DeepCopy()
	audit.Status = status
	err := r.Client.Status().Patch(ctx, audit, client.MergeFrom(before), client.FieldOwner(FieldManager))
	if err = client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("patch status: %w", err)
	}
	return nil
}

// recordEvents records events, and logs the same texts.
func (r *Reconciler) recordEvents(ctx context.Context, audit *v1alpha1.AuditSync, list []report.Event) {
	for _, e := range list {
		r.Events.Eventf(audit, e.Related, e.Type, e.Reason, e.Action, "%s", e.Note)
		log.FromContext(ctx).Info("sync changed", "reason", e.Reason, "note", e.Note)
	}
}

// next returns how long to wait until the next sync: until the next interval, or less after a failure that may be temporary.
func (r *Reconciler) next(audit *v1alpha1.AuditSync, st *state, o report.Outcome) time.Duration {
	interval := interval(audit)
	due := interval - r.Clock.Since(st.fetched)
	if due <= 0 {
		due = interval // the fetch was due but did not run: a user has to change something first
	}
	if o.Plan != nil && !o.Plan.Next.IsZero() {
		due = min(due, max(o.Plan.Next.Sub(r.Clock.Now()), time.Second))
	}
	if o.Complete() {
		st.failures = 0
		return due
	}
	for _, f := range []*report.Failure{o.Fetch, o.Render, o.Apply} {
		if f != nil && f.Class != report.Rejected {
			st.failures++
			return min(backoff(st.failures), interval)
		}
	}
	if o.Fleet != nil && o.Fleet.Retry {
		st.failures++
		return min(backoff(st.failures), interval)
	}
	if o.Plan != nil && o.Plan.Waiting {
		return min(10*time.Second, interval)
	}
	return due
}

// backoff starts at one second and doubles with each failure.
func backoff(failures int) time.Duration {
	const most = 10
	return time.Second << min(failures-1, most)
}

func interval(audit *v1alpha1.AuditSync) time.Duration {
	const standard = 5 * time.Minute
	if audit.Spec.Interval == nil || audit.Spec.Interval.Duration <= 0 {
		return standard
	}
	return audit.Spec.Interval.Duration
}

func (r *Reconciler) patchFinalizers(ctx context.Context, audit *v1alpha1.AuditSync) error {
	before := audit.DeepCopy()
	if controllerutil.ContainsFinalizer(audit, v1alpha1.Finalizer) {
		controllerutil.RemoveFinalizer(before, v1alpha1.Finalizer)
	} else {
		controllerutil.AddFinalizer(before, v1alpha1.Finalizer)
	}
	// A merge patch replaces the whole list, so it must fail if the list has changed in between.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Patch(ctx, audit, patch, client.FieldOwner(FieldManager))
	if err = client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("patch finalizers: %w", err)
	}
	return nil
}

// repositoryDir returns the directory of the clone for an AuditSync's pull requests. Namespaces and names contain no path separators.
func (r *Reconciler) repositoryDir(key types.NamespacedName) string {
	return filepath.Join(r.CacheDir, key.Namespace, key.Name)
}

// forget drops everything that is kept for a deleted AuditSync.
func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	st := r.states[key]
	delete(r.states, key)
	delete(r.outside, key)
	delete(r.subjects, key)
	delete(r.requests, key)
	r.mu.Unlock()
	if st != nil {
		st.watchdog.after(func() {
			st.drop()
			r.clones.release(st.clone)
		})
	}
	r.Metrics.Forget(key.Namespace, key.Name)
	r.Statuses.Forget(key)
	r.PullRequests.Forget(key)
	r.Preflights.Forget(key)
	r.Renewals.Forget(key)
	r.Sources.Forget(key)
	if r.Scans != nil {
		r.Scans.Forget(key)
	}
	// A clone that can't be removed only costs disk space, and the next start of the Pod clears it.
	_ = os.RemoveAll(r.repositoryDir(key))
}

// Impersonate returns a function that returns clients which impersonate ServiceAccounts. They write, and read Secrets of other
// namespaces.
func Impersonate(config *rest.Config, options client.Options) func(namespace, serviceAccount string) (client.Client, error) {
	var mu sync.Mutex
	clients := map[string]client.Client{}
	return func(namespace, serviceAccount string) (client.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		user := "system:serviceaccount:" + namespace + ":" + serviceAccount
		if c := clients[user]; c != nil {
			return c, nil
		}
		as := rest.CopyConfig(config)
		as.Impersonate = rest.ImpersonationConfig{UserName: user}
		// The shared HTTP client would keep Muster's identity.
		o := options
		o.HTTPClient = nil
		c, err := client.New(as, o)
		if err != nil {
			return nil, fmt.Errorf("impersonate %s: %w", user, err)
		}
		clients[user] = c
		return c, nil
	}
}
