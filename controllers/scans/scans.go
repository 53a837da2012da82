// Package scans observes the scans of external clusters, and starts the scan of a cluster that has changed.
//
// An Observer watches the CronJobs, Jobs and Pods that the operator and Kubernetes create for clusters, by their labels, the Jobs that Muster
// creates, and the metadata of ConfigMaps and Secrets. Changes are batched for a second and lead to a reconcile of the AuditSyncs in
// their namespace. A reconcile calls Look, which reads what the watches have shown and lets package scanstate decide what it means. The
// next change that depends only on the time is computed in advance, so nothing polls. What Look remembers of an AuditSync is its Memory.
//
// The watches fill a store of the package, not a second cache of controller-runtime, for two reasons. A cache keeps Kubernetes' own types.
// Even with a Transform that clears all fields that are not read, it takes 6.2 KB for each cluster instead of 1.2 KB, as
// BenchmarkMemory prints. And a cache tells about a deletion after it has dropped the object. The operator deletes Jobs within seconds of
// their end, so a look in between would find no result. Here a Job is remembered in the step that removes it.
//
// The package creates Jobs from CronJobs. It changes nothing else, except through Options.Record, and it reports and logs nothing.
package scans

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// debounce is how long changes of scans are batched before an AuditSync is reconciled. It is also the minimum time between two such
// reconciles.
const debounce = time.Second

// Options configure an Observer. Only Namespace and Bounds may be empty.
type Options struct {
	// Config and HTTPClient are for the watches.
	Config     *rest.Config
	HTTPClient *http.Client
	// Namespace is the namespace to watch; empty for all.
	Namespace string
	// Cached reads AuditSyncs and Secrets. Live reads CronJobs from the API server, because their template is not cached.
	Cached, Live client.Reader
	// Writer returns the client that creates the Jobs of an AuditSync.
	Writer func(*v1alpha1.AuditSync) (client.Client, error)
	// Record writes an inventory, unless a newer one is stored.
	Record func(ctx context.Context, namespace string, applied *inventory.Inventory) error
	// Bounds are how long scans may take.
	Bounds scanstate.Bounds
	Clock  clock.Clock
}

// Observer observes scans. It keeps the fields that scanstate.Derive reads, and remembers some deleted Jobs.
type Observer struct {
	options Options
	kinds   []*kind
	// changed are the namespaces with changes, "" for all.
	changed workqueue.TypedInterface[string]

	mu     sync.Mutex
	scopes map[scope]*objects
	// held are the AuditSyncs that back off after a failure. Changes of scans must not shorten that.
	held map[types.NamespacedName]time.Time
	// changes counts the changes by namespace.
	changes map[string]uint64
}

// New returns an Observer that watches once it is started.
func New(o Options) (*Observer, error) {
	s := &Observer{options: o, changed: workqueue.NewTyped[string](), scopes: map[scope]*objects{}, held: map[types.NamespacedName]time.Time{},
		changes: map[string]uint64{}}
	return s, s.addKinds()
}

// NeedLeaderElection returns true: only the leader observes scans.
func (s *Observer) NeedLeaderElection() bool { return true }

// Start watches until ctx ends.
func (s *Observer) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for _, k := range s.kinds {
		group.Go(func() { k.watch(ctx) })
	}
	group.Wait()
	return nil
}

// note records a change in a namespace, or in all if it is empty. The lock must be held.
func (s *Observer) note(namespace string) {
	s.changes[namespace]++
	s.changed.Add(namespace)
}

// Changes returns a number that changes with everything that Look would read of the watches in a namespace.
func (s *Observer) Changes(namespace string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes[namespace] + s.changes[""]
}

// Running reports whether a scan of a cluster runs, as far as the watches have shown. A Job that waits for its Pod counts: the Pod
// would start with other Secrets than the Job was made for.
func (s *Observer) Running(namespace, auditConfig, cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.scopes[scope{namespace, auditConfig}]
	runs := func(j scanstate.Job) bool {
		return j.Cluster == cluster && j.Outcome == scanstate.Active && !j.Suspended
	}
	return live != nil && (slices.ContainsFunc(live.jobs.list, runs) || slices.ContainsFunc(live.own.list, runs))
}

// Requests is the source of reconciles for a controller. It requests those AuditSyncs whose scans have changed, each at most once in
// debounce. Of several requests with a delay, the queue keeps the earliest.
func (s *Observer) Requests(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	context.AfterFunc(ctx, s.changed.ShutDown)
	go func() {
		for {
			namespace, ended := s.changed.Get()
			if ended {
				return
			}
			for _, key := range s.syncs(ctx, namespace) {
				queue.AddAfter(reconcile.Request{NamespacedName: key}, s.delay(key))
			}
			s.changed.Done(namespace)
		}
	}()
	return nil
}

// syncs returns the AuditSyncs in a namespace. If they can't be listed, the next interval picks up the changes.
func (s *Observer) syncs(ctx context.Context, namespace string) []types.NamespacedName {
	var list v1alpha1.AuditSyncList
	if err := s.options.Cached.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	keys := make([]types.NamespacedName, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return keys
}

func (s *Observer) delay(key types.NamespacedName) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(debounce, s.held[key].Sub(s.options.Clock.Now()))
}

// Pause returns how long to wait until the next reconcile of an AuditSync: pause, or less if Look wants to be called again before. If a
// failed sync is retried after the pause, scans don't shorten it.
func (s *Observer) Pause(key types.NamespacedName, pause time.Duration, retry bool, again time.Time) time.Duration {
	now := s.options.Clock.Now()
	if retry {
		s.hold(key, now.Add(pause))
		return pause
	}
	s.Forget(key)
	if again.IsZero() {
		return pause
	}
	return min(pause, max(again.Sub(now), debounce))
}

// hold delays reconciles of an AuditSync because of scans until a time.
func (s *Observer) hold(key types.NamespacedName, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[key] = until
}

// Forget ends the delay of an AuditSync.
func (s *Observer) Forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, key)
}
