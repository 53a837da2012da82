package controllers

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/commitstatus"
	"github.com/muster-gitops/muster/controllers/preflights"
	"github.com/muster-gitops/muster/controllers/pullrequest"
	"github.com/muster-gitops/muster/controllers/receiver"
	"github.com/muster-gitops/muster/controllers/renewals"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scans"
	"github.com/muster-gitops/muster/controllers/scanstate"
	"github.com/muster-gitops/muster/controllers/sources"
)

// DefaultClusterSeries is the default for Options.ClusterSeries.
const DefaultClusterSeries = report.DefaultClusterSeries

// LeaseName is the name of the Lease that the leader holds.
const LeaseName = "muster.muster.dev"

// Options configure the controller.
type Options struct {
	// Namespace is the namespace whose AuditSyncs are reconciled; empty for all.
	Namespace string
	// MetricsAddress and ProbeAddress are where metrics and health are served, as host:port; "0" turns metrics off.
	MetricsAddress, ProbeAddress string
	// LeaderElection allows several replicas, of which only the leader reconciles. LeaderElectionNamespace is the namespace of the
	// lease; empty means the Pod's namespace.
	LeaderElection          bool
	LeaderElectionNamespace string
	// CacheDir holds clones of repositories. It may be lost at any time.
	CacheDir string
	// Concurrency is how many AuditSyncs are rendered at the same time. Four times as many are reconciled at the same time, so that
	// slow Git servers don't block other AuditSyncs.
	Concurrency int
	// SyncTimeout bounds one sync; 0 means DefaultSyncTimeout.
	SyncTimeout time.Duration
	// Version is the program's version, for metrics.
	Version string
	// ClusterSeries is how many series about single clusters an AuditSync may have. If it needs more, it gets none. 0 turns them off.
	ClusterSeries int
	// Registry is where metrics are registered; nil means controller-runtime's registry, which is the one that is served.
	Registry prometheus.Registerer
	// ShutdownTimeout bounds how long a running reconcile may continue after the signal to stop.
	ShutdownTimeout time.Duration
	// StatusURL is the link of commit statuses, with the placeholders {namespace}, {name} and {commit}; empty for none.
	StatusURL string
	// ScanBounds are how long scans may take before they count as late; zero values mean scanstate.DefaultBounds.
	ScanBounds scanstate.Bounds
	// Webhook configures the webhook receiver.
	Webhook receiver.Config

	// clock is that of renewals; the real one if nil. Only tests set it.
	clock clock.WithTicker
}

// Validate returns an error if the options are invalid.
func (o Options) Validate() error {
	switch {
	case o.CacheDir == "":
		return fmt.Errorf("the cache directory is not set; set --cache-dir")
	case o.Concurrency < 1:
		return fmt.Errorf("the concurrency is %d; it must be at least 1", o.Concurrency)
	case o.ClusterSeries < 0:
		return fmt.Errorf("the limit on series about single clusters is negative; 0 turns them off")
	case o.SyncTimeout < 0:
		return fmt.Errorf("the sync timeout is negative")
	case o.ShutdownTimeout < 0:
		return fmt.Errorf("the shutdown timeout is negative")
	}
	if err := commitstatus.ValidateURL(o.StatusURL); err != nil {
		return err
	}
	return o.Webhook.Validate()
}

// Scheme returns a scheme with the types that the controller uses.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register Kubernetes types: %w", err)
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

// Run runs the controller until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, opts Options) error {
	mgr, err := New(cfg, opts)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// New returns a manager that runs the controller.
func New(cfg *rest.Config, opts Options) (manager.Manager, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, managerOptions(scheme, opts))
	if err != nil {
		return nil, fmt.Errorf("create manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(mgr)); err != nil {
		return nil, err
	}
	var registry prometheus.Registerer = metrics.Registry
	if opts.Registry != nil {
		registry = opts.Registry
	}
	numbers, err := report.NewMetrics(registry, report.MetricsOptions{Version: opts.Version, ClusterSeries: opts.ClusterSeries})
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	r := &Reconciler{
		Client:   mgr.GetClient(),
		Live:     mgr.GetAPIReader(),
		As:       Impersonate(mgr.GetConfig(), clientOptions(mgr)),
		Events:   mgr.GetEventRecorder(FieldManager),
		Metrics:  numbers,
		Clock:    clock.RealClock{},
		Keys:     keys.NewRemote(clock.RealClock{}.Now),
		CacheDir: opts.CacheDir,
		Webhooks: opts.Webhook.Enabled(),

		SyncTimeout: opts.SyncTimeout,
		renders:     semaphore.NewWeighted(int64(opts.Concurrency)),
	}
	reported := make(chan event.TypedGenericEvent[*v1alpha1.AuditSync])
	if err := r.addWatches(mgr, opts, reported); err != nil {
		return nil, err
	}
	if r.Webhooks {
		if err := addReceiver(mgr, opts, registry); err != nil {
			return nil, err
		}
	}
	return mgr, r.SetupWithManager(mgr, reported)
}

// addWatches adds the runnables that watch scans, post commit statuses, answer pull requests and check credentials. All but the first
// send what must be reconciled to reported.
func (r *Reconciler) addWatches(mgr manager.Manager, opts Options, reported chan<- event.TypedGenericEvent[*v1alpha1.AuditSync]) (err error) {
	r.Scans, err = scans.New(scans.Options{Config: mgr.GetConfig(), HTTPClient: mgr.GetHTTPClient(), Namespace: opts.Namespace, Cached: r.Client, Live: r.Live,
		Writer: r.writer, Record: r.record, Bounds: opts.ScanBounds, Clock: clock.RealClock{}})
	if err != nil {
		return err
	}
	if err := mgr.Add(r.Scans); err != nil {
		return fmt.Errorf("add the scan watches: %w", err)
	}
	r.Statuses = commitstatus.New(commitstatus.Options{Client: client.WithFieldOwner(r.Client, FieldManager), Clock: r.Clock,
		Metrics: r.Metrics, Events: r.Events, Changed: reported, URL: opts.StatusURL, Log: mgr.GetLogger()})
	if err := mgr.Add(r.Statuses); err != nil {
		return fmt.Errorf("add the commit statuses: %w", err)
	}
	r.Preflights = preflights.New(preflights.Options{Clock: clock.RealClock{}, Management: addressesOf(mgr.GetConfig()), Token: r.token, Changed: reported, Planned: r.changed, Log: mgr.GetLogger()})
	if err := mgr.Add(r.Preflights); err != nil {
		return fmt.Errorf("add the checks of credentials: %w", err)
	}
	r.PullRequests = pullrequest.New(pullrequest.Options{Client: client.WithFieldOwner(r.Client, FieldManager), Story: r, Try: r.Preflights.Try, Clock: clock.RealClock{},
		CacheDir: r.repositoryDir, Events: r.Events, Changed: reported, Log: mgr.GetLogger()})
	if err := mgr.Add(r.PullRequests); err != nil {
		return fmt.Errorf("add the pull requests: %w", err)
	}
	r.Renewals = renewals.New(renewals.Options{Clock: cmp.Or[clock.WithTicker](opts.clock, clock.RealClock{}), Live: r.Client, Management: addressesOf(mgr.GetConfig()), Count: r.changed, Changed: reported, Log: mgr.GetLogger()})
	if err := mgr.Add(r.Renewals); err != nil {
		return fmt.Errorf("add the renewals of tokens: %w", err)
	}
	r.Sources = sources.New(sources.Options{Clock: clock.RealClock{}, Secret: r.loginSecret, Foreign: r.foreignSecret, Shared: opts.Namespace == "", Token: r.serviceAccountToken,
		News: r.changed, Changed: reported, Log: mgr.GetLogger()})
	if err := mgr.Add(r.Sources); err != nil {
		return fmt.Errorf("add the sources of credentials: %w", err)
	}
	return nil
}

// addReceiver adds the receiver of webhooks to the manager.
func addReceiver(mgr manager.Manager, opts Options, registry prometheus.Registerer) error {
	r, err := receiver.New(receiver.Options{Config: opts.Webhook, Namespace: opts.Namespace, Client: client.WithFieldOwner(mgr.GetClient(), FieldManager),
		Informers: mgr.GetCache(), Registry: registry, Log: mgr.GetLogger().WithName("webhook")})
	if err != nil {
		return err
	}
	return mgr.Add(r)
}

func managerOptions(scheme *runtime.Scheme, opts Options) ctrl.Options {
	o := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       server.Options{BindAddress: opts.MetricsAddress},
		HealthProbeBindAddress:        opts.ProbeAddress,
		LeaderElection:                opts.LeaderElection,
		LeaderElectionID:              LeaseName,
		LeaderElectionNamespace:       opts.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &opts.ShutdownTimeout,
		// Reads see earlier writes, so that no plan is based on objects that were just changed.
		Client: client.Options{Cache: &client.CacheOptions{Unstructured: true, EnableReadYourWritesConsistency: new(true)}},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: {Label: labels.SelectorFromSet(labels.Set{inventory.Label: "true"}), Transform: cache.TransformStripManagedFields()},
			&corev1.Secret{}:    {Transform: keepAuthors},
		}},
		Controller: config.Controller{MaxConcurrentReconciles: 4 * opts.Concurrency},
	}
	if opts.Namespace != "" {
		o.Cache.DefaultNamespaces = map[string]cache.Config{opts.Namespace: {}}
	}
	return o
}

// keepAuthors trims a Secret's managedFields. If Muster applied the Secret, it keeps the entries of other managers, which show who
// else changed it. A fleet in sync has no such entries.
func keepAuthors(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	if !slices.ContainsFunc(secret.ManagedFields, func(m metav1.ManagedFieldsEntry) bool { return plan.Own(m.Manager) }) {
		secret.ManagedFields = nil
		return secret, nil
	}
	for i := range secret.ManagedFields {
		if m := &secret.ManagedFields[i]; plan.Own(m.Manager) {
			m.FieldsV1 = nil // keep the entry, so that transforming the Secret again gives the same result
		}
	}
	return secret, nil
}

// clientOptions returns the options of the manager's client, for clients that impersonate a ServiceAccount.
func clientOptions(mgr manager.Manager) client.Options {
	return client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()}
}

// cachesSynced returns a readiness check that passes once all caches have synced.
func cachesSynced(mgr manager.Manager) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fmt.Errorf("the caches have not synced yet")
		}
		return nil
	}
}

// SetupWithManager adds the controller and its watches to a manager. It also reconciles what is sent to reported.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, reported <-chan event.TypedGenericEvent[*v1alpha1.AuditSync]) error {
	r.changes = map[string]uint64{}
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("auditsync").
		For(&v1alpha1.AuditSync{}, builder.WithPredicates(predicate.Or(predicate.Funcs{UpdateFunc: r.noteRequest}, predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.syncsOfSecret)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.syncOfInventory)).
		WatchesRawSource(source.Channel(reported, &handler.TypedEnqueueRequestForObject[*v1alpha1.AuditSync]{})).
		WatchesRawSource(source.Func(r.Scans.Requests)).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Build(r)
	if err != nil {
		return fmt.Errorf("create controller: %w", err)
	}
	return mgr.Add(&auditConfigWatch{mgr: mgr, controller: c, syncs: r.syncsOfNamespace, every: 10 * time.Second})
}

// syncsOfSecret returns the AuditSyncs that a Secret affects: the one that applied it, those that use it for credentials or keys,
// and those with a cluster or an audit config that names it.
func (r *Reconciler) syncsOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	r.changed(secret.GetNamespace())
	requests := syncOfLabel(secret)
	var syncs v1alpha1.AuditSyncList
	if err := r.Client.List(ctx, &syncs, client.InNamespace(secret.GetNamespace())); err != nil {
		return requests // the next interval picks it up
	}
	for _, s := range syncs.Items {
		if r.dependsOn(client.ObjectKeyFromObject(&s), secret.GetName()) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&s)})
			continue
		}
		if ref := s.Spec.Source.SecretRef; ref != nil && ref.Name == secret.GetName() ||
			s.Spec.Source.Verify != nil && s.Spec.Source.Verify.SecretRef.Name == secret.GetName() ||
			s.Spec.Decryption != nil && s.Spec.Decryption.SecretRef.Name == secret.GetName() ||
			s.Spec.Webhook != nil && s.Spec.Webhook.SecretRef.Name == secret.GetName() ||
			s.Spec.Forge != nil && s.Spec.Forge.SecretRef.Name == secret.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&s)})
		}
	}
	return requests
}

// syncOfInventory returns the AuditSync of an inventory.
func (r *Reconciler) syncOfInventory(_ context.Context, inventory client.Object) []reconcile.Request {
	r.changed(inventory.GetNamespace())
	return syncOfLabel(inventory)
}

func syncOfLabel(object client.Object) []reconcile.Request {
	name := object.GetLabels()[fleet.LabelSync]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}
}

// syncsOfNamespace returns all AuditSyncs in an object's namespace. There are few audit configs, and any AuditSync may manage one.
func (r *Reconciler) syncsOfNamespace(ctx context.Context, object *unstructured.Unstructured) []reconcile.Request {
	r.changed(object.GetNamespace())
	return r.syncsIn(ctx, object.GetNamespace())
}

// syncsIn returns all AuditSyncs in a namespace.
func (r *Reconciler) syncsIn(ctx context.Context, namespace string) []reconcile.Request {
	var syncs v1alpha1.AuditSyncList
	if err := r.Client.List(ctx, &syncs, client.InNamespace(namespace)); err != nil {
		return nil // the next interval picks it up
	}
	requests := make([]reconcile.Request, 0, len(syncs.Items))
	for _, s := range syncs.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&s)})
	}
	return requests
}

// auditConfigWatch starts to watch audit configs as soon as the operator's CRD exists. A watch from the start would keep the controller
// from starting in a cluster where the operator is installed later.
type auditConfigWatch struct {
	mgr        manager.Manager
	controller controller.Controller
	syncs      handler.TypedMapFunc[*unstructured.Unstructured, reconcile.Request]
	every      time.Duration
}

// NeedLeaderElection returns true: only the leader runs the watch.
func (w *auditConfigWatch) NeedLeaderElection() bool { return true }

// Start waits for the CRD, adds the watch and returns.
func (w *auditConfigWatch) Start(ctx context.Context) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		_, err := w.mgr.GetRESTMapper().RESTMapping(auditConfigKind.GroupKind(), auditConfigKind.Version)
		if err == nil {
			object := &unstructured.Unstructured{}
			object.SetGroupVersionKind(auditConfigKind)
			// The operator updates the status with every scan. Only changes to the reported scans and to scanningPaused matter.
			changed := predicate.Or(predicate.TypedGenerationChangedPredicate[*unstructured.Unstructured]{},
				predicate.TypedLabelChangedPredicate[*unstructured.Unstructured]{},
				predicate.TypedAnnotationChangedPredicate[*unstructured.Unstructured]{},
				predicate.TypedFuncs[*unstructured.Unstructured]{UpdateFunc: scanStatusChanged})
			return w.controller.Watch(source.Kind(w.mgr.GetCache(), object, handler.TypedEnqueueRequestsFromMapFunc(w.syncs), changed))
		}
		// Either the CRD does not exist yet, or the API server failed. Reconcile reports both; here it is enough to retry.
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
