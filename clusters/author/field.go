package author

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// ParseField returns the field of a cluster file that a name such as "filtering.namespaces.exclude" means, below spec, as mapping
// keys. The error suggests the field that was probably meant.
func ParseField(name string) ([]string, error) {
	field := append([]string{"spec"}, strings.Split(strings.TrimPrefix(name, "spec."), ".")...)
	if slices.Contains(field, "") {
		return nil, fmt.Errorf("%q is not a field of a cluster file; write it as in the file, such as filtering.namespaces.exclude", name)
	}
	var first error
	for _, value := range []any{"x", true, []any{"x"}, map[string]any{}} {
		err := check(field, value)
		if err == nil {
			return field, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// ParseValue returns a text as a value of the field's type. A list has commas, and {} is an empty mapping.
func ParseValue(field []string, text string) (any, error) {
	first := check(field, text)
	switch {
	case first == nil:
		return text, nil
	case (text == "true" || text == "false") && check(field, text == "true") == nil:
		return text == "true", nil
	case text == "{}" && check(field, map[string]any{}) == nil:
		return map[string]any{}, nil
	case check(field, map[string]any{}) == nil:
		return nil, fmt.Errorf("%s has fields; set these one by one", strings.Join(field, "."))
	case check(field, []any{"x"}) == nil:
		list := []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list, nil
	case check(field, true) == nil:
		return nil, fmt.Errorf("%s must be true or false", strings.Join(field, "."))
	}
	return nil, first
}

// check decodes a cluster file with only this field.
func check(field []string, value any) error {
	for _, key := range slices.Backward(field) {
		value = map[string]any{key: value}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("name a field")
	}
	object["apiVersion"], object["kind"], object["metadata"] = v1alpha1.APIVersion, v1alpha1.Kind, map[string]any{"name": "x"}
	if _, problems := v1alpha1.Decode(object, nil); len(problems) > 0 {
		return fmt.Errorf("%s; %s", problems[0].Message, problems[0].Fix)
	}
	return nil
}

// IsSecret reports whether the value of a field must not be readable in Git, nor given as an argument.
func IsSecret(field []string) bool {
	return slices.ContainsFunc(secretFields, func(secret []string) bool { return slices.Equal(secret, field) })
}

// Secrets returns the secret fields of all cluster files in a text, and their values. A text that is not YAML has none.
func Secrets(text []byte) (fields [][]string, values []string) {
	for decoder := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var document yaml.Node
		if decoder.Decode(&document) != nil {
			return fields, values
		}
		for _, field := range secretFields {
			n := &document
			if len(document.Content) > 0 {
				n = document.Content[0]
			}
			for _, key := range field {
				if at := index(n, key); at >= 0 {
					n = n.Content[at+1]
					continue
				}
				n = &yaml.Node{}
			}
			if n.Kind == yaml.ScalarNode && n.Value != "" {
				fields, values = append(fields, field), append(values, n.Value)
			}
		}
	}
}
