package forge

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/gitsync"
)

const canary = "c4nary-that-nothing-may-print"

func bytesOf(pairs ...string) map[string][]byte {
	data := map[string][]byte{}
	for i := 0; i+1 < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return data
}

func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		reason   string
		provider Provider
		data     map[string][]byte
		header   string
		value    string
	}{
		{"a token for GitHub", GitHub, bytesOf("token", canary), "Authorization", "Bearer " + canary},
		{"a token for GitLab", GitLab, bytesOf("token", canary+"\r\n"), "Private-Token", canary},
		{"a token for Gitea", Gitea, bytesOf("token", canary+"\n"), "Authorization", "token " + canary},
		{"OAuth for GitLab", GitLab, bytesOf("bearerToken", canary), "Authorization", "Bearer " + canary},
		{"Git's Secret for GitHub", GitHub, bytesOf("username", "x-access-token", "password", canary), "Authorization", "Bearer " + canary},
		{"Git's Secret for GitLab", GitLab, bytesOf("username", "oauth2", "password", canary), "Private-Token", canary},
		{"Git's Secret for Gitea", Gitea, bytesOf("username", "robot", "password", canary), "Authorization",
			"Basic cm9ib3Q6YzRuYXJ5LXRoYXQtbm90aGluZy1tYXktcHJpbnQ="},
		{"a token beside what is Git's", GitLab, bytesOf("token", canary, "username", "oauth2", "password", "another"), "Private-Token", canary},
		{"a token beside an SSH key and its passphrase", GitHub, bytesOf("token", canary, "identity", "…", "password", "passphrase"), "Authorization", "Bearer " + canary},
	} {
		c, err := CredentialsFromSecret(tt.provider, tt.data)
		if err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com", http.NoBody)
		c.Authorize(req)
		if got := req.Header.Get(tt.header); got != tt.value || len(req.Header) != 1 {
			t.Errorf("%s: %v, want %s: %s", tt.reason, req.Header, tt.header, tt.value)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %q", c, c, c, &c, c); strings.Contains(text, canary) {
			t.Errorf("%s: printing shows it: %s", tt.reason, text)
		}
		if masked := c.Mask("a " + tt.value + " b"); strings.Contains(masked, canary) || strings.Contains(masked, "cm9ib3Q6") {
			t.Errorf("%s: masked: %s", tt.reason, masked)
		}
	}
}

func TestBadCredentials(t *testing.T) {
	ec := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(canary)}))
	for _, tt := range []struct {
		reason   string
		provider Provider
		data     map[string][]byte
		key      string
	}{
		{"nothing", GitHub, nil, "token"},
		{"a CA alone", GitHub, bytesOf("caFile", canary), "token"},
		{"an SSH key and its passphrase", GitHub, bytesOf("identity", canary, "password", canary), "token"},
		{"an empty token", GitLab, bytesOf("token", " \n"), "token"},
		{"a token of two lines", GitLab, bytesOf("token", canary+"\n"+canary), "token"},
		{"a token with a header in it", GitLab, bytesOf("token", canary+"\r\nSudo: root"), "token"},
		{"a password without a name", Gitea, bytesOf("password", canary), "username"},
		{"two ways", GitHub, bytesOf("bearerToken", canary, "password", canary), "password"},
		{"an App and a token", GitHub, bytesOf("token", canary, "githubAppPrivateKey", canary), "githubAppPrivateKey"},
		{"an App on GitLab", GitLab, bytesOf("githubAppPrivateKey", canary), "githubAppPrivateKey"},
		{"an App without a key", GitHub, bytesOf("githubAppID", "1"), "githubAppPrivateKey"},
		{"an App's key that is none", GitHub, bytesOf("githubAppID", "1", "githubAppInstallationID", "2", "githubAppPrivateKey", canary), "githubAppPrivateKey"},
		{"an App's key of another kind", GitHub, bytesOf("githubAppID", "1", "githubAppInstallationID", "2", "githubAppPrivateKey", ec), "githubAppPrivateKey"},
		{"an installation by its owner's name", GitHub, bytesOf("githubAppID", "1", "githubAppInstallationOwner", "platform", "githubAppPrivateKey", ec), "githubAppInstallationOwner"},
		{"a CA that is none", GitHub, bytesOf("token", canary, "ca.crt", canary), "ca.crt"},
		{"a proxy without a scheme", GitHub, bytesOf("token", canary, "proxy", canary+":3128"), "proxy"},
		{"a proxy of SOCKS", GitHub, bytesOf("token", canary, "proxy", "socks5://x:"+canary+"@proxy:1080"), "proxy"},
	} {
		_, err := CredentialsFromSecret(tt.provider, tt.data)
		wrong, ok := errors.AsType[*gitsync.SecretError](err)
		if !ok || wrong.Key != tt.key || wrong.Remedy == "" {
			t.Errorf("%s: %v, want one about %s", tt.reason, err, tt.key)
		}
		if err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), canary) {
			t.Errorf("%s: the error holds it: %v", tt.reason, err)
		}
	}
}

func TestAppKeys(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for form, block := range map[string]*pem.Block{
		"PKCS #1": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, "PKCS #8": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		c, err := CredentialsFromSecret(GitHub, bytesOf("githubAppID", "12\n", "githubAppInstallationID", "34",
			"githubAppPrivateKey", string(pem.EncodeToMemory(block))))
		if err != nil || c.App() == nil || !c.App().Key.Equal(key) || c.App().ID != 12 || c.App().InstallationID != 34 {
			t.Errorf("%s: %v, %v", form, c, err)
			continue
		}
		if text := fmt.Sprintf("%+v %#v %+v", *c.App(), *c.App(), c); strings.Contains(text, key.D.String()) {
			t.Errorf("%s: printing shows the key", form)
		}
	}
}
