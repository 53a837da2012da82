package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBinaryPrefersKubebuilderAssets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	want := filepath.Join(dir, "etcd")
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := Binary(t.Context(), Etcd, os.Stderr)
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	got, err = Binary(t.Context(), KubeAPIServer, os.Stderr)
	if err != nil || strings.HasPrefix(got, dir) {
		t.Errorf("of what is not among the assets: got %s, %v; want the one in the cache", got, err)
	}
}

func TestBinaryOutsideACheckout(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Chdir(t.TempDir())
	if _, err := Binary(t.Context(), Etcd, os.Stderr); !errors.Is(err, ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
}

func TestBuildErrorHasTheOutput(t *testing.T) {
	broken := Component{Name: "broken", version: "v0.0.1", source: t.TempDir(), target: "."}
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "broken")
	err := broken.build(t.Context(), path, &log)
	var failed *BuildError
	if !errors.As(err, &failed) || failed.Output == "" {
		t.Fatalf("got %#v, want a BuildError with output", err)
	}
	if executable(path) || executable(path+".building") {
		t.Error("something was left behind")
	}
	if !strings.HasPrefix(log.String(), "building broken v0.0.1 from source") {
		t.Errorf("progress: %q", log.String())
	}
}

// The cache's key must change with the version and with any file of the nested module.
func TestLocate(t *testing.T) {
	for _, c := range Components() {
		found, err := c.locate()
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if !strings.HasPrefix(found.version, "v") || !strings.Contains(filepath.Base(found.cache), c.Name+"-"+found.version+"-") {
			t.Errorf("%s: version %q, cache %q", c.Name, found.version, found.cache)
		}
	}
	dir := t.TempDir()
	sums := map[string]bool{}
	for _, content := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, "go.sum"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := hashFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		sums[sum] = true
	}
	if len(sums) != 2 {
		t.Error("another go.sum, the same key")
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: got %v, want the deadline", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatalf("after the first was given back: %v", err)
	}
	unlock()
}

func TestTail(t *testing.T) {
	long := strings.Repeat("x", tailSize) + "the end"
	for content, want := range map[string]string{"": "", "short\n": "short", long: long[len(long)-tailSize:]} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fileTail(path); got != want {
			t.Errorf("file of %d bytes: got %d bytes, want %d", len(content), len(got), len(want))
		}
		var buf tail
		for b := range strings.SplitSeq(content, "") {
			buf.Write([]byte(b))
		}
		if got := strings.TrimSpace(buf.String()); got != want {
			t.Errorf("tail of %d bytes: got %d bytes, want %d", len(content), len(got), len(want))
		}
	}
}
