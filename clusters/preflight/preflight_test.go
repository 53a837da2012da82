package preflight

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/muster-gitops/muster/clusters/redact"
)

// TestEchoes: a server that repeats the credential wherever a text of its own is shown.
func TestEchoes(t *testing.T) {
	long := expiring(now.AddDate(1, 0, 0)) + strings.Repeat("x", 900)
	for _, token := range []string{canary, long} {
		for _, test := range []struct {
			reason string
			echo   func(c *cluster, w http.ResponseWriter, r *http.Request, authorization string) bool
		}{
			{"version", func(_ *cluster, w http.ResponseWriter, r *http.Request, a string) bool {
				if r.URL.Path != "/version" {
					return false
				}
				fmt.Fprint(w, `{"gitVersion":"`+a+`"}`)
				return true
			}},
			{"user", func(c *cluster, _ http.ResponseWriter, _ *http.Request, a string) bool { c.user = a; return false }},
			{"uid", func(c *cluster, _ http.ResponseWriter, _ *http.Request, a string) bool { c.uid = a; return false }},
			{"redirect", func(_ *cluster, w http.ResponseWriter, r *http.Request, a string) bool {
				http.Redirect(w, r, "https://"+strings.TrimPrefix(a, "Bearer ")+".example.com/", http.StatusFound)
				return true
			}},
			{"part of the token as user", func(c *cluster, _ http.ResponseWriter, _ *http.Request, a string) bool {
				c.user = partOf(a)
				return false
			}},
			{"part of the token in a redirect", func(_ *cluster, w http.ResponseWriter, r *http.Request, a string) bool {
				http.Redirect(w, r, "https://"+partOf(a)+".example.com/", http.StatusFound)
				return true
			}},
			{"status", func(_ *cluster, w http.ResponseWriter, _ *http.Request, a string) bool {
				refuse(w, http.StatusUnauthorized, a)
				return true
			}},
			{"page", func(_ *cluster, w http.ResponseWriter, _ *http.Request, a string) bool {
				fmt.Fprint(w, "<html>"+a)
				return true
			}},
			{"control characters", func(c *cluster, _ http.ResponseWriter, _ *http.Request, a string) bool {
				c.user = "\x1b[2J\u202e\n" + strings.TrimPrefix(a, "Bearer ")
				return false
			}},
		} {
			c := newCluster()
			c.rules = nil // so that the user is part of a message
			c.before = func(w http.ResponseWriter, r *http.Request) bool {
				return test.echo(c, w, r, r.Header.Get("Authorization"))
			}
			r := target(good(t, c))
			r.Token, r.UID = token, "before"
			got := Run(t.Context(), r, options())
			all := text(got) + got.Version + got.User + got.UID
			if strings.Contains(all, canary) || strings.Contains(all, token[:20]) {
				t.Errorf("%s: the token is shown\n%s", test.reason, all)
			}
			if strings.ContainsAny(all, "\x1b\u202e") || len(all) > 10_000 {
				t.Errorf("%s: %q", test.reason, all)
			}
		}
	}
}

// partOf is the first part of a long token, which the redactor doesn't know, and another text for a short one.
func partOf(authorization string) string {
	token := strings.TrimPrefix(authorization, "Bearer ")
	if len(token) < 900 {
		return "part"
	}
	return token[:len(token)-10]
}

// TestEndlessAnswer: little more than the limit is read.
func TestEndlessAnswer(t *testing.T) {
	var sent atomic.Int64
	part := strings.Repeat("x", 64<<10)
	r := Run(t.Context(), target(good(t, answering(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			n, err := fmt.Fprint(w, part)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))), options())
	if f := r.Failure(); f == nil || f.Cause != AnswerTooLarge || sent.Load() > 64<<20 { // the rest is in buffers of the system
		t.Errorf("%d bytes\n%s", sent.Load(), text(r))
	}
}

// TestConnectionsAreClosed: a check leaves no connection open, however it ends.
func TestConnectionsAreClosed(t *testing.T) {
	for reason, handler := range map[string]http.Handler{
		"passed":   newCluster(),
		"rejected": answering(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusUnauthorized, "Unauthorized") }),
		"redirected": answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://a.example.com", http.StatusFound)
		}),
		"too large": answering(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", maxAnswer+100_000)) }),
	} {
		ended := make(chan struct{}, 1)
		server := httptest.NewUnstartedServer(handler)
		server.TLS = config(trusted().server(nil))
		server.Config.ErrorLog = quiet
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				ended <- struct{}{}
			}
		}
		server.StartTLS()
		Run(t.Context(), target(server.Listener.Addr().String()), options())
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("%s: the connection is still open", reason)
		}
		server.Close()
	}
}

// TestRedactor: what the run knows is masked as well, and not only the target's own secrets.
func TestRedactor(t *testing.T) {
	c := newCluster()
	c.user = "another-secret-of-the-run"
	o := options()
	o.Redactor = &redact.Redactor{}
	o.Redactor.Add("another-secret-of-the-run")
	if r := Run(t.Context(), target(good(t, c)), o); strings.Contains(text(r)+r.User, "another-secret") || r.User != redact.Mask {
		t.Errorf("%q\n%s", r.User, text(r))
	}
}

// TestRedirectsAreNotFollowed: the host that a redirect names sees no request.
func TestRedirectsAreNotFollowed(t *testing.T) {
	there := newCluster()
	elsewhere := good(t, there)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := Run(t.Context(), target(good(t, answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+elsewhere+"/version", status)
		}))), options())
		if f := r.Failure(); f == nil || f.Cause != Redirect || len(there.requests) != 0 {
			t.Errorf("%d: %q\n%s", status, there.requests, text(r))
		}
	}
}

// TestUnverifiedServerGetsNoCredential: neither token nor client certificate reach a server whose certificate is wrong.
func TestUnverifiedServerGetsNoCredential(t *testing.T) {
	c := newCluster()
	r := target(serve(t, config(other().server(nil)), c))
	r.Certificate, r.Key = trusted().client(nil)
	if got := Run(t.Context(), r, options()); got.Failure().Cause != ServerCertificateUnknown || len(c.requests) != 0 {
		t.Errorf("%q\n%s", c.requests, text(got))
	}
}

// TestReadsOnly holds the requests of a check.
func TestReadsOnly(t *testing.T) {
	const access, login = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST /apis/authentication.k8s.io/v1/selfsubjectreviews"
	c := newCluster()
	Run(t.Context(), target(good(t, c)), options())
	want := []string{"GET /version", login, access, access, access, "GET /api/v1/namespaces/kube-system"}
	if strings.Join(c.requests, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests %q, want %q", c.requests, want)
	}
}

func TestRights(t *testing.T) {
	everything := []authorizationv1.ResourceRule{{Verbs: []string{all}, APIGroups: []string{all}, Resources: []string{all}}}
	for _, test := range []struct {
		reason  string
		cluster func(*cluster)
		missing string
	}{
		{"everything", func(c *cluster) { c.rules = everything }, ""},
		{"an authorizer outside of the server denies */* and Secrets, and allows all else", func(c *cluster) {
			c.rules, c.incomplete = nil, true
			c.single = func(a authorizationv1.ResourceAttributes) bool { return a.Resource != "secrets" && a.Resource != all }
		}, "secrets, all other kinds, such as custom resources"},
		{"only list of Secrets is missing", func(c *cluster) {
			c.rules, c.incomplete = nil, true
			c.single = func(a authorizationv1.ResourceAttributes) bool {
				return a.Resource != all && (a.Resource != "secrets" || a.Verb != "list")
			}
		}, "secrets (list), all other kinds, such as custom resources"},
		{"everything that is named, so that only what is not named is missing", func(c *cluster) {
			c.rules = nil
			for _, k := range kinds[:len(kinds)-1] {
				c.rules = append(c.rules, authorizationv1.ResourceRule{Verbs: verbs, APIGroups: []string{k.Group}, Resources: []string{k.Resource}})
			}
		}, "all other kinds, such as custom resources"},
	} {
		c := newCluster()
		test.cluster(c)
		r := Run(t.Context(), target(good(t, c)), options())
		rights := state(r, Rights)
		if test.missing == "" && (rights.State != Passed || r.Granted == nil || !r.Granted.Everything) || !strings.HasSuffix(rights.Message, test.missing) {
			t.Errorf("%s:\n%s", test.reason, text(r))
		}
	}
}

// TestOldServers: what a server doesn't tell is not checked, and the rest is.
func TestOldServers(t *testing.T) {
	c := newCluster()
	c.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "self") {
			refuse(w, http.StatusNotFound, "the server could not find the requested resource")
			return true
		}
		return false
	}
	r := Run(t.Context(), target(good(t, c)), options())
	if r.Failure() != nil || state(r, Login).State != NotChecked || state(r, Rights).State != NotChecked || state(r, Identity).State != Passed || r.Granted != nil {
		t.Errorf("%s", text(r))
	}
}

// TestTimeout: a server that takes nearly all of each step's time can't take more than the target's.
func TestTimeout(t *testing.T) {
	c := newCluster()
	c.before = func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(400 * time.Millisecond):
		case <-r.Context().Done():
		}
		return false
	}
	o := options()
	o.Timeout = time.Second
	began := time.Now()
	r := Run(t.Context(), target(good(t, c)), o)
	if f := r.Failure(); f == nil || f.Cause != AnswerTimeout {
		t.Errorf("%s", text(r))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestAll: a target that hangs delays no other, and whoever stops early leaves nothing running.
func TestAll(t *testing.T) {
	release := make(chan struct{})
	hung := target(listen(t, func(c net.Conn) { <-release; hangUp(c) }))
	fine := target(good(t, newCluster()))
	var got []int
	for i, r := range All(t.Context(), []Target{hung, fine, hung, fine}, options()) {
		if r.Failure() != nil {
			t.Errorf("%d:\n%s", i, text(r))
		}
		if got = append(got, i); len(got) == 2 {
			break // the hung ones are still hanging
		}
	}
	if got[0]+got[1] != 1+3 {
		t.Errorf("the first two are %d", got)
	}
	close(release)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, r := range All(ctx, []Target{hung, fine, hung}, options()) {
		if n++; r.Failure() == nil {
			t.Errorf("an interrupted check passes:\n%s", text(r))
		}
	}
	if n != 3 {
		t.Errorf("%d results, want one a target even when interrupted", n)
	}
}

// TestParallel: no more targets than Parallel are checked at a time.
func TestParallel(t *testing.T) {
	var current, crowded atomic.Int32
	c := newCluster()
	c.before = func(http.ResponseWriter, *http.Request) bool {
		defer current.Add(-1)
		if current.Add(1) > 3 {
			crowded.Add(1)
		}
		time.Sleep(5 * time.Millisecond)
		return false
	}
	targets := make([]Target, 12)
	for i := range targets {
		targets[i] = target(good(t, c))
	}
	o := options()
	o.Parallel = 3
	for range All(t.Context(), targets, o) {
	}
	if n := crowded.Load(); n > 0 {
		t.Errorf("%d requests came while 3 others were answered", n)
	}
}

// BenchmarkAll checks 1,000 targets, of which 100 hang, with the limits that Options have by default.
func BenchmarkAll(b *testing.B) {
	hung := target(listen(b, func(net.Conn) {}))
	fine := target(good(b, newCluster()))
	targets := make([]Target, 1000)
	for i := range targets {
		if targets[i] = fine; i%10 == 0 {
			targets[i] = hung
		}
	}
	o := Options{Allow: options().Allow, Now: options().Now}
	for b.Loop() {
		most, stop := peak()
		began, passed, early := time.Now(), 0, 0
		for _, r := range All(b.Context(), targets, o) {
			if r.Failure() == nil {
				passed++
			}
			if time.Since(began) < 5*time.Second {
				early++
			}
		}
		stop()
		if took := time.Since(began); passed != 900 || took > time.Minute {
			b.Errorf("%d passed in %v, want 900 in a minute", passed, took)
		}
		if *most > 256<<20 {
			b.Errorf("the heap grew to %d MiB", *most>>20)
		}
		b.ReportMetric(float64(early), "done-in-5s")
		b.ReportMetric(float64(*most>>20), "MiB-peak")
	}
}

// peak measures the heap until stop is called.
func peak() (most *uint64, stop func()) {
	most = new(uint64)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapInuse > *most {
				*most = m.HeapInuse
			}
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return most, func() { close(end); <-ended }
}
