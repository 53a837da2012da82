package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func demoCommand() command {
	return command{
		name: "demo", args: "[--forge gitea]",
		does: "run Muster on this machine with steps to try, until Ctrl-C; with a forge, also commit statuses and scans",
		run:  runDemo,
	}
}

func runDemo(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed with the usage
	forge := flags.String("forge", "", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%w: demo takes no arguments", errUsage)
	case *forge != "" && *forge != "gitea":
		return fmt.Errorf("%w: the forge %q is not supported; use gitea", errUsage, *forge)
	}
	d, err := startDemo(ctx, stdout, *forge != "")
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Ctrl-C during the start; everything has been cleaned up
		}
		return err
	}
	fmt.Fprint(d.out, d.text()) // the watch also writes to it
	select {
	case err = <-d.controller.failed:
	case <-ctx.Done():
		d.out.Printf("\nStopping, and removing %s. Ctrl-C again ends at once and leaves the folder.", d.dir)
	}
	return errors.Join(err, d.Stop())
}

// demo is a running demonstration. With a forge, Gitea replaces plain Git, and commits get statuses. All of its files are in
// one folder:
//
//	kubeconfig, sops-key.txt, env   for the reader's shell
//	bin/muster                      the program
//	fleet/                          a clone of the repository, with examples/quickstart
//	try/                            files for the steps
//	controller.log, controller.pid  the running controller
//	cache/, control-plane/, git/    data of the servers; with a forge gitea/ instead of git/
//	gitea.curl                      curl's options for Gitea
type demo struct {
	dir        string
	out        *lines
	tools      tools
	plane      *server.ControlPlane
	git        *server.Git // nil with a forge
	forge      *demoForge  // nil without a forge
	cluster    *demoCluster
	controller *demoController
	stops      []func() error // in the order of starting
}

// demoPatience is how long the first sync may take. It usually takes a second or two, and more on a loaded machine.
const demoPatience = 2 * time.Minute

// demoStage is a stage of the start.
type demoStage struct {
	does string
	run  func(ctx context.Context, root string) error
}

func (d *demo) stages() []demoStage {
	if d.forge != nil {
		return d.forgeStages()
	}
	return []demoStage{
		{"Building muster", d.buildMuster},
		{"Starting a Kubernetes control plane (etcd, kube-apiserver)", d.startControlPlane},
		{"Starting Git, and pushing examples/quickstart to it", d.startGit},
		{"Installing the CRDs, config/rbac and two Secrets", d.install},
		{"Starting the controller, with only the permissions of config/rbac", d.startController},
		{"Creating an AuditSync and waiting until it is ready", d.firstSync},
	}
}

// quiet hides log messages of libraries about closed watches, which all watches are at the end. Call it only at the start of
// the process: libraries read the settings without a lock.
func quiet() {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
}

// startDemo returns when everything runs and the first sync is done. After an error, it leaves nothing behind.
func startDemo(ctx context.Context, stdout io.Writer, forge bool) (_ *demo, err error) {
	d := &demo{out: &lines{out: stdout}, tools: findTools()}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("git is not on the PATH; install it and try again")
	}
	if forge && !d.tools.curl {
		return nil, fmt.Errorf("curl is not on the PATH, and the steps with Gitea need it; install it and try again")
	}
	root, err := server.Root()
	if err != nil {
		return nil, fmt.Errorf("%w; run this in a checkout", err)
	}
	if d.dir, err = os.MkdirTemp("", "muster-demo-"); err != nil {
		return nil, fmt.Errorf("create the folder of the demo: %w; set TMPDIR to choose another place", err)
	}
	d.stops = append(d.stops, func() error { return os.RemoveAll(d.dir) })
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	if forge {
		d.forge = &demoForge{}
	}
	for _, stage := range d.stages() {
		began := time.Now()
		d.out.Printf("%s…", stage.does)
		if err := stage.run(ctx, root); err != nil {
			return nil, err
		}
		if took := time.Since(began); took > 3*time.Second {
			d.out.Printf("  done after %s", took.Round(time.Second))
		}
	}
	return d, nil
}

// Stop ends everything in reverse order, and removes the folder.
func (d *demo) Stop() error {
	var errs []error
	for _, stop := range slices.Backward(d.stops) {
		errs = append(errs, stop())
	}
	d.stops = nil
	return errors.Join(errs...)
}

func (d *demo) file(name ...string) string { return filepath.Join(append([]string{d.dir}, name...)...) }

func (d *demo) buildMuster(ctx context.Context, root string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", d.file("bin", "muster"), "./cmd/muster")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build cmd/muster: %w; `go build ./cmd/muster` must succeed first:\n%s", err, out)
	}
	return nil
}

func (d *demo) startControlPlane(ctx context.Context, _ string) (err error) {
	// The servers outlive ctx, so that the controller can shut down before them.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	d.plane, err = server.StartControlPlane(serving, server.ControlPlaneOptions{
		Dir: d.file("control-plane"), Log: d.out, ControllerManager: d.forge != nil})
	if err != nil {
		cancel()
		return err
	}
	d.stops = append(d.stops, func() error { defer cancel(); return d.plane.Stop() })
	return d.writeEnv()
}

func (d *demo) startController(ctx context.Context, _ string) (err error) {
	if err := d.cluster.watch(ctx, d.out); err != nil {
		return err
	}
	d.stops = append(d.stops, d.cluster.stopWatch)
	user, err := d.plane.User(demoUser, demoGroups...)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file("control-plane", "muster.kubeconfig"), server.KubeconfigFor(user), 0o600); err != nil {
		return err
	}
	d.controller, err = startDemoController(d)
	if err != nil {
		return err
	}
	d.stops = append(d.stops, d.controller.stop)
	return nil
}

func (d *demo) firstSync(ctx context.Context, root string) error {
	if err := d.createSync(ctx, root); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ready, message := d.cluster.ready(ctx)
		if ready {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-d.controller.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the AuditSync is not ready after %s: %s; the end of the controller's log:\n%s",
				demoPatience, message, d.controller.logTail())
		}
	}
}
