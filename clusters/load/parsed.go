package load

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
)

// parsed is a parsed YAML file: its documents, or why it has none.
type parsed struct {
	documents []*Document
	failure   *finding.Finding
	// unusable is why the documents can't be built as objects.
	unusable *finding.Finding
	// crlf is true if a line ends with CRLF, cluster if the file is a cluster file, and encrypted if a document has a sops
	// block.
	crlf, cluster, encrypted bool
	// kubeconfigs are the files that the cluster names.
	kubeconfigs []string
	// nodes counts the nodes of the documents, and copies how many more there are once aliases are expanded.
	nodes, copies int

	data  string
	mu    sync.Mutex
	roots []*yaml.Node // the roots of documents; nil after Release
}

// parse parses the documents of a YAML file, once. Empty documents are left out. The text of the finding never contains any of
// the content.
func (t *Tree) parse(f *File) *finding.Finding {
	if f.parsed == nil {
		if problem := t.overfull(); problem != nil {
			return problem
		}
		result := &parsed{data: f.Data}
		if result.failure = lfsPointer(f); result.failure == nil {
			result.failure = result.read(f.Path, t.limits.Nodes)
		}
		result.inspect(f)
		f.parsed = result
	}
	t.nodes.Add(int64(f.parsed.nodes))
	if problem := t.overfull(); problem != nil {
		return problem
	}
	f.Documents = f.parsed.documents
	if f.parsed.failure == nil {
		return nil
	}
	problem := *f.parsed.failure
	return &problem
}

// overfull returns a finding if the files of the tree have too many nodes together. The finding is about the tree, because files
// are parsed in parallel, and any of them may be the one that exceeds the limit.
func (t *Tree) overfull() *finding.Finding {
	if t.nodes.Load() <= int64(t.limits.TreeNodes) {
		return nil
	}
	return &finding.Finding{Code: CodeSize, Severity: finding.Error, Path: t.Path, Fix: "split the path across several AuditSyncs",
		Message: fmt.Sprintf("the files of this path have more than %d values together", t.limits.TreeNodes)}
}

// inspect computes what every load needs to know about the file.
func (p *parsed) inspect(f *File) {
	p.unusable = checkObjects(p.documents)
	p.cluster = len(p.documents) == 1 && p.documents[0].IsCluster()
	p.crlf = strings.Contains(f.Data, "\r\n")
	for _, d := range p.documents {
		p.encrypted = p.encrypted || d.Encrypted
		if ref := scalar(d.Field("spec", "kubeconfigFile")); d.IsCluster() && ref != "" {
			p.kubeconfigs = append(p.kubeconfigs, path.Join(path.Dir(f.Path), ref))
		}
	}
}

// read parses the documents, up to the first bad one.
func (p *parsed) read(name string, limit int) (result *finding.Finding) {
	if line := invalidUTF8(p.data); line > 0 {
		return &finding.Finding{Code: CodeEncoding, Severity: finding.Error, Path: name, Line: line,
			Message: "the file is not UTF-8 text", Fix: "save it as UTF-8; keep binary content in an encrypted value"}
	}
	if Marks(p.data) > marksPerNode*limit { // the library needs a hundred bytes for each byte of such a file
		return tooManyValues(name, limit)
	}
	defer func() {
		if recover() != nil { // the panic's text may quote the file
			p.documents, p.roots = nil, nil
			result = &finding.Finding{Code: CodeYAML, Severity: finding.Error, Path: name, Message: "the YAML library panics on this file"}
		}
	}()
	var block *yaml.Node
	err := decode(p.data, func(index int, root *yaml.Node) bool {
		counted := map[*yaml.Node]extent{}
		size := expanded(root, counted, limit)
		p.nodes += len(counted)
		p.copies += size.nodes - len(counted)
		if result = refuse(root, size, len(p.documents), limit); result == nil && p.nodes > limit {
			result = tooManyValues(name, limit)
		}
		if result != nil {
			result.Severity, result.Path = finding.Error, name
			return false
		}
		if sops := Field(root, sopsKey); sops != nil && block != nil && !equal(block, sops) {
			result = &finding.Finding{Code: CodeSopsBlock, Severity: finding.Error, Path: name, Line: sops.Line, Column: sops.Column,
				Message: "the documents of this file have different sops blocks, and sops only reads the first", Fix: "restore the file from Git history, or encrypt each document in its own file"}
			return false
		} else if sops != nil {
			block = sops
		}
		if isSopsAlone(root) {
			return true
		}
		d := newDocument(root)
		d.Index, d.in, d.place = index, p, len(p.roots)
		p.documents, p.roots = append(p.documents, d), append(p.roots, root)
		return true
	})
	if err != nil {
		line, message := syntaxError(err)
		return &finding.Finding{Code: CodeYAML, Severity: finding.Error, Path: name, Line: max(line, 1), Message: "not valid YAML: " + message}
	}
	return result
}

// marksPerNode is how many marks per node a file may have: JSON has two, and texts have some that are not YAML.
const marksPerNode = 3

func tooManyValues(name string, limit int) *finding.Finding {
	return &finding.Finding{Code: CodeSize, Severity: finding.Error, Path: name, Line: 1, Message: fmt.Sprintf("the file has more than %d values", limit), Fix: "split it"}
}

// Marks counts the characters that start YAML nodes. A document has at most that many nodes besides its root: each value has one
// of them before it, each key has a colon after it, and a lone item in a mapping is a key with a value.
func Marks(text string) int {
	n := 0
	for _, mark := range "::-,,??[{{" {
		n += strings.Count(text, string(mark))
	}
	return n
}

// decode parses the non-empty documents of a text and passes them to take with their index, until take returns false.
func decode(data string, take func(index int, root *yaml.Node) bool) error {
	short, values := shorten(data)
	decoder := yaml.NewDecoder(strings.NewReader(short))
	for index := 0; ; index++ {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue
		}
		root := doc.Content[0]
		lengthen(root, values)
		if !take(index, root) {
			return nil
		}
	}
}

// sopsKey is the field in which sops keeps its metadata.
const sopsKey = "sops"

// isSopsAlone reports whether a document only has a sops block. sops writes it for a document that is empty or only has
// comments.
func isSopsAlone(root *yaml.Node) bool {
	return root.Kind == yaml.MappingNode && len(root.Content) == 2 && root.Content[0].Value == sopsKey && root.Content[1].Kind == yaml.MappingNode
}

// equal reports whether two nodes have the same value.
func equal(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.ShortTag() != b.ShortTag() || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !equal(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return a.Kind != yaml.AliasNode // an alias could refer to anything
}

// refuse returns the finding for a document that must not be processed further, because of its size or the number of documents
// before it.
func refuse(root *yaml.Node, size extent, before, limit int) *finding.Finding {
	if size.nodes > limit {
		return &finding.Finding{Code: CodeAliases, Line: root.Line, Fix: "write the values out, or split the file",
			Message: fmt.Sprintf("the document has more than %d values once its aliases are expanded", limit)}
	}
	if size.levels > maxNesting {
		return &finding.Finding{Code: CodeSize, Line: root.Line, Fix: "nest less",
			Message: fmt.Sprintf("the document has values nested more than %d levels deep", maxNesting)}
	}
	if key := duplicateKey(root, map[*yaml.Node]bool{}); key != nil {
		return &finding.Finding{Code: CodeDuplicateKey, Line: key.Line, Column: key.Column, Fix: "keep one of them",
			Message: fmt.Sprintf("duplicate key %.100q in a mapping", key.Value)}
	}
	if n := oversizedMapping(root, map[*yaml.Node]int{}); n != nil {
		return &finding.Finding{Code: CodeSize, Line: n.Line, Fix: "split it across several objects",
			Message: fmt.Sprintf("a mapping has more than %d entries", maxEntries)}
	}
	if before == maxDocuments {
		return &finding.Finding{Code: CodeSize, Line: root.Line, Fix: "split it across several files",
			Message: fmt.Sprintf("the file has more than %d documents", maxDocuments)}
	}
	return nil
}

// root returns the root of a document.
func (p *parsed) root(place int) *yaml.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.roots == nil {
		// It has been parsed before, up to the last of the documents.
		_ = decode(p.data, func(_ int, root *yaml.Node) bool {
			if isSopsAlone(root) {
				return true
			}
			p.roots = append(p.roots, root)
			return len(p.roots) < len(p.documents)
		})
	}
	return p.roots[place]
}

// IsCluster reports whether the file is a cluster file: it has one document, an ExternalCluster.
func (f *File) IsCluster() bool { return f.Documents != nil && f.parsed.cluster }

// IsEncrypted reports whether a document of the file has a sops block.
func (f *File) IsEncrypted() bool { return f.Documents != nil && f.parsed.encrypted }

// Release frees the nodes of a file's documents. They use as much memory as the file, and are rarely needed after its objects
// are built. If they are, the file is parsed again.
func (f *File) Release() {
	if f.parsed == nil {
		return
	}
	f.parsed.mu.Lock()
	defer f.parsed.mu.Unlock()
	f.parsed.roots = nil
}

// Release frees the nodes of all files, once.
func (t *Tree) Release() {
	if t.released {
		return
	}
	t.released = true
	for _, f := range t.known {
		f.Release()
	}
}
