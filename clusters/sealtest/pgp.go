package sealtest

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	sopskeys "github.com/getsops/sops/v3/keys"
	sopspgp "github.com/getsops/sops/v3/pgp"
)

// PGPKey is an OpenPGP key pair: a primary key for signing and a subkey for encryption.
type PGPKey struct {
	t testing.TB
	// Entity may be modified by tests.
	Entity *openpgp.Entity
	config packet.Config
}

// NewPGPKey creates a key from 2025, with Curve25519 unless an option says otherwise. Messages to it are from the same time, and
// compressed, as gpg does.
func NewPGPKey(t testing.TB, options ...func(*packet.Config)) *PGPKey {
	t.Helper()
	config := packet.Config{
		Algorithm:              packet.PubKeyAlgoEdDSA,
		DefaultCompressionAlgo: packet.CompressionZLIB,
		Time:                   func() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) },
	}
	for _, option := range options {
		option(&config)
	}
	entity, err := openpgp.NewEntity("Test", "", "test@example.com", &config)
	if err != nil {
		t.Fatal(err)
	}
	return &PGPKey{t, entity, config}
}

// Fingerprint is the recipient as sops names it.
func (k *PGPKey) Fingerprint() string { return fmt.Sprintf("%X", k.Entity.PrimaryKey.Fingerprint) }

// Private is the key as gpg --export-secret-keys --armor writes it.
func (k *PGPKey) Private() string {
	return k.armored(openpgp.PrivateKeyType, func(w io.Writer) error { return k.Entity.SerializePrivateWithoutSigning(w, &k.config) })
}

// Public is the key as gpg --export --armor writes it.
func (k *PGPKey) Public() string { return k.armored(openpgp.PublicKeyType, k.Entity.Serialize) }

func (k *PGPKey) armored(kind string, write func(io.Writer) error) string {
	k.t.Helper()
	text, err := armored(kind, write)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func (k *PGPKey) master() sopskeys.MasterKey {
	return sopspgp.NewMasterKeyFromFingerprint(k.Fingerprint())
}

func (k *PGPKey) encrypt(dataKey []byte) ([]byte, error) {
	return armored("PGP MESSAGE", func(w io.Writer) error {
		plain, err := openpgp.Encrypt(w, []*openpgp.Entity{k.Entity}, nil, &openpgp.FileHints{IsBinary: true}, &k.config)
		if err != nil {
			return err
		}
		if _, err := plain.Write(dataKey); err != nil {
			return err
		}
		return plain.Close()
	})
}
