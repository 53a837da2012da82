package keys

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/getsops/sops/v3/keyservice"
)

// GCPField is the field of a decryption Secret with a Google service account's key, as Flux names it.
const GCPField = "sops.gcp-kms"

const (
	gcpHost     = "https://cloudkms.googleapis.com"
	gcpTokenURI = "https://oauth2.googleapis.com/token"
	gcpScope    = "https://www.googleapis.com/auth/cloudkms"
)

// gcpAccess is a service account's key.
type gcpAccess struct {
	email, keyID, tokenURI string
	key                    *rsa.PrivateKey
	// fingerprint identifies the credential in the cache's ids.
	fingerprint string
}

// gcpQuestion returns a request of cryptoKeys.decrypt,
// https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt.
func (r *Ring) gcpQuestion(key *keyservice.GcpKmsKey, message []byte) (question, error) {
	resource := key.GetResourceId()
	switch {
	case !gcpKey.MatchString(resource):
		return question{}, malformed(resource, "it is not the resource ID of a Cloud KMS key")
	case !allowed(r.policy.GCPKeys, resource):
		return question{}, notAllowed(resource, resource, fieldGCPKeys)
	case r.gcp.key == nil:
		return question{}, noCredentials(resource, GCPField)
	}
	if _, err := base64.StdEncoding.DecodeString(string(message)); err != nil {
		return question{}, malformed(resource, "the encrypted data key is not base64")
	}
	access, remote := r.gcp, r.remote
	return question{
		recipient: quoted(resource), endpoint: remote.endpoint(gcpHost, access.fingerprint), id: remote.idOf("gcp", resource, access.fingerprint, string(message)),
		ask: func(ctx context.Context) ([]byte, error) {
			token, err := access.token(ctx, remote, quoted(resource))
			if err != nil {
				return nil, err
			}
			got, err := remote.postJSON(ctx, gcpHost+"/v1/"+resource+":decrypt", token, map[string]string{"ciphertext": string(message)})
			if err != nil {
				return nil, err
			}
			return gcpAnswer(quoted(resource), got)
		},
	}, nil
}

// token exchanges a signed assertion for an access token, RFC 7523, and caches it.
func (a gcpAccess) token(ctx context.Context, remote *Remote, recipient string) ([]byte, error) {
	return remote.cached(ctx, remote.idOf("gcp token", a.fingerprint), func(ctx context.Context) ([]byte, time.Duration, error) {
		header := map[string]any{}
		if a.keyID != "" {
			header["kid"] = a.keyID
		}
		now := remote.now()
		assertion, err := signJWT(a.key, header, map[string]any{
			"iss": a.email, "scope": gcpScope, "aud": a.tokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
		if err != nil {
			return nil, 0, err
		}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
		return remote.bearer(ctx, a.tokenURI, form, func(code string) error {
			return &RefusedError{recipient, Denied, "Google issued no token: " + orNoReason(code),
				"check that the service account and its key in the field " + GCPField + " of the decryption Secret still exist"}
		})
	})
}

func gcpAnswer(recipient string, got answer) ([]byte, error) {
	var said struct {
		Plaintext string `json:"plaintext"`
		Error     struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	if json.Unmarshal(got.body, &said) != nil {
		return nil, unexpectedAnswer(recipient, "Cloud KMS")
	}
	status := orNoReason(quoted(said.Error.Status))
	switch got.status {
	case http.StatusOK:
		return plaintext(recipient, "Cloud KMS", base64.StdEncoding, said.Plaintext)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &RefusedError{recipient, Denied, "Cloud KMS denied it: " + status,
			"give the service account in the field " + GCPField + " of the decryption Secret the role roles/cloudkms.cryptoKeyDecrypter for this key"}
	default:
		return nil, &RefusedError{recipient, Rejected, "Cloud KMS can't decrypt it: " + status,
			"check that the key and its version are enabled, and that the file is encrypted for it"}
	}
}
