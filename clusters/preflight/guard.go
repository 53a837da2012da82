package preflight

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// guard decides which addresses may be contacted.
type guard struct {
	allow      []netip.Prefix
	management []netip.Addr
}

// metadata are the addresses at which clouds give credentials to their machines, besides 169.254.169.254 in other forms.
var metadata = addresses(
	"169.254.169.254", "fd00:ec2::254", "fd20:ce::254", // AWS, Google, Azure and most others; AWS and Google over IPv6
	"169.254.170.2", "169.254.170.23", "fd00:ec2::23", // AWS: tasks, Pod Identity
	"100.100.100.200", "168.63.129.16", "192.0.0.192", // Alibaba, Azure's host, Oracle
)

func addresses(texts ...string) []netip.Addr {
	list := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// thisNetwork is 0.0.0.0/8, which Linux treats as the machine itself, and reserved ends with the broadcast address.
var thisNetwork, reserved = netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4")

// refuse returns why an address may not be contacted, or nil.
func (g guard) refuse(address netip.Addr) *failure {
	for _, a := range forms(address) {
		cause := g.cause(a)
		allowed := slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(a) })
		if cause != "" && !allowed {
			return &failure{cause: cause, address: a.String()}
		}
	}
	return nil
}

func (g guard) cause(a netip.Addr) Cause {
	switch {
	case slices.Contains(metadata, a):
		return AddressMetadata
	case slices.ContainsFunc(g.management, func(m netip.Addr) bool { return m.Unmap() == a }):
		return AddressManagement
	case a.IsLoopback():
		return AddressLoopback
	case a.IsLinkLocalUnicast():
		return AddressLinkLocal
	case a.IsUnspecified(), a.IsMulticast(), thisNetwork.Contains(a), reserved.Contains(a):
		return AddressReserved
	}
	return ""
}

// embedding are prefixes whose addresses carry an IPv4 address, and the byte at which it starts: NAT64, 6to4, and IPv4-compatible.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{{netip.MustParsePrefix("64:ff9b::/96"), 12}, {netip.MustParsePrefix("2002::/16"), 2}, {netip.MustParsePrefix("::/96"), 12}}

// forms returns an address without its zone and, for an IPv6 address that leads to an IPv4 address, that one.
func forms(address netip.Addr) []netip.Addr {
	a := address.Unmap().WithZone("")
	list := []netip.Addr{a}
	for _, e := range embedding {
		if a.Is6() && e.prefix.Contains(a) && !a.IsLoopback() && !a.IsUnspecified() {
			bytes := a.As16()
			list = append(list, netip.AddrFrom4([4]byte(bytes[e.at:e.at+4])))
		}
	}
	return list
}

// dialer is the one way to a server.
type dialer struct {
	guard
	timeout time.Duration
	proxy   *proxy // nil if there is none
}

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 8

// lookup asks DNS.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve returns the addresses of a host, if all of them may be contacted: a name that leads to a refused address and to
// another one hopes that a client takes the refused one.
func (d dialer) resolve(ctx context.Context, host string, ask func(context.Context, string) ([]netip.Addr, error)) ([]netip.Addr, *failure) {
	found := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		found = append(found, literal)
	} else {
		step, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		if found, err = ask(step, host); err != nil {
			return nil, d.unresolved(ctx, err)
		}
	}
	if len(found) == 0 {
		return nil, &failure{cause: HostUnknown}
	}
	for _, a := range found {
		if refused := d.refuse(a); refused != nil {
			return nil, refused
		}
	}
	return found[:min(len(found), maxAddresses)], nil
}

func (d dialer) unresolved(ctx context.Context, err error) *failure {
	var dns *net.DNSError
	switch {
	case interrupted(ctx):
		return &failure{cause: Interrupted}
	case timedOut(err):
		return &failure{cause: ResolveTimeout, limit: d.timeout.String()}
	case errors.As(err, &dns) && dns.IsNotFound:
		return &failure{cause: HostUnknown}
	case errors.As(err, &dns):
		return &failure{cause: ResolveFailed, detail: dns.Err}
	}
	return &failure{cause: ResolveFailed, detail: err.Error()}
}

// dial connects to the first address that accepts a connection. All of them share the time.
func (d dialer) dial(ctx context.Context, addresses []netip.Addr, port string) (net.Conn, *failure) {
	step, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var first *failure
	for i, a := range addresses {
		conn, err := d.one(step, a, port, len(addresses)-i)
		if err == nil {
			return d.proxy.through(ctx, conn, d.timeout)
		}
		if first == nil {
			first = d.unconnected(ctx, a, err)
		}
	}
	return nil, first
}

// one connects to an address within its part of the time. The system's own view of the address is checked last, right before
// the connection, so that nothing that happens above can lead elsewhere.
func (d dialer) one(ctx context.Context, a netip.Addr, port string, left int) (net.Conn, error) {
	end, _ := ctx.Deadline()
	net := net.Dialer{
		Timeout: time.Until(end) / time.Duration(left),
		Control: func(_, address string, _ syscall.RawConn) error {
			actual, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if refused := d.refuse(actual.Addr()); refused != nil {
				return refused
			}
			return nil
		},
	}
	return net.DialContext(ctx, "tcp", joined(a, port))
}

func joined(a netip.Addr, port string) string { return net.JoinHostPort(a.String(), port) }

func (d dialer) unconnected(ctx context.Context, a netip.Addr, err error) *failure {
	f := &failure{cause: ConnectFailed, address: a.String()}
	var refused *failure
	var system syscall.Errno
	switch {
	case errors.As(err, &refused):
		return refused
	case interrupted(ctx):
		f.cause = Interrupted
	case timedOut(err):
		f.cause, f.limit = ConnectTimeout, d.timeout.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		f.cause = ConnectRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		f.cause = ConnectUnreachable
	case errors.As(err, &system):
		f.detail = system.Error()
	default:
		f.detail = err.Error()
	}
	return f
}

// interrupted reports whether the caller stopped the check. A deadline is no interruption: it is the target's own time.
func interrupted(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// list is a list of addresses for a message.
func list(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
