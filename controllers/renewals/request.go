package renewals

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Reconcile requests a token for the cluster of an item, if that is due, or requests a reconcile of its AuditSync.
func (r *Renewer) Reconcile(ctx context.Context, it item) (reconcile.Result, error) {
	if it.cluster == (cluster{}) {
		r.request(ctx, it)
		return reconcile.Result{}, nil
	}
	j, wait := r.job(it)
	if j == nil {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	management, err := r.Management(ctx)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("find the addresses of the management cluster: %w", err)
	}
	j.options.Management, j.options.Redactor, j.options.Now = management, j.Redactor, r.Clock.Now
	granted, attempts := r.attempt(ctx, j)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil // it was interrupted
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.syncs[it.NamespacedName]
	if f == nil || f.tokens[it.cluster] != j.token {
		return reconcile.Result{}, nil // the seed has changed in the meantime, and the cluster is in the queue again
	}
	return reconcile.Result{RequeueAfter: r.record(f, it, granted, attempts)}, nil
}

// job is a token to request, with what it takes. It contains secrets.
type job struct {
	*token
	Sync
	options  preflight.Options
	cluster  fleet.Cluster
	secret   fleet.Secret
	seed     renew.Seed
	lifetime time.Duration
	with     []string
}

// job returns what to request for an item, or how long to wait until it is due. It returns neither for a cluster that has nothing to
// renew, or nothing to do it with.
func (r *Renewer) job(it item) (*job, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.syncs[it.NamespacedName]
	if f == nil || f.tokens[it.cluster] == nil {
		return nil, 0
	}
	t, now := f.tokens[it.cluster], r.Clock.Now()
	r.tell(f, it, t, now)
	with := t.Attempts(now)
	if wait := t.due.Sub(now); wait > 0 || t.Off != "" || len(with) == 0 {
		return nil, t.wake(now)
	}
	j := &job{token: t, Sync: f.Sync, options: preflight.Options{Allow: f.allow, Proxies: f.Spec.Preflight.AllowProxies},
		cluster: *t.in, secret: *t.secret, seed: t.Seed, lifetime: t.lifetime, with: with}
	j.cluster.Quarantined = false // it may be held because it has no token
	return j, 0
}

// wake returns how long until something happens to a token by itself; 0 for never.
func (t *token) wake(now time.Time) time.Duration {
	var wait time.Duration
	if t.Off == "" && len(t.Attempts(now)) > 0 {
		wait = max(t.due.Sub(now), time.Millisecond)
	}
	if turn := t.Turn(now); !turn.IsZero() && (wait == 0 || turn.Sub(now) < wait) {
		wait = max(turn.Sub(now), time.Millisecond)
	}
	return wait
}

// attempt requests a token, first with the last one and then, if the server rejects that, with the seed.
func (r *Renewer) attempt(ctx context.Context, j *job) (renew.Token, []renew.Attempt) {
	var attempts []renew.Attempt
	for _, with := range j.with {
		status, body, failed := r.Post(ctx, j.target(with, r.Clock.Now()), j.options, j.seed.Account.Path(), renew.Request(j.lifetime))
		failure := broken(failed)
		if failure == nil {
			var granted renew.Token
			if granted, failure = j.seed.Answer(status, body, with, r.Clock.Now()); failure == nil {
				if failure = r.check(ctx, j, granted.Value); failure == nil {
					return granted, nil
				}
			}
		}
		attempts = append(attempts, renew.Attempt{With: with, Failure: failure})
		if !failure.Rejected {
			break
		}
	}
	return renew.Token{}, attempts
}

// target is the server in the file with a token.
func (j *job) target(with string, now time.Time) preflight.Target {
	alone := &fleet.Opened{Namespace: j.Namespace, Secrets: []fleet.Secret{j.seed.Supply(j.secret, with)}}
	return preflight.TargetOf(alone, &j.cluster, now)
}

// broken is the failure of a request that had no answer.
func broken(failed *preflight.Check) *renew.Failure {
	if failed == nil {
		return nil
	}
	return &renew.Failure{Message: failed.Message, Fix: failed.Fix}
}

// check checks that a new token works. What it may read is as before, and is not checked.
func (r *Renewer) check(ctx context.Context, j *job, granted string) *renew.Failure {
	redactor := "renewed " + j.id
	j.Redactor.AddFor(redactor, granted)
	defer j.Redactor.Forget(redactor)
	result := r.Check(ctx, j.target(granted, r.Clock.Now()), j.options)
	failed := result.Failure()
	if failed == nil || slices.Index(preflight.Names, failed.Name) > slices.Index(preflight.Names, preflight.Login) {
		return nil
	}
	return &renew.Failure{Message: "a new token was granted, and does not work: " + failed.Message, Fix: failed.Fix}
}

// record records the result of a job, and returns when to look at the cluster again.
func (r *Renewer) record(f *fleetState, it item, granted renew.Token, attempts []renew.Attempt) time.Duration {
	t, now := f.tokens[it.cluster], r.Clock.Now()
	if granted.Value != "" {
		t.learn(f.Redactor, it.cluster, granted.Value)
		t.Granted(granted)
		t.due = granted.Due(spread(it.cluster))
		if earliest := now.Add(soonest); t.due.Before(earliest) {
			t.due = earliest
		}
		r.Log.V(1).Info("a token was renewed", "namespace", it.Namespace, "name", it.Name, "cluster", f.Redactor.String(it.name), "expires", granted.Expires)
	} else {
		t.Failed(attempts, now)
		t.due = now.Add(t.Retry(spread(it.cluster), now))
	}
	r.tell(f, it, t, now)
	return t.wake(now)
}

// tell requests a reconcile if what others see of a token has changed.
func (r *Renewer) tell(f *fleetState, it item, t *token, now time.Time) {
	if f.note(t, now) {
		r.Count(it.Namespace)
		r.queue.AddAfter(item{NamespacedName: it.NamespacedName}, debounce)
	}
}

func (r *Renewer) request(ctx context.Context, it item) {
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = it.Namespace, it.Name
	select {
	case r.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}
