package gitsync

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"golang.org/x/crypto/ssh"
)

// sshWire is one git-upload-pack on an SSH server. It carries one advertisement and one exchange.
type sshWire struct {
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *quietBuffer
	stop    func() bool
	used    bool
	ended   chan struct{} // closed when the server's command has ended
}

func dialSSH(ctx context.Context, u *url.URL, auth Auth) (wire, error) {
	addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "22"))
	algorithms := auth.hostKeys.algorithms(addr)
	if len(algorithms) == 0 {
		return nil, &RemoteError{Reason: HostKeyRejected, Detail: "known_hosts has no key for this host; print it with " + keyscan(u.Host)}
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// The SSH library ignores contexts: when this one ends, the connection is closed, even during the handshake.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	w, err := startUploadPack(conn, addr, u, &ssh.ClientConfig{
		User:              cmp.Or(u.User.Username(), "git"),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(auth.signer)},
		HostKeyCallback:   auth.hostKeys.check,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-muster",
	})
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, err
	}
	w.stop = stop
	return w, nil
}

func startUploadPack(conn net.Conn, addr string, u *url.URL, config *ssh.ClientConfig) (*sshWire, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		return nil, explainHandshake(err)
	}
	w := &sshWire{client: ssh.NewClient(c, channels, requests), stderr: &quietBuffer{}, ended: make(chan struct{})}
	if w.session, err = w.client.NewSession(); err != nil {
		return nil, err
	}
	w.session.Stderr = w.stderr
	if w.stdin, err = w.session.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := w.session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Git's lines are read a few bytes at a time, and each read of an SSH channel costs a message to the server.
	w.stdout = bufio.NewReaderSize(stdout, 32<<10)
	if err = w.session.Start(uploadPack + " " + shellQuote(remotePath(u))); err != nil {
		return nil, err
	}
	go func() {
		_ = w.session.Wait()
		close(w.ended)
	}()
	return w, nil
}

func explainHandshake(err error) error {
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.Is(err, errHostKey):
		return &RemoteError{Reason: HostKeyRejected, Detail: innerText(err), Err: err}
	case errors.As(err, &negotiation) && strings.Contains(negotiation.What, "host key"):
		return &RemoteError{Reason: HostKeyRejected, Detail: "the server has no key of the types that known_hosts lists for it", Err: err}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &RemoteError{Reason: Unauthorized, Detail: "the server rejected every offered key", Err: err}
	case errors.Is(err, io.EOF):
		return &RemoteError{Reason: Unreachable, Detail: "the server closed the connection during the SSH handshake", Err: err}
	}
	return err
}

// innerText is the message of the callback's own error, without the library's prefix.
func innerText(err error) string {
	return strings.TrimPrefix(err.Error(), "ssh: handshake failed: "+errHostKey.Error()+": ")
}

// remotePath lets the server expand ~user, as Git does with ssh://host/~user/path.
func remotePath(u *url.URL) string {
	if strings.HasPrefix(u.Path, "/~") {
		return u.Path[1:]
	}
	return u.Path
}

func shellQuote(s string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(s) + "'"
}

func (w *sshWire) advertisement(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(w.stdout), nil
}

func (w *sshWire) exchange(_ context.Context, request []byte) (io.ReadCloser, error) {
	w.used = true
	if _, err := w.stdin.Write(request); err != nil {
		return nil, err
	}
	return io.NopCloser(w.stdout), nil
}

func (w *sshWire) spent() bool { return w.used }

// serverMessage waits a moment for stderr, where servers explain why they closed the connection.
func (w *sshWire) serverMessage() string {
	select {
	case <-w.ended:
	case <-time.After(time.Second):
	}
	return w.stderr.String()
}

func (w *sshWire) close() {
	if !w.used {
		// A proper end of a listing: without it the server logs an aborted client at every poll.
		_, _ = w.stdin.Write(pktline.FlushPkt)
	}
	_ = w.session.Close()
	_ = w.client.Close()
	w.stop()
}

// quietBuffer keeps the beginning of a server's stderr and drops the rest.
type quietBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (q *quietBuffer) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if room := 4096 - q.b.Len(); room > 0 {
		q.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (q *quietBuffer) String() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.b.String()
}
