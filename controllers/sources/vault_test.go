package sources_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	clusters "github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/sources"
)

// stage is a Reader that works, for one AuditSync.
type stage struct {
	testing.TB
	*sources.Reader
	audit    *v1alpha1.AuditSync
	redactor redact.Redactor
	mu       sync.Mutex
	secrets  map[string]string // of the AuditSync's namespace: the value of every key
	foreign  map[types.NamespacedName]*corev1.Secret
	news     atomic.Int32
	token    func(serviceAccount, audience string) (string, error)
}

func newStage(t testing.TB, spec v1alpha1.CredentialSources) *stage {
	s := &stage{TB: t, secrets: map[string]string{}, foreign: map[types.NamespacedName]*corev1.Secret{},
		audit: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "production"}, Spec: v1alpha1.AuditSyncSpec{CredentialSources: spec}}}
	changed := make(chan event.TypedGenericEvent[*v1alpha1.AuditSync], 1000)
	s.Reader = sources.New(sources.Options{Clock: clock.RealClock{}, Changed: changed, Log: logr.Discard(), News: func(string) { s.news.Add(1) },
		Secret: func(_ context.Context, _, name string) (*corev1.Secret, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			value, ok := s.secrets[name]
			if !ok {
				return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
			}
			return &corev1.Secret{Data: map[string][]byte{"token": []byte(value), "secret-id": []byte(value), "jwt": []byte(value)}}, nil
		},
		Token: func(_ context.Context, _, account, audience string) (string, error) {
			return s.token(account, audience)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// again has everything read again, as a user can request it.
func (s *stage) again(f *fleet.Opened) *fleet.Opened {
	metav1.SetMetaDataAnnotation(&s.audit.ObjectMeta, v1alpha1.AnnotationReconcile, time.Now().String())
	return s.read(f)
}

func (s *stage) read(f *fleet.Opened) *fleet.Opened {
	s.Await(s.Context(), s.audit, f, &s.redactor)
	return s.Supply(s.audit, f, &s.redactor)
}

// want checks the cluster at an index: its value, or what is said of it. Both may be.
func (s *stage) want(reason string, out *fleet.Opened, i int, value, says string) {
	s.Helper()
	c, secret := out.Clusters[i], out.Secrets[i]
	var said []string
	for _, f := range out.Findings {
		if f.Cluster == c.Name {
			said = append(said, f.String())
			if err := f.Check(); err != nil {
				s.Errorf("%s: %v", reason, err)
			}
		}
	}
	text := strings.Join(said, "\n")
	if c.Quarantined != (value == "") || value != "" && !strings.Contains(secret.Data["kubeconfig"], value) || !strings.Contains(text, says) || says == "" && value != "" && text != "" {
		s.Errorf("%s: quarantined %t, value %.20q, findings:\n%s\nwant %q and %q", reason, c.Quarantined, secret.Data["kubeconfig"], text, value, says)
	}
	if says != "" {
		s.Logf("%s: %s", reason, text)
	}
}

// fleetOf is a fleet with one cluster for each secret of Vault.
func fleetOf(refs ...clusters.VaultSecret) *fleet.Opened {
	f := &fleet.Opened{}
	for i, ref := range refs {
		name := fmt.Sprint("c", i)
		f.Secrets = append(f.Secrets, fleet.Secret{Name: name, Data: map[string]string{}, Cluster: name, AuditConfig: "a", Origin: fleet.Origin{Path: name + ".yaml"}, Supplied: true,
			From: &fleet.Source{Vault: ref, Field: "spec.kubeconfigFrom.vault"}, Uses: []fleet.Use{{Key: mondoo.KeyKubeconfig}}})
		f.Clusters = append(f.Clusters, fleet.Cluster{Name: name, AuditConfig: "a", Origin: fleet.Origin{Path: name + ".yaml"}, Secrets: []string{name},
			Entry: mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: name}}})
	}
	return f
}

func kubeconfig(token string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"https://eu.example.com"}}],`+
		`"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, token)
}

// kv is a real Vault with both versions of the KV engine.
type kv struct {
	testing.TB
	*server.Vault
}

func newKV(t testing.TB) kv {
	t.Helper()
	server.SkipShort(t)
	vault, err := server.StartVault(t.Context(), server.VaultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vault.Stop(); err != nil {
			t.Error(err)
		}
	})
	v := kv{t, vault}
	v.call(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	v.call(http.MethodPost, "sys/mounts/old", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
	return v
}

func (v kv) call(method, path string, body any) map[string]any {
	v.Helper()
	for range 100 {
		answer, err := v.Call(v.Context(), method, path, body)
		if err == nil {
			return answer
		}
		if !strings.Contains(err.Error(), "Upgrading from non-versioned") {
			v.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // just after the engine was mounted
	}
	v.Fatal("the engine is not ready")
	return nil
}

func (v kv) put(path string, data map[string]any) {
	v.Helper()
	v.call(http.MethodPost, "kv/data/"+path, map[string]any{"data": data})
}

func (v kv) ref(mount, path string) clusters.VaultSecret {
	return clusters.VaultSecret{Address: v.URL(), Mount: mount, Path: path}
}

func (v kv) spec(auth v1alpha1.VaultLogin) v1alpha1.CredentialSources {
	all := []string{"*"}
	return v1alpha1.CredentialSources{Vault: []v1alpha1.VaultSource{{Address: v.URL(), CACert: string(v.CA()), Auth: auth,
		Mounts: []v1alpha1.VaultMount{{Mount: "kv", Paths: all}, {Mount: "old", EngineVersion: 1, Paths: all}, {Mount: "gone", Paths: all}}}}}
}

func byToken(name string) v1alpha1.VaultLogin {
	return v1alpha1.VaultLogin{Token: &v1alpha1.VaultToken{SecretRef: v1alpha1.SecretRef{Name: name}}}
}

const readAll = `path "kv/data/*" { capabilities = ["read"] } path "old/*" { capabilities = ["read"] } path "gone/*" { capabilities = ["read"] }
path "kv/data/secret/*" { capabilities = ["deny"] }`

func (v kv) reader(name string) string {
	v.Helper()
	token, err := v.Token(v.Context(), name, readAll)
	if err != nil {
		v.Fatal(err)
	}
	return token
}

// TestVault: what Vault has, in all its states, each with its cause. One secret affects no other.
func TestVault(t *testing.T) {
	v := newKV(t)
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu-1")})
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu-2")})
	v.put("deleted", map[string]any{"kubeconfig": "x"})
	v.call(http.MethodDelete, "kv/data/deleted", nil)
	v.put("destroyed", map[string]any{"kubeconfig": "x"})
	v.call(http.MethodPut, "kv/destroy/destroyed", map[string]any{"versions": []int{1}})
	v.put("odd", map[string]any{"kubeconfig": map[string]any{"CANARY-key": "CANARY-odd"}})
	v.put("secret/eu", map[string]any{"kubeconfig": "x"})
	v.call(http.MethodPost, "old/us", map[string]any{"kubeconfig": kubeconfig("CANARY-us")})
	s := newStage(t, v.spec(byToken("vault")))
	s.secrets["vault"] = v.reader("reader")
	version := v.ref("kv", "eu")
	version.Version = 1
	versions := v.ref("kv", "eu")
	versions.Version = 9
	f := fleetOf(v.ref("kv", "eu"), version, versions, v.ref("old", "us"), v.ref("kv", "deleted"), v.ref("kv", "destroyed"), v.ref("kv", "nowhere"), v.ref("kv", "odd"), v.ref("kv", "secret/eu"),
		v.ref("gone", "eu"), v.ref("old", "nowhere"), v.ref("other", "eu"))
	out := s.read(f)
	for i, row := range []struct{ reason, value, says string }{
		{"the latest version", "CANARY-eu-2", ""},
		{"a version", "CANARY-eu-1", ""},
		{"a version that isn't there", "", "credential-source-missing"},
		{"version 1 of the engine", "CANARY-us", ""},
		{"a deleted version", "", "version 1 of the secret was deleted; restore it"},
		{"a destroyed version", "", "version 1 of the secret was destroyed"},
		{"no such secret", "", "there is no such secret; correct path"},
		{"not a text", "", "the key kubeconfig in Vault " + v.URL() + ", kv/odd is not a text"},
		{"a policy that denies", "", `path "kv/data/secret/eu" { capabilities = ["read"] }`},
		{"no such mount", "", "no secrets engine at the mount gone"},
		{"no such secret in version 1", "", "there is no such secret"},
		{"a mount that isn't allowed", "", "credential-source-not-allowed"},
	} {
		s.want(row.reason, out, i, row.value, row.says)
	}
	for _, found := range out.Findings {
		if strings.Contains(found.String(), "CANARY") {
			t.Errorf("a secret is shown: %s", found)
		}
	}
	if got := s.redactor.String("CANARY-eu-2 CANARY-odd"); strings.Contains(got, "CANARY") {
		t.Errorf("shown: %s", got)
	}
	if again := s.Supply(s.audit, f, &s.redactor); again != out {
		t.Error("without a change, it is another fleet")
	}
	requests, err := v.Requests()
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]int{}
	for _, r := range requests {
		if r.Operation == "read" {
			reads[r.Path]++
		}
	}
	if reads["kv/data/eu"] != 3 || reads["kv/data/secret/eu"] != 1 || reads["other/data/eu"] != 0 { // three versions
		t.Errorf("reads: %v", reads)
	}
}

// TestVaultWrongVersion: the engine has another version than the AuditSync says.
func TestVaultWrongVersion(t *testing.T) {
	v := newKV(t)
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY")})
	v.call(http.MethodPost, "old/us", map[string]any{"kubeconfig": kubeconfig("CANARY")})
	spec := v.spec(byToken("vault"))
	spec.Vault[0].Mounts[0].EngineVersion, spec.Vault[0].Mounts[1].EngineVersion = 1, 2
	s := newStage(t, spec)
	s.secrets["vault"] = v.RootToken()
	out := s.read(fleetOf(v.ref("kv", "eu"), v.ref("old", "us")))
	s.want("1 for 2", out, 0, "", "set engineVersion: 2")
	s.want("2 for 1", out, 1, "", "set engineVersion: 1")
}

// TestVaultFailures: while a server fails, the last value is used; without one, the cluster waits. Each failure is told by its name.
func TestVaultFailures(t *testing.T) {
	v := newKV(t)
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu-1")})
	s := newStage(t, v.spec(byToken("vault")))
	s.secrets["vault"] = v.reader("reader")
	f := fleetOf(v.ref("kv", "eu"))
	s.want("at first", s.read(f), 0, "CANARY-eu-1", "")
	must(t, v.Seal(t.Context()))
	s.want("sealed", s.again(f), 0, "CANARY-eu-1", "it is sealed")
	fresh := newStage(t, v.spec(byToken("vault")))
	fresh.secrets["vault"] = "CANARY-token"
	fresh.want("sealed, after a restart", fresh.read(f), 0, "", "it is sealed")
	must(t, v.Unseal(t.Context()))
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu-2")})
	s.want("unsealed", s.again(f), 0, "CANARY-eu-2", "")
	v.SetDown(true)
	s.want("unreachable", s.again(f), 0, "CANARY-eu-2", "can't read from Vault")
	v.SetDown(false)
	s.want("reachable again", s.again(f), 0, "CANARY-eu-2", "")
	v.call(http.MethodPost, "auth/token/revoke", map[string]string{"token": s.secrets["vault"]})
	s.want("a revoked token", s.again(f), 0, "", "the token is invalid, expired or revoked; put a valid token into the key token of the Secret vault")
	s.mu.Lock()
	s.secrets["vault"] = v.reader("reader")
	s.mu.Unlock()
	s.want("another token in the Secret", s.again(f), 0, "CANARY-eu-2", "")
	s.mu.Lock()
	delete(s.secrets, "vault")
	s.mu.Unlock()
	s.want("no Secret", s.again(f), 0, "", "the Secret vault can't be used")
	wrong := v.spec(byToken("vault"))
	wrong.Vault[0].CACert = ""
	s = newStage(t, wrong)
	s.secrets["vault"] = v.RootToken()
	s.want("another authority", s.read(f), 0, "", "set caCert of the server")
}

// TestVaultAnswers: answers that a real Vault gives only in a cluster or behind something else.
func TestVaultAnswers(t *testing.T) {
	var status int
	var body, namespace, location string
	answer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespace = r.Header.Get("X-Vault-Namespace")
		w.Header().Set("Location", location)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(answer.Close)
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	location = other.URL
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: answer.Certificate().Raw})
	ref := clusters.VaultSecret{Address: answer.URL, Namespace: "admin/a", Mount: "kv", Path: "eu"}
	for _, row := range []struct {
		reason string
		status int
		body   string
		says   string
	}{
		{"a standby node", 429, "", "is a standby node"},
		{"a standby of disaster recovery", 472, "", "disaster recovery"},
		{"a performance standby", 473, "", "performance standby"},
		{"a standby without an active node", 500, `{"errors":["local node not active but active cluster node not found"]}`, "can't reach the active one"},
		{"a standby that redirects", 307, "", "name the address of the active one"},
		{"in maintenance", 503, "<html>", "sealed or in maintenance"},
		{"a failure", 500, `{"errors":["x\ny"]}`, "it failed (status 500): x y"},
		{"a namespace that isn't there", 404, `{"errors":["no handler for route \"kv/data/eu\". route entry not found."]}`, "or namespace"},
		{"a namespace that is refused", 403, `{"errors":["permission denied"]}`, "the token is invalid"},
		{"something else", 200, "<html>", "check what runs at this address"},
		{"something else in JSON", 200, `{"data":{"a":"b"}}`, "check that the mount is a KV secrets engine of version 2"},
		{"no JSON object", 200, `[]`, "check what runs at this address"},
		{"endless", 200, strings.Repeat("x", 3<<20), "longer than 2097152 bytes"},
		{"a bad request", 400, `{"errors":["bad"]}`, "(status 400): bad"},
	} {
		status, body = row.status, row.body
		s := newStage(t, v1alpha1.CredentialSources{Vault: []v1alpha1.VaultSource{{Address: answer.URL, Namespace: "admin/a", CACert: string(ca), Auth: byToken("vault"),
			Mounts: []v1alpha1.VaultMount{{Mount: "kv", Paths: []string{"*"}}}}}})
		s.secrets["vault"] = "CANARY-token"
		s.want(row.reason, s.read(fleetOf(ref)), 0, "", row.says)
	}
	if namespace != "admin/a" || elsewhere.Load() > 0 {
		t.Errorf("namespace %q, %d requests to where it redirects", namespace, elsewhere.Load())
	}
}

// TestVaultAppRole: a login is kept while it holds, renewed before it ends, and made anew when Vault doesn't know it any more.
func TestVaultAppRole(t *testing.T) {
	v := newKV(t)
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu")})
	v.reader("reader")
	v.call(http.MethodPost, "sys/auth/approle", map[string]string{"type": "approle"})
	v.call(http.MethodPost, "auth/approle/role/muster", map[string]any{"token_policies": "reader", "token_ttl": "6s"})
	id := func(path, field string, method string) string {
		data, _ := v.call(method, "auth/approle/role/muster/"+path, nil)["data"].(map[string]any)
		text, _ := data[field].(string)
		return text
	}
	s := newStage(t, v.spec(v1alpha1.VaultLogin{AppRole: &v1alpha1.VaultAppRole{Mount: "approle", RoleID: id("role-id", "role_id", http.MethodGet), SecretRef: v1alpha1.SecretRef{Name: "approle"}}}))
	s.secrets["approle"] = id("secret-id", "secret_id", http.MethodPost)
	f := fleetOf(v.ref("kv", "eu"))
	logins := func() (n int) {
		requests, err := v.Requests()
		must(t, err)
		for _, r := range requests {
			if r.Path == "auth/approle/login" {
				n++
			}
		}
		return n
	}
	s.want("at first", s.read(f), 0, "CANARY-eu", "")
	s.want("again", s.again(f), 0, "CANARY-eu", "")
	if n := logins(); n != 1 {
		t.Errorf("%d logins for two rounds", n)
	}
	time.Sleep(4100 * time.Millisecond) // over two thirds of six seconds
	s.want("before the end", s.again(f), 0, "CANARY-eu", "")
	if n := logins(); n != 2 {
		t.Errorf("%d logins after the login's time", n)
	}
	v.call(http.MethodPost, "sys/leases/revoke-prefix/auth/approle", nil)
	s.want("revoked", s.again(f), 0, "CANARY-eu", "")
	if n := logins(); n != 3 {
		t.Errorf("%d logins after a revocation", n)
	}
	if got := s.redactor.String(s.secrets["approle"]); got == s.secrets["approle"] {
		t.Error("the secret ID is shown")
	}
	s.mu.Lock()
	s.secrets["approle"] = "00000000-0000-0000-0000-000000000000"
	s.mu.Unlock()
	v.call(http.MethodPost, "sys/leases/revoke-prefix/auth/approle", nil)
	s.want("another secret ID", s.again(f), 0, "", "can't log in to Vault "+v.URL()+" at auth/approle/login")
	spec := v.spec(s.audit.Spec.CredentialSources.Vault[0].Auth)
	spec.Vault[0].Auth.AppRole.Mount = "gone"
	s.audit.Spec.CredentialSources = spec
	s.want("no such method", s.again(f), 0, "", "check mount of the auth method")
}

// TestVaultJWT: the JWT method gets the token of the Secret or of the ServiceAccount.
func TestVaultJWT(t *testing.T) {
	var sent string
	answer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/auth/jwt/login":
			body, _ := io.ReadAll(r.Body)
			sent = string(body)
			fmt.Fprint(w, `{"auth":{"client_token":"CANARY-login","lease_duration":60}}`)
		case r.Header.Get("X-Vault-Token") == "CANARY-login":
			fmt.Fprintf(w, `{"data":{"data":{"kubeconfig":%q},"metadata":{"version":1}}}`, kubeconfig("CANARY-eu"))
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(answer.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: answer.Certificate().Raw})
	for _, row := range []struct {
		reason string
		jwt    v1alpha1.VaultJWT
		want   string
	}{
		{"of a Secret", v1alpha1.VaultJWT{SecretRef: &v1alpha1.SecretRef{Name: "jwt"}}, `{"jwt":"CANARY-jwt","role":"muster"}`},
		{"of a ServiceAccount", v1alpha1.VaultJWT{ServiceAccountName: "sa", Audience: "vault"}, `{"jwt":"CANARY-of-sa-for-vault","role":"muster"}`},
	} {
		row.jwt.Mount, row.jwt.Role = "jwt", "muster"
		s := newStage(t, v1alpha1.CredentialSources{Vault: []v1alpha1.VaultSource{{Address: answer.URL, CACert: string(ca), Auth: v1alpha1.VaultLogin{JWT: &row.jwt},
			Mounts: []v1alpha1.VaultMount{{Mount: "kv", Paths: []string{"*"}}}}}})
		s.secrets["jwt"] = "CANARY-jwt"
		s.token = func(account, audience string) (string, error) {
			return "CANARY-of-" + account + "-for-" + audience, nil
		}
		s.want(row.reason, s.read(fleetOf(clusters.VaultSecret{Address: answer.URL, Mount: "kv", Path: "eu"})), 0, "CANARY-eu", "")
		if strings.TrimSpace(sent) != row.want {
			t.Errorf("%s: sent %s", row.reason, sent)
		}
		for _, secret := range []string{"CANARY-login", "CANARY-eu"} {
			if got := s.redactor.String(secret); got == secret {
				t.Errorf("%s: %s is shown", row.reason, secret)
			}
		}
	}
}

// TestVaultHangs: a server that says nothing delays only its own clusters.
func TestVaultHangs(t *testing.T) {
	v := newKV(t)
	v.put("eu", map[string]any{"kubeconfig": kubeconfig("CANARY-eu-1")})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var connections atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			defer conn.Close() //nolint:errcheck // at the end of the test
		}
	}()
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // the test ends
	spec := v.spec(byToken("vault"))
	silent := spec.Vault[0]
	silent.Address = "https://" + listener.Addr().String()
	spec.Vault = append(spec.Vault, silent)
	s := newStage(t, spec)
	s.secrets["vault"] = v.reader("reader")
	elsewhere := v.ref("kv", "eu")
	elsewhere.Address = silent.Address
	stranger := v.ref("kv", "eu")
	stranger.Address = "https://" + listener.Addr().String() + "0" // no such port, and not allowed
	f := fleetOf(v.ref("kv", "eu"), elsewhere, stranger)
	for range 20 {
		elsewhere.Path += "x"
		more := fleetOf(elsewhere)
		more.Secrets[0].Name, more.Secrets[0].Cluster, more.Clusters[0].Name = elsewhere.Path, elsewhere.Path, elsewhere.Path
		f.Secrets, f.Clusters = append(f.Secrets, more.Secrets...), append(f.Clusters, more.Clusters...)
	}
	started := time.Now()
	out := s.read(f)
	s.want("another server", out, 0, "CANARY-eu-1", "")
	s.want("the silent one", out, 1, "", "has not been read yet")
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("a sync waits for %s", took)
	}
	for time.Since(started) < 30*time.Second && !strings.Contains(fmt.Sprint(out.Findings), "did not respond in time") {
		time.Sleep(200 * time.Millisecond)
		out = s.Supply(s.audit, f, &s.redactor)
	}
	t.Logf("21 secrets of a silent server were given up after %s, with %d connections", time.Since(started).Round(time.Second), connections.Load())
	if n := connections.Load(); n >= 16 {
		t.Errorf("a silent server was asked %d times", n)
	}
	s.want("the silent one, later", out, 1, "", "did not respond in time")
	s.want("one that isn't allowed", out, 2, "", "credential-source-not-allowed")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkVault: a round of 1,000 secrets of a real Vault, and filling them in.
func BenchmarkVault(b *testing.B) {
	v := newKV(b)
	var refs []clusters.VaultSecret
	for i := range 1000 {
		path := fmt.Sprint("clusters/", i)
		v.put(path, map[string]any{"kubeconfig": kubeconfig(fmt.Sprint("CANARY-token-of-cluster-", i))})
		refs = append(refs, v.ref("kv", path))
	}
	s := newStage(b, v.spec(byToken("vault")))
	s.secrets["vault"] = v.reader("reader")
	f := fleetOf(refs...)
	if out := s.read(f); out.Clusters[999].Quarantined {
		b.Fatal(out.Findings)
	}
	news := s.news.Load()
	for b.Loop() {
		s.again(f)
	}
	if s.news.Load() != news {
		b.Error("there is news of nothing")
	}
	started := time.Now()
	g := *f
	if out := s.Supply(s.audit, &g, &s.redactor); out.Clusters[999].Quarantined {
		b.Error(out.Findings)
	}
	b.ReportMetric(float64(time.Since(started).Microseconds())/1000, "ms/supply")
}
