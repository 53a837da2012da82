package server

import (
	"context"
	"io"
	"net"
	"sync"
)

// relay passes TCP connections on to a server, and can be told to cut them. What is behind it keeps running, with its data.
type relay struct {
	listener net.Listener
	target   string
	serving  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	down  bool
	conns map[net.Conn]bool
}

func startRelay(ctx context.Context, target string) (*relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, target: target, conns: map[net.Conn]bool{}}
	r.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.serving.Go(func() { r.pass(conn) })
		}
	})
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) pass(conn net.Conn) {
	if !r.hold(conn) {
		return
	}
	defer r.release(conn)
	server, err := net.Dial("tcp", r.target)
	if err != nil || !r.hold(server) {
		return
	}
	defer r.release(server)
	done := make(chan bool, 2)
	for _, pair := range [][2]net.Conn{{conn, server}, {server, conn}} {
		go func() {
			io.Copy(pair[0], pair[1])
			done <- true
		}()
	}
	<-done // either end is enough: HTTP over TLS doesn't half-close
}

// hold remembers a connection so that it can be cut, or cuts it at once.
func (r *relay) hold(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		conn.Close()
		return false
	}
	r.conns[conn] = true
	return true
}

func (r *relay) release(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	conn.Close()
	delete(r.conns, conn)
}

func (r *relay) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	if down {
		for conn := range r.conns {
			conn.Close()
		}
	}
}

func (r *relay) stop() error {
	err := r.listener.Close()
	r.setDown(true)
	r.serving.Wait()
	return err
}
