package unseal

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/config"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Plain is an opened file. It only exists in memory.
type Plain struct {
	// values are the values of a file that was opened without the sops library, by place. They are nil for a file that the
	// library opened, which uses tree, store, branches and digests.
	values map[string]value
	// file is the encrypted file, and key its data key.
	file *load.File
	key  []byte
	// whole returns the plaintext file. Many clusters may use it, and they share one copy.
	whole func() (string, error)

	tree  sops.Tree
	store store
	// branches are the indexes in tree of load.File.Documents: sops keeps empty documents, load drops them.
	branches []int
	// digests are the digests of the encrypted values, by branch and keys.
	digests map[string]string
}

// DataKey returns the data key of the file. Package encrypt uses it to encrypt a changed file again.
func (p *Plain) DataKey() []byte { return p.key }

func (p *Plain) cacheWhole() *Plain {
	p.whole = sync.OnceValues(func() (string, error) {
		data, err := p.emit()
		return string(data), err
	})
	return p
}

// Value returns the plaintext that a handle replaces. It returns false if the file now has another encrypted value in that
// place, or if the file's own encryption rule keeps the value encrypted, because the MAC doesn't cover the rule.
func (p *Plain) Value(ref seal.Ref) (string, bool) {
	text, ok := p.value(ref)
	return text, ok && !seal.IsEncryptedValue(text)
}

func (p *Plain) value(ref seal.Ref) (string, bool) {
	if len(ref.Keys) == 0 {
		text, err := p.whole()
		return text, err == nil
	}
	if p.values != nil {
		v, ok := p.values[place(ref.Keys)]
		same := ref.Digest == "" || ref.File != "" && ref.File == p.file.Hash || ref.Digest == seal.Digest(v.sealed)
		return v.plain, ok && ref.Document == 0 && same
	}
	branch := ref.Document
	if branch < len(p.branches) {
		branch = p.branches[branch]
	}
	if branch >= len(p.tree.Branches) || ref.Digest != "" && p.digests[placeIn(branch, ref.Keys)] != ref.Digest {
		return "", false
	}
	return lookup(p.tree.Branches[branch], ref.Keys)
}

func lookup(v any, keys []string) (string, bool) {
	if len(keys) == 0 {
		return scalarText(v)
	}
	switch v := v.(type) {
	case sops.TreeBranch:
		for _, item := range v {
			if item.Key == keys[0] {
				return lookup(item.Value, keys[1:])
			}
		}
	case []any:
		want, err := strconv.Atoi(strings.Trim(keys[0], "[]"))
		if err != nil {
			return "", false
		}
		for _, item := range v {
			if _, comment := item.(sops.Comment); comment {
				continue
			}
			if want == 0 {
				return lookup(item, keys[1:])
			}
			want--
		}
	}
	return "", false
}

// scalarText accepts text only. sops keeps the value of a number but not its form: after decryption, 0123 is 83, and 1.10 is
// 1.1.
func scalarText(v any) (string, bool) {
	text, ok := v.(string)
	return text, ok
}

// Bytes returns the whole plaintext file. It fails if the file's own encryption rule keeps a value encrypted.
func (p *Plain) Bytes() ([]byte, error) {
	text, err := p.whole()
	return []byte(text), err
}

func (p *Plain) emit() (data []byte, err error) {
	// The library's errors and panics can contain the values that it could not write.
	unwritable := errors.New("write the decrypted file: its format can't represent it")
	defer func() {
		if recover() != nil {
			data, err = nil, unwritable
		}
	}()
	tree, st := p.tree, p.store
	if p.values != nil {
		st = storeFor(p.file.Data, config.NewStoresConfig())
		if tree, err = p.load(st); err != nil {
			return nil, unwritable
		}
	}
	if data, err = st.EmitPlainFile(tree.Branches); err != nil || len(digests(tree)) > 0 {
		return nil, unwritable
	}
	return data, nil
}

// load decrypts the file again, in the given format.
func (p *Plain) load(st store) (sops.Tree, error) {
	tree, err := st.LoadEncryptedFile([]byte(p.file.Data))
	if err != nil {
		return tree, err
	}
	_, err = tree.Decrypt(p.key, aes.NewCipher())
	return tree, err
}

// branches returns the indexes of a file's documents in its sops tree. They are empty for a file that load hasn't parsed as
// YAML.
func branches(f *load.File) []int {
	list := make([]int, len(f.Documents))
	for i, d := range f.Documents {
		list[i] = d.Index
	}
	return list
}

// digests returns the digests of the encrypted values of a tree before it is decrypted.
func digests(tree sops.Tree) map[string]string {
	all := map[string]string{}
	for i, branch := range tree.Branches {
		walk(branch, nil, nil, func(value string, keys, _ []string) bool {
			if seal.IsEncryptedValue(value) {
				all[placeIn(i, keys)] = seal.Digest(value)
			}
			return true
		})
	}
	return all
}

func placeIn(branch int, keys []string) string { return fmt.Sprintf("%d %q", branch, keys) }

// walk visits the strings below a value of a sops tree until visit returns false. keys is the path to the value in the form of
// seal.Ref. aad is the path in sops' form, without list indexes.
func walk(v any, keys, aad []string, visit func(value string, keys, aad []string) bool) bool {
	switch v := v.(type) {
	case string:
		return visit(v, keys, aad)
	case sops.TreeBranch:
		for _, item := range v {
			key, ok := item.Key.(string)
			if ok && !walk(item.Value, append(slices.Clip(keys), key), append(slices.Clip(aad), key), visit) {
				return false
			}
		}
	case []any:
		i := 0
		for _, item := range v {
			if _, comment := item.(sops.Comment); comment {
				continue
			}
			if !walk(item, append(slices.Clip(keys), fmt.Sprintf("[%d]", i)), aad, visit) {
				return false
			}
			i++
		}
	}
	return true
}
