package merge

import (
	"context"
	"io/fs"
	"path"
)

// Change is a file that differs between two trees.
type Change struct {
	Path string
	// Before and After report whether the file exists in each tree.
	Before, After bool
}

// Changes lists the files and links that differ between two trees, by path. Their entries must have the methods Hash and
// Mode, as for Trees, so that unchanged folders cost nothing.
func Changes(ctx context.Context, from, to fs.FS) ([]Change, error) {
	var changes []Change
	err := compare(ctx, from, to, ".", true, true, &changes)
	return changes, err
}

func compare(ctx context.Context, from, to fs.FS, dir string, inFrom, inTo bool, changes *[]Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := listIf(inFrom, from, dir)
	if err != nil {
		return err
	}
	after, err := listIf(inTo, to, dir)
	if err != nil {
		return err
	}
	for len(before)+len(after) > 0 { // both are sorted by name
		var old, now *entry
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Name() < after[0].Name():
			old, before = before[0], before[1:]
		case len(before) == 0 || after[0].Name() < before[0].Name():
			now, after = after[0], after[1:]
		default:
			old, now, before, after = before[0], after[0], before[1:], after[1:]
		}
		if same(old, now) {
			continue
		}
		name := path.Join(dir, nameOf(old, now))
		if old.file() != nil || now.file() != nil {
			*changes = append(*changes, Change{Path: name, Before: old.file() != nil, After: now.file() != nil})
		}
		if old.dir() || now.dir() {
			if err := compare(ctx, from, to, name, old.dir(), now.dir(), changes); err != nil {
				return err
			}
		}
	}
	return nil
}

func nameOf(old, now *entry) string {
	if old != nil {
		return old.Name()
	}
	return now.Name()
}

func listIf(exists bool, fsys fs.FS, dir string) ([]*entry, error) {
	if !exists {
		return nil, nil
	}
	return list(fsys, dir)
}
