package receiver

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

const (
	// requestEvery is the minimum interval between requests for one AuditSync. The first of a burst is passed on immediately, and one
	// more after the last.
	requestEvery = time.Second
	// requestTimeout bounds one request to the API server. requestFlush bounds all remaining ones after the signal to stop.
	requestTimeout = 10 * time.Second
	requestFlush   = 5 * time.Second
	// requestBackoff is the maximum wait between attempts while the API server fails.
	requestBackoff = 30 * time.Second
)

// requests requests syncs. An AuditSync has a goroutine from its first request until an interval has passed without another one. A queue
// of client-go would drop what waits in it when the process stops.
type requests struct {
	client   client.Client
	clock    clock.Clock
	log      logr.Logger
	stopping chan struct{} // closed by finish
	running  sync.WaitGroup

	mu sync.Mutex
	// wanted has the AuditSyncs with a goroutine. It is true if another sync must be requested.
	wanted map[types.NamespacedName]bool
}

func newRequests(c client.Client, clock clock.Clock, log logr.Logger) *requests {
	return &requests{client: c, clock: clock, log: log, stopping: make(chan struct{}), wanted: map[types.NamespacedName]bool{}}
}

// Notify requests a sync. This includes pull requests, because their head is a ref like any other.
func (w *targets) Notify(_ context.Context, namespace, name string, _ webhook.Event) error {
	w.requests.add(types.NamespacedName{Namespace: namespace, Name: name}) //nolint:contextcheck // the sync is requested after the webhook was answered
	return nil
}

// add requests a sync that starts after this call. It doesn't block.
func (s *requests) add(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, running := s.wanted[key]; !running {
		s.running.Go(func() { s.serve(key) })
	}
	s.wanted[key] = true
}

// finish passes on what is left, immediately. Nothing may be added any more.
func (s *requests) finish() {
	close(s.stopping)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	select {
	case <-done:
	case <-s.clock.After(requestFlush):
	}
}

// serve passes on the requests for one AuditSync.
func (s *requests) serve(key types.NamespacedName) {
	for failures := 0; s.take(key); {
		wait := requestEvery
		if s.request(key) {
			failures = 0
		} else {
			s.add(key)
			wait = min(time.Second<<min(failures, 10), requestBackoff)
			failures++
		}
		select {
		case <-s.clock.After(wait):
		case <-s.stopping:
			if s.take(key) {
				s.request(key)
			}
			return
		}
	}
}

// take reports whether a sync must be requested now. If not, it ends the AuditSync's turn.
func (s *requests) take(key types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.wanted[key]
	if s.wanted[key] = false; !wanted {
		delete(s.wanted, key)
	}
	return wanted
}

// request sets the annotation. It returns false if that has to be tried again. An AuditSync that doesn't exist needs no sync.
func (s *requests) request(key types.NamespacedName) bool {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	at := s.clock.Now().UTC().Format(time.RFC3339Nano)
	// Patch only the annotation, so that concurrent changes by others are kept.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationReconcile: at}}})
	if err == nil {
		err = s.client.Patch(ctx, audit, client.RawPatch(types.MergePatchType, patch))
	}
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		s.log.Error(err, "request a sync after a webhook", "namespace", key.Namespace, "name", key.Name)
		return false
	default:
		s.log.Info("webhook requested a sync", "namespace", key.Namespace, "name", key.Name)
	}
	return true
}
