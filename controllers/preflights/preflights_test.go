package preflights

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// room is a Checker at work in a bubble, whose checks are pretended.
type room struct {
	*testing.T
	checker *Checker
	changed chan event.TypedGenericEvent[*v1alpha1.AuditSync]
	stop    func()
	start   time.Time
	// answer is the result of a check.
	answer func(context.Context, preflight.Target) preflight.Result

	mu       sync.Mutex
	checked  map[string][]time.Duration // the ends of checks since the start, by cluster
	given    map[string]preflight.Target
	options  preflight.Options
	running  int
	most     int
	requests int
	plans    int   // changes that plans depend on
	broken   error // of the addresses of the management cluster
}

// inBubble runs a test with a Checker that works, in a time that passes by itself.
func inBubble(t *testing.T, test func(*room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &room{T: t, start: time.Now(), checked: map[string][]time.Duration{}, given: map[string]preflight.Target{}, answer: passes}
		r.begin()
		test(r)
		r.stop()
	})
}

// begin starts a Checker that knows nothing.
func (r *room) begin() {
	r.changed = make(chan event.TypedGenericEvent[*v1alpha1.AuditSync])
	r.checker = New(Options{Clock: clock.RealClock{}, Management: r.management, Check: r.check, Changed: r.changed, Planned: r.planned, Log: logr.Discard()})
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.checker.Start(ctx); err != nil {
			r.Error(err)
		}
	}()
	go func() {
		for range r.changed {
			r.mu.Lock()
			r.requests++
			r.mu.Unlock()
		}
	}()
	changed := r.changed
	r.stop = func() {
		cancel()
		<-done
		synctest.Wait()
		close(changed)
	}
}

func (r *room) planned(string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plans++
}

// requested is how many reconciles were requested.
func (r *room) requested() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// breaks has the addresses of the management cluster be unknown, for a reason, or known.
func (r *room) breaks(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = err
}

// gave is the target with which a cluster was last checked.
func (r *room) gave(name string) preflight.Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.given[name]
}

func (r *room) management(context.Context) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []netip.Addr{netip.MustParseAddr("10.96.0.1")}, r.broken
}

func (r *room) check(ctx context.Context, t preflight.Target, o preflight.Options) preflight.Result {
	r.mu.Lock()
	r.running++
	r.most = max(r.most, r.running)
	r.given[t.Cluster], r.options = t, o
	answer := r.answer
	r.mu.Unlock()
	result := answer(ctx, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	r.checked[t.Cluster] = append(r.checked[t.Cluster], time.Since(r.start))
	return result
}

func passes(_ context.Context, t preflight.Target) preflight.Result {
	return preflight.Result{Cluster: t.Cluster, UID: "uid-of-" + t.Server}
}

func fails(cause preflight.Cause) func(context.Context, preflight.Target) preflight.Result {
	return func(_ context.Context, t preflight.Target) preflight.Result {
		return preflight.Result{Cluster: t.Cluster, Checks: []preflight.Check{{Name: preflight.Connect, State: preflight.Failed, Cause: cause, Message: "it fails", Fix: "mend it"}}}
	}
}

// answers sets the result of the checks from now on.
func (r *room) answers(f func(context.Context, preflight.Target) preflight.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// sleep lets time pass, until all that is due by then is done.
func (r *room) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// times is how often each of the clusters was checked.
func (r *room) times(clusters ...string) (n []int) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range clusters {
		n = append(n, len(r.checked[c]))
	}
	return n
}

// wants expects that clusters were checked that often.
func (r *room) wants(reason string, clusters string, n ...int) {
	r.Helper()
	if got := r.times(strings.Fields(clusters)...); !slices.Equal(got, n) {
		r.Errorf("%s: %s checked %v times, want %v", reason, clusters, got, n)
	}
}

// applied is an AuditSync whose clusters are applied, each with a token for a server.
type applied struct {
	Sync
}

func newApplied(names ...string) *applied {
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "mondoo-operator", Name: "production"}}
	audit.Spec.Preflight.Mode = v1alpha1.PreflightReport
	a := &applied{Sync{AuditSync: audit, Fleet: &fleet.Opened{}, Redactor: &redact.Redactor{}, Inventories: []*inventory.Inventory{{AuditConfig: "mondoo-client"}}}}
	for _, name := range names {
		entry := mondoo.Entry{Name: name, ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://" + name, CredentialsSecretRef: mondoo.SecretRef{Name: name}}}
		a.Fleet.Clusters = append(a.Fleet.Clusters, fleet.Cluster{Name: name, AuditConfig: "mondoo-client", Entry: entry, Hash: "1"})
		a.Fleet.Secrets = append(a.Fleet.Secrets, fleet.Secret{Name: name, Hash: "1", Data: map[string]string{"token": "token-of-" + name}})
		a.Inventories[0].Clusters = append(a.Inventories[0].Clusters, inventory.Item{Name: name, Hash: "1"})
	}
	return a
}

// change makes a commit that changes the fleet, and applies it.
func (a *applied) change(change func(*fleet.Opened, *inventory.Inventory)) *applied {
	next, stored := *a.Fleet, *a.Inventories[0]
	next.Clusters, next.Secrets, stored.Clusters = slices.Clone(next.Clusters), slices.Clone(next.Secrets), slices.Clone(stored.Clusters)
	change(&next, &stored)
	a.Fleet, a.Inventories = &next, []*inventory.Inventory{&stored}
	return a
}

func (r *room) look(a *applied) *report.Preflight { return r.checker.Look(a.Sync) }

func TestChecksOnChange(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu", "us")
		if p := r.look(a); p.Pending != 2 || p.Passed != 0 {
			t.Errorf("%+v", p)
		}
		r.sleep(time.Second)
		r.wants("a new fleet", "eu us", 1, 1)
		if got := r.given["us"]; got.Server != "https://us" || got.Token != "token-of-us" || got.UID != "" {
			t.Errorf("%+v", got)
		}
		if m := r.options.Management; len(m) != 1 || m[0].String() != "10.96.0.1" {
			t.Errorf("management addresses %v", m)
		}
		for range 100 {
			r.look(a)
		}
		r.sleep(time.Hour)
		r.wants("nothing has changed", "eu us", 1, 1)

		a.change(func(f *fleet.Opened, i *inventory.Inventory) { f.Clusters[0].Hash, i.Clusters[0].Hash = "2", "2" })
		r.look(a)
		r.sleep(time.Second)
		r.wants("only the schedule has changed", "eu us", 1, 1)

		a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Hash, f.Clusters[0].Hash = "2", "3" })
		r.look(a)
		r.sleep(time.Second)
		r.wants("a new token that is not applied yet", "eu us", 1, 1)

		a.change(func(_ *fleet.Opened, i *inventory.Inventory) { i.Clusters[0].Hash = "3" })
		r.look(a)
		r.sleep(time.Second)
		r.wants("it is applied", "eu us", 2, 1)

		a.change(func(f *fleet.Opened, i *inventory.Inventory) {
			moved := *f.Clusters[1].Entry.ServiceAccountAuth
			moved.Server = "https://elsewhere"
			f.Clusters[1].Entry.ServiceAccountAuth, f.Clusters[1].Hash, i.Clusters[1].Hash = &moved, "2", "2"
		})
		r.look(a)
		r.sleep(time.Second)
		r.wants("another server", "eu us", 2, 2)

		a.Spec.Preflight.AllowAddresses = []string{"127.0.0.0/8", "::1"}
		r.look(a)
		r.sleep(time.Second)
		r.wants("an address is allowed", "eu us", 3, 3)
		if got := fmt.Sprint(r.options.Allow); got != "[127.0.0.0/8 ::1/128]" {
			t.Errorf("allowed %s", got)
		}
		a.Spec.Preflight.AllowProxies = []string{"proxy:3128"}
		r.look(a)
		r.sleep(time.Second)
		r.wants("a proxy is allowed", "eu us", 4, 4)
		a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[1].Version = "2" })
		r.look(a)
		r.sleep(time.Second)
		r.wants("a value that has changed without a commit", "eu us", 4, 5)
		if got := fmt.Sprint(r.options.Proxies); got != "[proxy:3128]" {
			t.Errorf("allowed %s", got)
		}
	})
}

// A kubeconfig is a credential, too. A cluster that was checked on change isn't checked at its former time.
func TestChecksKubeconfigs(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu")
		a.Fleet.Clusters[0].Entry = mondoo.Entry{Name: "eu", KubeconfigSecretRef: &mondoo.SecretRef{Name: "eu"}}
		r.look(a)
		r.sleep(12 * time.Hour)
		r.wants("a new cluster", "eu", 1)
		a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Hash = "2" })
		r.look(a)
		r.sleep(time.Second)
		r.wants("another kubeconfig", "eu", 2)
		r.sleep(20 * time.Hour)
		r.wants("within a day after it", "eu", 2)
		r.sleep(5 * time.Hour)
		r.wants("a day after it", "eu", 3)
	})
}

// What isn't applied as it is in Git is not contacted, and neither is anything while the mode is Off.
func TestChecksNothingElse(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(*room, *applied)
	}{
		{"quarantined", func(_ *room, a *applied) { a.Fleet.Clusters[0].Quarantined = true }},
		{"never applied", func(_ *room, a *applied) { a.Inventories[0].Clusters = nil }},
		{"about to be applied for the first time", func(_ *room, a *applied) { a.Fleet.Clusters[0].Hash, a.Inventories[0].Clusters[0].Hash = "", "" }},
		{"applied for another audit config", func(_ *room, a *applied) { a.Inventories[0].AuditConfig = "other" }},
		{"off", func(_ *room, a *applied) { a.Spec.Preflight.Mode = v1alpha1.PreflightOff }},
		{"no mode, as before an upgrade of the CRD", func(_ *room, a *applied) { a.Spec.Preflight.Mode = "" }},
		{"an address that can't be read", func(_ *room, a *applied) { a.Spec.Preflight.AllowAddresses = []string{"1.2.3"} }},
		{"the management cluster's own addresses are unknown", func(r *room, _ *applied) { r.breaks(errors.New("no such host")) }},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			inBubble(t, func(r *room) {
				a := newApplied("eu")
				tt.change(r, a)
				r.look(a)
				r.sleep(time.Hour)
				r.wants(tt.reason, "eu", 0)
			})
		})
	}
	var none *Checker
	if p := none.Look(newApplied("eu").Sync); p != nil {
		t.Errorf("%+v", p)
	}
	none.Forget(newApplied("eu").key())
}

func TestInvalidAddress(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu")
		a.Spec.Preflight.AllowAddresses = []string{"1.2.3"}
		if p := r.look(a); p == nil || !strings.Contains(p.Invalid, `"1.2.3"`) {
			t.Errorf("%+v", p)
		}
	})
}

func TestChecksDaily(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu", "us", "asia")
		r.look(a)
		r.sleep(4*24*time.Hour + time.Hour)
		for _, name := range []string{"eu", "us", "asia"} {
			if n := r.times(name)[0]; n != 5 {
				t.Errorf("%s was checked %d times in four days", name, n)
			}
		}
		if gap := r.checked["eu"][4] - r.checked["us"][4]; gap.Abs() < time.Minute {
			t.Errorf("after four days, two clusters are still checked together: %v", gap)
		}
		if got := r.given["eu"].UID; got != "uid-of-https://eu" {
			t.Errorf("the cluster that was seen before is %q", got)
		}
		// A shorter interval holds at once.
		before := r.times("eu")[0]
		a.Spec.Preflight.Interval = &metav1.Duration{Duration: 5 * time.Minute}
		r.look(a)
		r.sleep(time.Hour)
		if n := r.times("eu")[0] - before; n < 12 || n > 15 {
			t.Errorf("%d checks in an hour, one each five minutes", n)
		}
		a.Spec.Preflight.Mode = v1alpha1.PreflightOff
		if p := r.look(a); p != nil {
			t.Errorf("%+v", p)
		}
		before = r.times("eu")[0]
		r.sleep(48 * time.Hour)
		r.wants("off", "eu", before)
	})
}

// A cluster that fails is tried again soon, then less often.
func TestFailedIsCheckedAgain(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(fails(preflight.ConnectRefused))
		a := newApplied("eu")
		r.look(a)
		r.sleep(71 * time.Minute)
		r.wants("at once, and after 10, 30 and 70 minutes", "eu", 4)
		p := r.look(a)
		if len(p.Failures) != 1 || p.Failures[0].Since.Sub(r.start) > time.Second || p.Failures[0].Check.Cause != preflight.ConnectRefused {
			t.Errorf("%+v", p)
		}
		r.answers(passes)
		r.sleep(81 * time.Minute)
		if p := r.look(a); p.Passed != 1 || len(p.Failures) != 0 {
			t.Errorf("%+v", p)
		}
		before := r.times("eu")[0]
		r.sleep(21 * time.Hour)
		r.wants("it passed, so it is checked once a day", "eu", before)
		r.answers(fails(preflight.ConnectRefused))
		r.sleep(3 * 24 * time.Hour)
		if n := r.times("eu")[0] - before; n < 8 || n > 10 {
			t.Errorf("%d checks in three days of failure, at growing intervals and then one a day", n)
		}
	})
}

// TestSlowDelaysNone has a tenth of a thousand clusters hang for as long as a check may take.
func TestSlowDelaysNone(t *testing.T) {
	inBubble(t, func(r *room) {
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("c%d", i))
		}
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			if strings.HasSuffix(t.Cluster, "7") {
				time.Sleep(30 * time.Second)
				return fails(preflight.AnswerTimeout)(ctx, t)
			}
			return passes(ctx, t)
		})
		a := newApplied(names...)
		begun := time.Now()
		r.look(a)
		if time.Since(begun) > 0 {
			t.Error("a sync waits for checks")
		}
		r.sleep(90 * time.Second)
		p := r.look(a)
		if p.Passed != 900 || len(p.Failures) != 100 || p.Pending != 0 {
			t.Errorf("%d passed, %d failed, %d pending", p.Passed, len(p.Failures), p.Pending)
		}
		for i, name := range names {
			if late := r.checked[name][0] - time.Duration(i)*pace; !strings.HasSuffix(name, "7") && late > 100*time.Millisecond {
				t.Errorf("%s was %v late", name, late)
			}
		}
		if r.most > workers || r.most < workers/2 {
			t.Errorf("%d at a time", r.most)
		}
		r.sleep(2 * debounce)
		if r.requested() != 1 {
			t.Errorf("%d reconciles were requested for one round", r.requested())
		}
	})
}

func TestRequestsReconcileOnChange(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu", "us")
		r.look(a)
		for _, step := range []struct {
			reason string
			answer func(context.Context, preflight.Target) preflight.Result
			wait   time.Duration
			want   int
		}{
			{"the first round", passes, time.Minute, 1},
			{"the same results", passes, 25 * time.Hour, 1},
			{"both fail, at different times", fails(preflight.ConnectRefused), 25 * time.Hour, 3},
			{"for the same cause", fails(preflight.ConnectRefused), 25 * time.Hour, 3},
			{"for another cause", fails(preflight.TokenExpired), 25 * time.Hour, 5},
			{"they pass again", passes, 25 * time.Hour, 7},
		} {
			r.answers(step.answer)
			r.sleep(step.wait)
			if r.requested() != step.want {
				t.Errorf("%s: %d reconciles were requested, want %d", step.reason, r.requested(), step.want)
			}
			if changes := r.checker.Changes(a.key()); changes != uint64(step.want) {
				t.Errorf("%s: %d changes, want %d", step.reason, changes, step.want)
			}
		}
	})
}

// What is checked while something changes is of the past.
func TestLateResultIsDropped(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(*room, *applied)
		failed int
	}{
		{"nothing changes", func(*room, *applied) {}, 1},
		{"the AuditSync is deleted and comes back", func(r *room, a *applied) { r.checker.Forget(a.key()) }, 0},
		{"the credential changes", func(_ *room, a *applied) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Hash = "2" })
		}, 0},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			inBubble(t, func(r *room) {
				r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
					time.Sleep(10 * time.Second)
					return fails(preflight.TokenExpired)(ctx, t)
				})
				a := newApplied("eu")
				r.look(a)
				r.sleep(5 * time.Second)
				r.answers(passes)
				tt.change(r, a)
				r.look(a)
				r.sleep(time.Minute)
				if p := r.look(a); len(p.Failures) != tt.failed || p.Passed != 1-tt.failed {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// A new process makes the results again, and checks no cluster that a sync hasn't confirmed.
func TestRestart(t *testing.T) {
	inBubble(t, func(r *room) {
		a := newApplied("eu", "us")
		r.look(a)
		r.sleep(time.Minute)
		r.answers(func(ctx context.Context, _ preflight.Target) preflight.Result {
			<-ctx.Done()
			return preflight.Result{Checks: []preflight.Check{{Name: preflight.Connect, State: preflight.Failed, Cause: preflight.Interrupted}}}
		})
		a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Hash = "2" })
		r.look(a)
		r.sleep(time.Second)
		r.stop() // in the middle of a check
		if p := r.look(a); p.Pending != 1 || len(p.Failures) != 0 {
			t.Errorf("an interrupted check is a result: %+v", p)
		}
		r.answers(passes)
		r.begin()
		none := a.Sync
		none.Fleet = nil
		if p := r.checker.Look(none); p != nil {
			t.Errorf("before the first sync: %+v", p)
		}
		r.sleep(time.Minute)
		r.wants("before the first sync", "eu us", 2, 1)
		r.look(a)
		r.sleep(time.Minute)
		r.wants("after it", "eu us", 3, 2)
		if p := r.checker.Look(none); p == nil || p.Passed != 2 {
			t.Errorf("what is known stays while a sync fails: %+v", p)
		}
	})
}

// Names come from the repository, and could be those of a secret.
func TestNamesAreMasked(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(fails(preflight.TokenExpired))
		a := newApplied("canary-secret")
		a.Redactor.Add("canary-secret")
		r.look(a)
		r.sleep(time.Second)
		p := r.look(a)
		if len(p.Failures) != 1 || p.Failures[0].Cluster != redact.Mask {
			t.Errorf("%+v", p)
		}
		if r.options.Redactor != a.Redactor {
			t.Error("the check doesn't know the secrets of the fleet")
		}
	})
}
