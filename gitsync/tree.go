package gitsync

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
)

// tree is a parsed Git tree: one folder.
type tree struct {
	hash    plumbing.Hash
	entries []entry // by name
	// files counts the files below, as in a checkout; all counts the folders too. height is the number of folder levels
	// below.
	files  int64
	all    int64
	height int
	// longest is the length of the longest path below, in bytes.
	longest int
	// omitted lists entries that no fs.FS can show, by the names that Omitted gives them.
	omitted []entry
}

type entry struct {
	name string
	mode fs.FileMode
	hash plumbing.Hash
	dir  *tree // set for folders
}

func (t *tree) find(name string) (entry, bool) {
	i, found := slices.BinarySearchFunc(t.entries, name, func(e entry, name string) int { return cmp.Compare(e.name, name) })
	if !found {
		return entry{}, false
	}
	return t.entries[i], true
}

func tooManyFiles(got, limit int64) *LimitError {
	return &LimitError{What: "files in a commit", Limit: limit, Got: got}
}

var errTree = errors.New("malformed tree")

// parseTree parses a tree object: octal mode, space, name, NUL, 20 bytes of hash, repeated. More than limit entries are a
// *LimitError.
func parseTree(data []byte, limit int64) (*tree, error) {
	t := &tree{}
	for len(data) > 0 {
		if count := int64(len(t.entries) + len(t.omitted)); count >= limit {
			return nil, tooManyFiles(count+1, limit)
		}
		head, rest, ok := bytes.Cut(data, []byte{0})
		octal, name, ok2 := bytes.Cut(head, []byte{' '})
		if !ok || !ok2 || len(rest) < len(plumbing.Hash{}) {
			return nil, errTree
		}
		mode, err := fileMode(string(octal))
		if err != nil {
			return nil, err
		}
		e := entry{name: string(name), mode: mode, hash: plumbing.Hash(rest[:len(plumbing.Hash{})])}
		data = rest[len(plumbing.Hash{}):]
		if !canShow(e.name) {
			e.name = escaped(e.name)
			t.omitted = append(t.omitted, e)
			continue
		}
		t.entries = append(t.entries, e)
	}
	t.settle()
	return t, nil
}

// settle sorts the entries by name (Git sorts folders as if their names ended in a slash) and removes names that occur
// twice, because they are ambiguous.
func (t *tree) settle() {
	slices.SortStableFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	twice := func(i int) bool {
		return i > 0 && t.entries[i-1].name == t.entries[i].name || i+1 < len(t.entries) && t.entries[i+1].name == t.entries[i].name
	}
	kept := make([]entry, 0, len(t.entries))
	for i, e := range t.entries {
		if twice(i) {
			t.omitted = append(t.omitted, e)
			continue
		}
		kept = append(kept, e)
	}
	t.entries = kept
}

// fileMode is the fs.FileMode for a Git mode. Git has one permission bit, the executable's.
func fileMode(octal string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(octal, 8, 32)
	if err != nil {
		return 0, errTree
	}
	switch mode &^ 0o7777 {
	case 0o040000:
		return fs.ModeDir | 0o555, nil
	case 0o100000:
		return 0o444 | fs.FileMode(mode&0o111), nil
	case 0o120000:
		return fs.ModeSymlink | 0o777, nil
	case 0o160000:
		return fs.ModeIrregular | 0o444, nil
	}
	return 0, errTree
}

// maxName is the longest file name that Linux accepts. Git can store names of megabytes.
const maxName = 255

// canShow reports whether an fs.FS can show a name. Git can store others, and a checkout of those would fail or do harm.
func canShow(name string) bool {
	return len(name) <= maxName && name != "" && name != "." && name != ".." && !strings.ContainsAny(name, `/\`) && utf8.ValidString(name)
}

// escaped rewrites a name that no fs.FS can show to a unique name that is a single path element.
func escaped(name string) string {
	if len(name) > maxName {
		name = name[:maxName/2] + `\` + name[len(name)-maxName/4:] // with the end, which has the extension
	}
	quoted := strconv.Quote(name)
	quoted = strings.ReplaceAll(quoted[1:len(quoted)-1], "/", `\x2f`)
	if strings.Trim(quoted, ".") == "" {
		return `\` + quoted
	}
	return quoted
}
