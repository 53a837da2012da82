package gitsync

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// ReadPack returns commits from a pack that has all their files, such as git pack-objects writes. It holds the pack to the
// limits of a fetch, and shows the commits as Fetch would. The pack is kept in a temporary folder until all snapshots are
// closed.
func ReadPack(ctx context.Context, pack io.Reader, limits Limits, commits ...string) ([]*Snapshot, error) {
	dir, err := os.MkdirTemp("", "muster-pack-")
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	s, err := openStore(dir, nil, limits.withDefaults())
	if err != nil {
		return nil, err
	}
	defer s.release()
	s.retire()
	name, err := receivePack(ctx, pack, dir, s.limits, nil)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := s.addPack(name); err != nil {
			return nil, err
		}
	}
	snapshots := make([]*Snapshot, len(commits))
	for i, hash := range commits {
		c, err := s.load(ctx, plumbing.NewHash(hash))
		if err != nil {
			for _, opened := range snapshots[:i] {
				_ = opened.Close()
			}
			return nil, fmt.Errorf("read commit %s: %w", hash, err)
		}
		s.use()
		snapshots[i] = newSnapshot(Revision{Hash: hash}, time.Time{}, s, c)
	}
	return snapshots, nil
}
