package server

import (
	"os/exec"
	"time"
)

// Program is a child that somebody else than this package knows how to run, kept as the servers are: it doesn't get the
// Ctrl-C of the terminal, and on Linux it doesn't outlive this process.
type Program struct{ *process }

// StartProgram starts cmd. Name is for errors.
func StartProgram(name string, cmd *exec.Cmd) (Program, error) {
	p, err := start(name, cmd)
	return Program{p}, err
}

// PID is the number of its process.
func (p Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p Program) Done() <-chan struct{} { return p.done }

// Err says how the program ended; nil for status 0. It is to be asked after Done.
func (p Program) Err() error { return p.err }

// Stop asks the program to end, kills it when it hasn't within the grace period, and waits until it is gone.
func (p Program) Stop(grace time.Duration) error { return p.terminate(grace) }
