package server

import (
	"os/exec"
	"time"
)

// Program is a child process that is not one of this package's servers, but is handled like them: it doesn't get the
// terminal's Ctrl-C, and on Linux it doesn't outlive this process.
type Program struct{ *process }

// StartProgram starts cmd. name is for errors.
func StartProgram(name string, cmd *exec.Cmd) (Program, error) {
	p, err := start(name, cmd)
	return Program{p}, err
}

// PID is its process ID.
func (p Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p Program) Done() <-chan struct{} { return p.done }

// Err is the error with which the program ended, or nil for status 0. Call it only after Done.
func (p Program) Err() error { return p.err }

// Stop asks the program to end, kills it if it hasn't ended within the grace period, and waits for its end.
func (p Program) Stop(grace time.Duration) error { return p.terminate(grace) }
