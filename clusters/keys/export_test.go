package keys

import (
	"context"
	"crypto/x509"
	"net"
	"time"
)

// Route makes a Remote dial by the test's function and trust the test's authorities: the names and addresses of the real
// services stay what they are. It has to be called before the first question.
func (r *Remote) Route(dial func(ctx context.Context, network, address string) (net.Conn, error), roots *x509.CertPool) {
	r.dial, r.roots = dial, roots
}

// SetTimeout bounds questions by another time than callTimeout.
func (r *Remote) SetTimeout(d time.Duration) { r.timeout = d }

// Held counts the values in the cache, expired or not.
func (r *Remote) Held() int {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	return len(r.cache.values)
}

// The bounds, for tests that reach them.
const (
	FailuresInARow = failuresInARow
	LeftAlone      = cooldown
	MaxAttempts    = maxAttempts
)
