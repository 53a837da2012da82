package keys

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/getsops/sops/v3/keyservice"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
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
	email, keyID string
	key          *rsa.PrivateKey
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
		id: remote.idOf("gcp", resource, access.fingerprint, string(message)), server: remote.server(gcpHost, access.fingerprint),
		ask: func(ctx context.Context) ([]byte, error) {
			token, err := access.token(ctx, remote, quoted(resource))
			if err != nil {
				return nil, err
			}
			return gcpDecrypt(ctx, remote.withToken(token), resource, message)
		},
	}, nil
}

// token exchanges a signed assertion for an access token, RFC 7523, and caches it.
func (a gcpAccess) token(ctx context.Context, remote *Remote, recipient string) ([]byte, error) {
	return remote.token(ctx, remote.idOf("gcp token", a.fingerprint), gcpTokenURI, func(now time.Time) (*clientcredentials.Config, error) {
		assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": a.email, "scope": gcpScope, "aud": gcpTokenURI,
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
		if a.keyID != "" {
			assertion.Header["kid"] = a.keyID
		}
		signed, err := assertion.SignedString(a.key)
		return &clientcredentials.Config{TokenURL: gcpTokenURI, AuthStyle: oauth2.AuthStyleInParams,
			EndpointParams: url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {signed}}}, err
	}, func(code string) error {
		return &RefusedError{recipient, Denied, "Google issued no token: " + orNoReason(code),
			"check that the service account and its key in the field " + GCPField + " of the decryption Secret still exist"}
	})
}

// gcpDecrypt asks Cloud KMS for a data key.
func gcpDecrypt(ctx context.Context, client *http.Client, resource string, message []byte) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"ciphertext": string(message)})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gcpHost+"/v1/"+resource+":decrypt", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, noAnswer(ctx, quoted(resource), "Cloud KMS", gcpHost, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is in memory
	var said struct {
		Plaintext []byte `json:"plaintext"`
		Error     struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	if json.NewDecoder(resp.Body).Decode(&said) != nil {
		return nil, unexpectedAnswer(quoted(resource), "Cloud KMS")
	}
	status := orNoReason(quoted(said.Error.Status))
	switch resp.StatusCode {
	case http.StatusOK:
		return dataKey(quoted(resource), "Cloud KMS", said.Plaintext)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &RefusedError{quoted(resource), Denied, "Cloud KMS denied it: " + status,
			"give the service account in the field " + GCPField + " of the decryption Secret the role roles/cloudkms.cryptoKeyDecrypter for this key"}
	default:
		return nil, &RefusedError{quoted(resource), Rejected, "Cloud KMS can't decrypt it: " + status,
			"check that the key and its version are enabled, and that the file is encrypted for it"}
	}
}
