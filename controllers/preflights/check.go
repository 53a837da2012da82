package preflights

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Reconcile checks the cluster of an item, if that is due, or requests a reconcile of its AuditSync.
func (c *Checker) Reconcile(ctx context.Context, it item) (reconcile.Result, error) {
	if it.cluster == (cluster{}) {
		c.request(ctx, it)
		return reconcile.Result{}, nil
	}
	j, wait := c.job(it)
	if j == nil {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	management, err := c.Management(ctx)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("find the addresses of the management cluster: %w", err)
	}
	if err := c.logIn(ctx, it.Namespace, j); err != nil {
		return reconcile.Result{}, err
	}
	result := c.Check(ctx, j.target, preflight.Options{Allow: j.policy.allow, Proxies: j.policy.proxies, Management: management, Redactor: j.redactor, Now: c.Clock.Now})
	if ctx.Err() != nil {
		return reconcile.Result{}, nil // it was interrupted
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.syncs[it.NamespacedName]
	if f == nil || f.checks[it.cluster] != j.check {
		return reconcile.Result{}, nil // the cluster has changed in the meantime, and is in the queue again
	}
	c.tell(it, f, f.record(it.cluster, j.target.Place(), result, c.Clock.Now()))
	return reconcile.Result{RequeueAfter: j.due.Sub(c.Clock.Now())}, nil
}

// logIn completes a target whose credential comes from Vault. Without the permission to do so, it is not checked.
func (c *Checker) logIn(ctx context.Context, namespace string, j *job) error {
	if j.target.Vault == nil {
		return nil
	}
	token, err := c.Token(ctx, namespace, j.policy.operator)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		j.target = preflight.Target{Cluster: j.target.Cluster, NotChecked: "Muster can't create a token of the ServiceAccount " + j.policy.operator +
			", which spec.preflight.vaultAuth needs: " + string(apierrors.ReasonForError(err))}
	case err != nil:
		return fmt.Errorf("create a token of the ServiceAccount %s: %w", j.policy.operator, err)
	default:
		j.target.Vault.ServiceAccountToken = token
	}
	return nil
}

// tell requests a reconcile if there is something to report or to apply. The lock must be held.
func (c *Checker) tell(it item, f *fleetState, changed bool) {
	complete := f.complete()
	switch {
	case complete:
		c.queue.AddAfter(item{NamespacedName: it.NamespacedName}, debounce)
	case changed && f.unapplied(it.cluster): // it waits for no other cluster
		c.queue.AddAfter(item{NamespacedName: it.NamespacedName}, batch)
	}
	if complete && f.unsaved {
		f.unsaved = false
		c.Planned(it.Namespace)
	}
}

// job returns what to check for an item, or how long to wait until it is due. It returns nothing for a cluster that is no longer
// checked.
func (c *Checker) job(it item) (*job, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.syncs[it.NamespacedName]
	if f == nil || f.checks[it.cluster] == nil {
		return nil, 0
	}
	if wait := f.checks[it.cluster].due.Sub(c.Clock.Now()); wait > 0 {
		return nil, wait
	}
	return f.job(it.cluster, c.Clock.Now()), 0
}

func (c *Checker) request(ctx context.Context, it item) {
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = it.Namespace, it.Name
	select {
	case c.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}
