package kustomize

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

// stored is what was built from some files: from one cluster file, or from everything but the cluster files. Its key covers all
// input that kustomize has seen, so that equal keys mean equal objects.
type stored struct {
	key       key
	resources []*Resource
	failure   *finding.Finding
	// dropped is what kustomize left out.
	dropped []droppedDocument
}

// key consists of the hash of a file, and the hashes of the kustomizations and patches that apply to it.
type key struct{ file, kustomizations, patches string }

// baseKey covers everything but the cluster files: kustomizations, patches, other resources, the inputs of generators.
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
	return key{kustomizations: sum(h)}
}

// fileKeys returns a function that computes the key of a cluster file. The key covers the file, the kustomizations on all paths
// from it to the root without their lists of resources, and the patches that name its cluster. Other changes don't affect it.
// The keys of files that are built together cover each other.
func (b *builder) fileKeys() func(file string) key {
	k := &keymaker{builder: b, pathHashes: map[string]string{}, named: b.patchesByFile(), groups: map[string]string{}}
	return func(file string) key {
		result := k.single(file)
		if g := b.together[file]; g != nil {
			result.patches = k.group(g)
		}
		return result
	}
}

type keymaker struct {
	*builder
	pathHashes map[string]string // by folder
	named      map[string][]string
	groups     map[string]string // by the first file
}

func (k *keymaker) single(file string) key {
	result := key{file: k.tree.Loaded.Files[file].Hash, kustomizations: k.userHashes(file)}
	if named := k.named[file]; named != nil {
		h := sha256.New()
		write(h, named)
		result.patches = sum(h)
	}
	return result
}

// group returns a hash of all files of a group.
func (k *keymaker) group(g group) string {
	if cached, known := k.groups[g[0]]; known {
		return cached
	}
	h := sha256.New()
	for _, file := range g {
		one := k.single(file)
		write(h, file, one.file, one.kustomizations, one.patches)
	}
	k.groups[g[0]] = sum(h)
	return k.groups[g[0]]
}

// userHashes returns the keys of the kustomizations that refer to a file or folder, in the order of their folders.
func (k *keymaker) userHashes(name string) string {
	uses := k.uses[name]
	if len(uses) == 1 && !uses[0].component {
		return k.pathHash(uses[0].dir) // all files of a fleet may share this string
	}
	keys := ""
	for _, u := range uses {
		if u.component {
			keys += "component "
		}
		keys += k.pathHash(u.dir) + " "
	}
	return keys
}

// pathHash returns a hash of a kustomization, its components, and everything on the paths from it to the root.
func (k *keymaker) pathHash(dir string) string {
	if key, known := k.pathHashes[dir]; known {
		return key
	}
	k.pathHashes[dir] = "" // load has refused cycles
	h := sha256.New()
	write(h, k.ownHash(dir), k.userHashes(dir))
	k.pathHashes[dir] = sum(h)
	return k.pathHashes[dir]
}

// ownHash returns a hash of what a kustomization, with its components, does to its clusters.
func (k *keymaker) ownHash(dir string) string {
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
		write(h, ref, k.ownHash(path.Join(dir, ref)))
	}
	return sum(h)
}

// text returns a patch, with the hash of the file that contains it: only the hash shows whether a value is covered by a MAC.
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

// patchesByFile returns the patches without a target that name the cluster of a file. Each has its position among the patches
// with a target, because kustomize runs them in order.
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
			panic(fmt.Sprintf("build: %T can't be written as JSON", p)) // structs and strings can always be encoded
		}
	}
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
