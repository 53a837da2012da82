package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// GitSSHOptions say how to serve Git over SSH.
type GitSSHOptions struct {
	// Dir is the root of the bare repositories, as in GitOptions.
	Dir string
	// AuthorizedKey is the public key that is let in, with the user name "git". Nothing else is.
	AuthorizedKey ssh.PublicKey
}

// GitSSHRequest is one command that a Git client had run: a connection has one.
type GitSSHRequest struct {
	Command string // git-upload-pack or git-receive-pack
	Path    string // as the client gave it
}

// GitSSH is a running SSH server which knows two commands. It is safe for concurrent use.
type GitSSH struct {
	repositories
	temp     bool
	listener net.Listener
	hostKey  ssh.PublicKey
	serving  sync.WaitGroup
	shutdown shutdown

	clients connections

	mu       sync.Mutex // guards requests
	requests []GitSSHRequest
}

// StartGitSSH serves bare repositories over SSH with a new host key, by the real git-upload-pack and git-receive-pack. It
// stops with ctx.
func StartGitSSH(ctx context.Context, o GitSSHOptions) (*GitSSH, error) {
	if o.AuthorizedKey == nil {
		return nil, errors.New("start git over SSH: AuthorizedKey is missing")
	}
	root, temp, err := ensureDir(o.Dir, "muster-git-")
	if err != nil {
		return nil, fmt.Errorf("start git over SSH: %w", err)
	}
	g := &GitSSH{repositories: repositories{root: root}, temp: temp}
	if err := g.listen(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start git over SSH: %w", err), g.Stop())
	}
	g.shutdown.with(ctx, g.end)
	return g, nil
}

func (g *GitSSH) listen(ctx context.Context, o GitSSHOptions) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	g.hostKey = signer.PublicKey()
	config := &ssh.ServerConfig{PublicKeyCallback: authorize(o.AuthorizedKey)}
	config.AddHostKey(signer)
	if g.listener, err = listenLoopback(ctx); err != nil {
		return err
	}
	g.serving.Go(func() { g.accept(config) })
	return nil
}

func authorize(key ssh.PublicKey) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
	return func(conn ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if conn.User() != "git" || !bytes.Equal(offered.Marshal(), key.Marshal()) {
			return nil, errors.New("unknown user or key")
		}
		return nil, nil
	}
}

// Stop closes all connections, waits for the git processes behind them, and removes the repositories if their folder is
// temporary. Stopping again does nothing.
func (g *GitSSH) Stop() error { return g.shutdown.now(g.end) }

func (g *GitSSH) end() (err error) {
	if g.listener != nil {
		err = g.listener.Close()
	}
	g.clients.setShut(true)
	g.serving.Wait()
	if g.temp {
		err = errors.Join(err, os.RemoveAll(g.root))
	}
	return err
}

// URL returns ssh://git@127.0.0.1:PORT, below which the repositories are.
func (g *GitSSH) URL() string { return "ssh://git@" + g.listener.Addr().String() }

// KnownHosts returns the line that a known_hosts file needs to trust this server.
func (g *GitSSH) KnownHosts() string {
	return knownhosts.Line([]string{g.listener.Addr().String()}, g.hostKey) + "\n"
}

// CreateRepository does what Git.CreateRepository does.
func (g *GitSSH) CreateRepository(ctx context.Context, name string) (url string, err error) {
	if err := g.create(ctx, name); err != nil {
		return "", err
	}
	return g.URL() + "/" + name + ".git", nil
}

// RepositoryPath returns the folder of the bare repository.
func (g *GitSSH) RepositoryPath(name string) (string, error) { return g.path(name) }

// Requests returns all commands so far, oldest first, those of unknown repositories too.
func (g *GitSSH) Requests() []GitSSHRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]GitSSHRequest(nil), g.requests...)
}
