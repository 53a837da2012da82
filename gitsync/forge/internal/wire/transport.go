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

// bounded is the innermost layer: whatever an SDK or an App's transport sends goes through here.
type bounded struct {
	next    http.RoundTripper
	host    url.URL
	agent   string
	mask    func(string) string
	dialect Dialect
	gate    *gate
}

// errOtherServer can't be seen from outside unless an SDK sends something where it shouldn't.
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
	if t.refusedRedirect(res) {
		defer closeBody(res.Body)
		return nil, &redirected{}
	}
	res.Body = &limited{body: res.Body, left: maxAnswer}
	return res, nil
}

// refusedRedirect catches what net/http hands out as an answer: a redirect that says nowhere.
func (t *bounded) refusedRedirect(res *http.Response) bool {
	return res.StatusCode >= 300 && res.StatusCode < 400 && res.Header.Get("Location") == ""
}

// maxWords bounds what is read of an answer that is an error.
const maxWords = 64 << 10

// answer makes an error of an answer. What the request carried as credentials is taken out of its words here, for an App's
// tokens are known nowhere else.
func (t *bounded) answer(req *http.Request, res *http.Response, aside bool) *StatusError {
	words, _ := io.ReadAll(io.LimitReader(res.Body, maxWords)) // an answer that breaks off is as much of an error
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

// StatusError is an answer that is no success. It is an error only on its way through an SDK.
type StatusError struct {
	Status  int
	Header  http.Header
	Method  string // of the request
	Aside   bool   // the request was one for a token
	Message string // the forge's words, without credentials
}

func (a *StatusError) Error() string { return fmt.Sprintf("HTTP %d", a.Status) }

// Says asks for a phrase, whatever its case.
func (a *StatusError) Says(phrase string) bool {
	return strings.Contains(strings.ToLower(a.Message), strings.ToLower(phrase))
}

// redirected is a redirect that is not followed.
type redirected struct{ to url.URL }

func (*redirected) Error() string { return "redirected" }

// errTooLarge is what a reader of a larger answer gets, rather than the beginning of it.
var errTooLarge = fmt.Errorf("is larger than %d MiB", maxAnswer>>20)

type limited struct {
	body io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var one [1]byte
		if n, err := l.body.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, errTooLarge
	}
	n, err := l.body.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }

func closeBody(body io.Closer) {
	if body != nil {
		_ = body.Close() // nothing was to be had of it any more
	}
}
