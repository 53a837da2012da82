// Command muster is GitOps for the external clusters of the Mondoo Operator: the controller, and the command line that
// shows beforehand what the controller would do.
//
// Each command has a file of its own, and is registered in root.go. Commands render through package clusters, as the
// controller does, and decide nothing themselves: what would be applied comes from clusters/plan. Objects and reports go to
// standard output, findings and errors to standard error, and all of it through one redactor.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-gitops/muster/clusters/redact"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C ends the work in order; from then on a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// run is the whole program; the result is its exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	s := &shell{stdin: stdin, stdout: stdout, stderr: stderr, env: env, redactor: &redact.Redactor{}}
	root := newRootCommand(s)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return s.end(ctx, cmd, args, err)
}
