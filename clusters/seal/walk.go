package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/stores"
	yamlstore "github.com/getsops/sops/v3/stores/yaml"
	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/load"
)

// The sops library parses a file twice, and each encrypted value with a regular expression, which makes most of the time that
// opening takes. quick opens what nearly all files are, one YAML document, from the nodes that load has parsed already.
//
// It never has the last word against a file: whatever it doesn't know to the letter, and every file that it can't open, goes to
// the sops library. Nor can it accept what sops would not: each value is encrypted or plain by the file's own rules, as in
// sops, and the MAC over all values must be the one that the file was encrypted with.
type quick struct {
	gcm  cipher.AEAD
	rule *rule
	mac  hash.Hash
	// macAll says that plain values are under the MAC too.
	macAll bool
	values map[string]value
	// scratch is where values are decrypted.
	scratch []byte
}

// value is an opened value, with the text it was opened from.
type value struct{ plain, sealed string }

// buffers are scratches to be used again, so that the values which are kept don't lie between those that are not. They are wiped.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// errUnusual says that a file is one for the sops library.
var errUnusual = errors.New("not in the usual form")

// openable is the document of a file that quick knows how to open, or nil.
func openable(f *load.File, st store) *load.Document {
	if _, isYAML := st.(*yamlstore.Store); !isYAML || len(f.Documents) != 1 || f.Documents[0].Index != 0 || !f.Documents[0].Encrypted {
		return nil
	}
	d := f.Documents[0]
	if n, _, _ := Unsound(d.Node()); n != nil {
		return nil
	}
	return d
}

// metadata reads the sops block of a document with the sops library's own code.
func metadata(d *load.Document) (m sops.Metadata, err error) {
	block, err := branch(d.Field("sops"))
	if err != nil {
		return m, err
	}
	_, m, err = stores.ExtractMetadata(sops.TreeBranches{{{Key: stores.SopsMetadataKey, Value: block}}}, stores.MetadataOpts{Flatten: stores.MetadataFlattenNone})
	return m, err
}

// branch turns nodes into sops' form, without comments.
func branch(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		var v any
		err := n.Decode(&v)
		return v, err
	case yaml.SequenceNode:
		var list []any
		for _, item := range n.Content {
			v, err := branch(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		tree := sops.TreeBranch{}
		for key, item := range pairs(n) {
			v, err := branch(item)
			if err != nil || key.ShortTag() != "!!str" {
				return nil, errUnusual
			}
			tree = append(tree, sops.TreeItem{Key: key.Value, Value: v})
		}
		return tree, nil
	default:
		return nil, errUnusual
	}
}

// decrypt opens a document with its data key.
func decrypt(d *load.Document, m sops.Metadata, key []byte, rules *rules) (map[string]value, error) {
	rule, err := rules.of(m)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	scratch := buffers.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put there
	q := &quick{rule: rule, mac: sha512.New(), macAll: !m.MACOnlyEncrypted, values: map[string]value{}, scratch: *scratch}
	defer func() {
		clear(q.scratch[:cap(q.scratch)])
		*scratch = q.scratch
		buffers.Put(scratch)
	}()
	if q.gcm, err = cipher.NewGCMWithNonceSize(block, nonceSize); err != nil {
		return nil, err
	}
	if m.MACOnlyEncrypted {
		q.mac.Write(sops.MACOnlyEncryptedInitialization)
	}
	if err := q.mapping(d.Node(), nil, "", q.rule.byDefault); err != nil {
		return nil, err
	}
	want, err := q.open(m.MessageAuthenticationCode, m.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, err
	}
	if want != strings.ToUpper(hex.EncodeToString(q.mac.Sum(nil))) {
		return nil, errUnusual
	}
	return q.values, nil
}

// mapping walks the entries of a mapping. aad is the way to it in sops' form, in which list indexes don't count, and encrypted
// says whether a key above it has decided that its values are.
func (q *quick) mapping(n *yaml.Node, keys []string, aad string, encrypted bool) error {
	for key, item := range pairs(n) {
		if key.ShortTag() != "!!str" {
			return errUnusual
		}
		if len(keys) == 0 && key.Value == stores.SopsMetadataKey {
			continue
		}
		if err := q.node(item, append(slices.Clip(keys), key.Value), aad+key.Value+":", q.rule.below(encrypted, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

func (q *quick) node(n *yaml.Node, keys []string, aad string, encrypted bool) error {
	switch n.Kind {
	case yaml.MappingNode:
		return q.mapping(n, keys, aad, encrypted)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if err := q.node(item, append(slices.Clip(keys), fmt.Sprintf("[%d]", i)), aad, encrypted); err != nil {
				return err
			}
		}
		return nil
	case yaml.ScalarNode:
		return q.scalar(n, keys, aad, encrypted)
	default:
		return errUnusual
	}
}

func (q *quick) scalar(n *yaml.Node, keys []string, aad string, encrypted bool) error {
	if !encrypted {
		return q.plain(n)
	}
	if n.ShortTag() != "!!str" {
		if isNullNode(n) {
			return nil
		}
		return errUnusual
	}
	if n.Value == "" {
		return nil // sops leaves empty values as they are
	}
	text, err := q.open(n.Value, aad)
	if err != nil {
		return err
	}
	q.values[place(keys)] = value{plain: text, sealed: n.Value}
	q.mac.Write([]byte(text))
	return nil
}

// plain puts a value that isn't encrypted under the MAC, in the form that sops gives it.
func (q *quick) plain(n *yaml.Node) error {
	switch {
	case IsEncryptedValue(n.Value):
		return errUnusual // for sops it is a text that looks like one
	case !q.macAll || isNullNode(n):
		return nil
	case n.ShortTag() == "!!str":
		q.mac.Write([]byte(n.Value))
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return errUnusual
	}
	data, err := sops.ToBytes(v)
	if err != nil {
		return errUnusual
	}
	q.mac.Write(data)
	return nil
}

func isNullNode(n *yaml.Node) bool { return n.ShortTag() == "!!null" }

// nonceSize is that of all values that sops encrypts.
const nonceSize = 32

// open decrypts one value. Text is the only usual type of one; the form of a number or a truth value is for the sops library.
func (q *quick) open(text, aad string) (string, error) {
	rest, ok := strings.CutPrefix(text, encryptedPrefix+"data:")
	data, rest, ok2 := strings.Cut(rest, ",iv:")
	iv, rest, ok3 := strings.Cut(rest, ",tag:")
	tag, kind, ok4 := strings.Cut(rest, ",type:")
	if !ok || !ok2 || !ok3 || !ok4 || kind != "str]" || strings.ContainsAny(text, "\r\n") {
		return "", errUnusual
	}
	sealed, err := base64.StdEncoding.AppendDecode(q.scratch[:0], []byte(data))
	if err == nil {
		sealed, err = base64.StdEncoding.AppendDecode(sealed, []byte(tag))
	}
	if q.scratch = sealed; err != nil {
		return "", err
	}
	nonce, err := base64.StdEncoding.DecodeString(iv)
	if err != nil || len(nonce) != nonceSize {
		return "", errUnusual
	}
	plain, err := q.gcm.Open(sealed[:0], nonce, sealed, []byte(aad))
	return string(plain), err
}

func place(keys []string) string { return strings.Join(keys, "\x00") }

// rule says which values of a file are encrypted, as the file's own sops block has it. One of its fields is set, or none.
type rule struct {
	unencryptedSuffix, encryptedSuffix string
	unencryptedRegex, encryptedRegex   *regexp.Regexp
	// byDefault is for values with no key on their way that the rule knows.
	byDefault bool
}

// below says whether the values below a key are encrypted, when above tells it for the mapping that the key is in. A rule that
// names what is encrypted is met by any key on the way to a value, and so is one that names what isn't.
func (r *rule) below(above bool, key string) bool {
	switch {
	case r.encryptedRegex != nil:
		return above || r.encryptedRegex.MatchString(key)
	case r.encryptedSuffix != "":
		return above || strings.HasSuffix(key, r.encryptedSuffix)
	case r.unencryptedRegex != nil:
		return above && !r.unencryptedRegex.MatchString(key)
	case r.unencryptedSuffix != "":
		return above && !strings.HasSuffix(key, r.unencryptedSuffix)
	default:
		return above
	}
}

// rules remembers the compiled forms of rules: the files of a fleet share some few.
type rules struct {
	mu   sync.Mutex
	seen map[[4]string]*rule
}

// maxRules bounds what a repository can make an Opener remember.
const maxRules = 100

// of is the rule of a file. Rules that go by comments, and such as sops wouldn't write, are not usual.
func (r *rules) of(m sops.Metadata) (*rule, error) {
	key := [4]string{m.UnencryptedSuffix, m.EncryptedSuffix, m.UnencryptedRegex, m.EncryptedRegex}
	set := slices.DeleteFunc(append(key[:0:0], key[:]...), func(s string) bool { return s == "" })
	if m.UnencryptedCommentRegex != "" || m.EncryptedCommentRegex != "" || len(set) > 1 {
		return nil, errUnusual
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.seen[key]; known != nil {
		return known, nil
	}
	made := &rule{unencryptedSuffix: m.UnencryptedSuffix, encryptedSuffix: m.EncryptedSuffix, byDefault: m.EncryptedRegex+m.EncryptedSuffix == ""}
	var err error
	switch {
	case m.UnencryptedRegex != "":
		made.unencryptedRegex, err = regexp.Compile(m.UnencryptedRegex)
	case m.EncryptedRegex != "":
		made.encryptedRegex, err = regexp.Compile(m.EncryptedRegex)
	}
	if err != nil {
		return nil, errUnusual
	}
	if r.seen == nil || len(r.seen) >= maxRules {
		r.seen = map[[4]string]*rule{}
	}
	r.seen[key] = made
	return made, nil
}
