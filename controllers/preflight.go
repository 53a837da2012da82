package controllers

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"k8s.io/client-go/rest"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/preflights"
	"github.com/muster-gitops/muster/controllers/report"
)

// preflight tells the checks of credentials what is applied, and returns their results so far; nil while they are unknown.
func (r *Reconciler) preflight(ctx context.Context, audit *v1alpha1.AuditSync, st *state, rendered *fleet.Opened) *report.Preflight {
	inventories, err := r.ownInventories(ctx, audit)
	if err != nil {
		rendered = nil // the sync reports it
	}
	return r.Preflights.Look(preflights.Sync{AuditSync: audit, Fleet: rendered, Inventories: inventories, Redactor: st.redactor})
}

// addressesOf returns a function that finds the addresses of a configuration's API server.
func addressesOf(cfg *rest.Config) func(context.Context) ([]netip.Addr, error) {
	return func(ctx context.Context) ([]netip.Addr, error) {
		u, _, err := rest.DefaultServerUrlFor(cfg)
		if err != nil {
			return nil, fmt.Errorf("read its address: %w", err)
		}
		return net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	}
}
