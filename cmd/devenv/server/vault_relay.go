package server

import (
	"context"
	"io"
	"net"
	"sync"
)

// relay forwards TCP connections to a server, and can cut them. The server behind it keeps running, with its data.
type relay struct {
	listener net.Listener
	target   string
	serving  sync.WaitGroup
	clients  connections // from clients, with one connection to the server for each
}

func startRelay(ctx context.Context, target string) (*relay, error) {
	listener, err := listenLoopback(ctx)
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, target: target}
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
	if !r.clients.hold(conn) {
		return
	}
	defer r.clients.release(conn)
	server, err := net.Dial("tcp", r.target)
	if err != nil || !r.clients.hold(server) {
		return
	}
	defer r.clients.release(server)
	done := make(chan bool, 2)
	for _, pair := range [][2]net.Conn{{conn, server}, {server, conn}} {
		go func() {
			io.Copy(pair[0], pair[1])
			done <- true
		}()
	}
	<-done // one end is enough: HTTP over TLS doesn't half-close
}

func (r *relay) stop() error {
	err := r.listener.Close()
	r.clients.setShut(true)
	r.serving.Wait()
	return err
}
