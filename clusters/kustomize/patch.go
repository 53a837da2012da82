package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	jsonyaml "sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// patch is a patch of a kustomization. A file with several patches without a target counts as several patches, because each may
// belong to another part of the tree. An empty one is skipped.
type patch struct {
	types.Patch
	index int // its index in the kustomization
	// kind and name identify the object of a patch without a target. They are empty when they are unknown.
	kind, name string
	cluster    bool
}

// patchesOf lists the patches of a kustomization.
func (b *builder) patchesOf(k *load.Kustomization) []patch {
	var list []patch
	for i, p := range k.Spec.Patches {
		text := b.patchText(k, p)
		if list6902, ok := operations(p, text); ok {
			p.Path, p.Patch = "", list6902
			list = append(list, patch{Patch: p, index: i})
			continue
		}
		documents, err := split(text)
		if p.Target != nil || err != nil {
			list = append(list, patch{Patch: p, index: i})
			continue
		}
		for _, d := range documents {
			one := patch{Patch: p, index: i, kind: d.kind, name: d.name, cluster: d.cluster}
			if len(documents) > 1 {
				one.Path, one.Patch.Patch = "", d.text
			}
			list = append(list, one)
		}
	}
	return list
}

// patchText returns a patch, which is in the kustomization or in a file.
func (b *builder) patchText(k *load.Kustomization, p types.Patch) []byte {
	if p.Path != "" {
		return b.tree.Content[path.Join(k.Dir, p.Path)]
	}
	return []byte(p.Patch)
}

// operations converts a JSON patch in YAML to JSON. kustomize would convert it with the same function, again for each object
// that it patches.
func operations(p types.Patch, text []byte) (list string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false // kustomize reports the error
		}
	}()
	text = bytes.TrimSpace(text)
	if p.Target == nil || !bytes.HasPrefix(text, []byte("- ")) || bytes.Contains(text, []byte("\n---")) {
		return "", false
	}
	data, err := jsonyaml.YAMLToJSON(text)
	return string(data), err == nil && bytes.HasPrefix(data, []byte("["))
}

// document is one document of a patch.
type document struct {
	text, kind, name string
	cluster          bool
}

func split(text []byte) (list []document, err error) {
	defer func() {
		if recover() != nil {
			list, err = nil, errPanic
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		var head struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Metadata   struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
		}
		if node.IsZero() || len(node.Content) == 0 || node.Content[0].ShortTag() == "!!null" || node.Content[0].Kind != yaml.ScalarNode && len(node.Content[0].Content) == 0 {
			continue // kustomize skips it too
		}
		if err := node.Decode(&head); err != nil {
			return nil, err // kustomize reports the error
		}
		data, err := yaml.Marshal(&node)
		if err != nil {
			return nil, err
		}
		d := load.Document{APIVersion: head.APIVersion, Kind: head.Kind}
		list = append(list, document{text: string(data), kind: head.Kind, name: head.Metadata.Name, cluster: d.IsCluster()})
	}
}

// keeps reports whether a patch belongs to the selection. A patch with a target may select nothing. One without names its
// object, and kustomize fails when that is missing.
func (s *selection) keeps(dir string, p patch) bool {
	switch {
	case p.Target != nil:
		return true
	case p.cluster:
		return s.hasCluster(dir, p.name, s.files) || s.base && s.listFile != ""
	default:
		return s.base
	}
}

// hasCluster reports whether the cluster that a patch names is in a kustomization and its file is in files. With nil files,
// every file counts.
func (b *builder) hasCluster(dir, name string, files map[string]bool) bool {
	return slices.ContainsFunc(b.clustersNamed(dir, name), func(file string) bool { return files == nil || files[file] })
}

// clustersNamed returns the files of the clusters that a patch in dir means by a name.
func (b *builder) clustersNamed(dir, name string) []string {
	var files []string
	for _, around := range b.patchScopes(dir) {
		files = append(files, b.named[around][name]...)
	}
	return files
}

// nameClusters indexes the clusters by name, for each kustomization in which a patch, maybe of a component, names a cluster.
func (b *builder) nameClusters() {
	for dir, patches := range b.patches {
		if !slices.ContainsFunc(patches, func(p patch) bool { return p.Target == nil && p.cluster }) {
			continue
		}
		for _, around := range b.patchScopes(dir) {
			if b.named[around] != nil {
				continue
			}
			b.named[around] = map[string][]string{}
			for _, o := range b.occurrences(around) {
				for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.before, o.names)))) {
					b.named[around][name] = append(b.named[around][name], o.file)
				}
			}
		}
		for _, p := range patches {
			for _, around := range b.patchScopes(dir) {
				if p.Target == nil && p.cluster {
					b.join(b.named[around][p.name])
				}
			}
		}
	}
}

// renamedBy returns the clusters after a patch, which may rename those that it selects.
func (b *builder) renamedBy(dir string, p patch, list []occurrence) []occurrence {
	given := b.givenName(dir, p)
	if given == "" {
		return list
	}
	selects := func(string) bool { return true }
	if p.Target.Name != "" {
		if name, err := regexp.Compile("^(?:" + p.Target.Name + ")$"); err == nil { // else kustomize reports the error
			selects = name.MatchString
		}
	}
	out := slices.Clone(list)
	for i, o := range out {
		if slices.ContainsFunc(o.names, selects) || slices.ContainsFunc(o.before, selects) {
			out[i].names = append(slices.Clone(o.names), given)
		}
	}
	return out
}

// givenName returns the name that a patch gives to the objects it selects, or "" if it doesn't rename them.
func (b *builder) givenName(dir string, p patch) string {
	if p.Target == nil {
		return "" // it patches the object with its name
	}
	text := []byte(p.Patch.Patch)
	if p.Path != "" {
		text = b.tree.Content[path.Join(dir, p.Path)]
	}
	given := ""
	for _, op := range operationsOf(text) {
		switch value := op.value.(type) {
		case string:
			if op.path == "/metadata/name" {
				given = value
			}
		case map[string]any:
			if name, isText := value["name"].(string); isText && op.path == "/metadata" {
				given = name
			}
		}
	}
	if documents, err := split(text); err == nil && len(documents) == 1 && p.Options != nil && p.Options.AllowNameChange {
		given = documents[0].name
	}
	return given
}

// patchScopes returns the kustomizations whose objects a patch in dir sees: dir itself, or those that include the component.
func (b *builder) patchScopes(dir string) []string {
	k := b.tree.Loaded.Kustomizations[dir]
	if k == nil || k.Spec.Kind != types.ComponentKind || dir == b.tree.Loaded.Path {
		return []string{dir}
	}
	var list []string
	for _, u := range b.uses[dir] {
		if u.component {
			list = append(list, b.patchScopes(u.dir)...)
		}
	}
	return list
}

// checkPatchTargets reports patches for objects that don't exist. One such patch makes kustomize fail the whole build. A patch
// for a missing cluster is left out, and the build goes on. It is not reported if some file could not be read, because the patch
// may be for that file's cluster. A patch for any other missing object stops the tree.
func (b *builder) checkPatchTargets() {
	base := b.selection(nil, true)
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		for _, p := range b.patches[dir] {
			switch {
			case p.Target != nil:
			case p.cluster && len(b.tree.Broken) == 0 && b.listFile == "" && !b.hasCluster(dir, p.name, nil):
				f := b.patchFinding(dir, p)
				f.Cluster = p.name
				f.Message = fmt.Sprintf("a patch names the cluster %q, which does not exist here", p.name)
				b.result.Add(f)
			case !p.cluster && !slices.ContainsFunc(b.patchScopes(dir), base.reaches):
				f := b.patchFinding(dir, p)
				f.Message = "a patch has no target, and names no object that exists here"
				if p.name != "" {
					f.Message = fmt.Sprintf("a patch names the %s %q, which does not exist here", p.kind, p.name)
				}
				b.result.Stop(f)
			}
		}
	}
}

func (b *builder) patchFinding(dir string, p patch) finding.Finding {
	f := finding.Finding{Code: CodePatchTarget, Severity: finding.Error, Path: b.rootFile(), Fix: "correct the name, or remove the patch; it has no effect"}
	if k := b.tree.Loaded.Kustomizations[dir]; k.File != nil {
		f.Path = k.File.Path
		f.Line, f.Column = k.File.Position(0, k.Patch(p.index))
	}
	return f
}
