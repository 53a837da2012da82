package gitsync

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"
)

func TestAuthFromSecret(t *testing.T) {
	t.Parallel()
	host, identity := newSigner(t, "ed25519")
	sealed := locked(t, identity, "pass")
	hosts := knownhosts.Line([]string{"git.example.com"}, host.PublicKey())
	const web, shell = "https://git.example.com/r.git", "ssh://git@git.example.com/r.git"
	const marker = "SECRETMARKER"

	for _, tc := range []struct {
		reason string
		url    string
		data   map[string]string
		kind   string // for good ones
		key    string // for bad ones: the key that the error names
	}{
		{"user and password", web, map[string]string{"username": "u", "password": "p"}, "username and password", ""},
		{"a password of several kinds of characters", web, map[string]string{"username": "u", "password": "p: ä%"}, "username and password", ""},
		{"a token", web, map[string]string{"bearerToken": "t\n"}, "bearer token", ""},
		{"a key", shell, map[string]string{"identity": string(identity), "known_hosts": hosts, "identity.pub": marker}, "SSH key", ""},
		{"a locked key", shell, map[string]string{"identity": string(sealed), "known_hosts": hosts, "password": "pass"}, "SSH key", ""},
		{"keys that mean nothing are ignored", web, map[string]string{"username": "u", "password": "p", "comment": marker}, "username and password", ""},

		{"nothing", web, nil, "", "username"},
		{"nothing known", web, map[string]string{"token": marker}, "", "username"},
		{"no password", web, map[string]string{"username": marker}, "", "password"},
		{"no user", web, map[string]string{"password": marker}, "", "username"},
		{"an empty password", web, map[string]string{"username": marker, "password": "\n"}, "", "password"},
		{"both ways", web, map[string]string{"username": "u", "password": "p", "bearerToken": marker}, "", "bearerToken"},
		{"a colon in the user", web, map[string]string{"username": "u:" + marker, "password": "p"}, "", "username"},
		{"a line break within", web, map[string]string{"bearerToken": marker + "\nX-Evil: 1"}, "", "bearerToken"},
		{"a NUL", web, map[string]string{"username": "u", "password": marker + "\x00"}, "", "password"},
		{"an SSH key for HTTPS", web, map[string]string{"identity": marker, "known_hosts": marker}, "", "identity"},
		{"known_hosts for HTTPS", web, map[string]string{"username": "u", "password": "p", "known_hosts": marker}, "", "known_hosts"},
		{"a CA that is none", web, map[string]string{"caFile": marker}, "", "caFile"},
		{"a CA of noise", web, map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\n" + marker + "\n-----END CERTIFICATE-----"}, "", "ca.crt"},
		{"a CA without TLS", "http://localhost/r.git", map[string]string{"caFile": marker}, "", "caFile"},
		{"a client certificate", web, map[string]string{"tls.crt": marker, "tls.key": marker}, "", "tls.crt"},
		{"a GitHub App", web, map[string]string{"githubAppID": marker}, "", "githubAppID"},
		{"nothing for SSH", shell, nil, "", "identity"},
		{"no known_hosts", shell, map[string]string{"identity": string(identity)}, "", "known_hosts"},
		{"empty known_hosts", shell, map[string]string{"identity": string(identity), "known_hosts": " \n"}, "", "known_hosts"},
		{"known_hosts of comments", shell, map[string]string{"identity": string(identity), "known_hosts": "# " + marker}, "", "known_hosts"},
		{"known_hosts of noise", shell, map[string]string{"identity": string(identity), "known_hosts": "host ssh-ed25519 " + marker}, "", "known_hosts"},
		{"known_hosts with a certificate authority", shell, map[string]string{"identity": string(identity), "known_hosts": "@cert-authority " + hosts}, "", "known_hosts"},
		{"a public key for a private one", shell, map[string]string{"identity": "ssh-ed25519 " + marker, "known_hosts": hosts}, "", "identity"},
		{"a key of any length", shell, map[string]string{"identity": string(identity) + strings.Repeat("\n", 40<<10), "known_hosts": hosts}, "", "identity"},
		{"half a key", shell, map[string]string{"identity": string(identity[:len(identity)/2]), "known_hosts": hosts}, "", "identity"},
		{"no passphrase", shell, map[string]string{"identity": string(sealed), "known_hosts": hosts}, "", "password"},
		{"a wrong passphrase", shell, map[string]string{"identity": string(sealed), "known_hosts": hosts, "password": marker}, "", "password"},
		{"a password for SSH", shell, map[string]string{"username": marker, "password": marker}, "", "username"},
		{"a token for SSH", shell, map[string]string{"identity": string(identity), "known_hosts": hosts, "bearerToken": marker}, "", "bearerToken"},
		{"a CA for SSH", shell, map[string]string{"identity": string(identity), "known_hosts": hosts, "ca.crt": marker}, "", "ca.crt"},
	} {
		data := map[string][]byte{}
		for k, v := range tc.data {
			data[k] = []byte(v)
		}
		auth, err := AuthFromSecret(tc.url, data)
		if tc.key == "" {
			if err != nil || auth.String() != tc.kind || auth.validateFor(tc.url[:strings.Index(tc.url, ":")]) != nil {
				t.Errorf("%s: %v %v", tc.reason, auth, err)
			}
			continue
		}
		var bad *SecretError
		if !errors.As(err, &bad) || bad.Key != tc.key || bad.Remedy == "" {
			t.Errorf("%s: %v", tc.reason, err)
		}
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("%s: the error tells the value: %v", tc.reason, err)
		}
	}
}

// TestAuthNeverPrintsItself: no way of printing credentials shows them (CVE-2024-31216 of Flux, CVE-2024-52009 of Atlantis).
func TestAuthNeverPrintsItself(t *testing.T) {
	t.Parallel()
	auth := basicAuth(t, "https://example.com/r.git")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, what := range []any{auth, &auth, Source{Auth: auth}} {
			if out := fmt.Sprintf(verb, what); strings.Contains(out, secretWord) || strings.Contains(out, "robot") {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	}
}

func TestKnownHostsLine(t *testing.T) {
	t.Parallel()
	host, _ := newSigner(t, "ed25519")
	good := knownhosts.Line([]string{"a.example.com"}, host.PublicKey())
	_, err := parseKnownHosts([]byte("# comment\n\n" + good + "\n\na.example.com ssh-ed25519\n" + good))
	if err == nil || !strings.Contains(err.Error(), "line 5") {
		t.Errorf("got %v", err)
	}
}

func TestMatchHost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, host string
		match         bool
	}{
		{"example.com", "example.com", true},
		{"EXAMPLE.com", "example.com", true},
		{"*.example.com", "git.example.com", true},
		{"*.example.com", "example.com", false},
		{"git?.example.com", "git1.example.com", true},
		{"[example.com]:2222", "[example.com]:2222", true},
		{"[example.com]:2222", "example.com", false},
		{"example.com", "[example.com]:2222", false},
		{"[a-z]xample.com", "example.com", false},
		{"|1|noise", "example.com", false},
		{"|1|!|!", "example.com", false},
		{"::1", "::1", true},
	} {
		if matchHost(tc.pattern, tc.host) != tc.match {
			t.Errorf("%s against %s", tc.pattern, tc.host)
		}
	}
}

func FuzzAuthFromSecret(f *testing.F) {
	host, identity := newSigner(f, "ed25519")
	hosts := knownhosts.Line([]string{"h"}, host.PublicKey())
	f.Add("https://h/r", "username", []byte("u"), "password", []byte("p"))
	f.Add("ssh://git@h/r", "identity", identity, "known_hosts", []byte(hosts))
	f.Add("ssh://git@h/r", "identity", identity, "known_hosts", []byte("@revoked "+hosts+"\n|1|a|b ssh-ed25519 AAAA"))
	f.Add("https://h/r", "caFile", []byte("-----BEGIN CERTIFICATE-----"), "bearerToken", []byte("t"))
	f.Fuzz(func(t *testing.T, url, key1 string, value1 []byte, key2 string, value2 []byte) {
		auth, err := AuthFromSecret(url, map[string][]byte{key1: value1, key2: value2})
		if err == nil {
			_ = Source{URL: url, Auth: auth, AllowPlainHTTP: true}.Validate()
			if auth.hostKeys != nil {
				_ = auth.hostKeys.algorithms("h:22")
				_ = auth.hostKeys.check("h:22", nil, host.PublicKey())
			}
			return
		}
		var secret *SecretError
		var source *SourceError
		if !errors.As(err, &secret) && !errors.As(err, &source) {
			t.Errorf("untyped: %T %v", err, err)
		}
		for _, value := range [][]byte{value1, value2} {
			if len(value) > 40 && strings.Contains(err.Error(), string(value)) {
				t.Errorf("the error tells a value: %v", err)
			}
		}
	})
}
