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
	exitFindings = 1 // the command ran, and found errors
	exitFailure  = 2 // the command failed: usage, files, network
	exitChanges  = 2 // plan --detailed-exitcode: there are changes; failures exit with exitFindings then, as in terraform
	exitStopped  = 130
)

// statusError ends a command whose output already says everything.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is an invalid command line.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// end prints the error of a command and its fix on one line, wrapped in a terminal, and returns the exit status.
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
	fmt.Fprintln(s.stderr, folded(printable("muster: "+s.named(message, cmd.Root())), widthOf(s.stderr), "    "))
	// An invalid flag before this one may have ended the parsing, so look at the arguments themselves.
	if slices.Contains(args, "--"+flagDetailedExitCode) {
		return exitFindings
	}
	return exitFailure
}
