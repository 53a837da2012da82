package recipient

import (
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Names are what people call recipients. The zero value has none.
type Names struct{ byKey map[string]string }

// Add names a recipient in normal form, unless it has a name already.
func (n *Names) Add(recipient, name string) {
	if n.byKey == nil {
		n.byKey = map[string]string{}
	}
	if key := Key(recipient); name != "" && n.byKey[key] == "" {
		n.byKey[key] = name
	}
}

// Of returns the name of a recipient in normal form, or "".
func (n *Names) Of(recipient string) string { return n.byKey[Key(recipient)] }

// Key returns what identifies a recipient in a map. A PGP key may be named by the end of its fingerprint.
func Key(recipient string) string {
	if len(recipient) > len(pgpPrefix)+shortID && recipient[:len(pgpPrefix)] == pgpPrefix {
		return pgpPrefix + recipient[len(recipient)-shortID:]
	}
	return recipient
}

// ParseNames reads a YAML or JSON mapping from recipients to names. The error names the line and quotes nothing: a private
// key may be in the place of a recipient.
func ParseNames(data []byte) (Names, error) {
	var names Names
	if !utf8.Valid(data) {
		return names, fmt.Errorf("it is not UTF-8")
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return names, fmt.Errorf("it is not YAML")
	}
	if len(document.Content) == 0 {
		return names, nil
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return names, fmt.Errorf("line %d: write one recipient a line, as in age1…: alice", top.Line)
	}
	for i := 1; i < len(top.Content); i += 2 {
		key, value := top.Content[i-1], top.Content[i]
		normal, ok := Parse(key.Value)
		if !ok {
			return names, fmt.Errorf("line %d: this is not a recipient; write one as in .sops.yaml, in quotes if it has a colon", key.Line)
		}
		name := Name(value.Value)
		if value.Kind != yaml.ScalarNode || name == "" {
			return names, fmt.Errorf("line %d: the recipient needs a name that is a text, and neither a recipient nor a private key", value.Line)
		}
		if names.Of(normal) != "" {
			return names, fmt.Errorf("line %d: the recipient has a name already, further up", key.Line)
		}
		names.Add(normal, name)
	}
	return names, nil
}
