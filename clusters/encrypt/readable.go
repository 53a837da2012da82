package encrypt

import (
	"errors"
	"regexp"
	"slices"

	"github.com/getsops/sops/v3"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// errDifferent means that a file does not open to what was encrypted.
var errDifferent = errors.New("the encrypted file has other content")

// Readable reports whether fields of an encrypted file can be changed without its key: the MAC covers encrypted values alone, and
// the file's rule leaves these fields, given as mapping keys, readable.
func Readable(f *load.File, fields ...[]string) (readable bool) {
	defer func() {
		if recover() != nil {
			readable = false
		}
	}()
	quiet()
	stores, err := unseal.Stores(nil)
	if err != nil {
		return false
	}
	tree, err := storeOf(f.Data, stores).LoadEncryptedFile([]byte(f.Data))
	m := tree.Metadata
	if err != nil || !m.MACOnlyEncrypted || m.EncryptedCommentRegex != "" || m.UnencryptedCommentRegex != "" {
		return false
	}
	return !slices.ContainsFunc(fields, func(field []string) bool { return encrypts(m, field) })
}

// encrypts asks the sops library whether a rule encrypts the value of a field.
func encrypts(m sops.Metadata, field []string) bool {
	var value any = "value"
	for _, key := range slices.Backward(field) {
		value = sops.TreeBranch{{Key: key, Value: value}}
	}
	branch, ok := value.(sops.TreeBranch)
	var asked probe
	_, err := sops.Tree{Metadata: m, Branches: sops.TreeBranches{branch}}.Encrypt(nil, &asked)
	return !ok || err != nil || bool(asked)
}

// probe is a cipher that notes whether it is asked to encrypt.
type probe bool

func (p *probe) Encrypt(any, []byte, string) (string, error) {
	*p = true
	return "", nil
}

func (p *probe) Decrypt(string, []byte, string) (any, error) { return "", nil }

var sealedValue = regexp.MustCompile(`ENC\[AES256_GCM,[^\]]*\]`)

// SameSealed reports whether two versions of a file have the same encrypted values in the same order. If the MAC covers nothing
// else, it fits both.
func SameSealed(before, after []byte) bool {
	return slices.Equal(sealedValue.FindAllString(string(before), -1), sealedValue.FindAllString(string(after), -1))
}
