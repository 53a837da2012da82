package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a child that is waited for from the start, so that its end is never missed and it never stays a zombie.
type process struct {
	name string
	log  string // the file that has its output, where it is a server's
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended and err is set
	err  error
}

// ExitError says that a server ended on its own, with the end of its log.
type ExitError struct {
	Server string
	Log    string
	Err    error // nil for an exit with status 0
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended on its own (%v); the end of its log:\n%s", e.Server, e.Err, e.Log)
}

func (e *ExitError) Unwrap() error { return e.Err }

// start runs cmd as a child that doesn't outlive this process, however this process ends (see bindToParent).
func start(name string, cmd *exec.Cmd) (*process, error) {
	// A group of its own: Ctrl-C in a terminal reaches this process alone, which then stops its children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	bindToParent(cmd.SysProcAttr)
	if err := fork(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// terminate asks the child to end and kills it when it hasn't within the grace period.
func (p *process) terminate(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return p.kill()
	}
}

// kill ends the child at once and waits until it is gone.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-p.done
	}
	return err
}

// signal goes to the one child, through the handle that os keeps: never to a name, and never to a number that another
// process has got since.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// fork starts cmd on a thread that lives as long as this process. Linux sends the parent-death signal when the thread
// that forked ends, not the process, and Go ends threads as it likes: from any other goroutine a child could be killed
// at any time.
func fork(cmd *exec.Cmd) error {
	forks.once.Do(func() {
		forks.requests = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range forks.requests {
				f()
			}
		}()
	})
	result := make(chan error)
	forks.requests <- func() { result <- cmd.Start() }
	return <-result
}

// forks is process-wide because its thread has to be.
var forks struct {
	once     sync.Once
	requests chan func()
}
