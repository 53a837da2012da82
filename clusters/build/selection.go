package build

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

// selection is the part of a tree that one build takes: some cluster files, with or without everything else. What it costs
// depends on its own size, not on that of the tree.
type selection struct {
	*builder
	files map[string]bool
	base  bool
	// chosen are the resources that each kustomization has in the selection, by their places in its list. One that has none, and
	// no generator, is not there at all: kustomize refuses an empty one.
	chosen map[string][]int
	// marks says whether the objects tell their sources.
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

// reaches says whether a kustomization has anything to build.
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

// traced builds the selection so that each object tells its source.
func (s *selection) traced() ([]*Resource, []leftOut, error) {
	s.marks = true
	built, err := s.run()
	if err != nil {
		return nil, nil, err
	}
	return s.objects(built)
}

// write puts a kustomization where kustomize finds it, with everything of the selection that it refers to.
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
			files[name] = withInputs(dir, s.tree.Content[name])
		}
	}
	for _, p := range spec.Patches {
		if p.Path != "" {
			s.writeFile(files, path.Join(dir, p.Path))
		}
	}
	return nil
}

// writeFile puts a file where kustomize finds it, which says so when it is missing.
func (s *selection) writeFile(files map[string][]byte, name string) {
	if content, ok := s.tree.Content[name]; ok && files[name] == nil {
		files[name] = content
	}
}

// writeShared puts the files where kustomize finds them that are there for others, and the inputs of generators.
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

// spec is a kustomization cut down to the selection.
func (s *selection) spec(k *load.Kustomization) *types.Kustomization {
	dir, spec := k.Dir, k.Spec
	for _, i := range s.chosen[dir] { // nil where nothing is taken, as kustomize asks for
		spec.Resources = append(spec.Resources, k.Ref(i))
	}
	spec.Components = only(spec.Components, func(ref string) bool { return !s.idle(path.Join(dir, ref)) })
	if !s.base {
		spec.ConfigMapGenerator, spec.SecretGenerator = nil, nil
	}
	spec = fromInputsDir(dir, spec)
	spec.Generators = slices.Clone(spec.Generators)
	for i, entry := range spec.Generators {
		if strings.Contains(entry, "\n") {
			spec.Generators[i] = string(withInputs(dir, []byte(entry)))
		}
	}
	spec.Patches = nil
	for _, p := range s.patches[dir] {
		if !s.keeps(dir, p) {
			continue
		}
		if p.Path != "" && s.uses[path.Join(dir, p.Path)] != nil { // a resource too, of which kustomize may get to see the marked form
			p.Patch.Path, p.Patch.Patch = "", string(s.tree.Content[path.Join(dir, p.Path)])
		}
		spec.Patches = append(spec.Patches, p.Patch)
	}
	spec.SortOptions = nil // the order tells where objects come from, and is of no other use
	return &spec
}

// only is the part of a list that is taken; nil where nothing is, as kustomize asks for.
func only(list []string, take func(string) bool) []string {
	var taken []string
	for _, item := range list {
		if take(item) {
			taken = append(taken, item)
		}
	}
	return taken
}

// idle says whether nothing of a component belongs to the selection. kustomize refuses an empty one.
func (s *selection) idle(component string) bool {
	k := s.tree.Loaded.Kustomizations[component]
	if k == nil {
		return false
	}
	left := s.spec(k)
	left.TypeMeta, left.MetaData = types.TypeMeta{}, nil
	return left.CheckEmpty() != nil
}
