package keys

import (
	"fmt"
	"sync"
	"time"
)

// A server that fails several times in a row is not asked for a while. Otherwise a thousand files would each wait for the same
// server to time out. After that, one request at a time finds out whether it is back: the pause is longer than callTimeout.
const (
	failuresInARow = 3
	cooldown       = 15 * time.Second
	maxCircuits    = 256
)

// circuits tracks failing servers, each with the credentials that it was asked with: a problem of one AuditSync, such as a wrong CA
// certificate, must not make another one wait.
type circuits struct {
	mu       sync.Mutex
	byServer map[id]*circuit
}

type circuit struct {
	failures int
	last     *UnavailableError
	// next is when the next request may be sent.
	next time.Time
}

// admit returns an *UnavailableError for a server that must not be asked now. After a nil error, the caller must call record.
func (c *circuits) admit(server id, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.byServer[server]
	if state == nil || state.failures < failuresInARow {
		return nil
	}
	if now.Before(state.next) {
		return &UnavailableError{state.last.Address, fmt.Sprintf("it failed %d times in a row and is not asked for %s; last failure: %s", state.failures, cooldown, state.last.Reason)}
	}
	state.next = now.Add(cooldown)
	return nil
}

// record records the result of a request. No failure means that the server answered.
func (c *circuits) record(server id, failure *UnavailableError, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if failure == nil {
		delete(c.byServer, server)
		return
	}
	state := c.byServer[server]
	if state == nil {
		state = &circuit{}
		if c.byServer == nil || len(c.byServer) >= maxCircuits {
			// Few addresses are allowed. Starting again makes failures slower to detect, but limits memory.
			c.byServer = map[id]*circuit{}
		}
		c.byServer[server] = state
	}
	state.failures++
	state.last, state.next = failure, now.Add(cooldown)
}
