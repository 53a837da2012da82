// Package keys recovers SOPS data keys, with private keys in memory and with key services. For the command line, it also
// encrypts them.
//
// A Ring is a sops key service for age, OpenPGP, Vault transit, AWS KMS, Google Cloud KMS and Azure Key Vault. Unlike the one in
// the sops library, it reads no environment variable, no file and no agent, and starts no program. It only has the keys and
// credentials that it was given. Remote.Ring reads them from a Secret, whose fields have the same names as in Flux. It only asks
// the servers, and only for the keys, that a Policy lists. FromEnvironment, for the command line only, reads them from where the
// sops command does.
//
// Vault, AWS and Azure are asked through their makers' clients with explicit options: hashicorp/vault/api, service/kms and service/sts
// of aws-sdk-go-v2, and azkeys. The key types of sops make the same clients, but they also read the process environment and the home
// folder (LoadDefaultConfig for AWS, VAULT_ADDR). Cloud KMS gets one POST. Google's client makes another one with options of its own
// (key_management_client.go:1574 of cloud.google.com/go/kms v1.32.0), which starts the program that the file in
// GOOGLE_API_CERTIFICATE_CONFIG names. Access tokens come from golang.org/x/oauth2. Azure's own library for tokens reads
// AZURE_REGIONAL_AUTHORITY_NAME whatever its options are (confidential_client.go:72 of azidentity v1.14.0), and then asks another
// server. TestNothingFromTheEnvironment has all of these as traps.
//
// There are three kinds of errors: ErrNoKeyFits, *RefusedError and *UnavailableError. Verdict picks one of several errors.
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
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/getsops/sops/v3/keyservice"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/grpc"
)

// AgeSuffix is the suffix of the data fields with age identities in a decryption Secret.
const AgeSuffix = ".agekey"

// maxStanzas is how many recipients one message may have. sops encrypts each message for one. Every identity is tried on every
// stanza.
const maxStanzas = 8

// maxDataKey limits the size of a decrypted data key, which has 32 bytes.
const maxDataKey = 1 << 10

// Ring has private keys, and credentials for key services. The zero value is an empty ring. A complete ring is never modified,
// so it is safe for concurrent use. It needs no closing: connections and opened data keys belong to its Remote.
type Ring struct {
	age []age.Identity
	pgp pgpKeys
	// public are PGP keys to encrypt for. They open nothing.
	public openpgp.EntityList
	// pgpNames are the fingerprints of pgp, and of their primary keys.
	pgpNames []string

	// The fields below are for key services. A service is only asked if there are both a policy and credentials for it.
	remote *Remote
	policy Policy
	vault  vaultAccess
	aws    aws.Credentials
	gcp    gcpAccess
	azure  azureAccess
	// ambient uses the credentials of the process environment, for the command line only.
	ambient keyservice.KeyServiceClient

	// secrets are the texts of the keys, for the redactor.
	secrets []string
}

// ErrNoKeyFits is returned when no key of the ring decrypts a data key.
var ErrNoKeyFits = errors.New("no key of the ring fits")

// KeyError means that a key can't be used. It never contains the key.
type KeyError struct {
	// Source is the file, environment variable or Secret field that the key came from.
	Source string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("read key from %s: %s", e.Source, e.Reason) }

// maxKeys limits the age identities, and the PGP keys, of a ring. Each may be tried on each recipient of each file.
const maxKeys = 100

func tooManyKeys(source string) error {
	return &KeyError{source, fmt.Sprintf("with this one, there are more than %d keys", maxKeys)}
}

// AddAge adds the age identities in text, one per line, with comments, as age-keygen writes them.
func (r *Ring) AddAge(source, text string) error {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		// The library's error quotes the line that it can't read, which may be most of a key.
		return &KeyError{source, "it has no age identity (a line that starts with AGE-SECRET-KEY-1)"}
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
		return &KeyError{source, "it has both age and PGP keys; put them in separate files"}
	case isPGP:
		return r.AddPGP(source, text)
	case isAge:
		return r.AddAge(source, text)
	default:
		return &KeyError{source, "it has neither an age identity (a line that starts with AGE-SECRET-KEY-1) nor an armored PGP private key"}
	}
}

// Empty reports whether the ring has neither keys nor credentials.
func (r *Ring) Empty() bool {
	return len(r.age) == 0 && len(r.pgp) == 0 && r.vault.token == "" && r.aws.AccessKeyID == "" && r.gcp.key == nil &&
		r.azure.client == "" && r.ambient == nil
}

// Secrets returns the texts of the keys and credentials, which must not leave the process.
func (r *Ring) Secrets() []string { return slices.Clone(r.secrets) }

// AddFile adds the keys in a file, like Add.
func (r *Ring) AddFile(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return r.Add(file, string(data))
}

// Decrypt recovers a data key. It implements sops' keyservice.KeyServiceClient. The error is ErrNoKeyFits, a *RefusedError, an
// *UnavailableError or that of ctx. None contains a secret. A key service has 10 seconds to answer.
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
	// The armor is a third longer than its content.
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

// openAge decrypts a message of one chunk, such as a data key, or returns nil. The age library reads a message through two
// 64 KiB buffers, which would be most of the memory that rendering a fleet allocates. The library still opens the header. The
// rest is one ChaCha20-Poly1305 box under a key derived with HKDF (age-encryption.org/v1, "Payload"). openAge opens nothing
// that the library would not: the box is authenticated, including that it is the last one.
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

// ageNonce is the length of the nonce between header and payload.
const ageNonce = 16

// decryptRemotely asks the key service that the file names, if the policy lists it.
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
		q, err = r.awsQuestion(ctx, key.GetKmsKey(), req.GetCiphertext())
	case key.GetGcpKmsKey() != nil:
		q, err = r.gcpQuestion(key.GetGcpKmsKey(), req.GetCiphertext())
	case key.GetAzureKeyvaultKey() != nil:
		q, err = r.azureQuestion(key.GetAzureKeyvaultKey(), req.GetCiphertext())
	default:
		return nil, ErrNoKeyFits // an unknown service
	}
	if err != nil {
		return nil, err
	}
	return r.remote.open(ctx, q)
}

// readDataKey reads to the end, because only the end authenticates the message.
func readDataKey(plain io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(plain, maxDataKey+1))
	if err != nil || len(key) > maxDataKey {
		return nil, ErrNoKeyFits
	}
	return key, nil
}
