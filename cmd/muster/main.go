// Command muster is GitOps for the external clusters of the Mondoo Operator: the controller, and the command line that
// previews what the controller would do.
//
// Each command has its own file and is registered in root.go. Commands render through package clusters, as the controller
// does, and decide nothing themselves: clusters/plan decides what would be applied. Objects and reports go to standard
// output, findings and errors to standard error. Everything passes through one redactor. Libraries can't write to standard
// error.
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

	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/redact"
)

func main() {
	stderr := takeStderr()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C cancels the context; a second one kills the process.
	context.AfterFunc(ctx, stop)
	name, args := invoked(os.Args)
	os.Exit(runAs(ctx, name, args, os.Stdin, os.Stdout, stderr, os.Getenv))
}

// takeStderr returns the process's standard error and takes it away from libraries. kustomize writes there regardless
// of its options: deprecation warnings for users of its command, and the value of a variable that it can't use, which may
// come from a Secret. What matters comes back as an error or a finding, and goes through the redactor. A crash still prints
// its stack trace. kustomize.Log keeps kustomize from ending the process. Call it only at the start of the process: libraries
// read os.Stderr without a lock.
func takeStderr() *os.File {
	stderr := os.Stderr
	log.SetOutput(kustomize.Log)
	klog.SetLogger(logr.Discard()) // the controller sets its own
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	return stderr
}

// run is the whole program. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	return runAs(ctx, programName, args, stdin, stdout, stderr, env)
}

// runAs is run under the name that the user types.
func runAs(ctx context.Context, name string, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	stdout, stderr = safeWriter{stdout}, safeWriter{stderr}
	s := &shell{name: name, stdin: stdin, stdout: stdout, stderr: stderr, env: env, redactor: &redact.Redactor{}}
	root := newRootCommand(s)
	s.rename(root)
	fitHelp(root, widthOf(stdout))
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return s.end(ctx, cmd, args, err)
}
