package keys

import (
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// PGPTerm is how long data keys can be encrypted for a public PGP key. What is encrypted by then stays readable.
type PGPTerm struct {
	// Fingerprint is that of the primary key.
	Fingerprint string
	// From is when the key was made that ends first: the primary key, or the subkey for encryption. Until is when it ends.
	From, Until time.Time
}

// PGPTerms returns the terms of the public keys that have an end. It skips those that can't encrypt any more: the error of
// encrypting tells about them.
func (r *Ring) PGPTerms(now time.Time) []PGPTerm {
	var terms []PGPTerm
	for _, e := range r.public {
		key, ok := e.EncryptionKey(now)
		if !ok {
			continue
		}
		term := PGPTerm{Fingerprint: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)}
		self, _ := e.PrimarySelfSignature()
		term.end(e.PrimaryKey, self)
		term.end(key.PublicKey, key.SelfSignature)
		if !term.Until.IsZero() {
			terms = append(terms, term)
		}
	}
	return terms
}

// end notes the end of a key, if it has one that is earlier.
func (t *PGPTerm) end(key *packet.PublicKey, self *packet.Signature) {
	if self == nil || self.KeyLifetimeSecs == nil || *self.KeyLifetimeSecs == 0 {
		return
	}
	until := key.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs) * time.Second)
	if t.Until.IsZero() || until.Before(t.Until) {
		t.From, t.Until = key.CreationTime, until
	}
}
