package keys

import (
	"fmt"
	"sync"
	"time"
)

// A server that fails several times in a row is not asked for a while. Otherwise a thousand files would each wait for the same
// server to time out.
const (
	failuresInARow = 3
	cooldown       = 15 * time.Second
	maxCircuits    = 256
)

// circuits tracks failing servers per set of credentials: a problem of one AuditSync, such as a wrong CA certificate, must not
// make another one wait.
type circuits struct {
	mu         sync.Mutex
	byEndpoint map[endpoint]*circuit
}

// endpoint is a server, and what it is accessed with.
type endpoint struct {
	address string
	access  id
}

type circuit struct {
	failures int
	// until is when the next request may be sent. reason is that of the last failure.
	until  time.Time
	reason string
	// probing is true while one request checks whether the server is back.
	probing bool
}

// admit returns an *UnavailableError for a server that must not be asked now. After a nil error, the caller must call record.
func (c *circuits) admit(l endpoint, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.byEndpoint[l]
	if state == nil || state.failures < failuresInARow {
		return nil
	}
	if now.Before(state.until) || state.probing {
		return &UnavailableError{l.address, fmt.Sprintf("it failed %d times in a row and is not asked for %s; last failure: %s", state.failures, cooldown, state.reason)}
	}
	state.probing = true
	return nil
}

// record records the result of a request. An empty reason means that the server answered.
func (c *circuits) record(l endpoint, reason string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason == "" {
		delete(c.byEndpoint, l)
		return
	}
	if c.byEndpoint == nil {
		c.byEndpoint = map[endpoint]*circuit{}
	}
	state := c.byEndpoint[l]
	if state == nil {
		if len(c.byEndpoint) >= maxCircuits {
			// Few addresses are allowed. Clearing makes failures slower to detect, but limits memory.
			clear(c.byEndpoint)
		}
		state = &circuit{}
		c.byEndpoint[l] = state
	}
	state.failures++
	state.reason, state.probing, state.until = reason, false, now.Add(cooldown)
}
