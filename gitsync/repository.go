package gitsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A store is replaced by a fresh clone when it has become this much larger than necessary.
const (
	// defaultMaxPacks is how many fetches a store holds. Each keeps a file open and adds objects of outdated commits.
	defaultMaxPacks = 32
	// growthFloor is how much a store may always grow, for each Ref. Beyond it, a store may double.
	growthFloor = 32 << 20
)

// Repository is the cache of one remote repository on disk, for all its refs. It is safe for concurrent use. Fetches wait
// for each other; reading snapshots waits for none of them. Only one Repository of one process may use the folder at a time.
type Repository struct {
	dir      string
	limits   Limits
	maxPacks int
	depths   []int // of history, see compare
	now      func() time.Time

	// turn is held by the running Fetch. It is a channel, so that waiting ends with the context.
	turn chan struct{}

	// The holder of turn owns the following fields.
	state   state
	store   *store // nil if there is no cache yet
	commits map[plumbing.Hash]*commit
	// answers are what the remote last said about each Ref.
	answers map[Ref]answer
	// unlisted is the answer of a remote that has not listed its refs when it was last asked, and so the answer about all of them.
	unlisted answer
	// within is the commit that was last found in a ref's history, by the ref's label.
	within map[string]string
	// strangers are the commits that were found not to descend from others, so that no history is fetched twice for it.
	strangers map[lineage]bool
	closed    bool
}

// Option changes how a Repository works.
type Option func(*Repository)

// WithLimits sets what a repository may cost. Fields left zero keep their defaults.
func WithLimits(l Limits) Option { return func(r *Repository) { r.limits = l.withDefaults() } }

// WithClock sets the clock of Source.ListedSince and Snapshot.Listed. The default is time.Now.
func WithClock(now func() time.Time) Option { return func(r *Repository) { r.now = now } }

// Open opens the cache in dir and creates it if necessary. It removes leftovers of a killed process, and ignores a cache
// that can't be read. Other files in dir are left alone.
func Open(dir string, opts ...Option) (*Repository, error) {
	r := &Repository{
		dir: dir, limits: Limits{}.withDefaults(), maxPacks: defaultMaxPacks, depths: depths, now: time.Now,
		turn: make(chan struct{}, 1), commits: map[plumbing.Hash]*commit{}, answers: map[Ref]answer{}, strangers: map[lineage]bool{},
	}
	for _, opt := range opts {
		opt(r)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if st := readState(dir); st.Store != "" {
		if s, err := openStore(filepath.Join(dir, st.Store), st.Packs, r.limits); err == nil {
			r.state, r.store = st, s
		}
	}
	if err := sweep(dir, r.state); err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the Repository's files. The cache stays on disk, and open snapshots stay readable.
func (r *Repository) Close() error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.store != nil && !r.closed {
		r.store.release()
	}
	r.closed = true
	return nil
}

// Fetch returns the commit that the source selects on the remote now. It makes one request if the cache has that commit
// already, and none for a Ref with a Commit that is in the cache, or with a listing that is recent enough for the source. The caller closes the Snapshot. After an error the cache
// and earlier snapshots are unchanged.
//
// The error is a *SourceError or *SecretError for a source that can't work, a *RefNotFoundError or *NotACommitError for one
// that selects something that doesn't exist, a *NotDescendantError, a *RemoteError for a remote that can't be read, a
// *LimitError for a repository that is too large, context.Canceled, or an error of the local disk.
func (r *Repository) Fetch(ctx context.Context, src Source) (*Snapshot, error) {
	if err := src.Validate(); err != nil {
		return nil, err
	}
	release, err := r.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	u, err := parseURL(src.URL, src.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	url := displayURL(u)
	timed, cancel := context.WithTimeout(ctx, src.timeout())
	defer cancel()
	snapshot, err := r.fetch(timed, src, url)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if _, ok := errors.AsType[*RemoteError](err); !ok {
			err = &RemoteError{URL: url, Reason: TimedOut, Detail: "while storing the answer", Err: err}
		}
	}
	return snapshot, err
}

// take waits for the turn.
func (r *Repository) take(ctx context.Context) (release func(), err error) {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.closed {
		<-r.turn
		return nil, fmt.Errorf("fetch: the cache %s is closed: %w", r.dir, os.ErrClosed)
	}
	return func() { <-r.turn }, nil
}

func (r *Repository) fetch(ctx context.Context, src Source, url string) (*Snapshot, error) {
	if label := commitLabel(src.Ref); src.Ref.Commit != "" && (label == "" || r.within[label] == src.Ref.Commit) {
		hash := plumbing.NewHash(src.Ref.Commit)
		if c := r.held(ctx, url, hash); c != nil && r.descends(ctx, hash, plumbing.NewHash(src.DescendantOf)) {
			return r.snapshot(label, r.now(), c), nil
		}
	}
	if snapshot, err := r.answered(ctx, src, url); snapshot != nil || err != nil {
		return snapshot, err
	}
	a := answer{url: url, at: r.now(), way: src.asked()}
	snapshot, err := r.ask(ctx, src, &a)
	if _, remote := errors.AsType[*RemoteError](err); remote {
		a.err = err
	}
	if err == nil || a.err != nil {
		r.remember(src.Ref, a)
	}
	return snapshot, err
}

// ask fetches from the remote, and records its answer.
func (r *Repository) ask(ctx context.Context, src Source, a *answer) (*Snapshot, error) {
	rem, err := connect(ctx, src, r.limits)
	if err != nil {
		return nil, err
	}
	defer rem.close()
	refs, err := rem.refs(ctx)
	if err != nil {
		return nil, err
	}
	a.listed = true
	url := a.url
	t, err := refs.resolve(src.Ref, url)
	if err != nil {
		return nil, err
	}
	a.target = t
	refs.All = nil // there may be hundreds of thousands, and the download may take a long time
	t = t.descendingFrom(plumbing.NewHash(src.DescendantOf))
	notDescendant := &NotDescendantError{URL: url, Revision: Revision{Ref: t.label, Hash: t.commit.String()}, Of: src.DescendantOf}
	if r.strangers[lineage{commit: t.commit, of: t.ancestor}] {
		return nil, notDescendant
	}
	var c *commit
	if !t.exclusive && r.descends(ctx, t.commit, t.ancestor) {
		c = r.held(ctx, url, t.commit)
	}
	if c == nil {
		if c, err = r.download(ctx, rem, refs, t); err != nil {
			return nil, err
		}
		if !r.descends(ctx, t.commit, t.ancestor) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if len(r.strangers) >= maxAnswers {
				clear(r.strangers)
			}
			r.strangers[lineage{commit: t.commit, of: t.ancestor}] = true
			return nil, notDescendant
		}
	}
	if src.Ref.Commit != "" {
		r.within = map[string]string{t.label: src.Ref.Commit}
	}
	return r.snapshot(t.label, a.at, c), nil
}

// commitLabel is the label that resolve gives to a commit, without asking the remote.
func commitLabel(ref Ref) string {
	switch {
	case ref.Name != "":
		return ref.Name
	case ref.Tag != "":
		return ref.Tag
	default:
		return ref.Branch
	}
}

// held returns the commit if the store has all of it. After Open, that is checked here once.
func (r *Repository) held(ctx context.Context, url string, hash plumbing.Hash) *commit {
	if !r.usable(url) {
		return nil
	}
	if c := r.commits[hash]; c != nil {
		return c
	}
	if !slices.Contains(r.state.Commits, hash.String()) {
		return nil
	}
	c, err := r.store.load(ctx, hash)
	if err != nil {
		return nil
	}
	r.commits[hash] = c
	return c
}

func (r *Repository) usable(url string) bool {
	return r.store != nil && r.state.URL == url && !r.store.damaged.Load()
}

// download brings the commit into the cache: into the current store if possible, into a new one otherwise.
func (r *Repository) download(ctx context.Context, rem *remote, refs Refs, t target) (*commit, error) {
	if have := r.usableFor(t); len(have) > 0 && r.usable(rem.url) && !r.overgrown() {
		c, err := r.extend(ctx, rem, refs, t, have)
		if err == nil || !worthCloning(err) {
			return c, err
		}
	}
	return r.clone(ctx, rem, refs, t)
}

// usableFor lists the commits of the store that the server may build on. For a history it is the commit where that ends: the
// ancestors of any other one would be left out of it.
func (r *Repository) usableFor(t target) []plumbing.Hash {
	switch {
	case !t.ways[0].history:
		return hashes(r.state.Commits...)
	case !t.exclusive && slices.Contains(r.state.Commits, t.ancestor.String()):
		return []plumbing.Hash{t.ancestor}
	}
	return nil
}

// overgrown reports whether the store holds too many outdated objects. Each Ref that is followed has some that are not: if they didn't
// fit, each fresh clone would drop what the others need, and they would have it cloned again.
func (r *Repository) overgrown() bool {
	names, bytes := r.store.packNames()
	refs := max(len(r.answers), 1)
	return len(names) >= r.maxPacks+refs-1 || bytes-r.state.FirstBytes > max(r.state.FirstBytes, growthFloor)*int64(refs)
}

// worthCloning reports whether a fresh clone might succeed after adding to the store failed. That is so for every error that
// the store may have caused, including a confused server.
func worthCloning(err error) bool {
	var remoteErr *RemoteError
	var limitErr *LimitError
	var notCommit *NotACommitError
	switch {
	case errors.As(err, &remoteErr):
		return remoteErr.Reason == Refused || remoteErr.Reason == Protocol || remoteErr.Reason == ServerFailed && remoteErr.Status == 0
	case errors.As(err, &limitErr), errors.As(err, &notCommit), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}

// extend adds the commit to the current store, and requests only the missing objects.
func (r *Repository) extend(ctx context.Context, rem *remote, refs Refs, t target, have []plumbing.Hash) (*commit, error) {
	if err := receive(ctx, rem, refs, t.ways[0], have, r.store); err != nil {
		return nil, err
	}
	c, err := loadTarget(ctx, r.store, rem.url, t)
	if err != nil {
		return nil, err
	}
	next := r.state
	next.Packs, _ = r.store.packNames()
	if !slices.Contains(next.Commits, t.commit.String()) {
		next.Commits = append(slices.Clone(next.Commits), t.commit.String())
	}
	if err := writeState(r.dir, next); err != nil {
		return nil, err
	}
	r.state, r.commits[t.commit] = next, c
	return c, nil
}

// clone fetches the commit into a new store, and makes that the current one once it is complete.
func (r *Repository) clone(ctx context.Context, rem *remote, refs Refs, t target) (*commit, error) {
	dir, err := os.MkdirTemp(r.dir, storePrefix)
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	fresh, err := openStore(dir, nil, r.limits)
	if err != nil {
		return nil, err
	}
	c, err := r.fill(ctx, fresh, rem, refs, t)
	if err == nil {
		next := state{URL: rem.url, Store: filepath.Base(dir), Commits: []string{t.commit.String()}}
		next.Packs, next.FirstBytes = fresh.packNames()
		if err = writeState(r.dir, next); err == nil {
			r.swap(fresh, next)
			r.commits[t.commit] = c
			return c, nil
		}
	}
	fresh.retire()
	fresh.release()
	return nil, err
}

func (r *Repository) swap(fresh *store, next state) {
	if r.store != nil {
		r.store.retire()
		r.store.release()
	}
	r.store, r.state, r.commits = fresh, next, map[plumbing.Hash]*commit{}
}

// fill tries the ways to the commit in turn. It continues with the next one only if the server refuses.
func (r *Repository) fill(ctx context.Context, fresh *store, rem *remote, refs Refs, t target) (*commit, error) {
	var err error
	for _, w := range t.ways {
		if err = receive(ctx, rem, refs, w, nil, fresh); err == nil {
			c, err := loadTarget(ctx, fresh, rem.url, t)
			if damage, ok := errors.AsType[*CorruptError](err); ok {
				// Not damage to the cache, which is new: the server did not send what it announced.
				return nil, rem.fail(ctx, fmt.Errorf("object %s of %s is missing or wrong: %w", damage.Object, t.kind, damage))
			}
			return c, err
		}
		var refusal *RemoteError
		if !errors.As(err, &refusal) || refusal.Reason != Refused {
			return nil, err
		}
	}
	return nil, err
}

func receive(ctx context.Context, rem *remote, refs Refs, w way, have []plumbing.Hash, into *store) error {
	var name string
	err := rem.objects(ctx, refs, w, have, func(pack io.Reader) (err error) {
		name, err = receivePack(ctx, pack, into.dir, into.limits, into.base)
		return err
	})
	if err != nil {
		return err
	}
	known, _ := into.packNames()
	if name == "" || slices.Contains(known, name) {
		return nil
	}
	return into.addPack(name)
}

// loadTarget verifies that the store has the requested commit: its content has the hash, or the server did not send it.
func loadTarget(ctx context.Context, s *store, url string, t target) (*commit, error) {
	if t.notFound != nil && !s.has(t.commit) {
		return nil, t.notFound()
	}
	c, err := s.load(ctx, t.commit)
	if other, ok := errors.AsType[notCommitError](err); ok {
		return nil, &NotACommitError{URL: url, Ref: t.kind, Hash: t.commit.String(), Type: other.kind.String()}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", t.kind, url, err)
	}
	return c, nil
}

// snapshot returns a handle that keeps the store's files until it is closed.
func (r *Repository) snapshot(label string, listed time.Time, c *commit) *Snapshot {
	r.store.use()
	return newSnapshot(Revision{Ref: label, Hash: c.info.Hash}, listed, r.store, c)
}
