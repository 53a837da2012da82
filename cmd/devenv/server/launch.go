package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// launch starts a server in its folder, with its output in NAME.log there unless cmd says otherwise. Only flags and files
// configure it. It gets a minimal environment, because etcd and Vault also read settings from there.
func launch(name, dir string, cmd *exec.Cmd) (*process, error) {
	log := filepath.Join(dir, name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own descriptor
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Dir, cmd.Env, cmd.Stderr = dir, environment(dir), out
	p, err := start(name, cmd)
	if err != nil {
		return nil, err
	}
	p.log = log
	return p, nil
}

// environment is the minimal environment of a server.
func environment(dir string) []string {
	return []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "USER=" + os.Getenv("USER")}
}

// awaitReady polls until the server is ready, its process ends, or the time is up.
func (p *process) awaitReady(ctx context.Context, transport http.RoundTripper, url string) error {
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx, client, url) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return p.notReady(ctx.Err())
		}
	}
}

// ended is the error of a server that has ended by itself. It waits for the end.
func (p *process) ended() error {
	<-p.done
	return &ExitError{Server: p.name, Log: fileTail(p.log), Err: p.err}
}

func (p *process) notReady(cause error) error {
	return fmt.Errorf("%s is not ready: %w; the end of its log:\n%s", p.name, cause, fileTail(p.log))
}

func ready(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
