package kustomize

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"
	jsonyaml "sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/load"
)

// contents collects what files contain, what is generated, and what kustomizations write other than by copying. It reads all
// files, and is only called where places matter, which is rare.
func (a *amplifier) contents() *contents {
	if a.contentsCache != nil {
		return a.contentsCache
	}
	c := &contents{known: map[string]size{}, sets: map[string]copied{}}
	a.contentsCache = c
	for name := range a.uses {
		if f := a.file(name); f != nil {
			for _, d := range f.Documents {
				c.objects = append(c.objects, d.Node())
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(a.writes)) {
		k := a.tree.Loaded.Kustomizations[dir]
		for _, src := range sources(k.Spec) {
			c.objects = append(c.objects, a.generated(k, src))
		}
		for _, src := range a.pluginSources(k) {
			c.objects = append(c.objects, a.generated(k, &src.KvPairSources))
		}
		for _, text := range a.patchTexts(k) {
			c.pieces = append(c.pieces, patched(text)...)
		}
		c.pieces = append(c.pieces, textPiece(k.Spec.NamePrefix+k.Spec.NameSuffix, "metadata", "name"), textPiece(k.Spec.Namespace, "metadata", "namespace"))
		for _, w := range a.writes[dir] {
			c.pieces = append(c.pieces, writePieces(w)...)
		}
		for _, entry := range k.Spec.Generators {
			c.pieces = append(c.pieces, somewhere(nil, a.configuration(k, entry)))
		}
	}
	return c
}

func textPiece(text string, at ...string) piece {
	return piece{at: at, node: &yaml.Node{Kind: yaml.ScalarNode, Value: text}}
}

// writePieces returns what labels and the like, and transformers that don't patch, write.
func writePieces(w bulkWrite) []piece {
	fields := w.fields
	switch {
	case w.patch || len(w.fields) > maxFields:
		return nil // covered by patchTexts, or refused
	case w.field[0] == "labels":
		fields = append(slices.Clone(fields), place{"metadata", "labels"})
	case w.field[0] == "commonAnnotations":
		fields = append(slices.Clone(fields), place{"metadata", "annotations"})
	case w.plugin && fields == nil:
		fields = []place{nil}
	}
	var pieces []piece
	p := somewhere(nil, w.text)
	for _, at := range fields {
		p.at = at
		pieces = append(pieces, p)
	}
	return pieces
}

// somewhere is a text of which any part may be written to a place, or below it.
func somewhere(at place, text []byte) piece {
	s := sizeOfText(string(text))
	s.values = add(s.values, weight(text, true))
	s.nodes = 0 // it has no lists
	return piece{at: at, any: s.times(doubled(copies(text)))}
}

// patched returns what a patch writes: its documents, or the values of its operations.
func patched(text []byte) []piece {
	var pieces []piece
	operations := operationsOf(text)
	for _, op := range operations {
		var n yaml.Node
		if op.value != nil && n.Encode(op.value) == nil {
			pieces = append(pieces, piece{at: pointer(op.path), node: &n})
		}
	}
	if operations != nil {
		return pieces
	}
	documents, err := documentsIn(text)
	if err != nil {
		p := somewhere(nil, text)
		p.any.nodes = p.any.values
		return []piece{p}
	}
	for _, d := range documents {
		pieces = append(pieces, piece{node: d})
	}
	return pieces
}

// generated returns the object that a generator builds.
func (a *amplifier) generated(k *load.Kustomization, src *types.KvPairSources) *yaml.Node {
	data := map[string]string{}
	take := func(text string) {
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			data[key] = value
		}
	}
	for _, literal := range src.LiteralSources {
		key, value, _ := strings.Cut(literal, "=")
		data[key] = value
	}
	read := func(name string) string { return string(a.input(path.Join(k.Dir, name))) }
	for _, name := range slices.DeleteFunc(append(slices.Clone(src.EnvSources), src.EnvSource), func(name string) bool { return name == "" }) {
		take(read(name))
	}
	for _, entry := range src.FileSources {
		key, name, _ := strings.Cut(entry, "=") // load has added the key
		data[key] = read(name)
	}
	var n yaml.Node
	if n.Encode(map[string]any{"data": data, "binaryData": data}) != nil {
		return &yaml.Node{Kind: yaml.MappingNode}
	}
	return &n
}

// patchTexts returns the patches of a kustomization.
func (a *amplifier) patchTexts(k *load.Kustomization) [][]byte {
	var texts [][]byte
	for _, p := range a.patches[k.Dir] {
		texts = append(texts, a.patchText(k, p.Patch))
	}
	for _, p := range k.Spec.PatchesJson6902 { //nolint:staticcheck // deprecated, and still built
		texts = append(texts, a.patchText(k, p))
	}
	for _, w := range a.writes[k.Dir] {
		if w.patch {
			texts = append(texts, w.text)
		}
	}
	return texts
}

// operation is an operation of a JSON patch.
type operation struct {
	kind, path, from string
	value            any
}

// operationsOf parses a JSON patch like kustomize, and returns nil if text isn't one. The last of duplicate keys counts.
func operationsOf(text []byte) []operation {
	var raw []map[string]any
	if json.Unmarshal(text, &raw) != nil {
		if raw = nil; !unmarshal(text, &raw) {
			return nil
		}
	}
	list := make([]operation, len(raw))
	for i, op := range raw {
		for field, into := range map[string]*string{"op": &list[i].kind, "path": &list[i].path, "from": &list[i].from} {
			text, _, err := unstructured.NestedString(op, field)
			if err != nil {
				return nil // kustomize refuses it
			}
			*into = text
		}
		list[i].value = op["value"]
	}
	return list
}

// errAliases means that a text with its aliases expanded has too many values, or infinitely many.
var errAliases = errors.New("too many aliases")

// expanded counts a node and its descendants with every alias expanded. It visits each node once.
func expanded(n *yaml.Node, counted map[*yaml.Node]int) int {
	if n.Kind == yaml.AliasNode {
		return expanded(n.Alias, counted)
	}
	if count, known := counted[n]; known {
		return count
	}
	counted[n] = overLimit // an alias inside its own anchor
	sum := 1
	for _, child := range n.Content {
		sum = add(sum, expanded(child, counted))
	}
	counted[n] = sum
	return sum
}

// documentsIn returns the documents of a text, up to the first that can't be parsed.
func documentsIn(text []byte) ([]*yaml.Node, error) {
	var list []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		switch err := decoder.Decode(&root); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return list, err
		}
		if expanded(&root, map[*yaml.Node]int{}) > maxWritten {
			return list, errAliases
		}
		list = append(list, root.Content...)
	}
}

// unmarshal parses YAML like kustomize parses its configuration.
func unmarshal(text []byte, into any) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false // kustomize reports the error
		}
	}()
	return jsonyaml.Unmarshal(text, into) == nil
}
