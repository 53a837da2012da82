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

// drainTimeout is how long deliveries may take to end after the order to stop.
const drainTimeout = 5 * time.Second

// Serve answers what comes in at the listener, until ctx ends. It closes the listener.
func (rc *Receiver) Serve(ctx context.Context, listener net.Listener) error {
	listener = &boundedListener{Listener: listener, most: rc.limits.MaxConnections, trusted: rc.TrustedProxies, metrics: rc.Metrics, open: map[source]int{}}
	if rc.TLS != nil {
		listener = tls.NewListener(listener, rc.TLS)
	}
	server := &http.Server{
		Handler:           rc,
		ReadHeaderTimeout: rc.limits.HeaderTimeout,
		ReadTimeout:       rc.limits.RequestTimeout,
		// Counted from the end of the headers, and with time for a look at the cache.
		WriteTimeout:   rc.limits.RequestTimeout + 2*waitForSlot,
		IdleTimeout:    rc.limits.IdleTimeout,
		MaxHeaderBytes: 16 << 10,
		// Whatever strangers do wrong with TLS or HTTP, it is nothing to fill a log with.
		ErrorLog: slog.NewLogLogger(rc.Log.Handler(), slog.LevelDebug),
		// Forges speak HTTP/1.1; with HTTP/2, one connection would be many.
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

// boundedListener closes connections at once when there are too many, of one source or of all. It does not wait for others to
// end, as that would let those that are open keep everybody out.
type boundedListener struct {
	net.Listener
	most    int
	trusted proxies
	metrics *Metrics

	mu    sync.Mutex
	total int
	open  map[source]int
}

// Accept returns the next connection that may stay.
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
		_ = conn.Close() // a stranger's, and he is not told why
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

// Close gives the place back.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
