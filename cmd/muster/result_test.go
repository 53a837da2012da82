package main

import (
	"errors"
	"slices"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

// TestResultIsMasked puts a secret into every text of a result that may hold one.
func TestResultIsMasked(t *testing.T) {
	const secret = canary + "-token"
	s, out := goldenShell()
	err := s.printResult(result{Summary: secret, Files: []fileResult{{Path: "eu.yaml", Action: "add", Content: secret}},
		Findings: []finding.Finding{{Code: "schedule", Severity: finding.Error, Message: secret, Fix: secret}},
		Next:     []nextStep{{secret, []string{secret}}}, Kept: []string{secret}})
	if !errors.Is(err, statusError(exitFindings)) || leak(out.String()) != "" {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestWrappedKeepsCommands(t *testing.T) {
	for _, row := range []struct {
		reason, text string
		width        int
		want         []string
	}{
		{"no terminal", "one two: git add  -- a", 0, []string{"one two: git add  -- a"}},
		{"a command after a colon", "look at it: kubectl -n scan get pods -l a=b,c=d; then go on", 16, []string{"look at it:", "kubectl -n scan get pods -l a=b,c=d;", "then go on"}},
		{"a command that a sentence names", "first run sops updatekeys eu.yaml, and go on", 16, []string{"first run", "sops updatekeys eu.yaml,", "and go on"}},
		{"a sentence about a program", "muster reads what git has", 12, []string{"muster reads", "what git has"}},
	} {
		if got := wrapped(row.text, row.width); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.reason, got, row.want)
		}
	}
}
