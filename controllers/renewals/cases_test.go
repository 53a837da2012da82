package renewals

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestAnswers gives odd answers to requests. No answer may lead to a token that doesn't work.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		reason string
		server func(*server)
		// message and fix are parts of the finding's; none without one. renewed is whether there is a renewed token.
		message, fix string
		renewed      bool
	}{
		{"all is well", func(*server) {}, "", "", true},
		{"less is granted", func(s *server) { s.grants = 10 * time.Minute }, "", "", true},
		{"more is granted", func(s *server) { s.grants = 48 * time.Hour }, "", "", true},
		{"the Role is missing", func(s *server) { s.status = http.StatusForbidden }, "the ServiceAccount scan/eu may not create its own tokens; the token in the file is used",
			"kubectl --context TARGET --namespace scan create role muster-renew-eu --verb=create --resource=serviceaccounts/token --resource-name=eu && " +
				"kubectl --context TARGET --namespace scan create rolebinding muster-renew-eu --role=muster-renew-eu --serviceaccount=scan:eu", false},
		{"no such ServiceAccount", func(s *server) { s.status = http.StatusNotFound }, "has no ServiceAccount scan/eu", "muster rotate --token eu", false},
		{"a lifetime that isn't allowed", func(s *server) { s.status = http.StatusUnprocessableEntity }, "status 422", "renew.lifetime", false},
		{"a conflict", func(s *server) { s.status = http.StatusConflict }, "status 409", "logs", false},
		{"no token", func(s *server) { s.answer = func(string) string { return "" } }, "granted no token", "kubectl create token", false},
		{"no JSON Web Token", func(s *server) { s.answer = func(string) string { return "CANARY-opaque" } }, "of another ServiceAccount", "kubectl create token", false},
		{"a token that can't be sent", func(s *server) { s.answer = func(token string) string { return token + "\r\nX-Evil: CANARY" } }, "something else than a new token", "", false},
		{"a token of another ServiceAccount", func(s *server) {
			s.answer = func(string) string { return issue("scan", "other", "uid-1", time.Hour) }
		}, "of another ServiceAccount", "", false},
		{"a token of another namespace", func(s *server) {
			s.answer = func(string) string { return issue("kube-system", "eu", "uid-1", time.Hour) }
		}, "of another ServiceAccount", "", false},
		{"a token of another UID", func(s *server) {
			s.answer = func(string) string { return issue("scan", "eu", "uid-2", time.Hour) }
		}, "deleted and created again", "muster rotate --token eu", false},
		{"a token that never ends", func(s *server) {
			s.answer = func(string) string { return issue("scan", "eu", "uid-1", 0) }
		}, "has no expiry", "", false},
		{"a token that has ended", func(s *server) {
			s.answer = func(string) string { return issue("scan", "eu", "uid-1", -time.Minute) }
		}, "has expired already", "date -u", false},
		{"a token that doesn't work", func(s *server) { s.rejects = true }, "a new token was granted, and does not work: the server rejected the credential", "", false},
		{"no answer", func(s *server) { s.down = true }, "nothing listens there", "nc -vz", false},
		{"revoked", func(s *server) { s.uid = "uid-2" }, "the server rejects the token in the file, and there is no renewed one", "muster rotate --token eu", false},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, "eu", "us")
			seed := w.liveToken("eu")
			w.set("eu", test.server)
			w.start()
			pass(5 * time.Minute)
			found, live := w.found("eu"), w.liveToken("eu")
			switch {
			case test.message == "" && len(found) > 0, test.message != "" && len(found) != 1:
				t.Errorf("%s: findings %+v", test.reason, found)
			case test.message != "" && (!strings.Contains(found[0].Message, test.message) || !strings.Contains(found[0].Fix, test.fix)):
				t.Errorf("%s: %s\n%s", test.reason, found[0].Message, found[0].Fix)
			}
			for _, f := range found {
				if err := f.Check(); err != nil || strings.Contains(f.Message+f.Fix, "CANARY") || f.Path != "eu.yaml" {
					t.Errorf("%s: %v in %+v", test.reason, err, f)
				}
			}
			if renewed := live != seed && live != ""; test.renewed && (!w.works("eu") || w.secret("eu").Annotations[fleet.AnnotationRenewed] == "") || renewed && !w.works("eu") && test.reason != "revoked" {
				t.Errorf("%s: renewed %t, and works %t", test.reason, renewed, w.works("eu"))
			}
			if !w.works("us") || len(w.found("us")) > 0 {
				t.Errorf("%s: it concerns another cluster", test.reason)
			}
		})
	}
}

// TestLifetimes: the next token is requested at half of what was really granted, and up to a tenth of that earlier.
func TestLifetimes(t *testing.T) {
	for grants, want := range map[time.Duration][2]int{10 * time.Minute: {12, 15}, time.Hour: {2, 4}, 48 * time.Hour: {1, 1}, 5 * time.Second: {100, 150}} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, "eu")
			w.set("eu", func(s *server) { s.grants = grants })
			w.start()
			pass(time.Hour + 5*time.Minute)
			if n := len(w.requests("eu")); n < want[0] || n > want[1] || w.asked("eu") != time.Hour {
				t.Errorf("%s granted: %d requests in an hour, for %s", grants, n, w.asked("eu"))
			}
		})
	}
}

// TestSeedIsUsedOnce: every request but the first is made with the token before.
func TestSeedIsUsedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu", "us")
		w.servers["us"] = w.servers["eu"] // two clusters, one server and ServiceAccount
		seed := w.git.Secrets[0].Data[mondoo.KeyToken]
		w.start()
		for range 5 {
			pass(time.Hour)
			w.end()
			w.start()
		}
		seeds := 0
		for _, with := range w.requests("eu") {
			if with == seed {
				seeds++
			}
		}
		if n := len(w.requests("eu")); seeds != 1 || n < 10 {
			t.Errorf("%d of %d requests with the seed", seeds, n)
		}
		w.set("eu", func(s *server) { s.revoked[seed] = true })
		pass(5 * time.Hour)
		if !w.works("eu") || len(w.found("eu")) > 0 {
			t.Errorf("the seed was revoked, which is normal: %+v", w.found("eu"))
		}
	})
}

// TestOneAccount: two clusters with the same ServiceAccount don't affect each other.
func TestOneAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		seed := w.liveOrGit("eu")
		w.add("eu2", seed, time.Hour)
		for i := range w.git.Clusters {
			w.git.Clusters[i].Entry.ServiceAccountAuth.Server = "https://eu"
		}
		w.start()
		pass(10 * time.Hour)
		one, two := w.liveToken("eu"), w.liveToken("eu2")
		if one == two || one == seed || two == seed || !w.works("eu") {
			t.Error("the tokens are not two, or none")
		}
	})
}

func (w *world) liveOrGit(name string) string {
	for _, s := range w.git.Secrets {
		if s.Cluster == name {
			return s.Data[mondoo.KeyToken]
		}
	}
	return ""
}

// TestGitWins: what changes in Git counts at once.
func TestGitWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		w.start()
		pass(time.Minute)
		before := w.liveToken("eu")

		// The seed changes while a renewal runs: its answer is dropped.
		hold := make(chan struct{})
		w.set("eu", func(s *server) { s.hold = hold })
		pass(31 * time.Minute)
		second := w.token("eu", 0)
		w.add("eu", second, time.Hour)
		w.reconcile(false)
		if w.liveToken("eu") != second {
			t.Error("the new seed is not applied at once")
		}
		w.set("eu", func(s *server) { s.hold = nil })
		close(hold)
		pass(time.Minute)
		requests := w.requests("eu")
		if live := w.liveToken("eu"); live == before || live == second || requests[len(requests)-1] != second || !w.works("eu") {
			t.Error("the token was not renewed with the new seed")
		}

		// Without renew, the seed is used as it is.
		w.add("eu", second, 0)
		w.reconcile(false)
		n := len(w.requests("eu"))
		pass(3 * time.Hour)
		if w.liveToken("eu") != second || len(w.requests("eu")) != n || w.out() != w.git || w.secret("eu").Annotations[fleet.AnnotationRenewed] != "" {
			t.Error("without renew, the seed is not applied as it is")
		}
	})
}

// TestLost restarts after the live Secret was changed. Nobody can make Muster use a token that it hasn't written.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		reason  string
		change  func(w *world, s *corev1.Secret)
		down    time.Duration
		adopted bool
		message string
	}{
		{"nothing has changed", func(*world, *corev1.Secret) {}, time.Minute, true, ""},
		{"another token, with its proof", func(_ *world, s *corev1.Secret) {
			s.Data[mondoo.KeyToken] = []byte(issue("scan", "eu", "uid-1", time.Hour))
		}, time.Minute, false, "not one that was renewed from the token in the file"},
		{"another proof", func(_ *world, s *corev1.Secret) {
			s.Annotations[fleet.AnnotationRenewed] = strings.Repeat("0", 64)
		}, time.Minute, false, "not one that was renewed"},
		{"no proof", func(_ *world, s *corev1.Secret) { delete(s.Annotations, fleet.AnnotationRenewed) }, time.Minute, false, "not one that was renewed"},
		{"no token", func(_ *world, s *corev1.Secret) { delete(s.Data, mondoo.KeyToken) }, time.Minute, false, "not one that was renewed"},
		{"another CA and server in the Secret", func(_ *world, s *corev1.Secret) {
			s.Data[mondoo.KeyCACert], s.Data[mondoo.KeyServer] = []byte("CA of an attacker"), []byte("https://attacker")
		}, time.Minute, true, ""},
		{"deleted", func(w *world, _ *corev1.Secret) { delete(w.live, "secret-eu") }, time.Minute, false, ""},
		{"Muster was down for too long", func(*world, *corev1.Secret) {}, 2 * time.Hour, false, "the renewed token ended on"},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, "eu")
			seed := w.liveOrGit("eu")
			w.start()
			pass(time.Minute)
			renewed := w.liveToken("eu")
			w.end()
			s := w.live["secret-eu"]
			test.change(w, &s)
			if test.reason != "deleted" {
				w.live["secret-eu"] = s
			}
			time.Sleep(test.down)
			w.set("eu", func(s *server) { s.down = true })
			w.start()
			want := seed
			if test.adopted {
				want = renewed
			}
			if got := w.liveToken("eu"); got != want {
				t.Errorf("%s: the seed %t, the renewed one %t", test.reason, got == seed, got == renewed)
			}
			if ca := string(w.secret("eu").Data[mondoo.KeyCACert]); ca != "CA of eu" {
				t.Errorf("%s: %s", test.reason, ca)
			}
			if found := w.found("eu"); (test.message != "") != (len(found) == 1) || len(found) == 1 && !strings.Contains(found[0].Message, test.message) {
				t.Errorf("%s: %+v", test.reason, found)
			}
			w.set("eu", func(s *server) { s.down = false })
			pass(5 * time.Minute)
			if len(w.found("eu")) > 0 || !w.works("eu") {
				t.Errorf("%s: %+v after it was renewed", test.reason, w.found("eu"))
			}
		})
	}
}

// TestRejected: a token that the server rejects once is not given up, and one that it keeps rejecting is replaced by the seed.
func TestRejected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		seed := w.liveOrGit("eu")
		w.start()
		pass(time.Minute)
		renewed := w.liveToken("eu")
		w.set("eu", func(s *server) { s.revoked[renewed] = true })
		pass(31 * time.Minute)
		requests := w.requests("eu")
		if live := w.liveToken("eu"); requests[len(requests)-1] != seed || live == renewed || !w.works("eu") {
			t.Error("a token that was revoked is not replaced with the help of the seed")
		}
		w.set("eu", func(s *server) { s.uid = "uid-2" })
		pass(time.Hour)
		found := w.found("eu")
		if len(found) != 1 || found[0].Code != renew.CodeEnded || !strings.Contains(found[0].Message, "rejects the renewed token, and the server rejects the token in the file") && !strings.Contains(found[0].Message, "the renewed token ended") {
			t.Errorf("%+v", found)
		}
		if w.liveToken("eu") == "" {
			t.Error("what was applied is gone")
		}
		w.add("eu", w.token("eu", 0), time.Hour) // muster rotate
		w.reconcile(false)
		pass(time.Minute)
		if len(w.found("eu")) > 0 || !w.works("eu") {
			t.Errorf("%+v after a new seed", w.found("eu"))
		}
	})
}

// TestForetold: the end of a token is told long before it, and the metrics know it.
func TestForetold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		w.add("eu", w.token("eu", time.Hour), 10*time.Hour)
		w.start()
		pass(time.Minute)
		end := w.out().Clusters[0].Expires
		w.set("eu", func(s *server) { s.down = true })
		pass(5*time.Hour + time.Minute)
		found := w.found("eu")
		if len(found) != 1 || !strings.HasPrefix(found[0].Message, "the token can't be renewed since 2000-01-01 0") || !strings.HasSuffix(found[0].Message, ": nothing listens there; it ends on 2000-01-01 10:00 UTC") {
			t.Errorf("%+v", found)
		}
		if !end.IsZero() || w.out().Clusters[0].Expires.IsZero() {
			t.Errorf("the cluster's credential ends %s, and %s while renewals fail", end, w.out().Clusters[0].Expires)
		}
		if terms := w.out().Clusters[0].Terms; len(terms) != 1 || terms[0].Kind != credential.KindToken || terms[0].Until != w.out().Clusters[0].Expires || terms[0].Until.Sub(terms[0].From) != 10*time.Hour {
			t.Errorf("for the metrics: %+v", terms)
		}
		syncs, message := w.count(), found[0]
		pass(4 * time.Hour)
		if w.count() != syncs || w.found("eu")[0] != message {
			t.Errorf("%d reconciles for the same failure", w.count()-syncs)
		}
		pass(time.Hour)
		if found := w.found("eu"); len(found) != 1 || found[0].Code != renew.CodeEnded || !w.out().Clusters[0].Quarantined {
			t.Errorf("%+v", found)
		}
	})
}

// TestHangs: a server that doesn't answer keeps no other cluster from its token.
func TestHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu", "us")
		hold := make(chan struct{})
		w.set("eu", func(s *server) { s.hold = hold })
		w.start()
		pass(10 * time.Hour)
		if n := len(w.requests("us")); n < 20 || !w.works("us") {
			t.Errorf("%d requests", n)
		}
		w.end() // even while one hangs
	})
}

// TestPolicy: without a mode in spec.preflight, and with a policy that can't be read, no server is contacted.
func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		reason  string
		spec    v1alpha1.Preflight
		message string
	}{
		{"mode Off", v1alpha1.Preflight{Mode: v1alpha1.PreflightOff}, "the token is not renewed: spec.preflight.mode is Off, so Muster connects to no cluster; the token in the file is used"},
		{"no mode", v1alpha1.Preflight{}, "spec.preflight.mode is Off"},
		{"no network", v1alpha1.Preflight{Mode: v1alpha1.PreflightReport, AllowAddresses: []string{"10.0.0.0/99"}}, "spec.preflight.allowAddresses"},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, "eu")
			w.audit.Spec.Preflight = test.spec
			w.start()
			pass(3 * time.Hour)
			if found := w.found("eu"); len(found) != 1 || !strings.Contains(found[0].Message, test.message) || len(w.requests("eu")) > 0 {
				t.Errorf("%s: %+v, %d requests", test.reason, found, len(w.requests("eu")))
			}
			w.mu.Lock()
			w.audit.Spec.Preflight = v1alpha1.Preflight{Mode: v1alpha1.PreflightReport}
			w.mu.Unlock()
			w.reconcile(false)
			pass(time.Minute)
			if len(w.found("eu")) > 0 || len(w.requests("eu")) != 1 {
				t.Errorf("%s: %+v after it was allowed", test.reason, w.found("eu"))
			}
			w.renewer.Forget(key) // suspended
			pass(3 * time.Hour)
			if n := len(w.requests("eu")); n != 1 {
				t.Errorf("%d requests for an AuditSync that is suspended", n)
			}
		})
	}
}

// TestOptions: requests go out with the policy of the AuditSync, to the server in the file with the CA in the file.
func TestOptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		w.audit.Spec.Preflight.AllowAddresses, w.audit.Spec.Preflight.AllowProxies = []string{"127.0.0.1"}, []string{"proxy:3128"}
		var seen []preflight.Options
		var to []preflight.Target
		down := false
		w.begin(func(o *Options) {
			o.Post = func(ctx context.Context, t preflight.Target, o preflight.Options, path string, object any) (int, []byte, *preflight.Check) {
				w.mu.Lock()
				seen, to = append(seen, o), append(to, t)
				w.mu.Unlock()
				return w.post(ctx, t, o, path, object)
			}
			o.Management = func(context.Context) ([]netip.Addr, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if down {
					return nil, errors.New("DNS is down")
				}
				return []netip.Addr{netip.MustParseAddr("10.96.0.1")}, nil
			}
		})
		pass(time.Hour)
		w.mu.Lock()
		if o := seen[0]; len(o.Allow) != 1 || o.Allow[0] != netip.MustParsePrefix("127.0.0.1/32") || len(o.Proxies) != 1 || len(o.Management) != 1 || o.Redactor != w.redactor {
			t.Errorf("%+v", o)
		}
		if to[0].Server != "https://eu" || string(to[0].CA) != "CA of eu" {
			t.Errorf("%s, %s", to[0].Server, to[0].CA)
		}
		n := len(seen)
		down = true
		w.mu.Unlock()
		pass(2 * time.Hour)
		w.end()
		if len(seen) != n {
			t.Error("requests are made although the addresses of the management cluster are unknown")
		}
	})
}

// TestAmend: equal inputs give the same pointer, the input is left alone, and the redactor knows the tokens in use.
func TestAmend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		seed := w.liveOrGit("eu")
		w.start()
		pass(time.Minute)
		first := w.out()
		w.reconcile(false)
		if w.out() != first || first == w.git || w.git.Secrets[0].Data[mondoo.KeyToken] != seed || w.git.Secrets[0].Supplied || !first.Secrets[0].Supplied || first.Secrets[0].Version == "" {
			t.Error("not the same pointer, or the input has changed")
		}
		token := w.liveToken("eu")
		if w.redactor.String(token) != redact.Mask {
			t.Error("the redactor doesn't know the token")
		}
		pass(time.Hour)
		if w.out() == first || w.out().Secrets[0].Version == first.Secrets[0].Version {
			t.Error("a new token, and nothing has changed")
		}
		pass(3 * time.Hour)
		last := w.liveToken("eu")
		if w.redactor.String(token) == redact.Mask || w.redactor.String(last) != redact.Mask {
			t.Error("the redactor doesn't know the present token alone")
		}
		w.renewer.Forget(key)
		if w.redactor.String(last) == redact.Mask {
			t.Error("the redactor keeps what is forgotten")
		}
	})
}

// TestRequested: what has failed is tried again when a user asks for a sync.
func TestRequested(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "eu")
		w.set("eu", func(s *server) { s.status = http.StatusForbidden })
		w.start()
		pass(6 * time.Hour)
		w.set("eu", func(s *server) { s.status = 0 })
		w.reconcile(true)
		pass(2 * time.Second)
		if len(w.found("eu")) > 0 {
			t.Errorf("%+v", w.found("eu"))
		}
	})
}

// TestUnreadable: without the live Secret, nothing is known, and nothing must be replaced.
func TestUnreadable(t *testing.T) {
	w := newWorld(t, "eu")
	r := New(Options{Clock: clock.RealClock{}, Live: unreadable{}, Log: logr.Discard()})
	defer r.queue.ShutDown()
	if out, err := r.Amend(t.Context(), Sync{AuditSync: w.audit, Fleet: w.git, Redactor: w.redactor}); err == nil || out != nil {
		t.Errorf("%v, %v", out, err)
	}
}

type unreadable struct{ client.Reader }

func (unreadable) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("the cache has not synced")
}
