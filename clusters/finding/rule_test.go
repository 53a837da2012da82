package finding_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

// TestReferenceIsCurrent fails when the catalogue changed without go generate.
func TestReferenceIsCurrent(t *testing.T) {
	got, err := os.ReadFile("RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != finding.Reference() {
		t.Error("RULES.md is stale: run go generate ./clusters/finding")
	}
}

// TestRulesAreComplete: each rule says everything, once, in its form.
func TestRulesAreComplete(t *testing.T) {
	code := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[finding.Code]bool{}
	for _, r := range finding.Rules() {
		if seen[r.Code] || !code.MatchString(string(r.Code)) {
			t.Errorf("%s: twice, or not a code", r.Code)
		}
		seen[r.Code] = true
		if len(r.Severities) == 0 || r.Example == "" || r.Subject == "" {
			t.Errorf("%s lacks a severity, a subject or an example", r.Code)
		}
		if !strings.HasSuffix(r.Cause, ".") || strings.ContainsAny(r.Cause, "\n") {
			t.Errorf("%s: the cause is no sentence on one line: %q", r.Code, r.Cause)
		}
		if r.Fix == "" || strings.HasSuffix(r.Fix, ".") || strings.ContainsAny(r.Fix, "\n") {
			t.Errorf("%s: the way out is not one line without a full stop: %q", r.Code, r.Fix)
		}
		for _, s := range r.Severities {
			if err := (finding.Finding{Code: r.Code, Severity: s, Message: "m", Fix: r.Fix}).Check(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCheck: what a finding may lack is found.
func TestCheck(t *testing.T) {
	good := finding.Finding{Code: "yaml", Severity: finding.Error, Path: "a.yaml", Line: 1, Column: 1, Message: "not YAML", Fix: "mend it"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for reason, change := range map[string]func(*finding.Finding){
		"a code without rule":            func(f *finding.Finding) { f.Code = "yamll" },
		"a severity that the rule lacks": func(f *finding.Finding) { f.Severity = finding.Info },
		"no severity":                    func(f *finding.Finding) { f.Severity = "" },
		"no cause":                       func(f *finding.Finding) { f.Message = "" },
		"no way out":                     func(f *finding.Finding) { f.Fix = "" },
		"two lines":                      func(f *finding.Finding) { f.Message = "a\nb" },
		"a column without line":          func(f *finding.Finding) { f.Line, f.Column = 0, 3 },
		"a line without column":          func(f *finding.Finding) { f.Column = 0 },
		"a line of no file":              func(f *finding.Finding) { f.Path = "" },
	} {
		bad := good
		if change(&bad); bad.Check() == nil {
			t.Errorf("%s passes", reason)
		}
	}
}

// TestReportCompletes: a finding without a way out gets its rule's, however it comes into a report.
func TestReportCompletes(t *testing.T) {
	var r finding.Report
	r.Add(finding.Finding{Code: "yaml", Severity: finding.Warning})
	r.Reject(finding.Finding{Code: "yaml"})
	r.Missing("x", finding.Finding{Code: "not-found"})
	r.Stop(finding.Finding{Code: "kustomize"})
	for _, f := range r.Findings {
		if f.Fix == "" {
			t.Errorf("%s has no way out", f.Code)
		}
	}
	r.Add(finding.Finding{Code: "yaml", Severity: finding.Error, Fix: "its own"})
	if last := r.Findings[len(r.Findings)-1]; last.Fix != "its own" {
		t.Errorf("a way out was replaced: %q", last.Fix)
	}
}

// TestCodesAndRulesMatch reads codes from the source: each has a rule, each rule a code, and nobody makes one up.
func TestCodesAndRulesMatch(t *testing.T) {
	codes := map[finding.Code]bool{}
	for _, dir := range []string{"../../clusters", "../../controllers", "../../cmd/muster"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			return readCodes(t, name, codes)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for code := range codes {
		if _, ok := finding.RuleOf(code); !ok {
			t.Errorf("no rule describes %s", code)
		}
	}
	for _, r := range finding.Rules() {
		if !codes[r.Code] {
			t.Errorf("the rule %s is that of no code", r.Code)
		}
	}
}

// readCodes notes the constants of type finding.Code in a file, and refuses literals in the place of one.
func readCodes(t *testing.T, name string, codes map[finding.Code]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if isSelector(n.Type, "Code") {
				for _, value := range n.Values {
					code, err := strconv.Unquote(value.(*ast.BasicLit).Value)
					if err != nil {
						t.Error(err)
					}
					codes[finding.Code(code)] = true
				}
			}
		case *ast.CompositeLit:
			if !isSelector(n.Type, "Finding") {
				return true
			}
			for _, element := range n.Elts {
				pair, ok := element.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				key, _ := pair.Key.(*ast.Ident)
				if _, literal := pair.Value.(*ast.BasicLit); literal && key != nil && key.Name == "Code" {
					t.Errorf("%s makes a finding with a code that is no constant", name)
				}
			}
		}
		return true
	})
	return nil
}

func isSelector(e ast.Expr, name string) bool {
	selector, ok := e.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == name
}

// TestSubjects: no rule is left out of the reference.
func TestSubjects(t *testing.T) {
	for _, r := range finding.Rules() {
		if !slices.Contains(finding.Subjects(), r.Subject) {
			t.Errorf("%s: the subject %q has no place in the reference", r.Code, r.Subject)
		}
	}
}
