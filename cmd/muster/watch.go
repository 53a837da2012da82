package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// streaming returns a copy of the cluster whose requests may stay open: watches and logs.
func (c *cluster) streaming() (*cluster, error) {
	open := *c
	open.config = rest.CopyConfig(c.config)
	open.config.Timeout = 0
	var err error
	if open.dynamic, err = dynamic.NewForConfig(open.config); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return &open, nil
}

// in returns the cluster with another namespace; "" means all of them.
func (c *cluster) in(namespace string) *cluster {
	other := *c
	other.namespace = namespace
	return &other
}

// follow calls handle for what happens to the objects of a kind from now on, until ctx ends. It calls ready once the watch
// holds, so that what is read afterwards misses nothing. A watch that the API server ends is continued. One that has lost its
// place starts again, which handle learns from a nil event.
func (c *cluster) follow(ctx context.Context, kind schema.GroupVersionResource, opts metav1.ListOptions, ready func(), handle func(*watch.Event)) error {
	objects := c.dynamic.Resource(kind).Namespace(c.namespace)
	watcher := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.LabelSelector, o.FieldSelector = opts.LabelSelector, opts.FieldSelector
		return objects.Watch(ctx, o)
	}}
	for started := false; ; started = true {
		first := opts
		first.Limit = 1
		list, err := objects.List(ctx, first)
		if err != nil && started && transient(err) {
			if err := pause(ctx, retryAfter); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		events, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), watcher)
		if err != nil {
			return err
		}
		if ready(); started {
			handle(nil)
		}
		if err := deliver(ctx, events, handle); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// retryAfter is how long to wait for an API server or a kubelet that has gone away.
const retryAfter = time.Second

// transient reports whether an error is one of the network, or of an API server that restarts.
func transient(err error) bool {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnknown, metav1.StatusReasonServiceUnavailable, metav1.StatusReasonInternalError, metav1.StatusReasonTimeout,
		metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests:
		return true
	}
	return false
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliver hands events on until the watch ends. The error is nil when the watch may start again.
func deliver(ctx context.Context, events watch.Interface, handle func(*watch.Event)) error {
	defer events.Stop()
	for e := range events.ResultChan() {
		if e.Type != watch.Error {
			handle(&e)
			continue
		}
		err := apierrors.FromObject(e.Object)
		if status, ok := err.(apierrors.APIStatus); ok && status.Status().Code == http.StatusGone {
			return nil
		}
		return err
	}
	return ctx.Err()
}

// watched is a kind of objects that a view depends on.
type watched struct {
	kind schema.GroupVersionResource
	// what names the objects in a note when the user may not watch them. Empty means that the view needs them.
	what string
	opts metav1.ListOptions
}

// settle is how long a view waits for further changes before it is made anew: a sync changes many objects at once.
const settle = 300 * time.Millisecond

// minute is how often a view is made anew without a change, because ages and overdue scans depend on the time alone.
const minute = time.Minute

// onChange calls show now, and again whenever an object of the kinds has changed, until ctx ends. Objects that the user may
// not watch are named in the notes.
func (c *cluster) onChange(ctx context.Context, kinds []watched, show func(notes []string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{cluster: c, changed: make(chan struct{}, 1), ready: make(chan struct{}, len(kinds)), ends: make(chan end, len(kinds))}
	if err := f.start(ctx, kinds); err != nil {
		return err
	}
	ticker := time.NewTicker(minute)
	defer ticker.Stop()
	for shown := false; ; shown = true {
		switch err := show(f.notes); {
		case err != nil && shown && transient(err) && ctx.Err() == nil:
			if err := pause(ctx, retryAfter); err != nil {
				return err
			}
			f.note(nil) // read again
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-f.ends:
			if err := f.ended(ctx, e); err != nil {
				return err
			}
		case <-f.changed:
			if err := f.settle(ctx); err != nil {
				return err
			}
		case <-ticker.C:
		}
	}
}

// follower follows several kinds of objects.
type follower struct {
	*cluster
	changed chan struct{} // has room for one
	ready   chan struct{} // one for each kind whose watch holds
	ends    chan end
	notes   []string
}

// end is the end of a watch.
type end struct {
	of  watched
	err error
}

// start returns when all watches hold, or have ended because the user may not watch.
func (f *follower) start(ctx context.Context, kinds []watched) error {
	open, err := f.streaming()
	if err != nil {
		return err
	}
	for _, k := range kinds {
		holds := sync.OnceFunc(func() { f.ready <- struct{}{} })
		go func() { f.ends <- end{k, open.follow(ctx, k.kind, k.opts, holds, f.note)} }()
	}
	for range kinds {
		select {
		case <-f.ready:
		case e := <-f.ends:
			if err := f.ended(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// note notes that something has changed.
func (f *follower) note(*watch.Event) {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// settle waits for further changes.
func (f *follower) settle(ctx context.Context) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	select {
	case <-f.changed: // what is read next has it
	default:
	}
	return nil
}

// ended returns an error if the view can't do without what a watch has followed.
func (f *follower) ended(ctx context.Context, e end) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case e.of.what == "" || !apierrors.IsForbidden(e.err):
		return f.explain("watch "+e.of.kind.Resource, e.err)
	}
	where := " in " + f.namespace
	if f.namespace == "" {
		where = ""
	}
	f.notes = append(f.notes, "changes of "+e.of.what+" are not followed: no permission to list and watch them"+where)
	slices.Sort(f.notes)
	return nil
}
