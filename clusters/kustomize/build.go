// Package kustomize runs kustomize over a sealed tree.
//
// Build returns what `kustomize build` returns for the same files, with two differences. It includes cluster files that the
// kustomization does not list. A cluster file that kustomize can't build is left out with a finding, and the rest is built.
// (buildMetadata's transformerAnnotations list the steps that Muster has kustomize run, which may be fewer or more.) kustomize
// works in memory, on sealed files only, so its errors and output hold no secrets, and it has nothing to fetch or run.
//
// The exception is a generator whose input is encrypted: kustomize needs the content for the hash in the Secret's name. Build
// opens these files first, and Result.Opened lists their values. kustomize's messages are masked, and a kustomization that
// copies values from one object to another is refused in such a tree.
//
// The time kustomize needs grows with the square of the number of resources in a build, and a build fails as a whole. So cluster
// files are built in units of a few dozen, each through the same kustomizations, and a failing unit is halved until the file at
// fault is found. Clusters that a patch may mean by one name are built together. A tree whose kustomizations act across
// resources (Result.Whole) is built in one piece.
//
// A few lines of a repository can make kustomize write gigabytes or work for hours. refuseAmplified computes a bound of both from
// the files, before kustomize sees them. Child processes with hard limits would need a fraction of its code.
// `go test ./clusters/kustomize -run xxx -bench Worker` prints why there are none: through them, 1,000 cluster files take 420 ms
// instead of 260, and one file 2.7 instead of 1.7, or 30 ms more if a worker has to start. To avoid that, one of 18 MiB must wait
// for each processor. The bound also decides the same on every machine, and its finding names the file and the line.
package kustomize

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

// Finding codes of this package.
const (
	CodeBuild       finding.Code = "kustomize"       // kustomize can't build a file or the tree
	CodePatchTarget finding.Code = "patch-target"    // a patch names a cluster that does not exist
	CodeGenerator   finding.Code = "generator-input" // a generator's encrypted input was not opened
	CodeEnvironment finding.Code = "environment"     // a generator's input refers to the environment
	CodeDropped     finding.Code = "dropped"         // an object that kustomize leaves out
)

// unitSize is how many cluster files are built together. Below ten the fixed cost of a build dominates, above a few hundred its
// quadratic part. A failing unit of n files costs n·log(n).
const unitSize = 50

// maxProbes is how many builds of a whole tree may be spent on finding files that can't be built. It finds three or four among
// thousands. A tree with more has to be fixed by hand.
const maxProbes = 64

// Resource is an object that kustomize built. Don't modify it: the next Result may share it.
type Resource struct {
	Object map[string]any
	// Path is the file that the object comes from, and Document its index there. For a generated object, Path is the
	// kustomization.
	Path      string
	Document  int
	Generated bool
}

// Result is a built tree.
type Result struct {
	Sealed *seal.Tree
	finding.Report
	Resources []*Resource
	// Whole is the reason why the tree was built in one piece. It is empty when the tree was built in units.
	Whole string
	// Opened are the plaintext values that generators read from encrypted files. Resources contains them, so mask the output
	// with Masks, which knows them all.
	Opened []string
	Masks  *redact.Redactor

	// keyed is true when generators read encrypted files, so that the result depends on the keys.
	keyed bool
	base  stored            // everything but the cluster files
	files map[string]stored // the cluster files, by path
}

// Opener decrypts a file that a generator reads, as the command "sops decrypt" does with the settings in a .sops.yaml.
// *unseal.Opener is one.
type Opener interface {
	Decrypt(ctx context.Context, f *load.File, settings []byte) ([]byte, *finding.Finding)
}

// Build builds a sealed tree. A stopped tree has no resources. The opener, which may be nil, is only used for the encrypted
// inputs of generators, because the name of a generated Secret contains a hash of its content. Build reuses what before, which
// may be nil, built from the same files through the same kustomizations. before must come from the same seal.Sealer. The only
// error is that of ctx.
func Build(ctx context.Context, t *seal.Tree, opener Opener, before *Result) (*Result, error) {
	return build(ctx, t, opener, before, unitSize)
}

func build(ctx context.Context, t *seal.Tree, opener Opener, before *Result, unitSize int) (*Result, error) {
	b := newBuilder(t, unitSize)
	if before != nil && before.Sealed == t && !before.keyed {
		return before, ctx.Err()
	}
	if t.Stopped {
		return b.result, nil // kustomize must not see what Load refused: it would fetch or run it
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

// id distinguishes the objects of one file.
func (r *Resource) id() string {
	object := unstructured.Unstructured{Object: r.Object}
	return strings.Join([]string{object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
}

// builder is the state of one Build.
type builder struct {
	tree     *seal.Tree
	unitSize int
	inputs   map[string][]byte // opened inputs of generators, by path
	files    []string          // the cluster files, sorted
	generate map[string]bool   // files that generators read
	names    map[string][]occurrence
	// uses lists, for each file or folder, the kustomizations that refer to it. shared are the files that are not resources:
	// patches, configurations and the like. seeds are the resources that are not clusters, and the folders with generators.
	uses   map[string][]use
	shared []string
	seeds  []string
	// patches are the patches of each kustomization. named are the cluster files by name, for each kustomization in which a
	// patch names a cluster.
	patches map[string][]patch
	named   map[string]map[string][]string
	// together are the cluster files that a patch may mean by the same name. kustomize tells them apart, or fails, only when it
	// sees them all.
	together map[string]group
	// listFile is a file with a List of clusters, whose names only kustomize knows.
	listFile string
	// masked are the inputs whose values are in result.Opened. maskedCount is how many texts of them result.Masks knows.
	masked      map[string]bool
	maskedCount int
	// encrypted and envFiles cache what is known about inputs, by path.
	encrypted map[string]bool
	envFiles  map[string]envFile

	mu     sync.Mutex
	result *Result
	// marks are the files marked so far, and sources what their marks refer to.
	marks   map[string]marked
	sources []source
}

// occurrence is a cluster file as a kustomization sees it: its name, and every name that it had in the kustomizations below, any
// of which a patch may use. It has several names when patches rename clusters, because it isn't known which patch matches.
type occurrence struct {
	file          string
	names, before []string
}

// use is a reference to a file or folder: its index in a kustomization's resources or components.
type use struct {
	dir       string
	index     int
	component bool
}

func newBuilder(t *seal.Tree, unitSize int) *builder {
	return &builder{tree: t, unitSize: unitSize, result: &Result{Sealed: t, Report: t.Report.Clone(), Masks: &redact.Redactor{}},
		inputs: map[string][]byte{}, generate: map[string]bool{}, marks: map[string]marked{},
		masked: map[string]bool{}, encrypted: map[string]bool{}, envFiles: map[string]envFile{}}
}

// scan collects the references: the cluster files that the root kustomization reaches, with their names at each level, the
// patches, and the files that are not resources.
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
			if slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return strings.HasSuffix(d.Kind, "List") }) && strings.Contains(f.Data, v1alpha1.Kind) && (b.listFile == "" || name < b.listFile) {
				b.listFile = name
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

// occurrences returns the clusters in a kustomization before its own prefix and suffix, which kustomize applies after patches.
func (b *builder) occurrences(dir string) []occurrence {
	if list, ok := b.names[dir]; ok {
		return list
	}
	list := b.accumulate(dir, nil)
	b.names[dir] = list
	return list
}

// accumulate adds the clusters of a kustomization to list. The list is empty except for a component, which also patches,
// prefixes and suffixes the clusters of the kustomization that includes it.
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

// renamed returns the clusters with the prefix and suffix of a kustomization, which kustomize adds one after the other.
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

// file returns a file of the tree, or nil if an earlier stage found it broken.
func (b *builder) file(name string) *load.File {
	if b.tree.Broken[name] {
		return nil
	}
	return b.tree.Loaded.Files[name]
}

// wholeReason returns why the tree can't be built in units: some fields act across resources, and would act differently there.
func (b *builder) wholeReason() string {
	if b.listFile != "" {
		return b.listFile + " is a List of clusters"
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

// units builds everything but the clusters once, then the cluster files in units, as many in parallel as there are processors.
// It reuses what before has already built.
func (b *builder) units(ctx context.Context, before *Result) error {
	b.checkPatchTargets()
	if before == nil || before.Whole != "" {
		before = &Result{}
	}
	if base := b.selection(nil, true); base.reaches(b.tree.Loaded.Path) {
		key := b.baseKey()
		if b.result.base = before.base; b.result.base.key != key {
			resources, left, err := base.runMarked()
			if err != nil {
				b.result.Stop(b.failure(b.rootFile(), err))
				return nil
			}
			b.result.base = stored{key: key, resources: resources, dropped: left}
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

// take adds built resources to the result.
func (r *Result) take(built stored) {
	r.Resources = append(r.Resources, built.resources...)
	if built.failure != nil {
		r.Reject(*built.failure)
	}
	for _, left := range built.dropped {
		r.Add(left.Finding)
		if left.all {
			r.Drop(left.file)
		}
	}
}

// unit builds some cluster files. It halves the unit when the build fails, or when a group has lost an object.
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
			failure := b.groupFailure(groups[0], file, err)
			one.failure = &failure
		}
		b.result.files[file] = one
	}
	return nil
}

var (
	// errFewer means that a unit has fewer objects than files.
	errFewer = errors.New("kustomize leaves out objects")
	// errReplaced means that the file which a cluster comes from is unknown.
	errReplaced = errors.New("a patch replaces a whole object, so its source file is unknown")
)

// clusters builds some cluster files and returns the result by file. A cluster file yields one object for each path that leads
// to it, and kustomize keeps the order, so equal numbers identify the file of each object. With fewer objects, the unit has to
// be split. A unit that can't be split is built again with marks.
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
		resources, left, err := s.runMarked()
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			by[r.Path] = by[r.Path].with(r)
		}
		for _, l := range left {
			one := by[l.file]
			one.dropped = append(one.dropped, l)
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

// whole builds the tree in one piece. When that fails, it looks for the files at fault by halving. It gives up on a tree with
// too many of them, and on one that fails without any cluster file.
func (b *builder) whole(ctx context.Context) {
	b.checkPatchTargets()
	all := b.selection(b.files, true)
	if !all.reaches(b.tree.Loaded.Path) {
		return
	}
	resources, left, err := all.runMarked()
	if err != nil {
		first := err
		h := halving{builder: b, probes: maxProbes}
		good := h.buildable(ctx, nil, slices.Collect(b.groups()))
		if len(good) > 0 && h.probes > 0 {
			resources, left, err = b.selection(good, true).runMarked()
		}
		if err != nil {
			b.result.Stop(b.failure(b.rootFile(), first))
			return
		}
		for _, f := range h.failures {
			b.result.Reject(f)
		}
	}
	b.result.take(stored{resources: resources, dropped: left})
}

// halving finds the files that make the build of a whole tree fail.
type halving struct {
	*builder
	probes   int
	failures []finding.Finding
}

// buildable returns base and the files of those groups that can be built together with it. It records the others.
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
			h.failures = append(h.failures, h.groupFailure(groups[0], file, err))
		}
		return base
	}
	half := len(groups) / 2
	return h.buildable(ctx, h.buildable(ctx, base, groups[:half]), groups[half:])
}

// failure turns an error of kustomize into a finding.
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
		f.Fix = "run kustomize build to see the full message; it may quote a credential"
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
