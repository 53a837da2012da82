package keys

import (
	"bytes"
	"sync"
	"time"
)

// Lifetime is how long a data key that a key service has opened is kept in memory, counted from the answer and not prolonged
// by use. It is the longest time for which a credential that was revoked at the service, and is still in the Secret, goes on
// opening files that it has opened before. An hour is well above the interval at which unchanged files are looked at, and
// keeps a fleet of 10,000 files at some three requests a second at worst, below every service's standard quota.
const Lifetime = time.Hour

// maxHeld bounds the number of values in a cache. A data key with its name is 64 bytes, and a fleet of 10,000 clusters has
// one each.
const maxHeld = 1 << 14

// id names a value in the cache without giving away what it is made of.
type id [32]byte

type heldValue struct {
	value []byte
	until time.Time
}

// cache holds secret values for a bounded time, and overwrites them when it lets go of them.
type cache struct {
	mu     sync.Mutex
	values map[id]heldValue
	max    int
	swept  time.Time
}

// get returns a copy of a value that has not expired.
func (c *cache) get(name id, now time.Time) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.values[name]
	if !ok || !now.Before(held.until) {
		return nil, false
	}
	return bytes.Clone(held.value), true
}

// put keeps a copy of a value.
func (c *cache) put(name id, value []byte, now, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[id]heldValue{}
	}
	c.drop(name)
	if len(c.values) >= c.max {
		c.sweep(now)
	}
	if len(c.values) >= c.max {
		c.dropOldest()
	}
	c.values[name] = heldValue{bytes.Clone(value), until}
}

// expire lets go of what has expired, when it has not done so within the last minute.
func (c *cache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.swept) >= time.Minute || now.Before(c.swept) {
		c.sweep(now)
	}
}

func (c *cache) sweep(now time.Time) {
	c.swept = now
	for name, held := range c.values {
		if !now.Before(held.until) {
			c.drop(name)
		}
	}
}

func (c *cache) dropOldest() {
	var oldest id
	var until time.Time
	for name, held := range c.values {
		if until.IsZero() || held.until.Before(until) {
			oldest, until = name, held.until
		}
	}
	c.drop(oldest)
}

func (c *cache) drop(name id) {
	clear(c.values[name].value)
	delete(c.values, name)
}
