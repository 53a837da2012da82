package build

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
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// maxWritten is how many keys and values kustomizations may write into all objects together. A patch of 12,000 values for 200 clusters is
// half as much again, and made kustomize take 650 MiB; one of 20 values for 10,000 clusters is half of it.
const maxWritten = 1_500_000

// bytesPerValue makes texts weigh as much as the values whose memory they take.
const bytesPerValue = 64

// maxFields is how many fields a label and the like may be written to in an object. It bounds what it takes to find out how much that is.
const maxFields = 200

// beyond is more than anything that is allowed. Sums and products of such stay in range.
const beyond = 1 << 30

// written is something that a kustomization writes into many objects.
type written struct {
	dir    string
	field  []string
	text   []byte
	target *types.Selector // nil for all
	// more is what it writes beside the text: names, which kustomize keeps for later.
	more int
	// fields are where it writes to, when that isn't one field of an object.
	fields []place
	// plugin says that it is what a transformer does, and patch that it does so by patches.
	plugin, patch bool
}

// amplifier finds out how much kustomizations write into how many objects.
type amplifier struct {
	*builder
	exact   bool // count, rather than estimate
	list    map[string][]written
	found   *contents                 // see contents
	fields  map[string][]place        // see configured
	fans    map[string]int            // see each
	longest map[string]int            // see longestName
	built   map[string]int            // see ways
	others  map[string]map[string]int // see kinds
	through map[string]growth         // see growth
	largest int                       // see largestObject
	renamed *bool                     // see renames
}

// amount is how many keys and values one part of a kustomization writes into all objects.
type amount struct {
	values int
	says   func() finding.Finding
}

// refuseAmplified stops a tree whose kustomizations write too much into too many objects. How much that is, is estimated first, and
// counted only where it may be too much.
func (b *builder) refuseAmplified() {
	a := amplifier{builder: b, list: map[string][]written{}, fans: map[string]int{}, longest: map[string]int{}, built: map[string]int{}, others: map[string]map[string]int{}}
	dirs := slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations))
	for _, dir := range dirs {
		a.list[dir] = a.writtenBy(b.tree.Loaded.Kustomizations[dir])
	}
	if a.refuseMany(); b.result.Stopped {
		return
	}
	c := a.copying(dirs)
	for _, a.exact = range []bool{false, true} {
		a.through = map[string]growth{}
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
			return
		case a.exact:
			b.result.Stop(worst.says())
		}
	}
}

// amounts are what the parts of a kustomization write.
func (c *copier) amounts(dir string) iter.Seq[amount] {
	return func(yield func(amount) bool) {
		for _, w := range c.list[dir] {
			if !yield(amount{c.writes(w), func() finding.Finding { return c.finding(w) }}) {
				return
			}
		}
		for _, r := range c.replacements[dir] {
			if !yield(amount{c.replaced(r), func() finding.Finding { return c.copyFinding(r.dir, r.field) }}) {
				return
			}
		}
		for _, g := range c.generators(c.tree.Loaded.Kustomizations[dir]) {
			if !yield(amount{mul(c.made(g), c.ways(dir)), func() finding.Finding { return c.generatorFinding(g) }}) {
				return
			}
		}
		for i, v := range c.tree.Loaded.Kustomizations[dir].Spec.Vars { //nolint:staticcheck // deprecated in kustomize, and still built
			says := func() finding.Finding { return c.copyFinding(dir, fieldOf("vars", i)) }
			if !yield(amount{c.referred(v, c.reached(written{dir: c.tree.Loaded.Path})), says}) {
				return
			}
		}
	}
}

func (a *amplifier) finding(w written) finding.Finding {
	f := finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the kustomizations write more than %d keys and values into their objects, and most of them here: %d into each of %d",
			maxWritten, a.each(w), a.reached(w)),
		Fix: "write less, or into fewer objects: give the patch a narrower target, or put what one cluster needs into its file"}
	if copies(w.text) > 0 {
		f.Message = fmt.Sprintf("copy operations double what they copy: this and the other patches on the way to the root may write more than %d keys and values into their objects", maxWritten)
		f.Fix = "write the values out, with add"
	}
	return a.placed(f, w.dir, w.field)
}

// copyFinding is for what copies more than is known to be little.
func (a *amplifier) copyFinding(dir string, field []string) finding.Finding {
	return a.placed(finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: a.rootFile(),
		Message: fmt.Sprintf("the kustomizations may write more than %d keys and values into their objects, and most of them by what this copies: "+
			"what is copied into its own source, or from where others copy to, doubles each time", maxWritten),
		Fix: "copy single values, from a field that nothing is copied to; write mappings and lists with a patch"}, dir, field)
}

// placed gives a finding the place of a field of a kustomization.
func (a *amplifier) placed(f finding.Finding, dir string, field []string) finding.Finding {
	if k := a.tree.Loaded.Kustomizations[dir]; k.File != nil {
		f.Path = k.File.Path
		f.Line, f.Column = k.File.Position(0, field)
	}
	return f
}

// writes is how many keys and values something writes into all objects.
func (a *amplifier) writes(w written) int {
	each := a.each(w)
	if copies(w.text) > 0 {
		g := a.growth(w.dir)
		each = mul(a.largestObject()+g.values, doubled(g.copies))
	}
	return mul(each, a.reached(w))
}

// each is how many keys and values something writes into one object.
func (a *amplifier) each(w written) int {
	n := add(weight(w.text, a.exact), w.more)
	switch {
	case len(w.fields) > maxFields:
		return mul(n, beyond)
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

// replaced is how many keys and values a replacement writes into all objects.
func (c *copier) replaced(r *replacement) int {
	sum := 0
	for i, t := range r.Targets {
		w := written{dir: r.dir}
		if t != nil {
			w.target = t.Select
		}
		sum = add(sum, mul(r.values[i], c.reached(w)))
	}
	return sum
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
		g = growth{g.copies + copies(w.text), add(g.values, a.each(w))}
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
	patch := func(p types.Patch, field []string) {
		text := []byte(p.Patch)
		if p.Path != "" {
			text = a.tree.Content[path.Join(k.Dir, p.Path)]
		}
		long := max(0, a.longestName(k.Dir)-maxName) / bytesPerValue // of which kustomize keeps one for each patch
		list = append(list, written{dir: k.Dir, field: field, text: text, target: p.Target, more: long})
	}
	pairs := func(pairs map[string]string, field []string, fields []place) {
		var text bytes.Buffer
		for key, value := range pairs {
			fmt.Fprintf(&text, "%q: %q\n", key, value)
		}
		if len(pairs) > 0 {
			list = append(list, written{dir: k.Dir, field: field, text: text.Bytes(), fields: fields})
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
		pairs(label.Pairs, fieldOf("labels", i), a.fieldsOf("label", label.FieldSpecs))
	}
	pairs(k.Spec.CommonAnnotations, []string{"commonAnnotations"}, a.fieldsOf("annotation", nil))
	name := func(field, text string) {
		if text != "" {
			list = append(list, written{dir: k.Dir, field: []string{field}, fields: a.fieldsOf(strings.ToLower(field), nil),
				more: 1 + (len(text)+a.longestName(k.Dir))/bytesPerValue})
		}
	}
	name("namePrefix", k.Spec.NamePrefix)
	name("nameSuffix", k.Spec.NameSuffix)
	name("namespace", k.Spec.Namespace)
	for i, image := range k.Spec.Images {
		if text := image.NewName + image.NewTag + image.Digest + image.TagSuffix; len(text) > maxName {
			list = append(list, written{dir: k.Dir, field: fieldOf("images", i), more: mul(len(text)/bytesPerValue, a.contents().at(nil).values)})
		}
	}
	return append(list, a.writtenByPlugins(k)...)
}

// weight is how many keys and values a text makes, its aliases expanded. The estimate is quick, and never less.
func weight(text []byte, exact bool) int {
	n := len(text) / bytesPerValue
	if !exact && !bytes.ContainsRune(text, '*') {
		return estimated(text)
	}
	documents, err := documentsIn(text)
	switch {
	case errors.Is(err, errAliases):
		return beyond
	case err != nil:
		return estimated(text) // JSON may be more than YAML
	}
	for _, document := range documents {
		n += nodes(document)
	}
	return min(n, beyond)
}

func estimated(text []byte) int { return len(text)/bytesPerValue + load.Marks(string(text)) }

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
	n := 0
	for _, op := range operationsOf(text) {
		if op.kind == "copy" {
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
	own := a.tree.Loaded.Kustomizations[w.dir].Spec
	if w.target != nil {
		regex, err := types.NewSelectorRegex(&types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: w.target.Kind}, Name: w.target.Name}})
		if err != nil {
			return 0 // as kustomize will say
		}
		kind = func(kind string) bool { return regex.MatchGvk(resid.Gvk{Kind: kind}) }
		if a.exact && w.target.Name != "" && !a.renames() {
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
				after := renamed([]occurrence{o}, own)[0] // which replacements see
				if slices.ContainsFunc(slices.Concat(o.names, o.before, after.names, after.before), name) {
					n++
				}
			}
		}
		sum = min(sum+n*a.ways(around), beyond)
	}
	return sum
}

// renames says whether anything but a prefix or suffix may change the name of an object.
func (a *amplifier) renames() bool {
	if a.renamed == nil {
		name, renamed := place{"metadata", "name"}, false
		for dir, k := range a.tree.Loaded.Kustomizations {
			renamed = renamed || len(k.Spec.Transformers)+len(k.Spec.Validators)+len(k.Spec.Configurations) > 0
			for _, p := range slices.Concat(k.Spec.Patches, k.Spec.PatchesJson6902) { //nolint:staticcheck // deprecated, and still built
				renamed = renamed || p.Options != nil && p.Options.AllowNameChange
			}
			for _, r := range a.replacementsOf(k) {
				for _, t := range r.Targets {
					renamed = renamed || slices.ContainsFunc(fieldPaths(t), func(text string) bool { return dotted(text).holds(name) })
				}
			}
			for _, w := range a.list[dir] {
				renamed = renamed || slices.ContainsFunc(operationsOf(w.text), func(op operation) bool { return pointer(op.path).holds(name) })
			}
		}
		a.renamed = &renamed
	}
	return *a.renamed
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
