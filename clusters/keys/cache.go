package keys

import (
	"bytes"
	"sync"
	"time"
)

// Lifetime is how long a data key from a key service is cached, counted from the answer and not extended by use. If a credential
// is revoked at the service but still in the Secret, it can open previously opened files for that long. An hour is well above
// the interval at which unchanged files are checked. It limits a fleet of 10,000 files to about three requests per second, below
// the default quota of every service.
const Lifetime = time.Hour

// maxHeld limits the number of values in a cache. A data key with its id takes 64 bytes, and a fleet of 10,000 clusters has one
// per cluster.
const maxHeld = 1 << 14

// id identifies a value in the cache without revealing what it was computed from.
type id [32]byte

type heldValue struct {
	value []byte
	until time.Time
}

// cache holds secret values for a limited time, and overwrites them when it drops them.
type cache struct {
	mu     sync.Mutex
	values map[id]heldValue
	max    int
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

// put stores a copy of a value.
func (c *cache) put(name id, value []byte, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[id]heldValue{}
	}
	c.drop(name)
	if len(c.values) >= c.max {
		c.dropFirst()
	}
	c.values[name] = heldValue{bytes.Clone(value), until}
}

// expire drops expired values.
func (c *cache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, held := range c.values {
		if !now.Before(held.until) {
			c.drop(name)
		}
	}
}

// dropFirst drops the value that expires first, or has expired.
func (c *cache) dropFirst() {
	var first id
	for name, held := range c.values {
		if known, ok := c.values[first]; !ok || held.until.Before(known.until) {
			first = name
		}
	}
	c.drop(first)
}

func (c *cache) drop(name id) {
	clear(c.values[name].value)
	delete(c.values, name)
}
