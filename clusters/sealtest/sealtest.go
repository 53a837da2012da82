// Package sealtest encrypts files for tests, like the sops command.
//
// The age and PGP keys are generated. The package never reads the environment or a file.
package sealtest

import (
	"context"
	"fmt"
	"path"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Key is an age key pair.
type Key struct{ identity *age.X25519Identity }

// NewKey generates a key.
func NewKey(t testing.TB) *Key {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &Key{identity}
}

// Private is the key as age-keygen writes it.
func (k *Key) Private() string { return k.identity.String() }

// Public is the recipient.
func (k *Key) Public() string { return k.identity.Recipient().String() }

// Opener returns an opener with the key.
func (k *Key) Opener(t testing.TB) *unseal.Opener {
	t.Helper()
	return Opener(t, k)
}

func (k *Key) master() sopskeys.MasterKey { return &sopsage.MasterKey{Recipient: k.Public()} }

func (k *Key) encrypt(dataKey []byte) ([]byte, error) {
	master, err := sopsage.MasterKeyFromRecipient(k.Public())
	if err != nil {
		return nil, err
	}
	if err := master.Encrypt(dataKey); err != nil {
		return nil, err
	}
	return []byte(master.EncryptedKey), nil
}

// Recipient is a key to encrypt for: *Key, *PGPKey or *ServiceKey.
type Recipient interface {
	// Private is the key as the program that generates it writes it.
	Private() string
	master() sopskeys.MasterKey
	encrypt(dataKey []byte) ([]byte, error)
}

// Group is a key group of sops. Each of its keys can recover the same share.
type Group []Recipient

// Opener returns an opener with the keys.
func Opener(t testing.TB, given ...Recipient) *unseal.Opener {
	t.Helper()
	ring := &keys.Ring{}
	for _, k := range given {
		if err := ring.Add("test", k.Private()); err != nil {
			t.Fatal(err)
		}
	}
	return unseal.NewOpener(ring)
}

// Rule selects the values of a file to encrypt, like a creation rule in .sops.yaml.
type Rule struct {
	// EncryptedRegex selects values by their keys. Empty encrypts every value.
	EncryptedRegex string
	// MACOnlyEncrypted leaves plain values out of the MAC.
	MACOnlyEncrypted bool
}

// Recommended is the documented rule for cluster files and Secrets.
var Recommended = Rule{EncryptedRegex: v1alpha1.EncryptedRegex, MACOnlyEncrypted: true}

// Credentials is a rule that leaves everything but credentials readable, with a MAC over all values.
var Credentials = Rule{EncryptedRegex: `^(data|stringData|kubeconfig|token|dockerConfigJson)$`}

// Everything encrypts all values of a file.
var Everything = Rule{}

// Encrypt encrypts a file. Its name determines the format.
func (k *Key) Encrypt(t testing.TB, name, plain string, rule Rule) string {
	t.Helper()
	return Encrypt(t, name, plain, rule, 0, Group{k})
}

// Encrypt encrypts a file for groups of keys, of which threshold are needed to open it. 0 means all.
func Encrypt(t testing.TB, name, plain string, rule Rule, threshold int, groups ...Group) string {
	t.Helper()
	store := storeFor(name)
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	recipients := map[string]Recipient{}
	metadata := make([]sops.KeyGroup, len(groups))
	for i, group := range groups {
		for _, recipient := range group {
			master := recipient.master()
			name := keyservice.KeyFromMasterKey(master)
			recipients[name.String()] = recipient
			metadata[i] = append(metadata[i], master)
		}
	}
	tree := sops.Tree{Branches: branches, FilePath: name, Metadata: sops.Metadata{KeyGroups: metadata, ShamirThreshold: threshold, Version: "3.13.3",
		EncryptedRegex: rule.EncryptedRegex, MACOnlyEncrypted: rule.MACOnlyEncrypted, LastModified: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if rule.EncryptedRegex == "" {
		tree.Metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(&encrypter{recipients: recipients})})
	if len(errs) > 0 {
		t.Fatalf("encrypt %s: %v", name, errs)
	}
	return emit(t, store, tree, dataKey)
}

// Edit replaces the content of an encrypted file like sops edit: it keeps the data key.
func (k *Key) Edit(t testing.TB, name, encrypted, plain string) string {
	t.Helper()
	store := storeFor(name)
	tree, err := store.LoadEncryptedFile([]byte(encrypted))
	if err != nil {
		t.Fatalf("edit %s: %v", name, err)
	}
	ring := &keys.Ring{}
	if err := ring.Add("test", k.Private()); err != nil {
		t.Fatal(err)
	}
	dataKey, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{ring}, sops.DefaultDecryptionOrder)
	if err != nil {
		t.Fatalf("edit %s: %v", name, err)
	}
	if tree.Branches, err = store.LoadPlainFile([]byte(plain)); err != nil {
		t.Fatalf("edit %s: %v", name, err)
	}
	tree.Metadata.LastModified = tree.Metadata.LastModified.Add(time.Hour)
	return emit(t, store, tree, dataKey)
}

// emit encrypts the values of a tree, and returns the file.
func emit(t testing.TB, store store, tree sops.Tree, dataKey []byte) string {
	t.Helper()
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		t.Fatalf("encrypt: %v", err)
	}
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		t.Fatalf("encrypt: %v", err)
	}
	data, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatalf("encrypt: %v", err)
	}
	return string(data)
}

type store interface {
	LoadPlainFile(in []byte) (sops.TreeBranches, error)
	LoadEncryptedFile(in []byte) (sops.Tree, error)
	EmitEncryptedFile(tree sops.Tree) ([]byte, error)
}

func storeFor(name string) store {
	switch path.Ext(name) {
	case ".yaml", ".yml":
		return yaml.NewStore(&config.YAMLStoreConfig{})
	case ".json":
		return json.NewStore(&config.JSONStoreConfig{})
	case ".env":
		return dotenv.NewStore(&config.DotenvStoreConfig{})
	case ".ini":
		return ini.NewStore(&config.INIStoreConfig{})
	default:
		return json.NewBinaryStore(&config.JSONBinaryStoreConfig{})
	}
}

// encrypter encrypts data keys for its recipients, by the names that sops uses for them.
type encrypter struct {
	keyservice.UnimplementedKeyServiceServer
	recipients map[string]Recipient
}

func (e *encrypter) Encrypt(_ context.Context, req *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	recipient, ok := e.recipients[req.GetKey().String()]
	if !ok {
		return nil, fmt.Errorf("unknown recipient %q", req.GetKey())
	}
	message, err := recipient.encrypt(req.GetPlaintext())
	return &keyservice.EncryptResponse{Ciphertext: message}, err
}
