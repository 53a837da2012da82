package encrypt

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopsversion "github.com/getsops/sops/v3/version"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// File is an encrypted file that was opened to be changed.
type File struct {
	path   string
	sealed []byte
	plain  []byte
	store  common.Store
	tree   sops.Tree // decrypted
	key    []byte
	// cipher remembers how each value was encrypted, so that an unchanged one is encrypted to the same text again.
	cipher aes.Cipher
}

// FileError means that a file can't be encrypted again. It never repeats a value.
type FileError struct {
	Path        string
	Reason, Fix string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("encrypt %s: %s; %s", e.Path, e.Reason, e.Fix)
}

// Open opens a file to change it. The opener verifies it first, including its MAC. settings is the content of the .sops.yaml for
// the file, or nil.
func Open(ctx context.Context, f *load.File, settings []byte, opener *unseal.Opener) (_ *File, failure *finding.Finding) {
	quiet()
	unwritable := &finding.Finding{Code: seal.CodeSopsBlock, Severity: finding.Error, Path: f.Path, Message: "the decrypted file can't be written in its format",
		Fix: "check stores.*.indent in .sops.yaml, and the output of sops decrypt"}
	defer func() {
		if recover() != nil { // the panic's text may quote a value
			failure = unwritable
		}
	}()
	opened, failure := opener.Open(ctx, f)
	if failure != nil {
		return nil, failure
	}
	stores, err := unseal.Stores(settings)
	if err != nil {
		return nil, unwritable
	}
	file := &File{path: f.Path, sealed: []byte(f.Data), store: storeOf(f.Data, stores), key: opened.DataKey(), cipher: aes.NewCipher()}
	if file.tree, err = file.store.LoadEncryptedFile(file.sealed); err != nil {
		return nil, unwritable
	}
	if _, err = file.tree.Decrypt(file.key, file.cipher); err != nil {
		return nil, unwritable
	}
	if file.plain, err = file.store.EmitPlainFile(file.tree.Branches); err != nil {
		return nil, unwritable
	}
	return file, nil
}

// storeOf returns the format of the content, whatever the file's name is.
func storeOf(data string, stores *config.StoresConfig) common.Store {
	format := map[seal.Format]formats.Format{seal.YAML: formats.Yaml, seal.JSON: formats.Json, seal.Binary: formats.Binary,
		seal.Dotenv: formats.Dotenv, seal.INI: formats.Ini}[seal.FormatOf(data)]
	return common.StoreForFormat(format, stores)
}

// Plain returns the decrypted file, as sops edit shows it.
func (f *File) Plain() []byte { return bytes.Clone(f.plain) }

// Edit returns the file with other content, encrypted as sops edit does it: with the same data key, recipients and rules.
// Unchanged values keep their ciphertext, and an unchanged file stays as it is. The error is a *FileError.
func (f *File) Edit(plain []byte) ([]byte, error) {
	if bytes.Equal(plain, f.plain) {
		return bytes.Clone(f.sealed), nil
	}
	var branches sops.TreeBranches
	err := f.guard(func() (err error) {
		branches, err = f.store.LoadPlainFile(plain)
		return err
	}, "the file is not in its format", "check it")
	switch {
	case err != nil:
		return nil, err
	case len(branches) == 0 || !slices.ContainsFunc(branches, func(b sops.TreeBranch) bool { return len(b) > 0 }):
		return nil, f.failed("the file is empty", "to remove the cluster, use muster remove")
	case slices.ContainsFunc(branches, f.store.HasSopsTopLevelKey):
		return nil, f.failed("it has a field sops, which sops adds itself", "remove that field")
	}
	return f.emit(sops.Tree{Branches: branches, Metadata: f.tree.Metadata, FilePath: f.path}, f.key, f.cipher)
}

// Recipients returns the file for the recipients of its creation rule, as sops updatekeys does: values, data key and MAC stay. A
// recipient that has seen the data key can still open what it has seen. The error is a *RuleError or a *FileError.
func (f *File) Recipients(rule *Rule, ring *keys.Ring) ([]byte, error) {
	tree, err := f.store.LoadEncryptedFile(f.sealed)
	if err != nil {
		return nil, f.failed("the sops block can't be read", "restore the file from Git history")
	}
	tree.Metadata.KeyGroups, tree.Metadata.ShamirThreshold = rule.sops.KeyGroups, rule.sops.ShamirThreshold
	if errs := tree.Metadata.UpdateMasterKeysWithKeyServices(f.key, []keyservice.KeyServiceClient{ring}); len(errs) > 0 {
		return nil, rule.recipientFailed(errs)
	}
	var sealed []byte
	err = f.guard(func() error {
		if sealed, err = f.store.EmitEncryptedFile(tree); err != nil {
			return err
		}
		return f.verify(sealed, f.key, f.plain)
	}, "sops can't write the file", "run sops updatekeys on it, which prints the cause")
	return sealed, err
}

// Rotate returns the file with a new data key, as sops rotate does, for the recipients of its creation rule. The error is a
// *RuleError or a *FileError.
func (f *File) Rotate(rule *Rule, ring *keys.Ring) ([]byte, error) {
	tree, err := f.store.LoadEncryptedFile(f.sealed)
	if err == nil {
		_, err = tree.Decrypt(f.key, aes.NewCipher())
	}
	if err != nil { // Open has done the same
		return nil, f.failed("the sops block can't be read", "restore the file from Git history")
	}
	tree.Metadata.KeyGroups, tree.Metadata.ShamirThreshold = rule.sops.KeyGroups, rule.sops.ShamirThreshold
	key, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{ring})
	if len(errs) > 0 {
		return nil, rule.recipientFailed(errs)
	}
	return f.emit(tree, key, aes.NewCipher())
}

// emit encrypts a tree and returns the file, once it has proved to open to the same content.
func (f *File) emit(tree sops.Tree, key []byte, cipher aes.Cipher) (sealed []byte, err error) {
	if newer, err := sopsversion.AIsNewerThanB(sopsversion.Version, tree.Metadata.Version); err == nil && newer {
		tree.Metadata.Version = sopsversion.Version
	}
	err = f.guard(func() error {
		plain, err := f.store.EmitPlainFile(tree.Branches)
		if err != nil {
			return err
		}
		if err := common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: cipher, DataKey: key}); err != nil {
			return err
		}
		if sealed, err = f.store.EmitEncryptedFile(tree); err != nil {
			return err
		}
		return f.verify(sealed, key, plain)
	}, "sops can't represent a value of the file", "put numbers and dates in quotes, and check the file with sops edit")
	return sealed, err
}

// verify opens a new file and compares it with its content. What sops can't read again must not replace what it can.
func (f *File) verify(sealed, key, plain []byte) error {
	tree, err := f.store.LoadEncryptedFile(sealed)
	if err != nil {
		return err
	}
	cipher := aes.NewCipher()
	mac, err := tree.Decrypt(key, cipher)
	if err != nil {
		return err
	}
	want, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return err
	}
	got, err := f.store.EmitPlainFile(tree.Branches)
	if err == nil && (want != mac || !bytes.Equal(got, plain)) {
		err = errDifferent
	}
	return err
}

// guard calls the sops library. It replaces errors and panics, which can quote values.
func (f *File) guard(call func() error, reason, fix string) (err error) {
	defer func() {
		if recover() != nil {
			err = f.failed(reason, fix)
		}
	}()
	if call() != nil {
		return f.failed(reason, fix)
	}
	return nil
}

func (f *File) failed(reason, fix string) error {
	return &FileError{Path: f.path, Reason: reason, Fix: fix}
}
