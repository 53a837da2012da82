package build

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

// place is a field in an object, whichever it is: its keys from the top. What stands for items of a list (a number, "*", "[name=x]")
// matches any other item, and any key.
type place []string

// dotted reads a place as replacements and vars write it.
func dotted(text string) place { return utils.SmarterPathSplitter(text, ".") }

// pointer reads a place as JSON patches write it.
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

// items is the key of all items of a list, and of nothing else.
const items = "[]"

// item says whether a key may stand for items of a list.
func item(key string) bool {
	_, err := strconv.Atoi(key)
	return err == nil || key == "*" || key == "-" || strings.HasPrefix(key, "[")
}

// holds says whether one place is another, or above it.
func (p place) holds(other place) bool {
	if len(p) > len(other) {
		return false
	}
	for i, key := range p {
		if key != other[i] && !item(key) && !item(other[i]) {
			return false
		}
	}
	return true
}

// below says whether one place is inside of another.
func (p place) below(other place) bool { return len(p) > len(other) && other.holds(p) }

// find calls found for each node at a place below n. A list on the way is gone into, whether the place says so or not.
func find(n *yaml.Node, at place, found func(*yaml.Node)) {
	switch {
	case n.Kind == yaml.AliasNode:
		find(n.Alias, at, found)
	case len(at) == 0:
		found(n)
	case n.Kind == yaml.SequenceNode:
		rest := at
		if item(at[0]) {
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

// size is an upper bound of what stands at a place.
type size struct {
	values int // keys and values, as weight counts them
	nodes  int // how many nodes stand there, in one object
	text   int // bytes that the largest text has when kustomize reads it as YAML or JSON, sets a value in it and writes it again
	own    int // the same for a text that stands right there; none does when it is zero
	depth  int // how deep a value can stand in it
	refs   int // references to vars
	spread int // the same in a text that stands right there, whose value they may be
}

// sizeOf measures a node and those below it.
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

// structured matches what stands in each text that is a mapping or a list when it is read as YAML.
var structured = regexp.MustCompile(`[{\[]|[:?-](\s|$)`)

// sizeOfText measures a text. Written again, a character may take ten, and each value stands on a line of its own that is indented by
// how deep it is; in JSON, aliases are written out.
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

// indented is how many bytes one takes in a text that is so deep.
func indented(depth int) int { return add(10, mul(4, depth)) }

// plus is the size of two things that stand at one place.
func (s size) plus(t size) size {
	return size{values: add(s.values, t.values), nodes: add(s.nodes, t.nodes), text: add(s.text, t.text), own: add(s.own, t.own),
		depth: add(s.depth, t.depth), refs: add(s.refs, t.refs), spread: add(s.spread, t.spread)}
}

// or is the size of one of two things.
func (s size) or(t size) size {
	return size{values: max(s.values, t.values), nodes: max(s.nodes, t.nodes), text: max(s.text, t.text), own: max(s.own, t.own),
		depth: max(s.depth, t.depth), refs: max(s.refs, t.refs), spread: max(s.spread, t.spread)}
}

// times is the size of so many of one thing.
func (s size) times(n int) size {
	return size{values: mul(s.values, n), nodes: mul(s.nodes, n), text: mul(s.text, n), own: mul(s.own, n), depth: mul(s.depth, n),
		refs: mul(s.refs, n), spread: mul(s.spread, n)}
}

// rewritten is what a text becomes when a value is set in it.
func (s size) rewritten(value size) size {
	s.own = add(s.own, mul(mul(value.values, bytesPerValue), indented(add(s.depth, value.depth))))
	s.text = s.own
	s.values = max(s.values, 1+s.text/bytesPerValue)
	s.depth = add(s.depth, value.depth)
	s.refs = add(s.refs, value.refs)
	s.spread = s.refs
	return s
}

// add and mul stay in range: beyond is more than anything that is allowed.
func add(a, b int) int { return min(a+b, beyond) }

func mul(a, b int) int { return min(min(a, beyond)*min(b, beyond), beyond) }

// doubled is a factor of so many doublings.
func doubled(times int) int { return 1 << min(times, bits.Len(beyond)) }

// piece is what a kustomization writes at a place of an object.
type piece struct {
	at   place
	node *yaml.Node
	any  size // where node is nil: what it may write there or below
}

// size is how much of a piece stands at a place.
func (p piece) size(at place) size {
	var s size
	switch {
	case p.node == nil && p.at.holds(at):
		s = p.any
	case p.node == nil && at.holds(p.at):
		s = p.any
		s.own, s.spread = 0, 0
	case p.node == nil:
	case p.at.holds(at):
		s = measure(p.node, at[len(p.at):], size.plus)
	case at.holds(p.at):
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

// contents knows how much stands at a place of an object: from files and generators, by patches and the like, and by what has been
// copied so far. Which object it is doesn't matter, since kustomizations may change names and kinds.
type contents struct {
	objects []*yaml.Node
	pieces  []piece
	known   map[string]size // of objects
	sets    map[string]copied
	joined  []copied
}

// copied is what was copied to a place.
type copied struct {
	at   place
	size size
}

// at is the most that an object has at a place.
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
		case w.at.holds(at):
			if len(w.at) < len(at) { // of what stands inside is known no more
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
		if w.at.holds(at) || w.at.below(at) {
			more = more.plus(w.size)
		}
	}
	for _, p := range c.pieces {
		more = more.plus(p.size(at))
	}
	return s.plus(more)
}

// fan is how many fields an object may have at a place, once they are made where they are missing.
func (c *contents) fan(at place) int {
	most := 1
	for i := range at {
		most = max(most, c.at(append(slices.Clone(at[:i+1]), items)).nodes)
	}
	return max(most, c.at(at).nodes)
}

// put notes what is copied to a place: instead of what stood there, or joined to it.
func (c *contents) put(at place, s size, joins bool) {
	if joins {
		c.joined = append(c.joined, copied{at, s})
		return
	}
	key := fmt.Sprintf("%q", at)
	c.sets[key] = copied{at, c.sets[key].size.or(s)}
}
