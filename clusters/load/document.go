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
	// Encrypted is true if the document has a sops block.
	Encrypted bool
	// Index is the position of the document in the file. Empty documents count, as they do for sops.
	Index int
	// Line is the first line of the document.
	Line int

	// in is the file, and place the index among its non-empty documents.
	in    *parsed
	place int
	// id identifies the object. kustomize takes objects with equal ids for the same object.
	id string
}

// group is the API group of cluster files. A file with an unknown version is still a cluster file, with its own error.
var group, _, _ = strings.Cut(v1alpha1.APIVersion, "/")

// IsCluster reports whether the document is an ExternalCluster of any version.
func (d *Document) IsCluster() bool {
	return d.Kind == v1alpha1.Kind && strings.HasPrefix(d.APIVersion, group+"/")
}

// Node returns the root of the document, below the document node.
func (d *Document) Node() *yaml.Node { return d.in.root(d.place) }

// Field returns the node at a path of mapping keys, or nil.
func (d *Document) Field(keys ...string) *yaml.Node { return Field(d.Node(), keys...) }

// Field returns the node at a path of mapping keys below n, or nil.
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

// kustomize's time grows with the square of both. The largest mapping of a legitimate file is the data of a Secret, with a few
// dozen entries, or a list of CRD definitions with a few hundred.
const (
	maxEntries   = 2000
	maxDocuments = 500
)

// oversizedMapping returns the first mapping with more than maxEntries, including the entries that it merges from others.
func oversizedMapping(n *yaml.Node, memo map[*yaml.Node]int) *yaml.Node {
	if n.Kind == yaml.MappingNode && entries(n, memo) > maxEntries {
		return n
	}
	for _, child := range n.Content {
		if m := oversizedMapping(child, memo); m != nil {
			return m
		}
	}
	return nil
}

// entries counts the entries of a mapping with its merge keys expanded. parse has already refused recursive aliases.
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
		for _, item := range n.Content { // a merge key may list several mappings
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
	// Documents are kept in memory, and thousands have the same apiVersion and kind. They share one copy of these, and the other
	// fields are slices of one string.
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

// invalidUTF8 returns the first line that is not valid UTF-8 or has a NUL byte, or 0.
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

// extent is the size of a document with its aliases expanded.
type extent struct{ nodes, levels int }

// maxNesting is more than any Kubernetes object needs. kustomize and sops keep the path to each value, so their time grows with
// the number of values times their depth.
const maxNesting = 100

// expanded measures n with every alias expanded, and stops counting at the limit. A recursive alias counts as more than the
// limit. The memo keeps the time linear in the size of the file, however far its aliases would expand.
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

// duplicateKey returns the first key that occurs twice in a mapping. The YAML library only finds these when it decodes into Go
// values, which this package doesn't.
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

// parserProblem matches the messages of the library's parser, as opposed to its scanner.
var parserProblem = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<document start>)`)

// syntaxError extracts the line and the cause from an error of the YAML library. It withholds a cause that quotes the file,
// because a file that can't be parsed may have credentials.
func syntaxError(err error) (line int, message string) {
	m := yamlErrorLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	if m == nil {
		return 0, "the parser reports no cause"
	}
	line, _ = strconv.Atoi(m[1])
	if line > 0 && parserProblem.MatchString(m[2]) {
		line++ // the parser counts lines from zero, and the scanner from one
	}
	if strings.ContainsAny(m[2], "\"'`!") && !strings.Contains(m[2], "expected") {
		return line, "the parser can't read this line"
	}
	return line, m[2]
}

// Position returns the position of a field of a document in the file. If the field is absent, it returns the position of the
// nearest mapping above it, or the first line of the document. List indexes are written "[0]".
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

// Document returns the index of the document with this kind and name. A name may also be one that kustomize extended with a
// prefix, a suffix or both. Document returns 0 if there is none.
func (f *File) Document(kind, name string) int {
	best, length := 0, -1
	for i, d := range f.Documents {
		n := len(d.Name)
		if strings.HasPrefix(name, d.Name) || strings.HasSuffix(name, d.Name) {
			n += len(name) // a prefix or a suffix is likelier than both
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

// mentionsCluster reports whether a file that can't be read further was meant as a cluster. The field externalClusters of audit
// configs is not a mention.
func mentionsCluster(data string) bool { return clusterMention.MatchString(data) }

var sopsBlock = regexp.MustCompile(`(?m)^["']?sops["']?\s*:|^\s*"sops"\s*:|\bENC\[AES256_GCM,`)

var clusterHead = regexp.MustCompile(`(?im)^[\s{]*["']?(kind|apiVersion)["']?\s*:\s*["']?(` + v1alpha1.Kind + `|` + regexp.QuoteMeta(group) + `)\b`)

// hasSops reports whether a file that can't be parsed was encrypted.
func hasSops(data string) bool { return sopsBlock.MatchString(data) }

// conflict matches the markers of a Git merge conflict. A single marker is valid YAML.
var conflict = regexp.MustCompile(`(?m)^(<<<<<<<|>>>>>>>)( |$)`)

// notCluster returns why a document that no kustomization lists is not a cluster, though it was meant as one, or "".
func (d *Document) notCluster(data string) string {
	ours, _, _ := strings.Cut(d.APIVersion, "/")
	switch {
	case d.IsCluster():
		return ""
	case conflict.MatchString(data):
		return "the file has markers of a merge conflict"
	case strings.HasPrefix(d.Kind, "ENC["):
		return "the file is encrypted as a whole, so its kind can't be read"
	case strings.EqualFold(d.Kind, v1alpha1.Kind):
		return "this is not a cluster file: its apiVersion must be " + v1alpha1.APIVersion + " or another version of it, and its kind " + v1alpha1.Kind
	case strings.EqualFold(ours, group) && d.Kind != "AuditSync":
		return "its kind is not " + v1alpha1.Kind
	case (d.APIVersion == "" || d.Kind == "") && clusterHead.MatchString(data):
		return "this is not a cluster file: its apiVersion or kind can't be read"
	}
	return ""
}

var auditConfigKind = regexp.MustCompile(`(?m)^[\s{"']*kind["']?\s*:\s*["']?MondooAuditConfig\b`)

// mentionsAuditConfig reports whether a file that can't be parsed was meant as an audit config. Cluster files may mention audit
// configs in comments.
func mentionsAuditConfig(data string) bool { return auditConfigKind.MatchString(data) }
