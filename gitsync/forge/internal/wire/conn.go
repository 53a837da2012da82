// Package wire is the way to a forge's API that all clients share: one HTTP client which bounds, waits, masks and tells
// failures apart. The clients hand it to their SDKs.
//
// An answer that is no success becomes an error where it arrives, below the SDK, so that none of them reads, repeats or
// retries it; Conn.Fail then makes one of package forge's errors of it.
package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	dialTimeout  = 10 * time.Second
	maxAnswer    = 2 << 20 // 100 statuses are some 200 KiB on GitHub, with their creators; an SDK makes 150 MiB of 2 MiB of empty ones
	maxRedirects = 3
)

// Conn is the way to the API of one repository with one set of credentials. It is safe for concurrent use.
type Conn struct {
	repository forge.Repository
	dialect    Dialect
	timeout    time.Duration
	mask       func(string) string
	client     *http.Client
	transport  http.RoundTripper // bounded, without credentials
	gate       *gate
}

// Dial makes the way; it connects when something is asked.
func Dial(repository forge.Repository, credentials forge.Credentials, dialect Dialect, o forge.Options) *Conn {
	o = o.WithDefaults()
	c := &Conn{
		repository: repository, dialect: dialect, timeout: o.Timeout, mask: credentials.Mask,
		gate: &gate{now: o.Now},
	}
	c.transport = &bounded{
		next: baseTransport(credentials), host: repository.API, agent: o.UserAgent,
		mask: credentials.Mask, dialect: dialect, gate: c.gate,
	}
	c.client = c.clientOver(authorized{next: c.transport, credentials: credentials})
	return c
}

// baseTransport reads nothing of the environment. Idle connections end soon: a client may be dropped at any time.
func baseTransport(credentials forge.Credentials) *http.Transport {
	return &http.Transport{
		Proxy:               func(*http.Request) (*url.URL, error) { return credentials.Proxy(), nil },
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     &tls.Config{RootCAs: credentials.Roots(), MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     30 * time.Second,

		MaxResponseHeaderBytes: 256 << 10,
	}
}

func (c *Conn) clientOver(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect, Timeout: c.timeout}
}

// HTTP returns the client, with credentials.
func (c *Conn) HTTP() *http.Client { return c.client }

// Wrap returns a client whose credentials are put on by what it is given: a transport made of the bounded one.
func (c *Conn) Wrap(credentials func(http.RoundTripper) http.RoundTripper) *http.Client {
	return c.clientOver(credentials(c.transport))
}

// Rate is what the forge last said about its limit.
func (c *Conn) Rate() forge.Rate { return c.gate.rate() }

// Get asks what an SDK can't. The path is escaped, and below the API's address.
func (c *Conn) Get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	target := c.repository.API.String() + path + "?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	return c.client.Do(req)
}

// authorized puts credentials on a copy of the request, as the contract of transports wants it.
type authorized struct {
	next        http.RoundTripper
	credentials forge.Credentials
}

func (t authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	t.credentials.Authorize(req)
	return t.next.RoundTrip(req)
}

// checkRedirect follows what reads within the server, as for a repository that was renamed. What writes is never sent again.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || !sameServer(req.URL, via[0].URL) || len(via) > maxRedirects {
		return &redirected{to: *req.URL}
	}
	return nil
}

func sameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
