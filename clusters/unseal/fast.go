package unseal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/stores"
	yamlstore "github.com/getsops/sops/v3/stores/yaml"
	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// The sops library parses a file twice, and each encrypted value with a regular expression, which takes most of the time to open
// a file. fastOpener opens the usual file, which has one YAML document, from the nodes that load has already parsed.
//
// fastOpener never rejects a file. Whatever it doesn't know exactly, and every file that it can't open, goes to the sops library. It
// also can't accept a file that sops would reject: the file's own rules decide which values are encrypted, as in sops, and the
// MAC over all values must match.
type fastOpener struct {
	gcm  cipher.AEAD
	rule *rule
	mac  hash.Hash
	// macAll is true if the MAC covers plain values too.
	macAll bool
	values map[string]value
	// scratch is the buffer for decryption.
	scratch []byte
}

// value is an opened value, with its encrypted form.
type value struct{ plain, sealed string }

// buffers are scratch buffers for reuse, so that values which are kept don't lie between those that aren't. They are wiped.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// errUnusual means that the file must go to the sops library.
var errUnusual = errors.New("not in the usual form")

// openable returns the document of a file that fastOpener can open, or nil.
func openable(f *load.File, st store) *load.Document {
	if _, isYAML := st.(*yamlstore.Store); !isYAML || len(f.Documents) != 1 || f.Documents[0].Index != 0 || !f.Documents[0].Encrypted {
		return nil
	}
	d := f.Documents[0]
	if n, _, _ := seal.Unsound(d.Node()); n != nil {
		return nil
	}
	return d
}

// metadata reads the sops block of a document with the sops library's code.
func metadata(d *load.Document) (m sops.Metadata, err error) {
	block, err := branch(d.Field("sops"))
	if err != nil {
		return m, err
	}
	_, m, err = stores.ExtractMetadata(sops.TreeBranches{{{Key: stores.SopsMetadataKey, Value: block}}}, stores.MetadataOpts{Flatten: stores.MetadataFlattenNone})
	return m, err
}

// branch converts nodes to sops' form, without comments.
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
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, item := n.Content[i], n.Content[i+1]
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
	q := &fastOpener{rule: rule, mac: sha512.New(), macAll: !m.MACOnlyEncrypted, values: map[string]value{}, scratch: *scratch}
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

// mapping opens the entries of a mapping. aad is the path to it in sops' form, without list indexes. encrypted is true if a key
// above it has decided that its values are encrypted.
func (q *fastOpener) mapping(n *yaml.Node, keys []string, aad string, encrypted bool) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, item := n.Content[i], n.Content[i+1]
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

func (q *fastOpener) node(n *yaml.Node, keys []string, aad string, encrypted bool) error {
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

func (q *fastOpener) scalar(n *yaml.Node, keys []string, aad string, encrypted bool) error {
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

// plain adds a value that isn't encrypted to the MAC, in sops' form.
func (q *fastOpener) plain(n *yaml.Node) error {
	switch {
	case seal.IsEncryptedValue(n.Value):
		return errUnusual // sops treats it as a text that only looks encrypted
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

// nonceSize is the nonce size of all values that sops encrypts.
const nonceSize = 32

// open decrypts one value, which must be text. Numbers and booleans are left to the sops library, because of their form.
func (q *fastOpener) open(text, aad string) (string, error) {
	rest, ok := strings.CutPrefix(text, "ENC[AES256_GCM,data:")
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
