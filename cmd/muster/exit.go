package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses. Users script against them.
const (
	exitOK       = 0
	exitFindings = 1 // the work was done, and has found errors
	exitTrouble  = 2 // the work could not be done: usage, files, network
	exitChanges  = 2 // plan --detailed-exitcode: there are changes; trouble is exitFindings then, as terraform has it
	exitStopped  = 130
)

// statusError ends a command whose output says everything already.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a command line that can't be understood.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// end prints the error of a command, on one line with the way out, and says how the process ends.
func (s *shell) end(ctx context.Context, cmd *cobra.Command, args []string, err error) int {
	var code statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		fmt.Fprintln(s.stderr, "muster: interrupted")
		return exitStopped
	}
	message := strings.Join(strings.Fields(s.redactor.String(err.Error())), " ")
	if _, ok := errors.AsType[*usageError](err); ok {
		message += fmt.Sprintf("; see %s --help", cmd.CommandPath())
	}
	fmt.Fprintln(s.stderr, printable("muster: "+message))
	// A flag before this one may have ended the parsing, so the command line itself is asked.
	if slices.Contains(args, "--"+flagDetailedExitCode) {
		return exitFindings
	}
	return exitTrouble
}
