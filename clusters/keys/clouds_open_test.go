package keys_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/kms"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

func vaultRequest(address, engine, key string) *keyservice.DecryptRequest {
	return &keyservice.DecryptRequest{Ciphertext: []byte("vault:v1:x"), Key: &keyservice.Key{KeyType: &keyservice.Key_VaultKey{
		VaultKey: &keyservice.VaultKey{VaultAddress: address, EnginePath: engine, KeyName: key}}}}
}

// countDials counts the connections that a Remote makes.
func countDials(r *keys.Remote) func() int {
	var n atomic.Int64
	r.Route(func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}, nil)
	return func() int { return int(n.Load()) }
}

// The files are encrypted like sops does, with the clouds' own keys.

func (c *clouds) awsKey(arn, role string, context map[string]string) *sealtest.ServiceKey {
	values := map[string]*string{}
	for name, value := range context {
		values[name] = &value
	}
	return &sealtest.ServiceKey{Master: kms.NewMasterKeyWithProfile(arn, role, values, "a-profile"), Seal: func(dataKey []byte) ([]byte, error) {
		message := c.aead().Seal(nil, make([]byte, 12), dataKey, encryptionContext(context))
		return []byte(base64.StdEncoding.EncodeToString(message)), nil
	}}
}

func (c *clouds) gcpKey(resource string) *sealtest.ServiceKey {
	return &sealtest.ServiceKey{Master: gcpkms.NewMasterKeyFromResourceID(resource), Seal: func(dataKey []byte) ([]byte, error) {
		return []byte(base64.StdEncoding.EncodeToString(c.aead().Seal(nil, make([]byte, 12), dataKey, []byte(gcpKey)))), nil
	}}
}

func (c *clouds) azureKey(version string) *sealtest.ServiceKey {
	return &sealtest.ServiceKey{Master: azkv.NewMasterKey("https://fleet.vault.azure.net", "sops", version), Seal: func(dataKey []byte) ([]byte, error) {
		message, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &c.keyVault.PublicKey, dataKey, nil)
		return []byte(base64.RawURLEncoding.EncodeToString(message)), err
	}}
}

var azureVersion = azureName[strings.LastIndex(azureName, "/")+1:]

var cloudPolicy = keys.Policy{AWSKeys: []string{awsARN}, AWSRoles: []string{awsRole}, GCPKeys: []string{"projects/fleet/*"},
	AzureKeys: []string{"https://fleet.vault.azure.net/keys/sops/*"}}

func (c *clouds) fields() map[string]string {
	return map[string]string{"sops.aws-kms": c.awsField(), "sops.gcp-kms": c.gcpField(nil), "sops.azure-kv": c.azureField()}
}

func (c *clouds) ring(remote *keys.Remote, change map[string]string) *keys.Ring {
	c.t.Helper()
	fields := c.fields()
	maps.Copy(fields, change)
	ring, err := remote.Ring("sops-keys", text(fields), cloudPolicy)
	if err != nil {
		c.t.Fatal(err)
	}
	return ring
}

// TestClouds: each service opens its files, under its real name, with the requests and signatures that it documents.
func TestClouds(t *testing.T) {
	c := startClouds(t)
	certificateKey := newRSA(t)
	c.azureCert = certify(t, certificateKey)
	certificate := "tenantId: " + tenant + "\nclientId: " + client + "\nclientCertificateSendChain: true\nclientCertificate: |\n" +
		indented(pkcs8(t, certificateKey)+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.azureCert.Raw})))
	elsewhere := strings.Replace(awsARN, "1234abcd", "ffffffff", 1)
	for _, row := range []struct {
		reason string
		key    *sealtest.ServiceKey
		fields map[string]string
		want   string
		asked  []string
	}{
		{"AWS", c.awsKey(awsARN, "", nil), nil, "open", []string{"kms.eu-west-1.amazonaws.com/"}},
		{"AWS with an encryption context", c.awsKey(awsARN, "", map[string]string{"team": "fleet", "a": "b"}), nil, "open", []string{"kms.eu-west-1.amazonaws.com/"}},
		{"AWS with a role", c.awsKey(awsARN, awsRole, nil), nil, "open", []string{"sts.eu-west-1.amazonaws.com/", "kms.eu-west-1.amazonaws.com/ in a role"}},
		{"AWS with a role that is not allowed", c.awsKey(awsARN, awsRole+"-admin", nil), nil, "NotAllowed", nil},
		{"an AWS key that is not allowed", c.awsKey(elsewhere, "", nil), nil, "NotAllowed", nil},
		{"AWS with a wrong secret", c.awsKey(awsARN, "", nil), map[string]string{"sops.aws-kms": strings.Replace(c.awsField(), c.awsSecret, "canary-other", 1)}, "Denied", []string{"kms.eu-west-1.amazonaws.com/"}},
		{"AWS with a wrong secret and a role", c.awsKey(awsARN, awsRole, nil), map[string]string{"sops.aws-kms": strings.Replace(c.awsField(), c.awsSecret, "canary-other", 1)}, "Denied", []string{"sts.eu-west-1.amazonaws.com/"}},
		{"Google", c.gcpKey(gcpKey), nil, "open", []string{"oauth2.googleapis.com/token", "cloudkms.googleapis.com/v1/" + gcpKey + ":decrypt"}},
		{"Google without token_uri, as Flux shows it", c.gcpKey(gcpKey), map[string]string{"sops.gcp-kms": c.gcpField(map[string]string{"token_uri": ""})}, "open", []string{"oauth2.googleapis.com/token", "cloudkms.googleapis.com/v1/" + gcpKey + ":decrypt"}},
		{"a Google key without the right to it", c.gcpKey(gcpKey + "2"), nil, "Denied", []string{"oauth2.googleapis.com/token", "cloudkms.googleapis.com/v1/" + gcpKey + "2:decrypt"}},
		{"a Google key of another project", c.gcpKey(strings.Replace(gcpKey, "fleet", "fleet2", 1)), nil, "NotAllowed", nil},
		{"a Google account whose key is gone", c.gcpKey(gcpKey), map[string]string{"sops.gcp-kms": c.gcpField(map[string]string{"private_key": pkcs8(t, newRSA(t))})}, "Denied", []string{"oauth2.googleapis.com/token"}},
		{"Azure with a secret", c.azureKey(azureVersion), nil, "open", []string{"login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", "fleet.vault.azure.net/keys/sops/" + azureVersion + "/decrypt"}},
		{"Azure as az prints it", c.azureKey(azureVersion), map[string]string{"sops.azure-kv": `{"appId": "` + client + `", "displayName": "x", "name": "http://x", "password": "` + c.azureSecret + `", "tenant": "` + tenant + `"}`}, "open", []string{"login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", "fleet.vault.azure.net/keys/sops/" + azureVersion + "/decrypt"}},
		{"Azure with a certificate", c.azureKey(azureVersion), map[string]string{"sops.azure-kv": certificate}, "open", []string{"login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", "fleet.vault.azure.net/keys/sops/" + azureVersion + "/decrypt"}},
		{"Azure with a wrong secret", c.azureKey(azureVersion), map[string]string{"sops.azure-kv": strings.Replace(c.azureField(), c.azureSecret, "canary-other", 1)}, "Denied", []string{"login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token"}},
		{"an Azure key that is gone", c.azureKey("fedcba9876543210fedcba9876543210"), nil, "Rejected", []string{"login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", "fleet.vault.azure.net/keys/sops/fedcba9876543210fedcba9876543210/decrypt"}},
	} {
		ring := c.ring(c.remote(time.Now), row.fields)
		err := verdict(t, row.reason, ring, sopsFile(t, 0, sealtest.Group{row.key}), row.want)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error holds what it should not: %v", row.reason, err)
		}
		if got := c.took(); !slices.Equal(got, row.asked) {
			t.Errorf("%s: asked %q, want %q", row.reason, got, row.asked)
		}
	}
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// TestTokensAreKept: an access token and an assumed role are used for many files, and renewed when they expire.
func TestTokensAreKept(t *testing.T) {
	c := startClouds(t)
	now := newClock()
	remote := c.remote(now.Now)
	tokens := func() int {
		n := 0
		for _, request := range c.took() {
			if strings.Contains(request, "token") || strings.HasPrefix(request, "sts.") {
				n++
			}
		}
		return n
	}
	for _, key := range []func() *sealtest.ServiceKey{func() *sealtest.ServiceKey { return c.gcpKey(gcpKey) }, func() *sealtest.ServiceKey { return c.azureKey(azureVersion) },
		func() *sealtest.ServiceKey { return c.awsKey(awsARN, awsRole, nil) }} {
		for range 3 {
			check(t, "with a token", c.ring(remote, nil), sopsFile(t, 0, sealtest.Group{key()}), "open")
		}
		if n := tokens(); n != 1 {
			t.Errorf("%d tokens for three files, want 1", n)
		}
	}
	now.advance(59 * time.Minute)
	check(t, "after it has run out", c.ring(remote, nil), sopsFile(t, 0, sealtest.Group{c.gcpKey(gcpKey)}), "open")
	if n := tokens(); n != 1 {
		t.Errorf("%d tokens for a file after the first ran out, want 1", n)
	}
}

// TestServersInTrouble: temporary errors are distinguished from permanent ones, and retried a limited number of times.
func TestServersInTrouble(t *testing.T) {
	t.Parallel() // it mostly waits, as the next two do
	c := startClouds(t)
	file := func(key *sealtest.ServiceKey) string { return sopsFile(t, 0, sealtest.Group{key}) }
	say := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "https://evil.example.com/")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // the client may be gone
			return true
		}
	}
	for _, row := range []struct {
		reason   string
		answer   func(http.ResponseWriter, *http.Request) bool
		want     string
		requests int
	}{
		{"a fault of the server", say(http.StatusInternalServerError, "oops"), "unavailable", keys.MaxAttempts},
		{"too many requests", say(http.StatusTooManyRequests, ""), "unavailable", keys.MaxAttempts},
		{"throttled", say(http.StatusBadRequest, `{"__type":"com.amazonaws.kms#ThrottlingException"}`), "unavailable", keys.MaxAttempts},
		{"a redirect to elsewhere is not followed", say(http.StatusTemporaryRedirect, ""), "unavailable", keys.MaxAttempts},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) bool {
			for range 1 << 10 {
				_, _ = w.Write(make([]byte, 1<<10)) // the client may be gone
			}
			return true
		}, "unavailable", keys.MaxAttempts},
		{"no right to the key", say(http.StatusBadRequest, `{"__type":"AccessDeniedException"}`), "Denied", 1},
		{"an expired session", say(http.StatusBadRequest, `{"__type":"ExpiredTokenException"}`), "Denied", 1},
		{"a disabled key", say(http.StatusBadRequest, `{"__type":"DisabledException"}`), "Rejected", 1},
		{"not an answer of AWS", say(http.StatusOK, "<html>"), "Rejected", 1},
		{"an answer without a key", say(http.StatusOK, "{}"), "Rejected", 1},
		{"a key that is none", say(http.StatusOK, `{"Plaintext":"`+strings.Repeat("AAAA", 1000)+`"}`), "Rejected", 1},
	} {
		c.answers(row.answer)
		check(t, row.reason, c.ring(c.remote(time.Now), nil), file(c.awsKey(awsARN, "", nil)), row.want)
		if got := len(c.took()); got != row.requests {
			t.Errorf("%s: %d requests, want %d", row.reason, got, row.requests)
		}
	}
	failures := 0
	c.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		failures++
		if failures < keys.MaxAttempts {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	check(t, "a fault that passes", c.ring(c.remote(time.Now), nil), file(c.awsKey(awsARN, "", nil)), "open")
}

// TestClientsDoNotRetry: the retries of a client would multiply with those of Remote.
func TestClientsDoNotRetry(t *testing.T) {
	t.Parallel()
	c := startClouds(t)
	isToken := func(path string) bool { return strings.HasSuffix(path, "/token") }
	c.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if !isToken(r.URL.Path) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return !isToken(r.URL.Path)
	})
	for name, key := range map[string]*sealtest.ServiceKey{"AWS": c.awsKey(awsARN, "", nil), "Google": c.gcpKey(gcpKey), "Azure": c.azureKey(azureVersion)} {
		check(t, name, c.ring(c.remote(time.Now), nil), sopsFile(t, 0, sealtest.Group{key}), "unavailable")
		if asked := slices.DeleteFunc(c.took(), isToken); len(asked) != keys.MaxAttempts {
			t.Errorf("%s: asked %q, want %d requests", name, asked, keys.MaxAttempts)
		}
	}
}

// TestServerThatDoesNotAnswer: the wait is limited, including retries.
func TestServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := startClouds(t)
	done := make(chan bool)
	c.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-r.Context().Done():
		case <-done:
		}
		return true
	})
	remote := c.remote(time.Now)
	remote.SetTimeout(2 * time.Second) // enough for the request to arrive on a busy machine
	err := verdict(t, "a server that hangs", c.ring(remote, nil), sopsFile(t, 0, sealtest.Group{c.awsKey(awsARN, "", nil)}), "unavailable")
	if err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("the error does not say so: %v", err)
	}
	if n := len(c.took()); n != 1 {
		t.Errorf("%d requests, want 1: there was no time for another", n)
	}
	close(done)
}

// TestWhoAsksFirstMayGiveUp: a caller that gives up doesn't cancel the request for the others.
func TestWhoAsksFirstMayGiveUp(t *testing.T) {
	c := startClouds(t)
	arrived, release := make(chan bool, 1), make(chan bool)
	c.answers(func(http.ResponseWriter, *http.Request) bool {
		arrived <- true
		<-release
		return false
	})
	ring := c.ring(c.remote(time.Now), nil)
	message, err := c.awsKey(awsARN, "", nil).Seal(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	request := &keyservice.DecryptRequest{Ciphertext: message, Key: &keyservice.Key{KeyType: &keyservice.Key_KmsKey{KmsKey: &keyservice.KmsKey{Arn: awsARN}}}}
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := ring.Decrypt(ctx, request); first <- err }()
	<-arrived
	go func() { _, err := ring.Decrypt(t.Context(), request); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other: %v", err)
	}
	if n := len(c.took()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestNothingFromTheEnvironment: credentials, addresses and proxies only come from the Secret and the policy. All traps lead to
// one listener, and the credentials in them are ones that the clouds would accept.
func TestNothingFromTheEnvironment(t *testing.T) {
	c, v := startClouds(t), startVault(t)
	files := map[string]string{
		"Vault":  sopsFile(t, 0, sealtest.Group{v.key("muster")}),
		"AWS":    sopsFile(t, 0, sealtest.Group{c.awsKey(awsARN, "", nil)}),
		"Google": sopsFile(t, 0, sealtest.Group{c.gcpKey(gcpKey)}),
		"Azure":  sopsFile(t, 0, sealtest.Group{c.azureKey(azureVersion)}),
	}
	sprung := layTraps(t, c, v)

	// With a complete Secret, its content is used.
	c.took()
	remote := c.remote(time.Now)
	ring := c.ring(remote, nil)
	for _, name := range []string{"AWS", "Google", "Azure"} {
		check(t, name+" with the Secret's credentials", ring, files[name], "open")
	}
	check(t, "Vault with the Secret's token", v.ring(keys.NewRemote(time.Now), v.token), files["Vault"], "open")

	// With a minimal Secret, nothing is contacted, allowed or not.
	c.took()
	asked := v.asked()
	bare := text(map[string]string{"x.agekey": sealtest.NewKey(t).Private()})
	for _, policy := range []keys.Policy{{}, cloudPolicy, v.policy()} {
		ring, err := c.remote(time.Now).Ring("sops-keys", bare, policy)
		if len(policy.AWSKeys)+len(policy.VaultAddresses) > 0 {
			if !errors.As(err, new(*keys.KeyError)) {
				t.Errorf("a Secret without the credential that the policy needs: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, file := range files {
			check(t, name+" without credentials", ring, file, "NotAllowed")
		}
	}
	wrong := map[string]string{"sops.aws-kms": strings.Replace(c.awsField(), c.awsSecret, "canary-other", 1),
		"sops.gcp-kms":  c.gcpField(map[string]string{"private_key": pkcs8(t, newRSA(t))}),
		"sops.azure-kv": strings.Replace(c.azureField(), c.azureSecret, "canary-other", 1)}
	for _, name := range []string{"AWS", "Google", "Azure"} {
		check(t, name+" with wrong credentials, and right ones around", c.ring(c.remote(time.Now), wrong), files[name], "Denied")
	}
	check(t, "Vault with a wrong token, and a right one around", v.ring(keys.NewRemote(time.Now), "hvs.CANARYCANARYCANARY"), files["Vault"], "Denied")
	if v.asked() != asked+1 {
		t.Errorf("Vault was asked %d times, want once", v.asked()-asked)
	}
	if n := sprung(); n != 0 {
		t.Errorf("%d connections to addresses from the environment", n)
	}

	// The traps work: code that reads the environment triggers them.
	ambient := &keys.Ring{}
	ambient.AddAmbient(keys.Environment{Getenv: os.Getenv, ReadFile: os.ReadFile})
	if err := open(t, ambient, files["AWS"]); err == nil || sprung() == 0 {
		t.Errorf("the environment leads nowhere, so nothing above is shown: %v", err)
	}
}

// inEnvironment is a value in the environment that no request may repeat.
const inEnvironment = "canary-environment"

// layTraps sets up the environment and a home folder, and counts connections to the addresses in them.
func layTraps(t *testing.T, c *clouds, v *vault) (sprung func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var n atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = conn.Close()
		}
	}()
	trap := listener.Addr().String()
	home := t.TempDir()
	for name, content := range map[string]string{
		".vault-token":     v.RootToken(),
		".aws/credentials": "[default]\naws_access_key_id = " + c.awsID + "\naws_secret_access_key = " + c.awsSecret + "\n[a-profile]\naws_access_key_id = " + c.awsID + "\naws_secret_access_key = " + c.awsSecret + "\n",
		".aws/config":      "[default]\nregion = us-east-1\nendpoint_url = http://" + trap + "\n[profile a-profile]\nregion = us-east-1\n",
		".config/gcloud/application_default_credentials.json": c.gcpField(nil),
		"gcp.json":                c.gcpField(nil),
		"certificate_config.json": `{"libs":{"ecp":"/nowhere/a-program"}}`,
		"azure-token":             "x",
		"ca/trap.pem":             string(v.CA()),
		".netrc":                  "machine kms.eu-west-1.amazonaws.com login x password y\n",
		"client.crt":              "x",
		".azure/token":            "x",
	} {
		file := filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"HOME": home, "HTTP_PROXY": "http://" + trap, "HTTPS_PROXY": "http://" + trap, "http_proxy": "http://" + trap, "https_proxy": "http://" + trap, "ALL_PROXY": "http://" + trap,
		"VAULT_ADDR": "http://" + trap, "VAULT_AGENT_ADDR": "http://" + trap, "VAULT_PROXY_ADDR": "http://" + trap, "VAULT_HTTP_PROXY": "http://" + trap,
		"VAULT_TOKEN": v.RootToken(), "VAULT_NAMESPACE": "trap", "VAULT_SKIP_VERIFY": "true", "VAULT_HEADERS": `{"X-Trap":"x"}`, "VAULT_CACERT": filepath.Join(home, "ca/trap.pem"),
		"VAULT_WRAP_TTL": "1h", "SOPS_HC_VAULT_ALLOWLIST": "all",
		"AWS_ACCESS_KEY_ID": c.awsID, "AWS_SECRET_ACCESS_KEY": c.awsSecret, "AWS_SESSION_TOKEN": "", "AWS_REGION": "us-east-1", "AWS_PROFILE": "a-profile",
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, ".aws/credentials"), "AWS_CONFIG_FILE": filepath.Join(home, ".aws/config"),
		"AWS_ENDPOINT_URL": "http://" + trap, "AWS_ENDPOINT_URL_KMS": "http://" + trap, "AWS_ENDPOINT_URL_STS": "http://" + trap, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + trap,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://" + trap,
		"AWS_EXECUTION_ENV":                  inEnvironment, "AWS_LAMBDA_FUNCTION_NAME": inEnvironment, "_X_AMZN_TRACE_ID": inEnvironment,
		"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(home, "gcp.json"), "GOOGLE_CREDENTIALS": c.gcpField(nil), "GOOGLE_OAUTH_ACCESS_TOKEN": "canary-google-token",
		"GCE_METADATA_HOST": trap, "GOOGLE_API_USE_CLIENT_CERTIFICATE": "true", "GOOGLE_CLOUD_UNIVERSE_DOMAIN": trap, "SOPS_GCP_KMS_ENDPOINT": trap,
		"GOOGLE_API_USE_MTLS_ENDPOINT": "always", "GOOGLE_API_CERTIFICATE_CONFIG": filepath.Join(home, "certificate_config.json"), "EXPERIMENTAL_GOOGLE_API_USE_S2A": "true",
		"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": client, "AZURE_CLIENT_SECRET": c.azureSecret, "AZURE_AUTHORITY_HOST": "http://" + trap,
		"AZURE_REGIONAL_AUTHORITY_NAME": "trap", "MSAL_FORCE_REGION": "trap", "IDENTITY_ENDPOINT": "http://" + trap, "MSI_ENDPOINT": "http://" + trap, "AZURE_FEDERATED_TOKEN_FILE": filepath.Join(home, "azure-token"),
	} {
		t.Setenv(name, value)
	}
	return func() int { return int(n.Load()) }
}
