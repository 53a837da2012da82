package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strings"
)

// keyOf returns the key in a secret, and reports whether it is one for Standard Webhooks. Errors don't repeat the secret.
func keyOf(secret []byte) (key []byte, standard bool, err error) {
	encoded, standard := strings.CutPrefix(string(secret), "whsec_")
	if key = secret; standard {
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, true, errors.New("the part after whsec_ is not base64; copy the signing token exactly as the forge shows it")
		}
	}
	if len(key) < MinSecretLength {
		return nil, standard, fmt.Errorf("it has %d bytes, but needs at least %d; generate one with: openssl rand -hex 32", len(key), MinSecretLength)
	}
	return key, standard, nil
}

// CheckSecret reports why a secret can't be used, without repeating it.
func CheckSecret(secret []byte) error {
	_, _, err := keyOf(secret)
	return err
}

// verifier checks a delivery while its body is read. It does the same work whatever the secrets are, and even if there are
// none: a random key that never counts replaces a missing secret, or one of another kind than the signature.
type verifier struct {
	credentials credentials
	slots       [MaxSecrets]slot
	// signed reports that one of the secrets is for Standard Webhooks, so that the plain token of a delivery with such a
	// signature is ignored.
	signed bool
}

// slot is the check for one secret.
type slot struct {
	mac         hash.Hash // nil if nothing in the delivery depends on the body
	macCounts   bool
	token       []byte
	tokenCounts bool
}

// verifier starts the check of a delivery to a target, which may accept only this provider.
func (c credentials) verifier(t Target) *verifier {
	v := &verifier{credentials: c}
	secrets := t.Secrets
	if !t.accepts(c.provider) {
		secrets = nil
	}
	for i := range v.slots {
		var secret []byte
		if i < len(secrets) {
			secret = secrets[i]
		}
		key, standard, err := keyOf(secret)
		v.signed = v.signed || standard && err == nil
		v.slots[i] = c.slot(key, standard, err == nil)
	}
	return v
}

// slot prepares the check with a key, if the key can verify the delivery.
func (c credentials) slot(key []byte, standard, usable bool) slot {
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // never fails
	s := slot{token: random, macCounts: usable && standard == c.standard, tokenCounts: usable && !standard && c.hasToken}
	if s.tokenCounts {
		s.token = key
	}
	if !s.macCounts {
		key = random
	}
	if len(c.macs) > 0 {
		s.mac = hmac.New(sha256.New, key)
		s.mac.Write([]byte(c.prefix))
	}
	return s
}

// needsBody reports whether the result depends on the body. Only the headers decide that.
func (v *verifier) needsBody() bool { return len(v.credentials.macs) > 0 }

// Write adds a part of the body.
func (v *verifier) Write(p []byte) (int, error) {
	for _, s := range v.slots {
		if s.mac != nil {
			s.mac.Write(p)
		}
	}
	return len(p), nil
}

// ok reports, after the whole body, whether the sender has one of the secrets.
func (v *verifier) ok() bool {
	byMAC, byToken := 0, 0
	given := sha256.Sum256([]byte(v.credentials.token))
	for _, s := range v.slots {
		if s.mac != nil {
			sum := s.mac.Sum(nil)
			for _, mac := range v.credentials.macs {
				byMAC |= subtle.ConstantTimeCompare(sum, mac) & count(s.macCounts)
			}
		}
		// Hashes have one length, so that the timing does not reveal the length of the token.
		token := sha256.Sum256(s.token)
		byToken |= subtle.ConstantTimeCompare(given[:], token[:]) & count(s.tokenCounts)
	}
	if v.credentials.standard && v.signed {
		return byMAC == 1
	}
	return byMAC|byToken == 1
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// accepts reports whether a delivery of this kind may be for the target. Gitea and Forgejo are equivalent: Forgejo is a fork
// of Gitea, and their signatures are the same.
func (t Target) accepts(p Provider) bool {
	want := t.Provider
	if want == Auto || want == "" {
		want = hostedBy(t.RepositoryURL)
	}
	switch want {
	case Auto:
		return true
	case Gitea, Forgejo:
		return p == Gitea || p == Forgejo
	default:
		return p == want
	}
}

// hostedBy knows the public forges, so that with Auto a sender can't use the format of another forge there. The list is
// short on purpose: all other hosts are Auto.
func hostedBy(repository string) Provider {
	u, err := url.Parse(repository)
	if err != nil {
		return Auto
	}
	switch strings.ToLower(u.Hostname()) {
	case "github.com", "ssh.github.com":
		return GitHub
	case "gitlab.com", "altssh.gitlab.com":
		return GitLab
	case "codeberg.org":
		return Forgejo
	case "gitea.com":
		return Gitea
	default:
		return Auto
	}
}
