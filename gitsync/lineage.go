package gitsync

import (
	"bytes"
	"context"

	"github.com/go-git/go-git/v5/plumbing"
)

// lineage is a commit and one that it does not descend from.
type lineage struct{ commit, of plumbing.Hash }

// descends reports whether the store proves that a commit is the other one or has it in its history. A commit contains the
// hashes of its parents, so no server can forge a history. Every commit descends from the zero hash.
func (r *Repository) descends(ctx context.Context, commit, of plumbing.Hash) bool {
	return of.IsZero() || commit == of || r.store != nil && r.store.descends(ctx, commit, of)
}

func (s *store) descends(ctx context.Context, commit, of plumbing.Hash) bool {
	seen := map[plumbing.Hash]bool{commit: true}
	for next := []plumbing.Hash{commit}; len(next) > 0; {
		hash := next[0]
		next = next[1:]
		// Where the store's history ends, the parents are missing.
		if ctx.Err() != nil || !s.has(hash) {
			continue
		}
		for _, parent := range s.parents(hash) {
			if parent == of {
				return true
			}
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	return false
}

// parents reads what Git reads: the lines after the tree's. It is empty for a commit that can't be read, which then proves
// nothing.
func (s *store) parents(hash plumbing.Hash) []plumbing.Hash {
	kind, content, err := s.readAny(hash)
	if err != nil || kind != plumbing.CommitObject {
		return nil
	}
	_, rest, _ := bytes.Cut(content, []byte("\n"))
	var parents []plumbing.Hash
	for {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		parent, found := bytes.CutPrefix(line, []byte("parent "))
		if !found || !plumbing.IsHash(string(parent)) {
			return parents
		}
		parents, rest = append(parents, plumbing.NewHash(string(parent))), after
	}
}
