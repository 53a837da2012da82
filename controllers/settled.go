package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
)

// settled is the last sync that found everything as it should be. While its inputs are the same, so is its result, and the next sync
// decides so from the inputs alone. The zero value is no such sync. What depends on the clock is never settled, or ends it.
type settled struct {
	// seen are the inputs of plan, except for what is observed. The plan is one for st.desired if that is still fleet.
	seen  seen
	fleet *fleet.Opened
	plan  *plan.Plan
	// reported is what was reported of the plan; nil for nothing.
	reported *reported
}

// seen are the inputs of a sync, except for the clock and the repository. It is read before any of them: a change that comes in between
// then costs another full sync, and is never missed.
//
// What few things change is compared. Of what thousands of objects have, only changes are counted. Watches count a change before they
// request the sync for it, so no sync that was requested for a change can miss it.
type seen struct {
	// sync is the AuditSync's spec and annotations, and syncs are the specs of all AuditSyncs in the namespace.
	sync, syncs string
	// changes counts the changes of Secrets, inventories and audit configs in the namespace. observed counts those of scans and of
	// preflight results, which are reported and never planned.
	changes, observed uint64
}

// reported is a complete report, and the rest of what it depends on.
type reported struct {
	observed uint64 // as in seen
	revision gitsync.Revision
	// version is the version of the AuditSync as the report has left it.
	version string
	outcome report.Outcome
	// until is when the outcome may become another one. again is when to look at scans again; zero for never.
	until, again time.Time
}

// changed counts a change of an object that plans depend on. Watches call it before they request a sync.
func (r *Reconciler) changed(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes[namespace]++
}

// see returns the present inputs of a sync; zero if they can't be read, or if no watch counts changes.
func (r *Reconciler) see(ctx context.Context, audit *v1alpha1.AuditSync) seen {
	if r.changes == nil {
		return seen{}
	}
	r.mu.Lock()
	s := seen{sync: fmt.Sprintf("%s %d %q", audit.UID, audit.Generation, audit.Annotations), changes: r.changes[audit.Namespace]}
	r.mu.Unlock()
	s.observed = r.Preflights.Changes(client.ObjectKeyFromObject(audit))
	if r.Scans != nil {
		s.observed += r.Scans.Changes(audit.Namespace)
	}
	var list v1alpha1.AuditSyncList
	if err := r.list(ctx, &list, audit.Namespace); err != nil {
		return seen{}
	}
	syncs := make([]string, len(list.Items))
	for i := range list.Items {
		syncs[i] = fmt.Sprintf("%s %s %d", list.Items[i].Name, list.Items[i].UID, list.Items[i].Generation)
	}
	slices.Sort(syncs)
	s.syncs = strings.Join(syncs, "\n")
	return s
}

// sameObjects reports whether everything but what is observed is the same, and known.
func (s seen) sameObjects(other seen) bool {
	s.observed = other.observed
	return s == other && s != seen{}
}

// settledPlan returns the plan for the present fleet and revision, or nil if it has to be computed.
func (st *state) settledPlan(audit *v1alpha1.AuditSync, now seen) *plan.Plan {
	s := &st.settled
	if s.plan == nil || s.fleet != st.desired || !s.seen.sameObjects(now) || syncRequested(audit) {
		return nil
	}
	p := *s.plan
	p.Revision = st.snapshot.Revision().Hash
	return &p
}

// settle remembers a plan if it stays the same until an input changes, at any time and for any revision with the same fleet. Past
// corrections, approvals and undeclared fields expire.
func (st *state) settle(p *plan.Plan, live plan.Live, now seen) {
	st.settled = settled{}
	if !p.Empty() || p.Stopped || p.Waiting || len(p.Steps)+len(p.NotKept)+len(p.Contested)+p.Held > 0 || !p.Next.IsZero() || p.Mismatch != "" ||
		len(st.undeclared) > 0 || slices.ContainsFunc(live.Inventories, func(i *inventory.Inventory) bool { return !i.Settled() }) {
		return
	}
	st.settled = settled{seen: now, fleet: st.desired, plan: p}
}

// unchanged reports whether a sync would find and report what the last one did. The snapshot must have been fetched just now.
func (r *Reconciler) unchanged(audit *v1alpha1.AuditSync, st *state, now seen) bool {
	last := st.settled.reported
	return last != nil && st.settledPlan(audit, now) != nil && last.observed == now.observed && last.revision == st.snapshot.Revision() && last.version == audit.ResourceVersion &&
		r.Clock.Now().Before(last.until)
}

// remember remembers what was reported if that, too, stays the same until an input changes.
func (st *state) remember(audit *v1alpha1.AuditSync, o report.Outcome, now seen, again time.Time) {
	st.settled.reported = nil
	if st.settled.plan == nil || !o.Complete() || o.Refused != "" || o.Fleet.Provisional || o.Fleet.Retry {
		return
	}
	until := st.rendered.day.AddDate(0, 0, 1) // a fleet is rendered anew each day
	for _, at := range []time.Time{again, o.Fleet.Changes} {
		if !at.IsZero() && at.Before(until) {
			until = at
		}
	}
	st.settled.reported = &reported{observed: now.observed, revision: st.snapshot.Revision(), version: audit.ResourceVersion, outcome: o, until: until, again: again}
}

// staysSettled ends a sync that is unchanged. What the status has beside the outcome may have changed.
func (r *Reconciler) staysSettled(ctx context.Context, audit *v1alpha1.AuditSync, st *state) (ctrl.Result, error) {
	log.FromContext(ctx).V(1).Info("nothing has changed since the last sync")
	last := st.settled.reported
	status := *audit.Status.DeepCopy()
	r.otherStatus(ctx, audit, &status)
	if err := r.patchStatus(ctx, audit, status); err != nil {
		return ctrl.Result{}, err
	}
	last.version = audit.ResourceVersion
	r.Metrics.Unchanged(audit.Namespace, audit.Name)
	return ctrl.Result{RequeueAfter: r.nextLook(audit, r.next(audit, st, last.outcome), last.again, last.outcome)}, nil
}
