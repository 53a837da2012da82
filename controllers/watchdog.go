package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// DefaultSyncTimeout is the default for Options.SyncTimeout. The first sync of the largest fleets takes a minute or two.
const DefaultSyncTimeout = 10 * time.Minute

// reasonOverrun is the condition reason for a stage that ran out of time.
const reasonOverrun = "TookTooLong"

// grace is how long a stage may take to return after its context is canceled.
const grace = 5 * time.Second

// The stages of a sync, as named in messages.
const (
	stageFetch  = "fetch"
	stageRender = "render"
	stageApply  = "apply"
)

// watchdog ends a sync that takes too long, by its context. A sync that ignores its context (such as a library that parses a hostile
// file) can't be ended. It is abandoned, and its AuditSync is not synced again until it returns. Either way the worker is free for
// the next AuditSync.
type watchdog struct {
	stage atomic.Value // string
	// running is closed when the abandoned sync returns; nil if there is none.
	running chan struct{}
}

// enter records the current stage.
func (w *watchdog) enter(stage string) { w.stage.Store(stage) }

// stuck reports whether an abandoned sync is still running.
func (w *watchdog) stuck() bool {
	if w.running == nil {
		return false
	}
	select {
	case <-w.running:
		w.running = nil
		return false
	default:
		return true
	}
}

// after calls f as soon as no sync is running: at once, or when the abandoned one returns.
func (w *watchdog) after(f func()) {
	if !w.stuck() {
		f()
		return
	}
	running := w.running
	go func() {
		<-running
		f()
	}()
}

// run runs a sync for at most limit. The failure is nil unless the sync overran. After an overrun, the caller must not use the outcome,
// and must not touch the state while stuck returns true.
func (w *watchdog) run(ctx context.Context, limit time.Duration, sync func(context.Context) report.Outcome) (report.Outcome, *report.Failure) {
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		outcome  report.Outcome
		panicked any
	}
	ended, results := make(chan struct{}), make(chan result, 1)
	go func() {
		defer close(ended)
		var r result
		defer func() {
			r.panicked = recover() // passed on to the worker, which survives panics
			results <- r
		}()
		r.outcome = sync(timed)
	}()
	select {
	case <-ended:
	case <-timed.Done():
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case <-ended:
		case <-patience.C:
			w.running = ended
			return report.Outcome{}, w.overrun(limit, true)
		}
	}
	r := <-results
	if r.panicked != nil {
		panic(r.panicked)
	}
	if timed.Err() != nil && ctx.Err() == nil {
		return r.outcome, w.overrun(limit, false)
	}
	return r.outcome, nil
}

func (w *watchdog) overrun(limit time.Duration, stuck bool) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: reasonOverrun,
		Message: fmt.Sprintf("the sync took longer than %s and was canceled in stage %s; the applied objects are left unchanged", limit, w.stage.Load())}
	if stuck {
		f.Message = fmt.Sprintf("the sync took longer than %s and can't be canceled in stage %s, so nothing is synced until it returns; the applied objects are left unchanged; "+
			"revert the last change in Git and restart Muster", limit, w.stage.Load())
	}
	return f
}

// overran returns the outcome of a sync that overran, with the failure in its stage.
func (w *watchdog) overran(f *report.Failure, audit *v1alpha1.AuditSync) report.Outcome {
	o := report.Outcome{Corrects: audit.Spec.Drift != v1alpha1.DriftReport}
	switch w.stage.Load() {
	case stageRender:
		o.Render = f
	case stageApply:
		o.Apply = f
	default:
		o.Fetch = f
	}
	return o
}
