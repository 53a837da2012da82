package server

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
)

// front is a proxy before a server which counts what it is asked, and can pretend that the server is gone.
type front struct {
	url       string
	transport http.RoundTripper
	server    *http.Server

	down, dropping atomic.Bool

	mu       sync.Mutex
	requests []*GitRequest
}

// newFront listens on a port of 127.0.0.1 for the server that dial reaches.
func newFront(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*front, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	f := &front{url: "http://" + listener.Addr().String()}
	f.transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	silent := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1, // Git wants to see progress
		ErrorLog:      silent,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
			r.Out.Host = r.In.Host
		},
	}
	f.server = &http.Server{Handler: f.count(f.gate(proxy)), ErrorLog: silent}
	go f.server.Serve(listener) // ends with Close, and has nothing to say
	return f, nil
}

// count takes a request down before it is answered, so that nobody has an answer to a request that isn't counted.
func (f *front) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := &GitRequest{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, UserAgent: r.UserAgent()}
		f.mu.Lock()
		f.requests = append(f.requests, request)
		f.mu.Unlock()
		next.ServeHTTP(&statusWriter{ResponseWriter: w, status: func(code int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			request.Code = code
		}}, r)
	})
}

func (f *front) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case f.dropping.Load():
			panic(http.ErrAbortHandler) // net/http's way to close the connection without an answer
		case f.down.Load():
			http.Error(w, "down for a test", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (f *front) all() []GitRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]GitRequest, len(f.requests))
	for i, r := range f.requests {
		all[i] = *r
	}
	return all
}

func (f *front) stop() error { return f.server.Close() }
