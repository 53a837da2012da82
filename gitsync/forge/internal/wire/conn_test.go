package wire

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

func conn(t *testing.T, address string) *Conn {
	t.Helper()
	api, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := forge.CredentialsFromSecret(forge.Gitea, map[string][]byte{"token": []byte("t0ken")})
	if err != nil {
		t.Fatal(err)
	}
	return Dial(forge.Repository{Provider: forge.Gitea, Path: "platform/fleet", API: *api}, credentials,
		Dialect{Right: func(*StatusError) (string, string) { return "x", "y" }}, forge.Options{})
}

// Whatever an SDK is brought to send elsewhere, by a link in an answer for example, never leaves: not to another host, not to
// another port of the same, and not without TLS.
func TestOtherServers(t *testing.T) {
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	c := conn(t, "https://127.0.0.1:1/api/v1")
	for _, target := range []string{other.URL + "/next", "http://127.0.0.1:1/api/v1", "https://localhost:1/api/v1"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.HTTP().Do(req)
		if !errors.Is(err, errOtherServer) {
			t.Errorf("%s: %v", target, err)
		}
		if _, ok := errors.AsType[*forge.AnswerError](c.Fail(t.Context(), "read", err)); !ok {
			t.Errorf("%s: %v", target, c.Fail(t.Context(), "read", err))
		}
	}
	if reached {
		t.Error("another server was reached")
	}
}

func TestRateHeaders(t *testing.T) {
	d := Dialect{RateLimit: "Limit", RateRemaining: "Remaining", RateReset: "Reset"}
	const date = "Mon, 23 Nov 2026 09:00:00 GMT"
	at := "1795424400" // the same
	for _, tt := range []struct {
		reason                         string
		limit, remaining, reset, dated string
		want                           observed
	}{
		{"none", "", "", "", date, observed{}},
		{"in order", "5000", "17", "1795424460", date, observed{limit: 5000, remaining: 17, wait: time.Minute, found: true}},
		{"a reset that is past", "5000", "17", "1795420000", date, observed{limit: 5000, remaining: 17, found: true}},
		{"a reset at once", "5000", "0", at, date, observed{limit: 5000, found: true}},
		{"a reset in the far future", "5000", "0", "99999999999999", date, observed{limit: 5000, wait: time.Hour, found: true}},
		{"a reset before all time", "5000", "0", "-9223372036854775808", date, observed{limit: 5000, found: true}},
		{"no date", "5000", "0", "1795424460", "", observed{limit: 5000, found: true}},
		{"no number", "many", "0", at, date, observed{}},
		{"below nothing", "5000", "-1", at, date, observed{}},
		{"a limit of nothing", "0", "0", at, date, observed{}},
	} {
		h := http.Header{}
		for name, value := range map[string]string{"Limit": tt.limit, "Remaining": tt.remaining, "Reset": tt.reset, "Date": tt.dated} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if got := d.rateOf(h); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.reason, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		reason, value string
		want          time.Duration
	}{
		{"none", "", 0}, {"seconds", "30", 30 * time.Second}, {"nothing", "0", 0}, {"less than nothing", "-5", 0},
		{"for ever", "9223372036854775807", time.Hour}, {"a word", "soon", 0},
		{"a time", "Mon, 23 Nov 2026 09:02:00 GMT", 2 * time.Minute}, {"a time that is past", "Mon, 23 Nov 2026 08:00:00 GMT", 0},
	} {
		h := http.Header{"Date": {"Mon, 23 Nov 2026 09:00:00 GMT"}, "Retry-After": {tt.value}}
		if got := retryAfter(h); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
	}
}

// Those who fail together don't come back together.
func TestJitter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		wait := jittered(time.Minute, time.Hour, 2)
		if wait < 4*time.Minute || wait > 6*time.Minute {
			t.Errorf("wait %s", wait)
		}
		seen[wait] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different waits of 100", len(seen))
	}
	if wait := jittered(time.Minute, time.Hour, 1000); wait != time.Hour {
		t.Errorf("after 1,000 failures: %s", wait)
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct{ reason, kind, body, want string }{
		{"GitHub", "application/json", `{"message": "Validation Failed", "errors": [{"resource": "Status", "code": "custom", "message": "too long"}]}`,
			"Validation Failed: too long"},
		{"GitLab, by field", "application/json", `{"message": {"target_url": ["is too long", "is no URL"]}}`, "target_url is too long, is no URL"},
		{"GitLab's OAuth", "application/json", `{"error": "insufficient_scope", "error_description": "more rights"}`, "insufficient_scope: more rights"},
		{"text", "text/plain; charset=utf-8", "Retry later\n", "Retry later"},
		{"a page", "text/html", "<html>", ""},
		{"nothing", "", "", ""},
		{"a list", "application/json", `[1, 2]`, ""},
		{"numbers", "application/json", `{"message": 7, "errors": [true, null]}`, "7: true,"},
	} {
		if got := messageOf(tt.kind, []byte(tt.body)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
