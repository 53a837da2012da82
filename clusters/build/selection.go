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
)

// selection is the part of a tree that one build takes: some cluster files, with or without everything else.
type selection struct {
	*builder
	files map[string]bool
	base  bool
	memo  map[string]bool // folders that have something to build
}

func (b *builder) selection(files []string, base bool) *selection {
	s := &selection{builder: b, files: make(map[string]bool, len(files)), base: base, memo: map[string]bool{}}
	for _, f := range files {
		s.files[f] = true
	}
	return s
}

// takes says whether a reference among a kustomization's resources is part of the selection.
func (s *selection) takes(name string) bool {
	if s.tree.Loaded.Kustomizations[name] != nil {
		return s.reaches(name)
	}
	f := s.file(name)
	if f == nil {
		return false
	}
	if isCluster(f) {
		return s.files[name]
	}
	return s.base
}

// reaches says whether a kustomization has anything to build. kustomize refuses an empty one.
func (s *selection) reaches(dir string) bool {
	if has, ok := s.memo[dir]; ok {
		return has
	}
	s.memo[dir] = false
	k := s.tree.Loaded.Kustomizations[dir]
	if k == nil {
		return false
	}
	has := s.base && len(k.Spec.ConfigMapGenerator)+len(k.Spec.SecretGenerator)+len(k.Spec.Generators) > 0
	has = has || slices.ContainsFunc(k.Spec.Resources, func(ref string) bool { return s.takes(path.Join(dir, ref)) })
	has = has || slices.ContainsFunc(k.Spec.Components, func(ref string) bool { return s.reaches(path.Join(dir, ref)) })
	s.memo[dir] = has
	return has
}

// run builds the selection. kustomize panics on some input, which must take one file along and not the process.
func (s *selection) run() (resources []*resource.Resource, err error) {
	defer func() {
		if recover() != nil {
			resources, err = nil, errPanic
		}
	}()
	fsys := filesys.MakeFsInMemory()
	for _, k := range s.tree.Loaded.Kustomizations {
		data, err := yaml.Marshal(s.spec(k.Dir, k.Spec))
		if err != nil {
			return nil, fmt.Errorf("write kustomization of %s: %w", k.Dir, err)
		}
		if err := fsys.WriteFile(path.Join("/", k.Dir, "kustomization.yaml"), data); err != nil {
			return nil, fmt.Errorf("write kustomization of %s: %w", k.Dir, err)
		}
	}
	if err := s.writeFiles(fsys); err != nil {
		return nil, err
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

// writeFiles puts the files of the selection where kustomize finds them: shared ones always, resources when taken.
func (s *selection) writeFiles(fsys filesys.FileSystem) error {
	for name, content := range s.tree.Content {
		if s.resources[name] && !s.takes(name) || s.isKustomization(name) {
			continue
		}
		if err := fsys.WriteFile(path.Join("/", name), content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
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

func (s *selection) isKustomization(name string) bool {
	k := s.tree.Loaded.Kustomizations[path.Dir(name)]
	return k != nil && k.File != nil && k.File.Path == name
}

// spec is a kustomization cut down to the selection.
func (s *selection) spec(dir string, spec types.Kustomization) *types.Kustomization {
	spec.Resources = only(spec.Resources, func(ref string) bool { return s.takes(path.Join(dir, ref)) })
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
	if dir == s.tree.Loaded.Path && !slices.Contains(spec.BuildMetadata, types.OriginAnnotations) {
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
	left := s.spec(component, k.Spec)
	left.TypeMeta, left.MetaData = types.TypeMeta{}, nil
	return left.CheckEmpty() != nil
}

// convert takes a resource over from kustomize, with the place it comes from.
func (b *builder) convert(res *resource.Resource) (r Resource, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	r = Resource{Path: b.rootFile()}
	origin, err := res.GetOrigin()
	if err != nil {
		return r, err
	}
	if origin != nil {
		from := origin.Path
		if from == "" {
			from, r.Generated = origin.ConfiguredIn, true
		}
		r.Path = path.Join(b.tree.Loaded.Path, from)
	}
	root := b.tree.Loaded.Kustomizations[b.tree.Loaded.Path]
	if !slices.Contains(root.Spec.BuildMetadata, types.OriginAnnotations) {
		if err := res.SetOrigin(nil); err != nil {
			return r, err
		}
	}
	if r.Object, err = res.Map(); err != nil {
		return r, err
	}
	if f := b.tree.Loaded.Files[r.Path]; f != nil && !r.Generated {
		r.Document = f.Document(res.GetKind(), res.GetName())
	}
	return r, nil
}
