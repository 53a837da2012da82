package keys

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// AzureField is the field of a decryption Secret with an Azure service principal, as Flux names it.
const AzureField = "sops.azure-kv"

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
	blob, err := base64.RawURLEncoding.DecodeString(string(message))
	if err != nil {
		return question{}, malformed(identifier, "the encrypted data key is not base64")
	}
	access, remote, vault := r.azure, r.remote, parts[1]
	return question{
		id: remote.idOf("azure", identifier, access.fingerprint, string(message)), server: remote.server(vault, access.fingerprint),
		ask: func(ctx context.Context) ([]byte, error) {
			token, err := access.token(ctx, remote, quoted(identifier), "https://"+parts[2]+"/.default")
			if err != nil {
				return nil, err
			}
			// With a credential, the client would first send a request without it, to ask the vault for which tenant a token must be.
			client, err := azkeys.NewClient(vault, nil, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{
				Transport: remote.withToken(token), Retry: policy.RetryOptions{MaxRetries: -1}}})
			if err != nil {
				return nil, err
			}
			got, err := client.Decrypt(ctx, key.GetName(), key.GetVersion(),
				azkeys.KeyOperationParameters{Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: blob}, nil)
			if err != nil {
				return nil, azureError(ctx, quoted(identifier), vault, err)
			}
			return dataKey(quoted(identifier), "Key Vault", got.Result)
		},
	}, nil
}

// token gets an access token from the authority, and caches it.
func (a azureAccess) token(ctx context.Context, remote *Remote, recipient, scope string) ([]byte, error) {
	return remote.token(ctx, remote.idOf("azure token", a.fingerprint, scope), a.authority, func(now time.Time) (*clientcredentials.Config, error) {
		config := &clientcredentials.Config{TokenURL: a.authority + "/" + a.tenant + "/oauth2/v2.0/token", AuthStyle: oauth2.AuthStyleInParams,
			ClientID: a.client, ClientSecret: a.secret, Scopes: []string{scope}}
		if a.key == nil {
			return config, nil
		}
		assertion, err := a.assertion(config.TokenURL, now)
		config.EndpointParams = url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
		return config, err
	}, func(code string) error {
		return &RefusedError{recipient, Denied, "Microsoft Entra issued no token: " + orNoReason(code),
			"check that the service principal in the field " + AzureField + " of the decryption Secret exists, and that its secret or certificate has not expired"}
	})
}

// assertion proves possession of the certificate's key,
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
func (a azureAccess) assertion(audience string, now time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"aud": audience, "iss": a.client, "sub": a.client, "jti": uuid.NewString(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()})
	sum := sha256.Sum256(a.certificates[0].Raw)
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	if a.sendChain {
		var chain []string
		for _, c := range a.certificates {
			chain = append(chain, base64.StdEncoding.EncodeToString(c.Raw))
		}
		token.Header["x5c"] = chain
	}
	return token.SignedString(a.key)
}

// azureError classifies an error of the SDK.
func azureError(ctx context.Context, recipient, vault string, err error) error {
	said, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return noAnswer(ctx, recipient, "Key Vault", vault, err)
	}
	code := orNoReason(quoted(said.ErrorCode))
	if said.StatusCode == http.StatusUnauthorized || said.StatusCode == http.StatusForbidden {
		return &RefusedError{recipient, Denied, "Key Vault denied it: " + code,
			"give the service principal in the field " + AzureField + " of the decryption Secret the right to decrypt with this key"}
	}
	return &RefusedError{recipient, Rejected, "Key Vault can't decrypt it: " + code,
		"check that the key and its version are enabled, and that the file is encrypted for it"}
}
