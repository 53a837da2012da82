package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// PGPSuffix is the suffix of the data fields with armored PGP private keys in a decryption Secret.
const PGPSuffix = ".asc"

// maxPGPMessage limits an encrypted data key, which sops addresses to one recipient: about 2 KB for the longest RSA keys. Every
// further recipient would cost a private key operation.
const maxPGPMessage = 32 << 10

// armorStart is the start of every armored PGP block.
const armorStart = "-----BEGIN PGP "

// exportHint is the fix for most problems with PGP keys.
const exportHint = "export the key with gpg --export-secret-keys --armor"

// AddPGP adds the private keys of all armored blocks in text, as gpg --export-secret-keys --armor writes them. It skips public
// blocks. A key with a passphrase is a *KeyError.
//
// It only reads key packets. Signatures, user IDs, expiry and revocation matter for future encryption. Older messages stay
// readable, as with gpg.
func (r *Ring) AddPGP(source, text string) error {
	if !utf8.ValidString(text) {
		return &KeyError{source, "it is not text; " + exportHint}
	}
	var keys pgpKeys
	var secrets, names []string
	for _, block := range armoredBlocks(text) {
		if !strings.HasPrefix(block, armorStart+"PRIVATE KEY BLOCK-----") {
			continue
		}
		found, err := readPGP(block)
		if err != nil {
			// The library's errors can quote the key, so readPGP drops them.
			return &KeyError{source, err.Error()}
		}
		keys = append(keys, found...)
		secrets = append(secrets, armoredBody(block))
		names = append(names, pgpFingerprints(block)...)
	}
	switch {
	case len(keys) > 0:
	case strings.Contains(text, armorStart+"PUBLIC KEY BLOCK-----"):
		return &KeyError{source, "it has a public PGP key, which can't decrypt; " + exportHint}
	default:
		return &KeyError{source, "it has no PGP private key (a block that starts with " + armorStart + "PRIVATE KEY BLOCK-----); " + exportHint}
	}
	if r.pgp = append(r.pgp, keys...); len(r.pgp) > maxKeys {
		return tooManyKeys(source)
	}
	r.secrets = append(r.secrets, secrets...)
	r.pgpNames = append(r.pgpNames, names...)
	return nil
}

// armoredBlocks splits text where PGP blocks start, because the library only reads the first block.
func armoredBlocks(text string) []string {
	parts := strings.Split(text, armorStart)[1:]
	for i, part := range parts {
		parts[i] = armorStart + part
	}
	return parts
}

// armoredBody returns the secret part of a block: not its first and last line, nor headers such as Comment.
func armoredBody(block string) string {
	var body strings.Builder
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-----END ") {
			break
		}
		if line != "" && !strings.HasPrefix(line, "-----") && !strings.Contains(line, ":") {
			body.WriteString(line + "\n")
		}
	}
	return body.String()
}

// readPGP returns the keys in a private block that can decrypt. It skips keys that can only sign, and stubs of keys that are
// elsewhere (offline, on a card). It is an error if there are no others. The errors never quote the block.
func readPGP(block string) (pgpKeys, error) {
	errBroken := errors.New("it has a damaged or truncated PGP private key; " + exportHint)
	decoded, err := armor.Decode(strings.NewReader(block))
	// A block that is truncated between two packets would look complete.
	if err != nil || !strings.Contains(block, "-----END PGP PRIVATE KEY BLOCK-----") {
		return nil, errBroken
	}
	var keys pgpKeys
	packets := packet.NewOpaqueReader(decoded.Body)
	for {
		opaque, err := packets.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errBroken
		}
		if opaque.Tag != tagSecretKey && opaque.Tag != tagSecretSubkey {
			continue
		}
		parsed, err := opaque.Parse()
		if errors.As(err, new(pgperrors.UnsupportedError)) {
			continue
		}
		key, ok := parsed.(*packet.PrivateKey)
		switch {
		case err != nil || !ok:
			return nil, errBroken
		case key.Encrypted:
			return nil, fmt.Errorf("the PGP key %X has a passphrase, which Muster does not support; "+
				"remove it from a copy of the key (gpg --edit-key, passwd), then %s", key.Fingerprint, exportHint)
		case !key.Dummy() && decrypts(key.PubKeyAlgo):
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has a PGP private key that can't decrypt: the key is for signing only, of an unsupported type, or the stub " +
			"of a key that is kept elsewhere, such as on a card; " + exportHint)
	}
	return keys, nil
}

// Packet types of RFC 9580, section 5.
const (
	tagSecretKey    = 5
	tagSecretSubkey = 7
)

func decrypts(algorithm packet.PublicKeyAlgorithm) bool {
	switch algorithm {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSAEncryptOnly, packet.PubKeyAlgoElGamal, packet.PubKeyAlgoECDH,
		packet.PubKeyAlgoX25519, packet.PubKeyAlgoX448:
		return true
	default:
		return false
	}
}

// pgpKeys are private keys that can decrypt.
type pgpKeys []*packet.PrivateKey

// named returns the keys that a message may be encrypted for. A message that hides its recipient has the id 0.
func (k pgpKeys) named(id uint64) []*packet.PrivateKey {
	if id == 0 {
		return k
	}
	var named []*packet.PrivateKey
	for _, key := range k {
		if key.KeyId == id {
			named = append(named, key)
		}
	}
	return named
}

// decrypt returns the content of an armored message, or ErrNoKeyFits.
//
// It doesn't use openpgp.ReadMessage, which unpacks compressed packets inside compressed packets, 32 levels deep and to any
// size, and can't be interrupted. Here each step has all of its input in memory, at most maxPGPMessage.
func (k pgpKeys) decrypt(message []byte) ([]byte, error) {
	if len(k) == 0 || len(message) > maxPGPMessage {
		return nil, ErrNoKeyFits
	}
	block, err := armor.Decode(bytes.NewReader(message))
	if err != nil {
		return nil, ErrNoKeyFits
	}
	plain, err := k.open(packet.NewReader(block.Body))
	if err != nil {
		return nil, ErrNoKeyFits
	}
	return literal(plain, true)
}

// maxEnvelopes limits the recipients of a message. sops encrypts for one, and gpg adds those of its encrypt-to option.
const maxEnvelopes = 16

// errPGP is the error for every unreadable message. Callers only learn that no key fits.
var errPGP = errors.New("unreadable message")

// open returns the packets in an encrypted message after verifying their integrity.
func (k pgpKeys) open(packets *packet.Reader) ([]byte, error) {
	var envelopes []*packet.EncryptedKey
	for {
		next, err := packets.Next()
		if err != nil {
			return nil, err
		}
		switch p := next.(type) {
		case *packet.EncryptedKey:
			if envelopes = append(envelopes, p); len(envelopes) > maxEnvelopes {
				return nil, errPGP
			}
		case *packet.SymmetricKeyEncrypted, *packet.Padding: // it may also be encrypted with a passphrase
		case *packet.SymmetricallyEncrypted:
			if !p.IntegrityProtected {
				return nil, errPGP
			}
			return k.unlock(p, envelopes)
		case *packet.AEADEncrypted:
			return k.unlock(p, envelopes)
		default: // it is not encrypted
			return nil, errPGP
		}
	}
}

// unlock opens the data packet with the first key that fits one of the envelopes.
func (k pgpKeys) unlock(data packet.EncryptedDataPacket, envelopes []*packet.EncryptedKey) ([]byte, error) {
	for _, envelope := range envelopes {
		for _, key := range k.named(envelope.KeyId) {
			if envelope.Decrypt(key, nil) != nil {
				continue
			}
			opened, err := data.Decrypt(envelope.CipherFunc, envelope.Key)
			if err != nil {
				continue
			}
			plain, err := readAtMost(opened, maxPGPMessage)
			return plain, errors.Join(err, opened.Close()) // Close compares the checksum
		}
	}
	return nil, ErrNoKeyFits
}

// literal returns the data in decrypted packets. gpg compresses them once.
func literal(plain []byte, mayBeCompressed bool) ([]byte, error) {
	packets := packet.NewReader(bytes.NewReader(plain))
	for {
		next, err := packets.Next()
		if err != nil {
			return nil, ErrNoKeyFits
		}
		switch p := next.(type) {
		case *packet.LiteralData:
			return readDataKey(p.Body)
		case *packet.Compressed:
			unpacked, err := readAtMost(p.Body, maxPGPMessage)
			if err != nil || !mayBeCompressed {
				return nil, ErrNoKeyFits
			}
			return literal(unpacked, false)
		case *packet.OnePassSignature, *packet.Signature, *packet.Padding: // a data key needs no signature
		default:
			return nil, ErrNoKeyFits
		}
	}
}

// readAtMost reads to the end, and fails if that is beyond the limit.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errPGP
	}
	return data, err
}
