package kustomize

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/utils"

	"github.com/muster-gitops/muster/clusters/load"
)

// plugin is the configuration of a transformer or validator.
type plugin struct {
	field []string
	text  []byte
}

// plugins returns the transformers of a kustomization, and its validators, which kustomize runs as transformers.
func (a *amplifier) plugins(k *load.Kustomization) []plugin {
	var list []plugin
	for i, entry := range k.Spec.Transformers {
		list = append(list, plugin{fieldOf("transformers", i), a.configuration(k, entry)})
	}
	for i, entry := range k.Spec.Validators {
		list = append(list, plugin{fieldOf("validators", i), a.configuration(k, entry)})
	}
	return list
}

func fieldOf(list string, i int) []string { return []string{list, "[" + strconv.Itoa(i) + "]"} }

// configuration returns the configuration of a plugin, which is inline in the kustomization or in a file.
func (b *builder) configuration(k *load.Kustomization, entry string) []byte {
	if strings.Contains(entry, "\n") {
		return []byte(entry)
	}
	return b.tree.Content[path.Join(k.Dir, entry)]
}

// pluginWrites lists what the transformers and validators of a kustomization write.
func (a *amplifier) pluginWrites(k *load.Kustomization) []bulkWrite {
	var list []bulkWrite
	for _, p := range a.plugins(k) {
		documents, _ := documentsIn(p.text) // kustomize reports the error
		for _, d := range documents {
			kind := load.Field(d, "kind")
			if kind != nil && kind.Value == "ReplacementTransformer" {
				continue // see copier
			}
			fields, texts := fieldsIn(d), [][]byte{}
			if text, err := yaml.Marshal(d); err == nil {
				texts = append(texts, text)
			}
			for _, text := range scalars(d) { // inline patches, or names of files, which may list fields too
				if content := a.tree.Content[path.Join(k.Dir, text)]; content != nil {
					texts = append(texts, content)
					inner, _ := documentsIn(content)
					for _, d := range inner {
						fields = append(fields, fieldsIn(d)...)
					}
				} else if strings.ContainsAny(text, "[{:\n") || len(text) > bytesPerValue {
					texts = append(texts, []byte(text))
				}
			}
			patches := kind != nil && strings.HasPrefix(kind.Value, "Patch")
			for _, text := range texts {
				list = append(list, bulkWrite{dir: k.Dir, field: p.field, text: text, fields: fields, plugin: true, patch: patches})
			}
		}
	}
	return list
}

// scalars returns the scalar values below a node.
func scalars(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	var list []string
	for _, child := range n.Content {
		list = append(list, scalars(child)...)
	}
	return list
}

// fieldsIn returns the fields that a configuration lists.
func fieldsIn(n *yaml.Node) []place {
	var fields []place
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.ScalarNode {
			if key := n.Content[i-1].Value; strings.EqualFold(key, "path") || strings.EqualFold(key, "fieldPath") {
				fields = append(fields, slashed(child.Value))
			}
		}
		fields = append(fields, fieldsIn(child)...)
	}
	return fields
}

// slashed parses a place as configurations write it.
func slashed(text string) place {
	p := place(utils.PathSplitter(text, "/"))
	for i := range p {
		p[i] = strings.TrimSuffix(p[i], "[]")
	}
	return p
}

// fieldsOf returns the fields that kustomize writes a label and the like to: those that the kustomization names, and those of
// every configuration in the tree. It returns nil when there is only the default field.
func (a *amplifier) fieldsOf(kind string, own []types.FieldSpec) []place {
	var fields []place
	for _, spec := range own {
		fields = append(fields, slashed(spec.Path))
	}
	for key, configured := range a.configured() {
		if strings.Contains(key, kind) {
			fields = append(fields, configured...)
		}
	}
	if fields == nil {
		return nil
	}
	return append(fields, place{"metadata"}) // the default
}

// configured returns the fields of all configurations of the tree, by what is written to them.
func (a *amplifier) configured() map[string][]place {
	if a.fields != nil {
		return a.fields
	}
	a.fields = map[string][]place{}
	for _, k := range a.tree.Loaded.Kustomizations {
		for key, fields := range a.configuredBy(k) {
			a.fields[key] = append(a.fields[key], fields...)
		}
	}
	return a.fields
}

// configuredBy returns the fields in the configurations of one kustomization.
func (a *amplifier) configuredBy(k *load.Kustomization) map[string][]place {
	fields := map[string][]place{}
	for _, ref := range k.Spec.Configurations {
		documents, _ := documentsIn(a.tree.Content[path.Join(k.Dir, ref)]) // kustomize reports the error
		for _, d := range documents {
			for i := 0; i+1 < len(d.Content); i += 2 {
				key := strings.ToLower(d.Content[i].Value)
				fields[key] = append(fields[key], fieldsIn(d.Content[i+1])...)
			}
		}
	}
	return fields
}

// maxName is the longest name of an object in Kubernetes.
const maxName = 253

// longestName returns the length of the longest object name that a kustomization may produce.
func (a *amplifier) longestName(dir string) int {
	if n, known := a.longest[dir]; known {
		return n
	}
	a.longest[dir] = 0
	k, n := a.tree.Loaded.Kustomizations[dir], 0
	for _, name := range k.Resources {
		if a.tree.Loaded.Kustomizations[name] != nil {
			n = max(n, a.longestName(name))
		} else if f := a.file(name); f != nil {
			for _, d := range f.Documents {
				n = max(n, len(d.Name))
			}
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(inDir(dir, k.Spec.Components)))) {
		if a.tree.Loaded.Kustomizations[name] != nil {
			n = add(n, mul(a.longestName(name), len(k.Spec.Components)))
		}
	}
	n = add(n, len(k.Spec.NamePrefix)+len(k.Spec.NameSuffix))
	a.longest[dir] = n
	return n
}
