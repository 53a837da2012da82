package preflights

import (
	"context"
	"fmt"
	"time"

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
	target := preflight.TargetOf(j.fleet, j.cluster, c.Clock.Now())
	target.UID = j.uid
	result := c.Check(ctx, target, preflight.Options{Allow: j.policy.allow, Proxies: j.policy.proxies, Management: management, Redactor: j.redactor, Now: c.Clock.Now})
	if ctx.Err() != nil {
		return reconcile.Result{}, nil // it was interrupted
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.syncs[it.NamespacedName]
	if f == nil || f.checks[it.cluster] != j.check {
		return reconcile.Result{}, nil // the cluster has changed in the meantime, and is in the queue again
	}
	f.record(it.cluster, result, c.Clock.Now())
	if f.complete() {
		c.queue.AddAfter(item{NamespacedName: it.NamespacedName}, debounce)
	}
	return reconcile.Result{RequeueAfter: j.due.Sub(c.Clock.Now())}, nil
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
	return f.job(it.cluster), 0
}

func (c *Checker) request(ctx context.Context, it item) {
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = it.Namespace, it.Name
	select {
	case c.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}
