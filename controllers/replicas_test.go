package controllers_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// replica runs a controller with a cache of its own next to others. The transport may be nil.
func (w *world) replica(leaderElection bool, wrap func(http.RoundTripper) http.RoundTripper) (stop func()) {
	w.Helper()
	cfg, err := plane.User(w.user, "system:serviceaccounts")
	must(w.T, err)
	if wrap != nil {
		cfg.Wrap(wrap)
	}
	return w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.TempDir(), Concurrency: 1,
		Registry: prometheus.NewRegistry(), LeaderElection: leaderElection, LeaderElectionNamespace: w.namespace})
}

// applied expects exactly the fleet of n clusters, and that nobody wants to write any more.
func (f *fleet) applied(n int) {
	f.Helper()
	secrets := f.whole(n)
	if kinds := f.wanted(); len(kinds) > 0 {
		f.Errorf("writes of %v after all was done", kinds)
	}
	if !maps.Equal(f.secrets(), secrets) {
		f.Error("Secrets were written again")
	}
}

// appliedByTwo is the same for two controllers that both work. The one may still write when the other is done, but they come to
// an end.
func (f *fleet) appliedByTwo(n int) {
	f.Helper()
	f.eventually("nobody wants to write", func() bool { return len(f.wanted()) == 0 })
	f.untilQuiet()
	f.applied(n)
}

// wanted are the kinds of objects that a sync with nothing new writes, status apart.
func (f *fleet) wanted() (kinds []string) {
	f.Helper()
	mark := f.mark()
	f.request()
	for kind := range f.writes(mark) {
		if !strings.HasPrefix(kind, "auditsyncs") {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// whole expects exactly the fleet of n clusters, and returns its Secrets.
func (f *fleet) whole(n int) map[string]string {
	f.Helper()
	var want []string
	for i := range n {
		want = append(want, nameOf(i))
	}
	if got := f.names("mondoo-client"); strings.Join(got, " ") != strings.Join(want, " ") {
		f.Errorf("%d entries, want %d", len(got), n)
	}
	secrets := f.secrets()
	if len(secrets) != n {
		f.Errorf("%d Secrets, want %d", len(secrets), n)
	}
	return secrets
}

// TestTwoAtOnce starts two controllers at once. With leader election one works; without it, as nobody should run them, both
// do, and come to the same end.
func TestTwoAtOnce(t *testing.T) {
	const n = 60
	for _, elected := range []bool{true, false} {
		t.Run(fmt.Sprintf("leader election %t", elected), func(t *testing.T) {
			f := newFleet(newWorld(t))
			f.grantLease()
			commit := f.push(f.files(n))
			mark := f.mark()
			f.createSync(nil)
			stopFirst, stopSecond := f.replica(elected, nil), f.replica(elected, nil)
			defer stopSecond()
			defer stopFirst()
			f.untilReady(commit)
			writes := f.writes(mark)
			t.Logf("writes %v", writes)
			if elected && (writes["secrets"] != n || writes["mondooauditconfigs"] != 1 || writes["configmaps"] != 2) {
				t.Errorf("writes %v: work was done twice", writes)
			}
			applied := map[bool]func(int){true: f.applied, false: f.appliedByTwo}[elected]
			applied(n)
			f.untilAfterRequest(f.push(map[string]string{pathOf(n): f.cluster(nameOf(n)), pathOf(0): f.with(nameOf(0), "containerImageScanning: true")}))
			applied(n + 1)
		})
	}
}

// TestAPIServerRestarts restarts the API server in the middle of applying a fleet.
func TestAPIServerRestarts(t *testing.T) {
	const n = 300
	f := newFleet(newWorld(t))
	commit := f.push(f.files(n))
	mark := f.mark()
	f.startController(nil)
	f.createSync(nil)
	f.eventually("a third of the Secrets", func() bool { return f.writes(mark)["secrets"] > n/3 })
	must(t, plane.RestartAPIServer(t.Context()))
	f.untilReady(commit)
	requests := f.requests(mark)
	times := map[string]int{}
	for _, r := range requests {
		if r.Writes() && r.Resource == "secrets" && r.Code < 300 {
			times[r.Name]++
		}
	}
	twice := 0
	for _, n := range times {
		if n > 1 {
			twice++
		}
	}
	// A write whose answer the restart swallowed is done, and unknown: at most the writes of one moment are.
	if len(times) != n || twice > 8 {
		t.Errorf("%d Secrets were written, %d of them twice", len(times), twice)
	}
	f.applied(n)
}

// throttled answers every third write with what an API server under load says, before it lets the same one through.
type throttled struct {
	next    http.RoundTripper
	mu      sync.Mutex
	writes  int
	refused map[string]bool
	codes   map[int]int
}

func (t *throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") {
		return t.next.RoundTrip(r)
	}
	if code := t.refuse(r); code != 0 {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
		}
		response := refusal(r, code)
		if code == http.StatusTooManyRequests {
			response.Header.Set("Retry-After", "1")
		}
		return response, nil
	}
	return t.next.RoundTrip(r)
}

func (t *throttled) refuse(r *http.Request) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writes++; t.writes%3 != 0 || t.refused[r.URL.Path] {
		return 0
	}
	if t.refused == nil {
		t.refused, t.codes = map[string]bool{}, map[int]int{}
	}
	t.refused[r.URL.Path] = true
	code := http.StatusTooManyRequests
	if len(t.refused)%4 == 0 && strings.Contains(r.URL.Path, "/secrets/") {
		code = http.StatusConflict
	}
	t.codes[code]++
	return code
}

// TestThrottled has every third object refused once, with a conflict or too many requests: no Secret is written
// twice in the end, nor left out.
func TestThrottled(t *testing.T) {
	const n = 40
	f := newFleet(newWorld(t))
	slow := &throttled{}
	commit := f.push(f.files(n))
	mark := f.mark()
	f.startController(func(next http.RoundTripper) http.RoundTripper { slow.next = next; return slow })
	f.createSync(nil)
	f.untilReady(commit)
	slow.mu.Lock()
	t.Logf("refused %v", slow.codes)
	if slow.codes[http.StatusConflict] == 0 || slow.codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("refused %v: the test shows nothing", slow.codes)
	}
	slow.mu.Unlock()
	writes := f.writes(mark)
	t.Logf("writes %v", writes)
	// The entries whose Secrets were refused at first are in the audit config's second write.
	if writes["secrets"] != n || writes["mondooauditconfigs"] != 2 || writes["configmaps"] != 2 {
		t.Errorf("writes %v: %d Secrets were to be written once, audit config and inventory twice", writes, n)
	}
	f.applied(n)
}

// TestRefusedSecret has the API server refuse one Secret for good, as an admission policy does. What depends on it waits, a
// changed entry with it, since a new server must not get an old token; everything else is applied.
func TestRefusedSecret(t *testing.T) {
	w := newWorld(t)
	var refusing atomic.Bool
	w.startController(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && (strings.Contains(r.URL.Path, "/mondoo-client-eu-service-account-") && refusing.Load() || strings.Contains(r.URL.Path, "/mondoo-client-new-service-account-")) {
				return refusal(r, http.StatusUnprocessableEntity), nil
			}
			return next.RoundTrip(r)
		})
	})
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", ""), "clusters/us.yaml": w.tokenCluster("us", "")}
	w.createSync(nil)
	w.untilReady(w.push(files))
	before := w.entries("mondoo-client")["eu"]
	refusing.Store(true)
	w.push(map[string]string{
		"clusters/eu.yaml":  w.tokenClusterAt("eu", "https://moved.example.com", "CANARY-new-token", ""),
		"clusters/us.yaml":  w.tokenClusterAt("us", "https://moved.example.com", "CANARY-new-token", ""),
		"clusters/new.yaml": w.tokenCluster("new", ""),
	})
	status := w.request().Status
	if applied := condition(status, v1alpha1.ConditionApplied); applied.Reason != "Invalid" || !strings.HasPrefix(applied.Message, "apply Secret mondoo-client-eu-service-account") ||
		!strings.HasSuffix(applied.Message, "; and 1 more that could not be written") {
		t.Errorf("Applied %s: %s", applied.Reason, applied.Message)
	}
	entries := w.entries("mondoo-client")
	if got := w.names("mondoo-client"); strings.Join(got, " ") != "eu us" || !mondoo.Equal(entries["eu"], before) {
		t.Errorf("entries %v, eu %+v: the entries of refused Secrets should wait", got, entries["eu"])
	}
	if entries["us"].ServiceAccountAuth.Server != "https://moved.example.com" {
		t.Errorf("us %+v: it has nothing to do with the refusal", entries["us"])
	}
	refusing.Store(false)
	w.push(nil, "clusters/new.yaml")
	w.request()
	w.eventually("the moved cluster", func() bool {
		return w.entries("mondoo-client")["eu"].ServiceAccountAuth.Server == "https://moved.example.com"
	})
}
