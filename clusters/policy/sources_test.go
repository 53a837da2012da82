package policy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// TestSources: what an AuditSync allows to read, and nothing beside it.
func TestSources(t *testing.T) {
	p := policy.Policy{Source: "the AuditSync a", Reserved: map[string]string{"sops-keys": "the AuditSync a"}, Credentials: policy.Sources{Namespaces: []string{"argocd", "own"},
		Vault: []policy.VaultServer{{Address: "https://v:8200", Mounts: []policy.VaultMount{{Mount: "kv", Version: 2, Paths: []string{"clusters/*", "one"}}, {Mount: "old", Version: 1, Paths: []string{"*"}}}},
			{Address: "https://v:8200", Namespace: "team", Mounts: []policy.VaultMount{{Mount: "kv", Version: 2, Paths: []string{"a"}}}}}}}
	type vault = v1alpha1.VaultSecret
	for _, row := range []struct {
		reason string
		of     vault
		field  string // of the problem; empty if it is allowed
	}{
		{"below a path", vault{Address: "https://v:8200", Mount: "kv", Path: "clusters/eu/a", Version: 3}, ""},
		{"a path", vault{Address: "https://V:8200/", Mount: "kv", Path: "one"}, ""},
		{"any path", vault{Address: "https://v:8200", Mount: "old", Path: "x"}, ""},
		{"in a namespace", vault{Address: "https://v:8200", Namespace: "team/", Mount: "kv", Path: "a"}, ""},
		{"beside a path", vault{Address: "https://v:8200", Mount: "kv", Path: "one/more"}, "path"},
		{"a path of another namespace", vault{Address: "https://v:8200", Namespace: "team", Mount: "kv", Path: "one"}, "path"},
		{"a prefix of a prefix", vault{Address: "https://v:8200", Mount: "kv", Path: "clusters"}, "path"},
		{"a part of the path in the mount", vault{Address: "https://v:8200", Mount: "kv/clusters", Path: "eu"}, "mount"},
		{"another mount", vault{Address: "https://v:8200", Mount: "sys", Path: "one"}, "mount"},
		{"another port", vault{Address: "https://v", Mount: "kv", Path: "one"}, "address"},
		{"another namespace", vault{Address: "https://v:8200", Namespace: "team/b", Mount: "kv", Path: "a"}, "address"},
		{"another server", vault{Address: "https://v.evil:8200", Mount: "kv", Path: "one"}, "address"},
		{"a version where there are none", vault{Address: "https://v:8200", Mount: "old", Path: "x", Version: 1}, "version"},
	} {
		problem := p.VaultSecret(row.of, []string{"vault"})
		if (problem == nil) != (row.field == "") || problem != nil && problem.Path() != "vault."+row.field {
			t.Errorf("%s: %+v, want %q", row.reason, problem, row.field)
		}
		if (policy.Policy{}).VaultSecret(row.of, nil) == nil {
			t.Errorf("%s: allowed by default", row.reason)
		}
	}
	for _, row := range []struct{ namespace, name, says string }{
		{"argocd", "cluster-eu", ""},
		{"argocd", "sops-keys", ""}, // another namespace's
		{"own", "sops-keys", "only the AuditSync a may use"},
		{"kube-system", "x", `add the line "- kube-system" to spec.credentialSources.secrets.namespaces`},
	} {
		problem := p.ForeignSecret(v1alpha1.ForeignSecret{Namespace: row.namespace, Name: row.name}, "own", []string{"secretRef"})
		if (problem == nil) != (row.says == "") || problem != nil && !strings.Contains(problem.Message+problem.Fix, row.says) {
			t.Errorf("%s/%s: %+v", row.namespace, row.name, problem)
		}
	}
}

// TestCommonSources: of two AuditSyncs, only what both allow is allowed.
func TestCommonSources(t *testing.T) {
	server := func(address string, paths ...string) policy.VaultServer {
		return policy.VaultServer{Address: address, Mounts: []policy.VaultMount{{Mount: "kv", Version: 2, Paths: paths}}}
	}
	a := policy.Sources{Namespaces: []string{"x", "y"}, Vault: []policy.VaultServer{server("https://a", "1", "2"), server("https://b", "1")}}
	b := policy.Sources{Namespaces: []string{"y", "z"}, Vault: []policy.VaultServer{server("https://A:443/", "2", "3"), server("https://c", "1")}}
	want := policy.Sources{Namespaces: []string{"y"}, Vault: []policy.VaultServer{server("https://a", "2")}}
	if got := a.Common(b); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
