package load

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
	"unique"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Document is one YAML document of a file.
type Document struct {
	APIVersion, Kind, Name string
	// Encrypted says that the document has a sops block.
	Encrypted bool
	// Index is the place of the document in the file, in which the empty ones count as they do for sops.
	Index int
	// Line is where the document starts.
	Line int

	// in is the file, and place that of the document among those that aren't empty.
	in    *parsed
	place int
	// id tells apart objects that would be one to kustomize.
	id string
}

// group is the API group of cluster files, in whichever version: one of a version that this Muster doesn't know is still
// a cluster, with an error of its own.
var group, _, _ = strings.Cut(v1alpha1.APIVersion, "/")

// IsCluster says whether the document is an ExternalCluster of any version.
func (d *Document) IsCluster() bool {
	return d.Kind == v1alpha1.Kind && strings.HasPrefix(d.APIVersion, group+"/")
}

// Node returns the root of the document, below the document node.
func (d *Document) Node() *yaml.Node { return d.in.root(d.place) }

// Field returns the node at a path of mapping keys, or nil.
func (d *Document) Field(keys ...string) *yaml.Node { return Field(d.Node(), keys...) }

// Field returns the node at a path of mapping keys below another, or nil.
func Field(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if _, n = entry(n, key); n == nil {
			return nil
		}
	}
	return n
}

// entry returns the key and value nodes of a mapping's entry.
func entry(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// kustomize takes time that grows with the square of both. The largest mapping of a legitimate file is the data of a Secret, with
// some tens of entries, or a list of CRDs' definitions with some hundreds.
const (
	maxEntries   = 2000
	maxDocuments = 500
)

// crowded returns the first mapping with more than maxEntries, those included that it merges from others.
func crowded(n *yaml.Node, memo map[*yaml.Node]int) *yaml.Node {
	if n.Kind == yaml.MappingNode && entries(n, memo) > maxEntries {
		return n
	}
	for _, child := range n.Content {
		if m := crowded(child, memo); m != nil {
			return m
		}
	}
	return nil
}

// entries counts those of a mapping with its merge keys expanded. parse has refused recursive aliases before.
func entries(n *yaml.Node, memo map[*yaml.Node]int) int {
	if count, ok := memo[n]; ok {
		return count
	}
	count := 0
	switch n.Kind {
	case yaml.AliasNode:
		count = entries(n.Alias, memo)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				count += entries(n.Content[i+1], memo)
			} else {
				count++
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content { // a merge key may take several mappings
			if item.Kind == yaml.AliasNode || item.Kind == yaml.MappingNode {
				count += entries(item, memo)
			}
		}
	case yaml.ScalarNode, yaml.DocumentNode:
	}
	count = min(count, maxEntries+1)
	memo[n] = count
	return count
}

func newDocument(root *yaml.Node) *Document {
	sops, name := Field(root, sopsKey), scalar(Field(root, "metadata", "name"))
	// Documents are kept, and thousands of them have the same two: one copy of these serves all, and one text each for the rest.
	apiVersion, kind := unique.Make(scalar(Field(root, "apiVersion"))).Value(), unique.Make(scalar(Field(root, "kind"))).Value()
	id := strings.Join([]string{apiVersion, kind, scalar(Field(root, "metadata", "namespace")), name}, "|")
	return &Document{APIVersion: apiVersion, Kind: kind, Name: id[len(id)-len(name):], id: id, Line: root.Line,
		Encrypted: sops != nil && sops.Kind == yaml.MappingNode && Field(sops, "mac") != nil}
}

func scalar(n *yaml.Node) string {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// invalidUTF8 returns the line of the first byte that is no UTF-8 text (or is NUL), or 0.
func invalidUTF8(data string) int {
	if utf8.ValidString(data) && strings.IndexByte(data, 0) < 0 {
		return 0
	}
	for i, line := range strings.Split(data, "\n") {
		if !utf8.ValidString(line) || strings.IndexByte(line, 0) >= 0 {
			return i + 1
		}
	}
	return 1
}

// extent is how large a document is with its aliases expanded.
type extent struct{ nodes, levels int }

// maxNesting is more than any Kubernetes object has. kustomize and sops keep the way to each value, and take time that grows with the number
// of values times their levels.
const maxNesting = 100

// expanded measures n with every alias expanded, and stops counting past limit. A recursive alias counts as more than the limit. The
// memo keeps it linear in the size of the file, whatever the aliases would expand to.
func expanded(n *yaml.Node, memo map[*yaml.Node]extent, limit int) extent {
	if n.Kind == yaml.AliasNode {
		return expanded(n.Alias, memo, limit)
	}
	pending := extent{nodes: -1}
	switch size, ok := memo[n]; {
	case ok && size == pending:
		return extent{nodes: limit + 1}
	case ok:
		return size
	}
	memo[n] = pending
	total := extent{nodes: 1}
	for _, child := range n.Content {
		size := expanded(child, memo, limit)
		total.levels = max(total.levels, size.levels)
		if total.nodes += size.nodes; total.nodes > limit {
			total.nodes = limit + 1
			break
		}
	}
	total.levels++
	memo[n] = total
	return total
}

// duplicateKey returns the first key that stands twice in its mapping. The YAML library finds these only when it decodes
// into Go values, which nothing here does.
func duplicateKey(n *yaml.Node, seen map[*yaml.Node]bool) *yaml.Node {
	if n.Kind == yaml.AliasNode || seen[n] {
		return nil
	}
	seen[n] = true
	if n.Kind == yaml.MappingNode {
		keys := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind == yaml.ScalarNode && k.Tag != "!!merge" {
				if keys[k.Value] {
					return k
				}
				keys[k.Value] = true
			}
		}
	}
	for _, child := range n.Content {
		if key := duplicateKey(child, seen); key != nil {
			return key
		}
	}
	return nil
}

var yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// parserProblem matches what the library's parser says, as opposed to its scanner.
var parserProblem = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<document start>)`)

// syntaxError takes the line and the cause from an error of the YAML library. A cause that quotes anything of the file is
// not repeated: what stands in a file that can't be parsed may be a credential.
func syntaxError(err error) (line int, message string) {
	m := yamlErrorLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	if m == nil {
		return 0, "the parser gives no cause"
	}
	line, _ = strconv.Atoi(m[1])
	if line > 0 && parserProblem.MatchString(m[2]) {
		line++ // the library counts these from zero, and the scanner's from one
	}
	if strings.ContainsAny(m[2], "\"'`!") && !strings.Contains(m[2], "expected") {
		return line, "the parser can't read this line"
	}
	return line, m[2]
}

// Position returns where a field of a document stands in the file. Where the field itself is absent it is the nearest
// mapping above it, and where that is the whole document, its first line. List indexes are written "[0]".
func (f *File) Position(document int, field []string) (line, column int) {
	if document >= len(f.Documents) {
		return 0, 0
	}
	n := f.Documents[document].Node()
	line, column = n.Line, n.Column
	for _, part := range field {
		var key, value *yaml.Node
		if i, ok := listIndex(part); ok {
			if n.Kind == yaml.SequenceNode && i < len(n.Content) {
				key, value = n.Content[i], n.Content[i]
			}
		} else {
			key, value = entry(n, part)
		}
		if value == nil {
			return line, column
		}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		line, column, n = key.Line, key.Column, value
	}
	return line, column
}

func listIndex(part string) (int, bool) {
	if !strings.HasPrefix(part, "[") || !strings.HasSuffix(part, "]") {
		return 0, false
	}
	i, err := strconv.Atoi(part[1 : len(part)-1])
	return i, err == nil && i >= 0
}

// Document returns the index of the document with this kind and name, or with the name before kustomize put a prefix or suffix
// to it, or something around it, or 0 when there is none.
func (f *File) Document(kind, name string) int {
	best, length := 0, -1
	for i, d := range f.Documents {
		n := len(d.Name)
		if strings.HasPrefix(name, d.Name) || strings.HasSuffix(name, d.Name) {
			n += len(name) // one of the two is likelier than both
		}
		switch {
		case d.Kind != kind:
		case d.Name == name:
			return i
		case n > length && strings.Contains(name, d.Name):
			best, length = i, n
		}
	}
	return best
}

var clusterMention = regexp.MustCompile(`(?i)\b(` + v1alpha1.Kind + `|` + regexp.QuoteMeta(group) + `)\b`)

// mentionsCluster says whether a file of which no more is known was meant as a cluster. The field externalClusters of audit
// configs is no mention.
func mentionsCluster(data string) bool { return clusterMention.MatchString(data) }

var sopsBlock = regexp.MustCompile(`(?m)^["']?sops["']?\s*:|^\s*"sops"\s*:|\bENC\[AES256_GCM,`)

var clusterHead = regexp.MustCompile(`(?im)^[\s{]*["']?(kind|apiVersion)["']?\s*:\s*["']?(` + v1alpha1.Kind + `|` + regexp.QuoteMeta(group) + `)\b`)

// hasSops says whether a file that can't be parsed was encrypted.
func hasSops(data string) bool { return sopsBlock.MatchString(data) }

// conflict matches what Git leaves in a file that could not be merged. A line of it alone is valid YAML.
var conflict = regexp.MustCompile(`(?m)^(<<<<<<<|>>>>>>>)( |$)`)

// lost says of a document that no kustomization lists why it is not taken as a cluster though it was meant as one, or "".
func (d *Document) lost(data string) string {
	ours, _, _ := strings.Cut(d.APIVersion, "/")
	switch {
	case d.IsCluster():
		return ""
	case conflict.MatchString(data):
		return "the file holds what is left of a merge conflict"
	case strings.HasPrefix(d.Kind, "ENC["):
		return "the file is encrypted as a whole, so its kind can't be read"
	case strings.EqualFold(d.Kind, v1alpha1.Kind):
		return "this is no cluster file: it says neither apiVersion " + v1alpha1.APIVersion + " nor another version of it, or its kind is not written " + v1alpha1.Kind
	case strings.EqualFold(ours, group) && d.Kind != "AuditSync":
		return "its kind is not " + v1alpha1.Kind
	case (d.APIVersion == "" || d.Kind == "") && clusterHead.MatchString(data):
		return "this is no cluster file: its apiVersion or kind can't be read"
	}
	return ""
}

var auditConfigKind = regexp.MustCompile(`(?m)^[\s{"']*kind["']?\s*:\s*["']?MondooAuditConfig\b`)

// mentionsAuditConfig says whether a file that can't be parsed was meant as an audit config. Cluster files speak of audit
// configs in comments.
func mentionsAuditConfig(data string) bool { return auditConfigKind.MatchString(data) }
