// Package wire is the connection to a forge's API that all clients share: an HTTP client that bounds, limits, masks and
// classifies failures. The clients pass it to their SDKs.
//
// An answer that isn't a success becomes an error where it arrives, below the SDK, so that no SDK reads, repeats or retries
// it. Conn.Fail then turns it into an error of package forge.
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
	maxAnswer    = 2 << 20 // 100 statuses are some 200 KiB on GitHub, with their creators; an SDK turns 2 MiB of empty ones into 150 MiB
	maxRedirects = 3
)

// Conn is the connection to the API of one repository with one set of credentials. It is safe for concurrent use.
type Conn struct {
	repository forge.Repository
	dialect    Dialect
	timeout    time.Duration
	mask       func(string) string
	client     *http.Client
	transport  http.RoundTripper // bounded, without credentials
	gate       *gate
}

// Dial prepares the connection. It connects with the first request.
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

// baseTransport uses nothing of the environment. Idle connections end soon, because a client may be dropped at any time.
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

// With returns the same connection, with credentials that the given function adds: it gets the bounded transport, and returns
// one that authenticates.
func (c *Conn) With(credentials func(http.RoundTripper) http.RoundTripper) *Conn {
	other := *c
	other.client = c.clientOver(credentials(c.transport))
	return &other
}

// Rate is the rate limit that the forge last reported.
func (c *Conn) Rate() forge.Rate { return c.gate.rate() }

// Get is for requests that an SDK doesn't support. The path is escaped, and relative to the API's address.
func (c *Conn) Get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	req, err := c.request(ctx, path, query)
	if err != nil {
		return nil, err
	}
	return c.client.Do(req)
}

func (c *Conn) request(ctx context.Context, path string, query url.Values) (*http.Request, error) {
	target := c.repository.API.String() + path + "?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	for name, value := range c.dialect.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// authorized adds credentials to a copy of the request, as the contract of transports requires.
type authorized struct {
	next        http.RoundTripper
	credentials forge.Credentials
}

func (t authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	t.credentials.Authorize(req)
	return t.next.RoundTrip(req)
}

// checkRedirect follows redirects of reads within the server, such as for a renamed repository. Writes are never sent again.
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
