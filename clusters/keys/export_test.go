package keys

import (
	"context"
	"crypto/x509"
	"net"
	"time"
)

// Route makes a Remote connect with the test's dial function and trust the test's authorities, under the real services' names
// and addresses. Call it before the first question.
func (r *Remote) Route(dial func(ctx context.Context, network, address string) (net.Conn, error), roots *x509.CertPool) {
	r.dial, r.roots = dial, roots
}

// SetTimeout replaces callTimeout.
func (r *Remote) SetTimeout(d time.Duration) { r.timeout = d }

// Held counts the values in the cache, expired or not.
func (r *Remote) Held() int {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	return len(r.cache.values)
}

// The limits, for tests that reach them.
const (
	FailuresInARow = failuresInARow
	LeftAlone      = cooldown
	MaxAttempts    = maxAttempts
)

// FromSecret makes a ring of a Secret's data that asks no key service.
func FromSecret(name string, data map[string][]byte) (*Ring, error) {
	return NewRemote(time.Now).Ring(name, data, Policy{})
}
