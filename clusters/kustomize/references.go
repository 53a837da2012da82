package kustomize

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// maxReferences is how often objects may name other objects. kustomize notes each reference in one growing annotation of the object
// that is named, so the time grows with the square: 20,000 take ten seconds. Cluster files don't count: kustomize knows no references
// in them.
const maxReferences = 20_000

// refuseReferences stops a tree whose objects name each other too often. A reference counts once for each bytesPerValue characters of a
// name.
func (a *amplifier) refuseReferences() {
	// Any text could be a name. Only a tree with many texts in objects that are not clusters is worth collecting the names.
	if _, n := a.references(nil, a.longestOfAll()); n <= maxReferences {
		return
	}
	names, longest := a.names()
	if at, n := a.references(names, longest); n > maxReferences {
		a.result.Stop(finding.Finding{Code: load.CodeSize, Path: at,
			Message: fmt.Sprintf("the objects that are not clusters name other objects more than %d times", maxReferences), Fix: "apply them with another tool, or split the path across several AuditSyncs"})
	}
}

// references counts the references in objects that are not clusters, and returns a file with many.
func (a *amplifier) references(names map[string]bool, longest int) (at string, sum int) {
	most := 0
	for _, name := range slices.Sorted(maps.Keys(a.uses)) {
		f := a.file(name)
		if f == nil || f.IsCluster() {
			continue
		}
		n := 0
		for _, d := range f.Documents {
			n = add(n, mul(mentions(d.Node(), names), 1+longest/bytesPerValue))
		}
		if sum = add(sum, n); n > most {
			most, at = n, name
		}
	}
	for dir, writes := range a.writes {
		for _, w := range writes {
			n := 0
			documents, _ := documentsIn(w.text) // kustomize reports the error
			for _, d := range documents {
				n = add(n, mentions(d, names))
			}
			if sum = add(sum, mul(mul(n, a.othersReached(w)), 1+longest/bytesPerValue)); n > 0 && at == "" {
				at = a.fileOf(dir)
			}
		}
	}
	return at, sum
}

// longestOfAll returns the length of the longest name that an object may get, however it does.
func (a *amplifier) longestOfAll() int {
	n := a.longestName(a.tree.Loaded.Path)
	if a.rewrites(place{"metadata", "name"}) {
		n = max(n, a.longestText())
	}
	return n
}

// fileOf returns the kustomization file of a folder, or the folder if it has none.
func (a *amplifier) fileOf(dir string) string {
	if k := a.tree.Loaded.Kustomizations[dir]; k.File != nil {
		return k.File.Path
	}
	return dir
}

// names returns the names that objects of the tree may have, nil for any text if a replacement writes names, and the length of the
// longest name.
func (a *amplifier) names() (names map[string]bool, longest int) {
	longest = a.longestName(a.tree.Loaded.Path)
	at, names := place{"metadata", "name"}, map[string]bool{}
	for name := range a.uses {
		if f := a.file(name); f != nil {
			for _, d := range f.Documents {
				noteNames(d.Node(), names)
			}
		}
	}
	for dir, k := range a.tree.Loaded.Kustomizations {
		if a.replaces(k, at) {
			return nil, a.longestText()
		}
		for _, g := range k.Spec.ConfigMapGenerator {
			names[g.Name] = true
		}
		for _, g := range k.Spec.SecretGenerator {
			names[g.Name] = true
		}
		for _, w := range a.writes[dir] {
			if !a.rewrites(at) {
				continue
			}
			longest = max(longest, len(w.text))
			documents, _ := documentsIn(w.text) // kustomize reports the error
			for _, d := range documents {
				for _, text := range scalars(d) {
					names[text] = true
				}
			}
		}
	}
	return names, longest
}

// longestText returns the length of the largest file.
func (a *amplifier) longestText() int {
	n := 0
	for _, text := range a.tree.Content {
		n = max(n, len(text))
	}
	return n
}

// noteNames collects the names of an object and, for a List, of its items.
func noteNames(n *yaml.Node, names map[string]bool) {
	n = dereferenced(n)
	if name := load.Field(n, "metadata", "name"); name != nil {
		names[dereferenced(name).Value] = true
	}
	for _, item := range itemsOf(n) {
		noteNames(item, names)
	}
}

// itemsOf returns the items of a List, which kustomize takes for separate objects.
func itemsOf(n *yaml.Node) []*yaml.Node {
	kind, items := load.Field(n, "kind"), load.Field(n, "items")
	if kind == nil || items == nil || !strings.HasSuffix(dereferenced(kind).Value, "List") {
		return nil
	}
	return dereferenced(items).Content
}

func dereferenced(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// mentions counts the texts below a node that are names of objects; all texts if names is nil. Load has limited the expansion of aliases.
func mentions(n *yaml.Node, names map[string]bool) int {
	n = dereferenced(n)
	if n.Kind == yaml.ScalarNode {
		if names == nil || names[n.Value] {
			return 1
		}
		return 0
	}
	sum := 0
	for i, child := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			sum = add(sum, mentions(child, names))
		}
	}
	return sum
}

// othersReached returns how many objects a target selects that are not clusters. Only kinds are compared.
func (a *amplifier) othersReached(w bulkWrite) int {
	kind := a.kindMatcher(w.target)
	sum := 0
	for _, around := range a.patchScopes(w.dir) {
		for of, count := range a.kinds(around) {
			if kind(of) {
				sum = add(sum, mul(count, a.ways(around)))
			}
		}
	}
	return sum
}

// kindMatcher returns a function that reports whether a target selects objects of a kind. If a kustomization may change kinds, it
// selects all.
func (a *amplifier) kindMatcher(target *types.Selector) func(kind string) bool {
	if target == nil || a.rewrites(place{"kind"}) {
		return func(string) bool { return true }
	}
	regex, err := types.NewSelectorRegex(&types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: target.Kind}}})
	if err != nil {
		return func(string) bool { return false } // kustomize reports the error
	}
	return func(kind string) bool { return regex.MatchGvk(resid.Gvk{Kind: kind}) }
}

// rewrites reports whether anything but a prefix or suffix may change a field by which objects are identified.
func (a *amplifier) rewrites(field place) bool {
	key := strings.Join(field, "/")
	if known, done := a.rewritten[key]; done {
		return known
	}
	found := false
	for dir, k := range a.tree.Loaded.Kustomizations {
		found = found || len(k.Spec.Transformers)+len(k.Spec.Validators)+len(k.Spec.Configurations) > 0 || a.replaces(k, field)
		for _, p := range slices.Concat(k.Spec.Patches, k.Spec.PatchesJson6902) { //nolint:staticcheck // deprecated, and still built
			found = found || p.Options != nil && (p.Options.AllowNameChange || p.Options.AllowKindChange)
		}
		for _, w := range a.writes[dir] {
			found = found || slices.ContainsFunc(operationsOf(w.text), func(op operation) bool { return pointer(op.path).contains(field) })
		}
	}
	a.rewritten[key] = found
	return found
}

// replaces reports whether a replacement of a kustomization writes a field.
func (a *amplifier) replaces(k *load.Kustomization, field place) bool {
	for _, r := range a.replacementsOf(k) {
		for _, t := range r.Targets {
			if slices.ContainsFunc(fieldPaths(t), func(text string) bool { return dotted(text).contains(field) }) {
				return true
			}
		}
	}
	return false
}
