package gitsync

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
)

// openFile reads its content on first use, so that opening for a Stat costs nothing.
type openFile struct {
	node   *node
	reader *bytes.Reader
	closed bool
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.node.Info() }

func (f *openFile) Read(p []byte) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.reader.Read(p)
}

func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.load("seek"); err != nil {
		return 0, err
	}
	return f.reader.Seek(offset, whence)
}

func (f *openFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.reader.ReadAt(p, offset)
}

func (f *openFile) load(op string) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.node.path, Err: fs.ErrClosed}
	}
	if f.reader == nil {
		content, err := f.node.read()
		if err != nil {
			return err
		}
		f.reader = bytes.NewReader(content)
	}
	return nil
}

func (f *openFile) Close() error {
	f.closed, f.reader = true, nil
	return nil
}

type openDir struct {
	node *node
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node.Info() }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.path, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	all, err := d.node.list()
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
