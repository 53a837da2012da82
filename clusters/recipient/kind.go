package recipient

import (
	"regexp"
	"strings"
)

// kind is a kind of recipient: what its normal form begins with, and the form of the rest.
type kind struct {
	name, prefix string
	form         *regexp.Regexp
}

var kinds = []kind{
	{"age", "age1", regexp.MustCompile(`^[0-9a-z.+_-]+$`)}, // plugins have their names in it
	{"SSH", "ssh-", regexp.MustCompile(`^(ed25519|rsa) AAAA[0-9A-Za-z+/=]*$`)},
	{"PGP", pgpPrefix, regexp.MustCompile(`^[0-9A-F]{4,64}$`)},
	{"AWS KMS", "AWS KMS ", regexp.MustCompile(`^arn:[\w:/.-]+$`)},
	{"GCP KMS", "GCP KMS ", regexp.MustCompile(`^projects/[\w:/.-]+$`)},
	{"HuaweiCloud KMS", "HuaweiCloud KMS ", regexp.MustCompile(`^[0-9a-z-]+:[\w-]+$`)},
	{"Azure Key Vault", "Azure Key Vault ", regexp.MustCompile(`^https?://[\w.-]+(:\d+)?/keys/[\w-]+$`)},
	{"Vault", "Vault ", regexp.MustCompile(`^https?://([\w.-]+|\[[0-9a-f:]+\])(:\d+)?(/[\w./-]*)?$`)},
}

// unreadable replaces a recipient that is not printed.
const unreadable = "an unreadable recipient"

// Kind returns the kind of a recipient in normal form, such as "age" or "AWS KMS"; "" if it is unreadable.
func Kind(recipient string) string {
	if k, ok := kindOf(recipient); ok {
		return k.name
	}
	return ""
}

// kindOf returns the kind that the normal form names. It returns false if the rest is no recipient of that kind.
func kindOf(recipient string) (k kind, ok bool) {
	for _, k := range kinds {
		if rest, found := strings.CutPrefix(recipient, k.prefix); found {
			return k, k.form.MatchString(rest)
		}
	}
	return kind{}, false
}

// maxShown is how many characters of a recipient are printed. Post-quantum age recipients have some 2,000.
const maxShown = 72

// Show returns a recipient in a form that is safe to print, and short.
func Show(recipient string) string {
	full := Full(recipient)
	if len(full) > maxShown {
		return full[:maxShown] + "…"
	}
	return full
}

// Full returns a recipient in a form that is safe to print. A file may have anything in its place, even a private key or a
// password, so only what has the form of a recipient is printed.
func Full(recipient string) string {
	switch k, ok := kindOf(recipient); {
	case ok:
		return recipient
	case k.prefix != "":
		return unreadable + " (" + strings.TrimSpace(k.prefix) + ")"
	}
	return unreadable
}

// hexKey matches a PGP fingerprint or key ID, as gpg prints them.
var hexKey = regexp.MustCompile(`^(0[xX])?[0-9A-Fa-f ]{8,80}$`)

// Parse returns the normal form of a recipient as people write it in .sops.yaml, or as Full prints it. It returns false for a
// text that is no recipient.
func Parse(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if _, ok := kindOf(text); ok && !strings.HasPrefix(text, "ssh-") {
		return text, true
	}
	var normal string
	switch {
	case strings.HasPrefix(text, "age1"), strings.HasPrefix(text, "ssh-"):
		normal = ageForm(text)
	case hexKey.MatchString(text):
		normal = pgpForm(text)
	case strings.HasPrefix(text, "arn:"):
		normal = kmsForm(text)
	case strings.HasPrefix(text, "projects/"):
		normal = gcpForm(text)
	case strings.Contains(text, "://") && strings.Contains(text, "/v1/"):
		normal = vaultForm(text)
	case strings.Contains(text, "://"):
		normal = azureURI(text)
	default:
		normal = huaweiForm(text)
	}
	_, ok := kindOf(normal)
	return normal, ok
}
