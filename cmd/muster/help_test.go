package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
)

func TestReflowed(t *testing.T) {
	for _, test := range []struct {
		reason, text string
		width        int
		want         string
	}{
		{"no terminal", "one two\nthree", 0, "one two\nthree"},
		{"lines are joined and broken between words", "one two\nthree four", 9, "one two\nthree\nfour"},
		{"each paragraph for itself", "one\ntwo\n\nthree", 20, "one two\n\nthree"},
		{"what is indented stays", "one two\n\n    three four five", 5, "one\ntwo\n\n    three four five"},
		{"a word that is longer than the terminal", "one extraordinary two", 5, "one\nextraordinary\ntwo"},
		{"a wide terminal has lines that can be read", strings.Repeat("word ", 40), 400, strings.TrimSpace(strings.Repeat("word ", 24)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 16))},
		{"nothing", "", 40, ""},
	} {
		if got := reflowed(test.text, test.width); got != test.want {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}

// TestHelpFitsTheTerminal checks that the help of every command has the same words in a narrow terminal as in a wide one, and
// that but for usage and examples, which are there to be copied, no line is broken by the terminal.
func TestHelpFitsTheTerminal(t *testing.T) {
	const width = 60
	help := func(width int, name string) string {
		var out bytes.Buffer
		s := &shell{stdout: &out, stderr: &out, env: func(string) string { return "" }, redactor: &redact.Redactor{}}
		root := newRootCommand(s)
		fitHelp(root, width)
		root.SetOut(&out)
		root.SetArgs([]string{"help", name})
		check(t, root.ExecuteContext(t.Context()))
		return out.String()
	}
	for _, cmd := range newRootCommand(&shell{}).Commands() {
		narrow, wide := help(width, cmd.Name()), help(0, cmd.Name())
		if got, want := strings.Fields(narrow), strings.Fields(wide); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: the words differ:\n%s", cmd.Name(), narrow)
		}
		about, rest, _ := strings.Cut(narrow, "\nUsage:\n")
		_, flags, _ := strings.Cut(rest, "\nFlags:\n")
		for line := range strings.Lines(about + flags) {
			line = strings.TrimSpace(line)
			if n := utf8.RuneCountInString(line); n > width && strings.Contains(line, " ") {
				t.Errorf("%s: a line has %d characters: %s", cmd.Name(), n, line)
			}
		}
	}
}

// TestRulesFitTheTerminal checks that the list of rules has no column that wraps.
func TestRulesFitTheTerminal(t *testing.T) {
	const width = 60
	var b strings.Builder
	tableOf(finding.Rules()).write(&b, func(_ colour, text string) string { return text }, "  ", 2, width)
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
}
