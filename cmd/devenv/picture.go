package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func pictureCommand() command {
	return command{
		name: "picture", args: "FILE",
		does: "draw a run with Gitea: its log, the statuses of a commit, and muster status",
		run:  runPicture,
	}
}

// runPicture runs the demo, pushes a commit whose scan fails, and draws what is printed.
func runPicture(ctx context.Context, args []string, stdout, _ io.Writer) (err error) {
	if len(args) != 1 {
		return fmt.Errorf("%w: picture takes the name of the file to write", errUsage)
	}
	var printed bytes.Buffer
	d, err := startDemo(ctx, io.MultiWriter(stdout, &printed), true)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := d.Stop(); err == nil {
			err = stopped
		}
	}()
	screens, err := d.screens(ctx, func() string {
		d.out.mu.Lock()
		defer d.out.mu.Unlock()
		return printed.String()
	})
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(drawn(screens)), 0o644)
}

// screens are the log of the demo, a commit with its statuses, and muster status.
func (d *demo) screens(ctx context.Context, printed func() string) ([]screen, error) {
	if _, err := d.awaitScan(ctx, "success"); err != nil {
		return nil, err
	}
	if _, err := d.typed(ctx, d.scenarioCommand(`{"analytics": "oom"}`)); err != nil {
		return nil, err
	}
	before := len(printed())
	commands := d.forgeSteps()[0].actions[0].commands
	if _, err := d.typed(ctx, commands...); err != nil {
		return nil, err
	}
	statuses, err := d.awaitScan(ctx, "failure")
	if err != nil {
		return nil, err
	}
	report, err := d.typed(ctx, "while muster status | grep -q Running; do sleep 0.1; done", "muster status")
	if err != nil {
		return nil, err
	}
	run := screen{title: "$ make run FORGE=gitea"}
	for _, stage := range d.stages() {
		run.lines = append(run.lines, stage.does+"…")
	}
	run.lines = append(run.lines, "", "Muster is running. …", "")
	run.lines = append(run.lines, strings.Split(strings.TrimSpace(printed()[before:]), "\n")...)
	push := screen{title: "A push from another terminal, and the commit on Gitea"}
	for _, c := range commands {
		push.lines = append(push.lines, "$ "+c)
	}
	push.lines = append(push.lines, "")
	for _, s := range statuses {
		push.lines = append(push.lines, fmt.Sprintf("%-8s %-18s  %s", s.State, s.Context, s.Description))
	}
	return []screen{run, push, {"$ muster status", strings.Split(strings.TrimSpace(report), "\n")}}, nil
}

// typed runs commands as the reader of the demo's text would, and returns what they print.
func (d *demo) typed(ctx context.Context, commands ...string) (string, error) {
	script := "set -e\n. " + quoted(d.file("env")) + "\n" + strings.Join(commands, "\n")
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(commands, "; "), err, errs.String())
	}
	return string(out), nil
}

// awaitScan waits until the scans of the work tree's commit have this state, and returns the last status of each context.
func (d *demo) awaitScan(ctx context.Context, state string) ([]server.GiteaStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	head, err := d.typed(ctx, "git rev-parse HEAD")
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := d.forge.gitea.Statuses(ctx, forgeRepository, strings.TrimSpace(head))
		if err != nil {
			return nil, err
		}
		last := map[string]server.GiteaStatus{}
		for _, s := range all {
			last[s.Context] = s
		}
		if last[forgeContext+"/scan"].State == state {
			return slices.SortedFunc(maps.Values(last), func(a, b server.GiteaStatus) int { return strings.Compare(a.Context, b.Context) }), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the scans of commit %.7s are not a %s: %w", head, state, ctx.Err())
		}
	}
}
