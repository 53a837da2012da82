package gitsync

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// Reference is one ref of a remote.
type Reference struct {
	// Name is the full name, such as "refs/heads/main".
	Name string
	// Hash is the ref's hash. For an annotated tag that is the tag object.
	Hash string
	// Commit is Hash or, for an annotated tag, the object that it points at in the end.
	Commit string
}

// Refs are a remote's refs at one moment.
type Refs struct {
	// Head is the full name of the default branch. It is empty if the remote's HEAD is detached, or names a branch that does
	// not exist.
	Head string
	// All holds every ref that the remote shows, by name; on forges that includes pull requests.
	All []Reference

	headHash       string
	wantsAnyCommit bool // the server sends commits that no ref points at
	caps           *capability.List
}

// Lookup finds a ref by its full name.
func (r Refs) Lookup(name string) (Reference, bool) {
	i, found := slices.BinarySearchFunc(r.All, name, func(ref Reference, name string) int { return cmp.Compare(ref.Name, name) })
	if !found {
		return Reference{}, false
	}
	return r.All[i], true
}

// List reads the remote's refs in one request. It ignores the source's Ref. Its errors are those of Fetch.
func List(ctx context.Context, src Source) (Refs, error) {
	if err := src.Validate(); err != nil {
		return Refs{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, src.timeout())
	defer cancel()
	rem, err := connect(ctx, src, Limits{}.withDefaults())
	if err != nil {
		return Refs{}, err
	}
	defer rem.close()
	return rem.refs(ctx)
}

func refsFrom(adv *packp.AdvRefs) Refs {
	refs := Refs{
		All:  make([]Reference, 0, len(adv.References)),
		caps: adv.Capabilities,
		// A server that allows any commit, reachable or not, advertises this one too.
		wantsAnyCommit: adv.Capabilities.Supports(capability.AllowReachableSHA1InWant),
	}
	for name, hash := range adv.References {
		ref := Reference{Name: name, Hash: hash.String(), Commit: hash.String()}
		if peeled, ok := adv.Peeled[name]; ok {
			ref.Commit = peeled.String()
		}
		refs.All = append(refs.All, ref)
	}
	slices.SortFunc(refs.All, func(a, b Reference) int { return cmp.Compare(a.Name, b.Name) })
	if adv.Head != nil {
		refs.headHash = adv.Head.String()
	}
	for _, symref := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(symref, "HEAD:"); ok {
			if _, exists := refs.Lookup(target); exists {
				refs.Head = target
			}
		}
	}
	return refs
}

// target is a Ref resolved on one remote.
type target struct {
	label     string        // Revision.Ref
	commit    plumbing.Hash // the commit to fetch
	ways      []way         // how to request it, best first
	notFound  func() error  // the error if no way finds the commit; nil for refs
	kind      string        // for messages: "branch main"
	exclusive bool          // whether the commit must be found by these ways only
	ancestor  plumbing.Hash // the commit that it must descend from; zero for any
}

// way is one request for objects: what to want, and how much of the history. Without history, depth is how many generations
// are sent; 0 means only the wanted commits.
type way struct {
	wants   []plumbing.Hash
	history bool
	depth   int
}

// descendingFrom also requests the history if that is needed to find the other commit in it.
func (t target) descendingFrom(of plumbing.Hash) target {
	t.ancestor = of
	if of.IsZero() || of == t.commit {
		return t
	}
	t.ways = slices.Clone(t.ways)
	for i := range t.ways {
		t.ways[i].history = true
	}
	return t
}

// resolve finds what the ref selects. It is pure; url is only for errors.
func (r Refs) resolve(ref Ref, url string) (target, error) {
	switch {
	case ref.Commit != "":
		return r.resolveCommit(ref, url)
	case ref.Name != "":
		return r.resolveName(ref.Name, ref.Name, "ref", url)
	case ref.SemVer != "":
		return r.resolveVersion(ref.SemVer, url)
	case ref.Tag != "":
		return r.resolveName("refs/tags/"+ref.Tag, ref.Tag, "tag", url)
	case ref.Branch != "":
		return r.resolveName("refs/heads/"+ref.Branch, ref.Branch, "branch", url)
	default:
		return r.resolveHead(url)
	}
}

func (r Refs) resolveName(full, label, kind, url string) (target, error) {
	found, ok := r.Lookup(full)
	if !ok {
		return target{}, &RefNotFoundError{URL: url, Kind: kind, Name: label, Known: r.knownNames(kind)}
	}
	return targetOf(found, label, kind+" "+label), nil
}

func targetOf(ref Reference, label, kind string) target {
	// The ref's own hash is wanted, not the peeled one: by default servers send only the hashes of refs.
	return target{label: label, kind: kind, commit: plumbing.NewHash(ref.Commit), ways: []way{{wants: hashes(ref.Hash)}}}
}

func (r Refs) resolveHead(url string) (target, error) {
	if r.Head != "" {
		found, _ := r.Lookup(r.Head)
		label := strings.TrimPrefix(r.Head, "refs/heads/")
		return targetOf(found, label, "default branch "+label), nil
	}
	if r.headHash != "" {
		return targetOf(Reference{Hash: r.headHash, Commit: r.headHash}, "HEAD", "HEAD"), nil
	}
	return target{}, &RefNotFoundError{URL: url, Kind: "default branch", Known: r.knownNames("branch")}
}

// resolveVersion parses tags strictly, as Flux does: a tag such as 2024 isn't a version, or it would beat every v1.2.3.
func (r Refs) resolveVersion(constraint, url string) (target, error) {
	allowed, err := semver.NewConstraint(constraint)
	if err != nil {
		return target{}, &SourceError{Field: "ref.semver", Value: constraint, Problem: "is not a version constraint"}
	}
	var best Reference
	var bestVersion *semver.Version
	for _, ref := range r.All {
		tag, ok := strings.CutPrefix(ref.Name, "refs/tags/")
		if !ok {
			continue
		}
		version, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
		if err != nil || !allowed.Check(version) {
			continue
		}
		// Equal versions (v1.0.0 and 1.0.0, or other build metadata) are sorted by name, so that the choice is stable.
		if bestVersion == nil || !version.LessThan(bestVersion) {
			best, bestVersion = ref, version
		}
	}
	if bestVersion == nil {
		return target{}, &RefNotFoundError{URL: url, Kind: "version", Name: constraint, Known: r.knownNames("version")}
	}
	tag := strings.TrimPrefix(best.Name, "refs/tags/")
	return targetOf(best, tag, "tag "+tag), nil
}

// resolveCommit handles three kinds of servers: a ref points at the commit, the server sends any commit by its hash, or the
// commit must be found in the history.
func (r Refs) resolveCommit(ref Ref, url string) (target, error) {
	t := target{commit: plumbing.NewHash(ref.Commit), kind: "commit " + ref.Commit}
	known := []string(nil)
	tips := r.tips()
	within := ref.Name+ref.Tag+ref.Branch != ""
	if within {
		tip, err := r.resolve(Ref{Name: ref.Name, Tag: ref.Tag, Branch: ref.Branch}, url)
		if err != nil {
			return target{}, err
		}
		t.label, tips, known = tip.label, tip.ways[0].wants, []string{tip.kind}
		if tip.commit == t.commit {
			t.ways = tip.ways
			return t, nil
		}
	}
	t.notFound = func() error {
		return &RefNotFoundError{URL: url, Kind: "commit", Name: ref.Commit, Known: known}
	}
	if within { // only the history of that ref, so that the commit is on it
		t.ways, t.exclusive = []way{{wants: tips, history: true}}, true
		return t, nil
	}
	for _, held := range r.All {
		if held.Commit == ref.Commit {
			t.ways = []way{{wants: hashes(held.Hash)}}
			return t, nil
		}
	}
	if r.wantsAnyCommit {
		t.ways = append(t.ways, way{wants: hashes(ref.Commit)})
	}
	if len(tips) > 0 {
		t.ways = append(t.ways, way{wants: tips, history: true})
	}
	if len(t.ways) == 0 {
		return target{}, t.notFound()
	}
	return t, nil
}

// tips are the hashes of branches and tags. Pull requests are left out: their history isn't the project's.
func (r Refs) tips() []plumbing.Hash {
	var all []plumbing.Hash
	for _, ref := range r.All {
		if strings.HasPrefix(ref.Name, "refs/heads/") || strings.HasPrefix(ref.Name, "refs/tags/") {
			all = append(all, plumbing.NewHash(ref.Hash))
		}
	}
	return all
}

// maxKnown keeps the list of existing names short enough for a message.
const maxKnown = 10

// knownNames lists a few names of a kind, for a user who asked for one that doesn't exist.
func (r Refs) knownNames(kind string) []string {
	prefix := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/", "version": "refs/tags/", "ref": "refs/"}[kind]
	var names []string
	for _, ref := range r.All {
		name, ok := strings.CutPrefix(ref.Name, prefix)
		if !ok {
			continue
		}
		if kind == "ref" {
			name = ref.Name
		}
		names = append(names, tidy(name))
	}
	if kind == "version" || kind == "tag" {
		// The last ones by name are more likely to be meant than the first.
		slices.Reverse(names)
	}
	return names[:min(len(names), maxKnown)]
}

func hashes(hex ...string) []plumbing.Hash {
	all := make([]plumbing.Hash, len(hex))
	for i, h := range hex {
		all[i] = plumbing.NewHash(h)
	}
	return all
}
