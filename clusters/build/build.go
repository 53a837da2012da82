// Package build runs kustomize over a sealed tree.
//
// Build gives what `kustomize build` gives for the same files, with two differences: cluster files that the kustomization
// does not list are taken too, and one that kustomize can't build is left out with a finding instead of failing the rest.
// (buildMetadata's transformerAnnotations list the steps that Muster has kustomize take, which may be fewer or more.)
// kustomize works in memory on the sealed files alone, so its errors and its output hold no secret, and there is nothing
// for it to fetch or run.
//
// The one exception are generators that take their content from encrypted files: kustomize needs it for the hash in a Secret's
// name. These files are opened first, and what they hold (Result.Opened) is in the result. What kustomize says is masked, and
// kustomizations that copy values from one object to another are refused beside them.
//
// kustomize takes time that grows with the square of the number of resources in one build, and fails as a whole. Cluster
// files are therefore built in units of some tens, each through the same kustomizations; a unit that fails is halved until
// the culprit is found. Clusters that a patch may mean by one name are built together. A tree whose kustomizations do
// something across resources (Result.Whole) is built in one piece.
package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Codes of this package's findings.
const (
	CodeBuild       finding.Code = "kustomize"       // kustomize can't build a file or the tree
	CodePatchTarget finding.Code = "patch-target"    // a patch names a cluster that is not there
	CodeGenerator   finding.Code = "generator-input" // a generator's encrypted input was not opened
	CodeEnvironment finding.Code = "environment"     // a generator's input that refers to the environment
	CodeDropped     finding.Code = "dropped"         // an object that kustomize leaves out
)

// unitSize is how many cluster files are built together. Below ten the fixed cost of a build shows, above a few hundred its
// quadratic part; a unit that fails costs its own size times the logarithm of it.
const unitSize = 50

// maxProbes is how many builds of a whole tree may be spent on looking for files that can't be built. It finds three or four
// among thousands; more than that is a case for people.
const maxProbes = 64

// Resource is one object that kustomize made. It is not to be changed: the next Result may hold it as well.
type Resource struct {
	Object map[string]any
	// Path is the file it comes from, and Document the place in it. For a generated object it is the kustomization.
	Path      string
	Document  int
	Generated bool
}

// Result is a built tree.
type Result struct {
	Sealed *seal.Tree
	finding.Report
	Resources []*Resource
	// Whole says why the tree was built in one piece; empty when it was built in units.
	Whole string
	// Opened are the plain values that generators took from encrypted files. They are in Resources, and must be masked. Masks knows them.
	Opened []string
	Masks  *redact.Redactor

	// keyed says that generators take encrypted files, so that the result depends on the keys given.
	keyed bool
	base  stored            // what is no cluster
	files map[string]stored // the cluster files, by path
}

// Opener opens a file that a generator takes as input.
type Opener interface {
	Open(context.Context, *load.File) (*seal.Plain, *finding.Finding)
}

// Build builds a sealed tree; a stopped one gives no resources. The opener, which may be nil, is used for the encrypted inputs
// of generators only: kustomize names a generated Secret by a hash of its content. What before, which may be nil, has built
// from the same files through the same kustomizations is taken from there; it has to come from the same seal.Sealer. The
// error is ctx's.
func Build(ctx context.Context, t *seal.Tree, opener Opener, before *Result) (*Result, error) {
	return build(ctx, t, opener, before, unitSize)
}

func build(ctx context.Context, t *seal.Tree, opener Opener, before *Result, unitSize int) (*Result, error) {
	b := newBuilder(t, unitSize)
	if before != nil && before.Sealed == t && !before.keyed {
		return before, ctx.Err()
	}
	if t.Stopped {
		return b.result, nil // what Load refused must not come near kustomize, which would fetch or run it
	}
	if b.openInputs(ctx, opener); b.result.Stopped {
		return b.result, ctx.Err()
	}
	b.scan()
	if b.refuseAmplified(); b.result.Stopped {
		return b.result, ctx.Err()
	}
	b.result.Whole = b.wholeReason()
	if b.result.Whole != "" {
		b.whole(ctx)
	} else if err := b.units(ctx, before); err != nil {
		return nil, err
	}
	slices.SortFunc(b.result.Resources, func(x, y *Resource) int {
		if byPlace := cmp.Or(strings.Compare(x.Path, y.Path), cmp.Compare(x.Document, y.Document)); byPlace != 0 {
			return byPlace
		}
		return strings.Compare(x.id(), y.id())
	})
	return b.result, ctx.Err()
}

// id tells apart objects of one file.
func (r *Resource) id() string {
	object := unstructured.Unstructured{Object: r.Object}
	return strings.Join([]string{object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
}

// builder holds what one Build finds out.
type builder struct {
	tree     *seal.Tree
	unitSize int
	inputs   map[string][]byte // opened inputs of generators, by path
	files    []string          // the cluster files, sorted
	generate map[string]bool   // the files that generators take as input
	names    map[string][]occurrence
	// uses are the places where kustomizations refer to a file or folder. shared are the files that are there for others: patches,
	// configurations and the like; seeds are the resources that are no clusters, and the folders with generators.
	uses   map[string][]use
	shared []string
	seeds  []string
	// patches are those of each kustomization; named are the cluster files by name, in the kustomizations whose clusters patches
	// name.
	patches map[string][]patch
	named   map[string]map[string][]string
	// together are the cluster files that a patch may mean by one name. kustomize tells them apart, or fails for them, where it sees
	// them all.
	together map[string]group
	// lists is a file with a List of clusters, of which only kustomize knows the names.
	lists string
	// made are the inputs whose values are in result.Opened, and known is how many texts of them result.Masks knows.
	made  map[string]bool
	known int
	// encrypted and envFiles are what was found out about inputs, by path.
	encrypted map[string]bool
	envFiles  map[string]envFile

	mu     sync.Mutex
	result *Result
	// marks are the files that are marked so far, and sources what their marks stand for.
	marks   map[string]marked
	sources []source
}

// occurrence is a cluster file as a kustomization sees it: by its name, and every one that it has had in the kustomizations below. A
// patch may use any of them. It may have several names where patches rename, for which of them do is not known.
type occurrence struct {
	file          string
	names, before []string
}

// use is one reference: the place in a kustomization's list of resources or components.
type use struct {
	dir       string
	index     int
	component bool
}

func newBuilder(t *seal.Tree, unitSize int) *builder {
	return &builder{tree: t, unitSize: unitSize, result: &Result{Sealed: t, Report: t.Report.Clone(), Masks: &redact.Redactor{}},
		inputs: map[string][]byte{}, generate: map[string]bool{}, marks: map[string]marked{},
		made: map[string]bool{}, encrypted: map[string]bool{}, envFiles: map[string]envFile{}}
}

// scan finds out who refers to what: the cluster files that the root kustomization reaches, with their names at each level,
// the patches, and what is there for others.
func (b *builder) scan() {
	b.names, b.patches, b.named, b.together = map[string][]occurrence{}, map[string][]patch{}, map[string]map[string][]string{}, map[string]group{}
	b.uses = make(map[string][]use, len(b.tree.Loaded.Files))
	patches := map[string]bool{}
	dirs := slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations))
	for _, dir := range dirs {
		k := b.tree.Loaded.Kustomizations[dir]
		for i, name := range k.Resources {
			b.uses[name] = append(b.uses[name], use{dir: dir, index: i})
		}
		for i, ref := range k.Spec.Components {
			name := path.Join(dir, ref)
			b.uses[name] = append(b.uses[name], use{dir: dir, index: i, component: true})
		}
		b.patches[dir] = b.patchesOf(k)
	}
	for _, dir := range dirs {
		k := b.tree.Loaded.Kustomizations[dir]
		for _, src := range sources(k.Spec) {
			for _, entry := range inputFiles(*src) {
				b.generate[path.Join(dir, entry)] = true
			}
		}
		for _, src := range b.pluginSources(k) {
			for _, entry := range inputFiles(src.KvPairSources) {
				b.generate[path.Join(dir, entry)] = true
			}
		}
		for _, p := range slices.Concat(k.Spec.Patches, k.Spec.PatchesJson6902) { //nolint:staticcheck // deprecated, and still built
			patches[path.Join(dir, p.Path)] = true
		}
		if len(k.Spec.ConfigMapGenerator)+len(k.Spec.SecretGenerator)+len(k.Spec.Generators) > 0 {
			b.seeds = append(b.seeds, dir)
		}
	}
	for name := range b.tree.Content {
		if (b.uses[name] == nil || patches[name]) && !b.isKustomization(name) {
			b.shared = append(b.shared, name)
		}
	}
	for name := range b.uses {
		if f := b.file(name); f != nil && !f.IsCluster() {
			b.seeds = append(b.seeds, name)
			if slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return strings.HasSuffix(d.Kind, "List") }) && strings.Contains(f.Data, v1alpha1.Kind) && (b.lists == "" || name < b.lists) {
				b.lists = name
			}
		}
	}
	for _, o := range b.occurrences(b.tree.Loaded.Path) {
		b.files = append(b.files, o.file)
	}
	slices.Sort(b.files)
	b.files = slices.Compact(b.files)
	b.nameClusters()
}

func (b *builder) isKustomization(name string) bool {
	k := b.tree.Loaded.Kustomizations[path.Dir(name)]
	return k != nil && k.File != nil && k.File.Path == name
}

// occurrences are the clusters in a kustomization before its own prefix and suffix, which kustomize applies after patches.
func (b *builder) occurrences(dir string) []occurrence {
	if list, ok := b.names[dir]; ok {
		return list
	}
	list := b.accumulate(dir, nil)
	b.names[dir] = list
	return list
}

// accumulate adds the clusters of a kustomization to those around it. Only a component has any around it, and its prefix
// and suffix are for all of them.
func (b *builder) accumulate(dir string, list []occurrence) []occurrence {
	k := b.tree.Loaded.Kustomizations[dir]
	if k == nil {
		return list
	}
	list = slices.Grow(list, len(k.Resources))
	for _, name := range k.Resources {
		if below := b.tree.Loaded.Kustomizations[name]; below != nil {
			list = append(list, renamed(b.occurrences(name), below.Spec)...)
		} else if f := b.file(name); f != nil && f.IsCluster() {
			list = append(list, occurrence{file: f.Path, names: []string{f.Documents[0].Name}})
		}
	}
	for _, ref := range k.Spec.Components {
		name := path.Join(dir, ref)
		if component := b.tree.Loaded.Kustomizations[name]; component != nil {
			list = renamed(b.accumulate(name, list), component.Spec)
		}
	}
	for _, p := range b.patches[dir] {
		list = b.renamedBy(dir, p, list)
	}
	return list
}

// renamed are clusters after the prefix and suffix of a kustomization, which kustomize adds one after the other.
func renamed(list []occurrence, spec types.Kustomization) []occurrence {
	if spec.NamePrefix+spec.NameSuffix == "" {
		return list
	}
	out := make([]occurrence, len(list))
	for i, o := range list {
		one := occurrence{file: o.file, before: append(slices.Clone(o.before), o.names...)}
		for _, name := range o.names {
			one.names, one.before = append(one.names, spec.NamePrefix+name+spec.NameSuffix), append(one.before, spec.NamePrefix+name)
		}
		out[i] = one
	}
	return out
}

// file returns a file of the tree that no stage has found broken.
func (b *builder) file(name string) *load.File {
	if b.tree.Broken[name] {
		return nil
	}
	return b.tree.Loaded.Files[name]
}

// wholeReason says why the tree can't be built in units: what acts across resources would act differently.
func (b *builder) wholeReason() string {
	if b.lists != "" {
		return b.lists + " is a List of clusters"
	}
	dirs := slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations))
	for _, dir := range dirs {
		s := b.tree.Loaded.Kustomizations[dir].Spec
		var field string
		switch {
		case len(s.Replacements) > 0:
			field = "replacements"
		case len(s.Vars) > 0: //nolint:staticcheck // deprecated in kustomize, and still built
			field = "vars"
		case len(s.Configurations) > 0:
			field = "configurations"
		case len(s.Crds) > 0:
			field = "crds"
		case len(s.Transformers) > 0:
			field = "transformers"
		case len(s.Generators) > 0:
			field = "generators"
		case len(s.Validators) > 0:
			field = "validators"
		case len(s.PatchesJson6902) > 0: //nolint:staticcheck // deprecated in kustomize, and still built
			field = "patchesJson6902"
		default:
			continue
		}
		return fmt.Sprintf("%s uses %s, which act across resources", path.Join(dir, "kustomization.yaml"), field)
	}
	return ""
}

// units builds what is no cluster once, and the cluster files in units, as many at a time as there are processors. What before
// has of it isn't built again.
func (b *builder) units(ctx context.Context, before *Result) error {
	b.checkPatchTargets()
	if before == nil || before.Whole != "" {
		before = &Result{}
	}
	if base := b.selection(nil, true); base.reaches(b.tree.Loaded.Path) {
		key := b.baseKey()
		if b.result.base = before.base; b.result.base.key != key {
			resources, left, err := base.traced()
			if err != nil {
				b.result.Stop(b.failure(b.rootFile(), err))
				return nil
			}
			b.result.base = stored{key: key, resources: resources, left: left}
		}
		b.result.take(b.result.base)
	}
	b.result.files = make(map[string]stored, len(b.files))
	keyOf, keys := b.fileKeys(), map[string]key{}
	var fresh []group
	for g := range b.groups() {
		if !slices.ContainsFunc(g, func(file string) bool { return before.files[file].key != keyOf(file) }) {
			for _, file := range g {
				b.result.files[file] = before.files[file]
			}
			continue
		}
		for _, file := range g {
			keys[file] = keyOf(file)
		}
		fresh = append(fresh, g)
	}
	running, unitCtx := errgroup.WithContext(ctx)
	running.SetLimit(runtime.GOMAXPROCS(0))
	for unit := range slices.Chunk(fresh, b.unitSize) {
		running.Go(func() error { return b.unit(unitCtx, unit, keys) })
	}
	if err := running.Wait(); err != nil {
		return err
	}
	b.result.Resources = slices.Grow(b.result.Resources, len(b.files))
	for _, file := range b.files {
		b.result.take(b.result.files[file])
	}
	return nil
}

// take adds what was built from some files to the result.
func (r *Result) take(built stored) {
	r.Resources = append(r.Resources, built.resources...)
	if built.bad != nil {
		r.Reject(*built.bad)
	}
	for _, left := range built.left {
		r.Add(left.Finding)
		if left.all {
			r.Drop(left.file)
		}
	}
}

// unit builds some cluster files, halving the unit when it fails, or when a group of it has lost an object.
func (b *builder) unit(ctx context.Context, groups []group, keys map[string]key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files := slices.Concat(groups...)
	built, err := b.clusters(files, len(groups) > 1)
	if err != nil && len(groups) > 1 {
		half := len(groups) / 2
		if err := b.unit(ctx, groups[:half], keys); err != nil {
			return err
		}
		return b.unit(ctx, groups[half:], keys)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, file := range files {
		one := built[file]
		if one.key = keys[file]; err != nil {
			bad := b.groupFailure(groups[0], file, err)
			one.bad = &bad
		}
		b.result.files[file] = one
	}
	return nil
}

var (
	// errFewer says that a unit has fewer objects than files.
	errFewer = errors.New("kustomize leaves out objects")
	// errReplaced says that nothing tells which file a cluster comes from.
	errReplaced = errors.New("a patch replaces a whole object, so that nothing tells which file it comes from")
)

// clusters builds some cluster files, and gives what was built by file. A cluster file makes one object for each way that leads to it,
// in an order that kustomize keeps, so equal numbers tell which comes from which. With fewer objects, the unit has to be split; one that
// can't be is built again with marks.
func (b *builder) clusters(files []string, splits bool) (map[string]stored, error) {
	s := b.selection(files, false)
	built, err := s.run()
	if err != nil {
		return nil, err
	}
	var order []string
	for _, o := range b.occurrences(b.tree.Loaded.Path) {
		if s.files[o.file] {
			order = append(order, o.file)
		}
	}
	if len(built) != len(order) && splits {
		return nil, errFewer
	}
	by := make(map[string]stored, len(files))
	if len(built) != len(order) {
		resources, left, err := s.traced()
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			by[r.Path] = by[r.Path].with(r)
		}
		for _, l := range left {
			one := by[l.file]
			one.left = append(one.left, l)
			by[l.file] = one
		}
		return by, nil
	}
	take := converter{texts: map[string]any{}}
	for i, res := range built {
		object, err := take.object(res)
		if err != nil {
			return nil, err
		}
		by[order[i]] = by[order[i]].with(&Resource{Path: order[i], Object: object})
	}
	return by, nil
}

func (s stored) with(r *Resource) stored {
	s.resources = append(s.resources, r)
	return s
}

// whole builds the tree in one piece. When that fails, the files without which it works are looked for by halving. A tree
// that has too many of them, or fails without any cluster file, can't be helped.
func (b *builder) whole(ctx context.Context) {
	b.checkPatchTargets()
	all := b.selection(b.files, true)
	if !all.reaches(b.tree.Loaded.Path) {
		return
	}
	resources, left, err := all.traced()
	if err != nil {
		first := err
		h := halving{builder: b, probes: maxProbes}
		good := h.buildable(ctx, nil, slices.Collect(b.groups()))
		if len(good) > 0 && h.probes > 0 {
			resources, left, err = b.selection(good, true).traced()
		}
		if err != nil {
			b.result.Stop(b.failure(b.rootFile(), first))
			return
		}
		for _, f := range h.bad {
			b.result.Reject(f)
		}
	}
	b.result.take(stored{resources: resources, left: left})
}

// halving looks for the files that keep a whole tree from being built.
type halving struct {
	*builder
	probes int
	bad    []finding.Finding
}

// buildable returns base and the files of those groups that can be built together with it, and notes the others.
func (h *halving) buildable(ctx context.Context, base []string, groups []group) []string {
	if ctx.Err() != nil || len(groups) == 0 || h.probes == 0 {
		return base
	}
	h.probes--
	together := append(slices.Clone(base), slices.Concat(groups...)...)
	_, err := h.selection(together, true).run()
	if err == nil {
		return together
	}
	if len(groups) == 1 {
		for _, file := range groups[0] {
			h.bad = append(h.bad, h.groupFailure(groups[0], file, err))
		}
		return base
	}
	half := len(groups) / 2
	return h.buildable(ctx, h.buildable(ctx, base, groups[:half]), groups[half:])
}

// failure turns kustomize's error into a finding.
func (b *builder) failure(file string, err error) finding.Finding {
	where, inner := b.innermost(err)
	why, all := cause(inner)
	switch {
	case file == b.rootFile():
		file = cmp.Or(where, file)
	case where != "" && where != file && where != b.rootFile():
		why += " (in " + where + ")"
	}
	f := finding.Finding{Code: CodeBuild, Severity: finding.Error, Path: file, Message: b.result.Masks.String("kustomize can't build it: " + why)}
	if source := b.tree.Loaded.Files[file]; source != nil {
		f.Line, f.Column = source.Position(0, []string{"metadata", "name"})
	}
	if !all {
		f.Fix = "run kustomize build to see the rest of its message, which may quote a credential"
	}
	return f
}

func (b *builder) rootFile() string {
	root := b.tree.Loaded.Kustomizations[b.tree.Loaded.Path]
	if root.File == nil {
		return root.Dir
	}
	return root.File.Path
}
