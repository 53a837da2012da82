package server

import (
	"net/http"
	"sync"
)

// gate is in front of a server: it counts requests, and can simulate an outage.
type gate struct {
	handlers sync.WaitGroup

	mu       sync.Mutex // guards the following fields
	requests []*GitRequest
	down     bool
	dropping bool
	closed   bool
}

// before returns next with the gate in front of it.
func (g *gate) before(next http.Handler) http.Handler { return g.count(g.refuse(next)) }

// count records a request before it is answered, so that every answered request is counted. A request that arrives after
// close is dropped.
func (g *gate) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := &GitRequest{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, UserAgent: r.UserAgent()}
		if !g.begin(request) {
			panic(http.ErrAbortHandler)
		}
		defer g.handlers.Done()
		next.ServeHTTP(&statusWriter{ResponseWriter: w, status: func(code int) {
			g.mu.Lock()
			defer g.mu.Unlock()
			request.Code = code
		}}, r)
	})
}

func (g *gate) begin(r *GitRequest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.handlers.Add(1)
	g.requests = append(g.requests, r)
	return true
}

// refuse implements setDown and setDropping.
func (g *gate) refuse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		down, dropping := g.down, g.dropping
		g.mu.Unlock()
		switch {
		case dropping:
			panic(http.ErrAbortHandler) // net/http's way to close the connection without an answer
		case down:
			http.Error(w, "down for a test", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// all are the requests so far, oldest first.
func (g *gate) all() []GitRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]GitRequest, len(g.requests))
	for i, r := range g.requests {
		all[i] = *r
	}
	return all
}

func (g *gate) setDown(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

func (g *gate) setDropping(dropping bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropping = dropping
}

// close rejects all further requests.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// statusWriter records the status of an answer when it is sent.
type statusWriter struct {
	http.ResponseWriter
	status func(int)
	sent   bool
}

func (w *statusWriter) WriteHeader(code int) {
	if !w.sent {
		w.sent = true
		w.status(code)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
