package gitsync

import (
	"bytes"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // to reject keys
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	pgpSignatureStart = "-----BEGIN PGP SIGNATURE-----"
	pgpKeyStart       = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
)

// minRSABits is the minimum of NIST SP 800-131A.
const minRSABits = 2048

func (v *Verifier) addPGP(field, text string) error {
	// The library reads one block and ignores the rest; exports are often appended to each other.
	blocks := strings.Split(text, pgpKeyStart)
	if len(blocks) < 2 || strings.TrimSpace(blocks[0]) != "" {
		return &KeyError{Field: field, Problem: "is not an armored PGP public key", Remedy: "export it with gpg --armor --export KEY"}
	}
	for _, block := range blocks[1:] {
		if hasLongPGPKey(pgpKeyStart + block) {
			return &KeyError{Field: field, Problem: fmt.Sprintf("contains a PGP key with more than %d bits", maxPGPBits), Remedy: "use a key of a usual length"}
		}
		list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(pgpKeyStart + block))
		if err != nil || len(list) == 0 {
			return &KeyError{Field: field, Problem: "contains an unreadable PGP public key", Remedy: "export it again with gpg --armor --export KEY"}
		}
		for _, entity := range list {
			if err := checkPGPKey(field, entity); err != nil {
				return err
			}
		}
		v.pgp = append(v.pgp, list...)
	}
	return nil
}

// Limits above any key in use. To read a keyring, the library verifies every signature in it: with a DSA key of 65,535 bits,
// one signature takes minutes.
const (
	maxPGPBits = 16_384
	maxDSABits = 512 // of the exponents
)

// hasLongPGPKey reads the packets of an armored block before any of its signatures is verified. Unreadable packets are left
// to the library.
func hasLongPGPKey(block string) bool {
	decoded, err := armor.Decode(strings.NewReader(block))
	if err != nil {
		return false
	}
	for packets := packet.NewOpaqueReader(decoded.Body); ; {
		opaque, err := packets.Next()
		if err != nil {
			return false
		}
		parsed, err := opaque.Parse()
		key, isKey := parsed.(*packet.PublicKey)
		if err != nil || !isKey {
			continue
		}
		bits, err := key.BitLength()
		signer, isDSA := key.PublicKey.(*dsa.PublicKey)
		if err == nil && bits > maxPGPBits || isDSA && signer.Q.BitLen() > maxDSABits {
			return true
		}
	}
}

func checkPGPKey(field string, entity *openpgp.Entity) error {
	name := fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)
	if self, _ := entity.PrimarySelfSignature(); self == nil {
		return &KeyError{Field: field, Problem: "contains the PGP key " + name + " without a self-signature", Remedy: "export it again with gpg --armor --export KEY"}
	}
	keys := []*packet.PublicKey{entity.PrimaryKey}
	for _, sub := range entity.Subkeys {
		keys = append(keys, sub.PublicKey)
	}
	for _, key := range keys {
		bits, err := key.BitLength()
		isRSA := key.PubKeyAlgo == packet.PubKeyAlgoRSA || key.PubKeyAlgo == packet.PubKeyAlgoRSASignOnly
		if isRSA && (err != nil || bits < minRSABits) {
			return &KeyError{Field: field, Problem: fmt.Sprintf("contains the PGP key %s, an RSA key with fewer than %d bits", name, minRSABits), Remedy: "use a stronger key"}
		}
	}
	return nil
}

// verifyPGP returns nil for a good signature. A key may be present more than once, as exports of different days: one of them
// may be revoked or extended.
func (v *Verifier) verifyPGP(signature string, payload []byte, now time.Time) *SignatureError {
	raw, claimed, err := readPGPSignature(signature)
	if err != nil {
		return pgpFault(err, "")
	}
	var fault *SignatureError
	good := false
	for _, copied := range v.pgp {
		switch failure := verifyPGPBy(openpgp.EntityList{copied}, raw, claimed, payload, now); {
		case failure == nil:
			good = true
		case failure.Reason == SignerRevoked:
			return failure
		case fault == nil || fault.Reason == SignerUnknown:
			fault = failure
		}
	}
	switch {
	case good:
		return nil
	case fault == nil:
		return pgpFault(pgperrors.ErrUnknownIssuer, claimed)
	}
	return fault
}

func verifyPGPBy(key openpgp.EntityList, raw []byte, claimed string, payload []byte, now time.Time) *SignatureError {
	config := &packet.Config{Time: func() time.Time { return now }}
	sig, signer, err := openpgp.VerifyDetachedSignature(key, bytes.NewReader(payload), bytes.NewReader(raw), config)
	// Of all errors of a key, expiry comes last: the signature is valid, and the key is not revoked.
	if errors.Is(err, pgperrors.ErrKeyExpired) && sig != nil && !sig.SigExpired(now) && !expiredAt(signer, sig) {
		err = nil
	}
	if err != nil {
		return pgpFault(err, claimed)
	}
	switch sig.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA224, crypto.SHA3_256, crypto.SHA3_512:
		return nil
	}
	return &SignatureError{Reason: SignatureUnsupported, Key: claimed, Detail: "its hash is " + sig.Hash.String() + ", which can be forged"}
}

// expiredAt reports whether the key had expired, or did not exist yet, when it made the signature.
func expiredAt(signer *openpgp.Entity, sig *packet.Signature) bool {
	self, _ := signer.PrimarySelfSignature()
	if signer.PrimaryKey.KeyExpired(self, sig.CreationTime) {
		return true
	}
	for _, sub := range signer.Subkeys {
		if sub.PublicKey.KeyId == *sig.IssuerKeyId && sub.PublicKey.KeyExpired(sub.Sig, sig.CreationTime) {
			return true
		}
	}
	return false
}

// readPGPSignature removes the armor, and names the key that the signature claims to be made with.
func readPGPSignature(signature string) (raw []byte, claimed string, err error) {
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return nil, "", pgperrors.StructuralError("the armor is damaged")
	}
	if raw, err = io.ReadAll(block.Body); err != nil {
		return nil, "", pgperrors.StructuralError("the armor is damaged")
	}
	p, err := packet.Read(bytes.NewReader(raw))
	if err != nil {
		return nil, "", err
	}
	sig, ok := p.(*packet.Signature)
	switch {
	case !ok:
		return nil, "", pgperrors.StructuralError("it is not a signature packet")
	case len(sig.IssuerFingerprint) > 0:
		return raw, fmt.Sprintf("PGP key %X", sig.IssuerFingerprint), nil
	case sig.IssuerKeyId != nil:
		return raw, fmt.Sprintf("PGP key %016X", *sig.IssuerKeyId), nil
	}
	return nil, "", pgperrors.StructuralError("it does not name its key")
}

func pgpFault(err error, claimed string) *SignatureError {
	f := &SignatureError{Reason: SignatureInvalid, Key: claimed}
	var (
		unsupported pgperrors.UnsupportedError
		mismatch    pgperrors.SignatureError
	)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		f.Reason = SignerUnknown
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		f.Reason = SignerRevoked
	case errors.Is(err, pgperrors.ErrKeyExpired):
		f.Reason = SignerExpired
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		f.Reason, f.Detail = SignerExpired, "the signature has expired, or was made in the future"
	case errors.As(err, &unsupported):
		f.Reason, f.Detail = SignatureUnsupported, tidy(err.Error())
	case errors.As(err, &mismatch):
		f.Detail = "its content is not what the " + claimed + " signed"
	default:
		f.Detail = tidy(err.Error())
	}
	return f
}
