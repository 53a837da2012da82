package build

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// What kustomize does with these grows with their square or their product, and nothing can interrupt it. Measured on 2 cores.
const (
	// maxKeys is how many keys a generator may make: 1,000 take 30 ms, 20,000 more than ten seconds.
	maxKeys = 2000
	// maxTogether is how many objects may be built in one piece: some five minutes of them.
	maxTogether = 12_000
	// maxTries is how often patches, labels and replacements may be tried on objects: 300 of them on 10,000 clusters.
	maxTries = 3_000_000
	// triedAtOnce is how much of a selector is tried in the time that everything else about one try takes.
	triedAtOnce = 64
)

// refuseMany stops a tree in which kustomize would have too much to go through.
func (a *amplifier) refuseMany() {
	together := 0
	for _, n := range a.kinds(a.tree.Loaded.Path) {
		together = add(together, n)
	}
	if a.wholeReason() != "" {
		together = add(together, len(a.occurrences(a.tree.Loaded.Path)))
	}
	if together > maxTogether {
		a.result.Stop(finding.Finding{Code: load.CodeSize, Path: a.rootFile(), Message: fmt.Sprintf("kustomize would build %d objects in one piece, and %d are the limit", together, maxTogether),
			Fix: "split the path over several AuditSyncs"})
		return
	}
	sum, most, at := 0, -1, written{}
	for _, dir := range slices.Sorted(maps.Keys(a.list)) {
		objects := -1
		for _, w := range a.tried(dir) {
			if objects < 0 {
				objects = a.reached(written{dir: dir})
			}
			tries := mul(objects, 1+selectorLength(w.target)/triedAtOnce)
			if sum = add(sum, tries); tries > most {
				most, at = tries, w
			}
		}
	}
	if sum > maxTries {
		a.result.Stop(a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
			Message: fmt.Sprintf("kustomize would try the patches, labels and replacements of this path more than %d times on an object", maxTries),
			Fix:     "write patches without a target, which name their object, or put them into the kustomization of the clusters that they are for"}, at.dir, at.field))
	}
}

// tried is what kustomize tries on every object of a kustomization.
func (a *amplifier) tried(dir string) []written {
	list := slices.Clone(a.list[dir])
	for _, r := range a.replacementsOf(a.tree.Loaded.Kustomizations[dir]) {
		for _, t := range r.Targets {
			w := written{dir: dir, field: r.field}
			if t != nil {
				w.target = t.Select
				for _, reject := range t.Reject {
					list = append(list, written{dir: dir, field: r.field, target: reject})
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

// generator is a generator of one object.
type generator struct {
	dir   string
	field []string
	src   *types.KvPairSources
}

// generators are all of a kustomization.
func (b *builder) generators(k *load.Kustomization) []generator {
	var list []generator
	for i := range k.Spec.ConfigMapGenerator {
		list = append(list, generator{k.Dir, fieldOf("configMapGenerator", i), &k.Spec.ConfigMapGenerator[i].KvPairSources})
	}
	for i := range k.Spec.SecretGenerator {
		list = append(list, generator{k.Dir, fieldOf("secretGenerator", i), &k.Spec.SecretGenerator[i].KvPairSources})
	}
	for _, plugin := range b.pluginSources(k) {
		list = append(list, generator{k.Dir, plugin.field, &plugin.KvPairSources})
	}
	return list
}

// made is how much a generator makes.
func (a *amplifier) made(g generator) int {
	size := 0
	for _, literal := range g.src.LiteralSources {
		size += len(literal)
	}
	for _, entry := range inputFiles(*g.src) {
		size += len(a.input(path.Join(g.dir, entry)))
	}
	return add(size/bytesPerValue, a.keys(g))
}

// keys is how many keys a generator makes.
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
		Message: fmt.Sprintf("the generators of this path make more than %d MiB, or the kustomizations write as much", maxWritten*bytesPerValue>>20),
		Fix:     "generate less, or put the content into Secret manifests"}, g.dir, g.field)
}

// refuseKeys stops a tree with a generator of too many keys.
func (b *builder) refuseKeys(k *load.Kustomization) {
	for _, g := range b.generators(k) {
		if n := b.keys(g); n > maxKeys {
			at := finding.Finding{Code: load.CodeSize, Path: k.File.Path, Message: fmt.Sprintf("the generator makes %d keys, and %d are the limit", n, maxKeys),
				Fix: "give the content as one file, or split it over several generators"}
			at.Line, at.Column = k.File.Position(0, g.field)
			b.result.Stop(at)
		}
	}
}
