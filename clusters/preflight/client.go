package preflight

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxAnswer limits an answer, of which the largest is a list of rules, and maxHeader its header.
const (
	maxAnswer = 1 << 20
	maxHeader = 64 << 10
)

// client sends requests to one server, over one connection at a time. It is not client-go's, which reads answers of any size
// and quotes them in errors.
type client struct {
	where     *endpoint
	dialer    dialer
	addresses []netip.Addr
	port      string
	header    http.Header
	http      *http.Client
	show      shower

	mu    sync.Mutex
	first net.Conn // the connection that greet made, until a request uses it
}

func newClient(t Target, where *endpoint, d dialer, addresses []netip.Addr, port string, o Options) *client {
	c := &client{where: where, dialer: d, addresses: addresses, port: port, header: header(t), show: newShower(t, o.Redactor)}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // without Proxy, so that the environment is not read
			DialTLSContext:         c.connect,
			MaxConnsPerHost:        1,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
		},
	}
	return c
}

func header(t Target) http.Header {
	h := http.Header{"Accept": {"application/json"}, "User-Agent": {"muster-preflight"}}
	maps.Copy(h, t.Impersonate)
	switch {
	case t.Token != "":
		h.Set("Authorization", "Bearer "+t.Token)
	case t.Username != "" || t.Password != "":
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(t.Username+":"+t.Password)))
	}
	return h
}

// greet speaks TLS on the first connection, and keeps it for the first request.
func (c *client) greet(ctx context.Context, conn net.Conn) *failure {
	secure, failure := handshake(ctx, conn, c.where.tls, c.dialer.timeout)
	if failure == nil {
		c.first = secure
	}
	return failure
}

// connect gives the transport the first connection, and then new ones to the same addresses: the name is not resolved again.
func (c *client) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	c.mu.Lock()
	first := c.first
	c.first = nil
	c.mu.Unlock()
	if first != nil {
		return first, nil
	}
	conn, failed := c.dialer.dial(ctx, c.addresses, c.port)
	if failed != nil {
		return nil, failed
	}
	secure, failed := handshake(ctx, conn, c.where.tls, c.dialer.timeout)
	if failed != nil {
		return nil, failed
	}
	return secure, nil
}

func (c *client) close() {
	c.http.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first != nil {
		c.first.Close() //nolint:errcheck // nothing was sent on it
	}
}

// answer is what a server has answered, if it wasn't a failure itself.
type answer struct {
	status int
	body   []byte
}

// get sends a GET, and post an object.
func (c *client) get(ctx context.Context, path string) (*answer, *failure) {
	return c.send(ctx, http.MethodGet, path, nil)
}

func (c *client) post(ctx context.Context, path string, object any) (*answer, *failure) {
	body, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("preflight: %T can't be written as JSON", object)) // structs of strings never fail
	}
	return c.send(ctx, http.MethodPost, path, body)
}

func (c *client) send(ctx context.Context, method, path string, body []byte) (*answer, *failure) {
	step, cancel := context.WithTimeout(ctx, c.dialer.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(step, method, c.where.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, &failure{cause: ServerInvalid, detail: "it is no address"}
	}
	req.Header = c.header.Clone()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(req)
	if err != nil {
		return nil, unanswered(ctx, err, c.dialer.timeout)
	}
	defer response.Body.Close() //nolint:errcheck // what is left of the answer doesn't matter
	if failed := c.unhealthy(response); failed != nil {
		return nil, failed
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unanswered(ctx, err, c.dialer.timeout)
	case len(content) > maxAnswer:
		return nil, &failure{cause: AnswerTooLarge, limit: "1 MiB"}
	}
	return &answer{response.StatusCode, content}, nil
}

// unhealthy returns the failure that a status is by itself, or nil.
func (c *client) unhealthy(response *http.Response) *failure {
	switch status := response.StatusCode; {
	case status >= 300 && status < 400:
		// The query of the address may repeat the request, so only the host is shown.
		to, err := url.Parse(response.Header.Get("Location"))
		if err != nil || to.Host == "" {
			return &failure{cause: Redirect, detail: "another page"}
		}
		return &failure{cause: Redirect, detail: c.show.text(to.Host)}
	case status >= 500:
		return &failure{cause: ServerError, detail: fmt.Sprint(status)}
	case status == http.StatusTooManyRequests:
		return &failure{cause: RateLimited}
	}
	return nil
}

// unanswered returns the failure behind an error of net/http. The error itself may quote the server, so it is never shown.
func unanswered(ctx context.Context, err error, limit time.Duration) *failure {
	var own *failure
	switch {
	case errors.As(err, &own): // of connect
		return own
	case interrupted(ctx):
		return &failure{cause: Interrupted}
	case timedOut(err):
		return &failure{cause: AnswerTimeout, limit: limit.String()}
	}
	if f := alert(err); f != nil {
		return f
	}
	return &failure{cause: AnswerBroken}
}

// closed reports whether a connection was closed by the server.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// into reads an answer in JSON. It returns false if it is no JSON object of that form.
func (a *answer) into(object any) bool { return json.Unmarshal(a.body, object) == nil }

// isJSON reports whether the answer is a JSON object, as all of Kubernetes's are.
func (a *answer) isJSON() bool {
	var object map[string]json.RawMessage
	return a.into(&object) && object != nil
}

// kind describes an answer that isn't Kubernetes's, without repeating it.
func (a *answer) kind() string {
	text := strings.ToLower(string(a.body[:min(len(a.body), 512)]))
	switch {
	case strings.Contains(text, "<html") || strings.Contains(text, "<!doctype"):
		return "it answers with a web page"
	case a.status == http.StatusNotFound:
		return "it has no /version"
	}
	return fmt.Sprintf("it answers /version with status %d and something else than a version", a.status)
}
