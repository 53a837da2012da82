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

// keyOf returns the key in a secret, and whether it is one for Standard Webhooks. Errors don't repeat the secret.
func keyOf(secret []byte) (key []byte, standard bool, err error) {
	encoded, standard := strings.CutPrefix(string(secret), "whsec_")
	if key = secret; standard {
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, true, errors.New("what follows whsec_ is not base64; take the signing token as the forge shows it")
		}
	}
	if len(key) < MinSecretLength {
		return nil, standard, fmt.Errorf("it has %d bytes, and at least %d are needed; make one with: openssl rand -hex 32", len(key), MinSecretLength)
	}
	return key, standard, nil
}

// CheckSecret says what makes a secret useless, without repeating it.
func CheckSecret(secret []byte) error {
	_, _, err := keyOf(secret)
	return err
}

// verifier checks a delivery while its body passes by. It does the same work whatever the secrets are, and whether there are
// any: where one is missing or is of another kind than the signature, a random key that never counts takes its place.
type verifier struct {
	credentials credentials
	slots       [MaxSecrets]slot
	// signed says that one of the secrets is for Standard Webhooks, so that the plain token of a delivery that is signed in
	// this way is not looked at.
	signed bool
}

// slot is the place of one secret.
type slot struct {
	mac         hash.Hash // nil when nothing in the delivery depends on the body
	macCounts   bool
	token       []byte
	tokenCounts bool
}

// verifier starts the check of a delivery to a target that takes it only from this provider.
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

// slot puts a key where the delivery can be checked with it, if it can.
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

// needsBody says whether the outcome depends on the body. It follows from the headers alone.
func (v *verifier) needsBody() bool { return len(v.credentials.macs) > 0 }

// Write takes a part of the body.
func (v *verifier) Write(p []byte) (int, error) {
	for _, s := range v.slots {
		if s.mac != nil {
			s.mac.Write(p)
		}
	}
	return len(p), nil
}

// ok says, after the whole body, whether the delivery is of somebody who has one of the secrets.
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
		// Hashes have one length, so that the time says nothing about the length of the token.
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

// accepts says whether a delivery of this kind may be for the target. Gitea and Forgejo go together: the one was the other,
// and their signatures are the same.
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

// hostedBy knows the public forges, so that with auto nobody can use the form of another one there. The list is short on
// purpose: for all others it is Auto.
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
