package webhook

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// source is the origin of a delivery for the limits: an IPv4 address, or an IPv6 network of 64 bits, because one client owns
// all of its addresses.
type source netip.Prefix

func sourceOf(address netip.Addr) source {
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // the zero value for an invalid address
	return source(prefix)
}

func sourceOfConn(address net.Addr) (netip.Addr, source) {
	parsed, _ := netip.ParseAddrPort(address.String())
	return parsed.Addr().Unmap(), sourceOf(parsed.Addr())
}

// proxies are the proxies whose X-Forwarded-For is trusted.
type proxies []netip.Prefix

func (p proxies) trust(address netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}

// source reads X-Forwarded-For from its end, where the trusted proxies have written, up to the first address that isn't a
// trusted proxy.
func (p proxies) source(r *http.Request) source {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	address := remote.Addr()
	if err != nil || !p.trust(address) {
		return sourceOf(address)
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop, ok := parseHop(strings.TrimSpace(text))
		if !ok {
			break
		}
		address = hop
		if !p.trust(hop) {
			break
		}
	}
	return sourceOf(address)
}

// parseHop parses an address; some proxies add the port.
func parseHop(text string) (netip.Addr, bool) {
	if hop, err := netip.ParseAddr(text); err == nil {
		return hop, true
	}
	hop, err := netip.ParseAddrPort(text)
	return hop.Addr(), err == nil
}

// admission shares the resources that unverified senders may use.
type admission struct {
	limits   Limits
	failures *recent[source, *rate.Limiter]
	slots    *semaphore.Weighted
	memory   *semaphore.Weighted

	mu     sync.Mutex
	active map[source]*allotment
}

// allotment is what one source uses at the moment. It exists as long as the source has a delivery in progress.
type allotment struct {
	users  int
	slots  *semaphore.Weighted
	memory *semaphore.Weighted
}

func newAdmission(l Limits) *admission {
	return &admission{limits: l, failures: newRecent[source, *rate.Limiter](maxSources, 0), active: map[source]*allotment{},
		slots: semaphore.NewWeighted(int64(l.MaxConcurrent)), memory: semaphore.NewWeighted(l.MaxBuffered)}
}

// wait is how long a source is rejected because too many of its deliveries were not verified, or 0. Asking costs nothing:
// verified deliveries are not counted.
func (a *admission) wait(s source, now time.Time) time.Duration {
	limiter := a.limiter(s, now)
	if missing := 1 - limiter.TokensAt(now); missing > 0 {
		return time.Duration(missing / float64(limiter.Limit()) * float64(time.Second))
	}
	return 0
}

// failed counts a delivery that was not verified.
func (a *admission) failed(s source, now time.Time) { a.limiter(s, now).AllowN(now, 1) }

func (a *admission) limiter(s source, now time.Time) *rate.Limiter {
	limiter, _ := a.failures.getOrMake(s, now, func() *rate.Limiter { return rate.NewLimiter(a.limits.FailureRate, a.limits.FailureBurst) })
	return limiter
}

// ticket is the permission to read one delivery.
type ticket struct {
	admission *admission
	source    source
	allotment *allotment
	held      int64 // bytes reserved in both budgets
}

// enter waits for a slot, first for one of the source's, so that a source that sends too much only delays itself. It returns
// nil if no slot is free in time.
func (a *admission) enter(ctx context.Context, s source) *ticket {
	ctx, cancel := context.WithTimeout(ctx, waitForSlot)
	defer cancel()
	a.mu.Lock()
	own := a.active[s]
	if own == nil {
		own = &allotment{slots: semaphore.NewWeighted(int64(max(a.limits.MaxConcurrent/share, 1))), memory: semaphore.NewWeighted(a.limits.MaxBuffered / 2)}
		a.active[s] = own
	}
	own.users++
	a.mu.Unlock()
	if own.slots.Acquire(ctx, 1) != nil {
		a.leave(s, own)
		return nil
	}
	if a.slots.Acquire(ctx, 1) != nil {
		own.slots.Release(1)
		a.leave(s, own)
		return nil
	}
	return &ticket{admission: a, source: s, allotment: own}
}

func (a *admission) leave(s source, mine *allotment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(a.active, s)
	}
}

// take reserves memory without waiting: deliveries that wait while they hold memory could deadlock.
func (t *ticket) take(n int64) bool {
	if !t.allotment.memory.TryAcquire(n) {
		return false
	}
	if !t.admission.memory.TryAcquire(n) {
		t.allotment.memory.Release(n)
		return false
	}
	t.held += n
	return true
}

// release returns all memory and the slot.
func (t *ticket) release() {
	t.allotment.memory.Release(t.held)
	t.admission.memory.Release(t.held)
	t.allotment.slots.Release(1)
	t.admission.slots.Release(1)
	t.admission.leave(t.source, t.allotment)
}
