package build

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

// patch is one patch of a kustomization. A file of several patches without a target is as many of them: each may belong to
// another part of the tree. One that holds nothing is none.
type patch struct {
	types.Patch
	index int // in the kustomization
	// kind and name are the object that a patch without a target is for; empty when they can't be told.
	kind, name string
	cluster    bool
}

// patchesOf lists the patches of a kustomization.
func (b *builder) patchesOf(k *load.Kustomization) []patch {
	var list []patch
	for i, p := range k.Spec.Patches {
		text := []byte(p.Patch)
		if p.Path != "" {
			text = b.tree.Content[path.Join(k.Dir, p.Path)]
		}
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

// operations is a JSON patch in JSON. kustomize takes it in YAML as well, and then turns it into JSON by the same function, anew for
// each object that it patches.
func operations(p types.Patch, text []byte) (list string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false // as kustomize will say
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
		if node.IsZero() || len(node.Content) == 0 || node.Content[0].ShortTag() == "!!null" {
			continue // kustomize passes over it too
		}
		if err := node.Decode(&head); err != nil {
			return nil, err // as kustomize will say
		}
		data, err := yaml.Marshal(&node)
		if err != nil {
			return nil, err
		}
		d := load.Document{APIVersion: head.APIVersion, Kind: head.Kind}
		list = append(list, document{text: string(data), kind: head.Kind, name: head.Metadata.Name, cluster: d.IsCluster()})
	}
}

// keeps says whether a patch belongs to the selection. One with a target selects what is there and may select nothing; one
// without names its object, and kustomize fails when that is missing.
func (s *selection) keeps(dir string, p patch) bool {
	switch {
	case p.Target != nil:
		return true
	case p.cluster:
		return s.wanted(dir, p.name, s.files) || s.base && s.lists != ""
	default:
		return s.base
	}
}

// wanted says whether the cluster that a patch names is in a kustomization, as far as its file is among files. With nil
// files, all are.
func (b *builder) wanted(dir, name string, files map[string]bool) bool {
	return slices.ContainsFunc(b.clustersNamed(dir, name), func(file string) bool { return files == nil || files[file] })
}

// clustersNamed are the files of the clusters that a patch in dir means by a name.
func (b *builder) clustersNamed(dir, name string) []string {
	var files []string
	for _, around := range b.around(dir) {
		files = append(files, b.named[around][name]...)
	}
	return files
}

// nameClusters lists the clusters by name of each kustomization that has, or whose components have, a patch which names one.
func (b *builder) nameClusters() {
	for dir, patches := range b.patches {
		if !slices.ContainsFunc(patches, func(p patch) bool { return p.Target == nil && p.cluster }) {
			continue
		}
		for _, around := range b.around(dir) {
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
			for _, around := range b.around(dir) {
				if p.Target == nil && p.cluster {
					b.join(b.named[around][p.name])
				}
			}
		}
	}
}

// renamedBy are clusters after a patch, which may give a name to those that it selects.
func (b *builder) renamedBy(dir string, p patch, list []occurrence) []occurrence {
	given := b.givenName(dir, p)
	if given == "" {
		return list
	}
	selects := func(string) bool { return true }
	if p.Target.Name != "" {
		if name, err := regexp.Compile("^(?:" + p.Target.Name + ")$"); err == nil { // kustomize says so otherwise
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

// givenName is the name that a patch gives to what it selects, "" for most.
func (b *builder) givenName(dir string, p patch) string {
	if p.Target == nil {
		return "" // it is for the object of its own name
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

// around are the kustomizations whose objects a patch in dir sees: its own, or those that include the component.
func (b *builder) around(dir string) []string {
	k := b.tree.Loaded.Kustomizations[dir]
	if k == nil || k.Spec.Kind != types.ComponentKind || dir == b.tree.Loaded.Path {
		return []string{dir}
	}
	var list []string
	for _, u := range b.uses[dir] {
		if u.component {
			list = append(list, b.around(u.dir)...)
		}
	}
	return list
}

// checkPatchTargets reports patches for what is not there. kustomize fails the whole build on one. A patch for a cluster is
// left out, and everything else goes on; where a file could not be read, its name isn't known, and a patch for it is not
// reported a second time. A patch for anything else stops the tree.
func (b *builder) checkPatchTargets() {
	base := b.selection(nil, true)
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		for _, p := range b.patches[dir] {
			switch {
			case p.Target != nil:
			case p.cluster && len(b.tree.Broken) == 0 && b.lists == "" && !b.wanted(dir, p.name, nil):
				f := b.patchFinding(dir, p)
				f.Cluster = p.name
				f.Message = fmt.Sprintf("a patch names the cluster %q, and there is none of that name here", p.name)
				b.result.Add(f)
			case !p.cluster && !slices.ContainsFunc(b.around(dir), base.reaches):
				f := b.patchFinding(dir, p)
				f.Message = "a patch has no target, and names nothing that is here"
				if p.name != "" {
					f.Message = fmt.Sprintf("a patch names the %s %q, and there is none of that name here", p.kind, p.name)
				}
				b.result.Stop(f)
			}
		}
	}
}

func (b *builder) patchFinding(dir string, p patch) finding.Finding {
	f := finding.Finding{Code: CodePatchTarget, Severity: finding.Error, Path: b.rootFile(), Fix: "correct the name, or take the patch out; it has no effect"}
	if k := b.tree.Loaded.Kustomizations[dir]; k.File != nil {
		f.Path = k.File.Path
		f.Line, f.Column = k.File.Position(0, k.Patch(p.index))
	}
	return f
}
