// Package keys recovers SOPS data keys, from private keys in memory and from key services.
//
// A Ring is a sops key service of Muster's own: age, OpenPGP, Vault transit, AWS KMS, Google Cloud KMS and Azure Key Vault.
// Unlike the one in the sops library it reads no environment variable, no file and no agent, and starts no program: it knows
// the keys and credentials it was given and nothing else. Remote.Ring takes them from a Secret, with the names of data fields
// that Flux users know, and asks only those servers, and only for those keys, that a Policy names. FromEnvironment, for the
// command line alone, takes them from where the sops command looks.
//
// Errors tell three things apart: ErrNoKeyFits, *RefusedError and *UnavailableError; Verdict picks one of many.
package keys

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/getsops/sops/v3/keyservice"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/grpc"
)

// AgeSuffix marks the data fields of a decryption Secret that hold age identities.
const AgeSuffix = ".agekey"

// maxStanzas bounds for how many recipients one message may be. sops encrypts each for one. Every identity is tried on every stanza.
const maxStanzas = 8

// maxDataKey bounds what is read of a decrypted data key, which has 32 bytes.
const maxDataKey = 1 << 10

// Ring holds private keys, and credentials for key services. The zero value is an empty ring. It is not changed after it is
// built, and so may be used concurrently. It needs no closing: connections and opened data keys are those of its Remote.
type Ring struct {
	age []age.Identity
	pgp pgpKeys

	// What follows is for key services. Without policy and credentials none is asked.
	remote *Remote
	policy Policy
	vault  vaultAccess
	aws    aws.Credentials
	gcp    gcpAccess
	azure  azureAccess
	// ambient asks with whatever the process environment gives; for the command line alone.
	ambient keyservice.KeyServiceClient

	// secrets are the texts of the keys, for the redactor.
	secrets []string
}

// ErrNoKeyFits is returned when no key of the ring decrypts a data key.
var ErrNoKeyFits = errors.New("no key of the ring fits")

// KeyError says that a given key can't be used. It never holds the key.
type KeyError struct {
	// Source is the file, environment variable or Secret field that the key came from.
	Source string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("read key from %s: %s", e.Source, e.Reason) }

// maxKeys is how many age identities, and how many PGP keys, a ring may have. Each may be tried on each recipient of each file.
const maxKeys = 100

func tooManyKeys(source string) error {
	return &KeyError{source, fmt.Sprintf("with it, there are more than %d keys", maxKeys)}
}

// AddAge adds the age identities in text, one a line, with comments, as age-keygen writes them.
func (r *Ring) AddAge(source, text string) error {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		// The library's error quotes the line it can't read, and that may be most of a key.
		return &KeyError{source, "it holds no age identity (a line that starts with AGE-SECRET-KEY-1)"}
	}
	if r.age = append(r.age, identities...); len(r.age) > maxKeys {
		return tooManyKeys(source)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			r.secrets = append(r.secrets, line)
		}
	}
	return nil
}

// Add adds the keys in text, which are either age identities or armored PGP private keys.
func (r *Ring) Add(source, text string) error {
	isAge, isPGP := strings.Contains(text, "AGE-SECRET-KEY-"), strings.Contains(text, armorStart) || !utf8.ValidString(text)
	switch {
	case isAge && isPGP:
		return &KeyError{source, "it holds both age and PGP keys; put them into two files"}
	case isPGP:
		return r.AddPGP(source, text)
	case isAge:
		return r.AddAge(source, text)
	default:
		return &KeyError{source, "it holds no age identity (a line that starts with AGE-SECRET-KEY-1) and no armored PGP private key"}
	}
}

// Empty says whether the ring has no key and no credential.
func (r *Ring) Empty() bool {
	return len(r.age) == 0 && len(r.pgp) == 0 && r.vault.token == "" && r.aws.AccessKeyID == "" && r.gcp.key == nil &&
		r.azure.client == "" && r.ambient == nil
}

// Secrets are the texts of the keys and credentials, to be kept out of everything that leaves the process.
func (r *Ring) Secrets() []string { return slices.Clone(r.secrets) }

// AddFile adds the keys of a file, as Add does.
func (r *Ring) AddFile(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return r.Add(file, string(data))
}

// Decrypt recovers a data key. It implements sops' keyservice.KeyServiceClient. Its error is ErrNoKeyFits, a *RefusedError, an
// *UnavailableError or the context's, none of which holds a secret. A key service has 10 seconds to answer.
func (r *Ring) Decrypt(ctx context.Context, req *keyservice.DecryptRequest, _ ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var key []byte
	var err error
	switch {
	case req.GetKey().GetAgeKey() != nil:
		key, err = r.decryptAge(req.GetCiphertext())
	case req.GetKey().GetPgpKey() != nil:
		key, err = r.pgp.decrypt(req.GetCiphertext())
	default:
		key, err = r.decryptRemotely(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: key}, nil
}

func (r *Ring) decryptAge(message []byte) ([]byte, error) {
	if len(r.age) == 0 {
		return nil, ErrNoKeyFits
	}
	// The armor is a third longer than what it holds.
	encrypted, err := readAtMost(armor.NewReader(bytes.NewReader(message)), maxMessage)
	if err != nil || len(message) > 2*maxMessage || bytes.Count(encrypted, []byte("\n-> ")) > maxStanzas {
		return nil, ErrNoKeyFits
	}
	if key := r.openAge(encrypted); key != nil {
		return key, nil
	}
	plain, err := age.Decrypt(bytes.NewReader(encrypted), r.age...)
	if err != nil {
		return nil, ErrNoKeyFits
	}
	return readDataKey(plain)
}

// openAge decrypts a message of one chunk, which a data key is, or returns nil. The age library reads a message through two buffers
// of 64 KiB each, and over a fleet these are most of the memory that rendering allocates. The library opens the header; what
// is left is one ChaCha20-Poly1305 box under a key made by HKDF (age-encryption.org/v1, "Payload"). It opens nothing that the
// library would not: the box is authenticated, and so is its being the last.
func (r *Ring) openAge(message []byte) []byte {
	header, err := age.ExtractHeader(bytes.NewReader(message))
	if err != nil || len(message) < len(header)+ageNonce {
		return nil
	}
	fileKey, err := age.DecryptHeader(header, r.age...)
	if err != nil {
		return nil
	}
	nonce, box := message[len(header):len(header)+ageNonce], message[len(header)+ageNonce:]
	payloadKey, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil
	}
	aead, err := chacha20poly1305.New(payloadKey)
	if err != nil || len(box) > maxDataKey {
		return nil
	}
	first := make([]byte, chacha20poly1305.NonceSize)
	first[len(first)-1] = 1 // chunk 0, and the last one
	key, err := aead.Open(nil, first, box, nil)
	if err != nil {
		return nil
	}
	return key
}

// ageNonce is the length of what stands between header and payload.
const ageNonce = 16

// decryptRemotely asks the key service that the file names, if the policy names it too.
func (r *Ring) decryptRemotely(ctx context.Context, req *keyservice.DecryptRequest) ([]byte, error) {
	if len(req.GetCiphertext()) > maxMessage {
		return nil, ErrNoKeyFits
	}
	if r.ambient != nil {
		return r.askAmbient(ctx, req)
	}
	var q question
	var err error
	switch key := req.GetKey(); {
	case key.GetVaultKey() != nil:
		q, err = r.vaultQuestion(key.GetVaultKey(), req.GetCiphertext())
	case key.GetKmsKey() != nil:
		q, err = r.awsQuestion(key.GetKmsKey(), req.GetCiphertext())
	case key.GetGcpKmsKey() != nil:
		q, err = r.gcpQuestion(key.GetGcpKmsKey(), req.GetCiphertext())
	case key.GetAzureKeyvaultKey() != nil:
		q, err = r.azureQuestion(key.GetAzureKeyvaultKey(), req.GetCiphertext())
	default:
		return nil, ErrNoKeyFits // a service that Muster does not know
	}
	if err != nil {
		return nil, err
	}
	return r.remote.open(ctx, q)
}

// readDataKey reads to the end, since only there it is known that a message was not changed.
func readDataKey(plain io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(plain, maxDataKey+1))
	if err != nil || len(key) > maxDataKey {
		return nil, ErrNoKeyFits
	}
	return key, nil
}

// Encrypt is there because the interface asks for it. Muster never encrypts.
func (r *Ring) Encrypt(context.Context, *keyservice.EncryptRequest, ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	return nil, errors.ErrUnsupported
}
