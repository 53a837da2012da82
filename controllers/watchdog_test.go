package controllers

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// TestWatchdog: a sync that overruns is ended and named, whether or not it heeds its context, and one that can't be ended keeps its
// AuditSync to itself until it is over.
func TestWatchdog(t *testing.T) {
	const limit = time.Minute
	for _, row := range []struct {
		reason  string
		sync    func(ctx context.Context, w *watchdog)
		takes   time.Duration
		says    string // nothing: in time
		stuck   bool
		outcome func(report.Outcome) *report.Failure
	}{
		{reason: "in time", sync: func(context.Context, *watchdog) { time.Sleep(limit - time.Second) }, takes: limit - time.Second},
		{reason: "a fetch that heeds its context", sync: func(ctx context.Context, w *watchdog) { w.enter(stageFetch); <-ctx.Done() }, takes: limit,
			says: "was canceled in stage fetch", outcome: func(o report.Outcome) *report.Failure { return o.Fetch }},
		{reason: "a render that takes a moment to end", sync: func(ctx context.Context, w *watchdog) {
			w.enter(stageRender)
			<-ctx.Done()
			time.Sleep(grace - time.Second)
		}, takes: limit + grace - time.Second, says: "was canceled in stage render", outcome: func(o report.Outcome) *report.Failure { return o.Render }},
		{reason: "a render that heeds nothing", sync: func(_ context.Context, w *watchdog) { w.enter(stageFetch); w.enter(stageRender); time.Sleep(time.Hour) }, takes: limit + grace,
			says: "can't be canceled in stage render", stuck: true, outcome: func(o report.Outcome) *report.Failure { return o.Render }},
		{reason: "an API server that does not answer", sync: func(ctx context.Context, w *watchdog) { w.enter(stageApply); <-ctx.Done() }, takes: limit,
			says: "was canceled in stage apply", outcome: func(o report.Outcome) *report.Failure { return o.Apply }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &watchdog{}
			started := time.Now()
			_, failure := w.run(t.Context(), limit, func(ctx context.Context) report.Outcome {
				row.sync(ctx, w)
				return report.Outcome{Revision: "r"}
			})
			if took := time.Since(started); took != row.takes || (failure != nil) != (row.says != "") || w.stuck() != row.stuck {
				t.Errorf("%s: %v after %v, stuck %t", row.reason, failure, took, w.stuck())
			}
			if failure == nil {
				return
			}
			if !strings.Contains(failure.Message, row.says) || row.outcome(w.overran(failure, &v1alpha1.AuditSync{})) != failure {
				t.Errorf("%s: %s", row.reason, failure.Message)
			}
			time.Sleep(2 * time.Hour)
			if w.stuck() {
				t.Errorf("%s: stuck although it is over", row.reason)
			}
		})
	}
}

// TestWatchdogPassesPanicsOn: they are the worker's, which reports them; in a goroutine of its own one would end the process.
func TestWatchdogPassesPanicsOn(t *testing.T) {
	defer func() {
		if recover() != "oh" {
			t.Error("no panic")
		}
	}()
	(&watchdog{}).run(t.Context(), time.Minute, func(context.Context) report.Outcome { panic("oh") })
}

// TestWatchdogIsNoFailureAtShutdown: a sync that ends with the process has not overrun.
func TestWatchdogIsNoFailureAtShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, failure := (&watchdog{}).run(ctx, time.Minute, func(ctx context.Context) report.Outcome { cancel(); <-ctx.Done(); return report.Outcome{} })
	if failure != nil {
		t.Error(failure)
	}
}
