package credential_test

import (
	"encoding/asn1"
	"math/big"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

// kubeconfig has one context. cluster and user are YAML in flow style.
func kubeconfig(cluster, user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: canary\ncontexts:\n- {name: canary, context: {cluster: canary-c, user: canary-u}}\n" +
		"clusters:\n- {name: canary-c, cluster: {" + cluster + "}}\nusers:\n- {name: canary-u, user: {" + user + "}}\n"
}

const server = `server: "https://canary.example.com:6443"`

func TestKubeconfig(t *testing.T) {
	ca := valid(t)
	cert, key := pair(t, now.Add(-days), now.Add(90*days))
	_, otherKey := pair(t, now.Add(-days), now.Add(90*days))
	oldCert, oldKey := pair(t, now.Add(-90*days), now.Add(-time.Second))
	soonCert, soonKey := pair(t, now.Add(-90*days), now.Add(29*days))
	earlyCert, earlyKey := pair(t, now.Add(time.Hour), now.Add(90*days))
	good := kubeconfig(server+", certificate-authority-data: "+b64(ca), "token: canary")
	client := func(cert, key string) string {
		return kubeconfig(server, "client-certificate-data: "+b64(cert)+", client-key-data: "+b64(key))
	}
	tests := []struct {
		reason, text string
		want         []string
	}{
		{"token and CA", good, nil},
		{"client certificate", client(cert, key), nil},
		{"client certificate with its issuer behind it", client(cert+ca, key), nil},
		{"client certificate with its key behind it, which client-go takes", client(cert+key, key), nil},
		{"client certificate with its key before it", client(key+cert, key), nil},
		{"JSON", `{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"clusters":[{"name":"a","cluster":{"server":"https://canary"}}],"users":[{"name":"a","user":{"token":"canary"}}]}`, nil},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), nil},
		{"byte order mark", "\ufeff" + good, nil},
		{"what another user does is of no matter", good + "- {name: other, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: canary, interactiveMode: Never}}}\n", nil},
		{"impersonation and extensions", kubeconfig(server, "token: canary, as: canary, as-groups: [canary]") + "extensions: []\npreferences: {}\n", nil},

		{"empty", "", []string{"error credential-empty"}},
		{"blank", " \r\n\t", []string{"error credential-empty"}},
		{"huge", good + strings.Repeat("# canary\n", 1<<17), []string{"error secret-size"}},
		{"not UTF-8", good + "# \xff\xfe", []string{"error kubeconfig-syntax"}},
		{"UTF-16", "a\x00p\x00i\x00", []string{"error kubeconfig-syntax"}},
		{"not YAML", "canary: [", []string{"error kubeconfig-syntax"}},
		{"tabs", "clusters:\n\t- canary", []string{"error kubeconfig-syntax"}},
		{"a field twice", good + "current-context: canary\n", []string{"error kubeconfig-syntax"}},
		{"a server twice", kubeconfig(server+", "+server, "token: canary"), []string{"error kubeconfig-syntax"}},
		{"aliases without end", "a: &a [canary,canary,canary,canary,canary,canary,canary,canary,canary]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n", []string{"error kubeconfig-syntax"}},
		{"only text", "canary", []string{"error kubeconfig-kind"}},
		{"a list", "- canary", []string{"error kubeconfig-kind"}},
		{"null", "null", []string{"error kubeconfig-kind"}},
		{"a Secret with a kubeconfig", "apiVersion: v1\nkind: Secret\nstringData: {kubeconfig: canary}", []string{"error kubeconfig-kind"}},
		{"another version", strings.Replace(good, "v1", "v2", 1), []string{"error kubeconfig-kind"}},
		{"nothing but a head", "apiVersion: v1\nkind: Config", []string{"error kubeconfig-kind"}},
		{"clusters of the wrong kind", "clusters: canary\ncontexts: []", []string{"error kubeconfig-invalid"}},
		{"one name twice", strings.Replace(good, "users:", "- {name: canary-c, cluster: {server: https://canary-2}}\nusers:", 1), []string{"error kubeconfig-invalid"}},
		{"PEM instead of base64", kubeconfig(server+`, certificate-authority-data: "-----BEGIN canary"`, "token: canary"), []string{"error kubeconfig-invalid"}},
		{"PEM instead of base64, user", kubeconfig(server, `client-certificate-data: "-----canary", client-key-data: "-----canary"`), []string{"error kubeconfig-invalid", "error kubeconfig-invalid"}},
		{"misspelt field", good + "current-contxt: canary\n", []string{"warning kubeconfig-unknown-field"}},

		{"no current context", strings.Replace(good, "current-context: canary\n", "", 1), []string{"error kubeconfig-context"}},
		{"another current context", strings.Replace(good, "current-context: canary", "current-context: canary-2", 1), []string{"error kubeconfig-context"}},
		{"cluster and user missing", strings.Replace(good, "cluster: canary-c, user: canary-u", "cluster: canary-1, user: canary-2", 1), []string{"error kubeconfig-context", "error kubeconfig-context"}},
		{"an empty context", strings.Replace(good, "cluster: canary-c, user: canary-u", "", 1), []string{"error kubeconfig-context", "error kubeconfig-context"}},

		{"exec plugin", kubeconfig(server, "exec: {apiVersion: client.authentication.k8s.io/v1, command: canary, interactiveMode: Never}"), []string{"error kubeconfig-plugin"}},
		{"auth provider", kubeconfig(server, "auth-provider: {name: canary}"), []string{"error kubeconfig-plugin"}},
		{"files everywhere", kubeconfig(server+", certificate-authority: /etc/passwd", "client-certificate: canary.crt, client-key: canary.key, tokenFile: /canary"),
			[]string{"error kubeconfig-file-reference", "error kubeconfig-file-reference", "error kubeconfig-file-reference", "error kubeconfig-file-reference"}},
		{"no credentials", kubeconfig(server, ""), []string{"error kubeconfig-login"}},
		{"password", kubeconfig(server, "username: canary, password: canary"), []string{"warning kubeconfig-login"}},
		{"two ways to log in", kubeconfig(server, "token: canary, username: canary, password: canary"), []string{"error kubeconfig-invalid"}},

		{"no server", kubeconfig("tls-server-name: canary", "token: canary"), []string{"error kubeconfig-server"}},
		{"http", kubeconfig("server: http://canary", "token: canary"), []string{"error kubeconfig-server"}},
		{"server without scheme", kubeconfig("server: canary:6443", "token: canary"), []string{"error kubeconfig-server"}},
		{"server without host", kubeconfig("server: https://", "token: canary"), []string{"error kubeconfig-server"}},
		{"server with a password", kubeconfig(`server: "https://u:canary@host"`, "token: canary"), []string{"error kubeconfig-server"}},
		{"server that no URL parser takes", kubeconfig(`server: "https://canary/%zz"`, "token: canary"), []string{"error kubeconfig-server"}},
		{"kind", kubeconfig(`server: "https://127.0.0.1:6443"`, "token: canary"), []string{"warning kubeconfig-server"}},
		{"the management cluster", kubeconfig(`server: "https://kubernetes.default.svc"`, "token: canary"), []string{"warning kubeconfig-server"}},
		{"the management cluster by its whole name", kubeconfig(`server: "https://Kubernetes.default.svc.cluster.local.:443"`, "token: canary"), []string{"warning kubeconfig-server"}},
		{"a host that begins like the management cluster's", kubeconfig(`server: "https://kubernetes.example.com"`, "token: canary"), nil},
		{"no TLS check", kubeconfig(server+", insecure-skip-tls-verify: true", "token: canary"), []string{"warning kubeconfig-insecure"}},
		{"no TLS check but a CA", kubeconfig(server+", insecure-skip-tls-verify: true, certificate-authority-data: "+b64(ca), "token: canary"), []string{"error kubeconfig-invalid"}},
		{"proxy", kubeconfig(server+`, proxy-url: "http://u:canary@proxy"`, "token: canary"), []string{"info kubeconfig-proxy"}},
		{"proxy of another kind", kubeconfig(server+`, proxy-url: "ftp://canary"`, "token: canary"), []string{"info kubeconfig-proxy", "error kubeconfig-invalid"}},

		{"CA that is none", kubeconfig(server+", certificate-authority-data: "+b64("canary"), "token: canary"), []string{"error certificate-form"}},
		{"CA encoded twice", kubeconfig(server+", certificate-authority-data: "+b64(b64(ca)), "token: canary"), []string{"error credential-base64"}},
		{"CA expired", kubeconfig(server+", certificate-authority-data: "+b64(oldCert), "token: canary"), []string{"error certificate-expired"}},
		{"certificate without key", kubeconfig(server, "client-certificate-data: "+b64(cert)), []string{"error certificate-key-pair"}},
		{"key without certificate", kubeconfig(server, "client-key-data: "+b64(key)), []string{"error certificate-key-pair"}},
		{"another one's key", client(cert, otherKey), []string{"error certificate-key-pair"}},
		{"key that is none", client(cert, "canary"), []string{"error certificate-key-pair"}},
		{"key under a passphrase", client(cert, block("ENCRYPTED PRIVATE KEY", []byte("canary"))), []string{"error certificate-key-pair"}},
		{"certificate that is none", client(block("CERTIFICATE", []byte("canary")), key), []string{"error certificate-form"}},
		{"key in the place of the certificate", client(key, key), []string{"error certificate-private-key", "error certificate-form"}},
		{"certificate expired", client(oldCert, oldKey), []string{"error certificate-expired"}},
		{"certificate expires soon", client(soonCert, soonKey), []string{"warning certificate-expiring"}},
		{"certificate too early", client(earlyCert, earlyKey), []string{"warning certificate-not-yet-valid"}},

		{"token expired", kubeconfig(server, "token: "+expiring(now)), []string{"error token-expired"}},
		{"token with a line end", kubeconfig(server, `token: "canary\n"`), []string{"error token-form"}},
		{"token encoded", kubeconfig(server, "token: "+b64(expiring(now))), []string{"error credential-base64"}},
		{"several at once", kubeconfig("server: http://canary, certificate-authority: a", "exec: {command: canary}, tokenFile: b"),
			[]string{"error kubeconfig-server", "error kubeconfig-file-reference", "error kubeconfig-plugin", "error kubeconfig-file-reference"}},
	}
	for _, test := range tests {
		facts, problems := credential.Kubeconfig([]byte(test.text), now)
		problems = append(problems, facts.Expiring(now, 0)...)
		if got := short(t, problems); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}

func TestKubeconfigFacts(t *testing.T) {
	ca, _ := pair(t, now.Add(-days), now.Add(300*days))
	cert, key := pair(t, now.Add(-days), now.Add(100*days))
	text := kubeconfig(server+", certificate-authority-data: "+b64(ca), "client-certificate-data: "+b64(cert)+", client-key-data: "+b64(key)+", token: "+expiring(now.Add(200*days)))
	facts, _ := credential.Kubeconfig([]byte(text), now)
	if facts.Server != "https://canary.example.com:6443" || !facts.Expires.Equal(now.Add(100*days)) {
		t.Errorf("%+v", facts)
	}
	facts, _ = credential.Kubeconfig([]byte("canary"), now)
	if !reflect.DeepEqual(facts, credential.Facts{}) {
		t.Errorf("of nothing: %+v", facts)
	}
}

// TestLongKey: the library computes with a private key of any length before it reports a mismatch.
func TestLongKey(t *testing.T) {
	cert, _ := pair(t, now.Add(-days), now.Add(365*days))
	long := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 100<<10), big.NewInt(1))
	der, err := asn1.Marshal([]*big.Int{big.NewInt(0), new(big.Int).Mul(long, long), big.NewInt(65537), long, long, long, long, long, long})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(kubeconfig(server, "client-certificate-data: "+b64(cert)+", client-key-data: "+b64(block("RSA PRIVATE KEY", der))))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, problems := credential.Kubeconfig(text, now)
	runtime.ReadMemStats(&after)
	taken := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("a key of %d KiB: %d MiB allocated", len(der)>>10, taken)
	if got := short(t, problems); !slices.Equal(got, []string{"error certificate-key-pair"}) || taken > 16 {
		t.Errorf("%d MiB, %q", taken, got)
	}
}

// FuzzKubeconfig verifies that no text makes the check panic or open a file, and that messages are from the closed set that
// short allows.
func FuzzKubeconfig(f *testing.F) {
	f.Add(kubeconfig(server, "token: canary"))
	f.Add(kubeconfig(server+", certificate-authority: /dev/zero", "tokenFile: /dev/zero"))
	f.Add(kubeconfig(server+`, proxy-url: "::", certificate-authority-data: YQ==`, "client-certificate-data: YQ==, client-key-data: YQ=="))
	f.Fuzz(func(t *testing.T, text string) {
		_, problems := credential.Kubeconfig([]byte(text), now)
		short(t, problems)
	})
}
