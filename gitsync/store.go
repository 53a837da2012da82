package gitsync

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // Git names its objects by it
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// store is one generation of the cache: a folder of packs, and the complete commits in them. Packs are only ever added. It
// is safe for concurrent use.
//
// It is closed when its last user releases it: the Repository, while the store is the current one, and every open Snapshot.
type store struct {
	dir    string
	limits Limits

	mu      sync.Mutex
	packs   []*pack
	objects *cache.ObjectLRU
	sizes   map[plumbing.Hash]int64
	users   int
	retired bool // remove the folder with the last user

	// trees lets commits share common folders. Only load uses it, which a Repository never calls concurrently; snapshots
	// reach trees through their commit.
	trees map[plumbing.Hash]*tree

	damaged atomic.Bool // an object could not be read, so the store must be replaced
}

// openStore opens the named packs in dir. The caller is its first user.
func openStore(dir string, names []string, limits Limits) (*store, error) {
	s := &store{
		dir: dir, limits: limits, users: 1,
		objects: cache.NewObjectLRU(cache.FileSize(limits.CacheBytes)),
		sizes:   map[plumbing.Hash]int64{}, trees: map[plumbing.Hash]*tree{},
	}
	for _, name := range names {
		if err := s.addPack(name); err != nil {
			s.release()
			return nil, fmt.Errorf("open pack %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *store) addPack(name string) error {
	p, err := openPack(s.dir, name, s.objects)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packs = append(s.packs, p)
	return nil
}

func (s *store) packNames() (names []string, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.packs {
		names = append(names, p.name)
		bytes += p.bytes
	}
	return names, bytes
}

func (s *store) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

// retire marks the store's folder for removal after its last use. The caller must still release it.
func (s *store) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

func (s *store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	for _, p := range s.packs {
		_ = p.file.Close()
	}
	if s.retired {
		// Open removes the remaining files.
		_ = os.RemoveAll(s.dir)
	}
}

// find looks for the pack that has an object.
func (s *store) find(hash plumbing.Hash) *pack {
	s.mu.Lock()
	packs := s.packs
	s.mu.Unlock()
	for _, p := range slices.Backward(packs) {
		if found, err := p.index.Contains(hash); err == nil && found {
			return p
		}
	}
	return nil
}

func (s *store) has(hash plumbing.Hash) bool { return s.find(hash) != nil }

// errMissing is the cause for an object that should be in the store but isn't.
var errMissing = errors.New("not in the cache")

func (s *store) size(hash plumbing.Hash) (int64, error) {
	s.mu.Lock()
	size, known := s.sizes[hash]
	s.mu.Unlock()
	if known {
		return size, nil
	}
	p := s.find(hash)
	if p == nil {
		return 0, s.corrupt(hash, errMissing)
	}
	size, err := p.size(hash)
	if err != nil {
		return 0, s.corrupt(hash, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[hash] = size
	return size, nil
}

// read returns an object's content after comparing it with its hash, so that damage on disk is detected.
func (s *store) read(want plumbing.ObjectType, hash plumbing.Hash) ([]byte, error) {
	kind, content, err := s.readAny(hash)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, s.corrupt(hash, fmt.Errorf("it is a %s, not a %s", kind, want))
	}
	return content, nil
}

// objectHash is the hash of an object. It detects damage on disk. It needn't detect collisions: packs are indexed with a
// hash that does, which takes several times as long, so a colliding object is not found under the hash.
func objectHash(kind plumbing.ObjectType, content []byte) (hash plumbing.Hash) {
	h := sha1.New() //nolint:gosec // Git's
	fmt.Fprintf(h, "%s %d\x00", kind, len(content))
	h.Write(content)
	h.Sum(hash[:0])
	return hash
}

func (s *store) readAny(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	size, err := s.size(hash)
	if err != nil {
		return 0, nil, err
	}
	if size > s.limits.ObjectBytes {
		return 0, nil, &LimitError{What: "object", Name: hash.String(), Limit: s.limits.ObjectBytes, Got: size}
	}
	p := s.find(hash)
	if p == nil {
		return 0, nil, s.corrupt(hash, errMissing)
	}
	kind, content, err := p.read(hash)
	if err != nil {
		return 0, nil, s.corrupt(hash, err)
	}
	if objectHash(kind, content) != hash {
		return 0, nil, s.corrupt(hash, errors.New("the content does not have this hash"))
	}
	return kind, content, nil
}

// base is a baseFunc.
func (s *store) base(hash plumbing.Hash) (plumbing.ObjectType, []byte, bool, error) {
	if !s.has(hash) {
		return 0, nil, false, nil
	}
	kind, content, err := s.readAny(hash)
	return kind, content, true, err
}

func (s *store) corrupt(hash plumbing.Hash, err error) error {
	s.damaged.Store(true)
	return &CorruptError{Object: hash.String(), Err: err}
}

// commit is a commit with all of its files in the store.
type commit struct {
	info Commit
	root *tree
}

// notCommitError is the cause for an object that exists but isn't a commit.
type notCommitError struct{ kind plumbing.ObjectType }

func (e notCommitError) Error() string { return "it is a " + e.kind.String() }

// load reads a commit and all its folders, and checks that every file exists: a Snapshot is always complete. The folders
// stay in memory, some 100 bytes for each file.
func (s *store) load(ctx context.Context, hash plumbing.Hash) (*commit, error) {
	kind, content, err := s.readAny(hash)
	if err != nil {
		return nil, err
	}
	if kind != plumbing.CommitObject {
		return nil, notCommitError{kind}
	}
	if size := int64(len(content)); size > maxCommit {
		return nil, &LimitError{What: "commit", Name: hash.String(), Limit: maxCommit, Got: size}
	}
	if header, _, _ := bytes.Cut(content, []byte("\n\n")); len(header) > maxCommitHeader {
		return nil, &LimitError{What: "commit header", Name: hash.String(), Limit: maxCommitHeader, Got: int64(len(header))}
	}
	obj := &plumbing.MemoryObject{}
	obj.SetType(plumbing.CommitObject)
	_, _ = obj.Write(content)
	var decoded object.Commit
	if err := decoded.Decode(obj); err != nil {
		return nil, s.corrupt(hash, err)
	}
	info, err := commitInfo(&decoded)
	if err != nil {
		return nil, s.corrupt(hash, err)
	}
	root, err := s.loadTree(ctx, decoded.TreeHash, 0)
	if err != nil {
		return nil, err
	}
	return &commit{info: info, root: root}, nil
}

// loadTree loads each folder once, however often it is repeated, but counts the files of each repetition: a tree of a dozen
// objects can expand to billions.
func (s *store) loadTree(ctx context.Context, hash plumbing.Hash, depth int) (*tree, error) {
	known := s.trees[hash]
	if known != nil && depth+known.height <= maxTreeDepth {
		return known, nil
	}
	if known != nil || depth > maxTreeDepth {
		return nil, &LimitError{What: "depth of folders", Limit: maxTreeDepth, Got: int64(maxTreeDepth) + 1}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, err := s.read(plumbing.TreeObject, hash)
	if err != nil {
		return nil, err
	}
	t, err := parseTree(content, s.limits.Files)
	if _, large := errors.AsType[*LimitError](err); large {
		return nil, err
	}
	if err != nil {
		return nil, s.corrupt(hash, err)
	}
	t.hash = hash
	for i := range t.entries {
		if err := s.loadEntry(ctx, t, &t.entries[i], depth); err != nil {
			return nil, err
		}
	}
	s.trees[hash] = t
	return t, nil
}

func (s *store) loadEntry(ctx context.Context, t *tree, e *entry, depth int) error {
	switch {
	case e.mode.IsDir():
		below, err := s.loadTree(ctx, e.hash, depth+1)
		if err != nil {
			return err
		}
		e.dir = below
		t.files = saturatingAdd(t.files, below.files)
		t.all = saturatingAdd(t.all, below.all)
		t.height = max(t.height, below.height+1)
		t.longest = max(t.longest, len(e.name)+len("/")+below.longest)
	case isSubmodule(e.mode):
		t.files = saturatingAdd(t.files, 1)
	default:
		if !s.has(e.hash) {
			return s.corrupt(e.hash, errMissing)
		}
		t.files = saturatingAdd(t.files, 1)
	}
	if t.longest = max(t.longest, len(e.name)); t.longest > maxPath {
		return &LimitError{What: "length of a path", Limit: maxPath, Got: int64(t.longest)}
	}
	if t.all = saturatingAdd(t.all, 1); t.all > s.limits.Files {
		return tooManyFiles(t.all, s.limits.Files)
	}
	return nil
}

func saturatingAdd(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
