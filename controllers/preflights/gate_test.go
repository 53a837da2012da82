package preflights

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// live is what is applied: entries and values.
type live struct {
	entries map[string]mondoo.Entry
	secrets map[string]map[string][]byte
	scans   map[string]bool
}

func (l *live) read() Live {
	return Live{
		Entry:    func(_, name string) (mondoo.Entry, bool) { e, ok := l.entries[name]; return e, ok },
		Secret:   func(name string) map[string][]byte { return l.secrets[name] },
		Scanning: func(_, name string) bool { return l.scans[name] },
	}
}

// apply makes a fleet the applied one.
func (l *live) apply(a *applied) {
	l.entries, l.secrets = map[string]mondoo.Entry{}, map[string]map[string][]byte{}
	for i := range a.Fleet.Clusters {
		l.entries[a.Fleet.Clusters[i].Name] = a.Fleet.Clusters[i].Entry
	}
	for i := range a.Fleet.Secrets {
		data := map[string][]byte{}
		for key, value := range a.Fleet.Secrets[i].Data {
			data[key] = []byte(value)
		}
		l.secrets[a.Fleet.Secrets[i].Name] = data
	}
}

// rotate commits another token for a cluster.
func (a *applied) rotate(n int, token string) {
	a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
		f.Clusters[n].Hash, f.Secrets[n].Hash = token, token
		f.Secrets[n].Data = map[string]string{"token": token}
	})
}

func newGated(names ...string) (*applied, *live) {
	a, l := newApplied(names...), &live{scans: map[string]bool{}}
	a.Spec.Preflight.Mode = v1alpha1.PreflightRequired
	for i, name := range names {
		a.Fleet.Secrets[i].Cluster, a.Fleet.Secrets[i].AuditConfig = name, "mondoo-client"
	}
	l.apply(a)
	return a, l
}

// heldOf are the clusters that are held, as "NAME CODE", and what else is found, as "NAME severity".
func heldOf(f *fleet.Opened) string {
	var list []string
	for i := range f.Clusters {
		if c := &f.Clusters[i]; c.Quarantined {
			list = append(list, c.Name)
		}
	}
	for _, found := range f.Findings {
		list = append(list, found.Cluster+" "+string(found.Severity)+" "+string(found.Code))
	}
	return strings.Join(list, ", ")
}

// TestGateChecksLater: a token from another file than the server is checked once it is applied, and not only after the interval.
func TestGateChecksLater(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(_ context.Context, t preflight.Target) preflight.Result {
			return preflight.Result{Cluster: t.Cluster, NotChecked: t.NotChecked}
		})
		a, l := newGated("eu")
		a.change(func(f *fleet.Opened, stored *inventory.Inventory) { f.Secrets[0].Cluster, stored.Clusters = "", nil })
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		r.wants("before it is applied", "eu", 1)
		if got := r.given["eu"]; got.Token != "" || got.NotChecked == "" {
			t.Errorf("checked with %+v", got)
		}
		a.change(func(_ *fleet.Opened, stored *inventory.Inventory) {
			stored.Clusters = []inventory.Item{{Name: "eu", Hash: "1"}}
		})
		for range 3 {
			r.look(a)
			r.sleep(time.Minute)
		}
		r.wants("it is applied", "eu", 2)
		if got := r.given["eu"]; got.Token != "token-of-eu" {
			t.Errorf("checked with %+v", got)
		}
	})
}

// TestGate follows one credential through the gate.
func TestGate(t *testing.T) {
	inBubble(t, func(r *room) {
		a, l := newGated("eu", "us")
		gives := func(reason, want string) *fleet.Opened {
			t.Helper()
			out := r.checker.Gate(a.Sync, l.read())
			if got := heldOf(out); got != want {
				t.Errorf("%s: %q, want %q", reason, got, want)
			}
			if again := r.checker.Gate(a.Sync, l.read()); again != out {
				t.Errorf("%s: the same input and results give another fleet", reason)
			}
			return out
		}
		if out := gives("what is applied, before any check", ""); out != a.Fleet {
			t.Error("another fleet, though nothing is held")
		}
		r.sleep(time.Minute)
		r.answers(fails(preflight.CredentialRejected))
		a.rotate(0, "bad")
		out := gives("a new credential", "eu, eu error preflight-pending")
		if !out.Secrets[0].Quarantined || out.Secrets[1].Quarantined || a.Fleet.Secrets[0].Quarantined || a.Fleet.Clusters[0].Quarantined {
			t.Errorf("Secrets %+v, and the input %+v", out.Secrets, a.Fleet.Secrets)
		}
		requests := r.requested()
		r.sleep(5 * time.Second)
		if r.requested() != requests+1 || r.gave("eu").Token != "bad" {
			t.Errorf("%d requests, checked with %q", r.requested()-requests, r.gave("eu").Token)
		}
		gives("it failed", "eu, eu error preflight-failed")
		if p := r.look(a); len(p.Failures) != 1 || p.Passed != 1 {
			t.Errorf("%+v", p)
		}
		tries := r.times("eu")[0]
		r.sleep(8 * time.Minute)
		r.wants("tried again after 1, 3 and 7 minutes", "eu", tries+3)

		r.answers(passes)
		a.rotate(0, "good")
		gives("another one", "eu, eu error preflight-pending")
		r.sleep(5 * time.Second)
		if out := gives("it passed", ""); out != a.Fleet {
			t.Error("another fleet, though nothing is held")
		}

		l.scans["eu"] = true
		out = gives("while a scan runs", "eu, eu error preflight-pending")
		if !strings.Contains(out.Findings[0].Message, "waits for the end of the scan that runs; what is applied stays") {
			t.Errorf("%s", out.Findings[0].Message)
		}
		l.scans["eu"] = false
		gives("after the scan", "")
		l.scans["eu"] = true
		gives("another scan", "eu, eu error preflight-pending")
		requests = r.requested()
		r.sleep(scanPatience + time.Second)
		if r.requested() == requests {
			t.Error("no reconcile was requested for the end of the patience")
		}
		gives("a scan that takes too long", "")

		l.apply(a)
		a.change(func(_ *fleet.Opened, i *inventory.Inventory) { i.Clusters[0].Hash = "good" })
		r.look(a)
		checks := r.times("eu")[0]
		r.sleep(time.Second)
		r.wants("what passed and is applied", "eu", checks)
		r.answers(fails(preflight.ConnectRefused))
		r.sleep(25 * time.Hour)
		gives("what fails later", "eu warning preflight-failed, us warning preflight-failed")
	})
}

// supplies gives a cluster another value without a commit.
func (a *applied) supplies(n int, token string, renew time.Duration) {
	a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
		f.Secrets[n].Supplied, f.Secrets[n].Version, f.Secrets[n].Renew, f.Secrets[n].Data = true, token, renew, map[string]string{"token": token}
	})
}

// TestGateRenewed: a renewed token has been checked, and waits neither for another check nor for a scan.
func TestGateRenewed(t *testing.T) {
	inBubble(t, func(r *room) {
		a, l := newGated("eu")
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		l.scans["eu"] = true
		a.supplies(0, "renewed", time.Hour)
		if out := r.checker.Gate(a.Sync, l.read()); out != a.Fleet {
			t.Errorf("renewed: %s", heldOf(out))
		}
		l.scans["eu"] = false
		r.answers(fails(preflight.TokenExpired))
		a.rotate(0, "seed")
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		if got := heldOf(r.checker.Gate(a.Sync, l.read())); got != "eu, eu error preflight-failed" {
			t.Errorf("another seed in Git: %q", got)
		}
	})
}

// TestGateSupplied: a value from elsewhere that failed is tried again as soon as one from Git, and tells its result without waiting for
// other clusters.
func TestGateSupplied(t *testing.T) {
	inBubble(t, func(r *room) {
		a, l := newGated("eu", "us")
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		r.answers(func(ctx context.Context, target preflight.Target) preflight.Result {
			if target.Cluster == "us" {
				time.Sleep(25 * time.Second)
				return passes(ctx, target)
			}
			return fails(preflight.ConnectRefused)(ctx, target)
		})
		a.supplies(0, "other", 0)
		a.rotate(1, "other")
		before, requests := r.times("eu")[0], r.requested()
		r.checker.Gate(a.Sync, l.read())
		r.sleep(10 * time.Second)
		if r.requested() == requests {
			t.Error("the result waits for another cluster")
		}
		r.sleep(8 * time.Minute)
		r.wants("at once, and again after 1, 3 and 7 minutes", "eu", before+4)
	})
}

// TestGatePasses: what needs no check isn't held, and what does is.
func TestGatePasses(t *testing.T) {
	rotated := func(a *applied, _ *live) { a.rotate(0, "other") }
	for _, tt := range []struct {
		reason string
		result func(context.Context, preflight.Target) preflight.Result
		change func(*applied, *live)
		want   string
	}{
		{"another schedule", fails(preflight.TokenExpired), func(a *applied, _ *live) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Clusters[0].Hash, f.Clusters[0].Entry.Schedule = "2", "1 * * * *"
			})
		}, "eu warning preflight-failed"},
		{"encrypted again, with the same value", fails(preflight.TokenExpired), func(a *applied, _ *live) { a.rotate(0, "token-of-eu") }, "eu warning preflight-failed"},
		{"a token that does not work", fails(preflight.TokenExpired), rotated, "eu, eu error preflight-failed"},
		{"a token that works", passes, rotated, ""},
		{"rights that are only partial", fails(preflight.RightsPartial), rotated, "eu warning preflight-failed"},
		{"an identity that can't be read", fails(preflight.IdentityUnreadable), rotated, "eu warning preflight-failed"},
		{"no rights", fails(preflight.RightsNone), rotated, "eu, eu error preflight-failed"},
		{"another cluster behind the address", fails(preflight.OtherCluster), rotated, "eu, eu error preflight-failed"},
		{"it can't be checked from here", func(context.Context, preflight.Target) preflight.Result {
			return preflight.Result{NotChecked: "from here"}
		}, rotated, ""},
		{"another server", fails(preflight.ConnectRefused), func(a *applied, _ *live) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				moved := *f.Clusters[0].Entry.ServiceAccountAuth
				moved.Server = "https://elsewhere"
				f.Clusters[0].Hash, f.Clusters[0].Entry.ServiceAccountAuth = "2", &moved
			})
		}, "eu, eu error preflight-failed"},
		{"a new cluster", fails(preflight.ConnectRefused), func(a *applied, l *live) {
			delete(l.entries, "eu")
			a.change(func(_ *fleet.Opened, i *inventory.Inventory) { i.Clusters = nil })
		}, "eu, eu error preflight-failed"},
		{"an entry that was removed by hand", fails(preflight.ConnectRefused), func(_ *applied, l *live) { delete(l.entries, "eu") }, "eu warning preflight-failed"},
		{"a value that was changed by hand", fails(preflight.ConnectRefused), func(_ *applied, l *live) { l.secrets["eu"]["token"] = []byte("x") }, "eu warning preflight-failed"},
		{"a value that came from elsewhere", fails(preflight.TokenExpired), func(a *applied, _ *live) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Secrets[0].Supplied, f.Secrets[0].Version, f.Secrets[0].Data = true, "2", map[string]string{"token": "other"}
			})
		}, "eu, eu error preflight-failed"},
		{"the same value from elsewhere", fails(preflight.TokenExpired), func(a *applied, _ *live) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) { f.Secrets[0].Supplied, f.Secrets[0].Version = true, "2" })
		}, "eu warning preflight-failed"},
		{"a renewed token, which was checked before it is used", fails(preflight.TokenExpired), func(a *applied, _ *live) {
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Secrets[0].Renew, f.Secrets[0].Supplied, f.Secrets[0].Version, f.Secrets[0].Data = time.Hour, true, "2", map[string]string{"token": "other"}
			})
		}, "eu warning preflight-failed"},
		{"a renewed token of another seed", fails(preflight.TokenExpired), func(a *applied, _ *live) {
			a.rotate(0, "seed")
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Secrets[0].Renew, f.Secrets[0].Supplied, f.Secrets[0].Version, f.Secrets[0].Data = time.Hour, true, "2", map[string]string{"token": "other"}
			})
		}, "eu, eu error preflight-failed"},
		{"in mode Report", fails(preflight.TokenExpired), func(a *applied, _ *live) { a.Spec.Preflight.Mode = v1alpha1.PreflightReport; a.rotate(0, "other") }, ""},
		{"a spec that can't be used", passes, func(a *applied, _ *live) { a.Spec.Preflight.AllowAddresses = []string{"1.2.3"}; a.rotate(0, "other") }, "eu, eu error preflight-failed"},
		{"a spec that can't be used, and nothing changed", passes, func(a *applied, _ *live) { a.Spec.Preflight.AllowAddresses = []string{"1.2.3"} }, ""},
		{"a spec that can't be used, in mode Report", passes, func(a *applied, _ *live) {
			a.Spec.Preflight = v1alpha1.Preflight{Mode: v1alpha1.PreflightReport, AllowAddresses: []string{"1.2.3"}}
			a.rotate(0, "other")
		}, ""},
		{"off", fails(preflight.TokenExpired), func(a *applied, _ *live) { a.Spec.Preflight.Mode = v1alpha1.PreflightOff; a.rotate(0, "other") }, ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			inBubble(t, func(r *room) {
				r.answers(tt.result)
				a, l := newGated("eu")
				tt.change(a, l)
				before := heldOf(a.Fleet)
				r.checker.Gate(a.Sync, l.read())
				r.sleep(time.Minute)
				if got := heldOf(r.checker.Gate(a.Sync, l.read())); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
				if heldOf(a.Fleet) != before {
					t.Error("the input was changed")
				}
			})
		})
	}
	var none *Checker
	if a, l := newGated("eu"); none.Gate(a.Sync, l.read()) != a.Fleet {
		t.Error("a nil Checker holds clusters")
	}
}

// TestGateHoldsManifests: a Secret of the repository stays with the cluster that logs in with it. One that isn't applied yet
// replaces nothing, and another cluster may need it.
func TestGateHoldsManifests(t *testing.T) {
	for _, tt := range []struct {
		reason  string
		applied bool
	}{{"it replaces one", true}, {"it is new", false}} {
		inBubble(t, func(r *room) {
			r.answers(fails(preflight.TokenExpired))
			a, l := newGated("eu", "us")
			a.Fleet.Secrets[0].Cluster, a.Fleet.Secrets[0].AuditConfig = "", ""
			a.Fleet.Clusters[0].Entry = mondoo.Entry{Name: "eu", KubeconfigSecretRef: &mondoo.SecretRef{Name: "eu"}}
			l.apply(a)
			secrets := &inventory.Inventory{Secrets: []inventory.Item{{Name: "eu", Hash: "1"}}}
			if !tt.applied {
				secrets = &inventory.Inventory{}
			}
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Secrets[0].Hash, f.Secrets[0].Data = "2", map[string]string{"kubeconfig": "other"}
			})
			a.Inventories = append(a.Inventories, secrets)
			for range 2 {
				out := r.checker.Gate(a.Sync, l.read())
				if !out.Clusters[0].Quarantined || out.Secrets[0].Quarantined != tt.applied || out.Clusters[1].Quarantined || out.Secrets[1].Quarantined {
					t.Errorf("%s: %s, Secrets %+v", tt.reason, heldOf(out), out.Secrets)
				}
				r.sleep(time.Minute)
			}
		})
	}
}

// TestGateOneHoldsNoOther: a slow check delays neither those that passed nor the red answer for those that failed.
func TestGateOneHoldsNoOther(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(ctx context.Context, t preflight.Target) preflight.Result {
			switch t.Cluster {
			case "slow":
				time.Sleep(30 * time.Second)
			case "bad":
				return fails(preflight.TokenExpired)(ctx, t)
			}
			return passes(ctx, t)
		})
		a, l := newGated("bad", "good", "slow")
		for i := range a.Fleet.Clusters {
			a.rotate(i, "new")
		}
		r.checker.Gate(a.Sync, l.read())
		r.sleep(5 * time.Second)
		if r.requested() != 1 {
			t.Errorf("%d reconciles were requested", r.requested())
		}
		if got, want := heldOf(r.checker.Gate(a.Sync, l.read())), "bad, slow, bad error preflight-failed, slow error preflight-pending"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		r.sleep(time.Minute)
		if got, want := heldOf(r.checker.Gate(a.Sync, l.read())), "bad, bad error preflight-failed"; got != want || r.requested() < 2 {
			t.Errorf("%q, want %q; %d requests", got, want, r.requested())
		}
	})
}

// TestGateAfterRestart: what is applied stays without a check, and a change that was held is checked again.
func TestGateAfterRestart(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(fails(preflight.TokenExpired))
		a, l := newGated("eu", "us")
		a.rotate(0, "bad")
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		r.stop()
		r.begin()
		r.breaks(errors.New("no such host")) // no check can begin
		if got, want := heldOf(r.checker.Gate(a.Sync, l.read())), "eu, eu error preflight-pending"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		r.breaks(nil)
		before := r.times("eu")[0]
		r.sleep(time.Hour)
		if after := r.times("eu")[0]; after == before {
			t.Error("a held change is not checked again")
		}
	})
}

// TestGateFindings: the findings satisfy the catalogue, name cause, check and fix, and are masked; a team can accept a warning.
func TestGateFindings(t *testing.T) {
	inBubble(t, func(r *room) {
		r.answers(func(context.Context, preflight.Target) preflight.Result {
			return preflight.Result{Checks: []preflight.Check{{Name: preflight.Login, State: preflight.Failed, Cause: preflight.TokenExpired, Message: "says canary-secret", Fix: "do canary-secret"}}}
		})
		a, l := newGated("eu", "us")
		a.Redactor.Add("canary-secret")
		a.rotate(0, "other")
		found := slices.Clone(r.checker.Gate(a.Sync, l.read()).Findings)
		r.sleep(time.Minute)
		found = append(found, r.checker.Gate(a.Sync, l.read()).Findings...)
		if len(found) != 3 {
			t.Fatalf("%v", found)
		}
		for _, f := range found {
			if err := f.Check(); err != nil || strings.Contains(f.String(), "canary") {
				t.Errorf("%s: %v", f, err)
			}
		}
		if want := strings.ReplaceAll("error: cluster eu: the credential failed the preflight: login: says MASK (token-expired); what is applied stays; do MASK [preflight-failed]", "MASK", redact.Mask); found[1].String() != want {
			t.Errorf("%s, want %s", found[1], want)
		}
		if preflight.CodeFailed != found[2].Code || found[2].Severity != finding.Warning {
			t.Errorf("%s", found[2])
		}
	})
}

// TestCandidateTokens: a token from one file isn't sent to the server of another before a plan has admitted that.
func TestCandidateTokens(t *testing.T) {
	inBubble(t, func(r *room) {
		a, l := newGated("eu", "us")
		a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
			thief := *f.Clusters[0].Entry.ServiceAccountAuth
			thief.Server, thief.CredentialsSecretRef.Name = "https://thief", "us"
			f.Clusters[0].Hash, f.Clusters[0].Entry.ServiceAccountAuth = "2", &thief
		})
		r.checker.Gate(a.Sync, l.read())
		r.sleep(time.Minute)
		if got := r.given["eu"]; got.Token != "" || got.Server != "" || got.NotChecked == "" {
			t.Errorf("the token %q goes to %q", got.Token, got.Server)
		}
	})
}
