package server

import (
	"bytes"
	"crypto/subtle"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"strings"
)

// maxPush bounds the size of a push, which is briefly held in memory.
const maxPush = 256 << 20

// backend runs "git http-backend" for each request. Such a process needs no bond to this one: it ends when its pipes close.
func (g *Git) backend(stderr io.Writer) (http.Handler, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, err
	}
	h := &cgi.Handler{
		Path:   git,
		Args:   []string{"http-backend"},
		Dir:    g.root,
		Env:    append(g.env(), "GIT_PROJECT_ROOT="+g.root, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: stderr,
		Logger: log.New(stderr, "git: ", 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// CGI can't express that a body's length is unknown, and Git sends large pushes in chunks.
		if r.ContentLength < 0 {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
			r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		}
		h.ServeHTTP(w, r)
	}), nil
}

// credentials are the options with those names.
type credentials GitOptions

func (c credentials) require(next http.Handler) http.Handler {
	if c.Username == "" && c.Password == "" && c.BearerToken == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.accept(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c credentials) accept(r *http.Request) bool {
	if user, password, ok := r.BasicAuth(); ok && c.Username+c.Password != "" {
		return equal(user, c.Username) && equal(password, c.Password)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && c.BearerToken != "" && equal(token, c.BearerToken)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
