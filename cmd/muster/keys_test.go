package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/hcvault"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const vaultSecret = `apiVersion: v1
kind: Secret
metadata:
  name: one
stringData:
  token: ` + canary + `-token
`

// TestRemoteKeys: Vault is asked with the user's own token when --remote-keys says so, and not otherwise.
func TestRemoteKeys(t *testing.T) {
	server.SkipShort(t)
	v, err := server.StartVault(t.Context(), server.VaultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := v.EnableTransit(t.Context(), "transit", "muster"); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	file := filepath.Join(work, "clusters", "one.yaml")
	ca := filepath.Join(work, "vault-ca.pem")
	encrypted := sealtest.Encrypt(t, "one.yaml", vaultSecret, sealtest.Credentials, 0, sealtest.Group{transitKey(t, v, "muster")})
	if err := errors.Join(os.Mkdir(filepath.Join(work, ".git"), 0o700), os.Mkdir(filepath.Dir(file), 0o700),
		os.WriteFile(file, []byte(encrypted), 0o600), os.WriteFile(ca, v.CA(), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	t.Setenv("HOME", work)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("VAULT_TOKEN", v.RootToken())
	t.Setenv("VAULT_CACERT", ca)
	other := filepath.Join(work, "other.agekey")
	if err := os.WriteFile(other, []byte(sealtest.NewKey(t).Private()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		reason string
		args   []string
		status int
		asked  bool
	}{
		{"with another key alone", []string{"--sops-key", other}, 1, false},
		{"with --remote-keys", []string{"--remote-keys"}, 0, true},
		{"with both", []string{"--remote-keys", "--sops-key", other}, 0, true},
		{"which excludes the other", []string{"--remote-keys", "--no-keys"}, 2, false},
	} {
		before := decryptions(t, v)
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append([]string{"render", "clusters"}, row.args...), strings.NewReader(""), &stdout, &stderr, os.Getenv)
		if status != row.status {
			t.Errorf("%s: status %d, want %d\n%s", row.reason, status, row.status, stderr.String())
		}
		if asked := decryptions(t, v) > before; asked != row.asked {
			t.Errorf("%s: Vault was asked: %v, want %v", row.reason, asked, row.asked)
		}
		if out := stdout.String() + stderr.String(); leak(out) != "" || strings.Contains(out, v.RootToken()) {
			t.Errorf("%s: a secret is shown", row.reason)
		}
	}
}

func decryptions(t *testing.T, v *server.Vault) int {
	t.Helper()
	requests, err := v.Requests()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range requests {
		if strings.HasPrefix(r.Path, "transit/decrypt/") {
			n++
		}
	}
	return n
}

// transitKey is a key as hc_vault_transit_uri in .sops.yaml names it.
func transitKey(t *testing.T, v *server.Vault, name string) *sealtest.ServiceKey {
	t.Helper()
	master, err := hcvault.NewMasterKeyFromURI(v.URL() + "/v1/transit/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.CA())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return &sealtest.ServiceKey{Master: master, Seal: func(dataKey []byte) ([]byte, error) {
		k := *master
		hcvault.Token(v.RootToken()).ApplyToMasterKey(&k)
		hcvault.NewHTTPClient(client).ApplyToMasterKey(&k)
		err := k.Encrypt(dataKey)
		return []byte(k.EncryptedKey), err
	}}
}
