package keys

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/option/internaloption"
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
	blob, err := base64.StdEncoding.DecodeString(string(message))
	if err != nil {
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
			client, err := gcpClient(ctx, remote.withToken(token))
			if err != nil {
				return nil, err
			}
			got, err := client.Decrypt(ctx, &kmspb.DecryptRequest{Name: resource, Ciphertext: blob})
			if err != nil {
				return nil, gcpError(ctx, quoted(resource), err)
			}
			return dataKey(quoted(resource), "Cloud KMS", got.GetPlaintext())
		},
	}, nil
}

// gcpClient returns Google's client without what it reads from the process environment. GOOGLE_API_USE_CLIENT_CERTIFICATE would
// start a program that a file in the home folder names, unless there is a source of certificates. A client doesn't use the source
// if it has an HTTP client, and only refuses both together if it validates its options. The debug log would hold data keys.
func gcpClient(ctx context.Context, client *http.Client) (*kms.KeyManagementClient, error) {
	c, err := kms.NewKeyManagementRESTClient(ctx, option.WithEndpoint(gcpHost), option.WithHTTPClient(client), option.WithLogger(slog.New(slog.DiscardHandler)),
		option.WithClientCertSource(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, errors.ErrUnsupported }),
		internaloption.SkipDialSettingsValidation())
	if err != nil {
		return nil, err
	}
	c.CallOptions.Decrypt = nil // no retries
	return c, nil
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

// gcpError classifies an error of the client.
func gcpError(ctx context.Context, recipient string, err error) error {
	failed, ok := errors.AsType[*googleapi.Error](err)
	var said struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	if !ok || json.Unmarshal([]byte(failed.Body), &said) != nil {
		return noAnswer(ctx, recipient, "Cloud KMS", gcpHost, err)
	}
	status := orNoReason(quoted(said.Error.Status))
	if failed.Code == http.StatusUnauthorized || failed.Code == http.StatusForbidden {
		return &RefusedError{recipient, Denied, "Cloud KMS denied it: " + status,
			"give the service account in the field " + GCPField + " of the decryption Secret the role roles/cloudkms.cryptoKeyDecrypter for this key"}
	}
	return &RefusedError{recipient, Rejected, "Cloud KMS can't decrypt it: " + status,
		"check that the key and its version are enabled, and that the file is encrypted for it"}
}
