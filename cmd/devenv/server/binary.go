package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// BuildError reports that a component could not be built, with the end of the go command's output.
type BuildError struct {
	Component string
	Version   string
	Output    string
	Err       error
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("build %s %s: %v\n%s", e.Component, e.Version, e.Err, e.Output)
}

func (e *BuildError) Unwrap() error { return e.Err }

// Binary returns the path of the component's binary: the one in KUBEBUILDER_ASSETS if that is set and has it, otherwise the
// one in .cache/devenv, which is built if it is missing. If several callers or processes need it, one builds and the others
// wait. Progress goes to log: one line at the start and one every 20 seconds.
func Binary(ctx context.Context, c Component, log io.Writer) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		if path := filepath.Join(dir, c.Name); executable(path) {
			return path, nil
		}
	}
	c, err := c.locate()
	if err != nil {
		return "", fmt.Errorf("locate the source of %s: %w", c.Name, err)
	}
	path := filepath.Join(c.cache, c.Name)
	if executable(path) {
		return path, nil
	}
	if err := os.MkdirAll(c.cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(c.cache, "lock"))
	if err != nil {
		return "", fmt.Errorf("wait for another build of %s: %w", c.Name, err)
	}
	defer unlock()
	if executable(path) { // the process that held the lock has built it
		return path, nil
	}
	return path, c.build(ctx, path, log)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// build writes the binary under a temporary name and renames it, so that path is either complete or missing.
func (c Component) build(ctx context.Context, path string, log io.Writer) error {
	defer c.progress(log)()
	temp := path + ".building"
	defer os.Remove(temp)

	flags := "-s -w"
	if c.stamp != "" {
		flags += " -X " + c.stamp + "=" + c.version
	}
	cmd := exec.Command("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags="+c.tags, "-ldflags="+flags, "-o", temp, c.target)
	cmd.Dir = c.source
	// No cgo, so that no C compiler is needed. The reader's go.work must not apply here.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // compilers that outlive a killed go command keep its output open

	p, err := start(c.Name, cmd)
	if err != nil {
		return &BuildError{Component: c.Name, Version: c.version, Err: err}
	}
	select {
	case <-p.done:
		err = p.err
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), p.kill())
	}
	if err != nil {
		return &BuildError{Component: c.Name, Version: c.version, Output: out.String(), Err: err}
	}
	return os.Rename(temp, path)
}

// progress reports progress until the returned function is called.
func (c Component) progress(log io.Writer) (done func()) {
	began := time.Now()
	line := fmt.Sprintf("building %s %s from source (first time only, about %s on 2 cores)…", c.Name, c.version, c.took)
	fmt.Fprintln(log, line)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				fmt.Fprintln(log, line, time.Since(began).Round(time.Second))
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
