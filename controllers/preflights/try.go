package preflights

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const (
	// tryPatience is how long Try waits for results.
	tryPatience = 2 * time.Second
	// tryTimeout bounds each of its checks.
	tryTimeout = 10 * time.Second
	// tryWorkers is how many of its checks run at the same time.
	tryWorkers = 32
	// tryKept is how long its results are kept.
	tryKept = 10 * time.Minute
)

// trial is the check of a target that isn't applied. The result is there when done is closed.
type trial struct {
	begun  time.Time
	done   chan struct{}
	result preflight.Result
}

// Try checks targets that may be applied one day, such as those of a pull request. It returns the results that are there within two
// seconds, nil for the others. Then ready is called when all are there, and asking again returns them. It checks nothing unless
// spec.preflight says so.
func (c *Checker) Try(ctx context.Context, audit *v1alpha1.AuditSync, targets []preflight.Target, redactor *redact.Redactor, ready func()) []*preflight.Result {
	if c == nil || !audit.Spec.Preflight.On() || len(targets) == 0 {
		return notTried(targets, "spec.preflight.mode is Off")
	}
	p, err := policyOf(audit.Spec.Preflight, nil)
	if err != nil {
		return notTried(targets, err.Error())
	}
	management, err := c.Management(ctx)
	if err != nil {
		return notTried(targets, "the addresses of the management cluster are unknown")
	}
	options := preflight.Options{Timeout: tryTimeout, Allow: p.allow, Proxies: p.proxies, Management: management, Redactor: redactor, Now: c.Clock.Now}
	trials := make([]*trial, len(targets))
	for i := range targets {
		trials[i] = c.trial(ctx, client.ObjectKeyFromObject(audit).String(), targets[i], options)
	}
	all := make(chan struct{})
	go func() {
		for _, t := range trials {
			<-t.done
		}
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
	case <-c.Clock.After(tryPatience):
		go func() { <-all; ready() }()
	}
	results := make([]*preflight.Result, len(targets))
	for i, t := range trials {
		select {
		case <-t.done:
			results[i] = &t.result
		default:
		}
	}
	return results
}

func notTried(targets []preflight.Target, why string) []*preflight.Result {
	results := make([]*preflight.Result, len(targets))
	for i := range targets {
		results[i] = &preflight.Result{Cluster: targets[i].Cluster, NotChecked: why}
	}
	return results
}

// trial returns the check of a target, and begins it unless it has begun not long ago. It goes on when ctx ends, until its timeout.
func (c *Checker) trial(ctx context.Context, owner string, target preflight.Target, o preflight.Options) *trial {
	text, err := json.Marshal([]any{owner, target.Fingerprint(), o.Allow, o.Proxies})
	if err != nil {
		panic(err) // there is nothing in it that JSON doesn't have
	}
	key, now := sha256.Sum256(text), c.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for known, t := range c.trials {
		if now.Sub(t.begun) > tryKept {
			delete(c.trials, known)
		}
	}
	if t := c.trials[key]; t != nil {
		return t
	}
	t := &trial{begun: now, done: make(chan struct{})}
	c.trials[key] = t
	go func() {
		defer close(t.done)
		c.tries <- struct{}{}
		defer func() { <-c.tries }()
		t.result = c.Check(context.WithoutCancel(ctx), target, o)
	}()
	return t
}
