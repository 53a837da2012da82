package preflight

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	g := guard{management: addresses("203.0.113.5", "2001:db8::5")}
	for _, test := range []struct {
		reason, address string
		want            Cause
	}{
		{"a public address", "203.0.113.7", ""},
		{"a public IPv6 address", "2001:db8::7", ""},
		{"private networks are where clusters live", "10.0.0.1", ""},
		{"private", "192.168.1.10", ""},
		{"private", "172.16.0.1", ""},
		{"carriers' and VPNs' addresses", "100.64.0.1", ""},
		{"unique local", "fd12::1", ""},
		{"loopback", "127.0.0.1", AddressLoopback},
		{"all of 127/8 is loopback", "127.8.8.8", AddressLoopback},
		{"IPv6 loopback", "::1", AddressLoopback},
		{"loopback as IPv6", "::ffff:127.0.0.1", AddressLoopback},
		{"loopback by NAT64", "64:ff9b::7f00:1", AddressLoopback},
		{"loopback by 6to4", "2002:7f00:1::1", AddressLoopback},
		{"loopback, IPv4-compatible", "::127.0.0.1", AddressLoopback},
		{"metadata of most clouds", "169.254.169.254", AddressMetadata},
		{"metadata as IPv6", "::ffff:169.254.169.254", AddressMetadata},
		{"metadata by NAT64", "64:ff9b::a9fe:a9fe", AddressMetadata},
		{"metadata of AWS over IPv6", "fd00:ec2::254", AddressMetadata},
		{"metadata of Google over IPv6", "fd20:ce::254", AddressMetadata},
		{"Pod Identity of AWS", "169.254.170.23", AddressMetadata},
		{"Pod Identity of AWS over IPv6", "fd00:ec2::23", AddressMetadata},
		{"Alibaba", "100.100.100.200", AddressMetadata},
		{"Azure's host", "168.63.129.16", AddressMetadata},
		{"Oracle", "192.0.0.192", AddressMetadata},
		{"link-local", "169.254.1.1", AddressLinkLocal},
		{"IPv6 link-local with a zone", "fe80::1%eth0", AddressLinkLocal},
		{"unspecified", "0.0.0.0", AddressReserved},
		{"Linux takes it for the machine itself", "0.0.0.1", AddressReserved},
		{"IPv6 unspecified", "::", AddressReserved},
		{"multicast", "224.0.0.1", AddressReserved},
		{"IPv6 multicast", "ff02::1", AddressReserved},
		{"broadcast", "255.255.255.255", AddressReserved},
		{"the management cluster", "203.0.113.5", AddressManagement},
		{"the management cluster as IPv6", "::ffff:203.0.113.5", AddressManagement},
		{"the management cluster over IPv6", "2001:db8::5", AddressManagement},
	} {
		address := netip.MustParseAddr(test.address)
		var got Cause
		if f := g.refuse(address); f != nil {
			got = f.cause
		}
		if got != test.want {
			t.Errorf("%s (%s): %q, want %q", test.reason, test.address, got, test.want)
		}
		if allowing := (guard{management: g.management, allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}); allowing.refuse(address) != nil {
			t.Errorf("%s (%s) is refused although it is allowed", test.reason, test.address)
		}
	}
	one := guard{allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	if one.refuse(netip.MustParseAddr("127.0.0.1")) != nil || one.refuse(netip.MustParseAddr("127.0.0.2")) == nil {
		t.Error("a permission holds for its addresses, and no others")
	}
}

// TestDialer: the dialer refuses an address by itself, whoever has resolved it and how.
func TestDialer(t *testing.T) {
	var connected atomic.Int32
	address := netip.MustParseAddrPort(listen(t, func(net.Conn) { connected.Add(1) }))
	port := strings.TrimPrefix(address.String(), "127.0.0.1:")
	for _, a := range []string{"127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"} {
		d := dialer{timeout: 5 * time.Second}
		if _, f := d.dial(t.Context(), addresses(a), port); f == nil || f.cause != AddressLoopback {
			t.Errorf("%s: %+v", a, f)
		}
	}
	if n := connected.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	allowing := dialer{guard: guard{allow: options().Allow}, timeout: 5 * time.Second}
	conn, f := allowing.dial(t.Context(), addresses("127.0.0.2", "127.0.0.1"), port) // the first one may refuse
	if f != nil {
		t.Fatal(f)
	}
	hangUp(conn)
}

// TestAdvisories: CVE-2026-32828 of Kargo. Addresses of a file led to metadata, loopback and rebound addresses. Here, the local
// server would answer, and must see no connection.
func TestAdvisories(t *testing.T) {
	var connected atomic.Int32
	local := listen(t, func(c net.Conn) { connected.Add(1); hangUp(c) })
	port := local[strings.LastIndex(local, ":")+1:]
	public := netip.MustParseAddr("203.0.113.7")
	// rebinding answers with each list once, and then with the last one.
	rebinding := func(answers ...[]netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
		var asked atomic.Int32
		return func(context.Context, string) ([]netip.Addr, error) {
			return answers[min(int(asked.Add(1))-1, len(answers)-1)], nil
		}
	}
	loopback, cloud := addresses("127.0.0.1"), addresses("169.254.169.254")
	for _, test := range []struct {
		reason, host string
		resolve      func(context.Context, string) ([]netip.Addr, error)
		want         Cause
	}{
		{"metadata by address", "169.254.169.254", nil, AddressMetadata},
		{"loopback by address", "127.0.0.1", nil, AddressLoopback},
		{"IPv6 loopback by address", "[::1]", nil, AddressLoopback},
		{"loopback by name", "localhost", nil, AddressLoopback},
		{"metadata by name", "metadata.google.internal", rebinding(cloud), AddressMetadata},
		{"a name that leads to loopback", "rebound.example.com", rebinding(loopback), AddressLoopback},
		{"a name with a good address and loopback", "both.example.com", rebinding(append([]netip.Addr{public}, loopback...)), AddressLoopback},
	} {
		o := options()
		o.Allow, o.Resolve = nil, test.resolve
		r := Run(t.Context(), target(net.JoinHostPort(strings.Trim(test.host, "[]"), port)), o)
		if f := r.Failure(); f == nil || f.Cause != test.want || f.Name != Resolve {
			t.Errorf("%s:\n%s", test.reason, text(r))
		}
	}
	if n := connected.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	t.Run("DNS that changes its mind", rebound)
}

// rebound: a name resolves to a good address once, and to a refused one ever after. The server closes each connection after one
// answer, so that the client has to connect again, which must not resolve the name again.
func rebound(t *testing.T) {
	c := newCluster()
	c.before = func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("Connection", "close"); return false }
	address := good(t, c)
	var asked atomic.Int32
	o := options()
	o.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} // the good address; 127.0.0.9 is refused
	o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return addresses("127.0.0.1"), nil
		}
		return addresses("127.0.0.9"), nil
	}
	r := target("127.0.0.1" + address[strings.LastIndex(address, ":"):])
	r.Server, r.TLSServerName = strings.Replace(r.Server, "127.0.0.1", "api.example.com", 1), "127.0.0.1"
	if got := Run(t.Context(), r, o); got.Failure() != nil || asked.Load() != 1 {
		t.Errorf("asked DNS %d times\n%s", asked.Load(), text(got))
	}
	if got := Run(t.Context(), r, o); got.Failure() == nil || got.Failure().Cause != AddressLoopback {
		t.Errorf("the second check:\n%s", text(got))
	}
}

// TestNothingAmbient: no variable of the environment leads a connection elsewhere.
func TestNothingAmbient(t *testing.T) {
	var connected atomic.Int32
	elsewhere := listen(t, func(c net.Conn) { connected.Add(1); hangUp(c) })
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"} {
		t.Setenv(name, "http://"+elsewhere)
	}
	o := options()
	o.Resolve = func(context.Context, string) ([]netip.Addr, error) { return addresses("127.0.0.1"), nil }
	// net/http reads the environment once in a process, maybe before this test has set it.
	if transport := newClient(target(""), &endpoint{}, dialer{}, nil, "", o).http.Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("the client has a proxy")
	}
	address := good(t, newCluster())
	r := target("api.example.com" + address[strings.LastIndex(address, ":"):]) // net/http uses no proxy for 127.0.0.1 anyway
	r.TLSServerName = "127.0.0.1"
	if got := Run(t.Context(), r, o); got.Failure() != nil || connected.Load() != 0 {
		t.Errorf("%d connections to the proxy\n%s", connected.Load(), text(got))
	}
}

func TestUnconnectedTellsTheAddress(t *testing.T) {
	f := dialer{}.unconnected(t.Context(), netip.MustParseAddr("10.0.0.1"), errors.New("odd"))
	if f.cause != ConnectFailed || f.address != "10.0.0.1" || f.detail != "odd" {
		t.Errorf("%+v", f)
	}
}
