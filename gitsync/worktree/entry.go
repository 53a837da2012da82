package worktree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is what Git would commit at a path. It is the fs.DirEntry, and also the fs.FileInfo if it isn't on disk.
type entry struct {
	fs   *FS
	path string
	node *node
	mode fs.FileMode
	info fs.FileInfo // nil if it isn't a file or link on disk
	size int64
}

func (e *entry) Name() string       { return path.Base(e.path) }
func (e *entry) IsDir() bool        { return e.mode.IsDir() }
func (e *entry) Type() fs.FileMode  { return e.mode.Type() }
func (e *entry) Mode() fs.FileMode  { return e.mode }
func (e *entry) Size() int64        { return e.size }
func (e *entry) ModTime() time.Time { return time.Time{} }
func (e *entry) Sys() any           { return nil }
func (e *entry) String() string     { return fs.FormatDirEntry(e) }

// Ignored reports whether Git ignores the file or folder.
func (e *entry) Ignored() bool { return e.node.kind == ignored }

func (e *entry) Info() (fs.FileInfo, error) {
	if e.info != nil {
		return e.info, nil
	}
	if e.node.blob != "" {
		var err error
		if e.size, err = e.fs.git.size(e.node.blob); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: e.path, Err: err}
		}
	}
	return e, nil
}

// read is the content of a file, or the target of a link.
func (e *entry) read(op string) ([]byte, error) {
	switch {
	case e.IsDir():
		return nil, &fs.PathError{Op: op, Path: e.path, Err: errors.New("is a directory")}
	case e.node.blob != "":
		content, err := e.fs.git.blob(e.node.blob)
		if err != nil {
			return nil, &fs.PathError{Op: op, Path: e.path, Err: err}
		}
		return content, nil
	case e.mode&fs.ModeSymlink != 0:
		target, err := e.fs.disk.Readlink(filepath.FromSlash(e.path))
		return []byte(target), err
	case !e.mode.IsRegular():
		return nil, &fs.PathError{Op: op, Path: e.path, Err: errors.New("is not a file that Git would commit")}
	}
	return e.fs.disk.ReadFile(filepath.FromSlash(e.path))
}

// Open opens a file or folder, but not a link.
func (f *FS) Open(name string) (fs.File, error) {
	e, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	return &handle{entry: e}, nil
}

// Stat is Lstat: neither follows links.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.Lstat(name) }

// Lstat describes the entry at a path.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	e, err := f.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return e.Info()
}

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(name string) (string, error) {
	e, err := f.lookup("readlink", name)
	if err != nil {
		return "", err
	}
	if e.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := e.read("readlink")
	return string(target), err
}

// ReadFile reads a file. It does not follow links.
func (f *FS) ReadFile(name string) ([]byte, error) {
	e, err := f.lookup("read", name)
	if err != nil {
		return nil, err
	}
	if e.mode&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a symbolic link")}
	}
	return e.read("read")
}

// ReadDir lists a folder, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if !e.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list := make([]fs.DirEntry, 0, len(e.node.children))
	for part, child := range e.node.children {
		below, err := f.look(strings.TrimPrefix(name+"/"+part, "./"), child)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, below)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// handle is an open file or folder.
type handle struct {
	*entry
	reader *bytes.Reader
	rest   []fs.DirEntry
	listed bool
}

func (h *handle) Stat() (fs.FileInfo, error) { return h.Info() }
func (h *handle) Close() error               { return nil }

func (h *handle) Read(p []byte) (int, error) {
	if h.reader == nil {
		content, err := h.fs.ReadFile(h.path)
		if err != nil {
			return 0, err
		}
		h.reader = bytes.NewReader(content)
	}
	return h.reader.Read(p)
}

func (h *handle) ReadDir(n int) ([]fs.DirEntry, error) {
	if !h.listed {
		list, err := h.fs.ReadDir(h.path)
		if err != nil {
			return nil, err
		}
		h.rest, h.listed = list, true
	}
	if n <= 0 || n > len(h.rest) {
		if n > 0 && len(h.rest) == 0 {
			return nil, io.EOF
		}
		n = len(h.rest)
	}
	list := h.rest[:n]
	h.rest = h.rest[n:]
	return list, nil
}
