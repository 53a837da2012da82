package build

import (
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"
)

// converter takes resources over from kustomize.
type converter struct {
	// texts are those that it has met. Most stand in every object of a fleet, which are all kept.
	texts map[string]any
}

// object gives what the resource's own Map does, which also serves what isn't usual here, with one copy of each text and without marks.
func (c *converter) object(res *resource.Resource) (object map[string]any, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	if object, ok := c.value(res.YNode()); ok {
		if object, ok := object.(map[string]any); ok {
			return object, nil
		}
	}
	object, err = res.Map()
	unmark(object)
	return object, err
}

// unmark takes marks off, wherever a patch may have copied them.
func unmark(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, markField)
		for _, below := range v {
			unmark(below)
		}
	case []any:
		for _, below := range v {
			unmark(below)
		}
	}
}

// value is a node as a value, unless it has aliases, merge keys, keys that are no text or stand twice.
func (c *converter) value(n *yaml.Node) (any, bool) {
	switch {
	case n == nil:
		return nil, false
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == markField {
				continue
			}
			key, plain := c.value(n.Content[i])
			name, isText := key.(string)
			value, ok := c.value(n.Content[i+1])
			if _, twice := object[name]; !plain || !isText || !ok || twice {
				return nil, false
			}
			object[name] = value
		}
		return object, true
	case n.Kind == yaml.SequenceNode && n.ShortTag() == "!!seq":
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			value, ok := c.value(item)
			if !ok {
				return nil, false
			}
			list[i] = value
		}
		return list, true
	case n.Kind != yaml.ScalarNode:
		return nil, false
	case n.ShortTag() == "!!str":
		return c.text(n.Value), true
	default:
		var value any
		err := n.Decode(&value)
		return value, err == nil
	}
}

// text is a text, in the copy that is kept.
func (c *converter) text(s string) any {
	kept, known := c.texts[s]
	if !known {
		kept = strings.Clone(s) // beside the others, rather than between what kustomize leaves
		c.texts[s] = kept
	}
	return kept
}
