package controllers

import (
	"context"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/renewals"
	"github.com/muster-gitops/muster/controllers/report"
)

// desire returns what is to be planned and applied of the rendered fleet. Equal inputs give the same pointer, which is how a settled
// sync is recognized.
func (r *Reconciler) desire(ctx context.Context, audit *v1alpha1.AuditSync, st *state) (*fleet.Opened, *report.Failure) {
	r.Sources.Await(ctx, audit, st.fleet, st.redactor)
	if err := ctx.Err(); err != nil {
		return nil, r.classifyRender(err, st) // an abandoned sync takes up no AuditSync that may be gone by now
	}
	f, failure := r.renewed(ctx, audit, st, r.Sources.Supply(audit, st.fleet, st.redactor))
	if failure != nil {
		return nil, failure
	}
	return r.gate(ctx, audit, st, f)
}

// renewed puts the renewed tokens in the place of those in Git.
func (r *Reconciler) renewed(ctx context.Context, audit *v1alpha1.AuditSync, st *state, f *fleet.Opened) (*fleet.Opened, *report.Failure) {
	f, err := r.Renewals.Amend(ctx, renewals.Sync{AuditSync: audit, Fleet: f, Redactor: st.redactor, Requested: syncRequested(audit)})
	if err != nil {
		return nil, classifyRead(err)
	}
	return f, nil
}
