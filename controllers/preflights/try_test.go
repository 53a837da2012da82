package preflights

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestTry: what is slow delays an answer by two seconds at most, and comes later. Asking again contacts no one.
func TestTry(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			if t.Cluster == "slow" {
				time.Sleep(5 * time.Second)
			}
			return passes(ctx, t)
		})
		a := newApplied()
		readied := 0
		try := func(names ...string) (got string) {
			var targets []preflight.Target
			for _, name := range names {
				targets = append(targets, preflight.Target{Cluster: name, Server: "https://" + name})
			}
			begun := time.Now()
			for _, result := range r.checker.Try(r.Context(), a.AuditSync, targets, a.Redactor, func() { readied++ }) {
				if result == nil {
					got += "? "
				} else {
					got += result.Cluster + " "
				}
			}
			if time.Since(begun) > tryPatience {
				r.Errorf("%v took %s", names, time.Since(begun))
			}
			return got
		}
		for _, step := range []struct {
			reason, want string
			names        []string
			after        time.Duration
			checked      []int // eu, slow
			ready        int
		}{
			{"one is slow", "eu ? ", []string{"eu", "slow"}, time.Minute, []int{1, 1}, 1},
			{"again", "eu slow ", []string{"eu", "slow"}, time.Minute, []int{1, 1}, 1},
			{"only the fast one", "eu ", []string{"eu"}, 15 * time.Minute, []int{1, 1}, 1},
			{"much later", "eu ? ", []string{"eu", "slow"}, time.Minute, []int{2, 2}, 2},
		} {
			if got := try(step.names...); got != step.want {
				t.Errorf("%s: %q, want %q", step.reason, got, step.want)
			}
			r.sleep(step.after)
			r.wants(step.reason, "eu slow", step.checked...)
			if readied != step.ready {
				t.Errorf("%s: ready %d times, want %d", step.reason, readied, step.ready)
			}
		}
		if got := r.options.Timeout; got != tryTimeout {
			t.Errorf("a check may take %s", got)
		}
	})
}

// TestTryTellsTargetsApart: what makes a credential useless belongs to the target, though no connection is made for it.
func TestTryTellsTargetsApart(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			return preflight.Run(ctx, t, preflight.Options{})
		})
		a := newApplied()
		seen := map[string]bool{}
		for _, kubeconfig := range []string{"[]", "{"} {
			target := preflight.FromKubeconfig("eu", []byte(kubeconfig), time.Now())
			got := r.checker.Try(r.Context(), a.AuditSync, []preflight.Target{target}, a.Redactor, func() {})
			if seen[got[0].Failure().Message] {
				t.Errorf("%q has the result of another one: %s", kubeconfig, got[0].Failure().Message)
			}
			seen[got[0].Failure().Message] = true
		}
	})
}

// TestTryBounds: no more than some run at the same time.
func TestTryBounds(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			time.Sleep(time.Second)
			return passes(ctx, t)
		})
		a := newApplied()
		var targets []preflight.Target
		for i := range 200 {
			targets = append(targets, preflight.Target{Cluster: fmt.Sprint(i)})
		}
		r.checker.Try(r.Context(), a.AuditSync, targets, a.Redactor, func() {})
		r.sleep(time.Minute)
		if r.most > tryWorkers || r.times("199")[0] != 1 {
			t.Errorf("%d at a time", r.most)
		}
	})
}

// TestTryNothing: without permission, no one is contacted, and no answer pends.
func TestTryNothing(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(*room, *applied)
	}{
		{"off", func(_ *room, a *applied) { a.Spec.Preflight.Mode = v1alpha1.PreflightOff }},
		{"an address that can't be read", func(_ *room, a *applied) { a.Spec.Preflight.AllowAddresses = []string{"1.2.3"} }},
		{"the management cluster's own addresses are unknown", func(r *room, _ *applied) { r.breaks(errors.New("no such host")) }},
	} {
		inBubble(t, func(r *room) {
			a := newApplied()
			tt.change(r, a)
			got := r.checker.Try(r.Context(), a.AuditSync, []preflight.Target{{Cluster: "eu"}}, a.Redactor, func() { r.Error("ready") })
			r.sleep(time.Minute)
			r.wants(tt.reason, "eu", 0)
			if len(got) != 1 || got[0] == nil || got[0].NotChecked == "" {
				r.Errorf("%s: %+v", tt.reason, got)
			}
		})
	}
	var none *Checker
	a := newApplied()
	if got := none.Try(t.Context(), a.AuditSync, []preflight.Target{{Cluster: "eu"}}, a.Redactor, nil); got[0].NotChecked == "" {
		t.Errorf("%+v", got)
	}
}
