// Package seal keeps secrets away from everything that doesn't need them.
//
// Seal replaces each encrypted value in a tree's SOPS files with a handle, an opaque string without meaning outside of this
// process, and removes the sops blocks. Whatever runs on the sealed tree (kustomize, and all checks of structure) never has the
// secrets, so it can't leak them. What can be known of a SOPS file without a key is also here: its format (FormatOf), what makes
// its MAC unreliable (Unsound, MACOnly), and whether it was edited without sops (Stale).
//
// The package needs no key, and imports nothing that decrypts. Package unseal does the opposite.
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

// Finding codes of this package.
const (
	CodeSopsBlock finding.Code = "sops-block" // sops metadata missing or unreadable
	CodeTampered  finding.Code = "sops-mac"   // the MAC does not match the file
)

// handlePrefix starts every handle. A handle consists of 48 letters and digits. That is plain YAML, which no emitter quotes, and
// valid base64, so a handle can be anywhere the value was.
const handlePrefix = "MUSTERSEALED"

// Sealer makes handles. Its key is random, so that a repository can't contain a valid handle. The key lives as long as the
// Sealer, so that an unchanged file seals to the same bytes and caches stay valid.
type Sealer struct{ key [32]byte }

// NewSealer returns a Sealer with a fresh key.
func NewSealer() *Sealer {
	s := &Sealer{}
	rand.Read(s.key[:]) // never fails (Go 1.24)
	return s
}

// Ref describes the value that a handle replaces.
type Ref struct {
	// Path is the file, Document the index in load.File.Documents, and Keys the path of the value: mapping keys, and list
	// indexes as "[0]". Without keys, the handle replaces the content of the whole file.
	Path     string
	Document int
	Keys     []string
	// Kind is the type of the encrypted value, such as "a number". It is empty for text.
	Kind string
	// Digest is a hash of the encrypted value. It is the same in all processes until the value is encrypted again. File is the
	// hash of the file that contained the value.
	Digest, File string
	// Size is the length of the ciphertext.
	Size int
}

// Tree is a loaded tree with its secrets sealed.
type Tree struct {
	Loaded *load.Tree
	finding.Report
	// Content is the sealed content of each file, which kustomize reads.
	Content map[string][]byte

	sealer *Sealer
	files  map[string]*sealed // by path
	mu     sync.Mutex         // guards refs
	refs   map[string]Ref
}

// sealed is the result for one file.
type sealed struct {
	// hash and parsed identify the input: the content, and whether it was parsed as YAML.
	hash    string
	parsed  bool
	content []byte
	problem *finding.Finding
	handles []handle
}

type handle struct {
	text string
	ref  Ref
}

// Seal seals every file of a tree. A file whose encryption is malformed is left out with a finding. Seal reuses results for the
// same content from before, which may be nil.
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
	var used map[string]bool
	for i, p := range paths {
		tree.files[p] = files[i]
		if files[i].problem != nil {
			if used == nil {
				used = resources(t)
			}
			tree.reject(t.Files[p], used[p], *files[i].problem)
			continue
		}
		tree.Content[p] = files[i].content
		for _, h := range files[i].handles {
			tree.refs[h.text] = h.ref
		}
	}
	return tree
}

// resources returns the files that the kustomizations of a tree list as resources.
func resources(t *load.Tree) map[string]bool {
	files := map[string]bool{}
	for _, k := range t.Kustomizations {
		for _, name := range k.Resources {
			files[name] = true
		}
	}
	return files
}

// reject leaves a file out. A resource that is not an audit config affects only itself. Anything else is shared, and stops the
// tree.
func (t *Tree) reject(f *load.File, resource bool, problem finding.Finding) {
	if !resource || slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return d.Kind == mondoo.Kind }) {
		t.Stop(problem)
		return
	}
	t.Reject(problem)
}

// Ref returns what a string replaces, if it is a handle of this tree.
func (t *Tree) Ref(s string) (Ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ref, ok := t.refs[s]
	return ref, ok
}

// Sealed reports whether a string is a handle of this tree.
func (t *Tree) Sealed(s string) bool {
	_, ok := t.Ref(s)
	return ok
}

// HasHandle reports whether a string contains a handle, or a part of one with its prefix.
func HasHandle(s string) bool { return strings.Contains(s, handlePrefix) }

// inText matches a handle in a text.
var inText = regexp.MustCompile(handlePrefix + "[0-9a-f]{36}")

// Readable replaces handles by a word for readers of a text.
func Readable(text string) string {
	if !HasHandle(text) {
		return text
	}
	return inText.ReplaceAllString(text, "(encrypted)")
}

// Whole returns the handle for the content of a whole encrypted file.
func (t *Tree) Whole(f *load.File) string {
	return t.handle(Ref{Path: f.Path, Digest: f.Hash, Size: len(f.Data)})
}

// Value returns the handle for the single field that holds the whole content of an encrypted file.
func (t *Tree) Value(f *load.File, key, sealed string) string {
	return t.handle(Ref{Path: f.Path, Keys: []string{key}, Digest: Digest(sealed), Size: len(sealed)})
}

// Env returns the content of an encrypted env file with a handle for each value. It returns nil for a file that is encrypted in
// another format, whose keys are unknown too.
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
			value = t.handle(Ref{Path: f.Path, Keys: []string{key}, Digest: Digest(value)})
		}
		fmt.Fprintf(&out, "%s=%s\n", key, value)
	}
	return out.Bytes()
}

// Digest returns the digest of an encrypted value, as in Ref.
func Digest(value string) string {
	// In pieces, because a copy of the whole would be as long as the value.
	h, piece := sha256.New(), [512]byte{}
	for len(value) > 0 {
		n := copy(piece[:], value)
		h.Write(piece[:n])
		value = value[n:]
	}
	return hex.EncodeToString(h.Sum(piece[:0]))
}

// handle makes a handle and adds it to the tree.
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

// file seals one file. A file without encrypted documents is unchanged, byte for byte.
func (s *Sealer) file(f *load.File) (done *sealed) {
	done = &sealed{hash: f.Hash, parsed: f.Documents != nil}
	defer func() {
		if recover() != nil { // the panic's text may quote the file
			done.problem = &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Message: "the YAML library panics on this file"}
		}
	}()
	encrypted := false
	for _, d := range f.Documents {
		if done.problem = checkForm(f, d); done.problem != nil {
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
			done.problem = &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Line: d.Line, Message: "the document can't be written as YAML"}
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

// node copies a node. It replaces encrypted scalars with handles, and removes comments, which may be encrypted as well, and the
// sops block at the root of a document.
func (s *Sealer) node(done *sealed, n *yaml.Node, at Ref) *yaml.Node {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	switch n.Kind {
	case yaml.ScalarNode:
		if isEncrypted(n) && (!at.isMetadata() || encryptedForm.MatchString(n.Value)) {
			at.Digest, at.Kind, at.Size = Digest(n.Value), kindOf(n.Value), len(n.Value)
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
		// load strips document nodes. sops and checkForm refuse aliases.
	}
	return &c
}

func (r Ref) child(key string) Ref {
	keys := make([]string, len(r.Keys)+1)
	copy(keys, r.Keys)
	keys[len(r.Keys)] = unique.Make(key).Value() // thousands of files have the same keys
	r.Keys = keys
	return r
}

// encryptedPrefix starts every value that sops has encrypted.
const encryptedPrefix = "ENC[AES256_GCM,"

// encryptedForm matches a complete encrypted value, as the sops library does.
var encryptedForm = regexp.MustCompile(`^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]`)

// isMetadata reports whether a value is in an object's metadata, such as labels and annotations. People may write about
// encryption there, so a text that only starts like an encrypted value is not one.
func (r Ref) isMetadata() bool { return len(r.Keys) > 1 && r.Keys[0] == "metadata" }

// kinds are sops' types of encrypted values other than text.
var kinds = map[string]string{"int": "a number", "float": "a number", "bool": "true or false", "time": "a date", "bytes": "binary", "comment": "a comment"}

// kindOf returns the type of an encrypted value other than text. sops writes it next to the value, so no key is needed.
func kindOf(value string) string {
	_, kind, _ := strings.Cut(value[strings.LastIndexByte(value, ',')+1:], "type:")
	return kinds[strings.TrimSuffix(kind, "]")]
}

func isEncrypted(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && IsEncryptedValue(n.Value) }

// IsEncryptedValue reports whether a text is a value that sops has encrypted.
func IsEncryptedValue(text string) bool { return strings.HasPrefix(text, encryptedPrefix) }

// checkForm finds encryption that can't work: encrypted values without a sops block, an incomplete block, and aliases, which
// sops doesn't write.
func checkForm(f *load.File, d *load.Document) *finding.Finding {
	problem := func(n *yaml.Node, message, fix string) *finding.Finding {
		return &finding.Finding{Code: CodeSopsBlock, Path: f.Path, Line: n.Line, Column: n.Column, Message: message, Fix: fix}
	}
	if block := d.Field("sops"); block != nil && !d.Encrypted {
		return problem(block, "the sops block is incomplete: it has no mac", "restore the file from Git history, or encrypt the plaintext file again")
	}
	if !d.Encrypted {
		if n := findEncrypted(d.Node()); n != nil {
			return problem(n, "an encrypted value is in a file without a sops block", "restore the block from Git history, or encrypt the plaintext file again")
		}
		return nil
	}
	if n, message, fix := Unsound(d.Node()); n != nil {
		return problem(n, message, fix)
	}
	if n := find(d.Field("sops"), func(n *yaml.Node) bool { return n.ShortTag() == "!!timestamp" }); n != nil {
		return problem(n, "the sops block has an unquoted date, which sops can't read", "quote the date; a YAML formatter may have removed the quotes")
	}
	for _, field := range [][]string{{"apiVersion"}, {"kind"}, {"metadata", "name"}} {
		if n := d.Field(field...); n != nil && isEncrypted(n) {
			return problem(n, strings.Join(field, ".")+" is encrypted, but must be readable",
				"encrypt only credentials, with this in .sops.yaml: "+v1alpha1.SopsRule)
		}
	}
	return nil
}

// findEncrypted returns the first encrypted value of a document. Metadata follows isMetadata.
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

// Unsound finds what sops never writes into an encrypted document, and what makes its MAC unreliable, because the MAC covers
// only the values, one after the other: aliases, merge keys, which can hide a part of a value in an unused mapping, and tags
// that give a value a different meaning for sops than for other readers.
func Unsound(root *yaml.Node) (n *yaml.Node, message, fix string) {
	n = find(root, func(n *yaml.Node) bool {
		return n.Kind == yaml.AliasNode || n.Kind == yaml.MappingNode && mergeKey(n) != nil || isComment(n) || !slices.Contains(plainTags, n.ShortTag())
	})
	switch {
	case n == nil:
		return nil, "", ""
	case n.Kind == yaml.AliasNode:
		return n, "an encrypted file can't have YAML aliases; sops does not support them", "replace the alias with the value"
	case n.Kind == yaml.MappingNode && mergeKey(n) != nil:
		return mergeKey(n), "an encrypted file can't have YAML merge keys (<<), because the MAC doesn't cover the position of a value", "replace the merge key with the values"
	case isComment(n):
		return n, "an encrypted value is marked as a comment, which the MAC doesn't cover", "restore the value from Git history"
	default:
		return n, "an encrypted file can't have YAML tags that change the meaning of a value", "write the value without its tag"
	}
}

// isComment reports whether sops treats a value as a comment after decryption. The MAC covers neither the mark nor the value
// then.
func isComment(n *yaml.Node) bool {
	return isEncrypted(n) && strings.Contains(n.Value, "type:comment]")
}

// plainTags are the tags of JSON types and of dates.
var plainTags = []string{"!!map", "!!seq", "!!str", "!!int", "!!bool", "!!float", "!!null", "!!timestamp"}

func mergeKey(mapping *yaml.Node) *yaml.Node {
	for key := range pairs(mapping) {
		if isMerge(key) {
			return key
		}
	}
	return nil
}

// MACOnly reports whether the MAC of a document may leave out its plain values (mac_only_encrypted). Any value but a plain
// "false" counts, because YAML and JSON have many ways to write "true". So does a key that is only equal by case or through a
// merge key.
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

// pairs iterates over the entries of a mapping.
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
