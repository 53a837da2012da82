package server

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A reserved address is there for who was told of it, as often as need be, and for nobody who asks the kernel for a port.
func TestReservedAddress(t *testing.T) {
	address, release, err := ReserveAddress()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, reason := range []string{"first", "after a restart"} {
		if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: before anybody listens: %v, %v", reason, conn, err)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		conn.Close()
		listener.Close()
	}
	if err := bindPlainly(t, address); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("while it is reserved, somebody else binds it: %v", err)
	}
	release()
	if err := bindPlainly(t, address); err != nil {
		t.Errorf("after its release: %v", err)
	}
}

// bindPlainly binds an address as the kernel does for whoever leaves the choice to it: without sharing.
func bindPlainly(t *testing.T, address string) error {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}})
}
