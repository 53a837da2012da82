package seal

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"
)

// writeFlow writes a node as YAML in flow style with every text in double quotes. That is JSON, except for numbers and the like.
// It reports whether it succeeded. The YAML library's encoder would take as long as decrypting the file.
func writeFlow(out *bytes.Buffer, n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return writeScalar(out, n)
	case yaml.MappingNode:
		return writeList(out, n.Content, '{', '}', func(i int) string {
			if i%2 == 0 {
				return ": "
			}
			return ", "
		})
	case yaml.SequenceNode:
		return writeList(out, n.Content, '[', ']', func(int) string { return ", " })
	default:
		return false
	}
}

func writeList(out *bytes.Buffer, nodes []*yaml.Node, first, last byte, after func(i int) string) bool {
	out.WriteByte(first)
	for i, n := range nodes {
		if first == '{' && i%2 == 0 && len(n.Value) > maxSimpleKey || !writeFlow(out, n) {
			return false
		}
		if i < len(nodes)-1 {
			out.WriteString(after(i))
		}
	}
	out.WriteByte(last)
	return true
}

// maxSimpleKey is a length up to which YAML accepts keys without a "?", including escapes.
const maxSimpleKey = 128

// writeScalar writes a text in quotes, and anything else unchanged.
func writeScalar(out *bytes.Buffer, n *yaml.Node) bool {
	switch n.ShortTag() {
	case "!!str":
		if strings.ContainsFunc(n.Value, special) {
			return false
		}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		if encoder.Encode(n.Value) != nil {
			return false
		}
		out.Truncate(out.Len() - 1) // the encoder adds a newline
		return true
	case "!!null":
		out.WriteString("null")
		return true
	case "!!int", "!!float", "!!bool":
		if n.Value == "" || strings.Trim(n.Value, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._") != "" {
			return false
		}
		out.WriteString(n.Value)
		return true
	default:
		return false
	}
}

// special reports whether YAML treats a character differently that JSON leaves as it is: YAML refuses it, or reads it as a
// newline.
func special(c rune) bool {
	return c >= 0x7f && c <= 0x9f || c == 0xfeff || c >= 0xfffe && c <= 0xffff
}
