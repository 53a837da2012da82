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
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scan"
)

// scanDebounce is how long news of scans is gathered before an AuditSync is looked at. However many come, that is once in it.
const scanDebounce = time.Second

// Pauses between attempts to begin a watch.
const (
	scanRetry    = time.Second
	scanRetryMax = 30 * time.Second
)

// ScanWatch watches the CronJobs, Jobs and Pods that the operator and Kubernetes make for clusters, by their labels, and keeps
// of each what scan.Derive looks at: some hundred bytes.
//
// It doesn't use the manager's cache. That one keeps whole objects, of which an empty Job alone takes two kilobytes, and lets
// no controller start while a right is missing, where here everything but scans has to go on.
type ScanWatch struct {
	kinds []scanKind
	clock clock.Clock

	mu     sync.Mutex
	scopes map[scanScope]*scanObjects
	// synced are the resources that were listed, and missing what can't be for want of a right.
	synced  map[string]bool
	missing map[string]string
	// held are the AuditSyncs that wait before they try again something that has failed. News of scans must not hurry them.
	held map[types.NamespacedName]time.Time
	// news are the namespaces with changes, "" for all, and wake says that there are some.
	news map[string]bool
	wake chan struct{}
}

// scanKind is one of the three resources.
type scanKind struct {
	resource string
	object   client.Object
	source   *toolscache.ListWatch
	store    toolscache.ReflectorStore
}

// NewScanWatch makes a ScanWatch of one namespace, or of all for an empty one.
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
	w := &ScanWatch{clock: c, scopes: map[scanScope]*scanObjects{}, synced: map[string]bool{}, missing: map[string]string{},
		held: map[types.NamespacedName]time.Time{}, news: map[string]bool{}, wake: make(chan struct{}, 1)}
	cronJobs, jobs, pods := batch.CronJobs(namespace), batch.Jobs(namespace), core.Pods(namespace)
	w.kinds = []scanKind{
		{"cronjobs.batch", &batchv1.CronJob{}, listWatch("", cronJobs.List, cronJobs.Watch),
			&scanStore[*batchv1.CronJob, scan.CronJob]{w, "cronjobs.batch", scan.TrimCronJob, func(o *scanObjects) *scanTable[scan.CronJob] { return &o.cronJobs }}},
		{"jobs.batch", &batchv1.Job{}, listWatch("", jobs.List, jobs.Watch),
			&scanStore[*batchv1.Job, scan.Job]{w, "jobs.batch", scan.TrimJob, func(o *scanObjects) *scanTable[scan.Job] { return &o.jobs }}},
		// Of a Pod that has succeeded there is nothing to tell.
		{"pods", &corev1.Pod{}, listWatch("status.phase!=Succeeded", pods.List, pods.Watch),
			&scanStore[*corev1.Pod, scan.Pod]{w, "pods", scan.TrimPod, func(o *scanObjects) *scanTable[scan.Pod] { return &o.pods }}},
	}
	return w, nil
}

// listWatch lists and watches what carries the operator's labels.
func listWatch[L runtime.Object](fields string, list func(context.Context, metav1.ListOptions) (L, error),
	start func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *toolscache.ListWatch {
	selector := labels.SelectorFromSet(labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue}).String()
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

// NeedLeaderElection says that the watch belongs to the controller, which only the leader runs.
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

// follow begins the watch of one resource again whenever it ends.
func (w *ScanWatch) follow(ctx context.Context, kind scanKind) {
	reflector := toolscache.NewReflectorWithOptions(kind.source, kind.object, kind.store, toolscache.ReflectorOptions{Name: "scans " + kind.resource})
	pause := scanRetry
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(ctx)
		w.refused(kind.resource, err)
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

// refused notes that a right is missing. What else may go wrong with a watch passes by itself, and what was seen stays true.
func (w *ScanWatch) refused(resource string, err error) {
	if !apierrors.IsForbidden(err) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missing[resource] == "" {
		w.missing[resource] = "list and watch " + resource
		w.tell("")
	}
}

// tell wakes up who looks at the AuditSyncs of a namespace. The lock is held.
func (w *ScanWatch) tell(namespace string) {
	w.news[namespace] = true
	select {
	case w.wake <- struct{}{}:
	default: // it is to wake up already
	}
}

// errNotWatched says that scans are not known yet.
var errNotWatched = errors.New("scans have not been listed yet")

// missingRightsError says which rights Muster lacks.
type missingRightsError struct{ rights []string }

func (e *missingRightsError) Error() string {
	return "Muster lacks the right to " + strings.Join(e.rights, ", to ") + "; apply its present Role (config/rbac/role.yaml)"
}

// Observed is what there is for an audit config.
func (w *ScanWatch) Observed(namespace, auditConfig string) scan.Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	objects := w.scopes[scanScope{namespace, auditConfig}]
	if objects == nil {
		return scan.Observed{}
	}
	return scan.Observed{CronJobs: slices.Clone(objects.cronJobs.list), Jobs: slices.Clone(objects.jobs.list), Pods: slices.Clone(objects.pods.list)}
}

// Ready says why nothing can be told of scans: errNotWatched, or a *missingRightsError.
func (w *ScanWatch) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.missing) > 0 {
		return &missingRightsError{slices.Sorted(maps.Values(w.missing))}
	}
	if len(w.synced) < len(w.kinds) {
		return errNotWatched
	}
	return nil
}

// Hold keeps news of scans from an AuditSync until a time; a zero one lets them through.
func (w *ScanWatch) Hold(key types.NamespacedName, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until.IsZero() {
		delete(w.held, key)
		return
	}
	w.held[key] = until
}

// Into has the AuditSyncs that there is news for reconciled, each once in scanDebounce, by a delayed addition to the queue:
// of several additions of one AuditSync the queue keeps the earliest.
func (w *ScanWatch) Into(syncs client.Reader) func(context.Context, workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-w.wake:
				}
				for _, key := range w.concerned(ctx, syncs) {
					queue.AddAfter(reconcile.Request{NamespacedName: key}, w.delay(key))
				}
			}
		}()
		return nil
	}
}

// concerned are the AuditSyncs of the namespaces with news. Those that can't be listed are found at the next interval.
func (w *ScanWatch) concerned(ctx context.Context, syncs client.Reader) []types.NamespacedName {
	w.mu.Lock()
	namespaces := slices.Sorted(maps.Keys(w.news))
	clear(w.news)
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
