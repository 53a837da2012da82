// Command devenv runs the real servers for Muster's tests and its demo: a Kubernetes control plane, Git, Gitea and Vault. It
// is a thin layer over cmd/devenv/server, which documents them. demo is the program behind `make run`, build builds servers,
// up starts only a control plane and Git, and release builds the archives of a release.
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

// command is a subcommand of devenv. Each has its own file.
type command struct {
	name, args, does string
	run              func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{demoCommand(), buildCommand(), upCommand(), pictureCommand(), releaseCommand()}
}

// errUsage ends devenv with the usage and status 2.
var errUsage = errors.New("usage")

func main() {
	quiet()
	// SIGTERM and a closed terminal count as Ctrl-C: all of them shut the servers down in order. A second one kills this
	// process.
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
		if err != errUsage { //nolint:errorlint // a wrapped errUsage has a message, a bare one has none
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
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

func usage() string {
	var b strings.Builder
	b.WriteString("devenv runs the real servers for Muster's tests and its demo.\n\nUsage:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  devenv %-24s %s\n", c.name+" "+c.args, c.does)
	}
	return b.String()
}
