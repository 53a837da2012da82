package webhook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should take some milliseconds.
const patience = time.Minute

// TestHostileBodies sends what a body can be, with a good signature: a secret that leaks, or a forge that has been taken
// over, must not bring the receiver down.
func TestHostileBodies(t *testing.T) {
	deep := func(open, end string) []byte { return []byte(strings.Repeat(open, 1<<20) + strings.Repeat(end, 1<<20)) }
	inRef := func(value string) []byte {
		return []byte(`{"ref": ` + value + `, "object_kind": "push", "repository": {"full_name": "platform/fleet"}, "project": {"path_with_namespace": "platform/fleet"}}`)
	}
	for _, tt := range []struct {
		reason string
		body   []byte
	}{
		{"nothing", nil},
		{"no JSON", []byte("CANARY")},
		{"null", []byte("null")},
		{"a list", []byte("[]")},
		{"a string", []byte(`"push"`)},
		{"an empty object", []byte("{}")},
		{"half of it", payload(t, "github-push")[:300]},
		{"something behind it", append(payload(t, "github-push"), payload(t, "gitlab-push")...)},
		{"JSON bomb: lists", deep("[", "]")},
		{"JSON bomb: objects", deep(`{"a":`, "}")},
		{"JSON bomb: in a value that is read", inRef(string(deep("[", "]")))},
		{"JSON bomb: a million fields", []byte("{" + strings.Repeat(`"ref":"refs/heads/main",`, 200_000) + `"ref":1}`)},
		{"a number for a ref", inRef("1e999999")},
		{"an object for a ref", inRef("{}")},
		{"no ref", inRef("null")},
		{"a ref that is none", inRef(`"main"`)},
		{"an endless ref", inRef(`"refs/heads/` + strings.Repeat("a", 7<<20) + `"`)},
		{"line breaks in a ref", inRef(`"refs/heads/main\r\nX-Header: CANARY"`)},
		{"no UTF-8", inRef("\"refs/heads/\xff\"")},
		{"half a surrogate", inRef(`"refs/heads/\ud800"`)},
		{"a number for a commit", []byte(`{"ref": "refs/heads/main", "object_kind": "push", "after": 1, "repository": {"full_name": "platform/fleet"}}`)},
		{"a commit that is none", []byte(`{"ref": "refs/heads/main", "object_kind": "push", "after": "CANARY", "repository": {"full_name": "platform/fleet"}, "project": {"path_with_namespace": "platform/fleet"}}`)},
		{"no repository", []byte(`{"ref": "refs/heads/main", "object_kind": "push"}`)},
		{"CVE-2025-59537: commits of null", []byte(`{"ref": "refs/heads/main", "object_kind": "push", "commits": [null], "repository": null, "project": null}`)},
		{"CVE-2025-59531: links of another type", []byte(`{"ref": "refs/heads/main", "object_kind": "push", "repository": {"links": {"clone": "x"}, "full_name": null}, "project": {"path_with_namespace": null}}`)},
		{"CVE-2025-59538: no updates", []byte(`{"eventType": "git.push", "resource": {"refUpdates": []}}`)},
		{"a repository of another type", []byte(`{"ref": "refs/heads/main", "object_kind": "push", "repository": [], "project": 1}`)},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := start(t, production(nil), nil)
			for forge, headers := range map[string][]string{"GitHub": gitHub("push", secret, tt.body), "Gitea": gitea("push", secret, tt.body),
				"Forgejo": forgejo("push", secret, tt.body), "GitLab": gitLabToken("Push Hook", secret)} {
				if got := s.post("production", tt.body, headers...); got.status != 422 {
					t.Errorf("%s: %d %q", forge, got.status, got.text)
				}
			}
			if told := s.take(); len(told) > 0 {
				t.Errorf("told %v", told)
			}
			// Whoever has the secret may ask for a sync with whatever it is, and nothing more comes of it.
			if got := s.post("production", tt.body, "X-Signature: sha256="+hexMAC(secret, tt.body)); got.status != 202 {
				t.Errorf("generic: %d %q", got.status, got.text)
			}
			if told := s.take(); len(told) != 1 || told[0].Kind != Push || told[0].Ref != "" && told[0].Ref != "refs/heads/main" {
				t.Errorf("told %v", told)
			}
		})
	}
}

// zeros is a body of any length.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLargeBodies: a body is bounded before it is read (CVE-2024-40634).
func TestLargeBodies(t *testing.T) {
	const limit = 8 << 20
	s := start(t, production(nil), nil)
	fits := append(payload(t, "github-push"), bytes.Repeat([]byte(" "), limit)...)[:limit]
	if got := s.post("production", fits, gitHub("push", secret, fits)...); got.status != 202 {
		t.Errorf("the largest: %d %q", got.status, got.text)
	}
	over := append(bytes.Clone(fits), ' ')
	if got := s.post("production", over, gitHub("push", secret, over)...); got.status != 413 || !strings.Contains(got.text, "more than 8388608 bytes") {
		t.Errorf("a byte more: %d %q", got.status, got.text)
	}
	for reason, announced := range map[string]bool{"26 MiB, announced": true, "26 MiB, in pieces": false} {
		status, err := s.stream(26<<20, announced)
		// A client that goes on sending may find the connection closed before it reads the answer.
		if err == nil && status != 413 {
			t.Errorf("%s: %d", reason, status)
		}
		t.Logf("%s: the client saw %d, %v", reason, status, err)
	}
	if n := s.counted(outcomeTooLarge); n != 3 {
		t.Errorf("%d were too large, want 3:\n%s", n, s.exposition())
	}
	if told := s.take(); len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
}

// stream sends zeros, either with their number or in chunks.
func (s *site) stream(size int64, announced bool) (int, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url+Path("ns", "production"), io.LimitReader(zeros{}, size))
	if err != nil {
		return 0, err
	}
	if announced {
		request.ContentLength = size
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-GitHub-Event", "push")
	request.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close() //nolint:errcheck // nobody wants it
	return response.StatusCode, nil
}

// dial opens a connection and sends the beginning of a request.
func (s *site) dial(text string) net.Conn {
	s.Helper()
	conn, err := net.Dial("tcp", s.host)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		s.Fatal(err)
	}
	return conn
}

const head = "POST /hook/ns/production HTTP/1.1\r\nHost: muster\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n" +
	"X-Hub-Signature-256: sha256=0000000000000000000000000000000000000000000000000000000000000000\r\n"

// Clients that are slow, that stop half-way, or that never say anything, are cut off, while the forge gets its answer.
func TestSlowClients(t *testing.T) {
	s := start(t, production(nil), func(o *Options) {
		// On a busy machine the forge itself takes a while.
		o.Limits.HeaderTimeout, o.Limits.RequestTimeout, o.Limits.IdleTimeout = 3*time.Second, 5*time.Second, 3*time.Second
		o.Limits.FailureBurst = 1000
	})
	var wait sync.WaitGroup
	for reason, c := range map[string]struct {
		sent, answer string
		drip         bool
	}{
		"half-open: nothing at all":    {"", "", false},
		"half-open: half a line":       {"POST /hook/ns/prod", "", false},
		"half-open: no end of headers": {head, "", false},
		"headers, a byte at a time":    {head + "X-Slow: ", "", true},
		"no body":                      {head + "Content-Length: 1000\r\n\r\n", "408", false},
		"half a body":                  {head + "Content-Length: 1000\r\n\r\n{", "408", false},
		"slow body":                    {head + "Content-Length: 1000000\r\n\r\n{", "408", true},
		"slow chunks":                  {head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "408", false},
		"no HTTP":                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400", false},
	} {
		conn := s.dial(c.sent)
		wait.Go(func() {
			if c.drip {
				go func() {
					for {
						if _, err := conn.Write([]byte(" ")); err != nil {
							return
						}
						time.Sleep(20 * time.Millisecond)
					}
				}()
			}
			// The server ends it; the deadline only keeps a failing test from hanging.
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: still open", reason)
			}
			// Before the headers are complete, what is answered is net/http's affair. A client that still sends may miss the answer.
			if status, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "HTTP/1.1 "), " "); c.answer != "" && err == nil && status != c.answer {
				t.Errorf("%s: answered %q, want %q", reason, status, c.answer)
			}
		})
	}
	body := payload(t, "github-push")
	for range 20 {
		if got := s.post("production", body, gitHub("push", secret, body)...); got.status != 202 {
			t.Errorf("%d %q", got.status, got.text)
		}
	}
	wait.Wait()
	if n := s.counted(outcomeTimeout); n != 4 {
		t.Errorf("%d timeouts, want 4:\n%s", n, s.exposition())
	}
}

// One source can't take all connections, and those over its share are closed at once.
func TestConnections(t *testing.T) {
	s := start(t, production(nil), func(o *Options) { o.Limits.MaxConnections = 8 })
	first, second := s.dial("P"), s.dial("P")
	s.untilExposed("muster_webhook_connections 2")
	third := s.dial("")
	_ = third.SetReadDeadline(time.Now().Add(patience))
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third connection got %d bytes, %v", n, err)
	}
	s.untilExposed("muster_webhook_connections_refused_total 1")
	for _, conn := range []net.Conn{first, second} {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	s.untilExposed("muster_webhook_connections 0")
	body := payload(t, "github-push")
	if got := s.post("production", body, gitHub("push", secret, body)...); got.status != 202 {
		t.Errorf("%d %q", got.status, got.text)
	}
}

func (s *site) untilExposed(line string) {
	s.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.exposition(), line+"\n"); {
		if time.Now().After(end) {
			s.Fatalf("not %q:\n%s", line, s.exposition())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Whoever guesses secrets is told to wait. Behind a proxy that is trusted, this concerns nobody else.
func TestFlood(t *testing.T) {
	now := time.Now()
	s := start(t, production(nil), func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Limits.FailureRate, o.Limits.FailureBurst = 0.5, 3
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	body := payload(t, "github-push")
	from := func(address string, headers []string) reply {
		return s.post("production", body, append(headers, "X-Forwarded-For: "+address)...)
	}
	guess := gitHub("push", "a-guess-0123456789abcdef", body)
	for i := range 10 {
		// What a client writes there itself stands before what the proxy adds, and does not count.
		got := from(fmt.Sprintf("192.0.2.%d, 203.0.113.7, 10.1.2.3", i), guess)
		if want := map[bool]int{true: 401, false: 429}[i < 3]; got.status != want {
			t.Errorf("guess %d: %d %q, want %d", i, got.status, got.text, want)
		}
		if i == 9 && got.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q, want 2", got.header.Get("Retry-After"))
		}
	}
	for i := range 5 {
		if got := from("198.51.100.1", gitHub("push", secret, body)); got.status != 202 {
			t.Errorf("the forge, %d: %d %q", i, got.status, got.text)
		}
	}
	// Addresses of one IPv6 network are one source.
	for i := range 4 {
		got := from(fmt.Sprintf("2001:db8::%d", i), guess)
		if want := map[bool]int{true: 401, false: 429}[i < 3]; got.status != want {
			t.Errorf("guess %d over IPv6: %d, want %d", i, got.status, want)
		}
	}
	now = now.Add(2 * time.Second)
	if got := from("203.0.113.7", guess); got.status != 401 {
		t.Errorf("after waiting: %d %q", got.status, got.text)
	}
	if got := from("203.0.113.7", guess); got.status != 429 {
		t.Errorf("after waiting and guessing again: %d %q", got.status, got.text)
	}
	if n := s.counted(outcomeRateLimited); n != 9 {
		t.Errorf("%d were rate limited, want 9", n)
	}
}

func TestSource(t *testing.T) {
	p := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		reason, remote string
		forwarded      []string
		want           string
	}{
		{"a stranger", "203.0.113.7:1", nil, "203.0.113.7/32"},
		{"a stranger who says something else", "203.0.113.7:1", []string{"192.0.2.1"}, "203.0.113.7/32"},
		{"a proxy for nobody", "10.1.1.1:1", nil, "10.1.1.1/32"},
		{"a proxy", "10.1.1.1:1", []string{"192.0.2.1"}, "192.0.2.1/32"},
		{"what the client wrote does not count", "10.1.1.1:1", []string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1/32"},
		{"two proxies", "10.1.1.1:1", []string{"1.1.1.1, 192.0.2.1, 10.2.2.2"}, "192.0.2.1/32"},
		{"two headers", "10.1.1.1:1", []string{"1.1.1.1", "192.0.2.1, 10.2.2.2"}, "192.0.2.1/32"},
		{"with a port", "10.1.1.1:1", []string{"192.0.2.1:4711"}, "192.0.2.1/32"},
		{"proxies alone", "10.1.1.1:1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3/32"},
		{"no address", "10.1.1.1:1", []string{"192.0.2.1, unknown"}, "10.1.1.1/32"},
		{"no address before a proxy", "10.1.1.1:1", []string{"unknown, 10.2.2.2"}, "10.2.2.2/32"},
		{"IPv6 is a network", "[fd00::1]:1", []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:10.1.1.1]:1", []string{"::ffff:192.0.2.1"}, "192.0.2.1/32"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := netip.Prefix(p.source(r)).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
	}
}

// Nobody's word is taken who isn't trusted.
func TestForwardedForOfStrangers(t *testing.T) {
	s := start(t, production(nil), func(o *Options) { o.Limits.FailureRate, o.Limits.FailureBurst = 0.001, 2 })
	for i := range 4 {
		got := s.post("production", []byte("{}"), append(gitHub("push", "a-guess-0123456789abcdef", []byte("{}")), fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", i))...)
		if want := map[bool]int{true: 401, false: 429}[i < 2]; got.status != want {
			t.Errorf("%d: %d, want %d", i, got.status, want)
		}
	}
}

// A target is told to wait when even its own forge sends too much, and only that target.
func TestTargetRate(t *testing.T) {
	now := time.Now()
	targets := production(nil)
	targets["other"] = targets["production"]
	s := start(t, targets, func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Limits.TargetRate, o.Limits.TargetBurst = 1, 2
	})
	body := payload(t, "github-push")
	for _, step := range []struct {
		name   string
		status int
	}{{"production", 202}, {"production", 202}, {"production", 429}, {"other", 202}} {
		if got := s.post(step.name, body, gitHub("push", secret, body)...); got.status != step.status {
			t.Errorf("%s: %d %q, want %d", step.name, got.status, got.text, step.status)
		}
	}
}

// Many large bodies at once don't add up; a small one still gets through.
func TestMemory(t *testing.T) {
	s := start(t, production(nil), func(o *Options) {
		o.Limits.MaxBody, o.Limits.MaxBuffered = 1<<20, 2<<20
		o.Limits.FailureBurst = 1000
	})
	size := 1 << 20
	// These send nearly all of it and then wait: one source may hold 1 MiB, which the first of them has.
	slow := s.dial(head + fmt.Sprintf("Content-Length: %d\r\n\r\n", size) + strings.Repeat(" ", size-1))
	s.eventually("the first body to be held", func() bool { return !s.admission.memory.TryAcquire(2<<20) || release(s, 2<<20) })
	large := append(payload(t, "github-push"), bytes.Repeat([]byte(" "), size)...)[:size]
	if got := s.post("production", large, gitHub("push", secret, large)...); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("a second large body: %d %q", got.status, got.text)
	}
	small := payload(t, "github-push")
	if got := s.post("production", small, gitHub("push", secret, small)...); got.status != 202 {
		t.Errorf("a small body: %d %q", got.status, got.text)
	}
	if _, err := slow.Write([]byte(" ")); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil || response.StatusCode != 401 {
		t.Errorf("the slow one: %v, %v", response, err)
	}
	if got := s.post("production", large, gitHub("push", secret, large)...); got.status != 202 {
		t.Errorf("afterwards: %d %q", got.status, got.text)
	}
	if !s.admission.memory.TryAcquire(2<<20) || len(s.admission.active) != 0 {
		t.Errorf("something is still held: %v", s.admission.active)
	}
}

func release(s *site, n int64) bool {
	s.admission.memory.Release(n)
	return false
}

func (s *site) eventually(what string, reached func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !reached(); {
		if time.Now().After(end) {
			s.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A target that can't be looked up or told is the receiver's fault, and no reason to believe anybody.
func TestTargetsFail(t *testing.T) {
	s := start(t, production(nil), nil)
	body := payload(t, "github-push")
	s.err = errDown
	for _, headers := range [][]string{gitHub("push", secret, body), gitHub("push", "a-guess-0123456789abcdef", body)} {
		if got := s.post("production", body, headers...); got.status != 503 || strings.Contains(got.text, "API server") {
			t.Errorf("%d %q", got.status, got.text)
		}
	}
}

// What throws is one request, and is seen.
func TestPanic(t *testing.T) {
	s := start(t, production(nil), func(o *Options) { o.Targets = thrower{} })
	for range 3 {
		if got := s.post("production", []byte("{}"), gitHub("push", secret, []byte("{}"))...); got.status != 500 {
			t.Errorf("%d %q", got.status, got.text)
		}
	}
	if n := s.counted(outcomePanic); n != 3 || !strings.Contains(s.logs.String(), "webhook handler panicked") {
		t.Errorf("%d panics counted; log:\n%s", n, s.logs.String())
	}
}

type thrower struct{ Targets }

func (thrower) Target(context.Context, string, string) (Target, error) { panic("CANARY") }
