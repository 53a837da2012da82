package recipient

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Mention is a place in a .sops.yaml that names a recipient, with what people call it.
type Mention struct {
	// Recipient is in normal form.
	Recipient string
	Line      int
	// Name is "" if the file gives none.
	Name string
}

// Mentions returns all places in a .sops.yaml that name a recipient: in creation rules, and in a list of anchors that the
// rules refer to. The name is the comment at the end of the line, the anchor, or the comment line above an item of a list.
func (c *Config) Mentions() []Mention {
	var document yaml.Node
	if yaml.Unmarshal([]byte(c.Data), &document) != nil {
		return nil // ParseConfig has reported it
	}
	var list []Mention
	mention(&document, "", &list)
	return list
}

// mention adds the recipients in a node. above is the comment above the item of a list that has the node.
func mention(n *yaml.Node, above string, list *[]Mention) {
	switch n.Kind {
	case yaml.ScalarNode:
		*list = append(*list, scalarMentions(n, n, above)...)
	case yaml.AliasNode:
		if n.Alias.Kind == yaml.ScalarNode { // anything else may lead in a circle
			*list = append(*list, scalarMentions(n, n.Alias, above)...)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			mention(item, item.HeadComment, list)
		}
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			comment := ""
			if isKeyField(n.Content[i-1].Value) { // a comment above a rule names no recipient
				comment = above
			}
			mention(n.Content[i], comment, list)
		}
	default:
		for _, child := range n.Content {
			mention(child, "", list)
		}
	}
}

// scalarMentions are the recipients in a text, which is at a place itself or through an alias.
func scalarMentions(place, text *yaml.Node, above string) (list []Mention) {
	parts := strings.Split(text.Value, ",")
	for _, part := range parts {
		normal, ok := Parse(part)
		if !ok {
			continue
		}
		m := Mention{Recipient: normal, Line: place.Line}
		for _, name := range []string{place.LineComment, text.Anchor, above} {
			if m.Name == "" && len(parts) == 1 { // a comment beside several recipients names none of them
				m.Name = Name(lastLine(name))
			}
		}
		list = append(list, m)
	}
	return list
}

// isKeyField reports whether a field has the one recipient of an item of a key group.
func isKeyField(name string) bool { return name == "arn" || name == "resource_id" || name == "key_id" }

// lastLine returns the last line of a comment, without its mark.
func lastLine(comment string) string {
	return strings.TrimLeft(comment[strings.LastIndex(comment, "\n")+1:], "# \t")
}

// maxName is how many characters of a name are printed.
const maxName = 60

// Name returns a name that is safe to print, or "" for a text that can't be one: a recipient or an entry of a list that
// was commented out, or what may be a private key.
func Name(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	upper := strings.ToUpper(text)
	for _, secret := range []string{"AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"} {
		if strings.Contains(upper, secret) {
			return ""
		}
	}
	for word := range strings.FieldsSeq(text) {
		if _, ok := Parse(strings.Trim(word, `"',`)); ok {
			return ""
		}
	}
	if strings.HasPrefix(text, "- ") {
		return ""
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) { // not a control character, nor one that changes the direction of the text
			return c
		}
		return utf8.RuneError
	}, text)
	if runes := []rune(text); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return text
}
