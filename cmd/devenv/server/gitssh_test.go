package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestGitOverSSH(t *testing.T) {
	right, identity := newSSHKey(t)
	_, stranger := newSSHKey(t)
	for _, tt := range []struct {
		reason   string
		identity []byte
		user     string
		trust    bool // the server's host key
		refused  bool
	}{
		{reason: "right key", identity: identity, user: "git", trust: true},
		{reason: "wrong key", identity: stranger, user: "git", trust: true, refused: true},
		{reason: "wrong user", identity: identity, user: "root", trust: true, refused: true},
		{reason: "unknown host", identity: identity, user: "git", refused: true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			g := startGitSSH(t, GitSSHOptions{AuthorizedKey: right})
			url, err := g.CreateRepository(t.Context(), "platform/fleet")
			if err != nil {
				t.Fatal(err)
			}
			known := g.KnownHosts()
			if !tt.trust {
				known = startGitSSH(t, GitSSHOptions{AuthorizedKey: right}).KnownHosts()
			}
			c := sshClient(t, tt.identity, known)
			c.roundTrip(strings.Replace(url, "git@", tt.user+"@", 1), tt.refused)

			var want []GitSSHRequest
			if !tt.refused {
				want = []GitSSHRequest{
					{Command: "git-receive-pack", Path: "/platform/fleet.git"},
					{Command: "git-upload-pack", Path: "/platform/fleet.git"},
				}
			}
			if got := g.Requests(); !slices.Equal(got, want) {
				t.Errorf("requests: got %v, want %v", got, want)
			}
		})
	}
}

func TestGitSSHSharesRepositories(t *testing.T) {
	key, identity := newSSHKey(t)
	dir := t.TempDir()
	web, over := startGit(t, GitOptions{Dir: dir}), startGitSSH(t, GitSSHOptions{Dir: dir, AuthorizedKey: key})
	url, err := web.CreateRepository(t.Context(), "fleet")
	if err != nil {
		t.Fatal(err)
	}
	plain := gitClient{t: t}
	if out, err := plain.git(plain.commit(nil), "push", url, "HEAD:main"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	c := sshClient(t, identity, over.KnownHosts())
	if out, err := c.git("", "ls-remote", over.URL()+"/fleet.git"); err != nil || !strings.Contains(out, "refs/heads/main") {
		t.Errorf("got %v, %s; want the branch that was pushed over HTTP", err, out)
	}
}

func TestGitSSHRunsNothingElse(t *testing.T) {
	_, conn := dialFleet(t)
	for _, line := range []string{
		"id", "", "git-upload-archive '/fleet.git'", "git-upload-pack '/../../etc'", "git-upload-pack '/nothing.git'",
		"git-upload-pack '/fleet.git'; id", "git-upload-pack", "git-upload-pack --help",
	} {
		session, err := conn.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := session.Output(line)
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != 128 || len(out) > 0 {
			t.Errorf("%q: got %v and %q, want status 128", line, err, out)
		}
	}
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err == nil {
		t.Error("there is a shell")
	}
}

func TestGitSSHStopsUnderAClient(t *testing.T) {
	g, conn := dialFleet(t)
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	hold, err := session.StdinPipe() // receive-pack now waits for commands that never come
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if err := session.Start("git-receive-pack '/fleet.git'"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command is running", func() bool { return len(g.Requests()) == 1 })
	stopped := make(chan error)
	go func() { stopped <- g.Stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Stop waits for the client")
	}
	if _, err := os.Stat(g.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	if c, err := net.Dial("tcp", g.listener.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestStartGitSSHWantsAKey(t *testing.T) {
	if _, err := StartGitSSH(t.Context(), GitSSHOptions{}); err == nil {
		t.Error("no error")
	}
}

// dialFleet starts a server with the repository "fleet", and connects to it without a Git client.
func dialFleet(t *testing.T) (*GitSSH, *ssh.Client) {
	t.Helper()
	key, identity := newSSHKey(t)
	g := startGitSSH(t, GitSSHOptions{AuthorizedKey: key})
	if _, err := g.CreateRepository(t.Context(), "fleet"); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(identity)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", g.listener.Addr().String(), &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(g.hostKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return g, conn
}

func sshClient(t *testing.T, identity []byte, known string) *gitClient {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("there is no ssh on this machine to talk to the server; Muster's own client, in gitsync, needs none")
	}
	return &gitClient{t: t, env: []string{"GIT_SSH_COMMAND=" + strings.Join([]string{
		"ssh", "-F", os.DevNull, "-i", writeFile(t, "id", identity), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + writeFile(t, "known_hosts", []byte(known)),
	}, " ")}}
}

// newSSHKey returns a key and its private part as ssh -i reads it.
func newSSHKey(t *testing.T) (ssh.PublicKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(block)
}

func startGitSSH(t *testing.T, o GitSSHOptions) *GitSSH {
	t.Helper()
	return started[*GitSSH](t)(StartGitSSH(t.Context(), o))
}
