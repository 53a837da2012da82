package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is what the tests need of a Markdown file.
type document struct {
	headings []string // slugs, as GitHub makes them
	links    []string // targets of links, outside of code
	code     []string // code spans, and the lines of code blocks
}

var (
	fence         = regexp.MustCompile("^ *(```|~~~)")
	heading       = regexp.MustCompile(`^#{1,6} +(.*?)#* *$`)
	span          = regexp.MustCompile("(?s)`([^`]+)`")
	link          = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	definition    = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]: *(\S+)`)
	linkText      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInSlug     = regexp.MustCompile(`[^\p{L}\p{N}\p{M} _-]`)
	space         = regexp.MustCompile(`\s+`)
	indentedBlock = regexp.MustCompile(`^(    |\t)`)
)

// parseDocument reads Markdown as far as this repository uses it.
func parseDocument(text string) document {
	var d document
	var paragraph []string
	slugs := map[string]int{}
	flush := func() {
		prose := strings.Join(paragraph, "\n")
		paragraph = nil
		for _, m := range span.FindAllStringSubmatch(prose, -1) {
			d.code = append(d.code, space.ReplaceAllString(m[1], " "))
		}
		prose = span.ReplaceAllString(prose, "code")
		for _, pattern := range []*regexp.Regexp{link, definition} {
			for _, m := range pattern.FindAllStringSubmatch(prose, -1) {
				d.links = append(d.links, m[1])
			}
		}
	}
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch m := heading.FindStringSubmatch(line); {
		case fence.MatchString(line):
			flush()
			fenced = !fenced
		case fenced, indentedBlock.MatchString(line) && len(paragraph) == 0:
			d.code = append(d.code, strings.TrimSpace(line))
		case strings.TrimSpace(line) == "":
			flush()
		case m != nil:
			flush()
			paragraph = append(paragraph, m[1])
			flush()
			slug := slugOf(m[1])
			if n := slugs[slug]; n > 0 {
				d.headings = append(d.headings, fmt.Sprintf("%s-%d", slug, n))
			} else {
				d.headings = append(d.headings, slug)
			}
			slugs[slug]++
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return d
}

// slugOf is the anchor that GitHub gives to a heading.
func slugOf(text string) string {
	text = strings.ToLower(linkText.ReplaceAllString(text, "$1"))
	return strings.ReplaceAll(notInSlug.ReplaceAllString(text, ""), " ", "-")
}

func TestParseDocument(t *testing.T) {
	d := parseDocument("# `muster` & [links](a.md): *a_b*\n## Twice\n## Twice\n\nSee [`x`](b.md#c) and `[no](link)` and `make\nrun`.\n[ref]: d.md\n\n" +
		"    $ make test [no](x)\n\n1. In a list:\n\n       muster lint\n\n   ```sh\n   muster plan\n   ```\n- [last](<e.md>)\n")
	want := document{
		headings: []string{"muster--links-a_b", "twice", "twice-1"},
		links:    []string{"a.md", "b.md#c", "d.md", "e.md"},
		code:     []string{"muster", "x", "[no](link)", "make run", "$ make test [no](x)", "muster lint", "muster plan"},
	}
	if !slices.Equal(d.headings, want.headings) || !slices.Equal(d.links, want.links) || !slices.Equal(d.code, want.code) {
		t.Errorf("got  %q\nwant %q", d, want)
	}
}

// tracked are the files that Git has, or would take, and that match a pattern.
func tracked(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", pattern)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var files []string
	for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, file)); err == nil {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		t.Fatalf("git has no files %s", pattern)
	}
	return files
}

// read is the text of a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func documents(t *testing.T) map[string]document {
	t.Helper()
	all := map[string]document{}
	for _, file := range tracked(t, "*.md") {
		if !strings.Contains(file, "/testdata/") { // golden files are output
			all[file] = parseDocument(read(t, file))
		}
	}
	return all
}

// Every relative link in a Markdown file leads to a file that exists, and every anchor to a heading.
func TestLinks(t *testing.T) {
	all := documents(t)
	checked := 0
	for file, d := range all {
		for _, target := range d.links {
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: the link %s is not an address: %v", file, target, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			checked++
			to := file
			if u.Path != "" {
				to = path.Join(path.Dir(file), u.Path)
			}
			_, err = os.Stat(filepath.Join(root, to))
			switch {
			case !filepath.IsLocal(to):
				t.Errorf("%s: the link %s leads out of the repository", file, target)
			case err != nil:
				t.Errorf("%s: the link %s leads to no file", file, target)
			case u.Fragment != "" && !slices.Contains(all[to].headings, u.Fragment):
				t.Errorf("%s: the link %s leads to no heading", file, target)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found", checked)
	}
}

// README.md is a page that one reads; the reference is beside the code.
func TestReadmeIsShort(t *testing.T) {
	const most = 8192
	if n := len(read(t, "README.md")); n > most {
		t.Errorf("README.md has %d bytes, more than %d: move the reference to the README.md of a folder", n, most)
	}
}

var (
	makeCall    = regexp.MustCompile(`(?:^|[\s(])make ([a-z][a-z-]*)`)
	musterCall  = regexp.MustCompile(`(?:^|[\s(]|\w/)muster ([a-z][a-z-]*)`)
	testFolder  = regexp.MustCompile(`(?:go test(?: -\S+)*|TEST=) ?\./([\w/]+)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-z]+):`)
	commandUse  = regexp.MustCompile(`\b[Uu]se: +"([a-z]+)`)
	testFunc    = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	testName    = regexp.MustCompile(`\bTest[A-Z]\w*`)
	advisory    = regexp.MustCompile(`\b(?:CVE-\d{4}-\d+|GHSA(?:-\w{4}){3})\b`)
	testsPlaces = regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) \\(([a-z0-9/, ]+)\\)")
)

// Every make target and every muster command that code in a Markdown file calls exists, and so does every package that it tests.
func TestCommandsInDocuments(t *testing.T) {
	targets, commands := map[string]bool{}, map[string]bool{"help": true}
	for _, m := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, file := range tracked(t, "cmd/muster/*.go") {
		if !strings.HasSuffix(file, "_test.go") {
			for _, m := range commandUse.FindAllStringSubmatch(read(t, file), -1) {
				commands[m[1]] = true
			}
		}
	}
	calls := map[string]int{}
	for file, d := range documents(t) {
		for _, code := range d.code {
			for _, m := range makeCall.FindAllStringSubmatch(code, -1) {
				if calls["make"]++; !targets[m[1]] {
					t.Errorf("%s: %q: the Makefile has no target %s", file, code, m[1])
				}
			}
			for _, m := range musterCall.FindAllStringSubmatch(code, -1) {
				if calls["muster"]++; !commands[m[1]] {
					t.Errorf("%s: %q: muster has no command %s", file, code, m[1])
				}
			}
			for _, m := range testFolder.FindAllStringSubmatch(code, -1) {
				calls["go test"]++
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
					t.Errorf("%s: %q: there is no folder %s", file, code, m[1])
				}
			}
		}
	}
	for _, what := range []string{"make", "muster", "go test"} {
		if calls[what] < 10 {
			t.Errorf("only %d calls of %s were found", calls[what], what)
		}
	}
}

// Every test that a Markdown file names exists, and where the package is named, it is in that package.
func TestTestsInDocuments(t *testing.T) {
	folders := map[string][]string{} // of each test
	for _, file := range tracked(t, "*_test.go") {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			folders[m[1]] = append(folders[m[1]], path.Dir(file))
		}
	}
	named, placed := 0, 0
	for _, file := range tracked(t, "*.md") {
		text := read(t, file)
		for _, name := range testName.FindAllString(text, -1) {
			if named++; folders[name] == nil {
				t.Errorf("%s names %s: there is no such test", file, name)
			}
		}
		for _, m := range testsPlaces.FindAllStringSubmatch(text, -1) {
			for _, name := range testName.FindAllString(m[1], -1) {
				for folder := range strings.SplitSeq(m[2], ", ") {
					if placed++; !slices.Contains(folders[name], folder) {
						t.Errorf("%s: %s is not in %s, but in %q", file, name, folder, folders[name])
					}
				}
			}
		}
	}
	if named < 50 || placed < 50 {
		t.Errorf("only %d tests were found, %d of them with their package", named, placed)
	}
}

// A row about an advisory names tests that name it: in a row of their table, in a name or in their comment.
func TestAdvisoriesInDocuments(t *testing.T) {
	texts := map[string]string{} // of the test files of each folder
	for _, file := range tracked(t, "*_test.go") {
		texts[path.Dir(file)] += read(t, file)
	}
	rows := 0
	for line := range strings.Lines(read(t, "SECURITY.md")) {
		for _, id := range advisory.FindAllString(line, -1) {
			for _, m := range testsPlaces.FindAllStringSubmatch(line, -1) {
				if rows++; !strings.Contains(texts[m[2]], id) {
					t.Errorf("SECURITY.md: the tests in %s don't name %s", m[2], id)
				}
			}
		}
	}
	if rows < 25 {
		t.Errorf("only %d advisories with tests were found", rows)
	}
}
