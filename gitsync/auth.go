package gitsync

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// Auth holds the credentials of one repository, checked and parsed. The zero value is anonymous. Whatever the format, it
// prints only its kind.
type Auth struct {
	username, password string
	bearerToken        string
	roots              *x509.CertPool // system roots and caFile; nil for the system roots only
	signer             ssh.Signer
	hostKeys           *hostKeys
	version            [sha256.Size]byte // changes with the Secret's data
}

// Keys of a Secret, named as Flux names them.
const (
	keyUsername   = "username"
	keyPassword   = "password"
	keyBearer     = "bearerToken"
	keyIdentity   = "identity"
	keyKnownHosts = "known_hosts"
	keyCAFile     = "caFile"
	keyCACert     = "ca.crt"
)

// unsupportedKeys are keys that Flux supports and Muster doesn't, or not here. Ignoring them would cause errors that are
// hard to explain.
var unsupportedKeys = map[string]string{
	"tls.crt":     "client certificates are not supported; use username and password, or bearerToken",
	"tls.key":     "client certificates are not supported; use username and password, or bearerToken",
	"certFile":    "client certificates are not supported; use username and password, or bearerToken",
	"keyFile":     "client certificates are not supported; use username and password, or bearerToken",
	"githubAppID": "exchange the GitHub App's key for an installation token, and use it as the password",
}

// AuthFromSecret returns credentials for the URL from a Secret's data. For https:// it accepts username and password, or
// bearerToken, and caFile (or ca.crt): PEM certificates that are trusted in addition to the system's. For ssh:// it accepts
// identity (a private key), password (its passphrase, if any) and known_hosts. Line breaks at the end of values are dropped,
// because many tools add one. identity.pub and keys without a meaning for Git are ignored.
//
// Invalid data is a *SecretError, an invalid URL a *SourceError. No error contains a value of the Secret.
func AuthFromSecret(rawURL string, data map[string][]byte) (Auth, error) {
	u, err := parseURL(rawURL, true)
	if err != nil {
		return Auth{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(unsupportedKeys)) {
		if _, found := data[key]; found {
			return Auth{}, &SecretError{Key: key, Problem: "can't be used", Remedy: unsupportedKeys[key]}
		}
	}
	for _, key := range []string{keyUsername, keyPassword, keyBearer, keyIdentity, keyKnownHosts, keyCAFile, keyCACert} {
		if value, found := data[key]; found && len(bytes.TrimSpace(value)) == 0 {
			return Auth{}, &SecretError{Key: key, Problem: "is empty", Remedy: "set a value or remove it"}
		}
	}
	var a Auth
	if u.Scheme == "ssh" {
		a, err = sshAuth(u.Host, data)
	} else {
		a, err = httpAuth(u.Scheme, data)
	}
	if err != nil {
		return Auth{}, err
	}
	a.version = sha256.Sum256(fmt.Appendf(nil, "%q", data))
	return a, nil
}

func httpAuth(scheme string, data map[string][]byte) (Auth, error) {
	if err := rejectKeys(data, "is for ssh:// URLs, and this one is "+scheme+"://",
		"use username and password, or an ssh:// URL", keyIdentity, keyKnownHosts); err != nil {
		return Auth{}, err
	}
	a := Auth{username: line(data[keyUsername]), password: line(data[keyPassword]), bearerToken: line(data[keyBearer])}
	switch {
	case a.bearerToken != "" && (a.username != "" || a.password != ""):
		return Auth{}, &SecretError{Key: keyBearer, Problem: "is set together with username or password", Remedy: "keep one of them"}
	case a.username != "" && a.password == "":
		return Auth{}, &SecretError{Key: keyPassword, Problem: "is missing", Remedy: "add it next to username"}
	case a.username == "" && a.password != "":
		return Auth{}, &SecretError{Key: keyUsername, Problem: "is missing",
			Remedy: "add it next to password; for a token, GitHub accepts x-access-token and GitLab oauth2"}
	case strings.Contains(a.username, ":"):
		return Auth{}, &SecretError{Key: keyUsername, Problem: "contains a colon, which HTTP basic authentication doesn't allow",
			Remedy: "put only the name into username, and the rest into password"}
	}
	for key, value := range map[string]string{keyUsername: a.username, keyPassword: a.password, keyBearer: a.bearerToken} {
		if strings.ContainsFunc(value, unicode.IsControl) {
			return Auth{}, &SecretError{Key: key, Problem: "contains a line break or another control character", Remedy: "write it as one line"}
		}
	}
	roots, err := rootsFrom(scheme, data)
	if err != nil {
		return Auth{}, err
	}
	a.roots = roots
	if a.anonymous() && a.roots == nil {
		return Auth{}, &SecretError{Key: keyUsername, Problem: "is missing, and so is every other key for " + scheme + "://",
			Remedy: "add username and password, bearerToken or caFile"}
	}
	return a, nil
}

func rootsFrom(scheme string, data map[string][]byte) (*x509.CertPool, error) {
	key, bundle := keyCAFile, data[keyCAFile]
	if bundle == nil {
		key, bundle = keyCACert, data[keyCACert]
	}
	if bundle == nil {
		return nil, nil
	}
	if scheme != "https" {
		return nil, &SecretError{Key: key, Problem: "is for https:// URLs, and this one is " + scheme + "://", Remedy: "remove it or use https://"}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		// An image without a CA bundle: only the Secret's certificates are trusted.
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, &SecretError{Key: key, Problem: "contains no PEM certificate", Remedy: "it starts with -----BEGIN CERTIFICATE-----"}
	}
	return roots, nil
}

func sshAuth(host string, data map[string][]byte) (Auth, error) {
	if err := rejectKeys(data, "is for https:// URLs, and this one is ssh://",
		"use identity and known_hosts, or an https:// URL", keyUsername, keyBearer, keyCAFile, keyCACert); err != nil {
		return Auth{}, err
	}
	if data[keyIdentity] == nil {
		return Auth{}, &SecretError{Key: keyIdentity, Problem: "is missing", Remedy: "add a private key with read access to the repository"}
	}
	signer, err := parseIdentity(data[keyIdentity], []byte(line(data[keyPassword])))
	if err != nil {
		return Auth{}, err
	}
	if data[keyKnownHosts] == nil {
		return Auth{}, &SecretError{Key: keyKnownHosts, Problem: "is missing, and without it the server can't be authenticated",
			Remedy: "add the output of " + keyscan(host) + ", after comparing it with the keys that the server's owner publishes"}
	}
	keys, err := parseKnownHosts(data[keyKnownHosts])
	if err != nil {
		return Auth{}, err
	}
	return Auth{signer: signer, hostKeys: keys}, nil
}

// maxIdentity bounds a private key before it is parsed, because parsing takes time quadratic in its length. A key with
// 16,384 bits has 13 KiB. The library bounds the rounds of a passphrase.
const maxIdentity = 32 << 10

func parseIdentity(pem, passphrase []byte) (ssh.Signer, error) {
	if len(pem) > maxIdentity {
		return nil, &SecretError{Key: keyIdentity, Problem: fmt.Sprintf("is longer than %d KiB", maxIdentity>>10), Remedy: "put only one private key into it"}
	}
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case errors.As(err, &locked) && len(passphrase) == 0:
		return nil, &SecretError{Key: keyPassword, Problem: "is missing, and identity is protected by a passphrase", Remedy: "add the passphrase as password"}
	case errors.As(err, &locked):
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, passphrase); err == nil {
			return signer, nil
		}
		return nil, &SecretError{Key: keyPassword, Problem: "does not decrypt identity", Remedy: "check the passphrase, and that the key is complete"}
	default:
		// The parser's own message is left out: it may quote what it could not read.
		return nil, &SecretError{Key: keyIdentity, Problem: "is not a readable private key",
			Remedy: "use a complete OpenSSH or PEM key (ssh-ed25519, ecdsa or rsa), not its .pub"}
	}
}

func rejectKeys(data map[string][]byte, problem, remedy string, keys ...string) error {
	for _, key := range keys {
		if _, found := data[key]; found {
			return &SecretError{Key: key, Problem: problem, Remedy: remedy}
		}
	}
	return nil
}

func line(value []byte) string { return strings.TrimRight(string(value), "\r\n") }

func (a Auth) anonymous() bool { return a.username == "" && a.bearerToken == "" && a.signer == nil }

// validateFor catches a Source whose Auth is for another kind of URL.
func (a Auth) validateFor(scheme string) error {
	switch {
	case scheme == "ssh" && a.signer == nil:
		return &SecretError{Key: keyIdentity, Problem: "is missing, and ssh:// has no anonymous access", Remedy: "add a Secret with identity and known_hosts"}
	case scheme != "ssh" && a.signer != nil:
		return &SecretError{Key: keyIdentity, Problem: "is for ssh:// URLs, and this one is " + scheme + "://", Remedy: "use username and password"}
	}
	return nil
}

func (a Auth) apply(req *http.Request) {
	switch {
	case a.bearerToken != "":
		req.Header.Set("Authorization", "Bearer "+a.bearerToken)
	case a.username != "":
		req.SetBasicAuth(a.username, a.password)
	}
}

// mask removes the credentials from a server's text: some servers echo them.
func (a Auth) mask(s string) string {
	secrets := []string{a.bearerToken, a.password}
	if a.username != "" {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(a.username+":"+a.password)))
	}
	for _, secret := range secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}

// String names the kind of the credentials.
func (a Auth) String() string {
	switch {
	case a.bearerToken != "":
		return "bearer token"
	case a.username != "":
		return "username and password"
	case a.signer != nil:
		return "SSH key"
	default:
		return "anonymous"
	}
}

// Format keeps %+v and %#v from printing the fields.
func (a Auth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "gitsync.Auth("+a.String()+")") }
