package keys

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestVaultClient: Vault's own client sends what it is given, and nothing that it finds in the environment.
func TestVaultClient(t *testing.T) {
	var got http.Header
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Write([]byte(`{"data":{"plaintext":"a2V5"}}`)) //nolint:errcheck // the client tells
	}))
	defer srv.Close()
	for name, value := range map[string]string{"VAULT_TOKEN": "ambient", "VAULT_NAMESPACE": "ambient", "VAULT_HEADERS": `{"X-Ambient":"x"}`, "VAULT_WRAP_TTL": "1h",
		"VAULT_ADDR": "https://ambient.invalid", "VAULT_MAX_RETRIES": "9"} {
		t.Setenv(name, value)
	}
	for _, namespace := range []string{"", "team"} {
		client, err := VaultClient(srv.Client(), srv.URL, "given", namespace)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := client.Logical().WriteWithContext(t.Context(), "transit/decrypt/k", map[string]any{"ciphertext": "x"})
		if err != nil {
			t.Fatal(err)
		}
		if key, err := vaultPlaintext("r", secret); string(key) != "key" {
			t.Errorf("%q, %v", key, err)
		}
		for name, want := range map[string]string{"X-Vault-Token": "given", "X-Vault-Namespace": namespace, "X-Ambient": "", "X-Vault-Wrap-Ttl": "", "X-Vault-Request": "true"} {
			if got.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, got.Get(name), want)
			}
		}
	}
	t.Setenv("VAULT_CACERT", "/nowhere.pem")
	if _, err := VaultClient(srv.Client(), srv.URL, "given", ""); err == nil {
		t.Error("an environment that Vault's client can't read is not told of")
	}
}
