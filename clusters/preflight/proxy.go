package preflight

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// proxy is a tunnel to a server. What resolves the server's name then, and decides where it leads, is the proxy, which is why a
// proxy has to be allowed.
type proxy struct {
	host, port    string
	server        string // host:port
	authorization string
}

// proxied returns the proxy of a target; nil if it has none. The text is why the target can't be checked.
func (t Target) proxied(where *endpoint, o Options) (*proxy, string) {
	if t.ProxyURL == "" {
		return nil, ""
	}
	u, err := url.Parse(t.ProxyURL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return nil, "the kubeconfig names a proxy other than http://host:port, the form that a preflight can use"
	}
	p := &proxy{host: u.Hostname(), port: u.Port(), server: net.JoinHostPort(where.host, where.port)}
	if p.port == "" {
		p.port = "80"
	}
	if address := net.JoinHostPort(p.host, p.port); !slices.Contains(o.Proxies, address) {
		return nil, "the kubeconfig names the proxy " + address + ", which is used only if it is allowed: muster preflight --allow-proxy " + quoted(address)
	}
	if password, _ := u.User.Password(); u.User != nil {
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, ""
}

// through returns a connection to the server, over one to the proxy. Without a proxy, that is the connection itself.
func (p *proxy) through(ctx context.Context, conn net.Conn, limit time.Duration) (net.Conn, *failure) {
	if p == nil {
		return conn, nil
	}
	if failed := p.tunnel(ctx, conn, limit); failed != nil {
		conn.Close() //nolint:errcheck // it is of no use any more
		return nil, failed
	}
	return conn, nil
}

// tunnel asks the proxy for a connection to the server.
func (p *proxy) tunnel(ctx context.Context, conn net.Conn, limit time.Duration) *failure {
	step, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(step, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a connection that is closed needs none
	request := "CONNECT " + p.server + " HTTP/1.1\r\nHost: " + p.server + "\r\n"
	if p.authorization != "" {
		request += "Proxy-Authorization: " + p.authorization + "\r\n"
	}
	status, err := p.ask(conn, request+"\r\n")
	if !stop() && err == nil {
		err = step.Err()
	}
	switch {
	case interrupted(ctx):
		return &failure{cause: Interrupted}
	case timedOut(err):
		return &failure{cause: ProxyFailed, detail: "no answer within " + limit.String()}
	case err != nil:
		return &failure{cause: ProxyFailed, detail: "its answer is not that of an HTTP proxy"}
	case status != http.StatusOK:
		return &failure{cause: ProxyFailed, detail: fmt.Sprintf("status %d", status)}
	}
	return nil
}

// ask sends a request and reads the header of the answer. Nothing follows it, because in TLS the client speaks first.
func (p *proxy) ask(conn net.Conn, request string) (status int, _ error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // it has none
	if err != nil {
		return 0, err
	}
	return response.StatusCode, nil
}

// contact returns the host that is dialed. A server that is an address is checked even behind a proxy.
func (d dialer) contact(where *endpoint) (host, port string, _ *failure) {
	if d.proxy == nil {
		return where.host, where.port, nil
	}
	if literal, err := netip.ParseAddr(where.host); err == nil {
		if refused := d.refuse(literal); refused != nil {
			return "", "", refused
		}
	}
	return d.proxy.host, d.proxy.port, nil
}
