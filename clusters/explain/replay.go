package explain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// replayer builds one file through a chain of kustomizations that starts empty and grows step by step.
type replayer struct {
	tree  *seal.Tree
	chain []string // folders, the outermost first
	file  *load.File
	trail *trail
	specs map[string]*types.Kustomization // the kustomizations so far, by folder
	names map[string]bool                 // every name that the cluster has had; a patch may use any of them
	steps int
}

// step is one change by a kustomization.
type step struct {
	kind   Kind
	detail string
	field  []string // its place in the kustomization
	patch  string   // the patch's own file, if it has one
	add    func(*types.Kustomization)
}

func newReplayer(tree *seal.Tree, chain []string, file *load.File, t *trail) *replayer {
	r := &replayer{tree: tree, chain: chain, file: file, trail: t, specs: map[string]*types.Kustomization{}, names: map[string]bool{file.Documents[0].Name: true}}
	next := file.Path
	for _, dir := range slices.Backward(chain) {
		r.specs[dir] = &types.Kustomization{Resources: []string{relative(dir, next)}}
		next = dir
	}
	return r
}

// run follows the steps of each kustomization, the innermost first, like kustomize.
func (r *replayer) run(ctx context.Context) {
	for _, dir := range slices.Backward(r.chain) {
		r.kustomization(ctx, dir, dir)
	}
}

// kustomization follows the steps of one kustomization in the build of root. Its components come first.
func (r *replayer) kustomization(ctx context.Context, dir, root string) {
	k := r.tree.Loaded.Kustomizations[dir]
	if k == nil {
		return
	}
	for _, ref := range k.Spec.Components {
		component := path.Join(dir, ref)
		if r.specs[component] == nil {
			r.specs[component] = &types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.ComponentVersion, Kind: types.ComponentKind}}
		}
		r.specs[dir].Components = append(r.specs[dir].Components, relative(dir, component))
		r.kustomization(ctx, component, root)
	}
	for _, s := range r.stepsOf(k) {
		if ctx.Err() != nil {
			return
		}
		if r.steps++; r.steps == maxSteps+1 {
			r.trail.notes = append(r.trail.notes, fmt.Sprintf("only the first %d steps of the kustomizations were followed", maxSteps))
		}
		if r.steps > maxSteps {
			return
		}
		r.try(k, root, s)
	}
}

// try builds with one more step. If the build fails, the step needs another resource, and is left out.
func (r *replayer) try(k *load.Kustomization, root string, s step) {
	before := *r.specs[k.Dir]
	after := before
	s.add(&after)
	r.specs[k.Dir] = &after
	object, err := r.build(root)
	if err != nil {
		r.specs[k.Dir] = &before
		if s.kind != FromPatch {
			r.trail.notes = append(r.trail.notes, fmt.Sprintf("%s of %s needs more than this file and was not followed", s.detail, at(k)))
		}
		return
	}
	r.trail.record(object, func(field []string) Origin { return r.origin(k, s, field) })
	if name, ok := r.trail.value("metadata.name"); ok {
		r.names[fmt.Sprint(name)] = true
	}
}

// origin returns the place of a step: in the kustomization, or in the patch's own file.
func (r *replayer) origin(k *load.Kustomization, s step, field []string) Origin {
	o := Origin{Kind: s.kind, Path: at(k), Detail: s.detail}
	if k.File != nil {
		o.Line, _ = k.File.Position(0, s.field)
	}
	if s.patch == "" {
		return o
	}
	o.Detail += " of " + at(k)
	o.Path, o.Line = s.patch, 0
	if f := r.tree.Loaded.Files[s.patch]; f != nil && len(f.Documents) == 1 {
		o.Line, _ = f.Position(0, field)
	}
	return o
}

func at(k *load.Kustomization) string {
	if k.File == nil {
		return k.Dir
	}
	return k.File.Path
}

// stepsOf returns a kustomization's steps, in kustomize's order.
func (r *replayer) stepsOf(k *load.Kustomization) []step {
	steps := r.patches(k)
	s := k.Spec
	add := func(given bool, detail string, field []string, f func(*types.Kustomization)) {
		if given {
			steps = append(steps, step{kind: FromKustomization, detail: detail, field: field, add: f})
		}
	}
	// Entries don't have these fields, but patches further up may select by them.
	add(s.Namespace != "", "namespace", []string{"namespace"}, func(t *types.Kustomization) { t.Namespace = s.Namespace })
	add(len(s.CommonAnnotations) > 0, "commonAnnotations", []string{"commonAnnotations"}, func(t *types.Kustomization) { t.CommonAnnotations = s.CommonAnnotations })
	add(s.NamePrefix != "", "namePrefix", []string{"namePrefix"}, func(t *types.Kustomization) { t.NamePrefix = s.NamePrefix })
	add(s.NameSuffix != "", "nameSuffix", []string{"nameSuffix"}, func(t *types.Kustomization) { t.NameSuffix = s.NameSuffix })
	for i, label := range s.Labels {
		add(true, place("labels", i, ""), []string{"labels", index(i)}, func(t *types.Kustomization) { t.Labels = append(slices.Clip(t.Labels), label) })
	}
	for i, p := range s.PatchesJson6902 { //nolint:staticcheck // deprecated, and still built
		p = r.inlined(k, p)
		steps = append(steps, step{FromPatch, place("patchesJson6902", i, target(p.Target)), []string{"patchesJson6902", index(i)}, own(k, s.PatchesJson6902[i]), //nolint:staticcheck // see above
			func(t *types.Kustomization) { t.PatchesJson6902 = append(slices.Clip(t.PatchesJson6902), p) }}) //nolint:staticcheck // see above
	}
	for i, replacement := range s.Replacements {
		add(true, place("replacements", i, ""), []string{"replacements", index(i)}, func(t *types.Kustomization) { t.Replacements = append(slices.Clip(t.Replacements), replacement) })
	}
	for i, transformer := range s.Transformers {
		add(true, place("transformers", i, ""), []string{"transformers", index(i)}, func(t *types.Kustomization) { t.Transformers = append(slices.Clip(t.Transformers), transformer) })
	}
	return steps
}

// patches returns the patches that may apply to the cluster: those with a target, and those that name it.
func (r *replayer) patches(k *load.Kustomization) []step {
	var steps []step
	for i, original := range k.Spec.Patches {
		p := r.inlined(k, original)
		if p.Target == nil {
			if p.Patch = r.named(p.Patch); p.Patch == "" {
				continue
			}
		}
		field := k.Patch(i)
		n := i
		if len(field) == 2 {
			_, _ = fmt.Sscanf(field[1], "[%d]", &n)
		}
		steps = append(steps, step{FromPatch, place(field[0], n, target(p.Target)), field, own(k, original),
			func(t *types.Kustomization) { t.Patches = append(slices.Clip(t.Patches), p) }})
	}
	return steps
}

// own returns the patch's own file, or "".
func own(k *load.Kustomization, p types.Patch) string {
	if p.Path == "" {
		return ""
	}
	return path.Join(k.Dir, p.Path)
}

func (r *replayer) inlined(k *load.Kustomization, p types.Patch) types.Patch {
	if p.Path != "" {
		p.Patch, p.Path = string(r.tree.Content[path.Join(k.Dir, p.Path)]), ""
	}
	return p
}

// named returns the documents of a patch without target that name the cluster, by any name that it has had.
func (r *replayer) named(text string) string {
	var kept []string
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	for {
		var doc yaml.Node
		if decoder.Decode(&doc) != nil {
			break
		}
		var head struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Metadata   struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
		}
		if doc.IsZero() || doc.Decode(&head) != nil || !isExternalCluster(head.APIVersion, head.Kind) || !r.names[head.Metadata.Name] {
			continue
		}
		if data, err := yaml.Marshal(&doc); err == nil {
			kept = append(kept, string(data))
		}
	}
	return strings.Join(kept, "---\n")
}

// target returns a selector as text.
func target(s *types.Selector) string {
	if s == nil {
		return ""
	}
	var parts []string
	for _, part := range [][2]string{{"kind", s.Kind}, {"name", s.Name}, {"namespace", s.Namespace}, {"labelSelector", s.LabelSelector}, {"annotationSelector", s.AnnotationSelector}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	return strings.Join(parts, ", ")
}

func index(i int) string { return fmt.Sprintf("[%d]", i) }

var errReplay = errors.New("kustomize can't build this")

// build runs kustomize on the file and the kustomizations so far. Its error must not be printed: it may quote the file.
func (r *replayer) build(root string) (object map[string]any, err error) {
	defer func() {
		if recover() != nil { // kustomize panics on some input
			object, err = nil, errReplay
		}
	}()
	files := map[string][]byte{r.file.Path: r.tree.Content[r.file.Path]}
	for name, content := range r.tree.Content {
		if r.shared(name) {
			files[name] = content
		}
	}
	for dir, spec := range r.specs {
		if files[path.Join(dir, "kustomization.yaml")], err = k8syaml.Marshal(r.filled(spec)); err != nil {
			return nil, errReplay
		}
	}
	resources, err := kustomize.Kustomize(files, root)
	if err != nil || len(resources) != 1 {
		return nil, errReplay
	}
	return resources[0].Map()
}

// shared reports whether a step may read a file: one that is neither a resource nor a kustomization.
func (r *replayer) shared(name string) bool {
	for dir := range r.specs {
		for _, replacement := range r.specs[dir].Replacements {
			if replacement.Path != "" && path.Join(dir, replacement.Path) == name {
				return true
			}
		}
		if slices.ContainsFunc(r.specs[dir].Transformers, func(t string) bool { return !strings.Contains(t, "\n") && path.Join(dir, t) == name }) {
			return true
		}
	}
	return false
}

// filled returns a kustomization that kustomize accepts: an empty component gets an annotation, because it must not be
// empty.
func (r *replayer) filled(spec *types.Kustomization) *types.Kustomization {
	if spec.Kind != types.ComponentKind {
		return spec
	}
	left := *spec
	left.TypeMeta = types.TypeMeta{}
	if left.CheckEmpty() == nil {
		return spec
	}
	full := *spec // it is empty, so it has no annotations
	full.CommonAnnotations = map[string]string{"muster.dev/nothing": "yes"}
	return &full
}

// relative returns a path relative to the folder of a kustomization.
func relative(dir, name string) string {
	rel, err := filepath.Rel("/"+dir, "/"+name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}
