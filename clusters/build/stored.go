package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"path"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
)

// stored is what was built from some files: from one cluster file, or from everything that is none. Its key stands for all that
// kustomize has seen of it, so that equal keys give equal objects.
type stored struct {
	key       key
	resources []*Resource
	bad       *finding.Finding
	// left tells what kustomize has left out.
	left []leftOut
}

// key is made of the hash of a file, and of what stands for the kustomizations and patches that are for it.
type key struct{ file, ways, patches string }

// baseKey stands for everything but the cluster files: kustomizations, patches, other resources, the inputs of generators.
func (b *builder) baseKey() key {
	h := sha256.New()
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		others := slices.DeleteFunc(slices.Clone(k.Resources), func(name string) bool { f := b.file(name); return f != nil && f.IsCluster() })
		write(h, dir, k.Spec, others)
	}
	for _, name := range slices.Sorted(slices.Values(slices.Concat(b.shared, b.seeds))) {
		write(h, name, string(b.tree.Content[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(b.generate)) {
		write(h, name, string(b.tree.Content[name]), string(b.inputs[name]))
	}
	return key{ways: sum(h)}
}

// fileKeys makes the keys of the cluster files. Such a key is made of the file, of the kustomizations on all ways from it to the root
// without their lists of resources, and of the patches that name its cluster: whatever else comes or goes doesn't
// change it. Files that are built together have what stands for the others in theirs.
func (b *builder) fileKeys() func(file string) key {
	k := &keymaker{builder: b, above: map[string]string{}, named: b.patchesByFile(), groups: map[string]string{}}
	return func(file string) key {
		made := k.alone(file)
		if g := b.together[file]; g != nil {
			made.patches = k.group(g)
		}
		return made
	}
}

type keymaker struct {
	*builder
	above  map[string]string // by folder
	named  map[string][]string
	groups map[string]string // by their first files
}

func (k *keymaker) alone(file string) key {
	made := key{file: k.tree.Loaded.Files[file].Hash, ways: k.users(file)}
	if named := k.named[file]; named != nil {
		h := sha256.New()
		write(h, named)
		made.patches = sum(h)
	}
	return made
}

// group stands for all files of a group.
func (k *keymaker) group(g group) string {
	if made, known := k.groups[g[0]]; known {
		return made
	}
	h := sha256.New()
	for _, file := range g {
		one := k.alone(file)
		write(h, file, one.file, one.ways, one.patches)
	}
	k.groups[g[0]] = sum(h)
	return k.groups[g[0]]
}

// users are the keys of the kustomizations that refer to a file or folder, in the order of their folders.
func (k *keymaker) users(name string) string {
	uses := k.uses[name]
	if len(uses) == 1 && !uses[0].component {
		return k.way(uses[0].dir) // which all files of a fleet may share
	}
	keys := ""
	for _, u := range uses {
		if u.component {
			keys += "component "
		}
		keys += k.way(u.dir) + " "
	}
	return keys
}

// way stands for a kustomization, its components, and all that is on the ways from it to the root.
func (k *keymaker) way(dir string) string {
	if key, known := k.above[dir]; known {
		return key
	}
	k.above[dir] = "" // load has refused cycles
	h := sha256.New()
	write(h, k.own(dir), k.users(dir))
	k.above[dir] = sum(h)
	return k.above[dir]
}

// own stands for what a kustomization, with its components, does to the clusters in it.
func (k *keymaker) own(dir string) string {
	spec := k.tree.Loaded.Kustomizations[dir].Spec
	components := spec.Components
	spec.Resources, spec.Components, spec.Patches, spec.ConfigMapGenerator, spec.SecretGenerator = nil, nil, nil, nil, nil
	h := sha256.New()
	write(h, dir, spec)
	for _, p := range k.patches[dir] {
		if p.Target != nil {
			write(h, p.Patch, k.text(dir, p))
		}
	}
	for _, ref := range components {
		write(h, ref, k.own(path.Join(dir, ref)))
	}
	return sum(h)
}

// text is a patch, with the hash of the file that it stands in: whether a value in it is under a MAC shows there alone.
func (b *builder) text(dir string, p patch) string {
	text := p.Patch.Patch
	if p.Path != "" {
		text = string(b.tree.Content[path.Join(dir, p.Path)])
	}
	if list := b.tree.Loaded.Kustomizations[dir].Spec.Patches; p.index < len(list) && list[p.index].Path != "" {
		if f := b.tree.Loaded.Files[path.Join(dir, list[p.index].Path)]; f != nil {
			text += f.Hash
		}
	}
	return text
}

// patchesByFile are the patches without target that name the cluster of a file, each with its place among those that have one:
// kustomize runs them in their order.
func (b *builder) patchesByFile() map[string][]string {
	byFile := map[string][]string{}
	for _, dir := range slices.Sorted(maps.Keys(b.patches)) {
		targets := 0
		for _, p := range b.patches[dir] {
			if p.Target != nil {
				targets++
				continue
			}
			if !p.cluster {
				continue
			}
			for _, file := range b.clustersNamed(dir, p.name) {
				byFile[file] = append(byFile[file], fmt.Sprint(dir, " ", targets, " ", p.Options), b.text(dir, p))
			}
		}
	}
	return byFile
}

func write(h hash.Hash, parts ...any) {
	encoder := json.NewEncoder(h)
	for _, p := range parts {
		if err := encoder.Encode(p); err != nil {
			panic(fmt.Sprintf("build: %T can't be written as JSON", p)) // plain structs and texts always can
		}
	}
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
