package gitsync

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// Verifier holds the public keys that may sign commits. It is immutable.
//
// A signature proves one commit and with it all of its files. It proves nothing about earlier commits, or about the branch
// or tag that points at it; signatures of tags are ignored.
type Verifier struct {
	pgp openpgp.EntityList
	// ssh holds keys by their wire form.
	ssh map[string]ssh.PublicKey
}

// VerifierFromSecret returns a Verifier from a Secret's data. The names of the fields tell their content:
//
//   - NAME.asc: armored PGP public keys, as in Flux;
//   - NAME.pub and authorized_keys: SSH public keys, one a line;
//   - allowed_signers: the same with principals before each key, as for Git's gpg.ssh.allowedSignersFile.
//     The principals are ignored: the owner of the key may sign.
//
// Every field must be understood completely, or the result is a *KeyError. No error contains a value of the Secret.
func VerifierFromSecret(data map[string][]byte) (*Verifier, error) {
	v := &Verifier{ssh: map[string]ssh.PublicKey{}}
	for _, field := range slices.Sorted(maps.Keys(data)) {
		if err := v.add(field, data[field]); err != nil {
			return nil, err
		}
	}
	if len(v.pgp)+len(v.ssh) == 0 {
		return nil, &KeyError{Problem: "there are no keys", Remedy: "add a field NAME.asc with a PGP public key, or NAME.pub with an SSH public key"}
	}
	return v, nil
}

func (v *Verifier) add(field string, value []byte) error {
	switch {
	case bytes.Contains(value, []byte("PRIVATE KEY")):
		return &KeyError{Field: field, Problem: "contains a private key, which does not belong here",
			Remedy: "replace it by the public key, and assume that every reader of the Secret knows the private key"}
	case len(bytes.TrimSpace(value)) == 0:
		return &KeyError{Field: field, Problem: "is empty", Remedy: "set a value or remove it"}
	case strings.HasSuffix(field, ".asc"):
		return v.addPGP(field, string(value))
	case strings.HasSuffix(field, ".pub"), field == "authorized_keys", field == "allowed_signers":
		return v.addSSH(field, string(value))
	}
	return &KeyError{Field: field, Problem: "has a name that doesn't tell its content",
		Remedy: "name PGP public keys NAME.asc and SSH public keys NAME.pub, authorized_keys or allowed_signers"}
}

// maxSignature bounds a signature before it is parsed. The largest in use, RSA with 16,384 bits, is a tenth of it.
const maxSignature = 32 << 10

// Verify returns nil if one of the keys has signed the commit, and a *SignatureError otherwise. An expired key is valid for
// what it signed before it expired, according to the time in the signature.
func (v *Verifier) Verify(c Commit, now time.Time) error {
	signature := strings.TrimSpace(c.Signature)
	fault := &SignatureError{Commit: c.Hash}
	switch {
	case signature == "":
		fault.Reason = Unsigned
	case len(signature) > maxSignature:
		fault.Reason, fault.Detail = SignatureUnsupported, fmt.Sprintf("it has %d bytes, and the limit is %d", len(signature), maxSignature)
	case strings.HasPrefix(signature, pgpSignatureStart):
		fault = v.verifyPGP(signature, c.SignedPayload, now)
	case strings.HasPrefix(signature, sshSignatureStart):
		fault = v.verifySSH(signature, c.SignedPayload)
	case strings.HasPrefix(signature, "-----BEGIN SIGNED MESSAGE-----"):
		fault.Reason, fault.Detail = SignatureUnsupported, "it is an X.509 signature"
	default:
		fault.Reason, fault.Detail = SignatureUnsupported, "it is neither PGP nor SSH"
	}
	if fault == nil {
		return nil
	}
	fault.Commit = c.Hash
	return fault
}

// KeyError reports that the data of a Secret is not a valid set of public keys. It never contains a value.
type KeyError struct {
	// Field is the Secret's invalid field, or empty if it is none of them.
	Field string
	// Line is the line in the field, from 1, or 0 for the whole field.
	Line int
	// Problem completes "FIELD …"; Remedy is an instruction.
	Problem, Remedy string
}

func (e *KeyError) Error() string {
	subject := "public keys:"
	if e.Field != "" {
		subject += " " + e.Field
	}
	if e.Line != 0 {
		subject += fmt.Sprintf(" line %d", e.Line)
	}
	return join(subject+" "+e.Problem, e.Remedy)
}

// SignatureReason is the cause of a SignatureError.
type SignatureReason string

// The reasons for which a commit is not verified.
const (
	Unsigned             SignatureReason = "Unsigned"
	SignerUnknown        SignatureReason = "SignerUnknown"        // none of the public keys is the signer's
	SignerExpired        SignatureReason = "SignerExpired"        // the key had expired when it signed, or the signature has
	SignerRevoked        SignatureReason = "SignerRevoked"        // the key is revoked, whenever it signed
	SignatureInvalid     SignatureReason = "SignatureInvalid"     // made for something else, or damaged
	SignatureUnsupported SignatureReason = "SignatureUnsupported" // X.509, SSH certificates, weak hashes
)

// SignatureError reports that a commit is not signed by one of the keys of a Verifier.
type SignatureError struct {
	Commit string
	Reason SignatureReason
	// Key names the signer's key as far as known: "PGP key HEX" or "SSH key SHA256:…". For SignerUnknown it is the
	// signature's unproven claim.
	Key string
	// Detail explains more, on one line.
	Detail string
}

func (e *SignatureError) Error() string {
	problem, remedy := e.explain()
	msg := "commit " + e.Commit + " " + problem
	if e.Detail != "" {
		msg += ": " + e.Detail
	}
	return join(msg, remedy)
}

func (e *SignatureError) explain() (problem, remedy string) {
	switch e.Reason {
	case Unsigned:
		return "is not signed", "sign it with git commit -S, and push again"
	case SignerUnknown:
		return "is signed with the " + e.Key + ", which is not one of the trusted public keys",
			"add the key if its owner may sign, or sign with one of the trusted keys"
	case SignerExpired:
		return "is signed with the " + e.Key + ", which had expired",
			"sign with a valid key, or have the owner extend this one and replace its public key"
	case SignerRevoked:
		return "is signed with the " + e.Key + ", which is revoked", "sign with another key"
	case SignatureUnsupported:
		return "has a signature that can't be verified", "sign with a PGP or SSH key"
	default:
		return "has a signature that does not match", "sign it again, and find out who changed it if it was signed before"
	}
}
