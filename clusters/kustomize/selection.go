package kustomize

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/load"
)

// selection is the part of a tree that one build reads: some cluster files, with or without everything else. Its cost depends on
// its own size, not on the size of the tree.
type selection struct {
	*builder
	files map[string]bool
	base  bool
	// chosen are the selected resources of each kustomization, as indexes into its list. A kustomization without any, and
	// without a generator, is absent, because kustomize refuses an empty one.
	chosen map[string][]int
	// marks is true when the documents are marked.
	marks bool
}

func (b *builder) selection(files []string, base bool) *selection {
	s := &selection{builder: b, files: make(map[string]bool, len(files)), base: base, chosen: map[string][]int{}}
	reached := slices.Clone(files)
	for _, f := range files {
		s.files[f] = true
	}
	if base {
		for _, name := range b.seeds {
			if b.tree.Loaded.Kustomizations[name] != nil {
				s.chosen[name] = nil
			}
		}
		reached = append(reached, b.seeds...)
	}
	for len(reached) > 0 {
		name := reached[0]
		reached = reached[1:]
		for _, u := range b.uses[name] {
			if _, known := s.chosen[u.dir]; !known {
				s.chosen[u.dir] = nil
				reached = append(reached, u.dir)
			}
			if !u.component {
				s.chosen[u.dir] = append(s.chosen[u.dir], u.index)
			}
		}
	}
	for _, places := range s.chosen {
		slices.Sort(places)
	}
	return s
}

// reaches reports whether a kustomization has anything to build.
func (s *selection) reaches(dir string) bool {
	_, reached := s.chosen[dir]
	return reached
}

// run builds the selection.
func (s *selection) run() ([]*resource.Resource, error) {
	files := map[string][]byte{}
	if err := s.write(files, s.tree.Loaded.Path); err != nil {
		return nil, err
	}
	if s.base {
		s.writeShared(files)
	}
	return Kustomize(files, s.tree.Loaded.Path)
}

// runMarked builds the selection with marks, so that each object can be traced to its document.
func (s *selection) runMarked() ([]*Resource, []droppedDocument, error) {
	s.marks = true
	built, err := s.run()
	if err != nil {
		return nil, nil, err
	}
	return s.objects(built)
}

// write adds a kustomization to files, with everything in the selection that it refers to.
func (s *selection) write(files map[string][]byte, dir string) error {
	k := s.tree.Loaded.Kustomizations[dir]
	name := path.Join(dir, "kustomization.yaml")
	if k.File != nil {
		name = k.File.Path
	}
	if files[name] != nil {
		return nil
	}
	spec := s.spec(k)
	data, err := yaml.Marshal(spec)
	if err != nil {
		return fmt.Errorf("write kustomization of %s: %w", dir, err)
	}
	files[name] = data
	for _, ref := range slices.Concat(spec.Resources, spec.Components) {
		name := path.Join(dir, ref)
		switch {
		case s.tree.Loaded.Kustomizations[name] != nil:
			if err := s.write(files, name); err != nil {
				return err
			}
		case s.marks:
			files[name] = s.marked(name).content
		default:
			s.writeFile(files, name)
		}
	}
	for _, entry := range spec.Generators {
		if name := path.Join(dir, entry); !strings.Contains(entry, "\n") && s.tree.Content[name] != nil {
			files[name] = redirectPluginInputs(dir, s.tree.Content[name])
		}
	}
	for _, p := range spec.Patches {
		if p.Path != "" {
			s.writeFile(files, path.Join(dir, p.Path))
		}
	}
	return nil
}

// writeFile adds a file to files. kustomize reports it if it is missing.
func (s *selection) writeFile(files map[string][]byte, name string) {
	if content, ok := s.tree.Content[name]; ok && files[name] == nil {
		files[name] = content
	}
}

// writeShared adds the files that are not resources, and the inputs of generators.
func (s *selection) writeShared(files map[string][]byte) {
	for _, name := range s.shared {
		s.writeFile(files, name)
	}
	for name := range s.generate {
		content, ok := s.inputs[name]
		if !ok {
			content, ok = s.tree.Content[name]
		}
		if ok {
			files[inputFile(name)[1:]] = content
		}
	}
}

// spec returns a kustomization reduced to the selection.
func (s *selection) spec(k *load.Kustomization) *types.Kustomization {
	dir, spec := k.Dir, k.Spec
	for _, i := range s.chosen[dir] { // nil if empty, as kustomize requires
		spec.Resources = append(spec.Resources, k.Ref(i))
	}
	spec.Components = filter(spec.Components, func(ref string) bool { return !s.isEmpty(path.Join(dir, ref)) })
	if !s.base {
		spec.ConfigMapGenerator, spec.SecretGenerator = nil, nil
	}
	spec = redirectInputs(dir, spec)
	spec.Generators = slices.Clone(spec.Generators)
	for i, entry := range spec.Generators {
		if strings.Contains(entry, "\n") {
			spec.Generators[i] = string(redirectPluginInputs(dir, []byte(entry)))
		}
	}
	spec.Patches = nil
	for _, p := range s.patches[dir] {
		if !s.keeps(dir, p) {
			continue
		}
		if p.Path != "" && s.uses[path.Join(dir, p.Path)] != nil { // it is a resource too, so files may have it with marks
			p.Patch.Path, p.Patch.Patch = "", string(s.tree.Content[path.Join(dir, p.Path)])
		}
		spec.Patches = append(spec.Patches, p.Patch)
	}
	spec.SortOptions = nil // it would change the order, which identifies the files
	return &spec
}

// filter returns the items that keep accepts, or nil if there are none, as kustomize requires.
func filter(list []string, take func(string) bool) []string {
	var taken []string
	for _, item := range list {
		if take(item) {
			taken = append(taken, item)
		}
	}
	return taken
}

// isEmpty reports whether no part of a component belongs to the selection. kustomize refuses an empty component.
func (s *selection) isEmpty(component string) bool {
	k := s.tree.Loaded.Kustomizations[component]
	if k == nil {
		return false
	}
	left := s.spec(k)
	left.TypeMeta, left.MetaData = types.TypeMeta{}, nil
	return left.CheckEmpty() != nil
}
