package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func upCommand() command {
	return command{
		name: "up", args: "[--dir DIR]",
		does: "run a control plane with the CRD MondooAuditConfig, and Git, until Ctrl-C; DIR stores logs and repositories",
		run:  up,
	}
}

func up(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed with the usage
	dir := flags.String("dir", "", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: up takes no arguments", errUsage)
	}
	plane, err := server.StartControlPlane(ctx, server.ControlPlaneOptions{Dir: below(*dir, "control-plane"), Log: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	if err := server.InstallCRDs(ctx, plane.Config(), server.MondooAuditConfigCRD()); err != nil {
		return err
	}
	git, err := server.StartGit(ctx, server.GitOptions{Dir: below(*dir, "git"), Log: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, git.Stop()) }()
	repository, err := ensureRepository(ctx, git, "fleet")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "export KUBECONFIG=%s\napi server  %s\nlogs        %s\ngit         %s\n\nCtrl-C stops them.\n",
		plane.KubeconfigPath(), plane.URL(), plane.Dir(), repository)
	<-ctx.Done()
	return nil
}

// ensureRepository creates the repository, unless an earlier run has left it in the same folder.
func ensureRepository(ctx context.Context, git *server.Git, name string) (url string, err error) {
	url, err = git.CreateRepository(ctx, name)
	if errors.Is(err, fs.ErrExist) {
		return git.URL() + "/" + name + ".git", nil
	}
	return url, err
}

// below joins dir and name. An empty dir stays empty, and means a temporary folder.
func below(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}
