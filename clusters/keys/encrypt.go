package keys

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"
)

// RecipientError means that a data key can't be encrypted for a recipient.
type RecipientError struct {
	// Recipient is as the rule in .sops.yaml names it. It may be anything, even a private key.
	Recipient string
	// Reason and Fix don't repeat it.
	Reason, Fix string
}

func (e *RecipientError) Error() string { return e.Reason + "; " + e.Fix }

// Encrypt encrypts a data key for one recipient, for the command line. It implements sops' keyservice.KeyServiceClient. age
// recipients need no key. PGP needs the public key (AddPublicPGP), and key services AddAmbient. The error is a *RecipientError
// or that of ctx.
//
// It starts no program: age plugins, which the sops library runs by the name in the recipient, are refused.
func (r *Ring) Encrypt(ctx context.Context, req *keyservice.EncryptRequest, _ ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var encrypted []byte
	var err error
	switch key := req.GetKey(); {
	case key.GetAgeKey() != nil:
		encrypted, err = encryptAge(key.GetAgeKey().GetRecipient(), req.GetPlaintext())
	case key.GetPgpKey() != nil:
		encrypted, err = r.encryptPGP(key.GetPgpKey().GetFingerprint(), req.GetPlaintext())
	default:
		encrypted, err = r.encryptRemotely(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	return &keyservice.EncryptResponse{Ciphertext: encrypted}, nil
}

func encryptAge(name string, plain []byte) ([]byte, error) {
	recipient, err := ageRecipient(strings.TrimSpace(name))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, recipient)
	if err == nil {
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close(), armored.Close())
	}
	if err != nil {
		return nil, &RecipientError{name, "age can't encrypt for this recipient", "check it with age -r RECIPIENT"}
	}
	return out.Bytes(), nil
}

func ageRecipient(name string) (age.Recipient, error) {
	const check = "check it: age-keygen -y FILE prints the recipient of an identity"
	var recipient age.Recipient
	var err error
	switch {
	case strings.HasPrefix(name, "AGE-SECRET-KEY-"):
		return nil, &RecipientError{name, "it is a private key", "put its recipient there (age-keygen -y FILE), and replace the key, which " +
			"everyone who can read the repository knows"}
	case strings.HasPrefix(name, "age1pq1"):
		recipient, err = age.ParseHybridRecipient(name)
	case strings.HasPrefix(name, "age1") && strings.Count(name, "1") > 1:
		return nil, &RecipientError{name, "it needs an age plugin, and Muster starts no program", "encrypt the file with sops"}
	case strings.HasPrefix(name, "age1"):
		recipient, err = age.ParseX25519Recipient(name)
	case strings.HasPrefix(name, "ssh-"):
		recipient, err = agessh.ParseRecipient(name)
	default:
		return nil, &RecipientError{name, "it is not an age recipient", check}
	}
	if err != nil { // it may repeat the recipient
		return nil, &RecipientError{name, "it is damaged or cut off", check}
	}
	return recipient, nil
}

// AddPublicPGP adds PGP keys to encrypt for: all armored blocks in text, public or private. They open nothing.
func (r *Ring) AddPublicPGP(source, text string) error {
	found := 0
	for _, block := range armoredBlocks(text) {
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block))
		if err != nil {
			return &KeyError{source, "it has a damaged PGP key; export it with gpg --export --armor"}
		}
		found += len(entities)
		r.public = append(r.public, entities...)
	}
	switch {
	case found == 0:
		return &KeyError{source, "it has no PGP key; export it with gpg --export --armor"}
	case len(r.public) > maxKeys:
		return tooManyKeys(source)
	}
	return nil
}

// encryptPGP names a key as sops does: by the fingerprint, or the end of it, of the key or of a subkey.
func (r *Ring) encryptPGP(fingerprint string, plain []byte) ([]byte, error) {
	entity := r.publicKey(strings.TrimPrefix(strings.ToLower(strings.Join(strings.Fields(fingerprint), "")), "0x"))
	if entity == nil {
		return nil, &RecipientError{"PGP " + fingerprint, "the public key is missing",
			"add it: gpg --export --armor FINGERPRINT > key.asc, then --pgp-key key.asc; or commit it as .sops.pub.asc at the top of the repository"}
	}
	var out bytes.Buffer
	armored, err := pgparmor.Encode(&out, "PGP MESSAGE", nil)
	var w io.WriteCloser
	if err == nil {
		w, err = openpgp.Encrypt(armored, []*openpgp.Entity{entity}, nil, nil, nil)
	}
	if err == nil {
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close(), armored.Close())
	}
	if err != nil {
		return nil, &RecipientError{"PGP " + fingerprint, "the PGP key can't encrypt: it is expired, revoked, or for signing only", "renew or replace it, and export it again"}
	}
	return out.Bytes(), nil
}

// publicKey returns the key whose fingerprint has this end, or nil. For the fingerprint of a subkey, it has that subkey alone, and
// its primary key does not encrypt: a subkey does not tell whose it is. Anyone can sign another's key as a subkey of their own key,
// and add a second one, for which the data key would be encrypted instead.
func (r *Ring) publicKey(end string) *openpgp.Entity {
	const shortID = 16
	if len(end) < shortID {
		return nil
	}
	is := func(key *packet.PublicKey) bool { return strings.HasSuffix(hex.EncodeToString(key.Fingerprint), end) }
	for _, e := range r.public {
		if is(e.PrimaryKey) {
			return e
		}
	}
	for _, e := range r.public {
		for _, subkey := range e.Subkeys {
			alone := *e
			alone.Subkeys = []openpgp.Subkey{subkey}
			if key, ok := alone.EncryptionKey(time.Now()); ok && is(key.PublicKey) {
				return &alone
			}
		}
	}
	return nil
}

// encryptRemotely asks a key service with the credentials of AddAmbient.
func (r *Ring) encryptRemotely(ctx context.Context, req *keyservice.EncryptRequest) ([]byte, error) {
	recipient := ambientRecipient(req.GetKey())
	switch {
	case recipient == "":
		return nil, &RecipientError{"", "Muster does not know this kind of key", "encrypt the file with sops"}
	case r.ambient == nil:
		return nil, &RecipientError{kindOf(req.GetKey()) + recipient, "it is a key of a key service, which is not asked without permission",
			"use --remote-keys, which asks it with the credentials of your environment"}
	}
	encrypted, err := within(ctx, recipient, func(ctx context.Context) ([]byte, error) {
		answer, err := r.ambient.Encrypt(ctx, req)
		return answer.GetCiphertext(), err
	})
	if refused, ok := errors.AsType[*callError](err); ok {
		return nil, &RecipientError{kindOf(req.GetKey()) + recipient, "the key service refuses: " + quoted(refused.Error()), "check your credentials for it with: sops encrypt FILE"}
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt a data key with %s: %w", recipient, err)
	}
	return encrypted, nil
}

// kindOf is the kind of a key of a key service, as package recipient names it.
func kindOf(key *keyservice.Key) string {
	switch {
	case key.GetVaultKey() != nil:
		return "Vault "
	case key.GetKmsKey() != nil:
		return "AWS KMS "
	case key.GetGcpKmsKey() != nil:
		return "GCP KMS "
	default:
		return "Azure Key Vault "
	}
}
