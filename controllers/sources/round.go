package sources

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/policy"
	pure "github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Reconcile reads what is due from the server of an item, or requests a reconcile of its AuditSync.
func (r *Reader) Reconcile(ctx context.Context, it item) (reconcile.Result, error) {
	if it.server == (server{}) {
		r.request(ctx, it)
		return reconcile.Result{}, nil
	}
	round, wait := r.begin(it)
	if round == nil {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	started := r.Clock.Now()
	round.run(ctx)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil //nolint:nilerr // it was interrupted
	}
	log.FromContext(ctx).V(1).Info("read credentials", "reads", len(round.refs), "took", r.Clock.Since(started).String())
	return reconcile.Result{RequeueAfter: r.end(it, round)}, nil
}

// round is one pass over what is wanted from a server.
type round struct {
	refs []pure.Ref
	// all is true if everything is read, and false if only what is new is.
	all  bool
	read func(context.Context, pure.Ref) (*pure.Value, *pure.Problem)
	// begin logs in, and again does so anew after Vault has denied something. invalid explains that it still does.
	begin   func(context.Context) *pure.Problem
	again   func(context.Context, []pure.Ref) (bool, *pure.Problem)
	invalid func(context.Context) *pure.Problem

	conn    *conn
	results []pure.Result // by index in refs
}

// begin returns the round that is due, or how long to wait for the next; neither for a server from which nothing is wanted any more.
func (r *Reader) begin(it item) (*round, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.syncs[it.NamespacedName]
	if s == nil || s.conns[it.server] == nil {
		return nil, 0
	}
	c, now := s.conns[it.server], r.Clock.Now()
	ro := &round{conn: c, all: !now.Before(c.due)}
	for _, ref := range c.wanted {
		if ro.all || s.results[ref] == nil {
			ro.refs = append(ro.refs, ref)
		}
	}
	if len(ro.refs) == 0 || !ro.all && c.failures > 0 {
		return nil, max(c.due.Sub(now), time.Millisecond)
	}
	ro.results = make([]pure.Result, len(ro.refs))
	if it.server == apiServer {
		r.readSecrets(ro, it.NamespacedName, s.serviceAccount)
	} else {
		r.readVault(ro, it, s)
	}
	return ro, 0
}

// readSecrets has a round read Secrets.
func (r *Reader) readSecrets(ro *round, key types.NamespacedName, serviceAccount string) {
	ro.begin = func(context.Context) *pure.Problem { return nil }
	ro.read = func(ctx context.Context, ref pure.Ref) (*pure.Value, *pure.Problem) {
		if r.Shared && serviceAccount == "" && ref.Secret.Namespace != key.Namespace {
			return nil, unshared(ref)
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		secret, err := r.Foreign(ctx, key.Namespace, serviceAccount, types.NamespacedName{Namespace: ref.Secret.Namespace, Name: ref.Secret.Name})
		if err != nil {
			return nil, secretProblem(ref, serviceAccount, err)
		}
		return secretValue(secret), nil
	}
}

func secretProblem(ref pure.Ref, serviceAccount string, err error) *pure.Problem {
	switch {
	case apierrors.IsNotFound(err):
		return &pure.Problem{Code: pure.CodeMissing, Message: ref.String() + " does not exist", Fix: "correct the name, or create the Secret"}
	case apierrors.IsForbidden(err):
		who := "Muster's ServiceAccount"
		if serviceAccount != "" {
			who = "the ServiceAccount " + serviceAccount
		}
		return &pure.Problem{Code: pure.CodeDenied, Message: fmt.Sprintf("%s may not read %s", who, ref),
			Fix: "bind " + who + toRole(ref)}
	}
	return &pure.Problem{Code: pure.CodeUnavailable, Message: fmt.Sprintf("can't read %s: %s", ref, pure.Shown(err.Error())), Fix: "check the API server; Muster retries by itself"}
}

// unshared is the problem of an AuditSync that would have Muster use its rights in another namespace, though it shares Muster with
// AuditSyncs of other namespaces: Muster's rights are for all of them, and so for none of them alone.
func unshared(ref pure.Ref) *pure.Problem {
	return &pure.Problem{Code: pure.CodeDenied, Message: fmt.Sprintf("Muster serves AuditSyncs of several namespaces, and reads %s only as a ServiceAccount of the AuditSync's namespace", ref),
		Fix: "name one in serviceAccountName of the AuditSync, and bind it" + toRole(ref)}
}

// toRole ends a fix with the Role to bind to.
func toRole(ref pure.Ref) string {
	return fmt.Sprintf(" to a Role with get on secrets in the namespace %s: kubectl create role muster-credentials -n %[1]s --verb=get --resource=secrets --resource-name=%s, and a RoleBinding", ref.Secret.Namespace, ref.Secret.Name)
}

func secretValue(secret *corev1.Secret) *pure.Value {
	value := &pure.Value{Data: make(map[string]string, len(secret.Data)), Type: string(secret.Type), Labels: map[string]string{}}
	for key, data := range secret.Data {
		value.Data[key] = string(data)
	}
	for _, label := range pure.KnownLabels {
		if text, ok := secret.Labels[label]; ok {
			value.Labels[label] = text
		}
	}
	return value
}

// readVault has a round read from Vault.
func (r *Reader) readVault(ro *round, it item, s *syncState) {
	if ro.conn.vault == nil {
		for i := range s.spec.Vault {
			if spec := &s.spec.Vault[i]; spec.Address == it.address && spec.Namespace == it.namespace {
				ro.conn.vault = &vault{spec: *spec, http: newHTTPClient(spec.CACert), logins: r.loginsOf(it.NamespacedName)}
			}
		}
	}
	v := ro.conn.vault
	if ro.conn.asked {
		v.refused = nil // whoever asks may have changed the role
	}
	mounts := make(map[pure.Ref]policy.VaultMount, len(ro.refs))
	for _, ref := range ro.refs {
		if i := s.allowed.Server(ref.Vault); i >= 0 {
			mounts[ref], _ = s.allowed.Vault[i].Mount(ref.Vault)
		}
	}
	ro.begin = func(ctx context.Context) *pure.Problem { return v.begin(ctx, r.Clock.Now()) }
	ro.again = func(ctx context.Context, denied []pure.Ref) (bool, *pure.Problem) {
		return v.again(ctx, r.Clock.Now(), denied)
	}
	ro.invalid = v.invalidToken
	ro.read = func(ctx context.Context, ref pure.Ref) (*pure.Value, *pure.Problem) {
		return v.read(ctx, mounts[ref], ref)
	}
}

func (r *Reader) loginsOf(key types.NamespacedName) logins {
	return logins{
		secret: func(ctx context.Context, name, of string) (string, error) {
			secret, err := r.Secret(ctx, key.Namespace, name)
			if err != nil {
				return "", err
			}
			return string(secret.Data[of]), nil
		},
		token: func(ctx context.Context, serviceAccount, audience string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return r.Token(ctx, key.Namespace, serviceAccount, audience)
		},
		conceal: func(value string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if s := r.syncs[key]; s != nil {
				s.conceal(value)
			}
		},
	}
}

// run reads everything. What Vault denies is read once more with a new login, if there is one.
func (ro *round) run(ctx context.Context) {
	if problem := ro.begin(ctx); problem != nil {
		ro.fail(problem, func(pure.Result) bool { return true })
		return
	}
	every := make([]int, len(ro.refs))
	for i := range every {
		every[i] = i
	}
	ro.readSome(ctx, every)
	denied := ro.denied()
	if len(denied) == 0 || ro.again == nil {
		return
	}
	refs := make([]pure.Ref, len(denied))
	for i, at := range denied {
		refs[i] = ro.refs[at]
	}
	isDenied := func(r pure.Result) bool { return r.Problem != nil && r.Problem.Code == pure.CodeDenied }
	switch renewed, problem := ro.again(ctx, refs); {
	case problem != nil:
		ro.fail(problem, isDenied)
		return
	case renewed:
		ro.readSome(ctx, denied)
	}
	if len(ro.denied()) > 0 {
		if problem := ro.invalid(ctx); problem != nil {
			ro.fail(problem, isDenied)
		}
	}
}

// denied returns what was denied, by index.
func (ro *round) denied() (list []int) {
	for i := range ro.results {
		if p := ro.results[i].Problem; p != nil && p.Code == pure.CodeDenied {
			list = append(list, i)
		}
	}
	return list
}

// fail sets the problem of some results.
func (ro *round) fail(problem *pure.Problem, which func(pure.Result) bool) {
	for i := range ro.results {
		if which(ro.results[i]) {
			ro.results[i] = pure.Result{Problem: problem}
		}
	}
}

// readSome reads some at a time. When several in a row have got no answer, the rest isn't asked for.
func (ro *round) readSome(ctx context.Context, indexes []int) {
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	failures, down := 0, (*pure.Problem)(nil)
	for _, i := range indexes {
		group.Go(func() error {
			mu.Lock()
			given := down
			mu.Unlock()
			if given != nil {
				ro.results[i] = pure.Result{Problem: given}
				return nil
			}
			value, problem := ro.read(ctx, ro.refs[i])
			ro.results[i] = pure.Result{Value: value, Problem: problem}
			mu.Lock()
			defer mu.Unlock()
			if problem == nil || problem.Code != pure.CodeUnavailable {
				failures = 0
			} else if failures++; failures >= failuresInARow {
				down = problem
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
}

// end records the results of a round, and returns when the next is due.
func (r *Reader) end(it item, ro *round) time.Duration {
	r.mu.Lock()
	s := r.syncs[it.NamespacedName]
	if s == nil || s.conns[it.server] != ro.conn {
		r.mu.Unlock()
		return 0 // what is wanted has changed in the meantime, and is in the queue again
	}
	wanted := make(map[pure.Ref]bool, len(ro.conn.wanted))
	for _, ref := range ro.conn.wanted {
		wanted[ref] = true
	}
	changed, down := false, false
	for i, ref := range ro.refs {
		if problem := ro.results[i].Problem; problem != nil && problem.Code == pure.CodeUnavailable {
			down = true
		}
		if wanted[ref] {
			changed = s.set(ref, ro.results[i].Value, ro.results[i].Problem) || changed
		}
	}
	now := r.Clock.Now()
	if ro.all {
		ro.conn.asked = false
	}
	if ro.all || down {
		ro.conn.due = now.Add(ro.conn.next(down))
	}
	s.tell()
	wait := max(ro.conn.due.Sub(now), time.Millisecond)
	r.mu.Unlock()
	if changed {
		r.News(it.Namespace)
		r.queue.AddAfter(item{NamespacedName: it.NamespacedName}, debounce)
	}
	return wait
}

// next returns when to read again.
func (c *conn) next(down bool) time.Duration {
	wait := every
	if !down {
		c.failures = 0
	} else if c.failures++; c.failures < 8 {
		wait = min(wait, firstRetry<<(c.failures-1))
	}
	return wait + rand.N(jitter) //nolint:gosec // it only spreads requests
}

func (r *Reader) request(ctx context.Context, it item) {
	audit := &v1alpha1.AuditSync{}
	audit.Namespace, audit.Name = it.Namespace, it.Name
	select {
	case r.Changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}
