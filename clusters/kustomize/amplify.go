package kustomize

import (
	"bytes"
	"errors"
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
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// maxWritten is how many keys and values kustomizations may write into all objects together. A patch of 12,000 values for 200
// clusters is 1.5 times as much, and made kustomize use 650 MiB. One of 20 values for 10,000 clusters is half the limit.
const maxWritten = 1_500_000

// bytesPerValue converts the length of a text into the number of values that use the same memory.
const bytesPerValue = 64

// maxFields is how many fields of an object a label and the like may be written to. It limits the cost of counting.
const maxFields = 200

// overLimit exceeds every limit. Sums and products are capped at it, so they can't overflow.
const overLimit = 1 << 30

// bulkWrite is something that a kustomization writes into many objects.
type bulkWrite struct {
	dir    string
	field  []string
	text   []byte
	target *types.Selector // nil for all objects
	// more is what it writes besides the text: names, which kustomize keeps for later.
	more int
	// fields are the fields that it writes to, unless it is one field of an object.
	fields []place
	// plugin is true for a transformer, and patch for a transformer that patches. labels is true for labels, which kustomize also
	// writes into lists, such as volumeClaimTemplates.
	plugin, patch, labels bool
}

// amplifier computes how much kustomizations write into how many objects.
type amplifier struct {
	*builder
	exact         bool // count exactly instead of estimating
	whole         bool // the tree is built in one piece
	writes        map[string][]bulkWrite
	contentsCache *contents                 // see contents
	fields        map[string][]place        // see configured
	fans          map[string]int            // see perObject
	longest       map[string]int            // see longestName
	built         map[string]int            // see ways
	others        map[string]map[string]int // see kinds
	growths       map[string]growth         // see growth
	largest       int                       // see largestObject
	items         int                       // see listItems
	rewritten     map[string]bool           // see rewrites
}

// amount is how many keys and values a part of a kustomization writes into all objects.
type amount struct {
	values  int
	finding func() finding.Finding
}

// refuseAmplified stops a tree whose kustomizations write too much into too many objects. It estimates first, and counts only
// when the estimate is over the limit.
func (b *builder) refuseAmplified() {
	a := amplifier{builder: b, whole: b.wholeReason() != "", growths: map[string]growth{}, writes: map[string][]bulkWrite{}, fans: map[string]int{}, longest: map[string]int{}, built: map[string]int{}, others: map[string]map[string]int{}, rewritten: map[string]bool{}}
	dirs := slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations))
	for _, dir := range dirs {
		a.writes[dir] = a.bulkWrites(b.tree.Loaded.Kustomizations[dir])
	}
	if a.refuseMany(); b.result.Stopped {
		return
	}
	c := a.newCopier(dirs)
	for _, a.exact = range []bool{false, true} {
		a.growths = map[string]growth{}
		sum, worst := 0, amount{values: -1}
		for _, dir := range dirs {
			for n := range c.amounts(dir) {
				if sum = add(sum, n.values); n.values > worst.values {
					worst = n
				}
			}
		}
		switch {
		case sum <= maxWritten:
			a.refuseReferences()
			return
		case a.exact:
			b.result.Stop(worst.finding())
		}
	}
}

// amounts returns what each part of a kustomization writes.
func (c *copier) amounts(dir string) iter.Seq[amount] {
	return func(yield func(amount) bool) {
		for _, w := range c.writes[dir] {
			if !yield(amount{c.total(w), func() finding.Finding { return c.finding(w) }}) {
				return
			}
		}
		for _, r := range c.replacements[dir] {
			if !yield(amount{c.replaced(r), func() finding.Finding { return c.copyFinding(r.dir, r.field) }}) {
				return
			}
		}
		for _, g := range c.generators(c.tree.Loaded.Kustomizations[dir]) {
			if !yield(amount{mul(add(c.generatedSize(g), optionsSize(c.tree.Loaded.Kustomizations[dir].Spec.GeneratorOptions)), c.ways(dir)), func() finding.Finding { return c.generatorFinding(g) }}) {
				return
			}
		}
		for i, v := range c.tree.Loaded.Kustomizations[dir].Spec.Vars { //nolint:staticcheck // deprecated in kustomize, and still built
			report := func() finding.Finding { return c.copyFinding(dir, fieldOf("vars", i)) }
			if !yield(amount{c.referred(v, c.objectsReached(bulkWrite{dir: c.tree.Loaded.Path})), report}) {
				return
			}
		}
	}
}

func (a *amplifier) finding(w bulkWrite) finding.Finding {
	f := finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the kustomizations write more than %d keys and values into their objects, most of them here: %d into each of %d",
			maxWritten, a.perObject(w), a.objectsReached(w)),
		Fix: "write less or into fewer objects: narrow the target of the patch, or put what one cluster needs into its file"}
	if copies(w.text) > 0 {
		f.Message = fmt.Sprintf("copy operations double what they copy: with the other patches up to the root, this may write more than %d keys and values into their objects", maxWritten)
		f.Fix = "write out the values with add operations"
	}
	return a.placed(f, w.dir, w.field)
}

// copyFinding reports a copy that may be too large.
func (a *amplifier) copyFinding(dir string, field []string) finding.Finding {
	return a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the kustomizations may write more than %d keys and values into their objects, most of them copied here: "+
			"copying into the source, or from a field that others copy to, doubles the content each time", maxWritten),
		Fix: "copy single values from a field that nothing is copied to, and write mappings and lists with a patch"}, dir, field)
}

// placed sets the position of a finding to a field of a kustomization.
func (a *amplifier) placed(f finding.Finding, dir string, field []string) finding.Finding {
	if k := a.tree.Loaded.Kustomizations[dir]; k.File != nil {
		f.Path = k.File.Path
		f.Line, f.Column = k.File.Position(0, field)
	}
	return f
}

// total returns how many keys and values w writes into all objects.
func (a *amplifier) total(w bulkWrite) int {
	each := a.perObject(w)
	if copies(w.text) > 0 {
		g := a.growth(w.dir)
		each = mul(a.largestObject()+g.values, doubled(g.copies))
	}
	sum := mul(each, a.objectsReached(w))
	if w.labels {
		sum = add(sum, mul(weight(w.text, a.exact), a.listItems()))
	}
	return sum
}

// perObject returns how many keys and values w writes into one object.
func (a *amplifier) perObject(w bulkWrite) int {
	n := add(weight(w.text, a.exact), w.more)
	switch {
	case len(w.fields) > maxFields:
		return mul(n, overLimit)
	case w.fields == nil:
		return n
	}
	fields := 0
	for _, at := range w.fields {
		key := fmt.Sprintf("%q", at)
		if _, known := a.fans[key]; !known {
			a.fans[key] = a.contents().fan(at)
		}
		fields = add(fields, a.fans[key])
	}
	return mul(n, fields)
}

// replaced returns how many keys and values a replacement writes into all objects.
func (c *copier) replaced(r *replacement) int {
	sum := 0
	for i, t := range r.Targets {
		w := bulkWrite{dir: r.dir}
		if t != nil {
			w.target = t.Select
		}
		sum = add(sum, mul(r.values[i], c.objectsReached(w)))
	}
	return sum
}

// growth is how an object grows on its way from a kustomization to the root: how often all of it may double, how many values are
// added, how many keys generators give or merge into it, and how many transformers it passes.
type growth struct{ copies, values, keys, steps int }

func (g growth) plus(h growth) growth {
	return growth{add(g.copies, h.copies), add(g.values, h.values), add(g.keys, h.keys), add(g.steps, h.steps)}
}

func (g growth) or(h growth) growth {
	return growth{max(g.copies, h.copies), max(g.values, h.values), max(g.keys, h.keys), max(g.steps, h.steps)}
}

// growth returns the largest growth over all paths from a kustomization to the root.
func (a *amplifier) growth(dir string) growth {
	if g, known := a.growths[dir]; known {
		return g
	}
	var most growth
	for _, u := range a.uses[dir] {
		most = most.or(a.growth(u.dir))
	}
	if k := a.tree.Loaded.Kustomizations[dir]; k != nil && (k.Spec.Kind != types.ComponentKind || dir == a.tree.Loaded.Path) {
		most = most.plus(a.own(dir))
	}
	a.growths[dir] = most
	return most
}

// most returns the largest growth of any object.
func (a *amplifier) most() growth {
	var most growth
	for dir := range a.writes {
		most = most.or(a.growth(dir))
	}
	return most
}

// own returns the growth that a kustomization and its components add to an object.
func (a *amplifier) own(dir string) growth {
	k := a.tree.Loaded.Kustomizations[dir]
	g := growth{steps: a.steps(k)}
	for _, w := range a.writes[dir] {
		g = g.plus(growth{copies: copies(w.text), values: a.perObject(w)})
	}
	for _, of := range a.generators(k) {
		g.keys = add(g.keys, a.keys(of))
	}
	for _, component := range inDir(dir, k.Spec.Components) {
		if a.tree.Loaded.Kustomizations[component] != nil {
			g = g.plus(a.own(component))
		}
	}
	return g
}

// largestObject returns how many keys and values the largest object of the tree has.
func (a *amplifier) largestObject() int {
	if a.largest == 0 {
		for name := range a.uses {
			f := a.file(name)
			if f == nil {
				continue
			}
			for _, d := range f.Documents {
				a.largest = max(a.largest, expanded(d.Node(), map[*yaml.Node]int{}))
			}
		}
	}
	return a.largest
}

// listItems counts the mappings in lists of all objects that kustomize may write labels into: their Pod templates, claims and selectors.
func (a *amplifier) listItems() int {
	if a.items > 0 {
		return a.items - 1
	}
	for name := range a.uses {
		f := a.file(name)
		if f == nil || f.IsCluster() {
			continue
		}
		for _, d := range f.Documents {
			if d.Kind != mondoo.Kind && d.Kind != "CustomResourceDefinition" {
				a.items = add(a.items, mul(mappingsInLists(d.Node()), a.loaded(name)))
			}
		}
	}
	a.items++
	return a.items - 1
}

// loaded returns how often kustomize loads a file.
func (a *amplifier) loaded(name string) int {
	n := 0
	for _, u := range a.uses[name] {
		n = add(n, a.ways(u.dir))
	}
	return n
}

func mappingsInLists(n *yaml.Node) int {
	n, sum := dereferenced(n), 0
	for _, child := range n.Content {
		if n.Kind == yaml.SequenceNode && dereferenced(child).Kind == yaml.MappingNode {
			sum++
		}
		sum = add(sum, mappingsInLists(child))
	}
	return sum
}

// bulkWrites lists what a kustomization writes into more than one object.
func (a *amplifier) bulkWrites(k *load.Kustomization) []bulkWrite {
	var list []bulkWrite
	patch := func(p types.Patch, field []string) {
		long := max(0, a.longestName(k.Dir)-maxName) / bytesPerValue // kustomize keeps one for each patch
		list = append(list, bulkWrite{dir: k.Dir, field: field, text: a.patchText(k, p), target: p.Target, more: long})
	}
	pairs := func(pairs map[string]string, field []string, fields []place, labels bool) {
		var text bytes.Buffer
		for key, value := range pairs {
			fmt.Fprintf(&text, "%q: %q\n", key, value)
		}
		if len(pairs) > 0 {
			list = append(list, bulkWrite{dir: k.Dir, field: field, text: text.Bytes(), fields: fields, labels: labels})
		}
	}
	for _, p := range a.patches[k.Dir] {
		if p.Target != nil {
			patch(p.Patch, k.Patch(p.index))
		}
	}
	for i, p := range k.Spec.PatchesJson6902 { //nolint:staticcheck // deprecated, and still built
		patch(p, fieldOf("patchesJson6902", i))
	}
	for i, label := range k.Spec.Labels {
		pairs(label.Pairs, fieldOf("labels", i), a.fieldsOf("label", label.FieldSpecs), true)
	}
	pairs(k.Spec.CommonAnnotations, []string{"commonAnnotations"}, a.fieldsOf("annotation", nil), false)
	name := func(field, text string) {
		if text != "" {
			list = append(list, bulkWrite{dir: k.Dir, field: []string{field}, fields: a.fieldsOf(strings.ToLower(field), nil),
				more: 1 + (len(text)+a.longestName(k.Dir))/bytesPerValue})
		}
	}
	name("namePrefix", k.Spec.NamePrefix)
	name("nameSuffix", k.Spec.NameSuffix)
	name("namespace", k.Spec.Namespace)
	for i, image := range k.Spec.Images {
		if text := image.NewName + image.NewTag + image.Digest + image.TagSuffix; len(text) > maxName {
			list = append(list, bulkWrite{dir: k.Dir, field: fieldOf("images", i), more: mul(len(text)/bytesPerValue, a.contents().at(nil).values)})
		}
	}
	return append(list, a.pluginWrites(k)...)
}

// weight returns how many keys and values a text has with its aliases expanded. The estimate is quick and never too low.
func weight(text []byte, exact bool) int {
	n := len(text) / bytesPerValue
	if !exact && !bytes.ContainsRune(text, '*') {
		return estimated(text)
	}
	documents, err := documentsIn(text)
	switch {
	case errors.Is(err, errAliases):
		return overLimit
	case err != nil:
		return estimated(text) // JSON may be valid where YAML is not
	}
	for _, document := range documents {
		n += nodes(document)
	}
	return min(n, overLimit)
}

func estimated(text []byte) int { return len(text)/bytesPerValue + load.Marks(string(text)) }

// nodes counts the nodes of a patch. Of a JSON patch, only the values of its operations are written.
func nodes(root *yaml.Node) int {
	counted := map[*yaml.Node]int{}
	if root.Kind != yaml.SequenceNode {
		return expanded(root, counted)
	}
	sum := 0
	for _, operation := range root.Content {
		sum++
		operation = dereferenced(operation)
		for i := 0; i+1 < len(operation.Content); i += 2 {
			switch operation.Content[i].Value {
			case "op", "path", "from":
			default:
				sum = add(sum, expanded(operation.Content[i+1], counted))
			}
		}
	}
	return sum
}

// copies counts the copy operations of a JSON patch, each of which may double an object.
func copies(text []byte) int {
	if !bytes.Contains(text, []byte("copy")) && !bytes.ContainsAny(text, `\!`) { // escapes and tags can spell it differently
		return 0
	}
	n := 0
	for _, op := range operationsOf(text) {
		if op.kind == "copy" {
			n++
		}
	}
	return n
}

// objectsReached returns how many objects a target selects in a kustomization, or in those that include a component. An object
// counts as often as kustomize builds it. Names are compared only for an exact count. Groups, versions and labels are ignored.
func (a *amplifier) objectsReached(w bulkWrite) int {
	kind, name := a.kindMatcher(w.target), func(string) bool { return true }
	own := a.tree.Loaded.Kustomizations[w.dir].Spec
	if w.target != nil {
		regex, err := types.NewSelectorRegex(&types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: w.target.Kind}, Name: w.target.Name}})
		if err != nil {
			return 0 // kustomize reports the error
		}
		if a.exact && w.target.Name != "" && !a.rewrites(place{"metadata", "name"}) {
			name = regex.MatchName
		}
	}
	sum := 0
	for _, around := range a.patchScopes(w.dir) {
		n := 0
		for of, count := range a.kinds(around) {
			if kind(of) {
				n += count
			}
		}
		if kind(v1alpha1.Kind) {
			for _, o := range a.occurrences(around) {
				after := renamed([]occurrence{o}, own)[0] // the names that replacements see
				if slices.ContainsFunc(slices.Concat(o.names, o.before, after.names, after.before), name) {
					n++
				}
			}
		}
		sum = min(sum+n*a.ways(around), overLimit)
	}
	return sum
}

// ways returns how often kustomize builds a kustomization: once for each path that leads to it. Load has limited the paths.
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

// kinds counts the objects of a kustomization that are not clusters, by kind.
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
				countKinds(d.Node(), counts)
			}
		}
	}
	counts["ConfigMap"] += len(k.Spec.ConfigMapGenerator)
	counts["Secret"] += len(k.Spec.SecretGenerator)
	return counts
}

// countKinds counts an object or, for a List, its items.
func countKinds(n *yaml.Node, counts map[string]int) {
	n = dereferenced(n)
	for _, item := range itemsOf(n) {
		countKinds(item, counts)
	}
	if kind := load.Field(n, "kind"); kind != nil {
		counts[dereferenced(kind).Value]++
		return
	}
	counts[""]++
}

func inDir(dir string, refs []string) []string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = path.Join(dir, ref)
	}
	return names
}
