package server

import (
	"net"
	"sync"
)

// connections are the connections of a server in this process. They can be cut.
type connections struct {
	mu   sync.Mutex // guards the following fields
	shut bool
	open map[net.Conn]bool
}

// hold registers a connection so that it can be cut, or cuts it at once.
func (c *connections) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		conn.Close()
		return false
	}
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[conn] = true
	return true
}

func (c *connections) release(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.Close()
	delete(c.open, conn)
}

// setShut cuts existing and new connections, until it is called with false.
func (c *connections) setShut(shut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = shut
	if shut {
		for conn := range c.open {
			conn.Close()
		}
	}
}
