package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// bounded is the innermost layer: every request of an SDK or an App's transport goes through it.
type bounded struct {
	next    http.RoundTripper
	host    url.URL
	agent   string
	mask    func(string) string
	dialect Dialect
	gate    *gate
}

// errOtherServer only occurs if an SDK sends a request to the wrong server.
var errOtherServer = errors.New("a request to another server than the API's")

func (t *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameServer(req.URL, &t.host) {
		closeBody(req.Body)
		return nil, errOtherServer
	}
	if err := t.gate.open(); err != nil {
		closeBody(req.Body)
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.agent)
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	aside := t.dialect.Aside != nil && t.dialect.Aside(req)
	if !aside {
		t.gate.observe(t.dialect.rateOf(res.Header))
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer closeBody(res.Body)
		return nil, t.answer(req, res, aside)
	}
	if refusedRedirect(req, res) {
		defer closeBody(res.Body)
		return nil, &redirected{}
	}
	most := int64(maxAnswer)
	if !aside && streamed(req.Context()) { //nolint:contextcheck // it is the context of the request
		most = maxStream
	}
	res.Body = &limited{body: res.Body, left: most, most: most}
	return res, nil
}

// refusedRedirect catches what net/http returns as an answer: a redirect without a location. The answer "not modified" is a
// success if that was the question.
func refusedRedirect(req *http.Request, res *http.Response) bool {
	if res.StatusCode == http.StatusNotModified && req.Header.Get("If-None-Match") != "" {
		return false
	}
	return res.StatusCode >= 300 && res.StatusCode < 400 && res.Header.Get("Location") == ""
}

// maxWords bounds how much of an error answer is read.
const maxWords = 64 << 10

// answer turns an answer into an error. The credentials of the request are removed from its text here, because an App's
// tokens are known nowhere else.
func (t *bounded) answer(req *http.Request, res *http.Response, aside bool) *StatusError {
	words, _ := io.ReadAll(io.LimitReader(res.Body, maxWords)) // a truncated answer is an error as well
	message := messageOf(res.Header.Get("Content-Type"), words)
	return &StatusError{
		Status: res.StatusCode, Header: res.Header, Method: req.Method, Aside: aside,
		Message: t.mask(maskRequest(message, req)),
	}
}

func maskRequest(s string, req *http.Request) string {
	for _, name := range []string{"Authorization", "Private-Token"} {
		value := req.Header.Get(name)
		if _, bare, found := strings.Cut(value, " "); found {
			value = bare
		}
		if value == "" {
			continue
		}
		s = strings.ReplaceAll(s, value, "***")
		if plain, err := base64.StdEncoding.DecodeString(value); err == nil {
			if _, password, found := strings.Cut(string(plain), ":"); found && password != "" {
				s = strings.ReplaceAll(s, password, "***")
			}
		}
	}
	return s
}

// StatusError is an answer that isn't a success. It only exists on its way through an SDK.
type StatusError struct {
	Status  int
	Header  http.Header
	Method  string // of the request
	Aside   bool   // the request was for a token
	Message string // the forge's message, without credentials
	About   string // what the request was about, as in FailAbout
}

func (a *StatusError) Error() string { return fmt.Sprintf("HTTP %d", a.Status) }

// Says reports whether the message contains a phrase, ignoring case.
func (a *StatusError) Says(phrase string) bool {
	return strings.Contains(strings.ToLower(a.Message), strings.ToLower(phrase))
}

// redirected is a redirect that is not followed.
type redirected struct{ to url.URL }

func (*redirected) Error() string { return "redirected" }

// tooLargeError is the error for reading an answer that is too large, instead of a truncated one.
type tooLargeError struct{ most int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("is larger than %d MiB", e.most>>20) }

type limited struct {
	body       io.ReadCloser
	left, most int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var one [1]byte
		if n, err := l.body.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, &tooLargeError{most: l.most}
	}
	n, err := l.body.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }

func closeBody(body io.Closer) {
	if body != nil {
		_ = body.Close() // nothing more to read
	}
}
