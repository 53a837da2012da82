package main

import (
	"fmt"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/muster-gitops/muster/clusters/load"
)

// before returns a function that finds an earlier version of a file: the one in base or, without a base, the first one in
// HEAD or its first parent that differs from the file's present content. The function is nil where Git doesn't know the
// folder.
func (r *repository) before(base string) (func(name, data string) (string, bool), error) {
	repo, err := git.PlainOpenWithOptions(r.root, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		if base != "" {
			return nil, usagef("--base %s: %s is not a Git work tree", base, r.root)
		}
		return nil, nil
	}
	revisions := []plumbing.Revision{plumbing.Revision(base)}
	if base == "" {
		revisions = []plumbing.Revision{"HEAD", "HEAD~1"}
	}
	var commits []*object.Tree
	for _, revision := range revisions {
		tree, err := treeAt(repo, revision)
		if err != nil && base != "" {
			return nil, usagef("--base %s: no such commit in %s", base, r.root)
		}
		if err == nil {
			commits = append(commits, tree)
		}
	}
	return func(name, data string) (string, bool) {
		hash := plumbing.ComputeHash(plumbing.BlobObject, []byte(data))
		for _, tree := range commits {
			f, err := tree.File(name)
			if err != nil || f.Hash == hash || f.Size > load.DefaultLimits.FileBytes {
				continue
			}
			text, err := f.Contents()
			return text, err == nil
		}
		return "", false
	}, nil
}

func treeAt(repo *git.Repository, revision plumbing.Revision) (*object.Tree, error) {
	hash, err := repo.ResolveRevision(revision)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", revision, err)
	}
	commit, err := repo.CommitObject(*hash)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", revision, err)
	}
	return commit.Tree()
}
