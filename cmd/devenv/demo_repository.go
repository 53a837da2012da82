package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const (
	demoRepository = "fleet"
	gitUsername    = "demo"
	gitPassword    = "demo-password" // for a server that only this machine can reach, while the demo runs
)

// startGit serves a repository with examples/quickstart in it, and leaves a clone of it in fleet/.
func (d *demo) startGit(ctx context.Context, root string) (err error) {
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.git, err = server.StartGit(serving, server.GitOptions{Dir: d.file("git"), Username: gitUsername, Password: gitPassword})
	if err != nil {
		cancel()
		return err
	}
	d.stops = append(d.stops, func() error { defer cancel(); return d.git.Stop() })
	url, err := d.git.CreateRepository(ctx, demoRepository)
	if err != nil {
		return err
	}
	return d.pushQuickstart(ctx, root, url)
}

// pushQuickstart pushes examples/quickstart, and leaves a clone of the repository in fleet/ and files for the steps in try/.
func (d *demo) pushQuickstart(ctx context.Context, root, url string) error {
	if err := d.prepareTry(root); err != nil {
		return err
	}
	if err := os.CopyFS(d.file("fleet"), os.DirFS(filepath.Join(root, "examples", "quickstart"))); err != nil {
		return fmt.Errorf("copy examples/quickstart: %w", err)
	}
	withPassword := strings.Replace(url, "://", "://"+gitUsername+":"+gitPassword+"@", 1)
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"symbolic-ref", "HEAD", "refs/heads/main"}, // old Git versions have no init --initial-branch
		{"config", "user.name", "Muster demo"},
		{"config", "user.email", "demo@example.com"},
		// The machine's configuration must not prompt, sign, change files, store the password or use a proxy.
		{"config", "commit.gpgsign", "false"},
		{"config", "core.hooksPath", os.DevNull},
		{"config", "core.autocrlf", "false"},
		{"config", "credential.helper", ""},
		{"config", "http.proxy", ""},
		{"config", "push.default", "simple"},
		{"remote", "add", "origin", withPassword},
		{"add", "--all"},
		{"commit", "--quiet", "--message", "the quickstart"},
		{"push", "--quiet", "--set-upstream", "origin", "main"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = d.file("fleet")
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

func (d *demo) repositoryURL() string {
	if d.forge != nil {
		return d.forge.repositoryURL
	}
	return d.git.URL() + "/" + demoRepository + ".git"
}

// prepareTry writes the files for the steps.
func (d *demo) prepareTry(root string) error {
	encrypted, err := os.ReadFile(filepath.Join(root, "examples", "argocd-layout", "environments", "dev", "dev-a.yaml"))
	if err != nil {
		return err
	}
	return errors.Join(
		os.Mkdir(d.file("try"), 0o700),
		os.WriteFile(d.file("try", "dev-a.yaml"), encrypted, 0o600),
		os.WriteFile(d.file("try", "analytics.yaml"), []byte(analyticsFile), 0o600),
	)
}

// analyticsFile contains no secret, so nothing in it is encrypted.
const analyticsFile = `apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: analytics
spec:
  workloadIdentity:
    provider: eks
    eks:
      region: eu-central-1
      clusterName: analytics
      roleArn: arn:aws:iam::123456789012:role/mondoo-scanner
      endpoint: https://analytics.k8s.example.com
  schedule: "0 */6 * * *"
`
