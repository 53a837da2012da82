// Package worktree shows the files of a work tree that Git would commit, as a read-only file system.
//
// These are the tracked files as they are in the work tree, and the files that are neither tracked nor ignored. The git
// command decides which ones they are. Its rules for ignored files (those of the user, the system, the repository and each
// folder, upper and lower case, sparse checkouts, files whose changes are skipped) go beyond what libraries support, and
// showing a file by mistake would promise something that the controller doesn't do. It runs no program that the repository
// configures, and fetches nothing.
package worktree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotRepository is the error of Open for a folder that isn't in a Git repository.
var ErrNotRepository = errors.New("not a Git repository")

// FS has the files that Git would commit. Symbolic links are shown and never followed. Submodules, and other repositories in
// the work tree, are irregular files, as in a gitsync.Snapshot. Ignored files and folders are irregular, too, and their
// fs.DirEntry has a method Ignored() bool that returns true. Neither can be read.
type FS struct {
	git  git
	disk *os.Root
	root *node
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// node is a path that Git has listed.
type node struct {
	children map[string]*node
	kind     kind
	// blob is set for a file or link that Git commits from the index, whatever the work tree has.
	blob string
	link bool
	// asked reports that the folder is shown even if it is empty.
	asked bool
}

type kind int

const (
	folder kind = iota
	file        // or a symbolic link
	submodule
	ignored
)

// Open asks Git about the work tree at disk. env is the environment of the process. It applies if it names the repository at
// disk, as in a Git hook. The error is ErrNotRepository, ErrNoGit, or contains git's output.
func Open(ctx context.Context, disk *os.Root, env []string) (*FS, error) {
	f := &FS{git: gitFor(ctx, disk.Name(), env), disk: disk, root: &node{}}
	// A .git that isn't a repository doesn't keep git from finding one further up.
	if top, err := f.git.top(ctx); err != nil {
		return nil, err
	} else if !sameFolder(top, disk.Name()) {
		return nil, ErrNotRepository
	}
	tracked, err := f.git.list(ctx, "--cached", "--stage", "-v")
	if err != nil {
		return nil, err
	}
	for _, line := range tracked {
		if err := f.addTracked(line); err != nil {
			return nil, err
		}
	}
	others, err := f.git.list(ctx, "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	for _, name := range others {
		if nested, ok := strings.CutSuffix(name, "/"); ok { // it is a separate repository
			f.root.at(nested).kind = submodule
			continue
		}
		f.root.at(name).kind = file
	}
	left, err := f.git.list(ctx, "--others", "--ignored", "--exclude-standard", "--directory")
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if n := f.root.at(strings.TrimSuffix(name, "/")); n.kind == folder && n.children == nil {
			n.kind = ignored
		}
	}
	return f, nil
}

// addTracked adds a line of git ls-files: "H 100644 1a2b3c… 0\tclusters/eu.yaml".
func (f *FS) addTracked(line string) error {
	head, name, ok := strings.Cut(line, "\t")
	fields := strings.Fields(head)
	if !ok || len(fields) != 4 {
		return fmt.Errorf("git ls-files: unexpected output %q", line)
	}
	n := f.root.at(name)
	tag, mode, blob := fields[0], fields[1], fields[2]
	if mode == "160000" {
		n.kind = submodule
		return nil
	}
	n.kind = file
	// S is a file that Git leaves out of the work tree; a lower-case tag is a file that Git assumes to be unchanged.
	if tag == "S" || tag != strings.ToUpper(tag) {
		n.blob, n.link = blob, mode == "120000"
	}
	return nil
}

// at returns the node of a path, and creates it if necessary.
func (n *node) at(name string) *node {
	for part := range strings.SplitSeq(name, "/") {
		if n.children == nil {
			n.children = map[string]*node{}
		}
		if n.children[part] == nil {
			n.children[part] = &node{}
		}
		n = n.children[part]
	}
	return n
}

// Show makes a folder visible even if Git would commit nothing in it. It reports whether Git ignores the folder or
// everything in it; such a folder stays hidden.
func (f *FS) Show(name string) (ignores bool) {
	if name == "." {
		return false
	}
	n := f.root
	for part := range strings.SplitSeq(name, "/") {
		if n = n.children[part]; n == nil {
			break
		}
		if n.kind == ignored {
			return true
		}
	}
	f.root.at(name).asked = true
	return false
}

// lookup finds what Git would commit at a path, without following links.
func (f *FS) lookup(op, name string) (*entry, error) {
	fail := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, fail(fs.ErrInvalid)
	}
	at := &entry{fs: f, path: ".", node: f.root, mode: fs.ModeDir}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		next := at.node.children[part]
		if next == nil || !at.IsDir() {
			return nil, fail(fs.ErrNotExist)
		}
		var err error
		if at, err = f.look(strings.TrimPrefix(at.path+"/"+part, "./"), next); err != nil {
			return nil, fail(err)
		}
	}
	return at, nil
}

// look compares Git's listing with the work tree. The error is fs.ErrNotExist if Git would commit nothing.
func (f *FS) look(name string, n *node) (*entry, error) {
	e := &entry{fs: f, path: name, node: n}
	if n.blob != "" {
		if n.link {
			e.mode = fs.ModeSymlink
		}
		return e, nil
	}
	info, err := f.disk.Lstat(filepath.FromSlash(name))
	onDisk := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	switch {
	case n.kind == ignored, n.kind == submodule && onDisk && info.IsDir():
		e.mode = fs.ModeIrregular
	case onDisk && !info.IsDir() && n.kind != folder:
		e.mode, e.info = info.Mode(), info
	case n.asked && onDisk && info.IsDir(), (!onDisk || info.IsDir()) && n.holds(f, name):
		e.mode = fs.ModeDir // not on disk: it contains files that Git leaves out of the work tree
	default:
		return nil, fs.ErrNotExist
	}
	return e, nil
}

// holds reports whether Git would commit anything below a folder.
func (n *node) holds(f *FS, name string) bool {
	for part, child := range n.children {
		if child.kind == ignored {
			continue
		}
		if _, err := f.look(name+"/"+part, child); err == nil {
			return true
		}
	}
	return false
}
