package forge

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/muster-gitops/muster/gitsync"
)

// Keys of a Secret, named as Flux names them.
const (
	keyToken           = "token"
	keyBearer          = "bearerToken"
	keyUsername        = "username"
	keyPassword        = "password"
	keyCAFile          = "caFile"
	keyCACert          = "ca.crt"
	keyProxy           = "proxy"
	keyAppID           = "githubAppID"
	keyInstallationID  = "githubAppInstallationID"
	keyAppKey          = "githubAppPrivateKey"
	keyInstallationOrg = "githubAppInstallationOwner"
)

// Credentials are what a client sends to a forge, checked and parsed. Whatever the format, they print only their kind.
type Credentials struct {
	header, value string // what a request carries; empty for an App, whose tokens are short-lived
	secrets       []string
	app           *App
	roots         *x509.CertPool // nil for the system's only
	proxy         *url.URL       // nil for none
	kind          string
}

// App is an installation of a GitHub App.
type App struct {
	ID, InstallationID int64
	Key                *rsa.PrivateKey
}

// String shows what isn't secret.
func (a App) String() string { return fmt.Sprintf("GitHub App %d", a.ID) }

// Format keeps %+v and %#v from printing the key.
func (a App) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// CredentialsFromSecret returns credentials from a Secret's data. It needs exactly one of these:
//
//   - token, an access token of a user, a project, a group or a robot; password and bearerToken next to it are for Git
//   - bearerToken, an OAuth token
//   - username and password; the APIs of GitHub and GitLab accept no passwords, so there the password is an access token
//   - githubAppID, githubAppInstallationID and githubAppPrivateKey
//
// In addition, caFile or ca.crt has PEM certificates that are trusted in addition to the system's, and proxy is the address
// of an HTTP proxy, which may contain a name and password. Other keys are ignored, so that the same Secret can be used for
// Git.
//
// Invalid data is a *gitsync.SecretError. No error contains a value of the Secret.
func CredentialsFromSecret(provider Provider, data map[string][]byte) (Credentials, error) {
	c, err := authentication(provider, data)
	if err != nil {
		return Credentials{}, err
	}
	if c.roots, err = rootsFrom(data); err != nil {
		return Credentials{}, err
	}
	if c.proxy, err = proxyFrom(data); err != nil {
		return Credentials{}, err
	}
	if c.proxy != nil {
		if password, ok := c.proxy.User.Password(); ok {
			c.secrets = append(c.secrets, password)
		}
	}
	return c, nil
}

func authentication(provider Provider, data map[string][]byte) (Credentials, error) {
	ways := waysOf(data)
	switch {
	case len(ways) == 0 && (data[keyAppID] != nil || data[keyInstallationID] != nil):
		return Credentials{}, secretError(keyAppKey, "is missing", "add the App's private key in PEM form")
	case len(ways) == 0:
		return Credentials{}, secretError(keyToken, "is missing", "add an access token with permission to set commit statuses")
	case len(ways) > 1:
		return Credentials{}, secretError(ways[1], "is set together with "+ways[0], "keep one of them")
	case ways[0] == keyAppKey:
		return appFrom(provider, data)
	}
	value, err := oneLine(ways[0], data)
	if err != nil {
		return Credentials{}, err
	}
	c := Credentials{secrets: []string{value}, kind: ways[0]}
	switch {
	case ways[0] == keyPassword && provider == Gitea:
		username, err := oneLine(keyUsername, data)
		if err != nil {
			return Credentials{}, err
		}
		basic := base64.StdEncoding.EncodeToString([]byte(username + ":" + value))
		c.header, c.value, c.kind = "Authorization", "Basic "+basic, "username and password"
		c.secrets = append(c.secrets, basic)
	case ways[0] == keyBearer || provider == GitHub:
		c.header, c.value = "Authorization", "Bearer "+value
	case provider == GitLab:
		c.header, c.value = "Private-Token", value
	default:
		c.header, c.value = "Authorization", "token "+value
	}
	return c, nil
}

// waysOf returns the keys of which one would be enough. In a Secret that is also used for Git, token is only for the API, so
// it takes precedence over Git's keys; next to an SSH key, password is that key's passphrase.
func waysOf(data map[string][]byte) (ways []string) {
	_, token := data[keyToken]
	_, identity := data["identity"]
	for _, key := range []string{keyToken, keyBearer, keyPassword, keyAppKey} {
		_, found := data[key]
		forGit := token && (key == keyBearer || key == keyPassword) || identity && key == keyPassword
		if found && !forGit {
			ways = append(ways, key)
		}
	}
	return ways
}

func appFrom(provider Provider, data map[string][]byte) (Credentials, error) {
	if provider != GitHub {
		return Credentials{}, secretError(keyAppKey, "is for GitHub, and this is "+string(provider), "use token")
	}
	app := &App{}
	if _, found := data[keyInstallationOrg]; found && data[keyInstallationID] == nil {
		return Credentials{}, secretError(keyInstallationOrg, "can't be used", "use the ID of the installation as "+keyInstallationID)
	}
	for key, number := range map[string]*int64{keyAppID: &app.ID, keyInstallationID: &app.InstallationID} {
		n, err := strconv.ParseInt(strings.TrimSpace(string(data[key])), 10, 64)
		if err != nil || n <= 0 {
			return Credentials{}, secretError(key, "is missing or not a number", "copy it from the App's settings")
		}
		*number = n
	}
	if app.Key = rsaKey(data[keyAppKey]); app.Key == nil {
		return Credentials{}, secretError(keyAppKey, "is not an RSA private key in PEM form", "use the unchanged .pem file from GitHub")
	}
	return Credentials{app: app, kind: app.String()}, nil
}

// maxKey bounds a private key before it is parsed, because parsing takes time quadratic in its length. A key with 16,384
// bits has 13 KiB.
const maxKey = 32 << 10

func rsaKey(content []byte) *rsa.PrivateKey {
	block, _ := pem.Decode(content)
	if block == nil || len(content) > maxKey {
		return nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	key, _ := parsed.(*rsa.PrivateKey)
	return key
}

func oneLine(key string, data map[string][]byte) (string, error) {
	value := strings.TrimRight(string(data[key]), "\r\n")
	switch {
	case strings.TrimSpace(value) == "":
		return "", secretError(key, "is missing or empty", "set a value")
	case strings.ContainsFunc(value, unicode.IsControl):
		return "", secretError(key, "contains a line break or another control character", "write it as one line")
	}
	return value, nil
}

func rootsFrom(data map[string][]byte) (*x509.CertPool, error) {
	key, bundle := keyCAFile, data[keyCAFile]
	if bundle == nil {
		key, bundle = keyCACert, data[keyCACert]
	}
	if bundle == nil {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // an image without certificates: only the Secret's are trusted
	}
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, secretError(key, "contains no PEM certificate", "it starts with -----BEGIN CERTIFICATE-----")
	}
	return roots, nil
}

func proxyFrom(data map[string][]byte) (*url.URL, error) {
	raw, found := data[keyProxy]
	if !found {
		return nil, nil
	}
	proxy, err := url.Parse(string(bytes.TrimSpace(raw)))
	if err != nil || proxy.Hostname() == "" || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, secretError(keyProxy, "is not the address of an HTTP proxy", "write it as http://HOST:PORT or https://HOST:PORT")
	}
	return proxy, nil
}

func secretError(key, problem, remedy string) error {
	return &gitsync.SecretError{Key: key, Problem: problem, Remedy: remedy}
}

// Authorize adds the credentials to a request. For an App, its client does that.
func (c Credentials) Authorize(req *http.Request) {
	if c.header != "" {
		req.Header.Set(c.header, c.value)
	}
}

// App returns the GitHub App of these credentials, or nil.
func (c Credentials) App() *App { return c.app }

// Roots are the trusted certificates. Nil means the system's.
func (c Credentials) Roots() *x509.CertPool { return c.roots }

// Proxy is the proxy to use. Nil means none.
func (c Credentials) Proxy() *url.URL { return c.proxy }

// Mask removes the credentials from a server's text: some servers echo them.
func (c Credentials) Mask(s string) string {
	for _, secret := range c.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// String names the kind of the credentials.
func (c Credentials) String() string { return c.kind }

// Format keeps %+v and %#v from printing the fields.
func (c Credentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "forge.Credentials("+c.String()+")")
}

// public are the fields of a forge's Secret that may be shown.
var public = map[string]bool{"username": true, "caFile": true, "ca.crt": true, "githubAppID": true,
	"githubAppInstallationID": true, "githubAppBaseURL": true}

// SecretValues returns the values of a forge's Secret that must not be shown.
func SecretValues(data map[string][]byte) []string {
	var values []string
	for key, value := range data {
		if !public[key] {
			values = append(values, string(value))
		}
	}
	return values
}
