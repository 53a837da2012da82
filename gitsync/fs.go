package gitsync

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// treeFS is the fs.FS of a Snapshot, or of a folder in it.
type treeFS struct {
	store  *store
	commit *commit
	root   *tree
	// prefix is the path of root in the commit, for messages that must make sense without the Sub.
	prefix string
	closed *atomic.Bool
}

var (
	_ fs.ReadDirFS  = (*treeFS)(nil)
	_ fs.ReadFileFS = (*treeFS)(nil)
	_ fs.StatFS     = (*treeFS)(nil)
	_ fs.SubFS      = (*treeFS)(nil)
	_ fs.ReadLinkFS = (*treeFS)(nil)
)

func isSubmodule(mode fs.FileMode) bool { return mode&fs.ModeIrregular != 0 }

// lookup finds an entry by walking the folders in memory. Errors are *fs.PathError.
func (f *treeFS) lookup(op, name string) (*node, error) {
	fail := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, fail(fs.ErrInvalid)
	}
	if f.closed.Load() {
		return nil, fail(fs.ErrClosed)
	}
	at := entry{name: ".", mode: fs.ModeDir | 0o555, hash: f.root.hash, dir: f.root}
	if name == "." {
		return &node{fs: f, path: name, entry: at}, nil
	}
	walked := 0
	for part := range strings.SplitSeq(name, "/") {
		if at.dir == nil {
			return nil, fail(f.through(name[:walked-1], at))
		}
		next, ok := at.dir.find(part)
		if !ok {
			return nil, fail(fs.ErrNotExist)
		}
		at = next
		walked += len(part) + 1
	}
	return &node{fs: f, path: name, entry: at}, nil
}

// through is the error for a path that continues below something that isn't a folder.
func (f *treeFS) through(name string, e entry) error {
	if e.mode.IsRegular() {
		return fs.ErrNotExist
	}
	return f.unreadable(&node{fs: f, path: name, entry: e})
}

// unreadable is the error for reading anything but a file. It is nil for a file.
func (f *treeFS) unreadable(n *node) error {
	full := path.Join(f.prefix, n.path)
	switch {
	case n.entry.mode&fs.ModeSymlink != 0:
		target, err := f.target(n)
		if err != nil {
			return err
		}
		return &SymlinkError{Path: full, Target: target}
	case isSubmodule(n.entry.mode):
		return &SubmoduleError{Path: full, Commit: n.Hash()}
	case n.entry.dir != nil:
		return errors.New("is a directory")
	}
	return nil
}

// maxLinkTarget is the longest path that Linux accepts.
const maxLinkTarget = 4096

func (f *treeFS) target(n *node) (string, error) {
	content, err := f.content(n, maxLinkTarget)
	return string(content), err
}

// content reads a blob of at most limit bytes.
func (f *treeFS) content(n *node, limit int64) ([]byte, error) {
	if f.closed.Load() {
		return nil, fs.ErrClosed
	}
	size, err := f.store.size(n.entry.hash)
	if err != nil {
		return nil, f.orClosed(err)
	}
	if size > limit {
		return nil, &LimitError{What: "file", Name: path.Join(f.prefix, n.path), Limit: limit, Got: size}
	}
	content, err := f.store.read(plumbing.BlobObject, n.entry.hash)
	return content, f.orClosed(err)
}

// orClosed keeps a Close during a read from looking like damage.
func (f *treeFS) orClosed(err error) error {
	if err != nil && f.closed.Load() {
		return fs.ErrClosed
	}
	return err
}

func (f *treeFS) Open(name string) (fs.File, error) {
	n, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if n.entry.dir != nil {
		return &openDir{node: n}, nil
	}
	return &openFile{node: n}, nil
}

func (f *treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return n.Info()
}

// Lstat is Stat: neither follows links.
func (f *treeFS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

func (f *treeFS) ReadLink(name string) (string, error) {
	n, err := f.lookup("readlink", name)
	if err != nil {
		return "", err
	}
	if n.entry.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := f.target(n)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return target, nil
}

func (f *treeFS) ReadFile(name string) ([]byte, error) {
	n, err := f.lookup("read", name)
	if err != nil {
		return nil, err
	}
	return n.read()
}

func (f *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	return n.list()
}

// Omitted lists the entries of a folder that can't be shown, by their escaped names. None of them can be read.
func (f *treeFS) Omitted(dir string) []fs.DirEntry {
	n, err := f.lookup("readdir", dir)
	if err != nil || n.entry.dir == nil {
		return nil
	}
	list := make([]fs.DirEntry, len(n.entry.dir.omitted))
	for i, e := range n.entry.dir.omitted {
		list[i] = &node{fs: f, path: path.Join(dir, e.name), entry: e}
	}
	return list
}

func (f *treeFS) Sub(dir string) (fs.FS, error) {
	n, err := f.lookup("sub", dir)
	if err != nil {
		return nil, err
	}
	if n.entry.dir == nil {
		return nil, n.notDir("sub")
	}
	sub := *f
	sub.root, sub.prefix = n.entry.dir, path.Join(f.prefix, dir)
	return &sub, nil
}

// node is an entry at its path. It implements fs.DirEntry; with its size known, it is a fs.FileInfo.
type node struct {
	fs    *treeFS
	path  string
	entry entry
}

func (n *node) Name() string      { return path.Base(n.path) }
func (n *node) IsDir() bool       { return n.entry.mode.IsDir() }
func (n *node) Type() fs.FileMode { return n.entry.mode.Type() }
func (n *node) String() string    { return fs.FormatDirEntry(n) }

// Hash is the Git hash of the content.
func (n *node) Hash() string { return n.entry.hash.String() }

// Mode is the mode as in fs.FileInfo.
func (n *node) Mode() fs.FileMode { return n.entry.mode }

// Info asks the store for the size. Nothing is unpacked.
func (n *node) Info() (fs.FileInfo, error) {
	info := fileInfo{node: n}
	if n.entry.dir != nil || isSubmodule(n.entry.mode) {
		return info, nil
	}
	var err error
	if n.fs.closed.Load() {
		err = fs.ErrClosed
	} else if info.size, err = n.fs.store.size(n.entry.hash); err != nil {
		err = n.fs.orClosed(err)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: n.path, Err: err}
	}
	return info, nil
}

func (n *node) read() ([]byte, error) {
	err := n.fs.unreadable(n)
	var content []byte
	if err == nil {
		content, err = n.fs.content(n, n.fs.store.limits.FileBytes)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: n.path, Err: err}
	}
	return content, nil
}

func (n *node) list() ([]fs.DirEntry, error) {
	if n.entry.dir == nil {
		return nil, n.notDir("readdir")
	}
	list := make([]fs.DirEntry, len(n.entry.dir.entries))
	for i, e := range n.entry.dir.entries {
		list[i] = &node{fs: n.fs, path: path.Join(n.path, e.name), entry: e}
	}
	return list, nil
}

func (n *node) notDir(op string) error {
	err := errors.New("not a directory")
	if !n.entry.mode.IsRegular() {
		err = n.fs.unreadable(n)
	}
	return &fs.PathError{Op: op, Path: n.path, Err: err}
}

type fileInfo struct {
	*node
	size int64
}

func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return i.fs.commit.time() }
func (i fileInfo) Sys() any           { return nil }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }
