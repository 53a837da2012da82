// Package preflights checks that the credentials of clusters work, for AuditSyncs with spec.preflight.mode Report or Required.
//
// An applied cluster is checked when its credential or server has changed, and then once in each interval, with the values that its
// Secrets got. In mode Required, Gate holds a cluster whose credential or server has changed until the new one has passed, and until
// no scan runs with the applied one. Try checks what a pull request would change. A credential goes to the server of the same file,
// and nowhere else. Package clusters/preflight makes the checks, and refuses addresses that only the machine or the management cluster
// itself should contact.
//
// Checks run beside the reconciler, in a separate queue with an item for each cluster, and never delay a sync. A slow cluster takes
// one of the workers for as long as clusters/preflight allows. A reconcile calls Gate before it plans, which takes what is to be
// applied, and Look after it has applied, which takes what is applied and returns the results so far. When they have changed and are
// complete, or when a changed credential has a result, the Checker asks for another reconcile.
//
// Results are in memory alone. After a restart, and in a new leader, they are made again, some tens in a second. Until then the last
// report stays in the status, and what is applied stays as it is. Which cluster is behind an address is recorded in the inventory of
// its audit config, together with what is written there anyway: see Seen.
package preflights

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

const (
	// workers is how many clusters are checked at the same time, of all AuditSyncs. One that hangs mostly costs a socket.
	workers = 64
	// pace is the time between two checks that are due at the same time: after a start, or when many credentials have changed.
	pace = 50 * time.Millisecond
	// debounce is how long changed results are batched before a reconcile is requested.
	debounce = time.Second
	// batch is how long results of changed credentials are batched while others are still being checked.
	batch = 3 * time.Second
	// heldRetry is when a changed credential that failed is checked again. It doubles as failedRetry does.
	heldRetry = time.Minute
	// failedRetry is when a cluster that failed is checked again. It doubles with each failure, until the interval is reached.
	failedRetry = 10 * time.Minute
)

// Options are what a Checker works with.
type Options struct {
	Clock clock.WithTicker
	// Management returns the addresses of the management cluster's API server. Without them, nothing is checked.
	Management func(context.Context) ([]netip.Addr, error)
	// Token returns a short-lived token of a ServiceAccount, for spec.preflight.vaultAuth.
	Token func(ctx context.Context, namespace, serviceAccount string) (string, error)
	// Check checks a target; preflight.Run if nil.
	Check func(context.Context, preflight.Target, preflight.Options) preflight.Result
	// Changed gets the AuditSyncs whose results have changed. The caller reconciles them.
	Changed chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]
	// Planned counts a change that plans of a namespace depend on, before a reconcile is requested for it.
	Planned func(namespace string)
	Log     logr.Logger
}

// item is one cluster to check or, without one, the AuditSync whose results are to be reported.
type item struct {
	types.NamespacedName
	cluster
}

type cluster struct{ auditConfig, name string }

// Checker checks the credentials of clusters. A nil Checker checks none.
type Checker struct {
	Options
	queue workqueue.TypedRateLimitingInterface[item]

	// tries has an element for each running check of Try.
	tries chan struct{}

	mu     sync.Mutex
	syncs  map[types.NamespacedName]*fleetState
	trials map[[32]byte]*trial // by target
}

// New returns a Checker, which works once it is started.
func New(o Options) *Checker {
	if o.Check == nil {
		o.Check = preflight.Run
	}
	return &Checker{Options: o, syncs: map[types.NamespacedName]*fleetState{}, tries: make(chan struct{}, tryWorkers), trials: map[[32]byte]*trial{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[item](), workqueue.TypedRateLimitingQueueConfig[item]{Name: "preflight", Clock: o.Clock})}
}

// NeedLeaderElection returns true: only the leader checks.
func (c *Checker) NeedLeaderElection() bool { return true }

// Start checks until ctx ends. Checks that run then are stopped, and their results are dropped.
func (c *Checker) Start(ctx context.Context) error {
	unmanaged, err := controller.NewTypedUnmanaged("preflight", controller.TypedOptions[item]{Reconciler: c, MaxConcurrentReconciles: workers, Logger: c.Log,
		SkipNameValidation: new(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[item]) workqueue.TypedRateLimitingInterface[item] {
			return c.queue
		}})
	if err != nil {
		return err
	}
	return unmanaged.Start(ctx)
}

// Look takes what is applied for an AuditSync, schedules the checks that are due because of it, and returns the results so far; nil
// if nothing is checked. Without a fleet, what is known stays.
func (c *Checker) Look(sync Sync) *report.Preflight {
	if c == nil {
		return nil
	}
	if !sync.Spec.Preflight.On() {
		c.Forget(sync.key())
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.update(sync)
	switch {
	case err != nil:
		return &report.Preflight{Invalid: err.Error()}
	case f == nil:
		return nil
	}
	return f.results()
}

// update takes what is applied and what is to be applied for an AuditSync, and schedules the checks that are due because of it. It
// returns nil while nothing is known, and an error if spec.preflight can't be used. The lock must be held.
func (c *Checker) update(sync Sync) (*fleetState, error) {
	policy, err := policyOf(sync.Spec.Preflight, sync.Spec.VaultAuth.Addresses)
	if err != nil {
		delete(c.syncs, sync.key())
		return nil, err
	}
	f := c.syncs[sync.key()]
	if f == nil && sync.Fleet == nil {
		return nil, nil
	}
	if f == nil {
		f = &fleetState{seen: map[cluster]inventory.Seen{}}
		c.syncs[sync.key()] = f
	}
	for _, due := range f.update(sync, policy, c.Clock.Now()) {
		c.queue.AddAfter(item{sync.key(), due.cluster}, due.wait)
	}
	return f, nil
}

// Changes returns a number that changes whenever an AuditSync has results to report.
func (c *Checker) Changes(key types.NamespacedName) uint64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.syncs[key]; f != nil {
		return f.reports
	}
	return 0
}

// Forget ends the checks of an AuditSync, and drops everything that is kept for it.
func (c *Checker) Forget(key types.NamespacedName) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.syncs, key)
}
