// Package renewals renews the tokens of clusters with spec.renew. Package clusters/renew decides how.
//
// A reconcile calls Amend with the rendered fleet. It returns the fleet with the last token of each cluster in place of the one in Git,
// and with findings about those that can't be renewed. It is called before plan and apply, which write the token into the live
// Secret. That Secret is the only store: after a restart, and in a new leader, Amend takes the token from there.
//
// Tokens are requested beside the reconciler, in a queue with an item for each cluster: at half of the lifetime that the server
// granted, spread by a tenth of that. A request goes to the server in the file and nowhere else, by the rules of clusters/preflight and of
// the AuditSync's spec.preflight, and a new token is checked there before it is used. Without a mode in spec.preflight, Muster connects
// to no cluster, and renews nothing.
package renewals

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const (
	// workers is how many tokens are requested at the same time, for all AuditSyncs. A server that hangs mostly costs a socket.
	workers = 32
	// pace is the time between two requests that are due at the same time: after a start, or when many seeds have changed.
	pace = 50 * time.Millisecond
	// debounce is how long news are batched before a reconcile is requested.
	debounce = time.Second
	// soonest is the shortest time between a token and the request for the next, whatever lifetime a server grants.
	soonest = 30 * time.Second
)

// Options are what a Renewer works with.
type Options struct {
	Clock clock.WithTicker
	// Live reads Secrets through a cache.
	Live client.Reader
	// Management returns the addresses of the management cluster's API server. Without them, nothing is requested.
	Management func(context.Context) ([]netip.Addr, error)
	// Post and Check request and check tokens; preflight.Post and preflight.Run if nil.
	Post  func(ctx context.Context, t preflight.Target, o preflight.Options, path string, object any) (int, []byte, *preflight.Check)
	Check func(context.Context, preflight.Target, preflight.Options) preflight.Result
	// Count counts a change of what is desired in a namespace. It is called before the AuditSync is sent to Changed. The caller
	// reconciles it.
	Count   func(namespace string)
	Changed chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]
	Log     logr.Logger
}

// item is one cluster or, without one, the AuditSync to reconcile.
type item struct {
	types.NamespacedName
	cluster
}

type cluster struct{ auditConfig, name string }

// Renewer renews tokens. A nil Renewer renews none.
type Renewer struct {
	Options
	queue workqueue.TypedRateLimitingInterface[item]

	mu    sync.Mutex
	syncs map[types.NamespacedName]*fleetState
}

// New returns a Renewer, which works once it is started.
func New(o Options) *Renewer {
	if o.Post == nil {
		o.Post = preflight.Post
	}
	if o.Check == nil {
		o.Check = preflight.Run
	}
	return &Renewer{Options: o, syncs: map[types.NamespacedName]*fleetState{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[item](), workqueue.TypedRateLimitingQueueConfig[item]{Name: "renewals", Clock: o.Clock})}
}

// NeedLeaderElection returns true: only the leader renews.
func (r *Renewer) NeedLeaderElection() bool { return true }

// Start renews until ctx ends. Requests that run then are stopped, and their answers are dropped.
func (r *Renewer) Start(ctx context.Context) error {
	unmanaged, err := controller.NewTypedUnmanaged("renewals", controller.TypedOptions[item]{Reconciler: r, MaxConcurrentReconciles: workers, Logger: r.Log,
		SkipNameValidation: new(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[item]) workqueue.TypedRateLimitingInterface[item] {
			return r.queue
		}})
	if err != nil {
		return err
	}
	return unmanaged.Start(ctx)
}

// Forget stops renewing the tokens of an AuditSync, and drops everything that is kept for it.
func (r *Renewer) Forget(key types.NamespacedName) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.syncs[key]; f != nil {
		f.drop(f.tokens)
		delete(r.syncs, key)
	}
}
