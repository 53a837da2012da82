package preflight

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPost: a request to a target goes by the rules of a preflight, and its answer is bounded.
func TestPost(t *testing.T) {
	var got string
	answers := answering(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
		encode(w, http.StatusCreated, "ok")
	})
	address := good(t, answers)
	status, body, failed := Post(t.Context(), target(address), options(), "/api/v1/x", map[string]string{"a": "b"})
	if status != http.StatusCreated || string(body) != `"ok"` || failed != nil || got != `POST /api/v1/x Bearer `+canary+` {"a":"b"}` {
		t.Errorf("%d %s %+v, for %s", status, body, failed, got)
	}
	denied := good(t, answering(func(w http.ResponseWriter, _ *http.Request) { forbidden(w, canary) }))
	if status, _, failed := Post(t.Context(), target(denied), options(), "/x", nil); status != http.StatusForbidden || failed != nil {
		t.Errorf("a refusal is an answer: %d, %+v", status, failed)
	}

	untrusted := target(address)
	untrusted.CA = other().pem()
	proxied := target(address)
	proxied.ProxyURL = "http://proxy.example.com:3128"
	strict, hasty := options(), options()
	strict.Allow, hasty.StepTimeout = nil, 50*time.Millisecond
	hangs := make(chan struct{})
	defer close(hangs)
	for _, test := range []struct {
		reason string
		target Target
		o      Options
		cause  Cause
	}{
		{"an address that isn't allowed", target(address), strict, AddressLoopback},
		{"another CA", untrusted, options(), ServerCertificateUnknown},
		{"a proxy that isn't allowed", proxied, options(), ""},
		{"no credential", Target{Cluster: "eu", Server: "https://" + address, CA: trusted().pem()}, options(), CredentialMissing},
		{"a redirect", target(good(t, answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+address+"/x", http.StatusTemporaryRedirect)
		}))), options(), Redirect},
		{"a server error", target(good(t, answering(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusBadGateway, canary) }))), options(), ServerError},
		{"a large answer", target(good(t, answering(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(canary, maxAnswer/8))
		}))), options(), AnswerTooLarge},
		{"no answer", target(good(t, answering(func(http.ResponseWriter, *http.Request) { <-hangs }))), hasty, AnswerTimeout},
	} {
		got = ""
		status, body, failed := Post(t.Context(), test.target, test.o, "/x", nil)
		if status != 0 || body != nil || failed == nil || failed.Cause != test.cause || got != "" || strings.Contains(failed.Message+failed.Fix, canary) || failed.Message == "" {
			t.Errorf("%s: %d, %+v, and the server saw %q", test.reason, status, failed, got)
		}
	}
}
