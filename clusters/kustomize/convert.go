package kustomize

import (
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"
)

// converter converts resources from kustomize's form.
type converter struct {
	// texts are the strings seen so far. Most are in every object of a fleet, and all objects are kept in memory.
	texts map[string]any
}

// object returns the same as the resource's Map, with one copy of each string and without marks. Map itself handles the unusual
// cases.
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

// unmark removes marks, including those that a patch has copied elsewhere.
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

// value converts a node. It fails on aliases, merge keys, duplicate keys, and keys that are not strings.
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

// text returns the copy of s that is kept.
func (c *converter) text(s string) any {
	kept, known := c.texts[s]
	if !known {
		kept = strings.Clone(s) // don't keep kustomize's memory alive
		c.texts[s] = kept
	}
	return kept
}
