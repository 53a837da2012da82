package kustomize

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/resource"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// An object's fields never identify the file that it comes from, because a patch may overwrite them, annotations above all.
// Where a build has as many objects as documents, their order identifies the file. Elsewhere each document gets an extra field,
// which is removed again. Its name is random, so that no patch can know it.
var markField = "muster-" + rand.Text()

// source is a document of a file, with the number of objects in it: more than one for a List.
type source struct {
	file     string
	document int
	objects  int
}

// marked is a file with its documents marked.
type marked struct {
	content []byte
	sources []int // indexes into builder.sources
}

// marked marks a file. The result is cached.
func (b *builder) marked(name string) marked {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, known := b.marks[name]; known {
		return m
	}
	m := marked{}
	documents, err := documentsIn(b.tree.Content[name])
	if err != nil {
		return marked{content: b.tree.Content[name]} // kustomize reports the error
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for i, d := range slices.DeleteFunc(documents, func(n *yaml.Node) bool { return n.ShortTag() == "!!null" }) {
		normalize(d, map[*yaml.Node]bool{})
		m.sources = append(m.sources, len(b.sources))
		b.sources = append(b.sources, source{file: name, document: i, objects: mark(d, strconv.Itoa(len(b.sources)))})
		if m.content == nil && encoder.Encode(d) != nil {
			m.content = b.tree.Content[name]
		}
	}
	if m.content == nil {
		m.content = out.Bytes()
	}
	b.marks[name] = m
	return m
}

// normalize removes the comments of a document and quotes its strings, so that the YAML library writes the values it has read.
func normalize(n *yaml.Node, seen map[*yaml.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		normalize(child, seen)
	}
}

// mark marks an object, or the objects in a List, and returns how many it marked.
func mark(n *yaml.Node, text string) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return 0
	}
	kind, items := load.Field(n, "kind"), load.Field(n, "items")
	if kind != nil && strings.HasSuffix(kind.Value, "List") && items != nil {
		count := 0
		for _, item := range items.Content {
			count += mark(item, text)
		}
		return count
	}
	if load.Field(n, markField) == nil {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: markField},
			&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.DoubleQuotedStyle})
	}
	return 1
}

// markOf returns the index in builder.sources of the document that an object comes from, or -1 when it has no mark.
func markOf(res *resource.Resource) int {
	n := load.Field(res.YNode(), markField)
	if n == nil {
		return -1
	}
	i, err := strconv.Atoi(n.Value)
	if err != nil {
		return -1
	}
	return i
}

// objects converts the objects of a marked build. It also returns the documents that kustomize dropped. A file with no object
// left is noted as dropped.
func (s *selection) objects(built []*resource.Resource) (taken []*Resource, left []droppedDocument, err error) {
	take := converter{texts: map[string]any{}}
	seen, others := map[int]int{}, []*Resource{}
	for _, res := range built {
		i := markOf(res)
		r := &Resource{Path: s.rootFile(), Generated: true}
		if i >= 0 && i < len(s.sources) {
			r.Path, r.Document, r.Generated = s.sources[i].file, s.sources[i].document, false
			seen[i]++
		}
		if r.Object, err = take.object(res); err != nil {
			return nil, nil, err
		}
		if r.Generated {
			if isCluster(r) {
				return nil, nil, errReplaced
			}
			r.Path = s.generator(res.GetKind(), res.GetName())
			others = append(others, r)
		}
		taken = append(taken, r)
	}
	return taken, s.findDropped(seen, others), nil
}

func isCluster(r *Resource) bool {
	object := unstructured.Unstructured{Object: r.Object}
	d := load.Document{Kind: object.GetKind(), APIVersion: object.GetAPIVersion()}
	return d.IsCluster()
}

// droppedDocument is a document that kustomize built fewer objects from than it has. all is true when its file has no object
// left.
type droppedDocument struct {
	file string
	all  bool
	finding.Finding
}

// findDropped compares the documents of a marked build with the objects that it returned. A generator that merges into an
// object, or replaces it, returns one without a mark.
func (s *selection) findDropped(seen map[int]int, others []*Resource) []droppedDocument {
	var list []droppedDocument
	times := s.times()
	for _, name := range slices.Sorted(maps.Keys(times)) {
		f := s.file(name)
		if f == nil {
			continue
		}
		all, found := true, []droppedDocument{}
		for _, i := range s.marked(name).sources {
			from := s.sources[i]
			missing := from.objects*times[name] - seen[i]
			all = all && seen[i] == 0
			if missing <= 0 || from.document >= len(f.Documents) {
				continue
			}
			d := f.Documents[from.document]
			if slices.ContainsFunc(others, func(r *Resource) bool {
				return d.Name != "" && r.Object["kind"] == d.Kind && strings.Contains(r.id(), d.Name)
			}) {
				all = false
				continue
			}
			found = append(found, droppedDocument{file: name, Finding: droppedFinding(f, from.document, missing)})
		}
		for i := range found {
			found[i].all = all
		}
		list = append(list, found...)
	}
	return list
}

// droppedFinding reports a document that kustomize drops objects of.
func droppedFinding(f *load.File, document, missing int) finding.Finding {
	d := f.Documents[document]
	at := finding.Finding{Code: CodeDropped, Severity: finding.Info, Path: f.Path,
		Message: fmt.Sprintf("kustomize leaves out the %s %q: a patch deletes it, or it has the annotation config.kubernetes.io/local-config", d.Kind, d.Name)}
	if strings.HasSuffix(d.Kind, "List") {
		at.Message = fmt.Sprintf("kustomize leaves out %d objects of this %s: patches delete them, or they have the annotation config.kubernetes.io/local-config", missing, d.Kind)
	}
	if d.IsCluster() {
		at.Cluster = d.Name
	}
	at.Line, at.Column = f.Position(document, []string{"metadata", "name"})
	return at
}

// times returns how often each file of a selection is built.
func (s *selection) times() map[string]int {
	times := map[string]int{}
	var visit func(dir string)
	visit = func(dir string) {
		k := s.tree.Loaded.Kustomizations[dir]
		for _, i := range s.chosen[dir] {
			if name := k.Resources[i]; s.tree.Loaded.Kustomizations[name] != nil {
				visit(name)
			} else {
				times[name]++
			}
		}
		for _, name := range inDir(dir, k.Spec.Components) {
			if s.tree.Loaded.Kustomizations[name] != nil && !s.isEmpty(name) {
				visit(name)
			}
		}
	}
	visit(s.tree.Loaded.Path)
	return times
}

// hashed matches the hash suffix that kustomize adds to the name of a generated object.
var hashed = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

// generator returns the file with the generator of an object, as far as the object's name tells.
func (b *builder) generator(kind, name string) string {
	found, longest := b.rootFile(), 0
	consider := func(file, of, generated string) {
		if of == kind && len(generated) > longest && strings.Contains(hashed.ReplaceAllString(name, ""), generated) {
			found, longest = file, len(generated)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		for _, g := range k.Spec.SecretGenerator {
			consider(k.File.Path, "Secret", g.Name)
		}
		for _, g := range k.Spec.ConfigMapGenerator {
			consider(k.File.Path, "ConfigMap", g.Name)
		}
		for _, entry := range k.Spec.Generators {
			file := k.File.Path
			if !strings.Contains(entry, "\n") {
				file = path.Join(dir, entry)
			}
			documents, _ := documentsIn(b.configuration(k, entry)) // kustomize reports the error
			for _, d := range documents {
				if of, name := load.Field(d, "kind"), load.Field(d, "metadata", "name"); of != nil && name != nil {
					consider(file, strings.TrimSuffix(of.Value, "Generator"), name.Value)
				}
			}
		}
	}
	return found
}
