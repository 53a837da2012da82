package author

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Shared is a value of a field that most clusters have. A kustomize component sets it for all clusters but those with the label
// that [Shared.Label] returns, which keep what their files say.
type Shared struct {
	// Field is the field below spec.
	Field string `json:"field"`
	Value any    `json:"-"`
	// Clusters counts the clusters whose files no longer have it. Own are the others.
	Clusters int      `json:"clusters"`
	Own      []string `json:"own,omitempty"`
}

// Label is the key of the label of a cluster that doesn't share the field. Its value is true.
func (s Shared) Label() string { return "own-" + s.Field }

func (s Shared) selector() string { return s.Label() + "!=true" }

type shareableField struct {
	name string
	take func(*v1alpha1.Spec) any
}

// shareable are the fields about the scan itself. How a cluster is reached, and with which credential, is never shared. take removes a
// field and returns its value, nil if the file doesn't have it. A value that holds a credential is not taken.
var shareable = []shareableField{
	{"schedule", func(s *v1alpha1.Spec) any { return taken(&s.Schedule) }},
	{"filtering", func(s *v1alpha1.Spec) any { return taken(&s.Filtering) }},
	{"containerImageScanning", func(s *v1alpha1.Spec) any { return taken(&s.ContainerImageScanning) }},
	{"repositories", func(s *v1alpha1.Spec) any { return taken(&s.Repositories) }},
	{"privateRegistries", func(s *v1alpha1.Spec) any {
		if s.PrivateRegistries != nil && s.PrivateRegistries.DockerConfigJSON != "" {
			return nil
		}
		return taken(&s.PrivateRegistries)
	}},
}

// taken removes a value and returns it in the form that JSON has, so that values can be compared.
func taken[T any](field *T) (value any) {
	var zero T
	if reflect.ValueOf(field).Elem().IsZero() {
		return nil
	}
	text, err := json.Marshal(*field)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		panic(err) // the types have only strings, booleans, lists and maps of them
	}
	*field = zero
	return value
}

// Common returns the values that more than half of the clusters have, and at least two.
func (im *Import) Common() (common []Shared) {
	for _, f := range shareable {
		var values []Shared
		for _, d := range im.Clusters {
			spec := d.Cluster.Spec
			value := f.take(&spec)
			at := slices.IndexFunc(values, func(s Shared) bool { return reflect.DeepEqual(s.Value, value) })
			if at < 0 {
				values, at = append(values, Shared{Field: f.name, Value: value}), len(values)
			}
			values[at].Clusters++
		}
		for _, s := range values {
			if s.Value != nil && s.Clusters >= 2 && 2*s.Clusters > len(im.Clusters) {
				common = append(common, s)
			}
		}
	}
	return common
}

// Share takes values out of the clusters' files, if they are those of a component. A cluster with another value, or none, gets the
// label that keeps it. It returns how many clusters share each value.
func (im *Import) Share(values []Shared) []Shared {
	shared := slices.Clone(values)
	for i := range shared {
		s := &shared[i]
		s.Clusters, s.Own = 0, nil
		take := shareable[slices.IndexFunc(shareable, func(f shareableField) bool { return f.name == s.Field })].take
		for _, d := range im.Clusters {
			without := d.Cluster.Spec
			if reflect.DeepEqual(take(&without), s.Value) {
				d.Cluster.Spec = without
				s.Clusters++
				continue
			}
			if d.Cluster.Metadata.Labels == nil {
				d.Cluster.Metadata.Labels = map[string]string{}
			}
			d.Cluster.Metadata.Labels[s.Label()] = "true"
			s.Own = append(s.Own, d.Cluster.Metadata.Name)
		}
	}
	return shared
}

const componentHeader = `# What most clusters have in common, written by muster import. Each patch sets a field of all clusters, whatever their files say, and
# of clusters that are added later. A cluster file with the label above the patch keeps its own.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
`

// operation is a JSON patch.
type operation struct {
	Op    string `json:"op" yaml:"op"`
	Path  string `json:"path" yaml:"path"`
	Value any    `json:"value" yaml:"value"`
}

// Component returns the kustomize component that sets the values.
func Component(values []Shared) ([]byte, error) {
	b := strings.Builder{}
	b.WriteString(componentHeader)
	for _, s := range values {
		patch, err := Document([]operation{{"add", "/spec/" + s.Field, s.Value}}, "")
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "  # %s: \"true\"\n  - target:\n      kind: %s\n      labelSelector: %s\n    patch: |\n", s.Label(), v1alpha1.Kind, s.selector())
		for line := range strings.Lines(string(patch)) {
			b.WriteString("      " + line)
		}
	}
	return []byte(b.String()), nil
}

// ParseComponent returns the values that a component of this form sets. It passes over other patches.
func ParseComponent(text []byte) (values []Shared) {
	var component struct {
		Patches []struct {
			Target struct {
				Kind          string `yaml:"kind"`
				LabelSelector string `yaml:"labelSelector"`
			} `yaml:"target"`
			Patch string `yaml:"patch"`
		} `yaml:"patches"`
	}
	if yaml.Unmarshal(text, &component) != nil {
		return nil
	}
	for _, p := range component.Patches {
		var patch []operation
		if yaml.Unmarshal([]byte(p.Patch), &patch) != nil || len(patch) != 1 || patch[0].Op != "add" || p.Target.Kind != v1alpha1.Kind {
			continue
		}
		for _, f := range shareable {
			s := Shared{Field: f.name, Value: patch[0].Value}
			if patch[0].Path == "/spec/"+f.name && p.Target.LabelSelector == s.selector() {
				values = append(values, s)
			}
		}
	}
	return values
}

// Kustomization returns the kustomization of a folder with a component. Cluster files in the folder need not be listed.
func Kustomization(component string, resources []string) ([]byte, error) {
	return Document(struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources,omitempty"`
		Components []string `json:"components"`
	}{"kustomize.config.k8s.io/v1beta1", "Kustomization", resources, []string{component}},
		"# Cluster files in this folder are read whether they are listed here or not.")
}

// AddItem returns a YAML file with another item of a list of texts at the top. The rest of the file stays. The error is a *FieldError.
func AddItem(text []byte, list, item string) ([]byte, error) {
	var object map[string]any
	var root yaml.Node
	if yaml.Unmarshal(text, &object) != nil || yaml.Unmarshal(text, &root) != nil {
		return nil, &FieldError{[]string{list}, "the file is not YAML", "check it with muster lint"}
	}
	items, isList := object[list].([]any)
	if !isList && object[list] != nil {
		return nil, &FieldError{[]string{list}, "the field " + list + " is not a list", "write a list"}
	}
	var names []string
	for _, have := range items {
		names = append(names, fmt.Sprint(have))
	}
	if slices.Contains(names, item) {
		return text, nil
	}
	names = append(names, item)
	if len(items) > 0 { // one more line keeps the comments of the others
		n := root.Content[0]
		last := n.Content[index(n, list)+1].Content[len(items)-1]
		lines := newLines(text)
		indent, _, block := strings.Cut(lines.list[last.Line-1], "- ")
		lines.list = slices.Insert(lines.list, last.Line, indent+"- "+scalar(item))
		var after map[string]any
		object[list] = append(items, item)
		if block && strings.TrimSpace(indent) == "" && yaml.Unmarshal(lines.bytes(), &after) == nil && reflect.DeepEqual(after, object) {
			return lines.bytes(), nil
		}
	}
	return SetFields(text, 0, FieldChange{Field: []string{list}, Value: names})
}
