package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
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
		recipient: quoted(recipient), endpoint: remote.endpoint(address, namespace, access.ca, access.token),
		id: remote.idOf("vault", recipient, namespace, access.ca, access.token, string(message)),
		ask: func(ctx context.Context) ([]byte, error) {
			body, err := json.Marshal(map[string]string{"ciphertext": string(message)})
			if err != nil {
				return nil, err
			}
			target := address + "/v1/" + key.GetEnginePath() + "/decrypt/" + key.GetKeyName()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
			if err != nil {
				return nil, err
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Vault-Request", "true")
			req.Header.Set("X-Vault-Token", access.token)
			if namespace != "" {
				req.Header.Set("X-Vault-Namespace", namespace)
			}
			got, err := post(remote.client(access.ca), req)
			if err != nil {
				return nil, err
			}
			return vaultAnswer(quoted(recipient), got)
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

func vaultAnswer(recipient string, got answer) ([]byte, error) {
	said := vaultErrors(got.body)
	switch {
	case got.status == http.StatusForbidden || got.status == http.StatusUnauthorized:
		return nil, &RefusedError{recipient, Denied, "Vault denied it: " + orNoReason(said),
			"check that the token in the field " + VaultTokenField + " of the decryption Secret is valid, and that its policy allows update on this key's decrypt path"}
	case got.status != http.StatusOK:
		return nil, &RefusedError{recipient, Rejected, "Vault can't decrypt it: " + orNoReason(said),
			"check that the key exists and that its min_decryption_version allows this file"}
	}
	var body struct {
		Data struct {
			Plaintext string `json:"plaintext"`
		} `json:"data"`
	}
	if json.Unmarshal(got.body, &body) != nil {
		return nil, unexpectedAnswer(recipient, "Vault")
	}
	return plaintext(recipient, "Vault", base64.StdEncoding, body.Data.Plaintext)
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

func orNoReason(said string) string {
	if said == "" {
		return "no reason given"
	}
	return said
}

func unexpectedAnswer(recipient, service string) error {
	return &RefusedError{recipient, Rejected, "the response is not from " + service, "check what runs at this address"}
}

// plaintext decodes a data key from a response.
func plaintext(recipient, service string, encoding *base64.Encoding, text string) ([]byte, error) {
	key, err := encoding.DecodeString(text)
	if err != nil || len(key) == 0 || len(key) > maxDataKey {
		return nil, unexpectedAnswer(recipient, service)
	}
	return key, nil
}
