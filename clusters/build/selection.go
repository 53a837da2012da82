package build

import (
	"fmt"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
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
	// origins says whether kustomize notes where each object comes from.
	origins bool
}

func (b *builder) selection(files []string, base bool) *selection {
	s := &selection{builder: b, files: make(map[string]bool, len(files)), base: base, origins: true, chosen: map[string][]int{}}
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

// run builds the selection. kustomize panics on some input, which must take one file along and not the process.
func (s *selection) run() (resources []*resource.Resource, err error) {
	defer func() {
		if recover() != nil {
			resources, err = nil, errPanic
		}
	}()
	fsys := filesys.MakeFsInMemory()
	if err := s.write(fsys, s.tree.Loaded.Path, map[string]bool{}); err != nil {
		return nil, err
	}
	if s.base {
		if err := s.writeShared(fsys); err != nil {
			return nil, err
		}
	}
	options := krusty.MakeDefaultOptions()
	// Nothing but the repository is in this file system, so a reference out of the kustomization's folder is harmless.
	options.LoadRestrictions = types.LoadRestrictionsNone
	result, err := krusty.MakeKustomizer(options).Run(fsys, path.Join("/", s.tree.Loaded.Path))
	if err != nil {
		return nil, err
	}
	return result.Resources(), nil
}

// write puts a kustomization where kustomize finds it, with everything of the selection that it refers to.
func (s *selection) write(fsys filesys.FileSystem, dir string, written map[string]bool) error {
	if written[dir] {
		return nil
	}
	written[dir] = true
	spec := s.spec(s.tree.Loaded.Kustomizations[dir])
	data, err := yaml.Marshal(spec)
	if err != nil {
		return fmt.Errorf("write kustomization of %s: %w", dir, err)
	}
	if err := fsys.WriteFile(path.Join("/", dir, "kustomization.yaml"), data); err != nil {
		return fmt.Errorf("write kustomization of %s: %w", dir, err)
	}
	refs := slices.Concat(spec.Resources, spec.Components)
	for _, p := range spec.Patches {
		if p.Path != "" {
			refs = append(refs, p.Path)
		}
	}
	for _, ref := range refs {
		name := path.Join(dir, ref)
		if s.tree.Loaded.Kustomizations[name] != nil {
			if err := s.write(fsys, name, written); err != nil {
				return err
			}
			continue
		}
		if err := s.writeFile(fsys, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *selection) writeFile(fsys filesys.FileSystem, name string) error {
	content, ok := s.tree.Content[name]
	if !ok {
		return nil // kustomize says that it is missing
	}
	if err := fsys.WriteFile(path.Join("/", name), content); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// writeShared puts the files where kustomize finds them that are there for others, and the inputs of generators.
func (s *selection) writeShared(fsys filesys.FileSystem) error {
	for _, name := range s.shared {
		if err := s.writeFile(fsys, name); err != nil {
			return err
		}
	}
	for name := range s.generate {
		content, ok := s.inputs[name]
		if !ok {
			if content, ok = s.tree.Content[name]; !ok {
				continue
			}
		}
		if err := fsys.WriteFile(path.Join(inputsDir, name), content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
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
	spec.Patches = nil
	for _, p := range s.patches[dir] {
		if s.keeps(dir, p) {
			spec.Patches = append(spec.Patches, p.Patch)
		}
	}
	spec.SortOptions = nil // the order tells where objects come from, and is of no other use
	if s.origins && dir == s.tree.Loaded.Path && !slices.Contains(spec.BuildMetadata, types.OriginAnnotations) {
		spec.BuildMetadata = append(slices.Clone(spec.BuildMetadata), types.OriginAnnotations)
	}
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
