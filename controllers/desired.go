package controllers

import (
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// desire returns what is to be planned and applied of the rendered fleet. Equal inputs give the same pointer, which is how a settled
// sync is recognized.
func (r *Reconciler) desire(_ *v1alpha1.AuditSync, st *state) *fleet.Opened { return st.fleet }
