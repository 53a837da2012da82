package gitsync

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	sshSignatureType  = "SSH SIGNATURE"
	sshSignatureStart = "-----BEGIN " + sshSignatureType + "-----"
	// sshNamespace is the namespace that Git uses for its signatures.
	sshNamespace = "git"
	sshMagic     = "SSHSIG"
)

// sshSignature is the layout of a signature in OpenSSH's PROTOCOL.sshsig, after the magic.
type sshSignature struct {
	Version                             uint32
	PublicKey                           []byte
	Namespace, Reserved, Hash, Envelope string
}

// sshSigned is the signed data, after the magic.
type sshSigned struct {
	Namespace, Reserved, Hash, Digest string
}

func (v *Verifier) addSSH(field, text string) error {
	found := false
	line := 0
	for content := range strings.Lines(text) {
		line++
		content = strings.TrimSpace(content)
		if content == "" || strings.HasPrefix(content, "#") {
			continue
		}
		if field == "allowed_signers" {
			content = withoutPrincipals(content)
		}
		key, err := parseSSHKey(content)
		if err != nil {
			return &KeyError{Field: field, Line: line, Problem: err.Error(), Remedy: "write the key as in the .pub file of ssh-keygen"}
		}
		v.ssh[string(key.Marshal())] = key
		found = true
	}
	if !found {
		return &KeyError{Field: field, Problem: "contains no key", Remedy: "set a value or remove it"}
	}
	return nil
}

// withoutPrincipals drops the first field of a line, which may be quoted.
func withoutPrincipals(line string) string {
	if quoted, found := strings.CutPrefix(line, `"`); found {
		_, rest, _ := strings.Cut(quoted, `"`)
		return strings.TrimSpace(rest)
	}
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return strings.TrimSpace(line[i:])
	}
	return ""
}

// parseSSHKey treats an option that it doesn't understand as an error, because options restrict a key.
func parseSSHKey(line string) (ssh.PublicKey, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, errors.New("is not an SSH public key")
	}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		if !strings.EqualFold(name, "namespaces") {
			return nil, errors.New("has an option before the key, and only namespaces is supported")
		}
		if !slices.Contains(strings.Split(strings.Trim(value, `"`), ","), sshNamespace) {
			return nil, errors.New(`is a key for other namespaces than "git"`)
		}
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return key, nil
	case ssh.KeyAlgoRSA:
		if withCrypto, ok := key.(ssh.CryptoPublicKey); ok {
			if public, ok := withCrypto.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() >= minRSABits {
				return key, nil
			}
		}
		return nil, fmt.Errorf("is an RSA key with fewer than %d bits", minRSABits)
	}
	return nil, fmt.Errorf("is a key of type %s, which is not supported", key.Type())
}

// parseSSHSignature parses a signature, and checks only its form.
func parseSSHSignature(text string) (sshSignature, error) {
	var s sshSignature
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != sshSignatureType || len(block.Headers) > 0 || strings.TrimSpace(string(rest)) != "" {
		return s, errors.New("the armor is damaged")
	}
	blob, found := strings.CutPrefix(string(block.Bytes), sshMagic)
	if !found || ssh.Unmarshal([]byte(blob), &s) != nil {
		return s, errors.New("it is damaged")
	}
	return s, nil
}

// verifySSH returns nil for a good signature.
func (v *Verifier) verifySSH(text string, payload []byte) *SignatureError {
	s, err := parseSSHSignature(text)
	if err != nil {
		return &SignatureError{Reason: SignatureInvalid, Detail: err.Error()}
	}
	if s.Version != 1 {
		return &SignatureError{Reason: SignatureUnsupported, Detail: fmt.Sprintf("it has version %d of the format, and only 1 is supported", s.Version)}
	}
	claimed, err := ssh.ParsePublicKey(s.PublicKey)
	if err != nil {
		return &SignatureError{Reason: SignatureUnsupported, Detail: "the type of its key is unknown"}
	}
	name := "SSH key " + ssh.FingerprintSHA256(claimed)
	key := v.ssh[string(s.PublicKey)]
	if _, isCertificate := claimed.(*ssh.Certificate); isCertificate {
		return &SignatureError{Reason: SignatureUnsupported, Key: name, Detail: "it was made with an SSH certificate"}
	}
	if key == nil {
		return &SignatureError{Reason: SignerUnknown, Key: name}
	}
	if s.Namespace != sshNamespace {
		return &SignatureError{Reason: SignatureInvalid, Key: name, Detail: fmt.Sprintf("it was made for the namespace %q, not for %q", tidy(s.Namespace), sshNamespace)}
	}
	signed := sshSigned{Namespace: s.Namespace, Reserved: s.Reserved, Hash: s.Hash}
	switch s.Hash {
	case "sha256":
		digest := sha256.Sum256(payload)
		signed.Digest = string(digest[:])
	case "sha512":
		digest := sha512.Sum512(payload)
		signed.Digest = string(digest[:])
	default:
		return &SignatureError{Reason: SignatureUnsupported, Key: name, Detail: fmt.Sprintf("its hash is %q", tidy(s.Hash))}
	}
	return checkSSH(key, name, s.Envelope, append([]byte(sshMagic), ssh.Marshal(signed)...))
}

func checkSSH(key ssh.PublicKey, name, envelope string, signed []byte) *SignatureError {
	var signature ssh.Signature
	if ssh.Unmarshal([]byte(envelope), &signature) != nil {
		return &SignatureError{Reason: SignatureInvalid, Key: name, Detail: "it is damaged"}
	}
	if signature.Format == ssh.KeyAlgoRSA {
		// The name of the RSA key type means SHA-1 here.
		return &SignatureError{Reason: SignatureUnsupported, Key: name, Detail: "its hash is SHA-1, which can be forged"}
	}
	if key.Verify(signed, &signature) != nil {
		return &SignatureError{Reason: SignatureInvalid, Key: name, Detail: "its content is not what the " + name + " signed"}
	}
	return nil
}
