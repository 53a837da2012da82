package renewals

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/renew"
)

// TestThirtyDays renews the tokens of 20 clusters, of one hour each, for 30 days with a restart a day, an outage that is shorter than a
// lifetime and one that is longer. Time and servers are pretended. A scan looks at every token each five minutes.
func TestThirtyDays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("c%02d", i))
		}
		w := newWorld(t, names...)
		for _, name := range names {
			w.add(name, w.token(name, 2*time.Hour), time.Hour) // the seed is needed at the start alone
		}
		w.start()
		begun := time.Now()
		short, long := within{begun, 5 * 24 * time.Hour, 29 * time.Minute}, within{begun, 12 * 24 * time.Hour, 3 * time.Hour}
		foretold, invalid := map[string]time.Time{}, map[string]time.Time{}
		var scans, lost int
		mended := false
		for minute := 0; minute < 30*24*60; minute += 5 {
			pass(5 * time.Minute)
			if minute%(24*60) == 7*60 {
				w.end()
				w.start()
				pass(time.Second)
			}
			for i, name := range names {
				w.set(name, func(s *server) { s.down = short.now() || long.now() && i < 10 })
				scans++
				for _, f := range w.found(name) {
					if _, known := foretold[name]; !known && f.Code == renew.CodeFailing {
						foretold[name] = time.Now()
					}
				}
				if w.works(name) {
					continue
				}
				lost++
				if _, known := invalid[name]; !known {
					invalid[name] = time.Now()
				}
				if i >= 10 || time.Since(begun) < long.after || mended {
					t.Fatalf("%s has no valid token after %s: %+v", name, time.Since(begun), w.found(name))
				}
				if f := w.found(name); len(f) != 1 || f[0].Code != renew.CodeEnded {
					t.Fatalf("%s: findings %+v", name, f)
				}
			}
			if minute == 12*24*60+4*60 {
				mended = true // the seeds have ended as well, so someone has to issue new ones
				for _, name := range names[:10] {
					w.add(name, w.token(name, 2*time.Hour), time.Hour)
				}
				w.reconcile(false)
			}
		}
		for i, name := range names[:10] {
			if early := invalid[name].Sub(foretold[name]); foretold[name].IsZero() || early < 10*time.Minute {
				t.Errorf("%s (%d): foretold %s before", name, i, early)
			}
		}
		requests := 0
		for _, s := range w.servers {
			requests += len(s.requests)
		}
		t.Logf("%d scans, %d in the long outage without a valid token, %d swaps, %d requests, %d reconciles", scans, lost, w.swaps, requests, w.syncs)
		if lost == 0 || w.swaps < 20*24*30 || w.swaps > 20*24*30*23/10 {
			t.Errorf("%d swaps, %d lost", w.swaps, lost)
		}
		w.end()
	})
}

// within is a time after a beginning.
type within struct {
	begun       time.Time
	after, long time.Duration
}

func (w within) now() bool {
	since := time.Since(w.begun)
	return since >= w.after && since < w.after+w.long
}
