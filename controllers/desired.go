package controllers

import (
	"context"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// desire returns what is to be planned and applied of the rendered fleet. Equal inputs give the same pointer, which is how a settled
// sync is recognized.
func (r *Reconciler) desire(ctx context.Context, audit *v1alpha1.AuditSync, st *state) (*fleet.Opened, *report.Failure) {
	return r.gate(ctx, audit, st, st.fleet)
}
