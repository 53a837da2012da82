package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// repository is the folder that everything is read from, and nothing is read outside of.
type repository struct {
	root string // absolute
	fs   fs.FS
	dir  *os.Root
}

// target is a path that the user names: a folder of a repository, or one file in it.
type target struct {
	*repository
	path string // of the folder, slash-separated and relative to the root
	file string // likewise; empty when the target is a folder
}

// locate finds the repository of a path.
func locate(arg string) (*target, error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	info, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: there is no such file or folder here", arg)
	} else if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, withoutPath(err))
	}
	dir, file := abs, ""
	if !info.IsDir() {
		dir, file = filepath.Dir(abs), abs
	}
	root := gitRoot(dir)
	if root == "" {
		// The folder may have been entered through a link.
		if target, err := filepath.EvalSymlinks(dir); err == nil && gitRoot(target) != "" {
			if file != "" {
				file = filepath.Join(target, filepath.Base(file))
			}
			dir, root = target, gitRoot(target)
		}
	}
	if root == "" {
		root = dir
	}
	opened, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, withoutPath(err))
	}
	t := &target{repository: &repository{root: root, fs: opened.FS(), dir: opened}}
	if t.path, err = t.relative(dir); err == nil && file != "" {
		t.file, err = t.relative(file)
	}
	return t, err
}

// withoutPath is the cause of an error of the file system, for messages that have named the file.
func withoutPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// locateFolder is locate for commands that take folders alone, as an AuditSync does.
func locateFolder(arg string) (*target, error) {
	t, err := locate(arg)
	if err == nil && t.file != "" {
		t.close()
		return nil, fmt.Errorf("open %s: it is a file; give the folder that holds it, or see muster lint", arg)
	}
	return t, err
}

func (r *repository) close() { _ = r.dir.Close() } // a folder that was only read has nothing to lose

// gitRoot is the nearest folder from dir upwards that has a .git: a folder, or a file in linked work trees and submodules.
func gitRoot(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func (r *repository) relative(name string) (string, error) {
	rel, err := filepath.Rel(r.root, name)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", name, err)
	}
	return filepath.ToSlash(rel), nil
}

// fromWorkingDir is a path of the repository as the user would type it where they are: relative, or absolute where that is
// shorter.
func (r *repository) fromWorkingDir(name string) string {
	if r == nil {
		return name
	}
	abs := filepath.Join(r.root, filepath.FromSlash(name))
	wd, err := os.Getwd()
	if err != nil {
		return abs
	}
	if rel, err := filepath.Rel(wd, abs); err == nil && len(rel) <= len(abs) {
		return rel
	}
	return abs
}
