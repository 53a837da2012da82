package scans

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// retry is the pauses between attempts to start a watch.
var retry = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6, Cap: 30 * time.Second}

// kind is the watch of one resource.
type kind struct {
	observer *Observer
	resource string
	object   client.Object
	source   *toolscache.ListWatch
	store    toolscache.ReflectorStore
	// synced is true once the objects have been listed. refused is true while a permission is missing.
	synced, refused bool
}

// operators selects the objects with the operator's labels.
var operators = labels.SelectorFromSet(labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue}).String()

// addKinds adds the watches of all resources.
func (s *Observer) addKinds() error {
	namespace, cfg := s.options.Namespace, rest.CopyConfig(s.options.Config)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	batch, err := batchclient.NewForConfigAndClient(cfg, s.options.HTTPClient)
	if err != nil {
		return fmt.Errorf("create client for Jobs: %w", err)
	}
	core, err := coreclient.NewForConfigAndClient(cfg, s.options.HTTPClient)
	if err != nil {
		return fmt.Errorf("create client for Pods: %w", err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(cfg), s.options.HTTPClient)
	if err != nil {
		return fmt.Errorf("create client for metadata: %w", err)
	}
	s.addScans(batch.CronJobs(namespace), batch.Jobs(namespace), core.Pods(namespace))
	s.addIngredients("configmaps", meta, func(o *objects) *table[time.Time] { return &o.configMaps })
	s.addIngredients("secrets", meta, func(o *objects) *table[time.Time] { return &o.secrets })
	return nil
}

// addScans adds the watches of CronJobs, Jobs and Pods.
func (s *Observer) addScans(cronJobs batchclient.CronJobInterface, jobs batchclient.JobInterface, pods coreclient.PodInterface) {
	add(s, "cronjobs.batch", operators, "", cronJobs.List, cronJobs.Watch, &store[*batchv1.CronJob, scanstate.CronJob]{
		trim: scanstate.TrimCronJob, scope: labelled(mondoo.LabelAuditConfig), in: func(o *objects) *table[scanstate.CronJob] { return &o.cronJobs },
		removed: func(o *objects, _ *batchv1.CronJob, c scanstate.CronJob) { delete(o.gone, c.Cluster) }})
	rememberDeleted := func(o *objects, _ *batchv1.Job, j scanstate.Job) { o.rememberDeleted(j, s.options.Clock.Now()) }
	add(s, "jobs.batch", operators, "", jobs.List, jobs.Watch, &store[*batchv1.Job, scanstate.Job]{
		trim: scanstate.TrimJob, scope: labelled(mondoo.LabelAuditConfig), in: func(o *objects) *table[scanstate.Job] { return &o.jobs }, removed: rememberDeleted})
	// There is nothing to report about a Pod that has succeeded.
	add(s, "pods", operators, "status.phase!=Succeeded", pods.List, pods.Watch, &store[*corev1.Pod, scanstate.Pod]{
		trim: scanstate.TrimPod, scope: labelled(mondoo.LabelAuditConfig), in: func(o *objects) *table[scanstate.Pod] { return &o.pods },
		seen: func(o *objects, p *corev1.Pod, trimmed scanstate.Pod) {
			o.updateDeleted(p.Labels[mondoo.LabelCluster], trimmed)
		}, keeps: (*objects).explainsFailure})
	add(s, "jobs.batch", scanstate.LabelAuditConfig, "", jobs.List, jobs.Watch, &store[*batchv1.Job, scanstate.Job]{
		trim: scanstate.TrimJob, scope: labelled(scanstate.LabelAuditConfig), in: func(o *objects) *table[scanstate.Job] { return &o.own }, removed: rememberDeleted})
}

// addIngredients adds the watch of the ConfigMaps or Secrets that the operator creates for entries.
func (s *Observer) addIngredients(resource string, c metadata.Interface, in func(*objects) *table[time.Time]) {
	metas := c.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Namespace(s.options.Namespace)
	trim := func(o *metav1.PartialObjectMetadata) time.Time { return scanstate.Changed(o) }
	add(s, resource, "", "", metas.List, metas.Watch, &store[*metav1.PartialObjectMetadata, time.Time]{trim: trim, scope: ingredients, in: in})
}

// add adds the watch of the objects that match a label selector and a field selector.
func add[O client.Object, V any, L runtime.Object](s *Observer, resource, selector, fields string, list func(context.Context, metav1.ListOptions) (L, error),
	start func(context.Context, metav1.ListOptions) (watch.Interface, error), objects *store[O, V],
) {
	var object O
	k := &kind{observer: s, resource: resource, object: object, store: objects}
	objects.kind = k
	k.source = &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector, o.FieldSelector = selector, fields
			l, err := list(ctx, o)
			k.note(err)
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector, o.FieldSelector = selector, fields
			w, err := start(ctx, o)
			k.note(err)
			return w, err
		},
	}
	s.kinds = append(s.kinds, k)
}

// watch keeps the store up to date until ctx ends. It restarts the watch whenever that ends, and logs nothing: Ready reports missing
// permissions, and other failures are temporary.
func (k *kind) watch(ctx context.Context) {
	toolscache.NewReflectorWithOptions(k.source, k.object, k.store, toolscache.ReflectorOptions{Name: "scans " + k.resource, Backoff: &retry}).
		RunWithContext(logr.NewContext(ctx, logr.Discard()))
}

// note records a missing permission. The objects seen so far stay valid after any other failure.
func (k *kind) note(err error) {
	if !apierrors.IsForbidden(err) {
		return
	}
	k.observer.mu.Lock()
	defer k.observer.mu.Unlock()
	if !k.refused {
		k.refused = true
		k.observer.note("")
	}
}

// Ready reports whether scans are known. If they are not because Muster lacks permissions, missing lists these.
func (s *Observer) Ready() (missing string, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rights []string
	ready = true
	for _, k := range s.kinds {
		if k.refused {
			rights = append(rights, "list and watch "+k.resource)
		}
		ready = ready && k.synced
	}
	if len(rights) == 0 {
		return "", ready
	}
	slices.Sort(rights)
	return "Muster lacks the permission to " + strings.Join(slices.Compact(rights), ", to ") + "; apply its current Role (config/rbac/role.yaml)", false
}
