// Package merge merges the trees of two branches in memory, as Git would, without a work tree or an index.
//
// Trees compares entries by their hashes, so its cost depends on what has changed and not on the size of the trees. Where
// both sides changed a text, it merges the lines. The result is a file system over the three trees: unchanged folders and
// files are those of the given trees, with their hashes.
//
// Git also follows renames. Trees doesn't: a file that one side renamed and the other changed is a conflict here.
// TestAsGitDoes compares both without renames: where both are clean, the trees are equal, and few merges are clean in one only,
// where lines repeat.
package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Reason is why a file can't be merged.
type Reason string

// The reasons of conflicts.
const (
	Content  Reason = "both sides changed the same lines"
	Added    Reason = "both sides added it with different content"
	Deleted  Reason = "one side removed or renamed it, and the other changed it"
	Kind     Reason = "it is a file on one side and a folder or a link on the other"
	Binary   Reason = "both sides changed it, and it is not text"
	TooLarge Reason = "both sides changed it, and it is too large to merge"
)

// Conflict is a file that can't be merged.
type Conflict struct {
	Path   string
	Reason Reason
}

// Result is the merge of two trees.
type Result struct {
	// FS is the merged tree. It is nil if there are conflicts. Its entries have the methods Hash and Mode, too. It can be
	// read as long as the given trees can.
	FS fs.FS
	// Conflicts are sorted by path.
	Conflicts []Conflict
}

// Trees merges two trees whose common ancestor is base. The entries of all three must have the methods Hash and Mode,
// as those of a gitsync.Snapshot do. A conflict is not an error.
func Trees(ctx context.Context, base, ours, theirs fs.FS) (*Result, error) {
	m := &merger{base: base, ours: ours, theirs: theirs, lines: maxLinesTotal}
	children, err := m.folder(ctx, ".", true, true, true)
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	if len(m.conflicts) > 0 {
		slices.SortFunc(m.conflicts, func(a, b Conflict) int { return cmp.Compare(a.Path, b.Path) })
		return &Result{Conflicts: m.conflicts}, nil
	}
	return &Result{FS: m.tree(children)}, nil
}

// tree is the file system with these entries.
func (m *merger) tree(children []*node) *FS {
	f := &FS{ours: m.ours, theirs: m.theirs}
	f.root = m.dir(".", children)
	return f
}

// dir is a folder that has entries of several trees.
func (m *merger) dir(name string, children []*node) *node {
	omitted := omittedIn(name, m.ours, m.theirs)
	return &node{name: path.Base(name), path: name, mode: fs.ModeDir | 0o555, children: children, omitted: omitted, hash: treeHash(children, omitted), merged: true}
}

type merger struct {
	base, ours, theirs fs.FS
	conflicts          []Conflict
	lines              int // how many lines may still be merged
}

// entry is an entry of one of the trees; nil if that tree has none of the name.
type entry struct {
	fs.DirEntry
	from fs.FS
	hash string
	mode fs.FileMode
}

func (e *entry) dir() bool { return e != nil && e.IsDir() }

// file returns the entry unless it is a folder.
func (e *entry) file() *entry {
	if e.dir() {
		return nil
	}
	return e
}

func same(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.hash == b.hash && a.mode == b.mode
}

// folder merges a folder that exists in at least one of the trees.
func (m *merger) folder(ctx context.Context, dir string, inBase, inOurs, inTheirs bool) ([]*node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names := map[string][3]*entry{}
	for i, tree := range []struct {
		fs fs.FS
		in bool
	}{{m.base, inBase}, {m.ours, inOurs}, {m.theirs, inTheirs}} {
		if !tree.in {
			continue
		}
		list, err := list(tree.fs, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			sides := names[e.Name()]
			sides[i] = e
			names[e.Name()] = sides
		}
	}
	var children []*node
	for name, sides := range names {
		child, err := m.entry(ctx, path.Join(dir, name), sides[0], sides[1], sides[2])
		if err != nil {
			return nil, err
		}
		if child != nil {
			children = append(children, child)
		}
	}
	slices.SortFunc(children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return children, nil
}

// entry merges all that has one name. It returns nil if nothing is left of it.
func (m *merger) entry(ctx context.Context, name string, base, ours, theirs *entry) (*node, error) {
	switch {
	case same(ours, theirs), same(base, theirs):
		return nodeOf(name, ours)
	case same(base, ours):
		return nodeOf(name, theirs)
	}
	before := len(m.conflicts)
	file, err := m.file(name, base.file(), ours.file(), theirs.file())
	if err != nil || !ours.dir() && !theirs.dir() {
		return file, err
	}
	children, err := m.folder(ctx, name, base.dir(), ours.dir(), theirs.dir())
	switch {
	case err != nil:
		return nil, err
	case file != nil && len(children) > 0:
		m.conflicts = append(m.conflicts[:before], Conflict{name, Kind})
		return nil, nil
	case len(children) == 0:
		return file, nil
	}
	return m.dir(name, children), nil
}

// file merges a file or link. It returns nil if it is removed.
func (m *merger) file(name string, base, ours, theirs *entry) (*node, error) {
	conflict := func(reason Reason) (*node, error) {
		m.conflicts = append(m.conflicts, Conflict{name, reason})
		return nodeOf(name, ours)
	}
	switch {
	case same(ours, theirs), same(base, theirs):
		return nodeOf(name, ours)
	case same(base, ours):
		return nodeOf(name, theirs)
	case ours == nil || theirs == nil:
		return conflict(Deleted)
	case ours.mode.Type() != theirs.mode.Type():
		return conflict(Kind)
	case base == nil:
		return conflict(Added)
	case !ours.mode.IsRegular() || !base.mode.IsRegular():
		return conflict(Content)
	}
	mode := ours.mode
	if ours.mode == base.mode {
		mode = theirs.mode // Git has one permission bit, so two changes of it are the same
	}
	from := ours
	if ours.hash == base.hash {
		from = theirs
	}
	if ours.hash != base.hash && theirs.hash != base.hash && ours.hash != theirs.hash {
		from = nil
	}
	content, reason, err := m.text(name, from)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return conflict(reason)
	}
	return &node{name: path.Base(name), path: name, mode: mode, hash: blobHash(content), content: content, merged: true}, nil
}

// list reads a folder.
func list(fsys fs.FS, dir string) ([]*entry, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	list := make([]*entry, len(entries))
	for i, e := range entries {
		if list[i], err = entryOf(fsys, dir, e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// errNoHash reports a tree whose entries can't be compared without reading them.
var errNoHash = errors.New("the entries of the tree have no hashes")

func entryOf(fsys fs.FS, dir string, e fs.DirEntry) (*entry, error) {
	hashed, ok := e.(interface {
		Hash() string
		Mode() fs.FileMode
	})
	if !ok {
		return nil, &fs.PathError{Op: "merge", Path: path.Join(dir, e.Name()), Err: errNoHash}
	}
	return &entry{DirEntry: e, from: fsys, hash: hashed.Hash(), mode: hashed.Mode()}, nil
}
