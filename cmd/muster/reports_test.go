package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

// hostile is a finding as a repository could provoke it: names there are whatever somebody has written.
var hostile = finding.Finding{Code: "yaml", Severity: finding.Error, Cluster: "a\x1b[2J", Line: 3, Column: 4,
	Path: "::set-output,name=x::50%\n::error file=:y\r.yaml", Message: "line\n::stop-commands::x\u202e\u2028"}

func TestAnnotationsStayOnOneLine(t *testing.T) {
	var out bytes.Buffer
	if err := printAnnotations(&out, []finding.Finding{hostile}); err != nil {
		t.Fatal(err)
	}
	want := "::error file=%3A%3Aset-output%2Cname=x%3A%3A50%25%0A%3A%3Aerror file=%3Ay�.yaml,line=3,col=4,title=muster%3A yaml::" +
		"cluster a�[2J: line%0A::stop-commands::x��\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestTextStaysOnOneLine(t *testing.T) {
	var out bytes.Buffer
	s := &shell{env: func(string) string { return "" }}
	if err := s.printFindings(&out, nil, []finding.Finding{hostile}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\x1b\r\u202e\u2028") || strings.HasPrefix(text, "::") {
		t.Errorf("%q could be taken for something else", text)
	}
}

func TestSARIFEscapesPaths(t *testing.T) {
	log := sarif([]finding.Finding{{Code: "yaml", Path: "a b/c:d%20#.yaml"}, {Code: "yaml", Path: "c:d.yaml"}, {Code: "empty"}})
	for i, want := range []string{"a%20b/c:d%2520%23.yaml", "./c:d.yaml", "."} {
		if got := log.Runs[0].Results[i].Locations[0].PhysicalLocation.ArtifactLocation.URI; got != want {
			t.Errorf("URI %q, want %q", got, want)
		}
	}
	for _, rule := range log.Runs[0].Tool.Driver.Rules {
		if rule.ShortDescription.Text == "" || !strings.Contains(rule.Help.Text, "Fix: ") || rule.DefaultConfiguration.Level != "error" {
			t.Errorf("the rule %s does not come from the catalogue: %+v", rule.ID, rule)
		}
	}
	if log.Runs[0].Tool.Driver.Rules[log.Runs[0].Results[2].RuleIndex].ID != "empty" {
		t.Error("the index of a rule points to another one")
	}
}
