package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingTalksToTheTerminal: control characters in names, values and errors reach no output, in any format.
func TestNothingTalksToTheTerminal(t *testing.T) {
	dir := t.TempDir()
	const evil = "a\x1b]0;title\x07\x1b[2J\x08\x7f\rb"
	for name, text := range map[string]string{
		evil + ".yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: x}\nspec: {unknown: 1}\n",
		"b.yaml":       "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: \"a\\e[2Jb\\a\"}\nspec: {\"x\\e[31my\\a\": 1, kubeconfigSecretRef: {name: \"\\b\"}}\n",
		"c.yaml":       "apiVersion: muster.dev/v1alpha1\nkind: \"Exter\\anal\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"lint", dir}, {"lint", dir, "-o", "json"}, {"lint", dir, "-o", "sarif"}, {"lint", dir, "-o", "github"}, {"render", dir}, {"render", dir, "-o", "json"},
		{"tree", dir}, {"explain", "x", dir}, {"explain", evil, dir}, {"lint", filepath.Join(dir, evil)}, {evil}, {"lint", "--" + evil}, {"lint", dir, "-o", evil},
	} {
		var stdout, stderr bytes.Buffer
		run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
		for _, out := range []string{stdout.String(), stderr.String()} {
			if i := strings.IndexAny(out, "\x00\x07\x08\x1b\x7f\r\u202e"); i >= 0 {
				t.Errorf("muster %q: %q", args, out[max(0, i-40):min(len(out), i+40)])
			}
		}
		if stdout.Len()+stderr.Len() == 0 {
			t.Errorf("muster %q says nothing", args)
		}
	}
}

// TestSafeWriter: colours pass to a file, such as a terminal, and nothing else does.
func TestSafeWriter(t *testing.T) {
	const text = "\x1b[31mred\x1b[0m\ttab\nline\x1b[2J\x1b[8mhidden\x07\x00\r\x1b"
	var out bytes.Buffer
	if n, err := (safeWriter{&out}).Write([]byte(text)); n != len(text) || err != nil {
		t.Error(n, err)
	}
	if want := "\ufffdred\ufffd\ttab\nline\ufffd[2J\ufffd[8mhidden\ufffd\ufffd\ufffd\ufffd"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the test ends
	if _, err := (safeWriter{f}).Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if want := "\x1b[31mred\x1b[0m\ttab\nline\ufffd[2J\ufffd[8mhidden\ufffd\ufffd\ufffd\ufffd"; err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
}
