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
)

// refuseMany stops a tree that would take kustomize too long.
func (a *amplifier) refuseMany() {
	together := 0
	for _, n := range a.kinds(a.tree.Loaded.Path) {
		together = add(together, n)
	}
	if a.wholeReason() != "" {
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
	}
}

// attempts returns what kustomize matches against every object of a kustomization.
func (a *amplifier) attempts(dir string) []bulkWrite {
	list := slices.Clone(a.writes[dir])
	for _, r := range a.replacementsOf(a.tree.Loaded.Kustomizations[dir]) {
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

// generator is a generator of one object.
type generator struct {
	dir   string
	field []string
	src   *types.KvPairSources
}

// generators returns all generators of a kustomization.
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
