package build

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
)

// converter takes resources over from kustomize.
type converter struct {
	*builder
	// texts are those that it has met. Most stand in every object of a fleet, which are all kept.
	texts map[string]any
}

// resource takes one over. It comes from the given file, or where that is empty, from where kustomize has noted.
func (c *converter) resource(res *resource.Resource, file string) (r *Resource, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	if file != "" {
		r = &Resource{Path: file}
		r.Object, err = c.object(res)
		return r, err
	}
	r = &Resource{Path: c.rootFile()}
	origin, err := res.GetOrigin()
	if err != nil {
		return r, err
	}
	if origin != nil {
		from := origin.Path
		if from == "" {
			from, r.Generated = origin.ConfiguredIn, true
		}
		r.Path = path.Join(c.tree.Loaded.Path, from)
		if k := c.tree.Loaded.Kustomizations[path.Dir(r.Path)]; r.Generated && k != nil && k.File != nil {
			r.Path = k.File.Path // kustomize was given it under its usual name
		}
	}
	root := c.tree.Loaded.Kustomizations[c.tree.Loaded.Path]
	if !slices.Contains(root.Spec.BuildMetadata, types.OriginAnnotations) {
		if err := res.SetOrigin(nil); err != nil {
			return r, err
		}
	}
	if r.Object, err = c.object(res); err != nil {
		return r, err
	}
	if f := c.tree.Loaded.Files[r.Path]; f != nil && !r.Generated {
		r.Document = f.Document(res.GetKind(), res.GetName())
	}
	return r, nil
}

// object gives what the resource's own Map does, which also serves what isn't usual here, with one copy of each text.
func (c *converter) object(res *resource.Resource) (map[string]any, error) {
	if object, ok := c.value(res.YNode()); ok {
		if object, ok := object.(map[string]any); ok {
			return object, nil
		}
	}
	return res.Map()
}

// value is a node as a value, unless it has aliases, merge keys, keys that are no text or stand twice.
func (c *converter) value(n *yaml.Node) (any, bool) {
	switch {
	case n == nil:
		return nil, false
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
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
