package build

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

// Which file an object comes from is never asked of the object's own fields: a patch may overwrite each of them, annotations before all
// others. The order tells it where a build has as many objects as documents. Elsewhere the documents get a field more, whose name no patch
// can know, and which is taken off again.
var markField = "muster-" + rand.Text()

// source is a document of a file, with the number of objects in it: that of its items for a list.
type source struct {
	file     string
	document int
	objects  int
}

// marked is the content of a file whose documents are marked.
type marked struct {
	content []byte
	sources []int // places in builder.sources
}

// marked marks a file, once.
func (b *builder) marked(name string) marked {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, known := b.marks[name]; known {
		return m
	}
	m := marked{}
	documents, err := documentsIn(b.tree.Content[name])
	if err != nil {
		return marked{content: b.tree.Content[name]} // kustomize says what is wrong
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for i, d := range slices.DeleteFunc(documents, func(n *yaml.Node) bool { return n.ShortTag() == "!!null" }) {
		plain(d, map[*yaml.Node]bool{})
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

// plain has a document written without comments and with its texts in quotes, so that the YAML library writes what it has read.
func plain(n *yaml.Node, seen map[*yaml.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		plain(child, seen)
	}
}

// mark marks an object, or those in a list, and counts them.
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

// markOf is the place in builder.sources of what an object was made of; less than nothing when it has no mark.
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

// objects takes over the objects of a marked build. The findings are about documents of which nothing has become an object, whose files
// are noted as dropped when nothing else came from them.
func (s *selection) objects(built []*resource.Resource) (taken []*Resource, left []leftOut, err error) {
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
	return taken, s.leftOut(seen, others), nil
}

func isCluster(r *Resource) bool {
	object := unstructured.Unstructured{Object: r.Object}
	d := load.Document{Kind: object.GetKind(), APIVersion: object.GetAPIVersion()}
	return d.IsCluster()
}

// leftOut is a file of which kustomize has made fewer objects than are in it, or none.
type leftOut struct {
	file string
	all  bool
	finding.Finding
}

// leftOut compares what is in the files of a marked build with what has become of it. A generator that merges into an object, or replaces
// it, makes one without a mark.
func (s *selection) leftOut(seen map[int]int, others []*Resource) []leftOut {
	var list []leftOut
	times := s.times()
	for _, name := range slices.Sorted(maps.Keys(times)) {
		f := s.file(name)
		if f == nil {
			continue
		}
		all, found := true, []leftOut{}
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
			found = append(found, leftOut{file: name, Finding: dropped(f, from.document, missing)})
		}
		for i := range found {
			found[i].all = all
		}
		list = append(list, found...)
	}
	return list
}

// dropped is the finding about a document of which kustomize leaves out objects.
func dropped(f *load.File, document, missing int) finding.Finding {
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

// times is how often each file of a selection is built.
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
			if s.tree.Loaded.Kustomizations[name] != nil && !s.idle(name) {
				visit(name)
			}
		}
	}
	visit(s.tree.Loaded.Path)
	return times
}

// hashed matches the end of a name that kustomize has added to a generated object.
var hashed = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

// generator is the file with the generator of an object, as far as its name tells.
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
			documents, _ := documentsIn(b.configuration(k, entry)) // kustomize says what is wrong
			for _, d := range documents {
				if of, name := load.Field(d, "kind"), load.Field(d, "metadata", "name"); of != nil && name != nil {
					consider(file, strings.TrimSuffix(of.Value, "Generator"), name.Value)
				}
			}
		}
	}
	return found
}
