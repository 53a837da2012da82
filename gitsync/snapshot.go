package gitsync

import (
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// Snapshot is one commit of a repository, complete and immutable. It is safe for concurrent
// use, and stays readable through later fetches until it is closed.
type Snapshot struct {
	revision Revision
	listed   time.Time
	files    *treeFS
	close    func() error
}

func newSnapshot(revision Revision, listed time.Time, s *store, c *commit) *Snapshot {
	files := &treeFS{store: s, commit: c, root: c.root, closed: new(atomic.Bool)}
	return &Snapshot{revision: revision, listed: listed, files: files, close: sync.OnceValue(func() error {
		files.closed.Store(true)
		s.release()
		return nil
	})}
}

// Revision names the commit, and the ref that led to it.
func (s *Snapshot) Revision() Revision { return s.revision }

// Listed is when the remote was asked what its refs are; for a commit that no listing was needed for, when it was fetched.
func (s *Snapshot) Listed() time.Time { return s.listed }

// Commit is the metadata of the commit.
func (s *Snapshot) Commit() Commit { return s.files.commit.info }

// Files is the number of files in the commit, including symbolic links and submodules.
func (s *Snapshot) Files() int { return int(s.files.root.files) }

// FS shows the commit's files. It implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.SubFS and fs.ReadLinkFS. Every
// fs.DirEntry and fs.FileInfo in it has the methods Hash() string, the Git hash of the content, and Mode() fs.FileMode. They
// read nothing.
//
// Symbolic links are shown as links and never followed: Stat describes the link itself, and reading it, or a path through
// it, fails with a *SymlinkError. Submodules are irregular files that can't be read (*SubmoduleError). A file over
// Limits.FileBytes fails with a *LimitError before it is read, a damaged cache with a *CorruptError. All of them are wrapped
// in an *fs.PathError. ModTime is the commit's time.
//
// Entries with a name that no fs.FS can show (not UTF-8, with a slash or backslash, twice in its folder) are left out. The
// method Omitted(dir string) []fs.DirEntry lists them by their escaped names.
func (s *Snapshot) FS() fs.FS { return s.files }

// BlobHash is the Git hash of the file, folder or link at path. Equal hashes mean equal content.
func (s *Snapshot) BlobHash(path string) (string, error) {
	info, err := s.files.lookup("hash", path)
	if err != nil {
		return "", err
	}
	return info.Hash(), nil
}

// Close releases the files on disk. Reading fails with fs.ErrClosed from then on. A Snapshot that is never closed keeps its
// files, but only until the next Open of the Repository.
func (s *Snapshot) Close() error { return s.close() }

func (c *commit) time() time.Time { return c.info.Committer.When.UTC() }
