package kustomize

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/load"
)

// pluginSource is the input of a generator that is configured by a file or text in the generators list.
type pluginSource struct {
	field          []string
	kind, behavior string
	types.KvPairSources
}

// pluginSources returns the inputs of the kustomization's generators list.
func (b *builder) pluginSources(k *load.Kustomization) []pluginSource {
	var list []pluginSource
	for i, entry := range k.Spec.Generators {
		documents, _ := documentsIn(b.configuration(k, entry)) // kustomize reports the error
		for _, d := range documents {
			kind := dereferenced(load.Field(d, "kind"))
			if kind == nil || kind.Value != "SecretGenerator" && kind.Value != "ConfigMapGenerator" {
				continue
			}
			one := pluginSource{field: fieldOf("generators", i), kind: kind.Value}
			if behavior := load.Field(d, "behavior"); behavior != nil {
				one.behavior = dereferenced(behavior).Value
			}
			if text, err := yaml.Marshal(d); err == nil && unmarshal(text, &one.KvPairSources) {
				one.EnvSource = "" // kustomize ignores it here
				list = append(list, one)
			}
		}
	}
	return list
}

// redirectPluginInputs rewrites the configuration of generators to read from inputsDir.
func redirectPluginInputs(dir string, text []byte) []byte {
	documents, err := documentsIn(text)
	if err != nil {
		return text
	}
	changed := false
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for _, d := range documents {
		inputs := load.PluginInputs(d)
		for _, entry := range inputs {
			key, name, found := strings.Cut(entry.Value, "=")
			switch {
			case found:
				entry.Value = key + "=" + inputFile(path.Join(dir, name))
			case isEnvEntry(d, entry):
				entry.Value = inputFile(path.Join(dir, entry.Value))
			default:
				entry.Value = path.Base(entry.Value) + "=" + inputFile(path.Join(dir, entry.Value))
			}
			changed = true
		}
		if encoder.Encode(d) != nil {
			return text
		}
	}
	if !changed {
		return text
	}
	return out.Bytes()
}

func isEnvEntry(config, entry *yaml.Node) bool {
	envs := load.Field(config, "envs")
	if envs != nil && envs.Kind == yaml.AliasNode {
		envs = envs.Alias
	}
	return envs != nil && slices.Contains(envs.Content, entry)
}
