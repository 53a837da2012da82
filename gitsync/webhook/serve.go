package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// drainTimeout is how long deliveries may take to finish after a signal to stop.
const drainTimeout = 5 * time.Second

// Serve answers requests from the listener until ctx ends. It closes the listener.
func (rc *Receiver) Serve(ctx context.Context, listener net.Listener) error {
	listener = &boundedListener{Listener: listener, most: rc.limits.MaxConnections, trusted: rc.TrustedProxies, metrics: rc.Metrics, open: map[source]int{}}
	if rc.TLS != nil {
		listener = tls.NewListener(listener, rc.TLS)
	}
	server := &http.Server{
		Handler:           rc,
		ReadHeaderTimeout: rc.limits.HeaderTimeout,
		ReadTimeout:       rc.limits.RequestTimeout,
		// Counted from the end of the headers, with time for a lookup in the cache.
		WriteTimeout:   rc.limits.RequestTimeout + 2*waitForSlot,
		IdleTimeout:    rc.limits.IdleTimeout,
		MaxHeaderBytes: 16 << 10,
		// TLS and HTTP errors of strangers must not fill the log.
		ErrorLog: slog.NewLogLogger(rc.Log.Handler(), slog.LevelDebug),
		// Forges use HTTP/1.1; with HTTP/2, one connection would carry many requests.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(listener)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, server.Close())
	}
	return <-stopped
}

// boundedListener closes connections immediately if there are too many, from one source or in total. It doesn't wait for
// others to end, because open connections could then block all others.
type boundedListener struct {
	net.Listener
	most    int
	trusted proxies
	metrics *Metrics

	mu    sync.Mutex
	total int
	open  map[source]int
}

// Accept returns the next connection within the limits.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address, s := sourceOfConn(conn.RemoteAddr())
		if l.enter(s, l.trusted.trust(address)) {
			return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(s) })}, nil
		}
		l.metrics.refused.Inc()
		_ = conn.Close() // the sender is unverified, and gets no reason
	}
}

func (l *boundedListener) enter(s source, proxy bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.most || !proxy && l.open[s] >= max(l.most/share, 1) {
		return false
	}
	l.total++
	l.open[s]++
	l.metrics.connections.Set(float64(l.total))
	return true
}

func (l *boundedListener) leave(s source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[s]--; l.open[s] == 0 {
		delete(l.open, s)
	}
	l.metrics.connections.Set(float64(l.total))
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection and releases its slot.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
