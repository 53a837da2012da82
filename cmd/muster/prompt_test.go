//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with a program in it.
type terminal struct {
	*testing.T
	control *os.File
	cmd     *exec.Cmd
	mu      sync.Mutex
	shown   strings.Builder
}

// inTerminal starts muster in a terminal. The binary is this test, which TestMain makes muster by its name.
func inTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Close() })
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "muster")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	p := &terminal{T: t, control: control, cmd: exec.CommandContext(t.Context(), name, args...)}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), append(env, "TERM=xterm")...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	go p.read()
	return p
}

// read collects what is shown, and answers what a program asks a terminal about itself.
func (p *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := p.control.Read(buffer)
		p.mu.Lock()
		p.shown.Write(buffer[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// answer types after a question is shown.
func (p *terminal) answer(question, typed string) {
	p.Helper()
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(p.text(), question) {
		if time.Now().After(deadline) {
			p.Fatalf("it doesn't ask %q:\n%q", question, p.text())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := p.control.WriteString(typed); err != nil {
		p.Fatal(err)
	}
}

// status waits for the end.
func (p *terminal) status() int {
	p.Helper()
	hung := time.AfterFunc(20*time.Second, func() {
		p.Errorf("it doesn't end:\n%q", p.text())
		_ = p.cmd.Process.Kill()
	})
	defer hung.Stop()
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	} else if err != nil {
		p.Fatal(err)
	}
	return 0
}

const (
	enter = "\r"
	ctrlC = "\x03"
	ctrlD = "\x04"
)

// newFleet is a repository with rules.
func newFleet(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := exec.CommandContext(t.Context(), "git", "init", "-q", dir).Run(); err != nil {
		t.Fatal(err)
	}
	const rules = "creation_rules:\n  - age: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n    encrypted_regex: ^(token|server|caCert)$\n    mac_only_encrypted: true\n"
	if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// questions are those of a cluster with a token, and answers to them.
func questions(ca string) [][2]string {
	return [][2]string{
		{"How does the scanner log in", enter},
		{"Address of the cluster's API server", "https://eu.example.com" + enter},
		{"The token of a ServiceAccount", canary + "-token" + enter},
		{"File with the PEM certificates", ca + enter},
	}
}

func TestQuestions(t *testing.T) {
	dir, env := newFleet(t), []string{"XDG_CONFIG_HOME=" + t.TempDir()}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(promptCA), 0o600); err != nil {
		t.Fatal(err)
	}
	p := inTerminal(t, dir, env, "add", "eu", "clusters")
	for _, q := range questions(ca) {
		p.answer(q[0], q[1])
	}
	if status := p.status(); status != 0 {
		t.Fatalf("status %d:\n%s", status, p.text())
	}
	if leak(p.text()) != "" {
		t.Errorf("the terminal shows the token:\n%q", p.text())
	}
	file, err := os.ReadFile(filepath.Join(dir, "clusters", "eu.yaml"))
	if err != nil || !strings.Contains(string(file), "token: ENC[") || leak(string(file)) != "" {
		t.Errorf("%v\n%s", err, file)
	}
}

// Ctrl-D is no answer.
func TestCtrlD(t *testing.T) {
	dir := newFleet(t)
	p := inTerminal(t, dir, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "add", "eu", "clusters", "--eks-region", "eu-west-1")
	p.answer("Name of the EKS cluster", ctrlD)
	if status := p.status(); status != exitFailure || !strings.Contains(p.text(), "there is no answer") {
		t.Errorf("status %d:\n%s", status, p.text())
	}
}

// Ctrl-C at any question ends the command, and leaves nothing.
func TestCtrlC(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(promptCA), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, last := range questions(ca) {
		t.Run(last[0], func(t *testing.T) {
			t.Parallel()
			dir := newFleet(t)
			p := inTerminal(t, dir, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "add", "eu", "clusters")
			for _, q := range questions(ca)[:i] {
				p.answer(q[0], q[1])
			}
			p.answer(last[0], ctrlC)
			if status := p.status(); status != exitStopped {
				t.Errorf("status %d:\n%q", status, p.text())
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// promptCA is a certificate that lasts.
const promptCA = `-----BEGIN CERTIFICATE-----
MIIBfDCCASGgAwIBAgIUR6+Np2opCVDaR2mResrJWvcCCgowCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdGVzdC1jYTAgFw0yNjExMzAxODA4NDNaGA8yMTI2MTEwNjE4
MDg0M1owEjEQMA4GA1UEAwwHdGVzdC1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABKvMZVdosNnSA6flPpIYEF0TAbWA9r68dobqT3o74FJwW7mh6H81N1hHvRjL
Pa02uc/TtLT7leRgUqVpwpMRM46jUzBRMB0GA1UdDgQWBBSPN0gJtu7Ztw+m1EvX
C1dXbH5A8DAfBgNVHSMEGDAWgBSPN0gJtu7Ztw+m1EvXC1dXbH5A8DAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQC35cs6G7P0ads96N5CU1uqF8nV
5CewZk1/1xAqtvYGlQIhAJMXChHKmYiPny3aZGWQGbz5VWJvQiB+YXyySj23v93x
-----END CERTIFICATE-----
`
