package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// finalize applies the deletion policy. With Orphan everything is kept, including the inventories, so that an AuditSync with the same
// name can continue from there.
func (r *Reconciler) finalize(ctx context.Context, audit *v1alpha1.AuditSync) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(audit, v1alpha1.Finalizer) {
		r.forget(client.ObjectKeyFromObject(audit))
		return ctrl.Result{}, nil
	}
	if audit.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		st := r.state(client.ObjectKeyFromObject(audit))
		if st.watchdog.stuck() {
			return ctrl.Result{RequeueAfter: time.Minute}, nil // the state is still in use
		}
		if failure := r.deleteAll(ctx, audit, st); failure != nil {
			if err := r.report(ctx, audit, report.Outcome{Apply: failure}); err != nil {
				return ctrl.Result{}, err
			}
			st.failures++
			return ctrl.Result{RequeueAfter: backoff(st.failures)}, nil
		}
	}
	if wait := r.Statuses.StopForDeletion(audit); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	controllerutil.RemoveFinalizer(audit, v1alpha1.Finalizer)
	if err := r.patchFinalizers(ctx, audit); err != nil {
		return ctrl.Result{}, fmt.Errorf("finish deletion: %w", err)
	}
	r.forget(client.ObjectKeyFromObject(audit))
	return ctrl.Result{}, nil
}

// deleteAll deletes everything in the inventories. It plans an empty fleet, and approves the held removals.
func (r *Reconciler) deleteAll(ctx context.Context, audit *v1alpha1.AuditSync, st *state) *report.Failure {
	live, failure := r.live(ctx, audit, r.reader(st))
	if failure != nil {
		return failure
	}
	empty := &fleet.Opened{Namespace: audit.Namespace, Sync: audit.Name}
	policy := plan.Policy{Revision: "deletion", Prune: true, MaxRemovals: "100%", Foreign: plan.KeepForeign, CorrectDrift: true}
	policy.Approved = plan.Compute(empty, live, policy).Approval
	p := plan.Compute(empty, live, policy)
	if !st.deletionReported { // only once, not for each attempt
		damaged, failure := r.damaged(ctx, audit)
		if failure != nil {
			return failure
		}
		r.recordEvents(ctx, audit, report.CleanUp(p, damaged, st.redactor.String))
		st.deletionReported = true
	}
	if p.Empty() {
		return nil
	}
	return r.apply(ctx, audit, st, p)
}

// damaged returns the ConfigMaps of an AuditSync whose inventory can't be read.
func (r *Reconciler) damaged(ctx context.Context, audit *v1alpha1.AuditSync) (names []string, _ *report.Failure) {
	var list corev1.ConfigMapList
	if err := r.list(ctx, &list, audit.Namespace, client.HasLabels{inventory.Label}); err != nil {
		return nil, classifyRead(err)
	}
	for i, stored := range r.inventories.decode(audit.Namespace, list.Items) {
		if c := &list.Items[i]; stored.err != nil && c.Labels[fleet.LabelSync] == audit.Name {
			names = append(names, c.Name)
		}
	}
	return names, nil
}
