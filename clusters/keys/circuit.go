package keys

import (
	"fmt"
	"sync"
	"time"
)

// A server that has failed several times in a row is left alone for a while. Without that, a thousand files would each wait
// for the same server to time out.
const (
	failuresInARow = 3
	leftAlone      = 15 * time.Second
	maxCircuits    = 256
)

// circuits remember which servers fail, and for whom: what keeps one AuditSync from asking, such as a wrong CA certificate, is no reason
// for another one to wait.
type circuits struct {
	mu sync.Mutex
	by map[line]*circuit
}

// line is a server, and what it is asked with.
type line struct {
	address string
	access  id
}

type circuit struct {
	failures int
	// until is when the next request may go out; reason is that of the last failure.
	until  time.Time
	reason string
	// probing says that one request is out to see whether the server is back.
	probing bool
}

// admit returns an *UnavailableError for a server that is left alone. After an admission, record has to be called.
func (c *circuits) admit(l line, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.by[l]
	if state == nil || state.failures < failuresInARow {
		return nil
	}
	if now.Before(state.until) || state.probing {
		return &UnavailableError{l.address, fmt.Sprintf("it failed %d times in a row and is left alone for %s; the last time: %s", state.failures, leftAlone, state.reason)}
	}
	state.probing = true
	return nil
}

// record says what became of a request. An empty reason is that the server answered.
func (c *circuits) record(l line, reason string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason == "" {
		delete(c.by, l)
		return
	}
	if c.by == nil {
		c.by = map[line]*circuit{}
	}
	state := c.by[l]
	if state == nil {
		if len(c.by) >= maxCircuits {
			// Allowed addresses are few. Whoever has more gets slower failures, and no more memory.
			clear(c.by)
		}
		state = &circuit{}
		c.by[l] = state
	}
	state.failures++
	state.reason, state.probing, state.until = reason, false, now.Add(leftAlone)
}
