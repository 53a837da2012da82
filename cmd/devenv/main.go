// Command devenv runs the real servers that Muster's tests and its demo need: a Kubernetes control plane, Git, Gitea and
// Vault. It is a thin shell around cmd/devenv/server, which says more about them. demo is what `make run` shows, build builds
// servers, and up starts a control plane and Git alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is one word after devenv. Each has a file of its own.
type command struct {
	name, args, does string
	run              func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command { return []command{demoCommand(), buildCommand(), upCommand()} }

// errUsage ends devenv with the usage and status 2.
var errUsage = errors.New("usage")

func main() {
	quiet()
	// SIGTERM, and the end of the terminal, count as Ctrl-C: all end the servers in order. A second one ends this process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage())
		if err != errUsage { //nolint:errorlint // wrapped, it says what is wrong; bare, there is nothing to add
			fmt.Fprintln(stderr, "\ndevenv:", err)
		}
		return 2
	default:
		fmt.Fprintln(stderr, "devenv:", err)
		return 1
	}
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage())
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], stdout, stderr)
		}
	}
	return fmt.Errorf("%w: there is no command %q", errUsage, args[0])
}

func usage() string {
	var b strings.Builder
	b.WriteString("devenv runs the real servers that Muster's tests and its demo need.\n\nUsage:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  devenv %-24s %s\n", c.name+" "+c.args, c.does)
	}
	return b.String()
}
