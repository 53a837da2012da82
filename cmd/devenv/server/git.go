package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// GitOptions configure Git over HTTP. The zero value serves everyone, without TLS.
type GitOptions struct {
	// Dir is the root of the bare repositories. It remains after Stop. A GitSSH can share it, so that one repository has
	// both addresses. Empty means a temporary folder that Stop removes.
	Dir string
	// Username and Password are for basic authentication, BearerToken for the header "Authorization: Bearer". With both
	// kinds set either one is enough; with none set there is no authentication.
	Username, Password string
	BearerToken        string
	// TLS serves https with a certificate that only CACert verifies.
	TLS bool
	// Log gets error messages of git http-backend and of the HTTP server. Nil drops them.
	Log io.Writer
}

// GitRequest is an HTTP request of a Git client. The path and query tell its purpose: listing the refs is one GET of
// NAME.git/info/refs with service=git-upload-pack, a fetch over protocol version 2 is POSTs to NAME.git/git-upload-pack.
type GitRequest struct {
	Method    string
	Path      string
	Query     string // without the question mark
	UserAgent string
	Code      int // HTTP status; 0 while the request runs, or if the connection was dropped
}

// String is for the messages of failing tests.
func (r GitRequest) String() string {
	return fmt.Sprintf("%d %s %s?%s (%s)", r.Code, r.Method, r.Path, r.Query, r.UserAgent)
}

// Git is a running smart HTTP server. It is safe for concurrent use.
type Git struct {
	repositories
	url      string
	temp     bool
	ca       *authority // nil without TLS
	server   *http.Server
	gate     gate
	shutdown shutdown
}

// StartGit serves bare repositories with "git http-backend", Git's own server. It stops with ctx.
func StartGit(ctx context.Context, o GitOptions) (*Git, error) {
	root, temp, err := ensureDir(o.Dir, "muster-git-")
	if err != nil {
		return nil, fmt.Errorf("start git: %w", err)
	}
	g := &Git{repositories: repositories{root: root}, temp: temp}
	if err := g.listen(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start git: %w", err), g.Stop())
	}
	g.shutdown.with(ctx, g.end)
	return g, nil
}

func (g *Git) listen(ctx context.Context, o GitOptions) error {
	if o.Log == nil {
		o.Log = io.Discard
	}
	backend, err := g.backend(o.Log)
	if err != nil {
		return err
	}
	listener, err := listenLoopback(ctx)
	if err != nil {
		return err
	}
	scheme := "http"
	if o.TLS {
		scheme = "https"
		if listener, err = g.wrapTLS(listener); err != nil {
			return err
		}
	}
	g.url = scheme + "://" + listener.Addr().String()
	g.server = &http.Server{
		Handler:  g.gate.before(credentials(o).require(backend)),
		ErrorLog: log.New(o.Log, "git: ", 0),
	}
	go g.server.Serve(listener) // ends with Close; Log has its errors
	return nil
}

func (g *Git) wrapTLS(listener net.Listener) (net.Listener, error) {
	ca, err := newAuthority("muster-devenv-git")
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	p, err := ca.server()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	g.ca = ca
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// Stop closes all connections, waits for the git processes behind them, and removes the repositories if their folder is
// temporary. Stopping again does nothing.
func (g *Git) Stop() error { return g.shutdown.now(g.end) }

func (g *Git) end() (err error) {
	g.gate.close()
	if g.server != nil {
		err = g.server.Close()
	}
	g.gate.handlers.Wait()
	if g.temp {
		err = errors.Join(err, os.RemoveAll(g.root))
	}
	return err
}

// URL returns the base address of the repositories, without a slash at the end.
func (g *Git) URL() string { return g.url }

// CACert returns the CA of the server's certificate in PEM, or nil without TLS.
func (g *Git) CACert() []byte {
	if g.ca == nil {
		return nil
	}
	return g.ca.pem()
}

// CreateRepository creates an empty repository with the default branch main, and returns its URL without credentials. The
// name may have slashes ("platform/fleet"). A name that exists (fs.ErrExist) or is not a valid path (fs.ErrInvalid) is a
// RepositoryError.
func (g *Git) CreateRepository(ctx context.Context, name string) (url string, err error) {
	if err := g.create(ctx, name); err != nil {
		return "", err
	}
	return g.url + "/" + name + ".git", nil
}

// RepositoryPath returns the folder of the bare repository, for changes that a push can't make, such as setting
// refs/pull/1/head, or for a push that should not be counted.
func (g *Git) RepositoryPath(name string) (string, error) { return g.path(name) }

// Requests returns all requests so far, oldest first, including rejected ones. To get only later ones, remember the length.
func (g *Git) Requests() []GitRequest { return g.gate.all() }

// SetDown makes the server answer all requests with 503, until it is called with false.
func (g *Git) SetDown(down bool) { g.gate.setDown(down) }

// SetDropping makes the server close connections without an answer, until it is called with false.
func (g *Git) SetDropping(dropping bool) { g.gate.setDropping(dropping) }
