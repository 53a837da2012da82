package gitsync

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	uploadPack  = "git-upload-pack"
	infoRefs    = "/info/refs"
	advertised  = "application/x-git-upload-pack-advertisement"
	dialTimeout = 15 * time.Second
)

// httpWire is Git's smart HTTP protocol. Each Fetch has its own, so that neither connections nor credentials outlive it. The
// two requests of a Fetch share a connection.
type httpWire struct {
	client *http.Client
	base   *url.URL
	auth   Auth
}

func newHTTPWire(u *url.URL, auth Auth) *httpWire {
	base := *u
	base.Path, base.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return &httpWire{base: &base, auth: auth, client: &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig:        &tls.Config{RootCAs: auth.roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
		},
	}}
}

func (h *httpWire) spent() bool           { return false }
func (h *httpWire) serverMessage() string { return "" }
func (h *httpWire) close()                { h.client.CloseIdleConnections() }

func (h *httpWire) advertisement(ctx context.Context) (io.ReadCloser, error) {
	target := *h.base
	target = *target.JoinPath(infoRefs)
	target.RawQuery = "service=" + uploadPack
	res, err := h.do(ctx, http.MethodGet, &target, nil)
	if err != nil {
		return nil, err
	}
	// A renamed repository answers at its new path, so later requests must go there as well.
	moved := *res.Request.URL
	if !strings.HasSuffix(moved.Path, infoRefs) {
		_ = res.Body.Close()
		return nil, redirected(&moved)
	}
	moved.Path, moved.RawPath, moved.RawQuery = strings.TrimSuffix(moved.Path, infoRefs), strings.TrimSuffix(moved.RawPath, infoRefs), ""
	h.base = &moved
	if kind := res.Header.Get("Content-Type"); kind != advertised {
		_ = res.Body.Close()
		return nil, &RemoteError{Reason: NotGit, Status: res.StatusCode, Detail: "the answer's content type is " + strconv.Quote(kind)}
	}
	return res.Body, nil
}

func (h *httpWire) exchange(ctx context.Context, request []byte) (io.ReadCloser, error) {
	res, err := h.do(ctx, http.MethodPost, h.base.JoinPath(uploadPack), request)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (h *httpWire) do(ctx context.Context, method string, target *url.URL, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Some forges tell Git clients from browsers by the first word of the user agent.
	req.Header.Set("User-Agent", "git/muster")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
		req.Header.Set("Accept", "application/x-"+uploadPack+"-result")
	} else {
		// A cache in between would hide new commits.
		req.Header.Set("Cache-Control", "no-cache")
	}
	h.auth.apply(req)
	res, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, statusError(res)
}

// checkRedirect follows a redirect of the listing within the server: same scheme, host and port. A redirect to any other
// server is an error, even without credentials, because the configured URL is the only one that is trusted. Requests for
// objects are never redirected; as in Git, they go to where the listing was found.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	if req.Method != http.MethodGet || via[0].Method != http.MethodGet || !sameServer(req.URL, from) {
		return redirected(req.URL)
	}
	if len(via) >= 5 {
		return errors.New("the server redirects in a loop")
	}
	return nil
}

func sameServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func redirected(to *url.URL) *RemoteError {
	shown := *to
	shown.Path, shown.RawPath = strings.TrimSuffix(to.Path, infoRefs), ""
	return &RemoteError{Reason: Redirected, Location: displayURL(&shown)}
}

func statusError(res *http.Response) *RemoteError {
	e := &RemoteError{Status: res.StatusCode}
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized:
		e.Reason = Unauthorized
	case code == http.StatusForbidden:
		e.Reason = Forbidden
	case code == http.StatusNotFound, code == http.StatusGone:
		e.Reason = NotFound
	case code == http.StatusTooManyRequests:
		e.Reason = RateLimited
	case code >= 500:
		e.Reason = ServerFailed
	default:
		e.Reason = NotGit
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	// The markup of a web page would be useless; forges answer Git in plain text.
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		e.Detail = string(body)
	}
	return e
}
