package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// DefaultSyncTimeout is for Options.SyncTimeout. The largest fleets take a minute or two from nothing.
const DefaultSyncTimeout = 10 * time.Minute

// reasonOverrun is the reason of the condition whose stage ran out of time.
const reasonOverrun = "TookTooLong"

// grace is how long a stage may take to end once it was told to.
const grace = 5 * time.Second

// The stages of a sync, as messages name them.
const (
	stageFetch  = "fetch"
	stageRender = "render"
	stageApply  = "apply"
)

// watchdog ends a sync that takes too long. What heeds its context ends at once. What doesn't (a library at work on a hostile file) can't be
// ended: it is left alone, and until it ends by itself nothing else is done for its AuditSync. Either way the worker is free for the next.
type watchdog struct {
	stage atomic.Value // string
	// running is closed when the sync that was left alone has ended; nil when there is none.
	running chan struct{}
}

// enter notes which stage has begun.
func (w *watchdog) enter(stage string) { w.stage.Store(stage) }

// stuck says whether a sync that was left alone still runs.
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

// run runs a sync for no longer than limit. The failure is nil unless the sync overran; then what it returns isn't used, and the state
// may only be touched when stuck says no.
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
			r.panicked = recover() // it is for the worker, which survives it
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
		Message: fmt.Sprintf("the sync took longer than %s and was ended in the stage %s; what was applied stays", limit, w.stage.Load())}
	if stuck {
		f.Message = fmt.Sprintf("the sync took longer than %s and can't be ended in the stage %s: nothing is done until that ends by itself; what was applied stays. "+
			"Undo the last change in Git and restart Muster", limit, w.stage.Load())
	}
	return f
}

// overran is the outcome of a sync that overran, for the condition of its stage.
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
