package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func TestMain(m *testing.M) {
	quiet()
	os.Exit(m.Run())
}

func TestRunSaysHowItIsUsed(t *testing.T) {
	for _, tt := range []struct {
		reason string
		args   []string
		code   int
		says   string
	}{
		{"nothing", nil, 2, "Usage:"},
		{"help", []string{"help"}, 0, "Usage:"},
		{"no such command", []string{"down"}, 2, `unknown command "down"`},
		{"no such component", []string{"build", "kubelet"}, 2, `unknown component "kubelet"; the components are etcd, `},
		{"no such flag", []string{"up", "--detach"}, 2, "-detach"},
		{"an argument too many", []string{"up", "here"}, 2, "up takes no arguments"},
		{"a demo of something", []string{"demo", "gitea"}, 2, "demo takes no arguments"},
		{"no such forge", []string{"demo", "--forge=github"}, 2, `the forge "github" is not supported; use gitea`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(t.Context(), tt.args, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
				t.Errorf("got %d and %q; want %d and %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}

func TestBuildPrintsThePath(t *testing.T) {
	server.SkipShort(t)
	var out bytes.Buffer
	if code := run(t.Context(), []string{"build", "etcd"}, &out, os.Stderr); code != 0 {
		t.Fatalf("status %d", code)
	}
	path := strings.TrimSpace(out.String())
	if _, err := os.Stat(path); err != nil || filepath.Base(path) != "etcd" {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestUpRunsUntilTheContextEnds(t *testing.T) {
	server.SkipShort(t)
	dir := t.TempDir()
	for _, reason := range []string{"first", "again in the same folder"} {
		ctx, cancel := context.WithCancel(t.Context())
		// What up prints last is the sign that everything runs.
		out := &notifier{word: "Ctrl-C", seen: cancel}
		began := time.Now()
		if code := run(ctx, []string{"up", "--dir", dir}, out, os.Stderr); code != 0 || ctx.Err() == nil {
			t.Fatalf("%s: status %d after %s", reason, code, time.Since(began))
		}
		for _, want := range []string{filepath.Join(dir, "control-plane", "kubeconfig"), "/fleet.git", "https://127.0.0.1:"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in %q", reason, want, out.String())
			}
		}
		cancel()
	}
}

// notifier is a buffer which calls seen when word is written.
type notifier struct {
	bytes.Buffer
	word string
	seen func()
}

func (n *notifier) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(n.word)) {
		n.seen()
	}
	return n.Buffer.Write(p)
}
