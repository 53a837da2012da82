package kustomize

import (
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/utils"
)

// place is a field in an object: its keys from the top. A key for list items (a number, "*", "[name=x]") matches any other item,
// and any key.
type place []string

// dotted parses a place as replacements and vars write it.
func dotted(text string) place { return utils.SmarterPathSplitter(text, ".") }

// pointer parses a JSON pointer.
func pointer(text string) place {
	p := place(strings.Split(strings.TrimPrefix(text, "/"), "/"))
	for i := range p {
		p[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p[i])
	}
	if text == "" {
		return nil
	}
	return p
}

// items is the key for all items of a list, and nothing else.
const items = "[]"

// isItem reports whether a key may refer to list items.
func isItem(key string) bool {
	_, err := strconv.Atoi(key)
	return err == nil || key == "*" || key == "-" || strings.HasPrefix(key, "[")
}

// contains reports whether other is p, or inside it.
func (p place) contains(other place) bool {
	if len(p) > len(other) {
		return false
	}
	for i, key := range p {
		if key != other[i] && !isItem(key) && !isItem(other[i]) {
			return false
		}
	}
	return true
}

// below reports whether p is inside other.
func (p place) below(other place) bool { return len(p) > len(other) && other.contains(p) }

// find calls found for each node at a place below n. It descends into lists even if the place doesn't mention them.
func find(n *yaml.Node, at place, found func(*yaml.Node)) {
	switch {
	case n.Kind == yaml.AliasNode:
		find(n.Alias, at, found)
	case len(at) == 0:
		found(n)
	case n.Kind == yaml.SequenceNode:
		rest := at
		if isItem(at[0]) {
			rest = at[1:]
		}
		for _, child := range n.Content {
			if at[0] == items && child.Kind == yaml.SequenceNode {
				find(child, at, found)
			}
			find(child, rest, found)
		}
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch key := n.Content[i]; {
			case key.Value == at[0] || at[0] == "*":
				find(n.Content[i+1], at[1:], found)
			case key.Tag == "!!merge":
				find(n.Content[i+1], at, found)
			}
		}
	}
}

// size is an upper bound of the content at a place.
type size struct {
	values int // keys and values, as weight counts them
	nodes  int // number of nodes there, in one object
	text   int // bytes of the largest text after kustomize parses it as YAML or JSON, sets a value in it and writes it
	own    int // the same for a text exactly at the place, 0 if there is none
	depth  int // how deeply a value can be nested in it
	refs   int // references to vars
	spread int // the same in a text exactly at the place, which they may be the whole value of
}

// sizeOf measures a node and its descendants.
func sizeOf(n *yaml.Node) size {
	if n.Kind == yaml.AliasNode {
		return sizeOf(n.Alias)
	}
	if n.Kind == yaml.ScalarNode {
		return sizeOfText(n.Value)
	}
	s := size{values: 1, nodes: 1}
	for _, child := range n.Content {
		s = s.plus(sizeOf(child))
	}
	s.depth, s.nodes, s.own, s.spread = add(s.depth, 1), 1, 0, 0
	return s
}

// structured matches a text that may parse as a YAML mapping or list.
var structured = regexp.MustCompile(`[{\[]|[:?-](\s|$)`)

// sizeOfText measures a text. When it is written again, a character may take ten, and each value takes a line, indented by its
// depth. In JSON, aliases are expanded.
func sizeOfText(text string) size {
	s := size{values: 1 + len(text)/bytesPerValue, nodes: 1, refs: strings.Count(text, "$(")}
	s.spread = s.refs
	if !structured.MatchString(text) {
		return s
	}
	s.depth = strings.Count(text, "[") + strings.Count(text, "{")
	s.text = mul(len(text), indented(s.depth))
	if strings.Contains(text, "*") {
		s.text = mul(s.text, len(text))
	}
	s.own = s.text
	return s
}

// indented is how many bytes one byte may become in a text of this depth.
func indented(depth int) int { return add(10, mul(4, depth)) }

// plus is the size of two things at the same place.
func (s size) plus(t size) size {
	return size{values: add(s.values, t.values), nodes: add(s.nodes, t.nodes), text: add(s.text, t.text), own: add(s.own, t.own),
		depth: add(s.depth, t.depth), refs: add(s.refs, t.refs), spread: add(s.spread, t.spread)}
}

// or is the larger size of two alternatives.
func (s size) or(t size) size {
	return size{values: max(s.values, t.values), nodes: max(s.nodes, t.nodes), text: max(s.text, t.text), own: max(s.own, t.own),
		depth: max(s.depth, t.depth), refs: max(s.refs, t.refs), spread: max(s.spread, t.spread)}
}

// times is the size of n copies.
func (s size) times(n int) size {
	return size{values: mul(s.values, n), nodes: mul(s.nodes, n), text: mul(s.text, n), own: mul(s.own, n), depth: mul(s.depth, n),
		refs: mul(s.refs, n), spread: mul(s.spread, n)}
}

// rewritten is the size of a text after a value is set in it.
func (s size) rewritten(value size) size {
	s.own = add(s.own, mul(mul(value.values, bytesPerValue), indented(add(s.depth, value.depth))))
	s.text = s.own
	s.values = max(s.values, 1+s.text/bytesPerValue)
	s.depth = add(s.depth, value.depth)
	s.refs = add(s.refs, value.refs)
	s.spread = s.refs
	return s
}

// add and mul are capped at overLimit.
func add(a, b int) int { return min(a+b, overLimit) }

func mul(a, b int) int { return min(min(a, overLimit)*min(b, overLimit), overLimit) }

// doubled is the factor of so many doublings.
func doubled(times int) int { return 1 << min(times, bits.Len(overLimit)) }

// piece is what a kustomization writes at a place of an object.
type piece struct {
	at   place
	node *yaml.Node
	any  size // if node is nil: what it may write there or below
}

// size returns how much of a piece is at a place.
func (p piece) size(at place) size {
	var s size
	switch {
	case p.node == nil && p.at.contains(at):
		s = p.any
	case p.node == nil && at.contains(p.at):
		s = p.any
		s.own, s.spread = 0, 0
	case p.node == nil:
	case p.at.contains(at):
		s = measure(p.node, at[len(p.at):], size.plus)
	case at.contains(p.at):
		s = sizeOf(p.node)
		s.values, s.own, s.spread = add(s.values, len(p.at)-len(at)), 0, 0
	}
	return s
}

// measure joins the sizes of the nodes at a place below n.
func measure(n *yaml.Node, at place, join func(size, size) size) size {
	var s size
	nodes := 0
	find(n, at, func(n *yaml.Node) {
		s = join(s, sizeOf(n))
		nodes = add(nodes, 1)
	})
	s.nodes = nodes
	return s
}

// contents knows how much is at a place of an object: from files and generators, from patches and the like, and from copies so
// far. It ignores which object it is, because kustomizations may change names and kinds.
type contents struct {
	objects []*yaml.Node
	pieces  []piece
	known   map[string]size // sizes in objects, by place
	sets    map[string]copied
	joined  []copied
}

// copied is what was copied to a place.
type copied struct {
	at   place
	size size
}

// at returns the most that any object has at a place.
func (c *contents) at(at place) size {
	key := fmt.Sprintf("%q", at)
	s, known := c.known[key]
	if !known {
		for _, object := range c.objects {
			s = s.or(measure(object, at, size.or))
		}
		c.known[key] = s
	}
	var more size
	for _, w := range c.sets {
		switch {
		case w.at.contains(at):
			if len(w.at) < len(at) { // its structure is unknown
				w.size.nodes, w.size.own, w.size.spread = w.size.values, w.size.text, w.size.refs
			}
			s = s.or(w.size)
		case w.at.below(at):
			w.size.own, w.size.spread = 0, 0
			more = more.plus(w.size)
		}
	}
	for _, w := range c.joined {
		if w.at.below(at) {
			w.size.own, w.size.spread = 0, 0
		}
		if w.at.contains(at) || w.at.below(at) {
			more = more.plus(w.size)
		}
	}
	for _, p := range c.pieces {
		more = more.plus(p.size(at))
	}
	return s.plus(more)
}

// fan returns how many fields an object may have at a place, after missing ones are created.
func (c *contents) fan(at place) int {
	most := 1
	for i := range at {
		most = max(most, c.at(append(slices.Clone(at[:i+1]), items)).nodes)
	}
	return max(most, c.at(at).nodes)
}

// put records a copy to a place. It replaces the content there, or is joined to it.
func (c *contents) put(at place, s size, joins bool) {
	if joins {
		c.joined = append(c.joined, copied{at, s})
		return
	}
	key := fmt.Sprintf("%q", at)
	c.sets[key] = copied{at, c.sets[key].size.or(s)}
}
