package gitsync

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestListedSince: users of one Repository share what the remote said, as long as it is recent enough for each.
func TestListedSince(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"a": "1"})
	o.git("branch", "other", "main")
	srv := serve(t, o)
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	r := open(t, t.TempDir(), WithClock(func() time.Time { return at }))
	src := Source{URL: srv.url, Ref: Ref{Branch: "main"}}
	fetch(t, r, src)
	begun := at
	at = at.Add(time.Minute)
	second := o.commit("main", map[string]string{"a": "2"})
	for _, test := range []struct {
		reason   string
		ref      Ref
		since    time.Time
		of       string
		want     string
		listed   time.Time
		requests int64
	}{
		{"the earlier answer is recent enough", src.Ref, begun, "", first, begun, 0},
		{"it descends from what it must", src.Ref, begun, first, first, begun, 0},
		{"another ref", Ref{Branch: "other"}, begun, "", first, at, 1},
		{"that ref again", Ref{Branch: "other"}, begun, "", first, at, 0},
		{"the answer is too old", src.Ref, begun.Add(1), "", second, at, 2},
		{"the newer answer is for all", src.Ref, begun, "", second, at, 0},
		{"the remote must be asked", src.Ref, time.Time{}, "", second, at, 1},
	} {
		before := srv.requests.Load()
		s := fetch(t, r, Source{URL: srv.url, Ref: test.ref, ListedSince: test.since, DescendantOf: test.of})
		if n := srv.requests.Load() - before; s.Revision().Hash != test.want || !s.Listed().Equal(test.listed) || n != test.requests {
			t.Errorf("%s: %s, listed at %s, after %d requests", test.reason, s.Revision(), s.Listed(), n)
		}
	}
}

// A remote that doesn't answer is asked once for all who wait for it, and again by who asks later.
func TestFailureIsShared(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"a": "1"})
	srv := serve(t, o)
	var asked atomic.Int64
	srv.answerWith(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		asked.Add(1)
		time.Sleep(50 * time.Millisecond) // the others ask meanwhile
		http.Error(w, "no", http.StatusServiceUnavailable)
	})
	r, since := open(t, t.TempDir()), time.Now()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := r.Fetch(t.Context(), Source{URL: srv.url, Ref: Ref{Branch: []string{"main", "next"}[i%2]}, ListedSince: since})
			if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Reason != ServerFailed {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	srv.answerWith(nil)
	if _, err := r.Fetch(t.Context(), Source{URL: srv.url, Ref: Ref{Branch: "main"}, ListedSince: since}); err == nil {
		t.Error("the failure is forgotten")
	}
	fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "main"}, ListedSince: time.Now()})
	o.git("branch", "next", "main")
	fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: "next"}, ListedSince: since}) // the remote has answered since then
}

// TestFailureOfOthers: a failure that may be due to how another user asks is not shared. Else the one who asks more often could keep
// the other from ever asking.
func TestFailureOfOthers(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	first := o.commit("main", map[string]string{"a": "1"})
	o.commit("main", map[string]string{"a": "2"})
	srv := serve(t, o)
	auth := func(password string) Auth {
		a, err := AuthFromSecret(srv.url, map[string][]byte{"username": []byte("muster"), "password": []byte(password)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	usual := Source{URL: srv.url, Ref: Ref{Branch: "main"}, Auth: auth("right")}
	for _, test := range []struct {
		reason string
		change func(*Source)
		shared bool
	}{
		{"the same", func(s *Source) { s.Auth, s.Timeout = auth("right"), DefaultTimeout }, true},
		{"a password that was replaced", func(s *Source) { s.Auth = auth("old") }, false},
		{"a timeout that is too short", func(s *Source) { s.Timeout = time.Second }, false},
		{"a history that the remote refuses", func(s *Source) { s.DescendantOf = first }, false},
	} {
		r, since := open(t, t.TempDir()), time.Now()
		srv.answerWith(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "no", http.StatusServiceUnavailable)
		})
		src := usual
		src.ListedSince = since
		test.change(&src)
		if _, err := r.Fetch(t.Context(), src); !is[*RemoteError](err) {
			t.Fatalf("%s: %v", test.reason, err)
		}
		srv.answerWith(nil)
		src = usual
		src.ListedSince = since
		s, err := r.Fetch(t.Context(), src)
		if (err != nil) != test.shared {
			t.Errorf("%s: %v", test.reason, err)
		}
		if s != nil {
			s.Close() //nolint:errcheck // the cache is disposable
		}
	}
}

// TestManyFollowed: users who follow more refs than a store holds fetches don't have it cloned over and over.
func TestManyFollowed(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	srv := serve(t, o)
	r := open(t, t.TempDir(), withMaxPacks(2))
	follow := func() (requests int64) {
		before := srv.requests.Load()
		for i := range 5 {
			fetch(t, r, Source{URL: srv.url, Ref: Ref{Branch: fmt.Sprint("b", i)}})
		}
		return srv.requests.Load() - before
	}
	for i := range 5 {
		o.commit(fmt.Sprint("b", i), map[string]string{"a": fmt.Sprint(i)})
	}
	follow()
	if n := follow(); n != 5 {
		t.Errorf("%d requests for 5 refs that haven't moved", n)
	}
	for i := range 4 {
		o.commit("b0", map[string]string{"a": fmt.Sprint("more ", i)})
		follow()
	}
	if names, _ := r.store.packNames(); len(names) > 2+4 {
		t.Errorf("%d packs", len(names))
	}
}

// TestManyRefused: users whose commits don't descend from what they must don't have each other's history fetched again.
func TestManyRefused(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	of := o.commit("applied", map[string]string{"a": "1"})
	commits := map[string]string{}
	for _, branch := range []string{"a", "b"} {
		commits[branch] = o.commit(branch, map[string]string{"a": branch})
	}
	srv := serve(t, o)
	r := open(t, t.TempDir())
	for round, want := range []int64{2, 1} {
		for _, branch := range []string{"a", "b"} {
			before := srv.requests.Load()
			wantNotDescendant(t, r, Source{URL: srv.url, Ref: Ref{Branch: branch}, DescendantOf: of}, commits[branch])
			if n := srv.requests.Load() - before; n != want {
				t.Errorf("round %d, %s: %d requests", round, branch, n)
			}
		}
	}
}
