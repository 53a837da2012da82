package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestChildrenDieWithTheirParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the parent ended with %v, not killed; it said %q", err, out)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child is gone", func() bool { return !alive(pid) })
}

// TestChildrenOutliveThreads: Go may end the thread that any goroutine has run on, and a child must not die with one. This one still answers
// after its thread has ended. A signal because of that end would have come before the question.
func TestChildrenOutliveThreads(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var p *process
	onDyingThread := func() (thread int) {
		done := make(chan bool)
		go func() {
			defer close(done)
			runtime.LockOSThread() // a goroutine that ends locked takes its thread with it
			if thread = syscall.Gettid(); thread != os.Getpid() {
				p, err = start("cat", cmd)
			}
		}()
		<-done
		return thread
	}
	thread := onDyingThread()
	if thread == os.Getpid() { // the first thread of a process stays, but no other goroutine gets it then
		thread = onDyingThread()
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the thread has ended", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", thread))
		return errors.Is(err, os.ErrNotExist)
	})
	if _, err := io.WriteString(in, "alive?\n"); err != nil {
		t.Errorf("ask the child: %v", err)
	}
	if answer, err := bufio.NewReader(out).ReadString('\n'); answer != "alive?\n" {
		t.Errorf("the child ended with the thread: it answers %q, %v", answer, err)
	}
	if err := p.kill(); err != nil {
		t.Error(err)
	}
}
