package keys

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/getsops/sops/v3/keyservice"
	"github.com/google/uuid"
)

// AzureField is the field of a decryption Secret with an Azure service principal, as Flux names it.
const AzureField = "sops.azure-kv"

// azureVersion is the version of Key Vault's API in the documentation of decrypt.
const azureVersion = "7.4"

// azureAuthorities are Microsoft's token servers. Credentials are sent to no other server.
var azureAuthorities = []string{
	"https://login.microsoftonline.com", "https://login.microsoftonline.us",
	"https://login.chinacloudapi.cn", "https://login.partner.microsoftonline.cn",
}

// azureAccess is a service principal, with a secret or with a certificate.
type azureAccess struct {
	authority, tenant, client string
	secret                    string
	certificates              []*x509.Certificate
	key                       *rsa.PrivateKey
	sendChain                 bool
	// fingerprint identifies the credential in the cache's ids.
	fingerprint string
}

// azureQuestion returns a decrypt request of Key Vault with RSA-OAEP-256, which sops uses,
// https://learn.microsoft.com/rest/api/keyvault/keys/decrypt/decrypt.
func (r *Ring) azureQuestion(key *keyservice.AzureKeyVaultKey, message []byte) (question, error) {
	identifier := strings.TrimSuffix(key.GetVaultUrl(), "/") + "/keys/" + key.GetName() + "/" + key.GetVersion()
	parts := azureKey.FindStringSubmatch(identifier)
	switch {
	case parts == nil:
		return question{}, malformed(identifier, "it is not a Key Vault key identifier with a version")
	case !allowed(r.policy.AzureKeys, identifier):
		return question{}, notAllowed(identifier, identifier, fieldAzureKeys)
	case r.azure.client == "":
		return question{}, noCredentials(identifier, AzureField)
	}
	if _, err := base64.RawURLEncoding.DecodeString(string(message)); err != nil {
		return question{}, malformed(identifier, "the encrypted data key is not base64")
	}
	access, remote := r.azure, r.remote
	return question{
		recipient: quoted(identifier), endpoint: remote.endpoint(parts[1], access.fingerprint), id: remote.idOf("azure", identifier, access.fingerprint, string(message)),
		ask: func(ctx context.Context) ([]byte, error) {
			token, err := access.token(ctx, remote, quoted(identifier), "https://"+parts[2]+"/.default")
			if err != nil {
				return nil, err
			}
			got, err := remote.postJSON(ctx, identifier+"/decrypt?api-version="+azureVersion, token,
				map[string]string{"alg": "RSA-OAEP-256", "value": string(message)})
			if err != nil {
				return nil, err
			}
			return azureAnswer(quoted(identifier), got)
		},
	}, nil
}

// token gets an access token from the authority, and caches it.
func (a azureAccess) token(ctx context.Context, remote *Remote, recipient, scope string) ([]byte, error) {
	return remote.cached(ctx, remote.idOf("azure token", a.fingerprint, scope), func(ctx context.Context) ([]byte, time.Duration, error) {
		endpoint := a.authority + "/" + a.tenant + "/oauth2/v2.0/token"
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.client}, "scope": {scope}}
		if a.key == nil {
			form.Set("client_secret", a.secret)
		} else {
			assertion, err := a.assertion(endpoint, remote.now())
			if err != nil {
				return nil, 0, err
			}
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", assertion)
		}
		return remote.bearer(ctx, endpoint, form, func(code string) error {
			return &RefusedError{recipient, Denied, "Microsoft Entra issued no token: " + orNoReason(code),
				"check that the service principal in the field " + AzureField + " of the decryption Secret exists, and that its secret or certificate has not expired"}
		})
	})
}

// assertion proves possession of the certificate's key,
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
func (a azureAccess) assertion(audience string, now time.Time) (string, error) {
	sum := sha256.Sum256(a.certificates[0].Raw)
	header := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	if a.sendChain {
		var chain []string
		for _, c := range a.certificates {
			chain = append(chain, base64.StdEncoding.EncodeToString(c.Raw))
		}
		header["x5c"] = chain
	}
	return signJWT(a.key, header, map[string]any{"aud": audience, "iss": a.client, "sub": a.client, "jti": uuid.NewString(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()})
}

func azureAnswer(recipient string, got answer) ([]byte, error) {
	var said struct {
		Value string `json:"value"`
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(got.body, &said) != nil {
		return nil, unexpectedAnswer(recipient, "Key Vault")
	}
	code := orNoReason(quoted(said.Error.Code))
	switch got.status {
	case http.StatusOK:
		return plaintext(recipient, "Key Vault", base64.RawURLEncoding, strings.TrimRight(said.Value, "="))
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &RefusedError{recipient, Denied, "Key Vault denied it: " + code,
			"give the service principal in the field " + AzureField + " of the decryption Secret the right to decrypt with this key"}
	default:
		return nil, &RefusedError{recipient, Rejected, "Key Vault can't decrypt it: " + code,
			"check that the key and its version are enabled, and that the file is encrypted for it"}
	}
}
