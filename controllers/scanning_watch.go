package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// scanDebounce is how long changes of scans are batched before an AuditSync is reconciled. It is also the minimum time between two such
// reconciles.
const scanDebounce = time.Second

// Pauses between attempts to start a watch.
const (
	scanRetry    = time.Second
	scanRetryMax = 30 * time.Second
)

// ScanWatch watches the CronJobs, Jobs and Pods that the operator and Kubernetes create for clusters, by their labels, the Jobs that Muster
// creates, and the metadata of ConfigMaps and Secrets. It keeps the fields that scanstate.Derive reads, a few hundred bytes for each object,
// and remembers some deleted Jobs.
//
// It doesn't use the manager's cache, for two reasons. The cache keeps whole objects, and even an empty Job takes two kilobytes. And
// with the cache no controller could start while a permission is missing, but here everything except scans must keep working.
type ScanWatch struct {
	kinds []scanKind
	clock clock.Clock

	mu     sync.Mutex
	scopes map[scanScope]*scanObjects
	// written is when the operator's ConfigMaps and Secrets for entries last changed, by name.
	written map[ingredient]map[string]time.Time
	// synced are the kinds that have been listed, and missing the missing permissions by kind.
	synced  map[string]bool
	missing map[string]string
	// held are the AuditSyncs that back off after a failure. Changes of scans must not shorten that.
	held map[types.NamespacedName]time.Time
	// changed are the namespaces with changes, "" for all. wake signals that there are some.
	changed map[string]bool
	wake    chan struct{}
}

// scanKind is the configuration of one watch.
type scanKind struct {
	name, resource string
	object         client.Object
	source         *toolscache.ListWatch
	store          toolscache.ReflectorStore
}

// ingredient is a kind (ConfigMaps or Secrets) and a namespace.
type ingredient struct{ kind, namespace string }

// NewScanWatch returns a ScanWatch for one namespace, or for all if namespace is empty.
func NewScanWatch(cfg *rest.Config, httpClient *http.Client, namespace string, c clock.Clock) (*ScanWatch, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	batch, err := batchclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("create client for Jobs: %w", err)
	}
	core, err := coreclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("create client for Pods: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(cfg), httpClient)
	if err != nil {
		return nil, fmt.Errorf("create client for metadata: %w", err)
	}
	w := &ScanWatch{clock: c, scopes: map[scanScope]*scanObjects{}, written: map[ingredient]map[string]time.Time{}, synced: map[string]bool{}, missing: map[string]string{},
		held: map[types.NamespacedName]time.Time{}, changed: map[string]bool{}, wake: make(chan struct{}, 1)}
	cronJobs, jobs, pods := batch.CronJobs(namespace), batch.Jobs(namespace), core.Pods(namespace)
	rememberDeleted := func(o *scanObjects, _ *batchv1.Job, j scanstate.Job) { o.rememberDeleted(j, c.Now()) }
	w.kinds = []scanKind{
		{"cronjobs.batch", "cronjobs.batch", &batchv1.CronJob{}, listWatch(operators, "", cronJobs.List, cronJobs.Watch),
			&scanStore[*batchv1.CronJob, scanstate.CronJob]{watch: w, name: "cronjobs.batch", trim: scanstate.TrimCronJob, label: mondoo.LabelAuditConfig,
				in:      func(o *scanObjects) *scanTable[scanstate.CronJob] { return &o.cronJobs },
				removed: func(o *scanObjects, _ *batchv1.CronJob, c scanstate.CronJob) { delete(o.gone, c.Cluster) }}},
		{"jobs.batch", "jobs.batch", &batchv1.Job{}, listWatch(operators, "", jobs.List, jobs.Watch),
			&scanStore[*batchv1.Job, scanstate.Job]{watch: w, name: "jobs.batch", trim: scanstate.TrimJob, label: mondoo.LabelAuditConfig,
				in: func(o *scanObjects) *scanTable[scanstate.Job] { return &o.jobs }, removed: rememberDeleted}},
		// There is nothing to report about a Pod that has succeeded.
		{"pods", "pods", &corev1.Pod{}, listWatch(operators, "status.phase!=Succeeded", pods.List, pods.Watch),
			&scanStore[*corev1.Pod, scanstate.Pod]{watch: w, name: "pods", trim: scanstate.TrimPod, label: mondoo.LabelAuditConfig,
				in: func(o *scanObjects) *scanTable[scanstate.Pod] { return &o.pods },
				seen: func(o *scanObjects, p *corev1.Pod, trimmed scanstate.Pod) {
					o.updateDeleted(p.Labels[mondoo.LabelCluster], trimmed)
				}, keeps: (*scanObjects).explainsFailure}},
		{"own jobs", "jobs.batch", &batchv1.Job{}, listWatch(scanstate.LabelAuditConfig, "", jobs.List, jobs.Watch),
			&scanStore[*batchv1.Job, scanstate.Job]{watch: w, name: "own jobs", trim: scanstate.TrimJob, label: scanstate.LabelAuditConfig,
				in: func(o *scanObjects) *scanTable[scanstate.Job] { return &o.own }, removed: rememberDeleted}},
	}
	for _, resource := range []string{"configmaps", "secrets"} {
		objects := meta.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Namespace(namespace)
		w.kinds = append(w.kinds, scanKind{resource, resource, &metav1.PartialObjectMetadata{}, listWatch("", "", objects.List, objects.Watch), &ingredientStore{w, resource}})
	}
	return w, nil
}

// operators selects the objects with the operator's labels.
var operators = labels.SelectorFromSet(labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue}).String()

// listWatch lists and watches the objects that match a label selector and a field selector.
func listWatch[L runtime.Object](selector, fields string, list func(context.Context, metav1.ListOptions) (L, error),
	start func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector, o.FieldSelector = selector, fields
			return list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector, o.FieldSelector = selector, fields
			return start(ctx, o)
		},
	}
}

// NeedLeaderElection returns true: only the leader runs the watch.
func (w *ScanWatch) NeedLeaderElection() bool { return true }

// Start watches until ctx ends.
func (w *ScanWatch) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for _, kind := range w.kinds {
		group.Go(func() { w.follow(ctx, kind) })
	}
	group.Wait()
	return nil
}

// follow restarts the watch of one resource whenever it ends.
func (w *ScanWatch) follow(ctx context.Context, kind scanKind) {
	reflector := toolscache.NewReflectorWithOptions(kind.source, kind.object, kind.store, toolscache.ReflectorOptions{Name: "scans " + kind.name})
	pause := scanRetry
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(ctx)
		w.refused(kind, err)
		if err == nil {
			pause = scanRetry
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.clock.After(pause):
		}
		pause = min(2*pause, scanRetryMax)
	}
}

// refused records a missing permission. Other failures of a watch are temporary, and the objects seen so far stay valid.
func (w *ScanWatch) refused(kind scanKind, err error) {
	if !apierrors.IsForbidden(err) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missing[kind.name] == "" {
		w.missing[kind.name] = "list and watch " + kind.resource
		w.notify("")
	}
}

// listed records that the objects of a kind are known. The lock must be held.
func (w *ScanWatch) listed(kind string) {
	w.synced[kind] = true
	delete(w.missing, kind)
}

// notify requests a reconcile of the AuditSyncs in a namespace. The lock must be held.
func (w *ScanWatch) notify(namespace string) {
	w.changed[namespace] = true
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// errNotWatched means that scans are not known yet.
var errNotWatched = errors.New("scans have not been listed yet")

// missingRightsError lists the permissions that Muster lacks.
type missingRightsError struct{ rights []string }

func (e *missingRightsError) Error() string {
	return "Muster lacks the permission to " + strings.Join(e.rights, ", to ") + "; apply its current Role (config/rbac/role.yaml)"
}

// Observed returns the live objects of an audit config.
func (w *ScanWatch) Observed(namespace, auditConfig string) scanstate.Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	objects := w.scopes[scanScope{namespace, auditConfig}]
	if objects == nil {
		return scanstate.Observed{}
	}
	o := scanstate.Observed{CronJobs: slices.Clone(objects.cronJobs.list), Jobs: slices.Concat(objects.jobs.list, objects.own.list), Pods: slices.Clone(objects.pods.list),
		Written: map[string]time.Time{}}
	for _, jobs := range objects.gone {
		o.Jobs = append(o.Jobs, jobs...)
	}
	for at, names := range w.written {
		if at.namespace == namespace {
			maps.Copy(o.Written, names)
		}
	}
	return o
}

// Ready returns why scans are unknown: errNotWatched or a *missingRightsError. It returns nil if they are known.
func (w *ScanWatch) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.missing) > 0 {
		return &missingRightsError{slices.Compact(slices.Sorted(maps.Values(w.missing)))}
	}
	if len(w.synced) < len(w.kinds) {
		return errNotWatched
	}
	return nil
}

// Hold delays reconciles of an AuditSync because of scans until a time. The zero time ends the delay.
func (w *ScanWatch) Hold(key types.NamespacedName, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until.IsZero() {
		delete(w.held, key)
		return
	}
	w.held[key] = until
}

// Into returns a source that reconciles the AuditSyncs whose scans have changed, each at most once in scanDebounce. It adds them to the
// queue with a delay, and of several additions of one AuditSync the queue keeps the earliest.
func (w *ScanWatch) Into(syncs client.Reader) func(context.Context, workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-w.wake:
				}
				for _, key := range w.affectedSyncs(ctx, syncs) {
					queue.AddAfter(reconcile.Request{NamespacedName: key}, w.delay(key))
				}
			}
		}()
		return nil
	}
}

// affectedSyncs returns the AuditSyncs in the namespaces with changes. If they can't be listed, the next interval picks up the changes.
func (w *ScanWatch) affectedSyncs(ctx context.Context, syncs client.Reader) []types.NamespacedName {
	w.mu.Lock()
	namespaces := slices.Sorted(maps.Keys(w.changed))
	clear(w.changed)
	w.mu.Unlock()
	var keys []types.NamespacedName
	for _, namespace := range namespaces {
		var list v1alpha1.AuditSyncList
		if err := syncs.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			continue
		}
		for i := range list.Items {
			keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return keys
}

func (w *ScanWatch) delay(key types.NamespacedName) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(scanDebounce, w.held[key].Sub(w.clock.Now()))
}
