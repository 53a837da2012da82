package author

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Change is a file to write.
type Change struct {
	// Path is slash-separated, from the root of the repository.
	Path string
	// Before is the content that the change was made from; nil for a new file.
	Before []byte
	// After is the new content; nil to remove the file.
	After []byte
}

// With returns a repository as it will be after the changes.
func With(repository fs.FS, changes ...Change) fs.FS {
	c := &changed{FS: repository, files: map[string]*Change{}, folders: map[string][]string{}}
	for _, change := range changes {
		c.files[change.Path] = &change
		for name := change.Path; change.After != nil && name != "."; name = path.Dir(name) {
			if dir := path.Dir(name); !slices.Contains(c.folders[dir], name) {
				c.folders[dir] = append(c.folders[dir], name)
			}
		}
	}
	return c
}

// changed is a repository with changes.
type changed struct {
	fs.FS
	files map[string]*Change
	// folders are the folders with files that are written, and what is in them.
	folders map[string][]string
}

var _ interface {
	fs.ReadDirFS
	fs.StatFS
	fs.ReadLinkFS
} = (*changed)(nil)

// Open opens a file, or a folder of the repository. Use ReadDir to list a folder.
func (c *changed) Open(name string) (fs.File, error) {
	change, ok := c.files[name]
	switch {
	case !ok:
		return c.FS.Open(name)
	case change.After == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	default:
		return &openFile{bytes.NewReader(change.After), entry{path.Base(name), 0o644, int64(len(change.After))}}, nil
	}
}

// Stat is Lstat: neither follows links.
func (c *changed) Stat(name string) (fs.FileInfo, error) { return c.Lstat(name) }

// Lstat describes a file or folder.
func (c *changed) Lstat(name string) (fs.FileInfo, error) {
	if c.files[name] != nil {
		file, err := c.Open(name)
		if err != nil {
			return nil, err
		}
		return file.Stat()
	}
	info, err := fs.Lstat(c.FS, name)
	if errors.Is(err, fs.ErrNotExist) && c.folders[name] != nil {
		return entry{path.Base(name), fs.ModeDir | 0o755, 0}, nil
	}
	return info, err
}

// ReadLink returns the target of a symbolic link.
func (c *changed) ReadLink(name string) (string, error) { return fs.ReadLink(c.FS, name) }

// ReadDir lists a folder.
func (c *changed) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(c.FS, name)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || c.folders[name] == nil) {
		return nil, err
	}
	known := map[string]bool{}
	entries = slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool {
		known[e.Name()] = c.files[path.Join(name, e.Name())] == nil
		return !known[e.Name()]
	})
	for _, at := range c.folders[name] {
		info, err := c.Lstat(at)
		if err != nil {
			return nil, err
		}
		if !known[info.Name()] {
			entries = append(entries, fs.FileInfoToDirEntry(info))
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// openFile is a file that is written.
type openFile struct {
	*bytes.Reader
	info entry
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (*openFile) Close() error                 { return nil }

// entry describes a file that is written, or a folder for it.
type entry struct {
	name string
	mode fs.FileMode
	size int64
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) Mode() fs.FileMode  { return e.mode }
func (e entry) ModTime() time.Time { return time.Time{} }
func (e entry) IsDir() bool        { return e.mode.IsDir() }
func (e entry) Sys() any           { return nil }
