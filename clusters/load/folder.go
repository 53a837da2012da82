package load

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// folder is a folder of the repository, listed once.
type folder struct {
	entries []fs.DirEntry // by name
	// unreadable are the entries whose names can't be read. They are not in entries.
	unreadable []fs.DirEntry
	err        error
}

// list lists a folder that is reached without symbolic links. The result is cached.
func (t *Tree) list(dir string) *folder {
	if known := t.folders[dir]; known != nil {
		return known
	}
	f := &folder{}
	f.entries, f.err = fs.ReadDir(t.fsys, dir)
	f.entries = slices.DeleteFunc(f.entries, func(e fs.DirEntry) bool {
		if utf8.ValidString(e.Name()) && !strings.Contains(e.Name(), `\`) {
			return false
		}
		f.unreadable = append(f.unreadable, escapedEntry{e})
		return true
	})
	if !slices.IsSortedFunc(f.entries, byName) { // some file systems don't sort, though fs.ReadDir promises it
		f.entries = slices.SortedFunc(slices.Values(f.entries), byName)
	}
	t.folders[dir] = f
	return f
}

// escapedEntry is an entry whose name can't be read. Its Name is escaped.
type escapedEntry struct{ fs.DirEntry }

func (e escapedEntry) Name() string {
	quoted := strconv.Quote(e.DirEntry.Name())
	return quoted[1 : len(quoted)-1]
}

func byName(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }

// entry returns the entry with this name.
func (f *folder) entry(name string) (fs.DirEntry, bool) {
	i, ok := slices.BinarySearchFunc(f.entries, name, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
	if !ok {
		return nil, false
	}
	return f.entries[i], true
}

// entry finds a file or folder by its clean path, without following symbolic links. If there is one in the path, link is the path of the link.
func (t *Tree) entry(name string) (entry fs.DirEntry, link string, err error) {
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 { // path.Dir cleans again, which makes deep folders expensive
		dir, base = name[:i], name[i+1:]
	}
	if dir != "." {
		above, link, err := t.entry(dir)
		switch {
		case link != "" || err != nil:
			return nil, link, err
		case isSubmodule(above):
			return nil, "", errSubmodule
		case !above.IsDir():
			return nil, "", fs.ErrNotExist
		}
	}
	if dir != t.Path && t.Path != "." && !strings.HasPrefix(dir, t.Path+"/") && name != t.Path && !strings.HasPrefix(t.Path, name+"/") {
		t.outside = true
	}
	f := t.list(dir)
	if f.err != nil {
		return nil, "", f.err
	}
	found, ok := f.entry(base)
	switch {
	case !ok:
		return nil, "", fs.ErrNotExist
	case isIgnored(found):
		return nil, "", errIgnored
	case found.Type()&fs.ModeSymlink != 0:
		return nil, name, nil
	}
	return found, "", nil
}

// isFolder reports whether a path is a folder that is reached without symbolic links.
func (t *Tree) isFolder(name string) bool {
	if name == "." {
		return true
	}
	entry, link, err := t.entry(name)
	return err == nil && link == "" && entry.IsDir()
}

// identity returns a string of the file system that identifies the content of a file or folder, or "" if it has none. Equal
// identities mean equal contents.
func identity(entry any) string {
	if e, ok := entry.(interface{ Hash() string }); ok {
		return e.Hash()
	}
	return ""
}

// ignoredError means that a file is in the work tree but ignored by Git, so that no commit has it.
type ignoredError struct{}

func (ignoredError) Error() string        { return "Git ignores it" }
func (ignoredError) Is(target error) bool { return target == fs.ErrNotExist }

var (
	errIgnored   error = ignoredError{}
	errSubmodule       = errors.New("it is in a submodule")
)

// isIgnored reports whether an entry is of a work tree, and Git ignores it.
func isIgnored(entry fs.DirEntry) bool {
	e, ok := entry.(interface{ Ignored() bool })
	return ok && e.Ignored()
}

// isSubmodule reports whether the entry is another repository. Git file systems show it as an irregular file.
func isSubmodule(entry fs.DirEntry) bool {
	return entry.Type()&fs.ModeIrregular != 0 && !isIgnored(entry)
}
