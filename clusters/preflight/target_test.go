package preflight

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

func workloadIdentity() (*fleet.Opened, *fleet.Cluster, time.Time) {
	return &fleet.Opened{Namespace: "mondoo-operator"}, &fleet.Cluster{Name: "gke", AuditConfig: "mondoo-client", Entry: mondoo.Entry{Name: "gke",
		WorkloadIdentity: &mondoo.WorkloadIdentity{Provider: "gke", GKE: &mondoo.GKE{}}}}, now
}

// execKubeconfig logs in with a plugin that leaves a trace. The test fails when it does.
func execKubeconfig(t *testing.T) []byte {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	t.Cleanup(func() {
		if _, err := os.Stat(trace); err == nil {
			t.Error("the exec plugin was run")
		}
	})
	return []byte(strings.ReplaceAll(kubeconfig, "token: "+canary, `exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [`+trace+`], interactiveMode: Never}`))
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://api.example.com:6443/k8s", tls-server-name: kubernetes}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: ` + canary + `, as: auditor, as-groups: [a, b], as-user-extra: {Team/a b: [x]}}}]
`

func TestFromKubeconfig(t *testing.T) {
	got := FromKubeconfig("eu", []byte(kubeconfig), now)
	want := Target{Cluster: "eu", Server: "https://api.example.com:6443/k8s", TLSServerName: "kubernetes", Token: canary,
		Impersonate: map[string][]string{"Impersonate-User": {"auditor"}, "Impersonate-Group": {"a", "b"}, "Impersonate-Extra-team%2Fa%20b": {"x"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	sent := header(got)
	if sent.Get("Impersonate-User") != "auditor" || sent.Get("Authorization") != "Bearer "+canary {
		t.Errorf("headers %v", sent)
	}
	proxied := FromKubeconfig("eu", []byte(strings.Replace(kubeconfig, "tls-server-name", "proxy-url: http://proxy.example.com:3128, tls-server-name", 1)), now)
	if r := Run(t.Context(), proxied, options()); r.NotChecked == "" || r.Failure() != nil {
		t.Errorf("with a proxy:\n%s", text(r))
	}
}

// TestTargetOf: targets have the values that the Secrets of the fleet have.
func TestTargetOf(t *testing.T) {
	f := &fleet.Opened{Namespace: "mondoo-operator", Secrets: []fleet.Secret{
		{Name: "token", Data: map[string]string{"token": canary + "\n", "ca.crt": "CA"}},
		{Name: "kubeconfig", Data: map[string]string{"kubeconfig": kubeconfig}},
		{Name: "bundle", Data: map[string]string{"ca.crt": "CA"}},
	}}
	token := func(name string) mondoo.Entry {
		return mondoo.Entry{ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://a", CredentialsSecretRef: mondoo.SecretRef{Name: name}}}
	}
	for _, test := range []struct {
		reason     string
		entry      mondoo.Entry
		server     string
		token      string
		ca         string
		notChecked string
	}{
		{"a token", token("token"), "https://a", canary, "CA", ""},
		{"a token elsewhere", token("none"), "", "", "", "the Secret none is not in the repository"},
		{"a kubeconfig", mondoo.Entry{KubeconfigSecretRef: &mondoo.SecretRef{Name: "kubeconfig"}}, "https://api.example.com:6443/k8s", canary, "", ""},
		{"a kubeconfig elsewhere", mondoo.Entry{KubeconfigSecretRef: &mondoo.SecretRef{Name: "none"}}, "", "", "", "not in the repository"},
		{"SPIFFE", mondoo.Entry{SPIFFEAuth: &mondoo.SPIFFEAuth{Server: "https://a", TrustBundleSecretRef: mondoo.SecretRef{Name: "bundle"}}}, "https://a", "", "CA", ""},
		{"SPIFFE with a bundle elsewhere", mondoo.Entry{SPIFFEAuth: &mondoo.SPIFFEAuth{Server: "https://a", TrustBundleSecretRef: mondoo.SecretRef{Name: "none"}}}, "", "", "", "socket of the SPIFFE agent"},
		{"Vault", mondoo.Entry{VaultAuth: &mondoo.VaultAuth{Server: "https://a"}}, "", "", "", "log in to Vault"},
		{"workload identity", mondoo.Entry{WorkloadIdentity: &mondoo.WorkloadIdentity{Provider: "eks"}}, "", "", "", "token of the cloud"},
	} {
		got := TargetOf(f, &fleet.Cluster{Name: "eu", AuditConfig: "mondoo-client", Entry: test.entry}, now)
		if test.notChecked != "" {
			if !strings.Contains(got.NotChecked, test.notChecked) || (got.facts == "") != strings.Contains(got.NotChecked, "repository") {
				t.Errorf("%s: %+v", test.reason, got)
			}
			continue
		}
		if got.Server != test.server || got.Token != test.token || string(got.CA) != test.ca || got.NotChecked != "" {
			t.Errorf("%s: %+v", test.reason, got)
		}
	}
}

// TestSPIFFE: nobody can log in from here, so the server's certificate is checked, and nothing is sent.
func TestSPIFFE(t *testing.T) {
	c := newCluster()
	address := good(t, c)
	for _, test := range []struct {
		reason, bundle string
		want           Cause
	}{
		{"the bundle of the server", string(trusted().pem()), ""},
		{"another bundle", string(other().pem()), ServerCertificateUnknown},
		{"no bundle", "nothing", CAUnusable},
	} {
		f := &fleet.Opened{Secrets: []fleet.Secret{{Name: "bundle", Data: map[string]string{"ca.crt": test.bundle}}}}
		entry := mondoo.Entry{SPIFFEAuth: &mondoo.SPIFFEAuth{Server: "https://" + address, TrustBundleSecretRef: mondoo.SecretRef{Name: "bundle"}}}
		got := Run(t.Context(), TargetOf(f, &fleet.Cluster{Name: "eu", Entry: entry}, now), options())
		if failed := got.Failure(); test.want == "" && (failed != nil || !strings.Contains(got.NotChecked, "SPIFFE agent")) || test.want != "" && (failed == nil || failed.Cause != test.want) {
			t.Errorf("%s:\n%s", test.reason, text(got))
		}
	}
	if len(c.requests) > 0 {
		t.Errorf("requests %v", c.requests)
	}
}

func TestEndpoints(t *testing.T) {
	for _, test := range []struct{ reason, server, host, port, base string }{
		{"the usual port", "https://api.example.com", "api.example.com", "443", "https://api.example.com"},
		{"a port and a path", "https://rancher.example.com:8443/k8s/clusters/c-1/", "rancher.example.com", "8443", "https://rancher.example.com:8443/k8s/clusters/c-1"},
		{"IPv6", "https://[2001:db8::1]:6443", "2001:db8::1", "6443", "https://[2001:db8::1]:6443"},
		{"plain HTTP", "http://api.example.com", "", "", ""},
		{"no scheme", "api.example.com:6443", "", "", ""},
		{"no host", "https://:6443", "", "", ""},
		{"a login", "https://u:p@api.example.com", "", "", ""},
		{"a query", "https://api.example.com?a=b", "", "", ""},
		{"a fragment", "https://api.example.com#a", "", "", ""},
		{"a port out of range", "https://api.example.com:70000", "", "", ""},
		{"port 0", "https://api.example.com:0", "", "", ""},
		{"a blank", "https://api .example.com", "", "", ""},
		{"empty", "", "", "", ""},
	} {
		where, f := Target{Server: test.server, Token: canary}.endpoint(now)
		if test.host == "" {
			if f == nil || f.cause != ServerInvalid {
				t.Errorf("%s: %+v", test.reason, where)
			}
			continue
		}
		if f != nil || where.host != test.host || where.port != test.port || where.base != test.base {
			t.Errorf("%s: %+v %+v", test.reason, where, f)
		}
	}
}

// TestQuoted: names come from a repository, and end up in commands that people paste.
func TestQuoted(t *testing.T) {
	for from, want := range map[string]string{
		"eu-1": "eu-1", "https://a.example.com:6443/x": "https://a.example.com:6443/x",
		"": "''", "-x": "'-x'", "a;reboot": "'a;reboot'", "$(reboot)": "'$(reboot)'", "it's": `'it'\''s'`, "a\nb": "'a\nb'",
	} {
		if got := quoted(from); got != want {
			t.Errorf("%q: %s, want %s", from, got, want)
		}
	}
	hostile := facts{cluster: "eu;reboot", host: "a;reboot", url: "https://a;reboot"}
	for _, cause := range Causes() {
		if _, fix := (&failure{cause: cause}).text(hostile); strings.Contains(strings.ReplaceAll(fix, "reboot'", ""), "reboot") {
			t.Errorf("%s: %s", cause, fix)
		}
	}
}

// TestCandidateOf: before a plan has admitted it, a token goes only to the server of its own file. A kubeconfig has its server with it.
func TestCandidateOf(t *testing.T) {
	f := &fleet.Opened{Secrets: []fleet.Secret{
		{Name: "own", Cluster: "eu", AuditConfig: "a", Data: map[string]string{"token": canary}},
		{Name: "of-us", Cluster: "us", AuditConfig: "a", Data: map[string]string{"token": canary}},
		{Name: "of-other", Cluster: "eu", AuditConfig: "b", Data: map[string]string{"token": canary}},
		{Name: "manifest", Data: map[string]string{"token": canary, "kubeconfig": kubeconfig}},
	}}
	account := func(name string) mondoo.Entry {
		return mondoo.Entry{ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://api.example.com", CredentialsSecretRef: mondoo.SecretRef{Name: name}}}
	}
	for _, tt := range []struct {
		reason string
		entry  mondoo.Entry
		token  bool
	}{
		{"its own token", account("own"), true},
		{"the token of another cluster", account("of-us"), false},
		{"the token of its namesake in another audit config", account("of-other"), false},
		{"a token of a manifest", account("manifest"), false},
		{"a Secret that is not in the repository", account("elsewhere"), false},
		{"a kubeconfig of a manifest", mondoo.Entry{KubeconfigSecretRef: &mondoo.SecretRef{Name: "manifest"}}, true},
	} {
		got := CandidateOf(f, &fleet.Cluster{Name: "eu", AuditConfig: "a", Entry: tt.entry}, now)
		if (got.Token == canary) != tt.token || (got.NotChecked == "") != tt.token || got.Cluster != "eu" {
			t.Errorf("%s: %+v", tt.reason, got)
		}
	}
}

// TestPlace: the same place whatever the credential, and another one with each thing that decides where the credential goes.
func TestPlace(t *testing.T) {
	base := Target{Cluster: "eu", Server: "https://api", CA: []byte("CA\n"), Token: "a"}
	for _, tt := range []struct {
		reason string
		change func(*Target)
		same   bool
	}{
		{"another token", func(t *Target) { t.Token, t.UID = "b", "uid" }, true},
		{"another line end", func(t *Target) { t.CA = []byte("CA") }, true},
		{"another server", func(t *Target) { t.Server += ":6443" }, false},
		{"another CA", func(t *Target) { t.CA = []byte("other") }, false},
		{"another name in the certificate", func(t *Target) { t.TLSServerName = "kubernetes" }, false},
		{"a proxy", func(t *Target) { t.ProxyURL = "http://proxy:3128" }, false},
		{"no check of the certificate", func(t *Target) { t.SkipTLSVerify = true }, false},
	} {
		other := base
		tt.change(&other)
		if got := other.Place() == base.Place(); got != tt.same {
			t.Errorf("%s: the same place: %t", tt.reason, got)
		}
	}
}

func TestBlocks(t *testing.T) {
	for cause, blocks := range map[Cause]bool{RightsPartial: false, IdentityUnreadable: false, RightsNone: true, OtherCluster: true, TokenExpired: true, ConnectTimeout: true} {
		r := Result{Checks: []Check{{State: Passed}, {State: Failed, Cause: cause}}}
		if got := r.Blocks(); (got != nil) != blocks {
			t.Errorf("%s: %+v", cause, got)
		}
	}
	both := Result{Checks: []Check{{State: Failed, Cause: RightsPartial}, {State: Failed, Cause: OtherCluster}}}
	if got := both.Blocks(); got == nil || got.Cause != OtherCluster {
		t.Errorf("%+v", got)
	}
}
