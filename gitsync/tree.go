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
	// files counts the files below, as a checkout would have them, and all counts the folders with them. height counts the levels of
	// folders below.
	files  int64
	all    int64
	height int
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

// parseTree reads a tree object: octal mode, space, name, NUL, 20 bytes of hash, over and over.
// One of more than limit entries is a *LimitError.
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

// settle orders the entries by name (Git orders folders as if their names ended in a slash)
// and takes out names that come twice: which one is meant can't be told.
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

// fileMode is what an fs.FS shows for a Git mode. Git knows one permission bit, the executable's.
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

// maxName is the longest name that Linux takes for a file. Git can hold names of megabytes.
const maxName = 255

// canShow reports whether an fs.FS can show a name. Git can hold others, and a checkout would fail or do harm with them.
func canShow(name string) bool {
	return len(name) <= maxName && name != "" && name != "." && name != ".." && !strings.ContainsAny(name, `/\`) && utf8.ValidString(name)
}

// escaped writes a name that no fs.FS can show so that each of them is another one, and a single element of a path.
func escaped(name string) string {
	if len(name) > maxName {
		name = name[:maxName/2] + `\` + name[len(name)-maxName/4:] // with the end, which tells what it is
	}
	quoted := strconv.Quote(name)
	quoted = strings.ReplaceAll(quoted[1:len(quoted)-1], "/", `\x2f`)
	if strings.Trim(quoted, ".") == "" {
		return `\` + quoted
	}
	return quoted
}
