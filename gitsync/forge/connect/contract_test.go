package connect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const (
	commitHash = "5f3c1a7b9d2e4f60718293a4b5c6d7e8f9012345"
	canary     = "c4naryT0ken-that-no-error-may-hold"
)

var commit = forge.Commit{Hash: commitHash, Branch: "main"}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// each runs a test against every provider's server and client.
func each(t *testing.T, o forgetest.Options, run func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock)) {
	for _, provider := range forge.Providers() {
		t.Run(string(provider), func(t *testing.T) {
			at := newClock()
			o.Token, o.Now = canary, at.Now
			s := forgetest.Start(t, provider, o)
			s.AddCommit(commitHash)
			run(t, s, clientOf(t, provider, s, at, canary), at)
		})
	}
}

func clientOf(t *testing.T, provider forge.Provider, s *forgetest.Server, at *clock, token string) connect.Client {
	t.Helper()
	secret := map[string][]byte{"token": []byte(token + "\n")}
	if ca := s.CACert(); ca != nil {
		secret["caFile"] = ca
	}
	client, err := connect.To(connect.Config{
		Provider: provider, URL: s.GitURL(), Secret: secret, Options: forge.Options{Now: at.Now, Timeout: 30 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// keep is what a caller does about one wanted status.
func keep(t *testing.T, client connect.Client, wanted forge.Status) {
	t.Helper()
	shown, err := client.Statuses(t.Context(), commit, []string{wanted.Context})
	if err != nil {
		t.Fatal(err)
	}
	if client.UpToDate(shown[wanted.Context], wanted) {
		return
	}
	if err := client.SetStatus(t.Context(), commit, wanted); err != nil {
		t.Fatal(err)
	}
}

// Whatever a status says, it is set once, shown as it was set, and not set again.
func TestStatusIsSetOnce(t *testing.T) {
	long := strings.Repeat("prod-eu-west-1 has a kubeconfig that expired; ", 12)
	for _, tt := range []struct {
		reason string
		status forge.Status
		posts  int
	}{
		{"short", forge.Status{State: forge.Success, Description: "12 clusters applied", TargetURL: "https://muster.example.com/x"}, 1},
		{"no description and no link", forge.Status{State: forge.Pending}, 1},
		{"a description over every limit", forge.Status{State: forge.Failure, Description: long}, 1},
		{"a word over every limit", forge.Status{State: forge.Failure, Description: strings.Repeat("x", 600)}, 1},
		{"characters that are longer than a byte, and not below the limit in bytes", forge.Status{State: forge.Failure,
			Description: strings.Repeat("日", 140)}, 1},
		{"emoji, which GitHub refuses", forge.Status{State: forge.Success, Description: "🚀 all 12 clusters scanned 👩‍👩‍👧"}, 1},
		{"several lines and a reversal of direction", forge.Status{State: forge.Error, Description: "a\r\n\tb\u202ec"}, 1},
		{"a link over the limits", forge.Status{State: forge.Success, TargetURL: "https://muster.example.com/" + strings.Repeat("x", 4000)}, 1},
		{"a state that not all forges have", forge.Status{State: forge.Error, Description: "the API server is away"}, 1},
		{"a state that GitLab alone has", forge.Status{State: forge.Canceled, Description: "superseded by 1a2b3c4d5e"}, 1},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				tt.status.Context = "muster/production"
				for range 3 {
					keep(t, client, tt.status)
				}
				if posts := s.Posts(); len(posts) != tt.posts {
					t.Errorf("%d posts, want %d: %+v", len(posts), tt.posts, posts)
				}
			})
		})
	}
}

func TestStatusesFollowEachOther(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		states := []forge.State{forge.Pending, forge.Pending, forge.Failure, forge.Pending, forge.Canceled, forge.Pending, forge.Success, forge.Success}
		for _, state := range states {
			keep(t, client, forge.Status{Context: "muster/production", State: state, Description: string(state)})
			keep(t, client, forge.Status{Context: "muster/production/drift", State: forge.Success})
		}
		var got []forge.State
		for _, p := range s.Posts() {
			if p.Context == "muster/production" {
				got = append(got, p.State)
			}
		}
		canceled := map[bool]forge.State{true: forge.Canceled, false: forge.Error}[provider(t) == forge.GitLab]
		want := []forge.State{forge.Pending, forge.Failure, forge.Pending, canceled, forge.Pending, forge.Success}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("posted %q, want %q", got, want)
		}
	})
}

// A commit may have more statuses of others than fit a page.
func TestStatusAmongManyOthers(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
		for i := range 130 {
			if i%70 == 69 {
				at.advance(2 * time.Minute) // or GitHub's secondary limit applies
			}
			other := forge.Status{Context: "ci/" + strconv.Itoa(i), State: forge.Success}
			if err := client.SetStatus(t.Context(), commit, other); err != nil {
				t.Fatal(err)
			}
		}
		at.advance(2 * time.Minute)
		mine := forge.Status{Context: "muster/production", State: forge.Success, Description: "12 clusters applied"}
		keep(t, client, mine)
		keep(t, client, mine)
		shown, err := client.Statuses(t.Context(), commit, []string{"muster/production", "ci/0", "absent"})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Posts()) != 131 || len(shown) != 2 || shown["muster/production"] != mine {
			t.Errorf("%d posts, shown %+v", len(s.Posts()), shown)
		}
	})
}

// An answer that holds nothing is not taken for one that says "no statuses", after which the same would be posted for ever.
func TestEmptyAnswers(t *testing.T) {
	for reason, body := range map[string]string{"null": `null`, "nothing": ``, "half": `{"statuses": [{"context": "x"`} {
		t.Run(reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				s.AnswerWith(forgetest.Status(200, body))
				if shown, err := client.Statuses(t.Context(), commit, []string{"x"}); err == nil {
					t.Errorf("shown %+v", shown)
				}
			})
		})
	}
}

// Elements that aren't what they should be are passed over.
func TestStrangeElements(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		list := `[null, {}, {"context": null, "name": null}, {"id": 1, "context": "x", "name": "x", "status": "success", "state": "success", "more": [{}]}]`
		s.AnswerWith(forgetest.Status(200, map[bool]string{true: list, false: `{"sha": "` + commitHash + `", "statuses": ` + list + `}`}[provider(t) == forge.GitLab],
			"X-Total-Count", "4"))
		shown, err := client.Statuses(t.Context(), commit, []string{"x", "y"})
		want := map[string]forge.Status{"x": {Context: "x", State: forge.Success}}
		if err != nil || !reflect.DeepEqual(shown, want) {
			t.Errorf("%+v, %v", shown, err)
		}
	})
}

// fault is a way in which a forge fails, and what becomes of it.
type fault struct {
	reason string
	answer func(s *forgetest.Server) http.HandlerFunc
	check  func(err error) bool
}

func faults() []fault {
	status := func(code int, body string, headers ...string) func(*forgetest.Server) http.HandlerFunc {
		return func(*forgetest.Server) http.HandlerFunc { return forgetest.Status(code, body, headers...) }
	}
	// Each repeats what it was sent, as debugging proxies and some error pages do.
	echo := func(code int) func(*forgetest.Server) http.HandlerFunc {
		return func(*forgetest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				fmt.Fprintf(w, `{"message": "you sent %s%s"}`, r.Header.Get("Authorization"), r.Header.Get("Private-Token"))
			}
		}
	}
	return []fault{
		{"500 that echoes the token", echo(500), as[*forge.UnavailableError]},
		{"401 that echoes the token", echo(401), as[*forge.RefusedError]},
		{"403 that echoes the token", echo(403), as[*forge.RefusedError]},
		{"404 that echoes the token", echo(404), as[*forge.NotFoundError]},
		{"422 that echoes the token", echo(422), as[*forge.RejectedError]},
		{"400 that echoes the token", echo(400), as[*forge.RejectedError]},
		{"410", status(410, `{}`), as[*forge.NotFoundError]},
		{"409", status(409, `{}`), as[*forge.UnavailableError]},
		{"502 with a page", status(502, `<html>bad gateway</html>`, "Content-Type", "text/html"), as[*forge.UnavailableError]},
		{"503 that says when", status(503, ``, "Retry-After", "120"), func(err error) bool {
			e, ok := errors.AsType[*forge.UnavailableError](err)
			return ok && e.RetryAfter == 2*time.Minute
		}},
		{"429 that says when", status(429, `{"message": "slow down"}`, "Retry-After", "90"), limitedFor(90*time.Second, 90*time.Second)},
		{"429 that says nothing", status(429, ``), limitedFor(time.Minute, 90*time.Second)},
		{"429 until the year 5138", status(429, ``, "Retry-After", "99999999999"), limitedFor(time.Hour, time.Hour)},
		{"a login page", status(200, `<html>Sign in</html>`, "Content-Type", "text/html"), as[*forge.AnswerError]},
		{"JSON of another kind", status(200, `"hello"`), as[*forge.AnswerError]},
		{"an answer that breaks off", func(*forgetest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				fmt.Fprint(w, `[{"statuses": [`)
			}
		}, as[*forge.UnavailableError]},
		{"an answer without end", func(*forgetest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `["`)
				for chunk := strings.Repeat("x", 1<<20); ; {
					if _, err := io.WriteString(w, chunk); err != nil {
						return
					}
				}
			}
		}, as[*forge.AnswerError]},
		{"an error without end", func(*forgetest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(500)
				for chunk := strings.Repeat("x", 1<<20); ; {
					if _, err := io.WriteString(w, chunk); err != nil {
						return
					}
				}
			}
		}, as[*forge.UnavailableError]},
		{"no answer but a closed connection", func(*forgetest.Server) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, as[*forge.UnavailableError]},
		{"a redirect in a circle", func(*forgetest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
		}, as[*forge.RedirectedError]},
		{"a redirect to nowhere", status(302, ``), as[*forge.RedirectedError]},
		{"a list where text belongs", status(422, `{"message": {"name": ["is taken", {"x": 1}]}, "errors": [[[[[[["deep"]]]]]]]}`), as[*forge.RejectedError]},
	}
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func limitedFor(least, most time.Duration) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*forge.RateLimitedError](err)
		wait := time.Duration(0)
		if ok {
			wait = e.Until.Sub(newClock().Now())
		}
		return ok && wait >= least && wait <= most
	}
}

// Every failure is one of package forge's errors, holds no credential however it is printed, and is never tried again by the
// client: one call sends one request.
func TestFailures(t *testing.T) {
	for _, tt := range faults() {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
				s.AnswerWith(tt.answer(s))
				_, errRead := client.Statuses(t.Context(), commit, []string{"muster/production"})
				reads := len(s.Requests())
				if want := 1; reads != want && tt.reason != "a redirect in a circle" {
					t.Errorf("%d requests to read, want %d", reads, want)
				}
				at.advance(2 * time.Hour) // a later call isn't held back
				fresh := clientOf(t, provider(t), s, newClock(), canary)
				errWrite := fresh.SetStatus(t.Context(), commit, forge.Status{Context: "muster/production", State: forge.Success})
				if n := len(s.Requests()) - reads; n != 1 && tt.reason != "a redirect in a circle" {
					t.Errorf("%d requests to write, want 1", n)
				}
				for _, err := range []error{errRead, errWrite} {
					if !tt.check(err) {
						t.Errorf("%#v", err)
					}
					holdsNoCanary(t, err)
				}
				if len(s.Posts()) != 0 {
					t.Errorf("posted %+v", s.Posts())
				}
			})
		})
	}
}

func provider(t *testing.T) forge.Provider {
	return forge.Provider(t.Name()[strings.LastIndex(t.Name(), "/")+1:])
}

func holdsNoCanary(t *testing.T, err error) {
	t.Helper()
	for depth := 0; err != nil && depth < 10; depth++ {
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, canary) {
			t.Errorf("an error holds the token: %s", text)
		}
		err = errors.Unwrap(err)
	}
}

func TestCredentialsOfAnotherKind(t *testing.T) {
	each(t, forgetest.Options{ReadToken: "read-0nly"}, func(t *testing.T, s *forgetest.Server, _ connect.Client, at *clock) {
		wrong := clientOf(t, provider(t), s, at, "wr0ng")
		if _, err := wrong.Statuses(t.Context(), commit, []string{"x"}); !as[*forge.RefusedError](err) {
			t.Errorf("a token that is not known: %v", err)
		}
		reader := clientOf(t, provider(t), s, at, "read-0nly")
		if _, err := reader.Statuses(t.Context(), commit, []string{"x"}); err != nil {
			t.Errorf("a token that may read: %v", err)
		}
		err := reader.SetStatus(t.Context(), commit, forge.Status{Context: "x", State: forge.Success})
		refused, ok := errors.AsType[*forge.RefusedError](err)
		if !ok || refused.Missing == "" || refused.Remedy == "" {
			t.Errorf("a token that may read alone: %v", err)
		}
	})
}

func TestWhatIsNotThere(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
		absent := forge.Commit{Hash: strings.Repeat("0", 40)}
		if _, err := client.Statuses(t.Context(), absent, []string{"x"}); !as[*forge.NotFoundError](err) {
			t.Errorf("read of a commit that isn't there: %v", err)
		}
		err := client.SetStatus(t.Context(), absent, forge.Status{Context: "x", State: forge.Success})
		want := as[*forge.NotFoundError]
		if provider(t) == forge.Gitea {
			want = as[*forge.UnavailableError] // it answers 500, which the test on the real one shows
		}
		if !want(err) {
			t.Errorf("status of a commit that isn't there: %v", err)
		}
		other, err := connect.To(connect.Config{Provider: provider(t), URL: s.URL() + "/platform/other",
			Secret: map[string][]byte{"token": []byte(canary)}, Options: forge.Options{Now: at.Now}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Statuses(t.Context(), commit, []string{"x"}); !as[*forge.NotFoundError](err) {
			t.Errorf("a repository that isn't there: %v", err)
		}
	})
}

func TestHungConnection(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, _ connect.Client, at *clock) {
		client, err := connect.To(connect.Config{Provider: provider(t), URL: s.GitURL(),
			Secret: map[string][]byte{"token": []byte(canary)}, Options: forge.Options{Now: at.Now, Timeout: 50 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		s.AnswerWith(s.Hang)
		_, err = client.Statuses(t.Context(), commit, []string{"x"})
		if e, ok := errors.AsType[*forge.UnavailableError](err); !ok || !e.Timeout {
			t.Errorf("%v", err)
		}
		holdsNoCanary(t, err)
		s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `[`)
			_ = http.NewResponseController(w).Flush()
			s.Hang(w, r)
		})
		_, err = client.Statuses(t.Context(), commit, []string{"x"})
		if e, ok := errors.AsType[*forge.UnavailableError](err); !ok || !e.Timeout {
			t.Errorf("in the middle of an answer: %v", err)
		}

		s.AnswerWith(s.Hang)
		slow := clientOf(t, provider(t), s, at, canary)
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { stop(errors.New("no longer the leader")) })
		if _, err := slow.Statuses(ctx, commit, []string{"x"}); !errors.Is(err, context.Canceled) {
			t.Errorf("a call that is cancelled: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := slow.Statuses(ctx, commit, []string{"x"}); !as[*forge.UnavailableError](err) {
			t.Errorf("a call whose time is up: %v", err)
		}
	})
}

// A forge that fails is asked less and less often, one that works again as at first.
func TestBackoff(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		wait := func() time.Duration {
			_, err := client.Statuses(t.Context(), commit, []string{"x"})
			e, ok := errors.AsType[*forge.UnavailableError](err)
			if !ok {
				t.Fatal(err)
			}
			return e.RetryAfter
		}
		s.AnswerWith(forgetest.Status(500, ``))
		least := 2 * time.Second
		for i := range 12 {
			if got := wait(); got < least || got > min(least*3/2, 5*time.Minute) {
				t.Errorf("failure %d: wait %s, want from %s on and half as much again at most", i+1, got, least)
			}
			least = min(2*least, 5*time.Minute)
		}
		s.AnswerWith(nil)
		if _, err := client.Statuses(t.Context(), commit, []string{"x"}); err != nil {
			t.Fatal(err)
		}
		s.AnswerWith(forgetest.Status(500, ``))
		if got := wait(); got > 3*time.Second {
			t.Errorf("after a success: wait %s", got)
		}
	})
}

// When nothing remains, nothing is sent until the reset, whatever this machine's clock shows.
func TestRateByHeader(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour} {
		for _, provider := range []forge.Provider{forge.GitHub, forge.GitLab} {
			t.Run(fmt.Sprint(provider, " clock off by ", skew), func(t *testing.T) {
				serverClock, clientClock := newClock(), newClock()
				clientClock.advance(skew)
				s := forgetest.Start(t, provider, forgetest.Options{Token: canary, Rate: 3, Now: serverClock.Now})
				s.AddCommit(commitHash)
				client := clientOf(t, provider, s, clientClock, canary)
				read := func() error {
					_, err := client.Statuses(t.Context(), commit, []string{"x"})
					return err
				}
				for range 3 {
					if err := read(); err != nil {
						t.Fatal(err)
					}
				}
				rate := client.Rate()
				if rate.Limit != 3 || rate.Remaining != 0 {
					t.Errorf("rate %+v", rate)
				}
				err := read()
				limited, ok := errors.AsType[*forge.RateLimitedError](err)
				if !ok || !limited.Until.Equal(rate.Reset) || len(s.Requests()) != 3 {
					t.Fatalf("%v after %d requests", err, len(s.Requests()))
				}
				left := limited.Until.Sub(clientClock.Now())
				clientClock.advance(left - time.Second)
				serverClock.advance(left - time.Second)
				if err := read(); !as[*forge.RateLimitedError](err) || len(s.Requests()) != 3 {
					t.Errorf("a second before the reset: %v after %d requests", err, len(s.Requests()))
				}
				clientClock.advance(time.Second)
				serverClock.advance(time.Second)
				if err := read(); err != nil || len(s.Requests()) != 4 {
					t.Errorf("at the reset: %v after %d requests", err, len(s.Requests()))
				}
			})
		}
	}
}

// Credentials stay with the host of the API, and a renamed repository is read at its new address there (CVE-2026-41506 of go-git).
func TestRedirects(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		var elsewhere sync.Map
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere.Store(r.URL.Path, r.Header) }))
		defer other.Close()
		s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/stolen?token="+canary, http.StatusTemporaryRedirect)
		})
		status := forge.Status{Context: "x", State: forge.Success}
		_, err := client.Statuses(t.Context(), commit, []string{"x"})
		for _, err := range []error{err, client.SetStatus(t.Context(), commit, status)} {
			moved, ok := errors.AsType[*forge.RedirectedError](err)
			if !ok || moved.Location != other.URL+"/stolen" {
				t.Errorf("%v", err)
			}
			holdsNoCanary(t, err)
		}
		elsewhere.Range(func(path, header any) bool { t.Errorf("sent to another host: %s %v", path, header); return true })

		s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/moved/") {
				http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusMovedPermanently)
				return
			}
			if r.Header.Get("Authorization")+r.Header.Get("Private-Token") == "" {
				t.Error("the credentials got lost on the way")
			}
			fmt.Fprint(w, map[forge.Provider]string{forge.GitHub: `{"sha": "` + commitHash + `"}`, forge.GitLab: `[]`, forge.Gitea: `{}`}[provider(t)])
		})
		if _, err := client.Statuses(t.Context(), commit, []string{"x"}); err != nil {
			t.Errorf("a redirect within the host: %v", err)
		}
		n := len(s.Requests())
		s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `[]`)
				return
			}
			http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusPermanentRedirect)
		})
		if err := client.SetStatus(t.Context(), commit, status); !as[*forge.RedirectedError](err) {
			t.Errorf("a redirect of what writes: %v", err)
		}
		posts := 0
		for _, r := range s.Requests()[n:] {
			if strings.HasPrefix(r, http.MethodPost) {
				posts++
			}
		}
		if posts != 1 {
			t.Errorf("%d posts, want 1", posts)
		}
	})
}

func TestOverTLS(t *testing.T) {
	each(t, forgetest.Options{TLS: true}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
		if _, err := client.Statuses(t.Context(), commit, []string{"x"}); err != nil {
			t.Errorf("with its CA: %v", err)
		}
		stranger, err := connect.To(connect.Config{Provider: provider(t), URL: s.GitURL(),
			Secret: map[string][]byte{"token": []byte(canary)}, Options: forge.Options{Now: at.Now}})
		if err != nil {
			t.Fatal(err)
		}
		n := len(s.Requests())
		_, err = stranger.Statuses(t.Context(), commit, []string{"x"})
		if e, ok := errors.AsType[*forge.UnavailableError](err); !ok || !strings.Contains(e.Remedy, "caFile") || len(s.Requests()) != n {
			t.Errorf("without its CA: %v", err)
		}
	})
}

// environment is a proxy that the environment names for the whole of these tests, and that nothing may go through.
var environment = &countingProxy{}

func TestMain(m *testing.M) {
	proxy := httptest.NewServer(environment)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		if err := os.Setenv(name, proxy.URL); err != nil { // before anything reads it: Go remembers what it finds first
			panic(err)
		}
	}
	code := m.Run()
	proxy.Close()
	os.Exit(code)
}

type countingProxy struct {
	mu      sync.Mutex
	through []string
}

func (p *countingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.through = append(p.through, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
	w.WriteHeader(http.StatusProxyAuthRequired)
}

func (p *countingProxy) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.through...)
}

// The Secret's proxy is used, and the environment's is not. The forge's address is one that nobody has, not this machine's:
// for that Go's own reading of the environment would not use a proxy either.
func TestProxy(t *testing.T) {
	const nobodys = "192.0.2.1:9"
	for _, provider := range forge.Providers() {
		t.Run(string(provider), func(t *testing.T) {
			secret := map[string][]byte{"token": []byte("t0ken")}
			config := connect.Config{Provider: provider, URL: "https://" + nobodys + "/platform/fleet", Secret: secret,
				Options: forge.Options{Timeout: 100 * time.Millisecond}}
			read := func() error {
				client, err := connect.To(config)
				if err != nil {
					t.Fatal(err)
				}
				_, err = client.Statuses(t.Context(), commit, []string{"x"})
				return err
			}
			if err := read(); !as[*forge.UnavailableError](err) || len(environment.all()) != 0 {
				t.Errorf("without a proxy: %v, through the environment's: %q", err, environment.all())
			}
			own := &countingProxy{}
			proxy := httptest.NewServer(own)
			defer proxy.Close()
			secret["proxy"] = []byte(strings.Replace(proxy.URL, "://", "://robot:"+canary+"@", 1))
			config.Timeout = 0
			err := read()
			if e, ok := errors.AsType[*forge.UnavailableError](err); !ok || !strings.Contains(e.Problem, "proxy") {
				t.Errorf("%v", err)
			}
			holdsNoCanary(t, err)
			if through := own.all(); len(through) != 1 || !strings.HasPrefix(through[0], "CONNECT "+nobodys+" Basic ") {
				t.Errorf("through the proxy: %q", through)
			}
		})
	}
}

// What can't be right is refused here, before a path or a forge sees it.
func TestBadCalls(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		good := forge.Status{Context: "x", State: forge.Success}
		for _, tt := range []struct {
			reason string
			commit forge.Commit
			status forge.Status
		}{
			{"no commit", forge.Commit{}, good},
			{"a short commit", forge.Commit{Hash: "5f3c1a7"}, good},
			{"a path", forge.Commit{Hash: strings.Repeat("../", 13) + "x"}, good},
			{"no context", commit, forge.Status{State: forge.Success}},
			{"a context without end", commit, forge.Status{Context: strings.Repeat("x", 256), State: forge.Success}},
			{"no state", commit, forge.Status{Context: "x"}},
			{"a state of one forge", commit, forge.Status{Context: "x", State: "warning"}},
		} {
			if err := client.SetStatus(t.Context(), tt.commit, tt.status); !as[*forge.ConfigError](err) {
				t.Errorf("%s: %v", tt.reason, err)
			}
		}
		if _, err := client.Statuses(t.Context(), forge.Commit{Hash: "main"}, []string{"x"}); !as[*forge.ConfigError](err) {
			t.Errorf("a branch for a commit: %v", err)
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// Clients are shared by reconciles.
func TestConcurrentUse(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				status := forge.Status{Context: "muster/" + strconv.Itoa(i), State: forge.Success}
				for range 3 {
					shown, err := client.Statuses(t.Context(), commit, []string{status.Context})
					if err == nil && !client.UpToDate(shown[status.Context], status) {
						err = client.SetStatus(t.Context(), commit, status)
					}
					if err != nil {
						t.Error(err)
					}
					client.Rate()
				}
			})
		}
		wg.Wait()
		if n := len(s.Posts()); n != 8 {
			t.Errorf("%d posts, want 8", n)
		}
	})
}
