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

// GitSSHOptions configure Git over SSH.
type GitSSHOptions struct {
	// Dir is the root of the bare repositories, as in GitOptions.
	Dir string
	// AuthorizedKey is the only accepted public key, with the user name "git".
	AuthorizedKey ssh.PublicKey
}

// GitSSHRequest is a command that a Git client has run. A connection has one.
type GitSSHRequest struct {
	Command string // git-upload-pack or git-receive-pack
	Path    string // as sent by the client
}

// GitSSH is a running SSH server that supports two commands. It is safe for concurrent use.
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

// StartGitSSH serves bare repositories over SSH with a new host key, with the real git-upload-pack and git-receive-pack. It
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

// URL returns ssh://git@127.0.0.1:PORT, the base address of the repositories.
func (g *GitSSH) URL() string { return "ssh://git@" + g.listener.Addr().String() }

// KnownHosts returns the line for a known_hosts file that trusts this server.
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

// Requests returns all commands so far, oldest first, including those for unknown repositories.
func (g *GitSSH) Requests() []GitSSHRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]GitSSHRequest(nil), g.requests...)
}
