package keys_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/keys"
)

// TestPGPSubkeyOfAnother: whoever writes .sops.pub.asc can sign a recipient's key as a subkey of a key of their own. The data key must
// not be encrypted for their other subkey.
func TestPGPSubkeyOfAnother(t *testing.T) {
	alice, mallory := newEntity(t), newEntity(t)
	public := map[string]*packet.PublicKey{"primary key": alice.PrimaryKey, "subkey": alice.Subkeys[0].PublicKey}
	for _, row := range []struct {
		reason, recipient string
		ring              []*openpgp.Entity
		opens             *openpgp.Entity // nil if it is refused
	}{
		{"the key itself", "primary key", []*openpgp.Entity{alice}, alice},
		{"its subkey", "subkey", []*openpgp.Entity{alice}, alice},
		{"a subkey of another key", "subkey", []*openpgp.Entity{adopting(t, mallory, public["subkey"])}, alice},
		{"a primary key as a subkey of another key", "primary key", []*openpgp.Entity{adopting(t, mallory, public["primary key"])}, alice},
		{"only another key", "subkey", []*openpgp.Entity{mallory}, nil},
		{"the key itself comes first", "primary key", []*openpgp.Entity{adopting(t, mallory, public["primary key"]), alice}, alice},
	} {
		var ring keys.Ring
		if err := ring.AddPublicPGP(".sops.pub.asc", armoredPublic(t, row.ring...)); err != nil {
			t.Fatal(err)
		}
		fingerprint := hex.EncodeToString(public[row.recipient].Fingerprint)
		answer, err := ring.Encrypt(t.Context(), &keyservice.EncryptRequest{Plaintext: []byte("data key"),
			Key: &keyservice.Key{KeyType: &keyservice.Key_PgpKey{PgpKey: &keyservice.PgpKey{Fingerprint: fingerprint}}}})
		if (err == nil) != (row.opens != nil) {
			t.Errorf("%s: %v", row.reason, err)
		}
		for name, entity := range map[string]*openpgp.Entity{"alice": alice, "mallory": mallory} {
			if err == nil && readsWith(t, entity, answer.GetCiphertext()) != (entity == row.opens) {
				t.Errorf("%s: %s opens it: %v", row.reason, name, entity != row.opens)
			}
		}
	}
}

func newEntity(t *testing.T) *openpgp.Entity {
	t.Helper()
	entity, err := openpgp.NewEntity("x", "", "x@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return entity
}

// adopting returns a copy of the key with another's public key as one more subkey, which is older than its own.
func adopting(t *testing.T, e *openpgp.Entity, other *packet.PublicKey) *openpgp.Entity {
	t.Helper()
	subkey := *other
	subkey.IsSubkey = true
	binding := &packet.Signature{Version: e.PrimaryKey.Version, SigType: packet.SigTypeSubkeyBinding, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo,
		Hash: (&packet.Config{}).Hash(), CreationTime: time.Now().Add(-time.Hour), FlagsValid: true, FlagEncryptCommunications: true, IssuerKeyId: &e.PrimaryKey.KeyId}
	if err := binding.SignKey(&subkey, e.PrivateKey, nil); err != nil {
		t.Fatal(err)
	}
	with := *e
	with.Subkeys = append([]openpgp.Subkey{{PublicKey: &subkey, Sig: binding}}, e.Subkeys...)
	return &with
}

func armoredPublic(t *testing.T, entities ...*openpgp.Entity) string {
	t.Helper()
	var out strings.Builder
	for _, e := range entities {
		w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
		if err == nil {
			err = e.Serialize(w)
		}
		if err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func readsWith(t *testing.T, e *openpgp.Entity, message []byte) bool {
	t.Helper()
	block, err := armor.Decode(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	_, err = openpgp.ReadMessage(block.Body, openpgp.EntityList{e}, nil, nil)
	return err == nil
}
