// Package sources reads the credentials of clusters that AuditSyncs allow to come from elsewhere (spec.credentialSources): from Vault's
// KV secrets engine, and from Secrets of other namespaces.
//
// It reads beside the reconciler, in a queue with an item for each server of each AuditSync. A round reads everything that the
// AuditSync's fleet wants from the server, each secret once, some at a time. There is a round each minute, and one at once for what is
// new. A server that doesn't answer ends its round early, and delays no other. When something has changed, the Reader counts that as
// a change and asks for a reconcile, which calls Supply to fill in the values.
//
// Values are in memory alone. While a server is down, the last value is used. After a restart, clusters wait for the first read; what
// is applied of them stays. Nothing is read that the AuditSync doesn't allow: compile refuses it in the cluster file, and a round
// checks again.
package sources

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	pure "github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const (
	// workers is how many servers are read at the same time, of all AuditSyncs, and parallel how many secrets of one.
	workers  = 32
	parallel = 8
	// every is the time between two rounds, and jitter what is added at random. Both together, with the reconcile, stay below a
	// minute.
	every  = 40 * time.Second
	jitter = 10 * time.Second
	// firstRetry is when a round is repeated whose server didn't answer. It doubles, up to every.
	firstRetry = 5 * time.Second
	// failuresInARow is how many reads must fail without an answer until the round is given up.
	failuresInARow = 3
	// loginAgain is how long a login is kept that Vault denies the same as the one before.
	loginAgain = 10 * time.Minute
	// debounce is how long changes of several servers are batched before a reconcile is requested.
	debounce = 200 * time.Millisecond
)

// Options are what a Reader works with.
type Options struct {
	Clock clock.WithTicker
	// Secret reads a Secret of an AuditSync's namespace, for a login.
	Secret func(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	// Foreign reads a Secret of another namespace, as a ServiceAccount of the AuditSync's namespace, or as Muster if its name is empty.
	Foreign func(ctx context.Context, namespace, serviceAccount string, of types.NamespacedName) (*corev1.Secret, error)
	// Shared is true if there may be AuditSyncs in several namespaces. Then Foreign never reads as Muster in another namespace than the
	// AuditSync's: Muster may read the Secrets of all of them, and an AuditSync's author may not.
	Shared bool
	// Token makes a token of a ServiceAccount for an audience.
	Token func(ctx context.Context, namespace, serviceAccount, audience string) (string, error)
	// News is told the namespace of an AuditSync whose values have changed, before a reconcile is requested.
	News func(namespace string)
	// Changed gets the AuditSyncs whose values have changed. The caller reconciles them.
	Changed chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]
	Log     logr.Logger
}

// item is one server of an AuditSync or, without one, the AuditSync that is to be reconciled.
type item struct {
	types.NamespacedName
	server
}

// server names a server of Vault with the namespace, or the API server.
type server struct{ address, namespace string }

// apiServer is the server of Secrets.
var apiServer = server{address: "kubernetes"}

// Reader reads the credentials of AuditSyncs. A nil Reader reads none.
type Reader struct {
	Options
	queue workqueue.TypedRateLimitingInterface[item]

	mu    sync.Mutex
	syncs map[types.NamespacedName]*syncState
}

// New returns a Reader, which works once it is started.
func New(o Options) *Reader {
	return &Reader{Options: o, syncs: map[types.NamespacedName]*syncState{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[item](), workqueue.TypedRateLimitingQueueConfig[item]{Name: "sources", Clock: o.Clock})}
}

// NeedLeaderElection returns true: only the leader reads.
func (r *Reader) NeedLeaderElection() bool { return true }

// Start reads until ctx ends.
func (r *Reader) Start(ctx context.Context) error {
	unmanaged, err := controller.NewTypedUnmanaged("sources", controller.TypedOptions[item]{Reconciler: r, MaxConcurrentReconciles: workers, Logger: r.Log,
		SkipNameValidation: new(true),
		NewQueue: func(string, workqueue.TypedRateLimiter[item]) workqueue.TypedRateLimitingInterface[item] {
			return r.queue
		}})
	if err != nil {
		return err
	}
	return unmanaged.Start(ctx)
}

// Supply returns the fleet of an AuditSync with the values that have been read, and schedules the reads that it needs. It returns the
// same fleet as the last time if nothing has changed. The redactor learns the values.
func (r *Reader) Supply(audit *v1alpha1.AuditSync, f *fleet.Opened, redactor *redact.Redactor) *fleet.Opened {
	if r == nil {
		return pure.Supply(f, nothing, pure.HoldUnread, time.Time{})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.look(audit, f, redactor)
	if s == nil {
		return pure.Supply(f, nothing, pure.HoldUnread, r.Clock.Now())
	}
	now := r.Clock.Now()
	in := supplied{from: f, version: s.version, day: now.UTC().Truncate(24 * time.Hour)}
	if s.last.from != in.from || s.last.version != in.version || !s.last.day.Equal(in.day) || s.last.fleet.Due(now) {
		in.fleet = pure.Supply(f, s.known, pure.HoldUnread, now)
		s.last = in
	}
	return s.last.fleet
}

func nothing(pure.Ref) pure.Result { return pure.Result{} }

// Await waits until everything that a fleet needs has been read once, or for as long as a healthy server takes for that. Without it,
// each new cluster would be reported as one whose credentials are unknown, for a moment.
func (r *Reader) Await(ctx context.Context, audit *v1alpha1.AuditSync, f *fleet.Opened, redactor *redact.Redactor) {
	if r == nil {
		return
	}
	const most = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		r.mu.Lock()
		s := r.look(audit, f, redactor)
		if s == nil || !s.waits() {
			r.mu.Unlock()
			return
		}
		news := s.news
		r.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}

// Preview returns a function that fills in what is known already, for the fleets of pull requests. Nothing is read for it. The
// redactor learns the values.
func (r *Reader) Preview(key types.NamespacedName, redactor *redact.Redactor) func(*fleet.Opened) *fleet.Opened {
	return func(f *fleet.Opened) *fleet.Opened {
		if r == nil {
			return f
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		s := r.syncs[key]
		if s == nil {
			return f
		}
		s.share(redactor)
		return pure.Supply(f, s.known, pure.ShowUnread, r.Clock.Now())
	}
}

// Forget drops everything that is kept for an AuditSync.
func (r *Reader) Forget(key types.NamespacedName) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.syncs[key]; s != nil {
		s.close()
		delete(r.syncs, key)
	}
}

// look takes over what an AuditSync allows and what its fleet needs, and schedules reads of what is new. It returns nil for an
// AuditSync that allows nothing.
func (r *Reader) look(audit *v1alpha1.AuditSync, f *fleet.Opened, redactor *redact.Redactor) *syncState {
	key := types.NamespacedName{Namespace: audit.Namespace, Name: audit.Name}
	s := r.syncs[key]
	if !audit.Spec.CredentialSources.On() {
		if s != nil {
			s.close()
			delete(r.syncs, key)
		}
		return nil
	}
	if s == nil {
		s = newSyncState()
		r.syncs[key] = s
	}
	s.share(redactor)
	for _, due := range s.update(audit, f) {
		r.queue.Add(item{key, due})
	}
	return s
}

// Allowed returns what an AuditSync allows, as a policy.
func Allowed(spec v1alpha1.CredentialSources) policy.Sources {
	allowed := policy.Sources{Namespaces: spec.Secrets.Namespaces}
	for i := range spec.Vault {
		v := &spec.Vault[i]
		to := policy.VaultServer{Address: v.Address, Namespace: v.Namespace}
		for _, m := range v.Mounts {
			version := m.EngineVersion
			if version == 0 {
				version = 2
			}
			to.Mounts = append(to.Mounts, policy.VaultMount{Mount: m.Mount, Version: version, Paths: m.Paths})
		}
		allowed.Vault = append(allowed.Vault, to)
	}
	return allowed
}
