package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// twisted are turns of phrase that make a text read as if translated. In codebases of this kind there are at most 0.3 of them in 10,000 words.
var twisted = regexp.MustCompile(`(?i)\b(says? (whether|what|which|how|why|when|who)|stands?|nobody|somebody|anybody|of (its|their|his) own|(becomes?|became) of|not to be had|for want of|way out|has it that)\b`)

// TestPlainEnglish counts twisted phrases in comments and texts of Go files and in documents: fewer than one in 10,000 words.
func TestPlainEnglish(t *testing.T) {
	type place struct{ where, text string }
	words := map[string]int{}
	found := map[string][]place{}
	note := func(folder, where, text string) {
		words[folder] += len(strings.Fields(text))
		for _, turn := range twisted.FindAllString(strings.ReplaceAll(text, "stand-in", ""), -1) {
			found[folder] = append(found[folder], place{where, turn})
		}
	}
	for _, file := range slices.Concat(tracked(t, "*.md"), tracked(t, "*.go")) {
		folder, _, _ := strings.Cut(file, "/")
		name := filepath.Join(root, file)
		switch {
		case strings.HasSuffix(file, ".md"):
			for i, line := range strings.Split(read(t, file), "\n") {
				note(folder, file+":"+strconv.Itoa(i+1), line)
			}
		case strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go"):
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			at := func(pos token.Pos) string { return file + ":" + strconv.Itoa(files.Position(pos).Line) }
			for _, group := range parsed.Comments {
				note(folder, at(group.Pos()), group.Text())
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && strings.Contains(literal.Value, " ") {
					note(folder, at(literal.Pos()), literal.Value)
				}
				return true
			})
		}
	}
	total, turns := 0, 0
	for _, folder := range slices.Sorted(maps.Keys(words)) {
		total, turns = total+words[folder], turns+len(found[folder])
		t.Logf("%s: %d words, %d twisted phrases", folder, words[folder], len(found[folder]))
	}
	if total < 50_000 {
		t.Errorf("only %d words were read", total)
	}
	if turns*10_000 < total {
		return
	}
	t.Errorf("%d twisted phrases in %d words: more than one in 10,000", turns, total)
	for _, folder := range slices.Sorted(maps.Keys(found)) {
		for _, p := range found[folder] {
			t.Logf("%s: %s", p.where, p.text)
		}
	}
}
