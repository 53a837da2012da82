package build

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// maxWritten is how many keys and values kustomizations may write into all objects together. A patch of 12,000 values for 200 clusters is
// half as much again, and made kustomize take 650 MiB; one of 20 values for 10,000 clusters is half of it.
const maxWritten = 1_500_000

// bytesPerValue makes texts weigh as much as the values whose memory they take.
const bytesPerValue = 64

// beyond is more than anything that is allowed. Sums and products of such stay in range.
const beyond = 1 << 30

// written is something that a kustomization writes into many objects.
type written struct {
	dir    string
	field  []string
	text   []byte
	target *types.Selector // nil for all
}

// amplifier finds out how much kustomizations write into how many objects.
type amplifier struct {
	*builder
	exact   bool // count, rather than estimate
	list    map[string][]written
	built   map[string]int            // see ways
	others  map[string]map[string]int // see kinds
	through map[string]growth         // see growth
	largest int                       // see largestObject
}

// refuseAmplified stops a tree whose kustomizations write too much into too many objects. How much that is, is estimated first, and
// counted only where it may be too much.
func (b *builder) refuseAmplified() {
	a := amplifier{builder: b, list: map[string][]written{}, built: map[string]int{}, others: map[string]map[string]int{}}
	dirs := slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations))
	for _, dir := range dirs {
		a.list[dir] = a.writtenBy(b.tree.Loaded.Kustomizations[dir])
	}
	for _, a.exact = range []bool{false, true} {
		a.through = map[string]growth{}
		sum, worst, most := 0, written{}, -1
		for _, dir := range dirs {
			for _, w := range a.list[dir] {
				n := a.writes(w)
				if sum = min(sum+n, beyond); n > most {
					worst, most = w, n
				}
			}
		}
		switch {
		case sum <= maxWritten:
			return
		case a.exact:
			b.result.Stop(a.finding(worst))
		}
	}
}

func (a *amplifier) finding(w written) finding.Finding {
	f := finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the kustomizations write more than %d keys and values into their objects, and most of them here: %d into each of %d",
			maxWritten, weight(w.text, true), a.reached(w)),
		Fix: "write less, or into fewer objects: give the patch a narrower target, or put what one cluster needs into its file"}
	if copies(w.text) > 0 {
		f.Message = fmt.Sprintf("copy operations double what they copy: this and the other patches on the way to the root may write more than %d keys and values into their objects", maxWritten)
		f.Fix = "write the values out, with add"
	}
	if k := a.tree.Loaded.Kustomizations[w.dir]; k.File != nil {
		f.Path = k.File.Path
		f.Line, f.Column = k.File.Position(0, w.field)
	}
	return f
}

// writes is how many keys and values something writes into all objects.
func (a *amplifier) writes(w written) int {
	each := weight(w.text, a.exact)
	if copies(w.text) > 0 {
		g := a.growth(w.dir)
		each = min((a.largestObject()+g.values)<<min(g.copies, 30), beyond)
	}
	return min(each*a.reached(w), beyond)
}

// growth is what an object meets on its way from a kustomization to the root: how often all of it may double, and what else it gets.
type growth struct{ copies, values int }

// growth is the most of all ways from a kustomization to the root.
func (a *amplifier) growth(dir string) growth {
	if g, known := a.through[dir]; known {
		return g
	}
	var most growth
	for _, u := range a.uses[dir] {
		g := a.growth(u.dir)
		most = growth{max(most.copies, g.copies), max(most.values, g.values)}
	}
	if k := a.tree.Loaded.Kustomizations[dir]; k != nil && k.Spec.Kind != types.ComponentKind {
		own := a.own(dir)
		most = growth{min(most.copies+own.copies, beyond), min(most.values+own.values, beyond)}
	}
	a.through[dir] = most
	return most
}

// own is what a kustomization and its components write into an object.
func (a *amplifier) own(dir string) growth {
	var g growth
	for _, w := range a.list[dir] {
		g = growth{g.copies + copies(w.text), min(g.values+weight(w.text, a.exact), beyond)}
	}
	for _, component := range inDir(dir, a.tree.Loaded.Kustomizations[dir].Spec.Components) {
		if a.tree.Loaded.Kustomizations[component] != nil {
			below := a.own(component)
			g = growth{min(g.copies+below.copies, beyond), min(g.values+below.values, beyond)}
		}
	}
	return g
}

// largestObject is how many keys and values the largest object of the tree has.
func (a *amplifier) largestObject() int {
	if a.largest == 0 {
		for name := range a.uses {
			f := a.file(name)
			if f == nil {
				continue
			}
			for _, d := range f.Documents {
				a.largest = max(a.largest, below(d.Node()))
			}
		}
	}
	return a.largest
}

// writtenBy lists what a kustomization writes into more than one object.
func (a *amplifier) writtenBy(k *load.Kustomization) []written {
	var list []written
	note := func(file, inline string, target *types.Selector, field ...string) {
		text := []byte(inline)
		if file != "" {
			text = a.tree.Content[path.Join(k.Dir, file)]
		}
		list = append(list, written{dir: k.Dir, field: field, text: text, target: target})
	}
	pairs := func(pairs map[string]string, field ...string) {
		var text bytes.Buffer
		for key, value := range pairs {
			fmt.Fprintf(&text, "%q: %q\n", key, value)
		}
		note("", text.String(), nil, field...)
	}
	for _, p := range a.patches[k.Dir] {
		if p.Target != nil {
			note(p.Path, p.Patch.Patch, p.Target, k.Patch(p.index)...)
		}
	}
	for i, p := range k.Spec.PatchesJson6902 { //nolint:staticcheck // deprecated, and still built
		note(p.Path, p.Patch, p.Target, "patchesJson6902", fmt.Sprintf("[%d]", i))
	}
	for i, label := range k.Spec.Labels {
		pairs(label.Pairs, "labels", fmt.Sprintf("[%d]", i))
	}
	pairs(k.Spec.CommonAnnotations, "commonAnnotations")
	for i, entry := range k.Spec.Transformers {
		field := []string{"transformers", fmt.Sprintf("[%d]", i)}
		text := entry
		if !strings.Contains(entry, "\n") {
			text = string(a.tree.Content[path.Join(k.Dir, entry)])
		}
		note("", text, nil, field...)
		for _, inner := range scalars([]byte(text)) { // a transformer has its patches as texts, or as names of files
			if file := path.Join(k.Dir, inner); a.tree.Content[file] != nil {
				note(inner, "", nil, field...)
			} else if len(inner) > bytesPerValue {
				note("", inner, nil, field...)
			}
		}
	}
	return list
}

// scalars are the values of a text that are no collections.
func scalars(text []byte) []string {
	var list []string
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			list = append(list, n.Value)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		if decoder.Decode(&root) != nil {
			return list
		}
		walk(&root)
	}
}

// weight is how many keys and values a text makes, its aliases expanded. The estimate is quick, and never less: each value has one of
// these characters before it, and each key a colon behind it.
func weight(text []byte, exact bool) int {
	n := len(text) / bytesPerValue
	if !exact && !bytes.ContainsRune(text, '*') {
		for _, mark := range "::-,?[{" {
			n += bytes.Count(text, []byte(string(mark)))
		}
		return n
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		if decoder.Decode(&root) != nil {
			return n // at its end, or as kustomize will say
		}
		for _, document := range root.Content {
			n += nodes(document)
		}
	}
}

// nodes counts those of a patch. Of the operations of a JSON patch, the values alone are written.
func nodes(root *yaml.Node) int {
	if root.Kind != yaml.SequenceNode {
		return below(root)
	}
	sum := 0
	for operation := range operations6902(root) {
		sum++
		for i := 0; i+1 < len(operation.Content); i += 2 {
			switch operation.Content[i].Value {
			case "op", "path", "from":
			default:
				sum += below(operation.Content[i+1])
			}
		}
	}
	return sum
}

// copies counts the operations of a JSON patch that copy, each of which may double an object.
func copies(text []byte) int {
	if !bytes.Contains(text, []byte("copy")) && !bytes.ContainsAny(text, `\!`) { // escapes and tags can spell it in other ways
		return 0
	}
	var root yaml.Node
	if yaml.Unmarshal(text, &root) != nil || len(root.Content) == 0 {
		return 0
	}
	n := 0
	for operation := range operations6902(root.Content[0]) {
		var op struct{ Op string }
		if operation.Decode(&op) == nil && op.Op == "copy" {
			n++
		}
	}
	return n
}

// operations6902 are those of a JSON patch.
func operations6902(root *yaml.Node) iter.Seq[*yaml.Node] {
	return func(yield func(*yaml.Node) bool) {
		for _, operation := range root.Content {
			if operation.Kind == yaml.AliasNode {
				operation = operation.Alias
			}
			if !yield(operation) {
				return
			}
		}
	}
}

// below counts a node and those below it. Load has bounded what aliases make of them.
func below(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		return below(n.Alias)
	}
	sum := 1
	for _, child := range n.Content {
		sum += below(child)
	}
	return sum
}

// reached is how many objects a target selects in a kustomization, or around a component, each as often as kustomize builds it. Names
// are looked at only where it has to be exact; groups, versions and labels never are.
func (a *amplifier) reached(w written) int {
	kind, name := func(string) bool { return true }, func(string) bool { return true }
	if w.target != nil {
		regex, err := types.NewSelectorRegex(&types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: w.target.Kind}, Name: w.target.Name}})
		if err != nil {
			return 0 // as kustomize will say
		}
		kind = func(kind string) bool { return regex.MatchGvk(resid.Gvk{Kind: kind}) }
		if a.exact && w.target.Name != "" {
			name = regex.MatchName
		}
	}
	sum := 0
	for _, around := range a.around(w.dir) {
		n := 0
		for of, count := range a.kinds(around) {
			if kind(of) {
				n += count
			}
		}
		if kind(v1alpha1.Kind) {
			for _, o := range a.occurrences(around) {
				if name(o.name) || slices.ContainsFunc(o.before, name) {
					n++
				}
			}
		}
		sum = min(sum+n*a.ways(around), beyond)
	}
	return sum
}

// ways is how often kustomize builds a kustomization: once for each way that leads to it. Load has bounded them.
func (a *amplifier) ways(dir string) int {
	if n, known := a.built[dir]; known {
		return n
	}
	n := 0
	for _, u := range a.uses[dir] {
		n += a.ways(u.dir)
	}
	if dir == a.tree.Loaded.Path {
		n = 1
	}
	a.built[dir] = n
	return n
}

// kinds counts the objects of a kustomization that are no clusters.
func (a *amplifier) kinds(dir string) map[string]int {
	if counts, known := a.others[dir]; known {
		return counts
	}
	counts := map[string]int{}
	a.others[dir] = counts
	k := a.tree.Loaded.Kustomizations[dir]
	for _, name := range slices.Concat(k.Resources, inDir(dir, k.Spec.Components)) {
		if a.tree.Loaded.Kustomizations[name] != nil {
			for kind, n := range a.kinds(name) {
				counts[kind] += n
			}
		} else if f := a.file(name); f != nil && !f.IsCluster() {
			for _, d := range f.Documents {
				counts[d.Kind]++
			}
		}
	}
	counts["ConfigMap"] += len(k.Spec.ConfigMapGenerator)
	counts["Secret"] += len(k.Spec.SecretGenerator)
	return counts
}

func inDir(dir string, refs []string) []string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = path.Join(dir, ref)
	}
	return names
}
