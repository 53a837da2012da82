package connect_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// A Secret made for Flux says where the App's server is. Its key goes there or to spec.forge.apiURL, never to two places.
func TestAppOnItsServer(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := forgetest.StartGitHub(t, forgetest.Options{App: &key.PublicKey})
	s.AddCommit(commitHash)
	for _, tt := range []struct {
		reason, git, base, api string
		check                  func(error) bool
	}{
		{"neither, from the Git address", s.GitURL(), "", "", none},
		{"the Secret's, beside SSH", "ssh://git@127.0.0.1:22/platform/fleet", s.URL() + "/api/v3", "", none},
		{"the AuditSync's, beside SSH", "ssh://git@127.0.0.1:22/platform/fleet", "", s.URL(), none},
		{"both the same, in two forms", s.GitURL(), s.URL() + "/api/v3/", s.URL(), none},
		{"two servers", s.GitURL(), "https://github.example.com/api/v3", s.URL(), as[*gitsync.SecretError]},
		{"no TLS", s.GitURL(), "http://github.example.com/api/v3", "", as[*forge.ConfigError]},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			secret := map[string][]byte{
				"githubAppID": []byte("1"), "githubAppInstallationID": []byte("2"), "githubAppPrivateKey": pem.EncodeToMemory(
					&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
			}
			if tt.base != "" {
				secret["githubAppBaseURL"] = []byte(tt.base + "\n")
			}
			client, err := connect.To(connect.Config{Provider: forge.GitHub, URL: tt.git, APIURL: tt.api, Secret: secret})
			if !tt.check(err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if _, err := client.Statuses(t.Context(), commit, []string{"x"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What can't work is said before anything is sent.
func TestBadConfig(t *testing.T) {
	token := map[string][]byte{"token": []byte(canary)}
	for _, tt := range []struct {
		reason string
		config connect.Config
		check  func(error) bool
	}{
		{"nothing", connect.Config{}, as[*forge.ConfigError]},
		{"no provider", connect.Config{URL: "https://git.example.com/platform/fleet", Secret: token}, as[*forge.ConfigError]},
		{"no Secret", connect.Config{URL: "https://github.com/platform/fleet"}, as[*gitsync.SecretError]},
	} {
		client, err := connect.To(tt.config)
		if !tt.check(err) || client != nil {
			t.Errorf("%s: %v, %v", tt.reason, client, err)
		}
		holdsNoCanary(t, err)
	}
}

func none(err error) bool { return err == nil }
