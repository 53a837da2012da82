package gitsync

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer is an SSH server that runs the real git-upload-pack, and nothing else.
type sshServer struct {
	t        testing.TB
	addr     string
	origin   *origin
	client   ssh.PublicKey // the one key that may come in
	sessions atomic.Int64
	// say, when set, is written to stderr instead of running anything, as forges do.
	say atomic.Pointer[string]
	// stall makes the server accept connections and say nothing.
	stall atomic.Bool
	// stub, when set, is what runs in the place of git-upload-pack.
	stub  atomic.Pointer[func(ssh.Channel)]
	users chan string
}

func newSigner(t testing.TB, kind string) (ssh.Signer, []byte) {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func locked(t testing.TB, plain []byte, passphrase string) []byte {
	t.Helper()
	key, err := ssh.ParseRawPrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func serveSSH(t testing.TB, o *origin, client ssh.PublicKey, hostKeys ...ssh.Signer) *sshServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{t: t, addr: listener.Addr().String(), origin: o, client: client, users: make(chan string, 100)}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(s.client.Marshal()) {
			return nil, errors.New("unknown key")
		}
		s.users <- c.User()
		return nil, nil
	}}
	for _, key := range hostKeys {
		config.AddHostKey(key)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if s.stall.Load() {
				t.Cleanup(func() { _ = conn.Close() })
				continue
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					s.exec(channel, string(r.Payload[4:]))
				}
			}
		}()
	}
}

func (s *sshServer) exec(channel ssh.Channel, command string) {
	defer func() { _ = channel.Close() }()
	s.sessions.Add(1)
	status := 0
	if stub := s.stub.Load(); stub != nil {
		(*stub)(channel)
	} else if words := s.say.Load(); words != nil {
		_, _ = io.WriteString(channel.Stderr(), *words)
		status = 1
	} else if path, ok := strings.CutPrefix(command, "git-upload-pack '/"); !ok {
		status = 127
	} else {
		cmd := exec.Command("git", "upload-pack", filepath.Join(s.origin.root, strings.TrimSuffix(path, "'")))
		cmd.Env, cmd.Stdout, cmd.Stderr = gitEnv(), channel, channel.Stderr()
		// A pipe of one's own: with cmd.Stdin, Run would wait for the client to hang up.
		stdin, err := cmd.StdinPipe()
		if err != nil {
			s.t.Error(err)
		}
		go func() { _, _ = io.Copy(stdin, channel) }()
		if cmd.Run() != nil {
			status = 128
		}
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
}

func (s *sshServer) url() string { return "ssh://git@" + s.addr + "/" + originName }

func (s *sshServer) auth(identity []byte, hosts string) (Auth, error) {
	return AuthFromSecret(s.url(), map[string][]byte{"identity": identity, "known_hosts": []byte(hosts), "identity.pub": []byte("ignored")})
}

func TestSSH(t *testing.T) {
	// Nothing of this may be looked at: an agent, a configuration, a home.
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(home, "agent"))
	t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(home, "hosts"))
	t.Setenv("ALL_PROXY", "socks5://127.0.0.1:1")
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte("Host *\n  Hostname 192.0.2.1\n  Port 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	o := newOrigin(t)
	first := o.commit("main", map[string]string{"f": "1"})
	client, identity := newSigner(t, "ed25519")
	rsaHost, _ := newSigner(t, "rsa")
	edHost, _ := newSigner(t, "ed25519")
	ecHost, _ := newSigner(t, "ecdsa")
	srv := serveSSH(t, o, client.PublicKey(), rsaHost, ecHost, edHost)
	line := func(key ssh.Signer) string { return knownhosts.Line([]string{srv.addr}, key.PublicKey()) + "\n" }

	// The server has three keys; whichever one is known, that is the one it has to show.
	for name, hosts := range map[string]string{
		"rsa": line(rsaHost), "ed25519": line(edHost), "ecdsa": line(ecHost), "comments": "# a comment\n\n" + line(edHost),
		"hashed":   knownhosts.Line([]string{knownhosts.HashHostname(knownhosts.Normalize(srv.addr))}, edHost.PublicKey()),
		"CRLF":     strings.ReplaceAll(line(edHost), "\n", "\r\n"),
		"wildcard": strings.Replace(line(edHost), "127.0.0.1", "127.0.*", 1),
	} {
		auth, err := srv.auth(identity, hosts)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s := fetch(t, open(t, t.TempDir()), Source{URL: srv.url(), Auth: auth}); content(t, s, "f") != "1" {
			t.Errorf("%s: wrong content", name)
		}
	}

	auth, err := srv.auth(identity, line(edHost))
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, t.TempDir())
	fetch(t, r, Source{URL: srv.url(), Auth: auth})
	before := srv.sessions.Load()
	fetch(t, r, Source{URL: srv.url(), Auth: auth})
	o.commit("main", map[string]string{"f": "2"})
	if s := fetch(t, r, Source{URL: srv.url(), Auth: auth}); content(t, s, "f") != "2" || srv.sessions.Load()-before != 2 {
		t.Errorf("a poll and a fetch took %d sessions", srv.sessions.Load()-before)
	}
	// The history way needs a second session only if there was a first request.
	o.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	fresh := open(t, t.TempDir())
	if s := fetch(t, fresh, Source{URL: srv.url(), Auth: auth, Ref: Ref{Commit: first}}); content(t, s, "f") != "1" {
		t.Error("wrong commit")
	}
	for len(srv.users) > 0 {
		if user := <-srv.users; user != "git" {
			t.Errorf("came in as %s", user)
		}
	}
}

func TestSSHIdentities(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	host, _ := newSigner(t, "ed25519")
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		signer, plain := newSigner(t, kind)
		srv := serveSSH(t, o, signer.PublicKey(), host)
		hosts := []byte(knownhosts.Line([]string{srv.addr}, host.PublicKey()))
		secrets := map[string]map[string][]byte{"plain": {"identity": plain, "known_hosts": hosts}}
		if kind == "ed25519" {
			// One is enough: opening a locked key is slow on purpose.
			secrets["locked"] = map[string][]byte{"identity": locked(t, plain, "open sesame"), "password": []byte("open sesame\n"), "known_hosts": hosts}
		}
		for name, data := range secrets {
			auth, err := AuthFromSecret(srv.url(), data)
			if err != nil {
				t.Fatalf("%s %s: %v", kind, name, err)
			}
			fetch(t, open(t, t.TempDir()), Source{URL: srv.url(), Auth: auth})
		}
	}
}

func TestBadSSHServers(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	client, identity := newSigner(t, "ed25519")
	_, stranger := newSigner(t, "ed25519")
	host, _ := newSigner(t, "ed25519")
	otherHost, _ := newSigner(t, "ed25519")
	rsaHost, _ := newSigner(t, "rsa")
	known := func(s *sshServer, key ssh.Signer) string {
		return knownhosts.Line([]string{s.addr}, key.PublicKey()) + "\n"
	}
	right := func(s *sshServer) string { return known(s, host) }

	for name, tc := range map[string]struct {
		identity []byte
		hosts    func(*sshServer) string
		set      func(*sshServer)
		path     string
		reason   Reason
		says     string
	}{
		"an unknown key":                {identity: stranger, reason: Unauthorized, says: "rejected the credentials"},
		"another host key":              {hosts: func(s *sshServer) string { return known(s, otherHost) }, reason: HostKeyRejected, says: ssh.FingerprintSHA256(host.PublicKey())},
		"a key of another type":         {hosts: func(s *sshServer) string { return known(s, rsaHost) }, reason: HostKeyRejected, says: "types that known_hosts lists"},
		"a host that isn't known":       {hosts: func(*sshServer) string { return knownhosts.Line([]string{"example.com"}, host.PublicKey()) }, reason: HostKeyRejected, says: "ssh-keyscan -p "},
		"CVE-2026-42508: a revoked key": {hosts: func(s *sshServer) string { return right(s) + "@revoked " + right(s) }, reason: HostKeyRejected, says: "revoked"},
		"a negated host":                {hosts: func(s *sshServer) string { return "!" + knownhosts.Normalize(s.addr) + "," + right(s) }, reason: HostKeyRejected, says: "no key for this host"},
		"no such repository":            {path: "/nothing.git", reason: NotFound, says: "the repository does not exist"},
		"GitHub's word for it":          {set: func(s *sshServer) { s.say.Store(new("ERROR: Repository not found.\n")) }, reason: NotFound, says: "Repository not found."},
		"another word":                  {set: func(s *sshServer) { s.say.Store(new("remote: \x1b[31mquota exceeded\n")) }, reason: ServerFailed, says: "quota exceeded"},
		"a server that says nothing":    {set: func(s *sshServer) { s.stall.Store(true) }, reason: TimedOut, says: "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serveSSH(t, o, client.PublicKey(), host)
			if tc.set != nil {
				tc.set(srv)
			}
			if tc.identity == nil {
				tc.identity = identity
			}
			if tc.hosts == nil {
				tc.hosts = right
			}
			auth, err := srv.auth(tc.identity, tc.hosts(srv))
			if err != nil {
				t.Fatal(err)
			}
			address := srv.url()
			if tc.path != "" {
				address = "ssh://git@" + srv.addr + tc.path
			}
			_, err = open(t, t.TempDir()).Fetch(t.Context(), patientBut(Source{URL: address, Auth: auth}, tc.reason, time.Second))
			var remote *RemoteError
			if !errors.As(err, &remote) || remote.Reason != tc.reason || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	srv := &sshServer{addr: nobodys}
	auth, err := srv.auth(identity, right(srv))
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url(), Auth: auth})
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Reason != Unreachable {
		t.Errorf("nobody there: %v", err)
	}
}

// A refused request spends the session; the history is asked for in a second one.
func TestSSHSecondRequest(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	o.commit("main", map[string]string{"f": "1"})
	client, identity := newSigner(t, "ed25519")
	host, _ := newSigner(t, "ed25519")
	srv := serveSSH(t, o, client.PublicKey(), host)
	auth, err := srv.auth(identity, knownhosts.Line([]string{srv.addr}, host.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url(), Auth: auth, Ref: Ref{Commit: strings.Repeat("ab", 20)}})
	var lost *RefNotFoundError
	if !errors.As(err, &lost) || srv.sessions.Load() != 2 {
		t.Errorf("%v after %d sessions", err, srv.sessions.Load())
	}
}

// TestShellQuote: a path in an address ends up as one word of the server's shell, whatever is in it (CVE-2026-45570).
func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"/a/b.git", "/it's", "/wow!", "/x';touch pwned;'", `/a\b $(id) ;"`} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q %v", s, out, err)
		}
	}
	for path, want := range map[string]string{"/~me/r.git": "~me/r.git", "/r.git": "/r.git"} {
		u, err := parseURL("ssh://git@example.com"+path, false)
		if err != nil || remotePath(u) != want {
			t.Errorf("%s: %s %v", path, remotePath(u), err)
		}
	}
}

var _ fmt.Formatter = Auth{}
