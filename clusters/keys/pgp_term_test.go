package keys_test

import (
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestPGPTerms: a key ends with its primary key or its subkey for encryption, whichever is first.
func TestPGPTerms(t *testing.T) {
	lasting := func(lifetime time.Duration) *openpgp.Entity {
		return sealtest.NewPGPKey(t, func(c *packet.Config) { c.KeyLifetimeSecs = uint32(lifetime.Seconds()) }).Entity
	}
	const day = 24 * time.Hour
	withSubkey := func(e *openpgp.Entity, lifetime time.Duration) *openpgp.Entity {
		e.Subkeys = nil
		if err := e.AddEncryptionSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(lifetime.Seconds()),
			Time: func() time.Time { return e.PrimaryKey.CreationTime }}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, test := range []struct {
		reason string
		key    *openpgp.Entity
		after  time.Duration
		want   time.Duration // from the key's creation; 0 for none
	}{
		{"no end", lasting(0), 0, 0},
		{"an end", lasting(90 * day), 0, 90 * day},
		{"over", lasting(90 * day), 91 * day, 0},
		{"the subkey ends first", withSubkey(lasting(90*day), 30*day), 0, 30 * day},
		{"the primary key ends first", withSubkey(lasting(90*day), 900*day), 0, 90 * day},
		{"only the subkey ends", withSubkey(lasting(0), 30*day), 0, 30 * day},
	} {
		ring := &keys.Ring{}
		if err := ring.AddPublicPGP("k.asc", armoredPublic(t, test.key)); err != nil {
			t.Fatal(err)
		}
		made := test.key.PrimaryKey.CreationTime
		terms := ring.PGPTerms(made.Add(test.after).Add(time.Minute))
		if test.want == 0 {
			if len(terms) != 0 {
				t.Errorf("%s: %+v", test.reason, terms)
			}
			continue
		}
		if len(terms) != 1 || terms[0].Until.Sub(made).Round(time.Minute) != test.want || terms[0].From.Before(made) || len(terms[0].Fingerprint) != 40 {
			t.Errorf("%s: %+v, want an end %s after %s", test.reason, terms, test.want, made)
		}
	}
}
