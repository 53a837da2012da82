package server

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// front is a proxy with a gate in front of a server.
type front struct {
	url       string
	transport http.RoundTripper
	server    *http.Server
	gate      gate
}

// newFront listens on a port of 127.0.0.1 for the server that dial reaches.
func newFront(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*front, error) {
	listener, err := listenLoopback(ctx)
	if err != nil {
		return nil, err
	}
	f := &front{url: "http://" + listener.Addr().String()}
	f.transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	silent := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1, // Git shows progress
		ErrorLog:      silent,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
			r.Out.Host = r.In.Host
		},
	}
	f.server = &http.Server{Handler: f.gate.before(proxy), ErrorLog: silent}
	go f.server.Serve(listener) // ends with Close; its error is irrelevant
	return f, nil
}

func (f *front) stop() error { return f.server.Close() }
