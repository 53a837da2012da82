package preflight

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// viaProxy checks a target through a proxy that answers with a text, and nothing after it.
func viaProxy(t *testing.T, answer string) Result {
	t.Helper()
	address := listen(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprint(c, answer)
		}
	})
	o := options()
	o.Proxies, o.StepTimeout = []string{address}, 500*time.Millisecond
	r := target("api.example.com")
	r.ProxyURL = "http://" + address
	return Run(t.Context(), r, o)
}

// TestEndlessProxy: a proxy whose header doesn't end is read up to the limit.
func TestEndlessProxy(t *testing.T) {
	var sent atomic.Int64
	part := "X-Part: " + strings.Repeat("x", 64<<10) + "\r\n"
	address := listen(t, func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
		for {
			n, err := fmt.Fprint(c, part)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	o := options()
	o.Proxies, o.StepTimeout = []string{address}, 5*time.Second
	r := target("api.example.com")
	r.ProxyURL = "http://" + address
	got := Run(t.Context(), r, o)
	if f := got.Failure(); f == nil || f.Cause != ProxyFailed || sent.Load() > 64<<20 {
		t.Errorf("%d bytes\n%s", sent.Load(), text(got))
	}
}

// TestRefusedTunnelIsClosed: nothing is left of a connection over which the proxy doesn't connect.
func TestRefusedTunnelIsClosed(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
			fmt.Fprint(theirs, "HTTP/1.1 403 Forbidden\r\n\r\n")
		}
	}()
	if _, f := (&proxy{server: "api.example.com:443"}).through(t.Context(), ours, time.Minute); f == nil || f.cause != ProxyFailed {
		t.Errorf("%+v", f)
	}
	if err := ours.SetDeadline(time.Now()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is still open: %v", err)
	}
}

// TestProxy: a proxy is used only if it is allowed, and then for every connection; it sees neither token nor name of the path.
func TestProxy(t *testing.T) {
	c := newCluster()
	c.before = func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("Connection", "close"); return false }
	behind := good(t, c)
	var tunnels atomic.Int32
	var heard atomic.Value
	address := listen(t, func(client net.Conn) {
		in := bufio.NewReader(client)
		request, err := http.ReadRequest(in)
		if err != nil || request.Method != http.MethodConnect {
			hangUp(client)
			return
		}
		tunnels.Add(1)
		heard.Store(request.RequestURI + " " + request.Header.Get("Proxy-Authorization"))
		server, err := net.Dial("tcp", behind)
		if err != nil {
			hangUp(client)
			return
		}
		fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
		go func() { io.Copy(server, in); hangUp(server) }() //nolint:errcheck // it ends when a side hangs up
		io.Copy(client, server)                             //nolint:errcheck // likewise
		hangUp(client)
	})
	r := target("api.example.com:6443")
	r.Token, c.user = "another-token-of-the-scanner", "user:"+canary // so that the server repeats the proxy's password
	r.ProxyURL, r.TLSServerName = "http://user:"+canary+"@"+address, "127.0.0.1"
	o := options()
	o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		t.Error("a name was resolved that only the proxy has to know")
		return nil, nil
	}

	got := Run(t.Context(), r, o)
	if got.NotChecked == "" || tunnels.Load() != 0 || !strings.Contains(got.NotChecked, "--allow-proxy "+address) || strings.Contains(got.NotChecked, canary) {
		t.Errorf("not allowed: %q, %d tunnels\n%s", got.NotChecked, tunnels.Load(), text(got))
	}
	o.Proxies = []string{address}
	got = Run(t.Context(), r, o)
	want := "api.example.com:6443 Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+canary))
	if got.Failure() != nil || got.NotChecked != "" || tunnels.Load() < 2 || heard.Load() != want || strings.Contains(text(got)+got.User, canary) {
		t.Errorf("%d tunnels, %q\n%s", tunnels.Load(), heard.Load(), text(got))
	}

	o.Allow = nil
	if f := Run(t.Context(), r, o).Failure(); f == nil || f.Cause != AddressLoopback {
		t.Errorf("a proxy at a refused address: %+v", f)
	}
	r.Server = "https://169.254.169.254"
	if f := Run(t.Context(), r, o).Failure(); f == nil || f.Cause != AddressMetadata {
		t.Errorf("a refused address behind a proxy: %+v", f)
	}
	for _, other := range []string{"socks5://" + address, "https://" + address, "http://", "://"} {
		r.ProxyURL = other
		if got := Run(t.Context(), r, o); got.NotChecked == "" || got.Failure() != nil {
			t.Errorf("%s:\n%s", other, text(got))
		}
	}
}
