package controllers

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
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

// gate holds the clusters whose new credential must not be applied yet.
func (r *Reconciler) gate(ctx context.Context, audit *v1alpha1.AuditSync, st *state, rendered *fleet.Opened) (*fleet.Opened, *report.Failure) {
	if !audit.Spec.Preflight.On() {
		return rendered, nil
	}
	inventories, err := r.ownInventories(ctx, audit)
	if err != nil {
		return nil, classifyRead(err)
	}
	configs, failure := r.existing(ctx, audit, r.Client)
	if failure != nil {
		return nil, failure
	}
	gated := r.Preflights.Gate(preflights.Sync{AuditSync: audit, Fleet: rendered, Inventories: inventories, Redactor: st.redactor}, preflights.Live{
		Entry: entriesOf(configs), Secret: r.secretData(ctx, audit.Namespace), Scanning: r.scanning(audit.Namespace)})
	if gated != rendered && gated != st.desired {
		mask(st.redactor, gated.Findings)
	}
	return gated, nil
}

// entriesOf returns a function that finds the entry of a cluster in the live audit configs.
func entriesOf(configs map[string]map[string]any) func(auditConfig, cluster string) (mondoo.Entry, bool) {
	known := map[string]map[string]map[string]any{}
	return func(auditConfig, cluster string) (mondoo.Entry, bool) {
		if known[auditConfig] == nil {
			known[auditConfig] = map[string]map[string]any{}
			raw, _ := mondoo.Entries(configs[auditConfig]) // a list that can't be read has no entries
			for _, entry := range raw {
				known[auditConfig][mondoo.TextAt(entry, "name")] = entry
			}
		}
		raw, exists := known[auditConfig][cluster]
		if !exists {
			return mondoo.Entry{}, false
		}
		entry, err := mondoo.ParseEntry(raw)
		return entry, err == nil
	}
}

// secretData returns a function that reads the data of a Secret from the cache.
func (r *Reconciler) secretData(ctx context.Context, namespace string) func(name string) map[string][]byte {
	return func(name string) map[string][]byte {
		var secret corev1.Secret
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret, client.UnsafeDisableDeepCopy); err != nil {
			return nil // a Secret that can't be read counts as another one, so that what is to replace it is checked
		}
		return secret.Data
	}
}

// scanning returns a function that reports whether a scan of a cluster runs, as far as scans are observed.
func (r *Reconciler) scanning(namespace string) func(auditConfig, cluster string) bool {
	if r.Scans == nil {
		return func(string, string) bool { return false }
	}
	return func(auditConfig, cluster string) bool { return r.Scans.Running(namespace, auditConfig, cluster) }
}

// token returns a token of a ServiceAccount that is valid for ten minutes, the least that Kubernetes gives.
func (r *Reconciler) token(ctx context.Context, namespace, serviceAccount string) (string, error) {
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, serviceAccount
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(600))}}
	if err := r.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", err
	}
	return request.Status.Token, nil
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
