package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// takenForNothing finds the type assertions of a file whose answer is thrown away, as in `v, _ := x.(T)`: what is of another type is then
// taken for nothing. Where x is what a user wrote, it is lost without a word.
func takenForNothing(file *ast.File) []token.Pos {
	var found []token.Pos
	check := func(left, right []ast.Expr) {
		if len(left) != 2 || len(right) != 1 {
			return
		}
		_, asserts := ast.Unparen(right[0]).(*ast.TypeAssertExpr)
		if ok, named := left[1].(*ast.Ident); asserts && named && ok.Name == "_" {
			found = append(found, right[0].Pos())
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			check(n.Lhs, n.Rhs)
		case *ast.ValueSpec:
			var names []ast.Expr
			for _, name := range n.Names {
				names = append(names, name)
			}
			check(names, n.Values)
		}
		return true
	})
	return found
}

// Nothing in clusters takes a value of the wrong type for none.
func TestNoAssertionIsTakenForNothing(t *testing.T) {
	files := 0
	err := filepath.WalkDir(filepath.Join(root, "clusters"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, at := range takenForNothing(file) {
			t.Errorf("%s: a value of another type is taken for nothing; say so with its place, or handle it", set.Position(at))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}

func TestTakenForNothing(t *testing.T) {
	for body, want := range map[string]int{
		`v, _ := x.(string); _ = v`:                             1,
		`var v string; v, _ = (x.(string)); _ = v`:              1,
		`var v, _ = x.(string); _ = v`:                          1,
		`if v, _ := x.(map[string]any); len(v) == 0 { return }`: 1,
		`if v, ok := x.(string); ok { _ = v }`:                  0,
		`v, _ := m["x"]; _ = v`:                                 0,
		`switch v := x.(type) { case string: _ = v }`:           0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f(x any, m map[string]string) {\n"+body+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := takenForNothing(file); len(got) != want {
			t.Errorf("%s: %d, want %d", body, len(slices.Compact(got)), want)
		}
	}
}
