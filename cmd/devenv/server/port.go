package server

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// port is a TCP port of 127.0.0.1 that is reserved for a server that can't be given a listener.
//
// To ask the kernel for a free port, close it and pass its number on is a race that parallel tests do lose. A socket that is
// bound but never listens gets no connections and keeps everyone else off. The server can bind the same port because both
// set SO_REUSEPORT (etcd: --socket-reuse-port, kube-apiserver: --permit-port-sharing), or, on Linux, SO_REUSEADDR, which all
// listeners of Go set. A restarted server finds its port still free.
type port struct {
	fd     int
	number int
}

func reservePort() (*port, error) {
	// A child must not inherit the descriptor, because it would keep the port after this process.
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	p := &port{fd: fd}
	if err := p.bind(); err != nil {
		p.release()
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return p, nil
}

func (p *port) bind() error {
	for _, option := range []int{unix.SO_REUSEPORT, unix.SO_REUSEADDR} {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, option, 1); err != nil {
			return err
		}
	}
	if err := unix.Bind(p.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	addr, err := unix.Getsockname(p.fd)
	if err != nil {
		return err
	}
	p.number = addr.(*unix.SockaddrInet4).Port
	return nil
}

func (p *port) release() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd = -1
}

// yield makes room for a listener of Go that does not set SO_REUSEPORT. Only on Linux can it share the port with the socket.
func (p *port) yield() {
	if runtime.GOOS != "linux" {
		p.release()
	}
}

// ReserveAddress returns a free address of this machine, as host:port, for a Go server that is told where to listen. The
// server may use it later, and more than once. On Linux no one else gets it before release.
func ReserveAddress() (address string, release func(), err error) {
	p, err := reservePort()
	if err != nil {
		return "", nil, err
	}
	p.yield()
	return net.JoinHostPort(loopback, strconv.Itoa(p.number)), p.release, nil
}

// url returns https://127.0.0.1:port.
func (p *port) url() string {
	return "https://" + net.JoinHostPort(loopback, strconv.Itoa(p.number))
}

const loopback = "127.0.0.1"

// listenLoopback listens on a free port of 127.0.0.1, for servers in this process and those that accept a listener.
func listenLoopback(ctx context.Context) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
}
