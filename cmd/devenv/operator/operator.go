package operator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Options configure the stand-in.
type Options struct {
	// Namespace is the namespace of the audit configs that it serves.
	Namespace string
	// Takes is how long a scan takes.
	Takes time.Duration
	// Tell gets a line for each action. It may be nil.
	Tell func(format string, args ...any)
}

// Operator is a running stand-in.
type Operator struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid after ended
}

// Start starts the stand-in and creates the ConfigMap of the scenario if it is missing. It returns when its watches have
// started. It needs the CRD MondooAuditConfig and kube-controller-manager, and runs until Stop or the end of ctx.
func Start(ctx context.Context, cfg *rest.Config, o Options) (*Operator, error) {
	mgr, err := newManager(cfg, o)
	if err != nil {
		return nil, fmt.Errorf("start the stand-in for the operator: %w", err)
	}
	c, err := client.New(cfg, client.Options{Scheme: mgr.GetScheme()})
	if err == nil {
		err = c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: ScenarioName}})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create the ConfigMap of the stand-in for the operator: %w", err)
	}
	running, cancel := context.WithCancel(ctx)
	s := &Operator{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		if err := mgr.Start(running); !errors.Is(err, context.Canceled) {
			s.err = err
		}
	}()
	select {
	case <-mgr.Elected(): // the caches are filled by then
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("start the stand-in for the operator: %w", errors.Join(s.err, ctx.Err()))
	}
}

// Stop ends the stand-in. The objects that it created remain.
func (s *Operator) Stop() error {
	s.cancel()
	<-s.ended
	return s.err
}

func newManager(cfg *rest.Config, o Options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	scans := labels.SelectorFromSet(labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue})
	grace := 30 * time.Second
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", GracefulShutdownTimeout: &grace,
		// Secrets are read when a Pod needs them, and all other reads see the stand-in's own writes.
		Client: client.Options{Cache: &client.CacheOptions{Unstructured: true, DisableFor: []client.Object{&corev1.Secret{}},
			EnableReadYourWritesConsistency: new(true)}},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{o.Namespace: {}}, ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {Label: scans}, &batchv1.CronJob{}: {Label: scans}, &batchv1.Job{}: {Label: scans},
		}},
	})
	if err != nil {
		return nil, err
	}
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	return mgr, addControllers(mgr, o)
}

func addControllers(mgr manager.Manager, o Options) error {
	current := &scenarios{Reader: mgr.GetAPIReader(), namespace: o.Namespace, tell: o.Tell}
	several := controller.Options{SkipNameValidation: new(true)} // one process may start several stand-ins in turn
	// Any change of an audit config, including its annotations and status, and any change of its CronJobs' status.
	err := ctrl.NewControllerManagedBy(mgr).Named("auditconfigs").
		For(newAuditConfig()).
		Owns(&batchv1.CronJob{}).
		Watches(&corev1.ConfigMap{}, current.requests(mgr.GetClient(), func() client.ObjectList { return newAuditConfigs() })).
		WithOptions(several).
		Complete(&auditConfigs{Client: mgr.GetClient(), scenarios: current, tell: o.Tell, stopped: map[string]string{}})
	if err != nil {
		return err
	}
	several.MaxConcurrentReconciles = 4
	return ctrl.NewControllerManagedBy(mgr).Named("pods").
		For(&corev1.Pod{}).
		Watches(&corev1.ConfigMap{}, current.requests(mgr.GetClient(), func() client.ObjectList { return &corev1.PodList{} })).
		WithOptions(several).
		Complete(&pods{Client: mgr.GetClient(), scenarios: current, takes: o.Takes, tell: o.Tell})
}

// scenarios are read from the ConfigMap, bypassing the caches: a change must apply to everything after it.
type scenarios struct {
	client.Reader
	namespace string
	tell      func(format string, args ...any)

	mu        sync.Mutex
	lastError string // the last error that was reported
}

func (s *scenarios) now(ctx context.Context) (Scenario, error) {
	object := &corev1.ConfigMap{}
	err := s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: ScenarioName}, object)
	if err := client.IgnoreNotFound(err); err != nil {
		return Scenario{}, err
	}
	scenario, err := ParseScenario(object.Data)
	complaint := ""
	if err != nil {
		complaint = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if complaint != "" && complaint != s.lastError {
		s.tell("%s", complaint)
	}
	s.lastError = complaint
	return scenario, nil
}

// requests enqueues all objects of a kind when the scenario changes.
func (s *scenarios) requests(reader client.Reader, list func() client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		if o.GetName() != ScenarioName {
			return nil
		}
		all := list()
		if err := reader.List(ctx, all, client.InNamespace(s.namespace)); err != nil {
			return nil // reads from a synced cache
		}
		return requestsFor(all)
	})
}

func requestsFor(list client.ObjectList) (requests []reconcile.Request) {
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o.(client.Object))})
		return nil
	})
	return requests
}
