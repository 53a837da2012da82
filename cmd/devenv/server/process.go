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

// process is a child that is waited for from the start, so that its end is never missed and it never becomes a zombie.
type process struct {
	name string
	log  string // the file with a server's output
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended and err is set
	err  error
}

// ExitError reports that a server ended by itself, with the end of its log.
type ExitError struct {
	Server string
	Log    string
	Err    error // nil for an exit with status 0
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended unexpectedly (%v); its last log lines are:\n%s", e.Server, e.Err, e.Log)
}

func (e *ExitError) Unwrap() error { return e.Err }

// start runs cmd as a child that doesn't outlive this process, however this process ends (see bindToParent).
func start(name string, cmd *exec.Cmd) (*process, error) {
	// A separate process group: Ctrl-C in a terminal only reaches this process, which then stops its children in order.
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

// terminate asks the child to end, and kills it if it hasn't ended within the grace period.
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

// kill kills the child and waits until it has ended.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-p.done
	}
	return err
}

// signal signals this child, through the handle that os keeps: never by name, and never by a number that another process may
// have got since.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// fork starts cmd on a thread that lives as long as this process. Linux sends the parent-death signal when the forking
// thread ends, not the process, and Go ends threads at will: from any other goroutine a child could be killed at any time.
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

// forks is process-wide because its thread must be.
var forks struct {
	once     sync.Once
	requests chan func()
}
