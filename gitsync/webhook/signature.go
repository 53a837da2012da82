package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// credentials are what a delivery presents to prove its origin, and the headers that identify it.
type credentials struct {
	provider Provider
	// event is the forge's name for the change, delivery its id for this message. Most signatures cover neither, so nothing
	// may depend on them.
	event, delivery string
	// macs are signatures over prefix and body. Any of them may match.
	macs   [][]byte
	prefix string
	// standard reports that they are those of Standard Webhooks, made with a whsec_ key.
	standard bool
	// token is GitLab's plain secret.
	token    string
	hasToken bool
}

// Limits for headers.
const (
	maxHeader     = 4096
	maxSignatures = 16
	// tolerance is how far a signed time may be off. The reference implementation of Standard Webhooks has the same.
	tolerance = 5 * time.Minute
)

// The names of headers. Forgejo also sends those of Gitea and GitHub, Gitea those of GitHub, each with the same HMAC.
const (
	headerSignature    = "X-Signature"
	headerHub          = "X-Hub-Signature"
	headerHub256       = "X-Hub-Signature-256"
	headerGitLabToken  = "X-Gitlab-Token"
	headerStandard     = "Webhook-Signature"
	headerStandardID   = "Webhook-Id"
	headerStandardTime = "Webhook-Timestamp"
)

// credentialsError is an error in the headers themselves, whatever the receiver.
type credentialsError string

func (b credentialsError) Error() string { return string(b) }

// readCredentials reads the signature from the headers. Its errors are of the type credentialsError: they depend only on the
// request, so the sender may see them.
func readCredentials(h http.Header, now time.Time) (credentials, error) {
	for name, values := range h {
		if isCredential(name) && len(values) > 1 {
			return credentials{}, credentialsError("the header " + name + " is present more than once")
		}
	}
	provider, err := providerOf(h)
	if err != nil {
		return credentials{}, err
	}
	c := credentials{provider: provider}
	switch provider {
	case GitLab:
		return c.gitLab(h, now)
	case Forgejo:
		return c.plainHex(h, "Forgejo")
	case Gitea:
		return c.plainHex(h, "Gitea")
	case GitHub:
		return c.gitHub(h)
	default:
		return c.generic(h, now)
	}
}

func isCredential(name string) bool {
	for _, prefix := range []string{"X-Github-", "X-Gitlab-", "X-Gitea-", "X-Forgejo-", "X-Hub-", "Webhook-", headerSignature, "Content-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// providerOf identifies the forge by the headers. It rejects a combination of two forges, so that a sender can't choose the
// weaker check.
func providerOf(h http.Header) (Provider, error) {
	has := func(names ...string) bool {
		for _, n := range names {
			if h.Get(n) != "" {
				return true
			}
		}
		return false
	}
	var found []Provider
	switch {
	case has("X-Forgejo-Event", "X-Forgejo-Signature"):
		found = append(found, Forgejo)
	case has("X-Gitea-Event", "X-Gitea-Signature"):
		found = append(found, Gitea)
	case has("X-GitHub-Event"):
		found = append(found, GitHub)
	}
	if has("X-Gitlab-Event", headerGitLabToken) {
		found = append(found, GitLab)
	}
	if len(found) == 0 && has(headerSignature, headerHub256, headerHub, headerStandard) {
		found = append(found, Generic)
	}
	switch {
	case len(found) == 0:
		return "", credentialsError("the delivery has no signature; set a secret in the webhook's settings on the forge")
	case len(found) > 1 || found[0] != Generic && found[0] != GitLab && has(headerStandard),
		(found[0] == GitLab || found[0] == Generic && has(headerStandard)) && has(headerHub, headerHub256, headerSignature):
		return "", credentialsError("the delivery has the headers of more than one kind of webhook")
	}
	return found[0], nil
}

func (c credentials) gitHub(h http.Header) (credentials, error) {
	c.event, c.delivery = h.Get("X-GitHub-Event"), h.Get("X-GitHub-Delivery")
	value := h.Get(headerHub256)
	if value == "" && h.Get(headerHub) != "" {
		return c, credentialsError("the delivery is signed with SHA-1 only; X-Hub-Signature-256 is required")
	}
	return c.prefixedHex(headerHub256, value)
}

// plainHex reads the signatures of Gitea and Forgejo. Another header can't make up for an invalid one.
func (c credentials) plainHex(h http.Header, forge string) (credentials, error) {
	c.event, c.delivery = h.Get("X-"+forge+"-Event"), h.Get("X-"+forge+"-Delivery")
	name := "X-" + forge + "-Signature"
	value := h.Get(name)
	if value == "" {
		return c, credentialsError("the delivery has no " + name + "; set a secret in the webhook's settings on the forge")
	}
	mac, err := decodeHex(name, value)
	c.macs = [][]byte{mac}
	return c, err
}

func (c credentials) gitLab(h http.Header, now time.Time) (credentials, error) {
	c.event = h.Get("X-Gitlab-Event")
	c.token = h.Get(headerGitLabToken)
	c.hasToken = c.token != ""
	// GitLab's id of a delivery is in the first of these since 19.0, in the second since 17.4, in the third before.
	for _, name := range []string{headerStandardID, "Idempotency-Key", "X-Gitlab-Event-UUID"} {
		if c.delivery = h.Get(name); c.delivery != "" {
			break
		}
	}
	switch {
	case h.Get(headerStandard) != "":
		return c.standardWebhooks(h, now)
	case !c.hasToken:
		return c, credentialsError("the delivery has neither webhook-signature nor X-Gitlab-Token; set a signing token in the webhook's settings on the forge")
	case len(c.token) > maxHeader:
		return c, credentialsError("X-Gitlab-Token is too long")
	}
	return c, nil
}

// generic accepts Standard Webhooks, and the HMAC-SHA256 of the body in X-Signature (as in Flux), in X-Hub-Signature (as in
// Bitbucket) or in X-Hub-Signature-256.
func (c credentials) generic(h http.Header, now time.Time) (credentials, error) {
	c.event = "push"
	if h.Get(headerStandard) != "" {
		return c.standardWebhooks(h, now)
	}
	c.delivery = h.Get("X-Request-UUID") // Bitbucket's
	name := headerSignature
	switch {
	case h.Get(headerSignature) != "" && h.Get(headerHub)+h.Get(headerHub256) != "":
		return c, credentialsError("the delivery has more than one signature")
	case h.Get(headerHub256) != "":
		name = headerHub256 // next to it, X-Hub-Signature is SHA-1
	case h.Get(headerHub) != "":
		name = headerHub
	}
	return c.prefixedHex(name, h.Get(name))
}

func (c credentials) prefixedHex(name, value string) (credentials, error) {
	if value == "" {
		return c, credentialsError("the delivery has no " + name + "; set a secret in the webhook's settings on the forge")
	}
	digits, ok := strings.CutPrefix(value, "sha256=")
	if !ok {
		return c, credentialsError(name + " is not sha256=…, the only accepted algorithm")
	}
	mac, err := decodeHex(name, digits)
	c.macs = [][]byte{mac}
	return c, err
}

func decodeHex(name, digits string) ([]byte, error) {
	if len(digits) != 2*sha256.Size {
		return nil, credentialsError(name + " does not have 64 hex digits; it may have been cut off")
	}
	mac, err := hex.DecodeString(digits)
	if err != nil {
		return nil, credentialsError(name + " is not hexadecimal")
	}
	return mac, nil
}

// standardWebhooks reads the format of the Standard Webhooks specification, which GitLab calls signing token: base64 HMACs
// over "id.timestamp.body", separated by spaces, each after the version v1. Other versions are ignored.
func (c credentials) standardWebhooks(h http.Header, now time.Time) (credentials, error) {
	id, at, value := h.Get(headerStandardID), h.Get(headerStandardTime), h.Get(headerStandard)
	if id == "" || at == "" || len(id)+len(at)+len(value) > maxHeader {
		return c, credentialsError("webhook-signature needs webhook-id and webhook-timestamp, and all of them must be short")
	}
	// Dots join the signed parts. A dot in the id would allow moving text from one part to the other.
	if strings.Contains(id, ".") {
		return c, credentialsError("webhook-id contains a dot")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || len(at) > 12 {
		return c, credentialsError("webhook-timestamp is not a Unix time in seconds")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return c, credentialsError("webhook-timestamp is more than 5 minutes off; the delivery is old, or a clock is wrong")
	}
	for entry := range strings.FieldsSeq(value) {
		version, encoded, _ := strings.Cut(entry, ",")
		if version != "v1" {
			continue
		}
		mac, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(mac) != sha256.Size {
			return c, credentialsError("webhook-signature contains something other than a base64 HMAC-SHA256")
		}
		if c.macs = append(c.macs, mac); len(c.macs) > maxSignatures {
			return c, credentialsError("webhook-signature contains too many signatures")
		}
	}
	if len(c.macs) == 0 {
		return c, credentialsError("webhook-signature contains no v1 signature, the only accepted version")
	}
	c.delivery, c.prefix, c.standard = id, id+"."+at+".", true
	return c, nil
}
