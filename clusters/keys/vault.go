package keys

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
	"github.com/hashicorp/vault/api"
)

// The fields of a decryption Secret for Vault. The first is Flux's. Flux has none for a CA.
const (
	VaultTokenField = "sops.vault-token"
	VaultCAField    = "vault.ca.crt"
)

// vaultAccess is a ring's access to Vault.
type vaultAccess struct {
	token string
	// ca is PEM, or empty for the system's authorities.
	ca string
}

// vaultQuestion returns a decrypt request of transit,
// https://developer.hashicorp.com/vault/api-docs/secret/transit#decrypt-data.
func (r *Ring) vaultQuestion(key *keyservice.VaultKey, message []byte) (question, error) {
	recipient := key.GetVaultAddress() + "/v1/" + key.GetEnginePath() + "/keys/" + key.GetKeyName()
	address, ok := vaultAddress(key.GetVaultAddress())
	switch {
	case !ok:
		return question{}, malformed(recipient, "the address is not https://host or https://host:port")
	case !vaultEngine.MatchString(key.GetEnginePath()) || !vaultName.MatchString(key.GetKeyName()) || hasDotSegment(key.GetEnginePath()+"/"+key.GetKeyName()):
		return question{}, malformed(recipient, "the key's path is not valid for Vault's transit engine")
	case !r.policy.allowsVault(address):
		return question{}, notAllowed(recipient, address, fieldVaultAddresses)
	case r.vault.token == "":
		return question{}, noCredentials(recipient, VaultTokenField)
	}
	access, remote, namespace := r.vault, r.remote, r.policy.VaultNamespace
	return question{
		server: remote.server(address, namespace, access.ca, access.token),
		id:     remote.idOf("vault", recipient, namespace, access.ca, access.token, string(message)),
		ask: func(ctx context.Context) ([]byte, error) {
			client, err := VaultClient(remote.client(access.ca), address, access.token, namespace)
			if err != nil {
				return nil, err
			}
			secret, err := client.Logical().WriteWithContext(ctx, key.GetEnginePath()+"/decrypt/"+key.GetKeyName(), map[string]any{"ciphertext": string(message)})
			if err != nil {
				return nil, vaultError(ctx, address, quoted(recipient), err)
			}
			return vaultPlaintext(quoted(recipient), secret)
		},
	}, nil
}

// hasDotSegment reports whether a path has a part that a server would resolve.
func hasDotSegment(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// VaultClient returns Vault's own client without what it reads from the process environment: token, namespace, headers, wrapping, retries.
func VaultClient(client *http.Client, address, token, namespace string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: address, HttpClient: client, DisableRedirects: true})
	if err != nil {
		return nil, fmt.Errorf("make Vault's client, which can't read its variables VAULT_… in the environment: %w", err)
	}
	c.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	c.SetWrappingLookupFunc(func(string, string) string { return "" })
	c.SetToken(token)
	if namespace != "" {
		c.SetNamespace(namespace)
	}
	return c, nil
}

// vaultError classifies an error of Vault's client.
func vaultError(ctx context.Context, address, recipient string, err error) error {
	refused, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		if known, ok := errors.AsType[*UnavailableError](err); ok {
			return known
		}
		return &UnavailableError{address, networkReason(ctx, err)}
	}
	said := orNoReason(quoted(strings.Join(refused.Errors, ", ")))
	if refused.StatusCode == http.StatusForbidden || refused.StatusCode == http.StatusUnauthorized {
		return &RefusedError{recipient, Denied, "Vault denied it: " + said,
			"check that the token in the field " + VaultTokenField + " of the decryption Secret is valid, and that its policy allows update on this key's decrypt path"}
	}
	return &RefusedError{recipient, Rejected, "Vault can't decrypt it: " + said,
		"check that the key exists and that its min_decryption_version allows this file"}
}

// vaultPlaintext returns the data key in transit's response.
func vaultPlaintext(recipient string, secret *api.Secret) ([]byte, error) {
	if secret == nil {
		return nil, unexpectedAnswer(recipient, "Vault")
	}
	text, ok := secret.Data["plaintext"].(string)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return nil, unexpectedAnswer(recipient, "Vault")
	}
	return dataKey(recipient, "Vault", key)
}

// vaultErrors returns the messages in Vault's error response, which never repeats a token.
func vaultErrors(body []byte) string {
	var said struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	return quoted(strings.Join(said.Errors, ", "))
}

func orNoReason(said string) string { return cmp.Or(said, "no reason given") }
