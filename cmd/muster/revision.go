package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/muster-gitops/muster/clusters/load"
)

// revision is the checked-out commit, if the rendered files match it: every file that was read is as committed, and no file
// of the path is missing. It is empty for a folder with changes, and when Git can't tell.
func (r *repository) revision(tree *load.Tree) string {
	repo, err := git.PlainOpenWithOptions(r.root, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return ""
	}
	head, err := repo.Head()
	if err != nil {
		return ""
	}
	commit, err := repo.CommitObject(head.Hash())
	if err != nil {
		return ""
	}
	committed, err := commit.Tree()
	if err != nil || !sameFiles(committed, tree) || !r.sameIgnoreFile(committed, tree.Path) || !r.complete(committed, tree.Path) {
		return ""
	}
	return head.Hash().String()
}

func sameFiles(committed *object.Tree, tree *load.Tree) bool {
	for name, f := range tree.Files {
		entry, err := committed.FindEntry(name)
		if err != nil || entry.Hash != plumbing.ComputeHash(plumbing.BlobObject, []byte(f.Data)) {
			return false
		}
	}
	return true
}

// sameIgnoreFile compares the file that decides which other files are read.
func (r *repository) sameIgnoreFile(committed *object.Tree, dir string) bool {
	name := path.Join(dir, load.IgnoreFile)
	data, err := fs.ReadFile(r.fs, name)
	f, missing := committed.File(name)
	if err != nil || missing != nil {
		return errors.Is(err, fs.ErrNotExist) && errors.Is(missing, object.ErrFileNotFound)
	}
	text, err := f.Contents()
	return err == nil && bytes.Equal(data, []byte(text))
}

// complete reports whether every committed file of the path exists in the work tree.
func (r *repository) complete(committed *object.Tree, dir string) bool {
	if dir != "." {
		below, err := committed.Tree(dir)
		if err != nil {
			return false
		}
		committed = below
	}
	walker := object.NewTreeWalker(committed, true, nil)
	defer walker.Close()
	for {
		name, entry, err := walker.Next()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if entry.Mode == filemode.Submodule {
			continue
		}
		if _, err := fs.Lstat(r.fs, path.Join(dir, name)); err != nil {
			return false
		}
	}
}
