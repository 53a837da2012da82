package wire

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	// maxWait bounds how long a forge can ask to wait. The longest real wait is GitHub's, whose limit is reset each hour; a
	// wrong header must not silence a client for good.
	maxWait = time.Hour
	// throttledWait is GitHub's advice for a limit without a time: "wait for at least one minute".
	throttledWait = time.Minute
	// firstWait and lastWait are for a failing forge. The wait doubles with each consecutive failure.
	firstWait = 2 * time.Second
	lastWait  = 5 * time.Minute
)

// gate remembers the forge's rate limits and how often it has failed.
type gate struct {
	now func() time.Time

	mu       sync.Mutex
	last     forge.Rate
	until    time.Time
	failures int
}

// closed is the error of a request that is not sent.
type closed struct{ until time.Time }

func (*closed) Error() string { return "too early" }

func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now().Before(g.until) {
		return &closed{until: g.until}
	}
	return nil
}

func (g *gate) rate() forge.Rate {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// observed is the information in the headers of an answer. Wait is the time until the reset.
type observed struct {
	limit, remaining int
	wait             time.Duration
	found            bool
}

// observe records the headers. If nothing remains, the gate closes even though this request was answered.
func (g *gate) observe(o observed) {
	if !o.found {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	reset := g.now().Add(min(o.wait, maxWait))
	g.last = forge.Rate{Limit: o.limit, Remaining: o.remaining, Reset: reset}
	if o.remaining == 0 && o.wait > 0 && reset.After(g.until) {
		g.until = reset
	}
}

// throttle closes the gate after a refusal and returns when it opens. Wait is 0 if the forge sent none.
func (g *gate) throttle(wait time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait <= 0 {
		if wait = g.until.Sub(g.now()); wait <= 0 { // otherwise the answer's headers had it
			wait = jittered(throttledWait, maxWait, g.failures)
		}
	}
	g.failures++
	if until := g.now().Add(min(wait, maxWait)); until.After(g.until) {
		g.until = until
	}
	return g.until
}

// failed returns how long to wait after another failure.
func (g *gate) failed() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := jittered(firstWait, lastWait, g.failures)
	g.failures++
	return wait
}

func (g *gate) succeeded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = 0
}

// jittered doubles the wait n times, up to the limit, and adds up to half of it, so that clients that failed together don't
// come back together, and none comes back too early.
func jittered(wait, limit time.Duration, n int) time.Duration {
	wait = min(wait<<min(n, 16), limit)
	return min(wait+rand.N(wait/2), limit) //nolint:gosec // spreads load; not security-relevant
}

// rateOf reads the headers. Resets are times of the forge's clock, so they are relative to the answer's Date: with a wrong
// local clock the client would otherwise wait for hours, or not at all.
func (d Dialect) rateOf(h http.Header) observed {
	limit, errLimit := strconv.Atoi(h.Get(d.RateLimit))
	remaining, errRemaining := strconv.Atoi(h.Get(d.RateRemaining))
	if d.RateLimit == "" || errLimit != nil || errRemaining != nil || limit <= 0 || remaining < 0 {
		return observed{}
	}
	o := observed{limit: limit, remaining: remaining, found: true}
	reset, errReset := strconv.ParseInt(h.Get(d.RateReset), 10, 64)
	sent, errDate := http.ParseTime(h.Get("Date"))
	if errReset == nil && errDate == nil && reset > sent.Unix() {
		o.wait = time.Duration(min(reset-sent.Unix(), int64(maxWait/time.Second))) * time.Second
	}
	return o
}

// retryAfter reads that header: seconds, or a time of the forge's clock.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(maxWait/time.Second)))) * time.Second
	}
	when, err := http.ParseTime(value)
	sent, errDate := http.ParseTime(h.Get("Date"))
	if err != nil || errDate != nil {
		return 0
	}
	return max(0, min(when.Sub(sent), maxWait))
}
