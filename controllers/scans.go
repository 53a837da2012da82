package controllers

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scans"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// scans sets the scan results of all clusters that Muster applied in the outcome, and starts the scans of changed clusters. It returns
// when to reconcile again even if nothing happens; zero for never.
func (r *Reconciler) scans(ctx context.Context, audit *v1alpha1.AuditSync, st *state, o *report.Outcome) time.Time {
	if r.Scans == nil {
		return time.Time{}
	}
	missing, ready := r.Scans.Ready()
	if o.ScanNotes.Unknown = missing; !ready {
		return time.Time{} // without a missing permission, keep the last report until the scans have been listed
	}
	live, failure := r.existing(ctx, audit, r.Client)
	if failure != nil {
		return time.Time{} // the sync reports the failure
	}
	inventories, err := r.ownInventories(ctx, audit)
	if err != nil {
		return time.Time{} // as above
	}
	result := r.Scans.Look(ctx, &st.scans, scans.Sync{AuditSync: audit, AuditConfigs: live, Inventories: inventories,
		Revision: o.AppliedRevision(audit), Redact: st.redactor.String})
	o.Scan, o.Scans, o.ScanNotes = result.Verdict, result.Statuses, result.Notes
	return result.Again
}

// ownInventories returns the inventories of an AuditSync. It skips damaged ones, which the sync reports.
func (r *Reconciler) ownInventories(ctx context.Context, audit *v1alpha1.AuditSync) ([]*inventory.Inventory, error) {
	var configMaps corev1.ConfigMapList
	if err := r.list(ctx, &configMaps, audit.Namespace, client.HasLabels{inventory.Label}); err != nil {
		return nil, err
	}
	var list []*inventory.Inventory
	for i, stored := range r.inventories.decode(audit.Namespace, configMaps.Items) {
		if stored.err == nil && configMaps.Items[i].Labels[fleet.LabelSync] == audit.Name {
			list = append(list, stored.inventory)
		}
	}
	return list, nil
}

// record writes an inventory, unless a newer one is stored.
func (r *Reconciler) record(ctx context.Context, namespace string, applied *inventory.Inventory) error {
	config, err := inventoryConfig(namespace, applied)
	if err != nil {
		return err
	}
	return r.Client.Apply(ctx, config, client.FieldOwner(FieldManager), client.ForceOwnership)
}

// nextLook returns how long to wait until the next reconcile: pause, or less for scans. If the sync is retried after the pause, scans
// don't shorten it.
func (r *Reconciler) nextLook(audit *v1alpha1.AuditSync, pause time.Duration, again time.Time, o report.Outcome) time.Duration {
	if r.Scans == nil {
		return pause
	}
	retry := o.Fetch != nil || o.Render != nil || o.Apply != nil || o.Fleet != nil && o.Fleet.Retry
	return r.Scans.Pause(client.ObjectKeyFromObject(audit), pause, retry, again)
}

// scanStatusChanged reports whether scanningPaused or a reported scan in the operator's status has changed.
func scanStatusChanged(e event.TypedUpdateEvent[*unstructured.Unstructured]) bool {
	return scanstate.ScanningPaused(e.ObjectOld.Object) != scanstate.ScanningPaused(e.ObjectNew.Object) ||
		!maps.Equal(scanstate.ReportedScans(e.ObjectOld.Object), scanstate.ReportedScans(e.ObjectNew.Object))
}
