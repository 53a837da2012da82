package kustomize

import (
	"cmp"
	"fmt"
	"math/bits"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/load"
)

// maxCopied is how many fields replacements may write to, each counted as often as its kustomization is included. It limits the
// cost of computing how much they copy.
const maxCopied = 10_000

// replacement is a replacement of a kustomization, or of a transformer.
type replacement struct {
	types.Replacement
	dir   string
	field []string
	// values are how many values it writes into an object of each target.
	values []int
}

// copier computes how much replacements and vars copy. A source may be a mapping or a long text that contains the place it is
// copied to, so it doubles with each copy. The next replacement may copy the result again. copier visits the kustomizations in
// the same order as kustomize.
type copier struct {
	*amplifier
	*contents
	replacements map[string][]*replacement // of each kustomization
	visited      map[string]bool
	fields       int
}

// newCopier computes how much each replacement of the tree writes into an object. It does no work if there are neither
// replacements nor vars.
func (a *amplifier) newCopier(dirs []string) *copier {
	c := &copier{amplifier: a, replacements: map[string][]*replacement{}, visited: map[string]bool{}}
	used := false
	for _, dir := range dirs {
		k := a.tree.Loaded.Kustomizations[dir]
		c.replacements[dir] = c.replacementsOf(k)
		used = used || len(c.replacements[dir])+len(k.Spec.Vars) > 0 //nolint:staticcheck // deprecated in kustomize, and still built
	}
	if used {
		c.contents = a.contents()
		c.visit(a.tree.Loaded.Path)
	}
	return c
}

// replacementsOf returns the replacements of a kustomization and of its transformers.
func (a *amplifier) replacementsOf(k *load.Kustomization) []*replacement {
	var list []*replacement
	note := func(from []types.ReplacementField, field []string) {
		for i, r := range from {
			at := slices.Clone(field)
			if field[0] == "replacements" {
				at = append(at, fmt.Sprintf("[%d]", i))
			}
			one := []types.Replacement{r.Replacement}
			if r.Path != "" {
				one = replacementsIn(a.tree.Content[path.Join(k.Dir, r.Path)])
			}
			for _, r := range one {
				list = append(list, &replacement{Replacement: r, dir: k.Dir, field: at, values: make([]int, len(r.Targets))})
			}
		}
	}
	note(k.Spec.Replacements, []string{"replacements"})
	for _, p := range a.plugins(k) {
		documents, _ := documentsIn(p.text) // kustomize reports the error
		for _, d := range documents {
			var transformer struct {
				Kind         string                   `json:"kind"`
				Replacements []types.ReplacementField `json:"replacements"`
			}
			if text, err := yaml.Marshal(d); err == nil && unmarshal(text, &transformer) && transformer.Kind == "ReplacementTransformer" {
				note(transformer.Replacements, p.field)
			}
		}
	}
	return list
}

// replacementsIn parses a file of replacements, which has one, or a list of them.
func replacementsIn(text []byte) []types.Replacement {
	var list []types.Replacement
	if unmarshal(text, &list) {
		return list
	}
	var one types.Replacement
	unmarshal(text, &one)
	return []types.Replacement{one}
}

// visit processes a kustomization: its resources, its components, then its own replacements. kustomize builds a base anew for
// each kustomization that includes it, always with the same result. A component works on what has been built before it.
func (c *copier) visit(dir string) {
	k := c.tree.Loaded.Kustomizations[dir]
	if k == nil || c.visited[dir] || c.fields > maxCopied {
		return
	}
	c.visited[dir] = k.Spec.Kind != types.ComponentKind
	for _, name := range slices.Concat(k.Resources, inDir(dir, k.Spec.Components)) {
		c.visit(name)
	}
	for _, text := range c.patchTexts(k) {
		c.copyWithin(text)
	}
	for _, r := range c.replacements[dir] {
		c.replace(r)
	}
}

// copyWithin records what a JSON patch copies or moves within an object. The method total counts the values.
func (c *copier) copyWithin(text []byte) {
	for _, op := range operationsOf(text) {
		if op.kind == "copy" || op.kind == "move" {
			c.put(pointer(op.path), c.at(pointer(op.from)), false)
		}
	}
}

// replace records the effect of one replacement.
func (c *copier) replace(r *replacement) {
	value, from, grows := c.source(r)
	if doublings := c.doublings(r, from, grows); doublings > 0 {
		value = value.times(doubled(doublings))
	}
	for i, t := range r.Targets {
		values := 0
		for _, text := range fieldPaths(t) {
			if c.fields++; c.fields > maxCopied {
				values = overLimit
				break
			}
			values = add(values, c.set(dotted(text), value, joins(t)))
			values = add(values, len(text)/bytesPerValue)
		}
		r.values[i] = max(r.values[i], values)
	}
}

// source returns what a replacement copies, and from where. grows is true when the source grows with what is written into it.
func (c *copier) source(r *replacement) (value size, from place, grows bool) {
	if r.SourceValue != nil || r.Source == nil {
		text := ""
		if r.SourceValue != nil {
			text = *r.SourceValue
		}
		return sizeOfText(text), nil, false
	}
	from = dotted(cmp.Or(r.Source.FieldPath, types.DefaultReplacementFieldPath))
	return c.at(from), from, r.Source.Options == nil || r.Source.Options.Delimiter == ""
}

// doublings returns how often a replacement may double its own source while it processes its targets.
func (c *copier) doublings(r *replacement, from place, grows bool) int {
	n := 0
	for _, t := range r.Targets {
		for _, text := range fieldPaths(t) {
			at := dotted(text)
			if !grows {
				continue
			}
			if at.below(from) || joins(t) && at.contains(from) {
				n = add(n, c.fan(at))
			}
			for i := 1; i < len(at); i++ {
				if holder := c.at(at[:i]); holder.own > 0 && (at[:i].contains(from) || at[:i].below(from)) {
					n = add(n, mul(c.fan(at), bits.Len(uint(indented(holder.depth)))))
				}
			}
		}
	}
	return n
}

// set returns how many values are written into an object when a value is copied to a place in it.
func (c *copier) set(at place, value size, joins bool) int {
	fan := c.fan(at)
	lastList := len(at) - 1 // keys on the way, after the last list once per item
	for lastList >= 0 && !isItem(at[lastList]) {
		lastList--
	}
	written := add(mul(add(value.values, len(at)-lastList), fan), len(at))
	for i := 1; i < len(at); i++ {
		if holder := c.at(at[:i]); holder.own > 0 {
			holder = holder.rewritten(value.times(fan))
			c.put(at[:i], holder, false)
			written = add(written, mul(holder.values, c.fan(at[:i])))
		}
	}
	value = value.times(fan)
	value.nodes = fan
	c.put(at, value, joins)
	return written
}

// fan returns how many fields a replacement may find at a place of an object. It enters lists only where the place says so.
func (c *copier) fan(at place) int {
	if !slices.ContainsFunc(at, isItem) {
		return 1
	}
	return c.contents.fan(at)
}

func joins(t *types.TargetSelector) bool { return t.Options != nil && t.Options.Delimiter != "" }

func fieldPaths(t *types.TargetSelector) []string {
	if t == nil {
		return nil
	}
	if len(t.FieldPaths) == 0 {
		return []string{types.DefaultReplacementFieldPath}
	}
	return t.FieldPaths
}

// referred returns how many values vars write in total, into the given number of objects.
func (c *copier) referred(v types.Var, objects int) int {
	value := c.at(dotted(cmp.Or(v.FieldRef.FieldPath, types.DefaultReplacementFieldPath)))
	if value.spread > 0 { // kustomize substitutes no mappings
		return overLimit // kustomize may process a text several times
	}
	return mul(mul(value.values, objects), c.at(nil).refs)
}
