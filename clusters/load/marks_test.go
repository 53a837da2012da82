package load

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzMarks: no text has more nodes than it has characters that start nodes, except for the root of each document.
func FuzzMarks(f *testing.F) {
	for _, text := range []string{"a", "a: b\nc:\n- d\n- e: f\n", "{a, b: c, [d]: e}", "[a, [], {}, ]", "? a\n: b\n? c\n", "--- a\n--- b\n...\nc", "- - - x\n- ? y", "a: &x [b]\nc: *x\n<<: *x",
		"\"a\": 'b, c'\n", "-\n-\n-\n", "a: |\n  - b\n  c: d\n", "!!set {a, b}", "[a: b, c]", "{a:, b:}", "{\"a\":1}", "[? a]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		nodes, documents := 0, 0
		decoder := yaml.NewDecoder(strings.NewReader(text))
		for {
			var doc yaml.Node
			if !decodes(decoder, &doc) {
				break
			}
			documents++
			nodes += below(&doc) - 1 // the document node
		}
		if most := Marks(text) + documents; nodes > most {
			t.Errorf("%d nodes in %d documents, and %d marks: %q", nodes, documents, most, text)
		}
	})
}

func decodes(decoder *yaml.Decoder, doc *yaml.Node) (ok bool) {
	defer func() {
		if recover() != nil { // which the library does on some texts
			ok = false
		}
	}()
	return decoder.Decode(doc) == nil
}

func below(n *yaml.Node) int {
	count := 1
	for _, child := range n.Content {
		count += below(child)
	}
	return count
}
