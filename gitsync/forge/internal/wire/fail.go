package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// Dialect is what differs between the providers' answers.
type Dialect struct {
	// RateLimit, RateRemaining and RateReset are names of headers, or empty. The reset is in seconds since 1970.
	RateLimit, RateRemaining, RateReset string
	// Header is what the API wants in each request of the connection's.
	Header map[string]string
	// Aside selects requests for a token, which have a separate limit. Nil selects none.
	Aside func(*http.Request) bool
	// Throttled distinguishes a rate limit from a missing permission if both are 403. 429 always is a rate limit.
	Throttled func(*StatusError) bool
	// Missing distinguishes an unknown commit from an invalid request if both are 422 or similar.
	Missing func(*StatusError) bool
	// Right is what a token lacks and which permission to grant, for 401 and 403, and for failed requests for a token.
	Right func(*StatusError) (missing, remedy string)
}

const (
	checkCA    = "put the CA that signed the server's certificate into the Secret's caFile"
	checkProxy = "check the name and password in the Secret's proxy"

	notDocumented = "is not what the API documents"
)

// ErrNothing is for answers without any content, not even an empty list. If they counted as "no statuses", the same status
// would be posted again and again.
var ErrNothing = errors.New("an answer without content")

// Fail turns an SDK's error into one of package forge, or the context's own. It keeps nothing of the original, whose text
// may contain secrets.
func (c *Conn) Fail(ctx context.Context, action string, err error) error {
	return c.FailAbout(ctx, "", action, err)
}

// The subjects of requests other than commits.
const (
	PullRequest = "pull request"
	Comment     = "comment"
	User        = "user"
	Self        = "account of the credentials"
	CheckRun    = "check run"
)

// FailAbout is Fail for requests about something else than a commit.
func (c *Conn) FailAbout(ctx context.Context, what, action string, err error) error {
	call := c.call(action)
	if answer, ok := errors.AsType[*StatusError](err); ok {
		answer.About = what
		return c.failAnswer(call, answer)
	}
	if shut, ok := errors.AsType[*closed](err); ok {
		return &forge.RateLimitedError{Call: call, Until: shut.until}
	}
	if away, ok := errors.AsType[*redirected](err); ok {
		return &forge.RedirectedError{Call: call, Location: c.location(away.to)}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return c.failTransport(call, err)
}

// Done records that the forge works.
func (c *Conn) Done() { c.gate.succeeded() }

func (c *Conn) failAnswer(call forge.Call, a *StatusError) error {
	d := c.dialect
	switch {
	case a.Status == http.StatusTooManyRequests, d.Throttled != nil && d.Throttled(a):
		return &forge.RateLimitedError{Call: call, Until: c.gate.throttle(retryAfter(a.Header)), Status: a.Status, Detail: a.Message}
	case a.Status >= http.StatusInternalServerError, a.Status == http.StatusRequestTimeout, a.Status == http.StatusConflict:
		return &forge.UnavailableError{Call: call, Status: a.Status, Problem: "the forge failed", Detail: a.Message,
			RetryAfter: max(retryAfter(a.Header), c.gate.failed())}
	}
	c.gate.succeeded()
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Aside:
		missing, remedy := d.Right(a)
		return &forge.RefusedError{Call: call, Status: a.Status, Detail: a.Message, Missing: missing, Remedy: remedy}
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone, d.Missing != nil && d.Missing(a):
		return &forge.NotFoundError{Call: call, Status: a.Status, Detail: a.Message, What: a.About}
	case a.Status == http.StatusProxyAuthRequired:
		return c.unavailable(call, "the proxy refused the request", checkProxy)
	}
	return &forge.RejectedError{Call: call, Status: a.Status, Detail: a.Message}
}

// failTransport is for errors without an answer, and for answers that can't be parsed.
func (c *Conn) failTransport(call forge.Call, err error) error {
	var (
		dns     *net.DNSError
		op      *net.OpError
		network net.Error
		verify  *tls.CertificateVerificationError
		roots   x509.SystemRootsError
		record  tls.RecordHeaderError
		client  *url.Error
		syntax  *json.SyntaxError
		kind    *json.UnmarshalTypeError
		large   *tooLargeError
	)
	switch {
	case errors.Is(err, ErrNothing), errors.As(err, &syntax), errors.As(err, &kind): // a transport decodes an App's token, so check these before the transport's errors
		return &forge.AnswerError{Call: call, Problem: notDocumented}
	case errors.Is(err, errOtherServer):
		return &forge.AnswerError{Call: call, Problem: "leads to another server"}
	case errors.As(err, &large):
		return &forge.AnswerError{Call: call, Problem: large.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e := c.unavailable(call, "the server did not answer in time", "")
		e.Timeout = true
		return e
	case errors.As(err, &verify), errors.As(err, &roots):
		return c.unavailable(call, "the server's certificate is not trusted", checkCA)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return c.unavailable(call, "the server does not use TLS on this port", "check spec.forge.apiURL")
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		return c.unavailable(call, "the proxy refused the request", checkProxy)
	case errors.As(err, &dns):
		return c.unavailable(call, "the host can't be resolved", "check spec.forge.apiURL, DNS and the proxy")
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &op) && op.Op == "proxyconnect":
		return c.unavailable(call, "the server can't be reached", "check spec.forge.apiURL, the proxy and network policies")
	case errors.As(err, &op), errors.As(err, &client), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return c.unavailable(call, "the connection broke", "")
	}
	return &forge.AnswerError{Call: call, Problem: notDocumented}
}

func (c *Conn) unavailable(call forge.Call, problem, remedy string) *forge.UnavailableError {
	return &forge.UnavailableError{Call: call, Problem: problem, Remedy: remedy, RetryAfter: c.gate.failed()}
}

// location is a redirect's target in the form that errors show.
func (c *Conn) location(u url.URL) string {
	if u.Host == "" {
		return "nowhere"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return forge.Truncate(forge.Line(c.mask(shown.String())), maxMessage)
}
