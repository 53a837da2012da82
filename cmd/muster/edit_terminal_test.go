//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getsops/sops/v3/decrypt"
	"github.com/go-git/go-git/v5"
	"golang.org/x/sys/unix"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// desk is a work tree with an encrypted cluster, in a terminal.
type desk struct {
	*testing.T
	root, file, sealed string
	env                []string
	key                *sealtest.Key
	columns            uint16
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	key := sealtest.NewKey(t)
	root := t.TempDir()
	_, err := git.PlainInit(root, false)
	check(t, err)
	d := &desk{T: t, root: root, key: key, columns: 80, file: filepath.Join(root, "eu.yaml")}
	for _, dir := range []string{".run", ".tmp", ".keys"} {
		check(t, os.Mkdir(filepath.Join(root, dir), 0o700))
	}
	d.sealed = key.Encrypt(t, "eu.yaml", clusterFile("eu", "  kubeconfig: |\n"+indent(kubeconfig("eu"), "    ")), sealtest.Recommended)
	check(t, os.WriteFile(d.file, []byte(d.sealed), 0o600))
	check(t, os.WriteFile(filepath.Join(root, "us.yaml"), []byte(clusterFile("us", "  kubeconfigSecretRef: {name: us}\n")), 0o600))
	check(t, os.WriteFile(filepath.Join(root, ".keys", "key.txt"), []byte(key.Private()), 0o600))
	d.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + root, "SOPS_AGE_KEY_FILE=" + filepath.Join(root, ".keys", "key.txt"),
		"XDG_RUNTIME_DIR=" + filepath.Join(root, ".run"), "TMPDIR=" + filepath.Join(root, ".tmp"), "WORK=" + root}
	return d
}

// withKubeconfigFile adds the cluster own, whose kubeconfig is in a file of its own. That is the file of the desk then.
func (d *desk) withKubeconfigFile() {
	d.Helper()
	check(d.T, os.WriteFile(filepath.Join(d.root, "own.yaml"), []byte(clusterFile("own", "  kubeconfigFile: own.kubeconfig\n")), 0o600))
	d.file, d.sealed = filepath.Join(d.root, "own.kubeconfig"), d.key.Encrypt(d.T, "own.kubeconfig", kubeconfig("own"), sealtest.Everything)
	check(d.T, os.WriteFile(d.file, []byte(d.sealed), 0o600))
}

// editor makes a shell script the editor. It has the file in $1.
func (d *desk) editor(script string) {
	d.Helper()
	at := filepath.Join(d.root, ".keys", "editor.sh")
	check(d.T, os.WriteFile(at, []byte(script), 0o600))
	d.env = append(d.env, "EDITOR=sh "+at)
}

// session is muster in a terminal.
type session struct {
	*desk
	*exec.Cmd
	keyboard *os.File
	mu       sync.Mutex
	screen   bytes.Buffer
}

// start runs muster as the leader of a terminal, so that Ctrl-C typed there is a signal for it and its editor.
func (d *desk) start(args ...string) *session {
	d.Helper()
	self, err := os.Executable()
	check(d.T, err)
	keyboard, terminal := openTerminal(d.T)
	check(d.T, unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: d.columns}))
	s := &session{desk: d, keyboard: keyboard, Cmd: &exec.Cmd{Path: self, Args: append([]string{"muster"}, args...), Dir: d.root, Env: d.env,
		Stdin: terminal, Stdout: terminal, Stderr: terminal, SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true}}}
	check(d.T, s.Start())
	check(d.T, terminal.Close())
	d.Cleanup(func() {
		_ = s.Process.Kill() // it has usually ended
		_ = keyboard.Close()
	})
	go func() { _, _ = io.Copy(s, keyboard) }() // until the terminal is closed
	return s
}

// Write adds to what the terminal shows.
func (s *session) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.Write(p)
}

func (s *session) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	check(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	check(t, err)
	return keyboard, terminal
}

func (s *session) press(text string) {
	s.Helper()
	_, err := s.keyboard.WriteString(text)
	check(s.T, err)
}

const ctrlC = "\x03"

// until waits for something that another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func (s *session) sees(text string) {
	s.Helper()
	until(s.T, "the terminal shows "+text, func() bool { return strings.Contains(s.shown(), text) })
}

// ends waits for the end, and looks for plain text on disk.
func (s *session) ends(status int) {
	s.Helper()
	err := s.Wait()
	exit := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		exit = failed.ExitCode()
	}
	if exit != status {
		s.Errorf("status %d, want %d: %s", exit, status, s.shown())
	}
	s.noPlainText()
}

// noPlainText looks for the canary in all files below the root, which has every folder for temporary files.
func (d *desk) noPlainText() {
	d.Helper()
	check(d.T, filepath.WalkDir(d.root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err == nil && leak(string(data)) != "" {
			d.Errorf("%s has plain text", name)
		}
		return err
	}))
	for _, dir := range []string{".run", ".tmp"} {
		if entries, err := os.ReadDir(filepath.Join(d.root, dir)); err != nil || len(entries) > 0 {
			d.Errorf("%s still has %v, %v", dir, entries, err)
		}
	}
}

func (d *desk) unchanged() {
	d.Helper()
	if data, err := os.ReadFile(d.file); err != nil || string(data) != d.sealed {
		d.Errorf("the file has changed: %v\n%s", err, data)
	}
}

func (d *desk) exists(name string) bool {
	_, err := os.Stat(filepath.Join(d.root, name))
	return err == nil
}

// waiting is an editor that shows when it runs.
const waiting = "touch $WORK/ready\n"

func TestEditorIsInterrupted(t *testing.T) {
	for _, test := range []struct {
		reason, script string
		end            func(*session)
		status         int
		changed        bool
	}{
		{"Ctrl-C ends the editor", waiting + "sleep 60", func(s *session) { s.press(ctrlC) }, exitStopped, false},
		{"Ctrl-C, twice, is the editor's own matter", "trap 'touch $WORK/again' INT\n" + waiting + "while ! test -e $WORK/again; do sleep 0.1; done\nsleep 0.2\n" +
			"sed -i 's/9 /7 /' $1", func(s *session) { s.press(ctrlC); time.Sleep(50 * time.Millisecond); s.press(ctrlC) }, exitOK, true},
		{"SIGTERM ends both", waiting + "sleep 60 & wait", func(s *session) { check(s.T, s.Process.Signal(syscall.SIGTERM)) }, exitStopped, false},
		{"the editor dies", waiting + "kill -9 $$", func(*session) {}, exitFailure, false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			d := newDesk(t)
			d.editor(test.script)
			s := d.start("edit", "eu")
			until(t, "the editor starts", func() bool { return d.exists("ready") })
			check(t, os.Remove(filepath.Join(d.root, "ready")))
			test.end(s)
			s.ends(test.status)
			if !test.changed {
				d.unchanged()
			} else if data, err := os.ReadFile(d.file); err != nil || !strings.Contains(string(data), "schedule: 7 * * * *") {
				t.Errorf("the change was lost: %v\n%s", err, s.shown())
			}
		})
	}
}

// Even SIGKILL leaves no plain text, and no process has a secret in its arguments or, as the remover, in its environment.
func TestEditIsKilled(t *testing.T) {
	for _, test := range []struct {
		signal syscall.Signal
		args   []string
	}{
		{syscall.SIGKILL, []string{"edit", "eu"}}, {syscall.SIGHUP, []string{"edit", "eu"}}, {syscall.SIGQUIT, []string{"edit", "eu"}},
		{syscall.SIGKILL, []string{"edit", "own", "--kubeconfig"}},
	} {
		t.Run(fmt.Sprint(test.signal, test.args), func(t *testing.T) {
			d := newDesk(t)
			d.withKubeconfigFile()
			d.editor("cp $1 $1.swp\n" + waiting + "trap '' HUP QUIT\nwhile test -e $1; do sleep 0.05; done\ntouch $WORK/gone\n")
			key, err := os.ReadFile(filepath.Join(d.root, ".keys", "key.txt"))
			check(t, err)
			d.env = append(d.env, "SOPS_AGE_KEY="+string(key))
			s := d.start(test.args...)
			until(t, "the editor starts", func() bool { return d.exists("ready") })
			removers := 0
			for _, pid := range append(childrenOf(t, s.Process.Pid), fmt.Sprint(s.Process.Pid)) {
				arguments, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
				check(t, err)
				environment, err := os.ReadFile(filepath.Join("/proc", pid, "environ"))
				check(t, err)
				remover := bytes.Contains(arguments, []byte(removeCommand))
				if leak(string(arguments)) != "" || bytes.Contains(arguments, key) || remover && bytes.Contains(environment, key) {
					t.Errorf("process %s has a secret: %s", pid, arguments)
				}
				if remover {
					removers++
				}
			}
			if removers != 1 {
				t.Errorf("%d processes wait to remove the folder", removers)
			}
			check(t, s.Process.Signal(test.signal))
			_ = s.Wait() // it was killed
			until(t, "the folder is removed", func() bool {
				entries, err := os.ReadDir(filepath.Join(d.root, ".run"))
				return err == nil && len(entries) == 0
			})
			until(t, "the editor ends", func() bool { return d.exists("gone") })
			d.noPlainText()
			d.unchanged()
		})
	}
}

// childrenOf are the processes that the threads of a process have started.
func childrenOf(t *testing.T, pid int) (list []string) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	check(t, err)
	for _, thread := range threads {
		if children, err := os.ReadFile(thread); err == nil { // a thread may end
			list = append(list, strings.Fields(string(children))...)
		}
	}
	return list
}

// Ctrl-C ends the editor of a kubeconfig, and an error in one can be corrected.
func TestEditKubeconfig(t *testing.T) {
	t.Run("Ctrl-C", func(t *testing.T) {
		d := newDesk(t)
		d.withKubeconfigFile()
		d.editor(waiting + "sed -i 's/own/new/' $1; sleep 60")
		s := d.start("edit", "own", "--kubeconfig")
		until(t, "the editor starts", func() bool { return d.exists("ready") })
		s.press(ctrlC)
		s.ends(exitStopped)
		d.unchanged()
	})
	t.Run("again", func(t *testing.T) {
		d := newDesk(t)
		d.withKubeconfigFile()
		d.editor("if test -e $WORK/again; then sed -i 's/^kind:.*/kind: Config/; s/-own/-new/' $1; else touch $WORK/again; sed -i 's/^kind: Config/kind: [/' $1; fi\n")
		s := d.start("edit", "own", "--kubeconfig")
		s.sees("Edit the file again? [Y/n] ")
		s.press("\r")
		s.ends(exitOK)
		data, err := os.ReadFile(d.file)
		check(t, err)
		t.Setenv("SOPS_AGE_KEY", d.key.Private())
		if plain, err := decrypt.Data(data, "binary"); err != nil || string(plain) != kubeconfig("new") {
			t.Errorf("%v: %s\n%s", err, plain, s.shown())
		}
	})
}

func TestEditAgain(t *testing.T) {
	const broken = "sed -i 's/schedule/schedul/' $1\n"
	for _, test := range []struct {
		reason, keys string
		status       int
	}{
		{"no", "n\r", exitFindings}, {"Ctrl-C", ctrlC, exitStopped}, {"the end of input", "\x04", exitFailure},
	} {
		t.Run(test.reason, func(t *testing.T) {
			d := newDesk(t)
			d.editor(broken)
			s := d.start("edit", "eu")
			s.sees("Edit the file again? [Y/n] ")
			s.press(test.keys)
			s.ends(test.status)
			d.unchanged()
		})
	}
	t.Run("yes", func(t *testing.T) {
		d := newDesk(t)
		d.editor("if test -e $WORK/again; then sed -i 's/schedul:.*/schedule: 7 * * * */' $1; else touch $WORK/again; " + strings.TrimSpace(broken) + "; fi\n")
		s := d.start("edit", "eu")
		s.sees("Edit the file again? [Y/n] ")
		s.press("\r")
		s.ends(exitOK)
		if data, err := os.ReadFile(d.file); err != nil || !strings.Contains(string(data), "schedule: 7 * * * *") {
			t.Errorf("%v: %s", err, s.shown())
		}
	})
}

func TestPrompts(t *testing.T) {
	for _, test := range []struct {
		reason, question, keys string
		args                   []string
		status                 int
	}{
		{"Ctrl-C at a secret", "kubeconfig (not shown): ", ctrlC, []string{"set", "eu", "kubeconfig"}, exitStopped},
		{"a secret that is no kubeconfig", "kubeconfig (not shown): ", canary + "\r", []string{"set", "eu", "kubeconfig"}, exitFindings},
		{"no secret", "kubeconfig (not shown): ", "\r", []string{"set", "eu", "kubeconfig"}, exitFailure},
		{"Ctrl-C at a token", "serviceAccountAuth.token (not shown): ", ctrlC, []string{"rotate", "--token", "eu"}, exitStopped},
		{"Ctrl-C at a removal", "Remove? [y/N] ", ctrlC, []string{"remove", "eu"}, exitStopped},
		{"no removal", "Remove? [y/N] ", "\r", []string{"remove", "eu"}, exitFindings},
	} {
		t.Run(test.reason, func(t *testing.T) {
			d := newDesk(t)
			s := d.start(test.args...)
			s.sees(test.question)
			s.press(test.keys)
			s.ends(test.status)
			if leak(s.shown()) != "" {
				t.Errorf("the terminal shows a secret: %s", s.shown())
			}
			d.unchanged()
		})
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write to every folder")
	}
	d := newDesk(t)
	check(t, os.Chmod(d.root, 0o500))
	defer func() { check(t, os.Chmod(d.root, 0o700)) }()
	s := d.start("set", "eu", "schedule=7 * * * *")
	s.ends(exitFailure)
	d.unchanged()
	if !strings.Contains(s.shown(), "write eu.yaml: permission denied") {
		t.Errorf("it says: %s", s.shown())
	}
}
