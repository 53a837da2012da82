package explain

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// trail records where each field of a cluster file got its value, by dotted path.
type trail struct {
	origins map[string][]Origin
	leaves  map[string]any
	notes   []string
}

// at returns the origins of a field in order: of the field itself, or of a field below it.
func (t *trail) at(field string) []Origin {
	if list := t.origins[field]; len(list) > 0 {
		return list
	}
	for _, name := range slices.Sorted(maps.Keys(t.origins)) {
		if strings.HasPrefix(name, field+".") && len(t.origins[name]) > 0 {
			return t.origins[name]
		}
	}
	return nil
}

func (t *trail) value(field string) (any, bool) {
	v, ok := t.leaves[field]
	return v, ok
}

// maxSteps limits the cost of one explanation. A step builds one resource with all patches so far, which takes about
// half a millisecond per patch.
const maxSteps = 100

// replay sends the cluster file through its kustomizations, one step at a time.
func replay(ctx context.Context, f *fleet.Sealed, c fleet.Cluster, file *load.File) (*trail, error) {
	t := &trail{origins: map[string][]Origin{}}
	object := map[string]any{}
	if yaml.Unmarshal(f.Source.Content[file.Path], &object) != nil {
		return t, nil //nolint:nilerr // an unreadable file has a finding, and no origins
	}
	t.record(object, func(field []string) Origin {
		o := Origin{Kind: FromFile, Path: file.Path}
		o.Line, _ = file.Position(c.Origin.Document, field)
		return o
	})
	if f.Stopped {
		// Refused input must never reach kustomize, which would fetch or run it.
		t.notes = append(t.notes, "something that many clusters share has an error, so the kustomizations were not followed")
		return t, nil
	}
	best := t
	for _, chain := range chains(f.Source.Loaded, f.Source.Loaded.Path, file.Path) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := newReplayer(f.Source, chain, file, t.clone())
		r.run(ctx)
		best = r.trail
		if name, _ := r.trail.value("metadata.name"); name == c.Name {
			break // a file that is used twice becomes two clusters
		}
	}
	best.verify(f, c)
	return best, ctx.Err()
}

func (t *trail) clone() *trail {
	return &trail{origins: maps.Clone(t.origins), leaves: maps.Clone(t.leaves), notes: slices.Clone(t.notes)}
}

// record records the current state of the object, and the origin of each change.
func (t *trail) record(object map[string]any, origin func(field []string) Origin) {
	leaves := map[string]any{}
	flatten("", object, leaves)
	for name := range t.leaves {
		if _, still := leaves[name]; !still {
			delete(t.origins, name)
		}
	}
	for name, value := range leaves {
		before, had := t.leaves[name]
		if !had || !reflect.DeepEqual(before, value) {
			t.origins[name] = append(slices.Clip(t.origins[name]), origin(strings.Split(name, ".")))
		}
	}
	t.leaves = leaves
}

// verify compares the end of the trail with the fleet. If they differ, something has changed the file that building it
// alone does not show.
func (t *trail) verify(f *fleet.Sealed, c fleet.Cluster) {
	actual := map[string]any{}
	data, err := yaml.Marshal(c.File)
	var object map[string]any
	if err != nil || yaml.Unmarshal(data, &object) != nil {
		return
	}
	flatten("", object, actual)
	differs := false
	for name, value := range actual {
		if !strings.HasPrefix(name, "spec.") && name != "metadata.name" || reflect.DeepEqual(t.leaves[name], value) || isZero(value) {
			continue
		}
		differs = true
		t.origins[name] = append(slices.Clip(t.origins[name]), Origin{Kind: FromUnknown, Path: f.Source.Loaded.Path,
			Detail: "changed by the kustomizations of this path"})
		t.leaves[name] = value
	}
	for name := range t.leaves {
		if _, still := actual[name]; strings.HasPrefix(name, "spec.") && !still && !isZero(t.leaves[name]) {
			delete(t.origins, name)
		}
	}
	if differs && f.Whole != "" {
		t.notes = append(t.notes, "a single file doesn't show which of them it was:  "+f.Whole)
	}
}

func isZero(v any) bool {
	m, isMap := v.(map[string]any)
	return v == nil || v == false || v == "" || isMap && len(m) == 0
}

// flatten lists the values of an object by dotted path. Lists and empty mappings are values.
func flatten(prefix string, object map[string]any, into map[string]any) {
	for key, value := range object {
		if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
			flatten(prefix+key+".", inner, into)
			continue
		}
		into[prefix+key] = value
	}
}

// chains returns the paths from a kustomization down to a file, as folders with the outermost first.
func chains(tree *load.Tree, dir, file string) [][]string {
	k := tree.Kustomizations[dir]
	if k == nil {
		return nil
	}
	var list [][]string
	for _, name := range k.Resources {
		if name == file {
			list = append(list, []string{dir})
			continue
		}
		if tree.Kustomizations[name] != nil && name != dir {
			for _, below := range chains(tree, name, file) {
				list = append(list, append([]string{dir}, below...))
			}
		}
	}
	return list
}

// place names a target by its place in the kustomization.
func place(list string, i int, target string) string {
	if i < 0 {
		return list
	}
	if target == "" {
		return fmt.Sprintf("%s[%d]", list, i)
	}
	return fmt.Sprintf("%s[%d] for %s", list, i, target)
}

func isExternalCluster(apiVersion, kind string) bool {
	return (&load.Document{APIVersion: apiVersion, Kind: kind}).IsCluster() && kind == v1alpha1.Kind
}
