package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// parses matches the functions of libraries that read bytes of others. regexp.Compile is one: how long an expression takes is up to its author.
var parses = regexp.MustCompile(`^((std|k)?json|(json)?yaml|xml)\.(Unmarshal\w*|NewDecoder|YAMLToJSON\w*)$|^(pem|armor)\.(Decode|NewReader)$|^x509\.Parse\w+$|^gzip\.NewReader$|` +
	`^packet\.New\w*Reader$|^openpgp\.Read\w+$|^age\.(ParseIdentities|Decrypt|ExtractHeader|DecryptHeader)$|^ssh\.Parse\w+$|^clientcmd\.Load$|^gitignore\.ParsePattern$|` +
	`^packp\.New(AdvRefs|UploadPackResponse)$|^(packfile|idxfile)\.New(Parser|Scanner|Decoder)$|^semver\.(NewConstraint|StrictNewVersion)$|^regexp\.Compile$|` +
	`^syntax\.Parse$|^krusty\.MakeKustomizer$|^azidentity\.ParseCertificates$|^io\.ReadAll$`)

// Every file that parses something is in the list of what comes from outside, which tells the bound; and every file in the list exists.
func TestEntrances(t *testing.T) {
	const list = "config/LIMITS.md"
	text, err := os.ReadFile(filepath.Join(root, list))
	if err != nil {
		t.Fatal(err)
	}
	entrances := 0
	for _, dir := range []string{"clusters", "gitsync", "controllers", "cmd/muster"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, entry fs.DirEntry, err error) error {
			// What tests use, and what writes generated files, reads what we write.
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
				strings.Contains(name, "sealtest") || strings.Contains(name, "forgetest") || strings.HasSuffix(filepath.Dir(name), "gen") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if from, ok := selector.X.(*ast.Ident); ok && parses.MatchString(from.Name+"."+selector.Sel.Name) {
					if entrances++; !strings.Contains(string(text), "`"+filepath.ToSlash(relative)+"`") {
						t.Errorf("%s: %s.%s reads what may come from outside; bound its size and count before, and put the file into %s", set.Position(n.Pos()), from.Name, selector.Sel.Name, list)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if entrances < 50 {
		t.Errorf("only %d entrances were found", entrances)
	}
	for _, name := range regexp.MustCompile("`([a-z/0-9_]+\\.go)`").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(root, name[1])); err != nil {
			t.Errorf("%s names a file that isn't there: %v", list, err)
		}
	}
}
