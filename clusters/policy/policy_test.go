package policy_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/policy"
)

func object(t *testing.T, spec string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte("metadata: {name: m}\nspec: "+spec), &o); err != nil {
		t.Fatalf("%v in %s", err, spec)
	}
	return o
}

// TestAuditConfig is the table of what a pusher may try with an audit config, as kustomize has built it.
func TestAuditConfig(t *testing.T) {
	const good = "mondooCredsSecretRef: {name: mondoo-client}"
	base := []string{"mondooCredsSecretRef=mondoo-client"}
	reserved := map[string]string{"sops-age": "the AuditSync prod", "fleet-git": "the AuditSync prod"}
	for _, row := range []struct {
		reason, spec string
		allow        []string
		want         string // code and field, by blanks
	}{
		{"what is allowed", "{" + good + "}", base, ""},
		{"by default nothing", "{" + good + "}", nil, "audit-config-not-allowed spec.mondooCredsSecretRef"},
		{"another Secret", "{mondooCredsSecretRef: {name: other}}", base, "audit-config-not-allowed spec.mondooCredsSecretRef"},
		{"a Secret without its name on the list", "{" + good + "}", []string{"mondooCredsSecretRef"}, "audit-config-not-allowed spec.mondooCredsSecretRef"},
		{"the list's name in another field", "{mondooTokenSecretRef: {name: mondoo-client}}", base, "audit-config-not-allowed spec.mondooTokenSecretRef"},
		{"SOPS keys as credentials", "{mondooCredsSecretRef: {name: sops-age}}", nil, "secret-reserved spec.mondooCredsSecretRef"},
		{"SOPS keys, though allowed", "{mondooCredsSecretRef: {name: sops-age}}", []string{"mondooCredsSecretRef=sops-age"}, "secret-reserved spec.mondooCredsSecretRef"},
		{"a Secret made of inline credentials, though allowed", "{mondooTokenSecretRef: {name: mondoo-client-eu-kubeconfig-0123456789abcdef}}", []string{"mondooTokenSecretRef=mondoo-client-eu-kubeconfig-0123456789abcdef"}, "secret-reserved spec.mondooTokenSecretRef"},
		{"an image", "{scanner: {image: {name: evil.example.com/x}}}", base, "audit-config-not-allowed spec.scanner.image.name"},
		{"another image than the one allowed", "{scanner: {image: {name: evil.example.com/x}}}", []string{"scanner.image.name=example.com/x"}, "audit-config-not-allowed spec.scanner.image.name"},
		{"the image allowed", "{scanner: {image: {name: example.com/x}}}", []string{"scanner.image.name=example.com/x"}, ""},
		{"a tag, where tags are allowed", "{scanner: {image: {tag: '2'}}}", []string{"scanner.image.tag"}, ""},
		{"an image, where tags are allowed", "{scanner: {image: {name: x}}}", []string{"scanner.image.tag"}, "audit-config-not-allowed spec.scanner.image.name"},
		{"all of a field", "{scanner: {image: {name: x, tag: t}, env: [{name: a, value: b}]}}", []string{"scanner"}, ""},
		{"a field that begins like an allowed one", "{scanner2: {a: b}}", []string{"scanner"}, "audit-config-not-allowed spec.scanner2"},
		{"no wildcards", "{scanner: {image: {tag: '2'}}}", []string{"*", "scanner.*", "scanner.image.*"}, "audit-config-not-allowed spec.scanner.image.tag"},
		{"an empty entry", "{scanner: {image: {tag: '2'}}}", []string{"", "=", "=2"}, "audit-config-not-allowed spec.scanner.image.tag"},
		{"the ServiceAccount of Muster", "{scanner: {serviceAccountName: muster}}", base, "audit-config-not-allowed spec.scanner.serviceAccountName"},
		{"a Secret in an environment that is allowed", "{scanner: {env: [{name: a, valueFrom: {secretKeyRef: {name: other, key: k}}}]}}", []string{"scanner"},
			"audit-config-not-allowed spec.scanner.env[0].valueFrom.secretKeyRef"},
		{"that Secret, allowed", "{scanner: {env: [{name: a, valueFrom: {secretKeyRef: {name: other, key: k}}}]}}", []string{"scanner.env", "scanner.env.valueFrom.secretKeyRef=other"}, ""},
		{"SOPS keys in an environment, though all is allowed", "{scanner: {env: [{name: a, valueFrom: {secretKeyRef: {name: sops-age, key: k}}}]}}",
			[]string{"scanner", "scanner.env.valueFrom.secretKeyRef=sops-age"}, "secret-reserved spec.scanner.env secret-reserved spec.scanner.env[0].valueFrom.secretKeyRef"},
		{"SOPS keys in a volume of a field that nobody knows", "{jobOverrides: {volumes: [{csi: {nodePublish: {name: sops-age}}}]}}", []string{"jobOverrides"}, "secret-reserved spec.jobOverrides.volumes"},
		{"Git's credentials among registries", "{scanner: {privateRegistriesPullSecretRefs: [{name: other}, {name: fleet-git}]}}", []string{"scanner.privateRegistriesPullSecretRefs=other"},
			"secret-reserved spec.scanner.privateRegistriesPullSecretRefs[1]"},
		{"annotations of Pods", "{kubernetesResources: {jobOverrides: {annotations: {vault.hashicorp.com/agent-inject: 'true'}}}}", base, "audit-config-not-allowed spec.kubernetesResources.jobOverrides.annotations"},
		{"a newer field", "{newField: 1}", base, "audit-config-not-allowed spec.newField"},
		{"a newer field, allowed", "{newField: {a: [b]}}", []string{"newField"}, ""},
		{"remote-managed, though allowed", "{remoteManaged: true}", []string{"remoteManaged", "remoteManaged=true"}, "remote-managed spec.remoteManaged"},
		{"not remote-managed", "{remoteManaged: false}", nil, ""},
		{"of the wrong type, though allowed", "{scanner: {image: evil}}", []string{"scanner"}, "audit-config-field spec.scanner.image"},
		{"a duration that stops the operator", "{containers: {activeDeadline: 1d}}", nil, "audit-config-field spec.containers.activeDeadline"},
	} {
		p := policy.Policy{Source: "the AuditSync prod", Allow: row.allow, Reserved: reserved}
		var got []string
		for _, problem := range p.AuditConfig(object(t, row.spec)) {
			got = append(got, string(problem.Code), problem.Path())
			if problem.Fix == "" || problem.Message == "" || problem.Severity != "error" {
				t.Errorf("%s: %+v", row.reason, problem)
			}
		}
		if text := strings.Join(got, " "); text != row.want {
			t.Errorf("%s: %q, want %q", row.reason, text, row.want)
		}
	}
}

// TestFixIsTheLine: what a finding says to add is what allows it.
func TestFixIsTheLine(t *testing.T) {
	o := object(t, "{mondooCredsSecretRef: {name: c}, scanner: {image: {tag: v=1}, env: [{name: a, valueFrom: {secretKeyRef: {name: d}}}]}, newField: [x]}")
	p := policy.Policy{Source: "the AuditSync prod"}
	for _, problem := range p.AuditConfig(o) {
		_, after, _ := strings.Cut(problem.Fix, `"- `)
		entry, _, ok := strings.Cut(after, `"`)
		if !ok || !strings.Contains(problem.Fix, "spec.auditConfigs.allow of the AuditSync prod") {
			t.Fatalf("no line in %q", problem.Fix)
		}
		p.Allow = append(p.Allow, entry)
	}
	if left := p.AuditConfig(o); len(left) > 0 || len(p.Allow) != 5 {
		t.Errorf("with %q: %v", p.Allow, left)
	}
	vault := policy.Policy{}.VaultAddress("https://Vault.example.com:8200/")
	if vault == nil || !strings.Contains(vault.Fix, `"- https://vault.example.com:8200" to spec.vaultAuth.addresses`) || !strings.Contains(vault.Fix, "--policy") {
		t.Errorf("%+v", vault)
	}
}

// TestVaultAddress compares origins, and takes nothing that a client could read in another way.
func TestVaultAddress(t *testing.T) {
	p := policy.Policy{VaultAddresses: []string{"https://vault.example.com:8200", "https://HCP.example.com/", "https://[2001:db8::1]:443", "http://plain.example.com", "*"}}
	for address, want := range map[string]string{
		"https://vault.example.com:8200":                   "",
		"https://VAULT.example.com:8200/":                  "",
		"https://hcp.example.com":                          "",
		"https://hcp.example.com:443":                      "",
		"https://[2001:DB8::1]":                            "",
		"https://vault.example.com":                        "vault-not-allowed",
		"https://vault.example.com:8201":                   "vault-not-allowed",
		"https://evil.example.com":                         "vault-not-allowed",
		"https://vault.example.com.evil.example":           "vault-not-allowed",
		"https://xvault.example.com:8200":                  "vault-not-allowed",
		"https://vault.example.com.:8200":                  "vault-not-allowed",
		"https://*":                                        "vault-not-allowed",
		"http://vault.example.com:8200":                    "vault-address",
		"http://plain.example.com":                         "vault-address",
		"https://vault.example.com:8200@evil.example.com":  "vault-address",
		"https://vault.example.com:8200/path":              "vault-address",
		"https://vault.example.com:8200//evil":             "vault-address",
		"https://vault.example.com:8200?x":                 "vault-address",
		"https://vault.example.com:8200#x":                 "vault-address",
		"https://vault.example.com:8200#":                  "vault-address",
		`https://vault.example.com:8200\@evil.example.com`: "vault-address",
		"https://vault.example.com:":                       "vault-address",
		"https://vault.example%2ecom:8200":                 "vault-address",
		"https:vault.example.com":                          "vault-address",
		"//vault.example.com:8200":                         "vault-address",
		"":                                                 "vault-address",
	} {
		got := ""
		if problem := p.VaultAddress(address); problem != nil {
			got = string(problem.Code)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if (policy.Policy{}).VaultAddress("https://vault.example.com") == nil {
		t.Error("the zero policy allows a Vault")
	}
}
