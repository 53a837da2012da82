// Command muster is GitOps for the external clusters of the Mondoo Operator: the controller, and the command line that
// shows beforehand what the controller would do.
//
// Each command has a file of its own, and is registered in root.go. Commands render through package clusters, as the
// controller does, and decide nothing themselves: what would be applied comes from clusters/plan. Objects and reports go to
// standard output, findings and errors to standard error, and all of it through one redactor. Libraries have no standard error.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/muster-gitops/muster/clusters/redact"
)

func main() {
	stderr := ownStderr()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C ends the work in order; from then on a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr, os.Getenv))
}

// ownStderr is the process's standard error, which libraries get no more. kustomize writes there past every option: remarks
// on deprecated fields, which are meant for users of its own command, and the value of a variable that it can't use, which
// may be a Secret's. What counts comes back as an error or a finding, and goes through the redactor. A crash of the process
// is not affected. It is for the start of the process alone: libraries read what it sets without a lock.
func ownStderr() *os.File {
	stderr := os.Stderr
	log.SetOutput(io.Discard)
	klog.SetLogger(logr.Discard()) // the controller sets its own
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	return stderr
}

// run is the whole program; the result is its exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	stdout, stderr = safeWriter{stdout}, safeWriter{stderr}
	s := &shell{stdin: stdin, stdout: stdout, stderr: stderr, env: env, redactor: &redact.Redactor{}}
	root := newRootCommand(s)
	fitHelp(root, widthOf(stdout))
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return s.end(ctx, cmd, args, err)
}
