package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/muster-gitops/muster/clusters/keys"
)

// clouds is a server behind the names of AWS, Google Cloud and Azure. It follows their documentation: signatures and proofs,
// required fields of requests, and errors.
type clouds struct {
	t      *testing.T
	server *httptest.Server
	roots  *x509.CertPool

	// what the clouds know
	awsID, awsSecret string
	kmsKey           [32]byte
	google           *rsa.PrivateKey // of the service account
	azureSecret      string
	azureCert        *x509.Certificate // of the service principal
	keyVault         *rsa.PrivateKey

	mu       sync.Mutex
	requests []string // host and path, and whether with an assumed role
	dialed   []string
	answer   func(http.ResponseWriter, *http.Request) bool // replaces the service if it returns true
}

// the keys in the clouds
const (
	awsARN    = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	awsRole   = "arn:aws:iam::111122223333:role/fleet"
	gcpKey    = "projects/fleet/locations/europe-west1/keyRings/muster/cryptoKeys/sops"
	azureName = "https://fleet.vault.azure.net/keys/sops/0123456789abcdef0123456789abcdef"
	email     = "muster@fleet.iam.gserviceaccount.com"
	tenant    = "72f988bf-86f1-41af-91ab-2d7cd011db48"
	client    = "559513bd-0c19-4c1a-87cd-851a26afd5fc"
)

// cloudHosts are the only names that may be contacted.
var cloudHosts = []string{"kms.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com", "cloudkms.googleapis.com",
	"oauth2.googleapis.com", "fleet.vault.azure.net", "login.microsoftonline.com"}

func startClouds(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{t: t, awsID: "AKIDEXAMPLE", awsSecret: "canary-aws-secret", google: newRSA(t), azureSecret: "canary-azure-secret", keyVault: newRSA(t)}
	rand.Read(c.kmsKey[:])
	c.server = httptest.NewUnstartedServer(c)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := certify(t, key, cloudHosts...)
	c.roots = x509.NewCertPool()
	c.roots.AddCert(cert)
	c.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	return c
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certify(t *testing.T, key crypto.Signer, names ...string) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// remote reaches the clouds by their real names. Any other name is a test error.
func (c *clouds) remote(now func() time.Time) *keys.Remote {
	r := keys.NewRemote(now)
	r.Route(func(ctx context.Context, network, address string) (net.Conn, error) {
		c.mu.Lock()
		c.dialed = append(c.dialed, address)
		c.mu.Unlock()
		if host, port, _ := net.SplitHostPort(address); port != "443" || !slices.Contains(cloudHosts, host) {
			c.t.Errorf("%s is dialed", address)
			return nil, fmt.Errorf("no route to %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, c.server.Listener.Addr().String())
	}, c.roots)
	return r
}

// took returns the requests since the last call.
func (c *clouds) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	requests := c.requests
	c.requests = nil
	return requests
}

// answers overrides the responses, until it is called with nil.
func (c *clouds) answers(f func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

func (c *clouds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	request := r.Host + r.URL.Path
	if r.Header.Get("X-Amz-Security-Token") != "" {
		request += " in a role"
	}
	c.requests = append(c.requests, request)
	answer := c.answer
	c.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	if strings.Contains(fmt.Sprint(r.Header, string(body)), inEnvironment) {
		c.t.Errorf("%s: the request repeats the environment", request)
	}
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	switch r.Host {
	case "kms.eu-west-1.amazonaws.com":
		c.kms(w, r, body)
	case "sts.eu-west-1.amazonaws.com":
		c.sts(w, r, body)
	case "cloudkms.googleapis.com":
		c.cloudKMS(w, r, body)
	case "oauth2.googleapis.com":
		c.googleToken(w, r, body)
	case "fleet.vault.azure.net":
		c.vault(w, r, body)
	case "login.microsoftonline.com":
		c.entra(w, r, body)
	default:
		http.NotFound(w, r)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// signed verifies Signature Version 4 by signing the same request again. It returns the error code of AWS, or "".
func (c *clouds) signed(r *http.Request, body []byte, service string) string {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "IncompleteSignatureException"
	}
	credentials := aws.Credentials{AccessKeyID: c.awsID, SecretAccessKey: c.awsSecret}
	if r.Header.Get("X-Amz-Security-Token") != "" {
		credentials = aws.Credentials{AccessKeyID: "ASIAASSUMED", SecretAccessKey: "canary-assumed", SessionToken: "canary-session"}
	}
	authorization := r.Header.Get("Authorization")
	scope := fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/eu-west-1/%s/aws4_request,", credentials.AccessKeyID, at.Format("20060102"), service)
	if !strings.HasPrefix(authorization, scope) {
		return "UnrecognizedClientException"
	}
	_, names, _ := strings.Cut(authorization, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, _ := http.NewRequestWithContext(r.Context(), r.Method, "https://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" && name != "content-length" {
			again.Header.Set(name, r.Header.Get(name))
		}
	}
	if !slices.Contains(strings.Split(names, ";"), "host") {
		return "IncompleteSignatureException"
	}
	sum := sha256.Sum256(body)
	if v4.NewSigner().SignHTTP(r.Context(), credentials, again, hex.EncodeToString(sum[:]), service, "eu-west-1", at) != nil ||
		again.Header.Get("Authorization") != authorization {
		return "InvalidSignatureException"
	}
	return ""
}

func (c *clouds) kms(w http.ResponseWriter, r *http.Request, body []byte) {
	fail := func(code string) {
		reply(w, http.StatusBadRequest, map[string]string{"__type": code, "message": "canary-message"})
	}
	if code := c.signed(r, body, "kms"); code != "" {
		fail(code)
		return
	}
	var asked struct {
		KeyId             string
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	if r.Header.Get("X-Amz-Target") != "TrentService.Decrypt" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || json.Unmarshal(body, &asked) != nil {
		fail("SerializationException")
		return
	}
	if asked.KeyId != awsARN {
		fail("NotFoundException")
		return
	}
	key, err := c.aead().Open(nil, make([]byte, 12), asked.CiphertextBlob, encryptionContext(asked.EncryptionContext))
	if err != nil {
		fail("InvalidCiphertextException")
		return
	}
	reply(w, http.StatusOK, map[string]any{"KeyId": awsARN, "Plaintext": key, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
}

func (c *clouds) aead() cipher.AEAD {
	block, _ := aes.NewCipher(c.kmsKey[:])
	aead, _ := cipher.NewGCM(block)
	return aead
}

func encryptionContext(values map[string]string) []byte {
	text, _ := json.Marshal(values) // sorted by key
	if len(values) == 0 {
		return nil
	}
	return text
}

func (c *clouds) sts(w http.ResponseWriter, r *http.Request, body []byte) {
	form, _ := url.ParseQuery(string(body))
	code := c.signed(r, body, "sts")
	if code == "" && (form.Get("Action") != "AssumeRole" || form.Get("RoleArn") != awsRole || form.Get("RoleSessionName") == "" || form.Get("Version") != "2011-06-15") {
		code = "AccessDenied"
	}
	if code != "" {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Code>%s</Code></Error></ErrorResponse>", code)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAASSUMED</AccessKeyId><SecretAccessKey>canary-assumed</SecretAccessKey><SessionToken>canary-session</SessionToken>
<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// claims verifies a JSON Web Token.
func claims(token string, public *rsa.PublicKey) (header, body map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) != nil {
		return nil, nil
	}
	for i, into := range []*map[string]any{&header, &body} {
		data, _ := base64.RawURLEncoding.DecodeString(parts[i])
		if json.Unmarshal(data, into) != nil {
			return nil, nil
		}
	}
	return header, body
}

func (c *clouds) googleToken(w http.ResponseWriter, r *http.Request, body []byte) {
	form, _ := url.ParseQuery(string(body))
	header, claim := claims(form.Get("assertion"), &c.google.PublicKey)
	lifetime := number(claim["exp"]) - number(claim["iat"])
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.URL.Path != "/token" || header["alg"] != "RS256" || header["kid"] != "kid" ||
		claim["iss"] != email || claim["aud"] != "https://oauth2.googleapis.com/token" || lifetime <= 0 || lifetime > 3600 ||
		claim["scope"] != "https://www.googleapis.com/auth/cloudkms" {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "canary-message"})
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": "canary-google-token", "expires_in": 3599, "token_type": "Bearer"})
}

func number(v any) float64 { f, _ := v.(float64); return f }

func (c *clouds) cloudKMS(w http.ResponseWriter, r *http.Request, body []byte) {
	fail := func(status int, name string) {
		reply(w, status, map[string]any{"error": map[string]any{"code": status, "status": name, "message": "canary-message"}})
	}
	var asked struct{ Ciphertext []byte }
	switch {
	case r.Header.Get("Authorization") != "Bearer canary-google-token":
		fail(http.StatusUnauthorized, "UNAUTHENTICATED")
	case r.URL.Path != "/v1/"+gcpKey+":decrypt":
		fail(http.StatusForbidden, "PERMISSION_DENIED") // Google doesn't reveal which keys exist
	case json.Unmarshal(body, &asked) != nil:
		fail(http.StatusBadRequest, "INVALID_ARGUMENT")
	default:
		key, err := c.aead().Open(nil, make([]byte, 12), asked.Ciphertext, []byte(gcpKey))
		if err != nil {
			fail(http.StatusBadRequest, "INVALID_ARGUMENT")
			return
		}
		reply(w, http.StatusOK, map[string]any{"plaintext": key, "usedPrimary": true})
	}
}

func (c *clouds) entra(w http.ResponseWriter, r *http.Request, body []byte) {
	form, _ := url.ParseQuery(string(body))
	proven := form.Get("client_secret") == c.azureSecret
	if c.azureCert != nil && form.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		header, claim := claims(form.Get("client_assertion"), c.azureCert.PublicKey.(*rsa.PublicKey))
		sum := sha256.Sum256(c.azureCert.Raw)
		chain, _ := header["x5c"].([]any)
		proven = header["x5t#S256"] == base64.RawURLEncoding.EncodeToString(sum[:]) && len(chain) == 1 && claim["iss"] == client && claim["sub"] == client &&
			claim["aud"] == "https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token" && claim["jti"] != "" && number(claim["exp"]) > number(claim["nbf"])
	}
	if !proven || r.URL.Path != "/"+tenant+"/oauth2/v2.0/token" || form.Get("grant_type") != "client_credentials" || form.Get("client_id") != client ||
		form.Get("scope") != "https://vault.azure.net/.default" {
		reply(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "canary-message"})
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": "canary-azure-token", "expires_in": 3599, "token_type": "Bearer"})
}

func (c *clouds) vault(w http.ResponseWriter, r *http.Request, body []byte) {
	fail := func(status int, code string) {
		reply(w, status, map[string]any{"error": map[string]string{"code": code, "message": "canary-message"}})
	}
	var asked struct{ Alg, Value string }
	switch {
	case r.Header.Get("Authorization") != "Bearer canary-azure-token":
		fail(http.StatusUnauthorized, "Unauthorized")
	case r.URL.Query().Get("api-version") != "2025-07-01" || json.Unmarshal(body, &asked) != nil || asked.Alg != "RSA-OAEP-256":
		fail(http.StatusBadRequest, "BadParameter")
	case "https://"+r.Host+strings.TrimSuffix(r.URL.Path, "/decrypt") != azureName:
		fail(http.StatusNotFound, "KeyNotFound")
	default:
		message, _ := base64.RawURLEncoding.DecodeString(asked.Value)
		key, err := rsa.DecryptOAEP(sha256.New(), nil, c.keyVault, message, nil)
		if err != nil {
			fail(http.StatusBadRequest, "BadParameter")
			return
		}
		reply(w, http.StatusOK, map[string]string{"kid": azureName, "value": base64.RawURLEncoding.EncodeToString(key)})
	}
}

// the fields of a decryption Secret for the clouds

func (c *clouds) awsField() string {
	return "aws_access_key_id: " + c.awsID + "\naws_secret_access_key: " + c.awsSecret + "\n"
}

func pkcs8(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (c *clouds) gcpField(more map[string]string) string {
	fields := map[string]string{"type": "service_account", "project_id": "fleet", "private_key_id": "kid", "client_email": email,
		"private_key": pkcs8(c.t, c.google), "token_uri": "https://oauth2.googleapis.com/token"}
	maps.Copy(fields, more)
	data, _ := json.Marshal(fields)
	return string(data)
}

func (c *clouds) azureField() string {
	return "tenantId: " + tenant + "\nclientId: " + client + "\nclientSecret: " + c.azureSecret + "\n"
}
