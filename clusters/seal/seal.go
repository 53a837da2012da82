// Package seal keeps secrets out of everything that doesn't need them.
//
// Seal replaces each encrypted value of a tree's SOPS files by a handle, an opaque string without meaning outside of this
// process, and takes the sops blocks off. It needs no key. What runs on the sealed tree (kustomize, and all checks of
// structure) can't leak what it never had. Opener goes the other way, one file at a time: it recovers the data key,
// verifies the MAC over the raw file as it stands in Git, and hands out the plain values.
//
// The package never writes plain text anywhere and never repeats the errors of the sops library, which can quote values.
package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unique"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Codes of this package's findings.
const (
	CodeSopsBlock   finding.Code = "sops-block"       // sops metadata missing or unreadable
	CodeNoKey       finding.Code = "sops-no-key"      // no key was given at all
	CodeWrongKey    finding.Code = "sops-key"         // none of the keys given fits
	CodeRefused     finding.Code = "sops-refused"     // a key service may not be asked, or refuses
	CodeUnavailable finding.Code = "sops-unavailable" // a key service does not answer for now
	CodeTampered    finding.Code = "sops-mac"         // the MAC does not match the file
	CodeValue       finding.Code = "sops-value"       // one encrypted value can't be decrypted
	CodeInterrupted finding.Code = "sops-stopped"     // the run was cancelled
)

// Passing says whether a finding is about a moment rather than about the file: opening it again may succeed.
func Passing(code finding.Code) bool { return code == CodeInterrupted || code == CodeUnavailable }

// handlePrefix starts every handle. A handle is 48 letters and digits: plain YAML that no emitter quotes, and valid base64,
// so that it can stand wherever the value did.
const handlePrefix = "MUSTERSEALED"

// Sealer makes handles. Its key is random, so that nobody can write a handle into a repository, and lives as long as the
// Sealer, so that an unchanged file seals to the same bytes and caches hold.
type Sealer struct{ key [32]byte }

// NewSealer returns a Sealer with a fresh key.
func NewSealer() *Sealer {
	s := &Sealer{}
	rand.Read(s.key[:]) // never fails (Go 1.24)
	return s
}

// Ref says what a handle stands for.
type Ref struct {
	// Path and Document tell the file and which of load.File.Documents, and Keys the value in it: mapping keys, and list indexes as
	// "[0]". No keys: the content of the whole file.
	Path     string
	Document int
	Keys     []string
	// Kind is what sops has encrypted in place of a text, such as "a number"; empty for a text.
	Kind string
	// Digest is a hash of the encrypted value, equal over processes as long as the value isn't encrypted anew, and File that of the file
	// in which it stood.
	Digest, File string
	// Size is the length of what is encrypted.
	Size int
}

// Tree is a loaded tree with its secrets sealed.
type Tree struct {
	Loaded *load.Tree
	finding.Report
	// Content is what kustomize gets to see of each file of the tree.
	Content map[string][]byte

	sealer *Sealer
	files  map[string]*sealed // by path
	mu     sync.Mutex         // guards refs
	refs   map[string]Ref
}

// sealed is what became of one file.
type sealed struct {
	// hash and parsed tell whether it is the same file in the same role.
	hash    string
	parsed  bool
	content []byte
	bad     *finding.Finding
	handles []handle
}

type handle struct {
	text string
	ref  Ref
}

// Seal seals every file of a tree. Files whose encryption is broken in form are left out with a finding. What before, which
// may be nil, has sealed of the same content isn't sealed again.
func (s *Sealer) Seal(t *load.Tree, before *Tree) *Tree {
	if before != nil && before.sealer != s {
		before = nil
	}
	if before != nil && before.Loaded == t {
		return before
	}
	tree := &Tree{Loaded: t, Report: t.Report.Clone(), Content: make(map[string][]byte, len(t.Files)), sealer: s,
		files: make(map[string]*sealed, len(t.Files)), refs: make(map[string]Ref, len(t.Files))}
	paths := slices.DeleteFunc(t.Paths(), func(p string) bool { return t.Broken[p] })
	files := make([]*sealed, len(paths))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range paths {
		f := t.Files[p]
		if before != nil {
			if old := before.files[p]; old != nil && old.hash == f.Hash && old.parsed == (f.Documents != nil) {
				files[i] = old
				continue
			}
		}
		group.Go(func() error {
			files[i] = s.file(f)
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
	var taken map[string]bool
	for i, p := range paths {
		tree.files[p] = files[i]
		if files[i].bad != nil {
			if taken == nil {
				taken = resources(t)
			}
			tree.reject(t.Files[p], taken[p], *files[i].bad)
			continue
		}
		tree.Content[p] = files[i].content
		for _, h := range files[i].handles {
			tree.refs[h.text] = h.ref
		}
	}
	return tree
}

// resources are the files that the kustomizations of a tree take as resources.
func resources(t *load.Tree) map[string]bool {
	files := map[string]bool{}
	for _, k := range t.Kustomizations {
		for _, name := range k.Resources {
			files[name] = true
		}
	}
	return files
}

// reject leaves a file out. A resource stands for itself, unless it is an audit config; anything else is shared.
func (t *Tree) reject(f *load.File, resource bool, bad finding.Finding) {
	if !resource || slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return d.Kind == mondoo.Kind }) {
		t.Stop(bad)
		return
	}
	t.Reject(bad)
}

// Ref returns what a string stands for, if it is a handle of this tree.
func (t *Tree) Ref(s string) (Ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ref, ok := t.refs[s]
	return ref, ok
}

// Sealed says whether a string is a handle of this tree.
func (t *Tree) Sealed(s string) bool {
	_, ok := t.Ref(s)
	return ok
}

// HasHandle says whether a string holds a handle, or what is left of one, anywhere in it.
func HasHandle(s string) bool { return strings.Contains(s, handlePrefix) }

// Whole returns the handle for the content of a whole encrypted file.
func (t *Tree) Whole(f *load.File) string {
	return t.handle(Ref{Path: f.Path, Digest: f.Hash, Size: len(f.Data)})
}

// Value returns the handle for a field of an encrypted file, which holds the whole of its content.
func (t *Tree) Value(f *load.File, key, sealed string) string {
	return t.handle(Ref{Path: f.Path, Keys: []string{key}, Digest: digest(sealed), Size: len(sealed)})
}

// Env returns the content of an encrypted env file with a handle for each value. Of a file that is encrypted in another
// format nothing is known, not even the keys.
func (t *Tree) Env(f *load.File) []byte {
	var out bytes.Buffer
	if !isDotenv(f.Data) {
		return nil
	}
	for line := range strings.Lines(f.Data) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok || strings.HasPrefix(key, "sops_") || strings.HasPrefix(key, "#") {
			continue
		}
		if strings.HasPrefix(value, encryptedPrefix) {
			value = t.handle(Ref{Path: f.Path, Keys: []string{key}, Digest: digest(value)})
		}
		fmt.Fprintf(&out, "%s=%s\n", key, value)
	}
	return out.Bytes()
}

func digest(value string) string {
	// In pieces: a copy of the whole would be as long as the value.
	h, piece := sha256.New(), [512]byte{}
	for len(value) > 0 {
		n := copy(piece[:], value)
		h.Write(piece[:n])
		value = value[n:]
	}
	return hex.EncodeToString(h.Sum(piece[:0]))
}

// handle makes a handle that is part of the tree from now on.
func (t *Tree) handle(ref Ref) string {
	text := t.sealer.handle(ref)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs[text] = ref
	return text
}

func (s *Sealer) handle(ref Ref) string {
	mac := hmac.New(sha256.New, s.key[:])
	fmt.Fprintf(mac, "%q %d %q %s", ref.Path, ref.Document, ref.Keys, ref.Digest)
	return handlePrefix + hex.EncodeToString(mac.Sum(nil)[:18])
}

// file seals one file. A file without encrypted documents stays as it is, to the byte.
func (s *Sealer) file(f *load.File) (done *sealed) {
	done = &sealed{hash: f.Hash, parsed: f.Documents != nil}
	defer func() {
		if recover() != nil { // what a library panics with may quote the file
			done.bad = &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Message: "the YAML library fails on this file"}
		}
	}()
	encrypted := false
	for _, d := range f.Documents {
		if done.bad = checkForm(f, d); done.bad != nil {
			return done
		}
		encrypted = encrypted || d.Encrypted
	}
	if !encrypted {
		done.content = []byte(f.Data)
		return done
	}
	var out bytes.Buffer
	for i, d := range f.Documents {
		if i > 0 {
			out.WriteString("---\n")
		}
		if err := s.document(&out, done, d, Ref{Path: f.Path, Document: i, File: f.Hash}); err != nil {
			done.bad = &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Line: d.Line, Message: "the document can't be written as YAML again"}
			return done
		}
	}
	done.content = bytes.Clone(out.Bytes())
	return done
}

// document writes a sealed document.
func (s *Sealer) document(out *bytes.Buffer, done *sealed, d *load.Document, at Ref) error {
	node := d.Node()
	if d.Encrypted {
		node = s.node(done, node, at)
		start := out.Len()
		if writeFlow(out, node) {
			out.WriteByte('\n')
			return nil
		}
		out.Truncate(start)
	}
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	return encoder.Close()
}

// node copies a node with its encrypted scalars replaced by handles, without comments (they may be encrypted as well) and,
// at the root of a document, without the sops block.
func (s *Sealer) node(done *sealed, n *yaml.Node, at Ref) *yaml.Node {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	switch n.Kind {
	case yaml.ScalarNode:
		if isEncrypted(n) && (!at.isMetadata() || encryptedForm.MatchString(n.Value)) {
			at.Digest, at.Kind, at.Size = digest(n.Value), kindOf(n.Value), len(n.Value)
			c.Value, c.Tag, c.Style = s.handle(at), "!!str", 0
			done.handles = append(done.handles, handle{c.Value, at})
		}
	case yaml.MappingNode:
		c.Content = make([]*yaml.Node, 0, len(n.Content))
		for i := 0; i+1 < len(n.Content); i += 2 {
			if len(at.Keys) == 0 && n.Content[i].Value == "sops" {
				continue
			}
			key := *n.Content[i]
			key.HeadComment, key.LineComment, key.FootComment = "", "", ""
			c.Content = append(c.Content, &key, s.node(done, n.Content[i+1], at.child(key.Value)))
		}
	case yaml.SequenceNode:
		c.Content = make([]*yaml.Node, len(n.Content))
		for i, item := range n.Content {
			c.Content[i] = s.node(done, item, at.child(fmt.Sprintf("[%d]", i)))
		}
	case yaml.DocumentNode, yaml.AliasNode:
		// load strips document nodes; sops refuses aliases, and so does checkForm.
	}
	return &c
}

func (r Ref) child(key string) Ref {
	keys := make([]string, len(r.Keys)+1)
	copy(keys, r.Keys)
	keys[len(r.Keys)] = unique.Make(key).Value() // thousands of files have the same ones
	r.Keys = keys
	return r
}

// encryptedPrefix starts every value that sops has encrypted.
const encryptedPrefix = "ENC[AES256_GCM,"

// encryptedForm is the form of a whole encrypted value, as the sops library takes it.
var encryptedForm = regexp.MustCompile(`^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]`)

// isMetadata says whether a value is in the labels, annotations and the like of an object. People write about encryption there, and what
// only begins like an encrypted value is none.
func (r Ref) isMetadata() bool { return len(r.Keys) > 1 && r.Keys[0] == "metadata" }

// kinds are sops' types of encrypted values that aren't text.
var kinds = map[string]string{"int": "a number", "float": "a number", "bool": "true or false", "time": "a date", "bytes": "binary", "comment": "a comment"}

// kindOf tells what an encrypted value is, if not text. sops writes it beside the value, so that no key is needed.
func kindOf(value string) string {
	_, kind, _ := strings.Cut(value[strings.LastIndexByte(value, ',')+1:], "type:")
	return kinds[strings.TrimSuffix(kind, "]")]
}

func isEncrypted(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && IsEncryptedValue(n.Value) }

// IsEncryptedValue says whether a text is a value that sops has encrypted.
func IsEncryptedValue(text string) bool { return strings.HasPrefix(text, encryptedPrefix) }

// checkForm finds encryption that can't work: encrypted values without a sops block, a block cut short, and aliases, which
// sops doesn't write.
func checkForm(f *load.File, d *load.Document) *finding.Finding {
	bad := func(n *yaml.Node, message, fix string) *finding.Finding {
		return &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Line: n.Line, Column: n.Column, Message: message, Fix: fix}
	}
	if block := d.Field("sops"); block != nil && !d.Encrypted {
		return bad(block, "the sops block is incomplete: it has no mac", "restore the file from Git history, or encrypt the plain file again")
	}
	if !d.Encrypted {
		if n := findEncrypted(d.Node()); n != nil {
			return bad(n, "an encrypted value stands in a file without sops block", "restore the block from Git history, or encrypt the plain file again")
		}
		return nil
	}
	if n, message, fix := Unsound(d.Node()); n != nil {
		return bad(n, message, fix)
	}
	if n := find(d.Field("sops"), func(n *yaml.Node) bool { return n.ShortTag() == "!!timestamp" }); n != nil {
		return bad(n, "the sops block has a date without quotes, which sops can't read: it wants text", "put the date in quotes; formatters of YAML may have taken them away")
	}
	for _, field := range [][]string{{"apiVersion"}, {"kind"}, {"metadata", "name"}} {
		if n := d.Field(field...); n != nil && isEncrypted(n) {
			return bad(n, strings.Join(field, ".")+" is encrypted, and has to be readable",
				"encrypt credentials alone, with this in .sops.yaml: "+v1alpha1.SopsRule)
		}
	}
	return nil
}

// findEncrypted returns the first encrypted value of a document; see isMetadata.
func findEncrypted(root *yaml.Node) *yaml.Node {
	for key, value := range pairs(root) {
		isValue := isEncrypted
		if key.Value == "metadata" {
			isValue = func(n *yaml.Node) bool { return isEncrypted(n) && encryptedForm.MatchString(n.Value) }
		}
		if n := find(value, isValue); n != nil {
			return n
		}
	}
	if root.Kind == yaml.MappingNode {
		return nil
	}
	return find(root, isEncrypted)
}

// Unsound finds what sops does not write into an encrypted document, and what its MAC can't be trusted with, for it is made of the
// values alone, one after the other: aliases, merge keys, which hide part of a value in a mapping that nobody reads, and tags that give
// a value another meaning for sops than for others.
func Unsound(root *yaml.Node) (n *yaml.Node, message, fix string) {
	n = find(root, func(n *yaml.Node) bool {
		return n.Kind == yaml.AliasNode || n.Kind == yaml.MappingNode && mergeKey(n) != nil || isComment(n) || !slices.Contains(plainTags, n.ShortTag())
	})
	switch {
	case n == nil:
		return nil, "", ""
	case n.Kind == yaml.AliasNode:
		return n, "an encrypted file can't have YAML aliases; sops does not support them", "write the value out"
	case n.Kind == yaml.MappingNode && mergeKey(n) != nil:
		return mergeKey(n), "an encrypted file can't have YAML merge keys (<<), for the MAC doesn't tell where a value stands", "write the values out"
	case isComment(n):
		return n, "an encrypted value is marked as a comment, which the MAC leaves out", "restore the value from Git history"
	default:
		return n, "an encrypted file can't have YAML tags that change what a value means", "write the value without its tag"
	}
}

// isComment says whether sops takes a value for a comment once it is decrypted. The mark isn't under the MAC, nor is the value then.
func isComment(n *yaml.Node) bool {
	return isEncrypted(n) && strings.Contains(n.Value, "type:comment]")
}

// plainTags are those of what JSON can say, and of dates.
var plainTags = []string{"!!map", "!!seq", "!!str", "!!int", "!!bool", "!!float", "!!null", "!!timestamp"}

func mergeKey(mapping *yaml.Node) *yaml.Node {
	for key := range pairs(mapping) {
		if isMerge(key) {
			return key
		}
	}
	return nil
}

// MACOnly says whether the MAC of a document with this root may leave its plain values out (mac_only_encrypted). Anything but a plain "false" counts,
// for YAML and JSON have many ways to write "true", and so does a key that only case or a merge key makes the same.
func MACOnly(root *yaml.Node) bool {
	for key, block := range pairs(root) {
		if !strings.EqualFold(key.Value, "sops") {
			continue
		}
		for key, value := range pairs(block) {
			if isMerge(key) || strings.EqualFold(key.Value, "mac_only_encrypted") && (value.Kind != yaml.ScalarNode || value.Value != "false") {
				return true
			}
		}
	}
	return false
}

func isMerge(key *yaml.Node) bool { return key.Tag == "!!merge" || key.Value == "<<" }

// pairs are the entries of a mapping.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

func find(n *yaml.Node, match func(*yaml.Node) bool) *yaml.Node {
	if match(n) {
		return n
	}
	for _, child := range n.Content {
		if m := find(child, match); m != nil {
			return m
		}
	}
	return nil
}
