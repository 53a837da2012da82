// Package sealtest encrypts files for tests, as the sops command does.
//
// The keys are age keys made on the spot. Nothing here reads the environment or a file.
package sealtest

import (
	"context"
	"path"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Key is an age key pair.
type Key struct{ identity *age.X25519Identity }

// NewKey makes a key.
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

// Opener opens what is encrypted for the key.
func (k *Key) Opener(t testing.TB) *seal.Opener {
	t.Helper()
	ring := &keys.Ring{}
	if err := ring.AddAge("test", k.Private()); err != nil {
		t.Fatal(err)
	}
	return seal.NewOpener(ring)
}

// Rule says what of a file is encrypted, as a creation rule in .sops.yaml does.
type Rule struct {
	// EncryptedRegex chooses values by their keys; empty encrypts every value.
	EncryptedRegex string
	// MACOnlyEncrypted leaves plain values out of the MAC.
	MACOnlyEncrypted bool
}

// Credentials is the rule for cluster files and Secrets that the documentation gives.
var Credentials = Rule{EncryptedRegex: v1alpha1.EncryptedRegex}

// Everything encrypts all values of a file.
var Everything = Rule{}

// Encrypt encrypts a file, whose name tells its format.
func (k *Key) Encrypt(t testing.TB, name, plain string, rule Rule) string {
	t.Helper()
	store := storeFor(name)
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	master, err := sopsage.MasterKeyFromRecipient(k.Public())
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	tree := sops.Tree{Branches: branches, FilePath: name, Metadata: sops.Metadata{KeyGroups: []sops.KeyGroup{{master}}, Version: "3.13.3",
		EncryptedRegex: rule.EncryptedRegex, MACOnlyEncrypted: rule.MACOnlyEncrypted, LastModified: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if rule.EncryptedRegex == "" {
		tree.Metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(ageServer{})})
	if len(errs) > 0 {
		t.Fatalf("encrypt %s: %v", name, errs)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	data, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatalf("encrypt %s: %v", name, err)
	}
	return string(data)
}

type store interface {
	LoadPlainFile(in []byte) (sops.TreeBranches, error)
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

// ageServer encrypts data keys for age recipients alone.
type ageServer struct {
	keyservice.UnimplementedKeyServiceServer
}

func (ageServer) Encrypt(_ context.Context, req *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	master, err := sopsage.MasterKeyFromRecipient(req.GetKey().GetAgeKey().GetRecipient())
	if err != nil {
		return nil, err
	}
	if err := master.Encrypt(req.GetPlaintext()); err != nil {
		return nil, err
	}
	return &keyservice.EncryptResponse{Ciphertext: []byte(master.EncryptedKey)}, nil
}
