package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/gitsync/worktree"
)

// codeNoRepository is the code of the finding about a folder outside of a Git repository.
const codeNoRepository finding.Code = "no-repository"

// repository is the folder that everything is read from. Nothing outside of it is read.
type repository struct {
	root string // absolute
	// fs has what Git would commit. If loose is true, there is no Git repository, and fs has every file.
	fs    fs.FS
	loose bool
	dir   *os.Root
}

// target is a path that the user gives: a folder of a repository, or a file in it.
type target struct {
	*repository
	path string // of the folder, slash-separated and relative to the root
	file string // likewise; empty when the target is a folder
}

// locate finds the repository of a path.
func locate(ctx context.Context, arg string) (*target, error) {
	t, err := find(ctx, arg)
	if err != nil {
		return nil, err
	}
	if err := t.checkNotIgnored(); err != nil {
		t.close()
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	return t, nil
}

// find is locate for a path that Git may ignore.
func find(ctx context.Context, arg string) (*target, error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	info, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: no such file or folder", arg)
	} else if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, withoutPath(err))
	}
	dir, file := abs, ""
	if !info.IsDir() {
		dir, file = filepath.Dir(abs), abs
	}
	root := gitRoot(ctx, dir)
	if root == "" {
		// The folder may have been entered through a symbolic link.
		if target, err := filepath.EvalSymlinks(dir); err == nil && gitRoot(ctx, target) != "" {
			if file != "" {
				file = filepath.Join(target, filepath.Base(file))
			}
			dir, root = target, gitRoot(ctx, target)
		}
	}
	repo, err := openRepository(ctx, root, dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	t := &target{repository: repo}
	if t.path, err = t.relative(dir); err == nil && file != "" {
		t.file, err = t.relative(file)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	return t, nil
}

// openRepository opens the work tree at root, or only the folder if root is "".
func openRepository(ctx context.Context, root, folder string) (*repository, error) {
	r := &repository{root: root, loose: root == ""}
	if r.loose {
		r.root = folder
	}
	var err error
	if r.dir, err = os.OpenRoot(r.root); err != nil {
		return nil, withoutPath(err)
	}
	r.fs = r.dir.FS()
	if r.loose {
		return r, nil
	}
	tree, err := worktree.Open(ctx, r.dir, os.Environ())
	switch {
	case errors.Is(err, worktree.ErrNotRepository):
		r.loose = true
	case err != nil:
		r.close()
		return nil, err
	default:
		r.fs = tree
	}
	return r, nil
}

// checkNotIgnored rejects a folder that Git ignores, because the controller wouldn't find it.
func (t *target) checkNotIgnored() error {
	tree, ok := t.fs.(*worktree.FS)
	if !ok {
		return nil
	}
	info, err := tree.Lstat(t.path)
	if missing := errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir(); missing && tree.Show(t.path) {
		return errors.New("Git ignores this folder or everything in it, so the controller would not find it; git check-ignore -v FILE shows the rule") //nolint:staticcheck // Git is a name
	}
	return nil // other problems are found when it is read
}

// noteNoRepository adds a finding that every file was read, if there is no Git repository.
func (t *target) noteNoRepository(report *finding.Report) {
	if t.loose {
		report.Add(finding.Finding{Code: codeNoRepository, Severity: finding.Info, Path: t.path,
			Message: "this folder is not in a Git repository, so every file in it is read"})
	}
}

// withoutPath is the cause of a file system error, for messages that already name the file.
func withoutPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// locateFolder is locate for commands that accept only folders, as an AuditSync does.
func locateFolder(ctx context.Context, arg string) (*target, error) {
	t, err := locate(ctx, arg)
	if err == nil && t.file != "" {
		t.close()
		return nil, fmt.Errorf("open %s: it is a file; use its folder, or see muster lint", arg)
	}
	return t, err
}

// locateCommitted finds the repository of a folder that the work tree need not have.
func locateCommitted(ctx context.Context, arg string) (*target, error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	above := abs
	for ; above != filepath.Dir(above); above = filepath.Dir(above) {
		if info, err := os.Stat(above); err == nil && info.IsDir() {
			break
		}
	}
	t, err := find(ctx, above)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(above, abs)
	if err != nil {
		t.close()
		return nil, fmt.Errorf("open %s: %w", arg, err)
	}
	t.path = path.Join(t.path, filepath.ToSlash(below))
	return t, nil
}

func (r *repository) close() { _ = r.dir.Close() } // nothing was written

// gitRoot is the nearest folder from dir upwards with a .git: a folder, or a file in linked work trees and submodules. If
// there is none, it is the work tree that Git's environment variables name, if dir is in it.
func gitRoot(ctx context.Context, dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if root := worktree.Root(ctx, os.Environ()); root != "" && (dir == root || strings.HasPrefix(dir, root+string(filepath.Separator))) {
		return root
	}
	return ""
}

func (r *repository) relative(name string) (string, error) {
	rel, err := filepath.Rel(r.root, name)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", name, err)
	}
	return filepath.ToSlash(rel), nil
}

// fromWorkingDir is a path of the repository as the user would type it: relative to the working directory, or absolute if
// that is shorter.
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

// argument is a path of the repository as a word of a shell command that the user may copy.
func (r *repository) argument(name string) string {
	name = r.fromWorkingDir(name)
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	return setup.Quote(printable(name))
}
