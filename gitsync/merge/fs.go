package merge

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// FS is a merged tree. It is read-only and safe for concurrent use.
type FS struct {
	root         *node
	ours, theirs fs.FS
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// node is an entry of a merged tree. Only those on the way to a merged one are nodes: what is below an entry of a given tree
// is read there.
type node struct {
	name, path string
	mode       fs.FileMode
	hash       string
	// merged is true for a folder or file that is in none of the trees. It has children or content.
	merged   bool
	children []*node // by name
	omitted  []fs.DirEntry
	content  []byte
	from     fs.FS // the tree that has it, otherwise
}

// nodeOf is the node for an entry of one of the trees, or nil for none.
func nodeOf(name string, e *entry) (*node, error) {
	if e == nil {
		return nil, nil
	}
	return &node{name: path.Base(name), path: name, mode: e.mode, hash: e.hash, from: e.from}, nil
}

// find returns the deepest node on the way to a path, and whether it is the path's own.
func (f *FS) find(name string) (at *node, exact bool) {
	at = f.root
	if name == "." {
		return at, true
	}
	for part := range strings.SplitSeq(name, "/") {
		if !at.merged {
			return at, false
		}
		i, found := slices.BinarySearchFunc(at.children, part, func(n *node, name string) int { return strings.Compare(n.name, name) })
		if !found {
			return nil, false
		}
		at = at.children[i]
	}
	return at, true
}

// lookup returns either the tree that has the path, or the merged node.
func (f *FS) lookup(op, name string) (fs.FS, *node, error) {
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	at, exact := f.find(name)
	switch {
	case at == nil, !exact && at.merged:
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	case !at.merged:
		return at.from, at, nil
	}
	return nil, at, nil
}

// Open opens a file or folder.
func (f *FS) Open(name string) (fs.File, error) {
	tree, at, err := f.lookup("open", name)
	switch {
	case err != nil:
		return nil, err
	case tree != nil:
		return tree.Open(name)
	case at.mode.IsDir():
		return &openDir{fs: f, node: at}, nil
	}
	return &openFile{node: at, Reader: bytes.NewReader(at.content)}, nil
}

// ReadFile reads a file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	tree, at, err := f.lookup("read", name)
	switch {
	case err != nil:
		return nil, err
	case tree != nil:
		return fs.ReadFile(tree, name)
	case at.mode.IsDir():
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	return bytes.Clone(at.content), nil
}

// ReadDir lists a folder.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	tree, at, err := f.lookup("readdir", name)
	switch {
	case err != nil:
		return nil, err
	case tree != nil:
		return fs.ReadDir(tree, name)
	case !at.mode.IsDir():
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list := make([]fs.DirEntry, len(at.children))
	for i, child := range at.children {
		list[i] = dirEntry{node: child}
	}
	return list, nil
}

// Stat describes a file, folder or link. It doesn't follow links.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	tree, at, err := f.lookup("stat", name)
	switch {
	case err != nil:
		return nil, err
	case tree != nil:
		return fs.Lstat(tree, name)
	}
	return info{at}, nil
}

// Lstat is Stat.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(name string) (string, error) {
	tree, _, err := f.lookup("readlink", name)
	if err != nil {
		return "", err
	}
	if tree == nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return fs.ReadLink(tree, name)
}

// Omitted lists the entries of a folder that no fs.FS can show, by their escaped names; see gitsync.Snapshot. A merge keeps
// those of both sides.
func (f *FS) Omitted(dir string) []fs.DirEntry {
	tree, at, err := f.lookup("readdir", dir)
	switch {
	case err != nil:
		return nil
	case tree != nil:
		return omittedIn(dir, tree)
	}
	return at.omitted
}

func omittedIn(dir string, trees ...fs.FS) []fs.DirEntry {
	var all []fs.DirEntry
	for _, tree := range trees {
		if t, ok := tree.(interface {
			Omitted(dir string) []fs.DirEntry
		}); ok {
			for _, e := range t.Omitted(dir) {
				if !slices.ContainsFunc(all, func(known fs.DirEntry) bool { return known.Name() == e.Name() }) {
					all = append(all, e)
				}
			}
		}
	}
	return all
}

var errIsDir = errors.New("is a directory")

// dirEntry is a node as a fs.DirEntry.
type dirEntry struct{ *node }

func (e dirEntry) Name() string      { return e.name }
func (e dirEntry) IsDir() bool       { return e.mode.IsDir() }
func (e dirEntry) Type() fs.FileMode { return e.mode.Type() }
func (e dirEntry) String() string    { return fs.FormatDirEntry(e) }

// Info describes the entry.
func (e dirEntry) Info() (fs.FileInfo, error) {
	if e.merged {
		return info(e), nil
	}
	return fs.Lstat(e.from, e.path)
}

// Hash is the Git hash of the content.
func (n *node) Hash() string { return n.hash }

// Mode is the mode as in fs.FileInfo.
func (n *node) Mode() fs.FileMode { return n.mode }

// treeHash is the hash that Git gives to a folder with these entries. With omitted entries it is another hash, which
// changes with their names.
func treeHash(children []*node, omitted []fs.DirEntry) string {
	sorted := slices.SortedFunc(slices.Values(children), func(a, b *node) int { return strings.Compare(sortName(a), sortName(b)) })
	var tree bytes.Buffer
	for _, child := range sorted {
		fmt.Fprintf(&tree, "%s %s\x00", gitMode(child.mode), child.name)
		hash, _ := hex.DecodeString(child.hash) // hashes come from the trees, or from here
		tree.Write(hash)
	}
	for _, e := range omitted {
		fmt.Fprintf(&tree, "omitted %s\x00", e.Name())
	}
	return plumbing.ComputeHash(plumbing.TreeObject, tree.Bytes()).String()
}

// sortName is what Git sorts an entry by.
func sortName(n *node) string {
	if n.mode.IsDir() {
		return n.name + "/"
	}
	return n.name
}

func gitMode(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "40000"
	case mode&fs.ModeSymlink != 0:
		return "120000"
	case mode&fs.ModeIrregular != 0:
		return "160000"
	case mode&0o111 != 0:
		return "100755"
	}
	return "100644"
}

// info describes a merged node.
type info struct{ *node }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.content)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
func (i info) String() string     { return fs.FormatFileInfo(i) }

type openFile struct {
	*node
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return info{f.node}, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	fs   *FS
	node *node
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return info{d.node}, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.path, Err: errIsDir}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	all, err := d.fs.ReadDir(d.node.path)
	if err != nil {
		return nil, err
	}
	rest := all[d.next:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.next += len(rest)
	return rest, nil
}
