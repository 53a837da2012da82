package keys

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Opens reports whether the ring should be able to recover a data key that is encrypted for a recipient, in the form of package
// recipient. It compares public keys and asks no key service: for one, it tells whether the policy allows the key.
func (r *Ring) Opens(recipient string) bool {
	kind, name := recipientKind(recipient)
	switch kind {
	case "PGP":
		return slices.ContainsFunc(r.pgpNames, func(fingerprint string) bool { return samePGP(fingerprint, name) })
	case "AWS KMS":
		return allowed(r.policy.AWSKeys, name)
	case "GCP KMS":
		return allowed(r.policy.GCPKeys, name)
	case "Azure Key Vault": // without its version
		return allowed(r.policy.AzureKeys, name+"/") ||
			slices.ContainsFunc(r.policy.AzureKeys, func(entry string) bool { return strings.HasPrefix(entry, name+"/") })
	case "Vault":
		address, _, _ := strings.Cut(name, "/v1/")
		canonical, ok := vaultAddress(address)
		return ok && r.policy.allowsVault(canonical)
	}
	return slices.ContainsFunc(r.age, func(identity age.Identity) bool { return recipientOf(identity) == recipient })
}

// recipientKind splits the form of a recipient. The kind of an age recipient is empty.
func recipientKind(recipient string) (kind, name string) {
	for _, kind := range []string{"PGP", "AWS KMS", "GCP KMS", "Azure Key Vault", "Vault"} {
		if name, ok := strings.CutPrefix(recipient, kind+" "); ok {
			return kind, name
		}
	}
	return "", recipient
}

// samePGP compares fingerprints in hex. Files may name a key by the end of its fingerprint, at least the 16 digits of its ID.
func samePGP(fingerprint, name string) bool {
	const shortest = 16
	return len(name) >= shortest && strings.HasSuffix(fingerprint, name)
}

// recipientOf is the public key of an identity, or "" for one of a kind that has none.
func recipientOf(identity age.Identity) string {
	switch identity := identity.(type) {
	case *age.X25519Identity:
		return identity.Recipient().String()
	case *age.HybridIdentity:
		return identity.Recipient().String()
	}
	return ""
}

// pgpFingerprints are those of all private keys in a block. sops names the primary key, which need not be one that decrypts.
func pgpFingerprints(block string) []string {
	decoded, err := armor.Decode(bytes.NewReader([]byte(block)))
	if err != nil {
		return nil
	}
	var names []string
	for packets := packet.NewOpaqueReader(decoded.Body); ; {
		opaque, err := packets.Next()
		if err != nil {
			return names
		}
		if opaque.Tag != tagSecretKey && opaque.Tag != tagSecretSubkey {
			continue
		}
		if parsed, err := opaque.Parse(); err == nil {
			if key, ok := parsed.(*packet.PrivateKey); ok {
				names = append(names, fmt.Sprintf("%X", key.Fingerprint))
			}
		}
	}
}
