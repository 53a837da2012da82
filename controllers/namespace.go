package controllers

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// PodSecurityLabel on a namespace names the level of Pod Security that is enforced there
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/).
const PodSecurityLabel = "pod-security.kubernetes.io/enforce"

// Pauses before a watch of a namespace begins again: after it has ended, and where there is no right to it.
const (
	namespaceRetry    = time.Second
	namespaceRetryMax = 30 * time.Second
	namespaceRefused  = 10 * time.Minute
)

// NamespaceWatch knows which level of Pod Security is enforced in the namespaces that are asked about, and tells when that
// changes. Without the right to watch, levels are as they were last read, and without the right to read there is none: one
// warning is not worth holding up a sync.
//
// Each namespace is watched by itself, at the path below its own, which Kubernetes advises against in favour of selecting it
// from a watch of all. But to that a Role can't give the right: it reaches no further than its namespace, and only the path
// tells that a request doesn't either.
type NamespaceWatch struct {
	rest  rest.Interface
	clock clock.Clock
	// changed are namespaces whose level is another than before.
	changed chan event.TypedGenericEvent[*corev1.Namespace]

	mu     sync.Mutex
	levels map[string]*namespaceLevel
	// asked are those that are to be watched, and wake says that there are some.
	asked []string
	wake  chan struct{}
}

// namespaceLevel is what is known of one namespace.
type namespaceLevel struct {
	level string
	// used says that somebody works with the level, and followed that the watch tells when it changes.
	used, followed bool
	stop           context.CancelFunc // nil until the watch begins
}

// NewNamespaceWatch makes a NamespaceWatch.
func NewNamespaceWatch(cfg *rest.Config, httpClient *http.Client, c clock.Clock) (*NamespaceWatch, error) {
	core, err := coreclient.NewForConfigAndClient(rest.CopyConfig(cfg), httpClient)
	if err != nil {
		return nil, fmt.Errorf("create client for namespaces: %w", err)
	}
	return &NamespaceWatch{rest: core.RESTClient(), clock: c, changed: make(chan event.TypedGenericEvent[*corev1.Namespace]),
		levels: map[string]*namespaceLevel{}, wake: make(chan struct{}, 1)}, nil
}

// NeedLeaderElection says that the watch belongs to the controller, which only the leader runs.
func (w *NamespaceWatch) NeedLeaderElection() bool { return true }

// Start watches until ctx ends.
func (w *NamespaceWatch) Start(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		w.mu.Lock()
		for _, namespace := range w.asked {
			if known := w.levels[namespace]; known != nil && known.stop == nil {
				watching, stop := context.WithCancel(ctx)
				known.stop = stop
				group.Go(func() { w.follow(watching, namespace, known) })
			}
		}
		w.asked = nil
		w.mu.Unlock()
	}
}

// Level is what a namespace enforces, as far as that is known, and whether the watch would have told of another. It makes no
// request. The first question begins the watch.
func (w *NamespaceWatch) Level(namespace string) (level string, followed bool) {
	if w == nil {
		return "", true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.levels[namespace]
	if known == nil {
		known = &namespaceLevel{}
		w.levels[namespace] = known
		w.asked = append(w.asked, namespace)
		select {
		case w.wake <- struct{}{}:
		default: // it is to wake up already
		}
	}
	known.used = known.used || known.followed
	return known.level, known.followed
}

// Read reads what a namespace enforces that the watch does not follow yet. What the watch has told meanwhile is newer.
func (w *NamespaceWatch) Read(ctx context.Context, namespace string) (level string) {
	object := &corev1.Namespace{}
	if err := w.rest.Get().Resource("namespaces").Name(namespace).Do(ctx).Into(object); err != nil {
		log.FromContext(ctx).V(1).Info("the namespace can't be read, so nothing is known of its Pod Security", "error", err.Error())
	}
	level = object.Labels[PodSecurityLabel]
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.levels[namespace]
	if known == nil {
		return level
	}
	known.used = true
	if !known.followed {
		known.level = level
	}
	return known.level
}

// Forget ends the watch of a namespace.
func (w *NamespaceWatch) Forget(namespace string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.levels[namespace]; known != nil {
		delete(w.levels, namespace)
		if known.stop != nil {
			known.stop()
		}
	}
}

// follow begins the watch of a namespace again whenever it ends.
func (w *NamespaceWatch) follow(ctx context.Context, namespace string, known *namespaceLevel) {
	pause := namespaceRetry
	for ctx.Err() == nil {
		err := w.watch(ctx, namespace, known)
		switch {
		case apierrors.IsForbidden(err):
			w.mu.Lock()
			known.followed = false
			w.mu.Unlock()
			pause = namespaceRefused
		case err == nil:
			pause = namespaceRetry
		}
		select {
		case <-ctx.Done():
		case <-w.clock.After(pause):
		}
		pause = min(2*pause, namespaceRetryMax)
	}
}

// watch tells of a namespace until the API server ends that. It begins with the namespace as it is, so that nothing is missed in
// between.
func (w *NamespaceWatch) watch(ctx context.Context, namespace string, known *namespaceLevel) error {
	events, err := w.rest.Get().Prefix("watch").Resource("namespaces").Name(namespace).Watch(ctx)
	if err != nil {
		return err
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		if e.Type == watch.Error {
			return apierrors.FromObject(e.Object)
		}
		if object, ok := e.Object.(*corev1.Namespace); ok && e.Type != watch.Deleted {
			w.tell(ctx, object, known)
		}
	}
	return nil
}

// tell takes in a namespace as it is.
func (w *NamespaceWatch) tell(ctx context.Context, object *corev1.Namespace, known *namespaceLevel) {
	level := object.Labels[PodSecurityLabel]
	w.mu.Lock()
	changed := known.used && known.level != level
	known.level, known.followed = level, true
	w.mu.Unlock()
	if !changed {
		return
	}
	select {
	case w.changed <- event.TypedGenericEvent[*corev1.Namespace]{Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: object.Name}}}:
	case <-ctx.Done():
	}
}
