package controllers

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
)

const (
	// requestEvery is the minimum interval between sync requests for one AuditSync. The first of a burst is passed on immediately, and
	// one more after the last.
	requestEvery = time.Second
	// requestTimeout bounds one request to the API server. requestFlush bounds all remaining ones after the signal to stop.
	requestTimeout = 10 * time.Second
	requestFlush   = 5 * time.Second
	// requestBackoff is the maximum wait between attempts while the API server fails.
	requestBackoff = 30 * time.Second
)

// syncRequests requests syncs by the annotation that users use too. So any replica can request a sync, and the leader runs it. Many
// requests for one AuditSync become one, and none is lost while the process lives.
type syncRequests struct {
	client client.Client
	clock  clock.Clock
	log    logr.Logger
	wake   chan struct{}

	mu      sync.Mutex
	pending map[types.NamespacedName]*syncRequest
}

// syncRequest is the request for one AuditSync.
type syncRequest struct {
	wanted   bool
	due      time.Time // not before
	failures int
}

func newSyncRequests(c client.Client, clock clock.Clock, log logr.Logger) *syncRequests {
	return &syncRequests{client: c, clock: clock, log: log, wake: make(chan struct{}, 1), pending: map[types.NamespacedName]*syncRequest{}}
}

// add requests a sync that starts after this call. It doesn't block.
func (s *syncRequests) add(key types.NamespacedName) {
	s.mu.Lock()
	request := s.pending[key]
	if request == nil {
		request = &syncRequest{due: s.clock.Now()}
		s.pending[key] = request
	}
	request.wanted = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// run passes requests on until ctx ends, and then immediately those that are left.
func (s *syncRequests) run(ctx context.Context) {
	for ctx.Err() == nil {
		due, wait := s.due()
		for _, key := range due {
			s.pass(ctx, key)
		}
		if len(due) > 0 {
			continue
		}
		timer := s.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C():
		}
		timer.Stop()
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestFlush)
	defer cancel()
	for _, key := range s.left() {
		s.pass(flush, key)
	}
}

// due removes and returns the requests that are due, drops idle AuditSyncs, and returns how long to wait for the next request.
func (s *syncRequests) due() (keys []types.NamespacedName, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	wait = time.Hour
	for key, request := range s.pending {
		switch until := request.due.Sub(now); {
		case until > 0:
			wait = min(wait, until)
		case request.wanted:
			request.wanted = false
			request.due = now.Add(requestEvery)
			keys = append(keys, key)
		default:
			delete(s.pending, key)
		}
	}
	return keys, wait
}

// left returns all requests, whether due or not.
func (s *syncRequests) left() (keys []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, request := range s.pending {
		if request.wanted {
			keys = append(keys, key)
		}
	}
	return keys
}

// pass sets the annotation. If that fails it will be retried, unless the AuditSync does not exist.
func (s *syncRequests) pass(ctx context.Context, key types.NamespacedName) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	at := s.clock.Now().UTC().Format(time.RFC3339Nano)
	// Patch only the annotation, so that concurrent changes by others are kept.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationReconcile: at}}})
	if err == nil {
		err = s.client.Patch(ctx, audit, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.pending[key]
	switch {
	case apierrors.IsNotFound(err):
		delete(s.pending, key)
	case err != nil:
		request.wanted = true
		request.failures++
		request.due = s.clock.Now().Add(min(time.Second<<min(request.failures-1, 10), requestBackoff))
		s.log.Error(err, "request a sync after a webhook", "namespace", key.Namespace, "name", key.Name)
	default:
		request.failures = 0
		s.log.Info("webhook requested a sync", "namespace", key.Namespace, "name", key.Name)
	}
}
