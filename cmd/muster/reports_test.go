package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
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
	want := "::error file=%3A%3Aset-output%2Cname=x%3A%3A50%25%0A%3A%3Aerror file=%3Ay%0D.yaml,line=3,col=4,title=muster%3A yaml::" +
		"cluster a\x1b[2J: line%0A::stop-commands::x\u202e\u2028\n"
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
	if log.Runs[0].Tool.Driver.Rules[log.Runs[0].Results[2].RuleIndex].ID != "empty" {
		t.Error("the index of a rule points to another one")
	}
}

// TestEveryCodeHasARule reads the codes from the source, so that a new one can't be forgotten.
func TestEveryCodeHasARule(t *testing.T) {
	codes := map[finding.Code]bool{codeNotOpened: true}
	err := filepath.WalkDir("../../clusters", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && isCode(spec.Type) {
				for _, value := range spec.Values {
					code, err := strconv.Unquote(value.(*ast.BasicLit).Value)
					if err != nil {
						t.Error(err)
					}
					codes[finding.Code(code)] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for code := range codes {
		if rules[code] == "" {
			t.Errorf("rules.go does not describe %s", code)
		}
	}
	for code := range rules {
		if !codes[code] {
			t.Errorf("rules.go describes %s, which no package has", code)
		}
	}
}

// isCode says whether a type is finding.Code.
func isCode(t ast.Expr) bool {
	selector, ok := t.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "Code"
}
