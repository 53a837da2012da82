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

// parsed is what is in a file as YAML: its documents, or why it has none.
type parsed struct {
	documents []*Document
	bad       *finding.Finding
	// unusable is why the documents can't be built as objects.
	unusable *finding.Finding
	// crlf says that some line ends with CRLF, cluster that it is a cluster file, and encrypted that a document has a sops block.
	crlf, cluster, encrypted bool
	// kubeconfigs are the files that clusters among the documents name.
	kubeconfigs []string
	// nodes are those of the documents, and copies those that the documents have more once their aliases are expanded.
	nodes, copies int

	data  string
	mu    sync.Mutex
	roots []*yaml.Node // of documents; nil once they are let go
}

// parse reads the documents of a YAML file, once. Empty documents are left out. The finding says why it can't; its text never
// holds any of the content.
func (t *Tree) parse(f *File) *finding.Finding {
	if f.parsed == nil {
		if bad := t.overfull(); bad != nil {
			return bad
		}
		made := &parsed{data: f.Data}
		if made.bad = pointer(f); made.bad == nil {
			made.bad = made.read(f.Path, t.limits.Nodes)
		}
		made.look(f)
		f.parsed = made
	}
	t.nodes.Add(int64(f.parsed.nodes))
	if bad := t.overfull(); bad != nil {
		return bad
	}
	f.Documents = f.parsed.documents
	if f.parsed.bad == nil {
		return nil
	}
	bad := *f.parsed.bad
	return &bad
}

// overfull is the finding about a tree whose files have too many nodes together, else nil. Which file goes over the limit is left to
// chance, because several are parsed at a time; so the finding is about the tree.
func (t *Tree) overfull() *finding.Finding {
	if t.nodes.Load() <= int64(t.limits.TreeNodes) {
		return nil
	}
	return &finding.Finding{Code: CodeSize, Severity: finding.Error, Path: t.Path, Fix: "split the path over several AuditSyncs",
		Message: fmt.Sprintf("the files of this path have more than %d values together", t.limits.TreeNodes)}
}

// look finds out what is asked of each file at every load.
func (p *parsed) look(f *File) {
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

// read takes the documents up to the first that is no good.
func (p *parsed) read(name string, limit int) (result *finding.Finding) {
	if line := invalidUTF8(p.data); line > 0 {
		return &finding.Finding{Code: CodeEncoding, Severity: finding.Error, Path: name, Line: line,
			Message: "the file is not UTF-8 text", Fix: "save it as UTF-8; keep binary content in an encrypted value"}
	}
	if Marks(p.data) > marksPerNode*limit { // the library takes a hundred bytes for each byte of such a file
		return tooManyValues(name, limit)
	}
	defer func() {
		if recover() != nil { // what a library panics with may quote the file
			p.documents, p.roots = nil, nil
			result = &finding.Finding{Code: CodeYAML, Severity: finding.Error, Path: name, Message: "the YAML library fails on this file"}
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
				Message: "the documents of this file have different sops blocks, and sops goes by the first alone", Fix: "restore the file from Git history, or encrypt each document in a file of its own"}
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

// marksPerNode is how many marks a text with as many nodes as a file may have is allowed: JSON has two, and texts have some that make none.
const marksPerNode = 3

func tooManyValues(name string, limit int) *finding.Finding {
	return &finding.Finding{Code: CodeSize, Severity: finding.Error, Path: name, Line: 1, Message: fmt.Sprintf("the file has more than %d values", limit), Fix: "split it"}
}

// Marks counts the characters that make YAML nodes. Besides its root, a document can have no more of these: each value has one of them before
// it, each key a colon behind it, and what stands alone in a mapping is a key with a value of its own.
func Marks(text string) int {
	n := 0
	for _, mark := range "::-,,??[{{" {
		n += strings.Count(text, string(mark))
	}
	return n
}

// decode parses the documents of a text that aren't empty, with their places, until take says no.
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

// isSopsAlone says whether a document has a sops block and nothing else. sops writes it for an empty document, or one of comments alone.
func isSopsAlone(root *yaml.Node) bool {
	return root.Kind == yaml.MappingNode && len(root.Content) == 2 && root.Content[0].Value == sopsKey && root.Content[1].Kind == yaml.MappingNode
}

// equal says whether two nodes have the same value.
func equal(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.ShortTag() != b.ShortTag() || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !equal(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return a.Kind != yaml.AliasNode // which may lead anywhere
}

// refuse says what makes a document, of such a size and with so many before it, one that nothing else may look at.
func refuse(root *yaml.Node, size extent, before, limit int) *finding.Finding {
	if size.nodes > limit {
		return &finding.Finding{Code: CodeAliases, Line: root.Line, Fix: "write the values out, or split the file",
			Message: fmt.Sprintf("the document has more than %d values once its aliases are expanded", limit)}
	}
	if size.levels > maxNesting {
		return &finding.Finding{Code: CodeSize, Line: root.Line, Fix: "nest less",
			Message: fmt.Sprintf("the document has values nested over more than %d levels", maxNesting)}
	}
	if key := duplicateKey(root, map[*yaml.Node]bool{}); key != nil {
		return &finding.Finding{Code: CodeDuplicateKey, Line: key.Line, Column: key.Column, Fix: "keep one of them",
			Message: fmt.Sprintf("the key %.100q stands twice in one mapping", key.Value)}
	}
	if n := crowded(root, map[*yaml.Node]int{}); n != nil {
		return &finding.Finding{Code: CodeSize, Line: n.Line, Fix: "split it over several objects",
			Message: fmt.Sprintf("a mapping has more than %d entries", maxEntries)}
	}
	if before == maxDocuments {
		return &finding.Finding{Code: CodeSize, Line: root.Line, Fix: "split it over several files",
			Message: fmt.Sprintf("the file has more than %d documents", maxDocuments)}
	}
	return nil
}

// root is that of a document.
func (p *parsed) root(place int) *yaml.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.roots == nil {
		// It was parsed before, as far as the documents go.
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

// IsCluster says whether the file is a cluster file: one document, an ExternalCluster.
func (f *File) IsCluster() bool { return f.Documents != nil && f.parsed.cluster }

// IsEncrypted says whether a document of the file has a sops block.
func (f *File) IsEncrypted() bool { return f.Documents != nil && f.parsed.encrypted }

// Release lets go of the nodes of a file's documents. They take as much memory as the file, and when its objects have been made
// hardly anybody asks for them; who does has them parsed again.
func (f *File) Release() {
	if f.parsed == nil {
		return
	}
	f.parsed.mu.Lock()
	defer f.parsed.mu.Unlock()
	f.parsed.roots = nil
}

// Release lets go of the nodes of all files, once.
func (t *Tree) Release() {
	if t.released {
		return
	}
	t.released = true
	for _, f := range t.known {
		f.Release()
	}
}
