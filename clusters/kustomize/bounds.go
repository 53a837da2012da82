package kustomize

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// kustomize's work on these grows with their square or product, and can't be interrupted. Measured on 2 cores.
const (
	// maxKeys is how many keys a generator may have: 1,000 take 30 ms, 20,000 more than ten seconds.
	maxKeys = 2000
	// maxTogether is how many objects may be built in one piece: that takes about five minutes.
	maxTogether = 12_000
	// maxTries is how often patches, labels and replacements may be matched against objects: 300 of them on 10,000 clusters.
	maxTries = 3_000_000
	// triedAtOnce is the selector length that takes as long to match as the rest of one try.
	triedAtOnce = 64
	// searchedAtOnce is how many patches without a target search an object for its name in the time of one try.
	searchedAtOnce = 16
	// comparedAtOnce is how many comparisons of two keys of a generator take as long as a try.
	comparedAtOnce = 1000
	// maxNoted is how many notes about transformers kustomize may parse: 10 patches on 70,000 clusters, or 300 on 200. That takes
	// some five minutes.
	maxNoted = 10_000_000
	// maxConfigured is how often fields of configurations may be looked for: 1,000 fields in 10,000 objects. That takes half a
	// minute.
	maxConfigured = 10_000_000
)

// refuseMany stops a tree that would take kustomize too long.
func (a *amplifier) refuseMany() {
	together := 0
	for _, n := range a.kinds(a.tree.Loaded.Path) {
		together = add(together, n)
	}
	if a.whole {
		together = add(together, len(a.occurrences(a.tree.Loaded.Path)))
	}
	if together > maxTogether {
		a.result.Stop(finding.Finding{Code: load.CodeSize, Path: a.rootFile(), Message: fmt.Sprintf("kustomize would build %d objects in one piece; the limit is %d", together, maxTogether),
			Fix: "split the path across several AuditSyncs"})
		return
	}
	sum, most, at := 0, -1, bulkWrite{}
	for _, dir := range slices.Sorted(maps.Keys(a.writes)) {
		objects := -1
		for _, w := range a.attempts(dir) {
			if objects < 0 {
				objects = a.objectsReached(bulkWrite{dir: dir})
			}
			tries := mul(objects, 1+selectorLength(w.target)/triedAtOnce)
			if sum = add(sum, tries); tries > most {
				most, at = tries, w
			}
		}
	}
	if sum > maxTries {
		a.result.Stop(a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
			Message: fmt.Sprintf("kustomize would match the patches, labels and replacements of this path against objects more than %d times", maxTries),
			Fix:     "name the object in the patch instead of a target, or move patches into the kustomization of the clusters that they patch"}, at.dir, at.field))
		return
	}
	a.refuseNoted()
	a.refuseMerged()
	a.refuseConfigured()
}

// refuseConfigured stops a tree whose configurations name many fields: kustomize looks for each of them in each object.
func (a *amplifier) refuseConfigured() {
	looks, most, at := 0, -1, ""
	for _, dir := range slices.Sorted(maps.Keys(a.tree.Loaded.Kustomizations)) {
		fields := 0
		for _, list := range a.configuredBy(a.tree.Loaded.Kustomizations[dir]) {
			fields += len(list)
		}
		if fields == 0 {
			continue
		}
		here := mul(a.objectsReached(bulkWrite{dir: dir}), fields)
		if looks = add(looks, here); here > most {
			most, at = here, dir
		}
	}
	if looks > maxConfigured {
		a.result.Stop(a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
			Message: fmt.Sprintf("kustomize would look for the fields of configurations in objects more than %d times", maxConfigured),
			Fix:     "name fewer fields in configurations"}, at, []string{"configurations"}))
	}
}

// refuseNoted stops a tree with build metadata and many transformers. kustomize then notes each transformer in an annotation of
// each object, whether the result has that annotation or not, and parses the annotation each time.
func (a *amplifier) refuseNoted() {
	root := a.tree.Loaded.Path
	if len(a.tree.Loaded.Kustomizations[root].Spec.BuildMetadata) == 0 {
		return
	}
	steps := a.most().steps
	objects := a.objectsReached(bulkWrite{dir: root})
	if mul(objects, mul(steps, steps)/2) > maxNoted {
		a.result.Stop(a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
			Message: fmt.Sprintf("with buildMetadata, kustomize would note up to %d patches, labels and the like in each of %d objects", steps, objects),
			Fix:     "remove buildMetadata, or use fewer patches"}, root, []string{"buildMetadata"}))
	}
}

// refuseMerged stops a tree whose generators have too many keys together. A generator that merges also compares the keys that the
// object has already.
func (a *amplifier) refuseMerged() {
	sum, most, at, before := 0, -1, generator{}, -1
	for _, dir := range slices.Sorted(maps.Keys(a.writes)) {
		for _, g := range a.generators(a.tree.Loaded.Kustomizations[dir]) {
			n := a.keys(g)
			if g.merges {
				if before < 0 {
					before = a.mergedInto()
				}
				n = before // which counts its own
			}
			tries := mul(mul(n, n)/comparedAtOnce, a.ways(dir))
			if sum = add(sum, tries); tries > most {
				most, at = tries, g
			}
		}
	}
	if sum > maxTries {
		a.result.Stop(a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
			Message: "the generators of this path have or merge too many keys; kustomize compares each with all others",
			Fix:     "put the content into fewer keys, or into Secret manifests"}, at.dir, at.field))
	}
}

// mergedInto returns how many keys an object may have after generators have merged into it.
func (a *amplifier) mergedInto() int {
	most := a.most()
	n := add(most.keys, most.values)
	for _, field := range []string{"data", "stringData", "binaryData"} {
		n = add(n, a.contents().at(place{field, "*"}).nodes)
	}
	return n
}

// steps returns how many transformers a kustomization runs at most. A unit has the patches that name its clusters.
func (a *amplifier) steps(k *load.Kustomization) int {
	const others = 6                                                                                                               // prefix, suffix, namespace, annotations, labels, replacements
	n := others + len(k.Spec.PatchesJson6902) + len(k.Spec.Labels) + len(k.Spec.Images) + len(k.Spec.Replicas) + len(a.plugins(k)) //nolint:staticcheck // deprecated, and still built
	byName, most := map[string]int{}, 0
	for _, p := range a.patches[k.Dir] {
		if p.Target != nil || !p.cluster || a.whole {
			n++
			continue
		}
		byName[p.name]++
		most = max(most, byName[p.name])
	}
	return n + min(mul(most, a.unitSize), len(a.patches[k.Dir]))
}

// attempts returns what kustomize matches against every object of a kustomization.
func (a *amplifier) attempts(dir string) []bulkWrite {
	list, k := slices.Clone(a.writes[dir]), a.tree.Loaded.Kustomizations[dir]
	for i := range k.Spec.Images {
		list = append(list, bulkWrite{dir: dir, field: fieldOf("images", i)})
	}
	for i := range k.Spec.Replicas {
		list = append(list, bulkWrite{dir: dir, field: fieldOf("replicas", i)})
	}
	searches := 0
	for _, p := range a.patches[dir] {
		if p.Target == nil && (a.whole || !p.cluster) {
			if searches++; searches%searchedAtOnce == 0 {
				list = append(list, bulkWrite{dir: dir, field: k.Patch(p.index)})
			}
		}
	}
	for _, r := range a.replacementsOf(k) {
		for _, t := range r.Targets {
			w := bulkWrite{dir: dir, field: r.field}
			if t != nil {
				w.target = t.Select
				for _, reject := range t.Reject {
					list = append(list, bulkWrite{dir: dir, field: r.field, target: reject})
				}
			}
			list = append(list, w)
		}
	}
	return list
}

func selectorLength(s *types.Selector) int {
	if s == nil {
		return 0
	}
	return len(s.Group) + len(s.Version) + len(s.Kind) + len(s.Namespace) + len(s.Name) + len(s.LabelSelector) + len(s.AnnotationSelector)
}

// generator is a generator of one object, or of what is merged into one.
type generator struct {
	dir    string
	field  []string
	src    *types.KvPairSources
	merges bool
}

// generators returns all generators of a kustomization.
func (b *builder) generators(k *load.Kustomization) []generator {
	var list []generator
	for i := range k.Spec.ConfigMapGenerator {
		list = append(list, generator{k.Dir, fieldOf("configMapGenerator", i), &k.Spec.ConfigMapGenerator[i].KvPairSources, merges(k.Spec.ConfigMapGenerator[i].Behavior)})
	}
	for i := range k.Spec.SecretGenerator {
		list = append(list, generator{k.Dir, fieldOf("secretGenerator", i), &k.Spec.SecretGenerator[i].KvPairSources, merges(k.Spec.SecretGenerator[i].Behavior)})
	}
	for _, plugin := range b.pluginSources(k) {
		list = append(list, generator{k.Dir, plugin.field, &plugin.KvPairSources, merges(plugin.behavior)})
	}
	return list
}

func merges(behavior string) bool {
	return types.NewGenerationBehavior(behavior) == types.BehaviorMerge
}

// generatedSize returns how many values the object of a generator counts as.
func (a *amplifier) generatedSize(g generator) int {
	size := 0
	for _, literal := range g.src.LiteralSources {
		size += len(literal)
	}
	for _, entry := range inputFiles(*g.src) {
		size += len(a.input(path.Join(g.dir, entry)))
	}
	return add(size/bytesPerValue, a.keys(g))
}

// optionsSize returns how many labels and annotations all generators of a kustomization get.
func optionsSize(o *types.GeneratorOptions) int {
	if o == nil {
		return 0
	}
	return len(o.Labels) + len(o.Annotations)
}

// keys returns how many keys a generator produces.
func (b *builder) keys(g generator) int {
	n := len(g.src.LiteralSources) + len(g.src.FileSources)
	for _, entry := range inputFiles(*g.src) {
		if isEnv(*g.src, entry) {
			n += b.envFile(path.Join(g.dir, entry)).values
		}
	}
	return n
}

func (a *amplifier) generatorFinding(g generator) finding.Finding {
	return a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the generators of this path produce more than %d MiB, or the kustomizations write as much", maxWritten*bytesPerValue>>20),
		Fix:     "generate less, or put the content into Secret manifests"}, g.dir, g.field)
}

// refuseKeys stops a tree with a generator that has too many keys.
func (b *builder) refuseKeys(k *load.Kustomization) {
	for _, g := range b.generators(k) {
		if n := b.keys(g); n > maxKeys {
			at := finding.Finding{Code: load.CodeSize, Path: k.File.Path, Message: fmt.Sprintf("the generator has %d keys; the limit is %d", n, maxKeys),
				Fix: "put the content into one file, or split it across several generators"}
			at.Line, at.Column = k.File.Position(0, g.field)
			b.result.Stop(at)
		}
	}
}
