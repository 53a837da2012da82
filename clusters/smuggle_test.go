package clusters_test

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestSmuggling is what somebody without keys, who can change the repository, might do to get at a secret: have a token sent to
// another server, or a value shown where it can be read. Each attempt has an error finding, leaves the victim out, and shows
// nothing.
func TestSmuggling(t *testing.T) {
	key := sealtest.NewKey(t)
	token := "token-" + canary
	account := func(server string) string {
		return "  serviceAccountAuth:\n    server: " + server + "\n    token: " + token + "\n    caCert: |\n" + indent(6, caPEM())
	}
	plain := func(name, spec string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + spec
	}
	seal := func(text string, rule sealtest.Rule) string { return key.Encrypt(t, "c.yaml", text, rule) }
	prod := seal(plain("prod", account("https://prod.example.com:6443")), sealtest.Credentials)
	macOnly := seal(plain("prod", account("https://prod.example.com:6443")), sealtest.Rule{EncryptedRegex: "^token$", MACOnlyEncrypted: true})
	last := seal(plain("prod", "  serviceAccountAuth:\n    token: "+token+"\n    caCert: |\n"+indent(6, caPEM())+"    server: https://prod.example.com:6443\n"), sealtest.Credentials)
	noted := seal(strings.Replace(plain("prod", account("https://prod.example.com:6443")), "name: prod\n", "name: prod\n  annotations:\n    runbook: https://wiki.example.com/\n", 1), sealtest.Credentials)
	scanning := seal(plain("prod", account("https://prod.example.com:6443")+"  containerImageScanning: true\n"), sealtest.Credentials)
	halves := seal(strings.Replace(plain("prod", account("https://prod.example.com:6443")), "name: prod\n", "name: prod\n  annotations: {a: http, b: 's://wiki.example.com/'}\n", 1), sealtest.Credentials)
	secret := seal("apiVersion: v1\nkind: Secret\nmetadata:\n  name: creds\nstringData:\n  token: "+token+"\n  ca.crt: "+canary+"\n", sealtest.Credentials)
	kubeconfigFile := key.Encrypt(t, "k.yaml", kubeconfig("prod"), sealtest.Rule{EncryptedRegex: "^token$"})
	replacements := func(from, to string) string {
		return "resources: [prod.yaml, other.yaml]\nreplacements:\n- source: " + from + "\n  targets:\n  - " + to + "\n"
	}
	listed := func(entry string) string {
		return strings.Replace(auditConfig("mondoo-client"), "kubernetesResources:\n", "kubernetesResources:\n    externalClusters: ["+entry+"]\n", 1)
	}
	env := key.Encrypt(t, "prod.env", "token="+token+"\n", sealtest.Everything)

	for _, test := range []struct {
		name  string
		files files
		code  finding.Code
	}{
		{"the server is cut, its end under a merge key", files{"prod.yaml": strings.Replace(prod, "server: https://prod.example.com:6443", "server: https://prod.example.co\n        <<: {server: \"m:6443\"}", 1)}, ""},
		{"the server is cut, its end in a field that a patch removes", files{
			"prod.yaml":          strings.Replace(prod, "server: https://prod.example.com:6443", "server: https://prod.example.co\n        junk: \"m:6443\"", 1),
			"kustomization.yaml": "resources: [prod.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: remove, path: /spec/serviceAccountAuth/junk}\n"}, "server-unsealed"},
		{"the server is last, so that its end could stand anywhere", files{"prod.yaml": last}, "server-unsealed"},
		{"an address that stands before the server is put in front of it", files{"prod.yaml": strings.Replace(strings.Replace(noted, "runbook: https://wiki.example.com/", "runbook: \"\"", 1),
			"server: https://", "server: https://wiki.example.com/https://", 1)}, "server-unsealed"},
		{"the same with half of the address in one field and half in another", files{"prod.yaml": strings.Replace(strings.Replace(halves, "{a: http, b: 's://wiki.example.com/'}", "{a: '', b: ''}", 1),
			"server: https://", "server: https://wiki.example.com/https://", 1)}, "server-unsealed"},
		{"the truth of another field turns TLS off", files{"prod.yaml": strings.Replace(scanning, "\n    containerImageScanning: true", "\n        skipTLSVerify: true", 1)}, "server-unsealed"},
		{"mac_only_encrypted", files{"prod.yaml": strings.Replace(macOnly, "https://prod", "https://evil", 1)}, "server-unsealed"},
		{"mac_only_encrypted in another spelling", files{"prod.yaml": strings.Replace(strings.Replace(macOnly, "https://prod", "https://evil", 1), "mac_only_encrypted: true", "mac_only_encrypted: True", 1)}, "server-unsealed"},
		{"the server is patched", files{"prod.yaml": prod, "kustomization.yaml": "resources: [prod.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: replace, path: /spec/serviceAccountAuth/server, value: https://evil.example.com}\n"}, "server-unsealed"},
		{"the CA is patched", files{"prod.yaml": prod, "kustomization.yaml": "resources: [prod.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: replace, path: /spec/serviceAccountAuth/caCert, value: other}\n"}, "server-unsealed"},
		{"a kubeconfig's server is readable", files{"prod.yaml": plain("prod", "  kubeconfigFile: k.yaml\n"), "k.yaml": kubeconfigFile}, "server-unsealed"},
		{"another cluster's Secret is named", files{"prod.yaml": prod, "other.yaml": plain("evil", "  serviceAccountAuth:\n    server: https://evil.example.com\n    credentialsSecretRef: {name: mondoo-client-prod-service-account}\n")}, "secret-name"},
		{"a token is copied to a Secret", files{"prod.yaml": prod, "other.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: steal}\nstringData: {token: x}\n",
			"kustomization.yaml": replacements("{kind: ExternalCluster, name: prod, fieldPath: spec.serviceAccountAuth.token}", "select: {kind: Secret}\n    fieldPaths: [stringData.token]")}, "encrypted-place"},
		{"a Secret's value is copied to another Secret", files{"prod.yaml": secret, "other.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: steal}\nstringData: {token: x}\n",
			"kustomization.yaml": replacements("{kind: Secret, name: creds, fieldPath: stringData.token}", "select: {kind: Secret, name: steal}\n    fieldPaths: [stringData.token]")}, "encrypted-place"},
		{"a generated value is copied to an audit config", files{"prod.env": env,
			"kustomization.yaml": "resources: [mondoo-client.yaml]\nsecretGenerator: [{name: s, envs: [prod.env]}]\nreplacements:\n- source: {kind: Secret, fieldPath: data.token}\n  targets:\n  - select: {kind: MondooAuditConfig}\n    fieldPaths: [metadata.annotations.x]\n    options: {create: true}\n"}, "unsupported"},
		{"a generated value is copied to a cluster", files{"prod.env": env, "other.yaml": plain("evil", "  kubeconfigSecretRef: {name: x}\n  filtering: {namespaces: {include: [a]}}\n"),
			"kustomization.yaml": "resources: [mondoo-client.yaml, other.yaml]\nsecretGenerator: [{name: s, envs: [prod.env]}]\nreplacements:\n- source: {kind: Secret, fieldPath: data.token}\n  targets:\n  - select: {kind: ExternalCluster}\n    fieldPaths: [spec.filtering.namespaces.include.0]\n"}, "unsupported"},
		{"pieces of a generated value are copied to a cluster", files{"prod.env": env, "other.yaml": plain("evil", "  kubeconfigSecretRef: {name: x}\n  filtering: {namespaces: {include: [a]}}\n"),
			"kustomization.yaml": "resources: [mondoo-client.yaml, other.yaml]\nsecretGenerator: [{name: s, envs: [prod.env]}]\nreplacements:\n- source: {kind: Secret, fieldPath: data.token, options: {delimiter: a, index: 0}}\n  targets:\n  - select: {kind: ExternalCluster}\n    fieldPaths: [spec.filtering.namespaces.include.0]\n"}, "unsupported"},
		{"a generated value is copied by a transformer", files{"prod.env": env, "t.yaml": "apiVersion: builtin\nkind: ReplacementTransformer\nmetadata: {name: t}\nreplacements:\n- source: {kind: Secret, fieldPath: data.token}\n  targets:\n  - select: {kind: MondooAuditConfig}\n    fieldPaths: [metadata.annotations.x]\n    options: {create: true}\n",
			"kustomization.yaml": "resources: [mondoo-client.yaml]\nsecretGenerator: [{name: s, envs: [prod.env]}]\ntransformers: [t.yaml]\n"}, "unsupported"},
		{"a generated value is copied to where the Secret is described", files{"prod.env": env,
			"kustomization.yaml": "resources: [mondoo-client.yaml]\nsecretGenerator: [{name: s, files: [all=prod.env]}, {name: steal, envs: [prod.env]}]\npatches:\n- target: {kind: Secret, name: steal}\n  patch: |\n    - {op: add, path: /metadata/annotations, value: {}}\n    - {op: copy, from: /data/token, path: /metadata/annotations/x}\n"}, "unsupported"},
		{"what is opened for a generator is named as a patch", files{"other.yaml": secret, "../.muster-inputs/clusters/other.yaml": "- {op: replace, path: /spec/x/y/z, value: never}\n",
			"kustomization.yaml": "resources: [mondoo-client.yaml]\nsecretGenerator: [{name: s, files: [other.yaml]}]\npatches:\n- path: ../.muster-inputs/clusters/other.yaml\n  target: {kind: MondooAuditConfig}\n"}, "kustomize"},
		{"a Secret that Kubernetes fills in", files{"other.yaml": seal("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  annotations: {kubernetes.io/service-account.name: muster}\ntype: kubernetes.io/service-account-token\nstringData: {x: "+canary+"}\n", sealtest.Credentials)}, "secret-of-kubernetes"},
		{"a number that JSON doesn't have", files{"mondoo-client.yaml": auditConfig("mondoo-client") + "  scanner: {x: .nan}\n"}, "audit-config"},
		{"an entry in the audit config that the operator would stop at", files{"mondoo-client.yaml": listed("{name: UPPER, kubeconfigSecretRef: {name: x}}")}, "cluster-name"},
		{"an entry in the audit config with a field that there isn't", files{"mondoo-client.yaml": listed("{name: a, kubeconfigSecretRef: {name: x}, shedule: x}")}, "unknown-field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			repository := files{"clusters/mondoo-client.yaml": auditConfig("mondoo-client")}
			for name, content := range test.files {
				repository[path.Join("clusters", name)] = content
			}
			if k := repository["clusters/kustomization.yaml"]; k != "" && !strings.Contains(k, "mondoo-client.yaml") {
				repository["clusters/kustomization.yaml"] = strings.Replace(k, "resources: [", "resources: [mondoo-client.yaml, ", 1)
			}
			r := render(t, repository.fs(), "clusters", options, key.Opener(t))
			if !slices.ContainsFunc(r.findings(), func(f finding.Finding) bool {
				return f.Severity == finding.Error && (test.code == "" || f.Code == test.code)
			}) {
				t.Errorf("findings: %s", lines(r.findings()))
			}
			for _, c := range r.opened.Clusters {
				if !c.Quarantined && !r.report().Stopped && c.Name != "prod" {
					t.Errorf("cluster %s is applied: %+v", c.Name, c.Entry)
				}
				if c.Name == "prod" && !c.Quarantined && c.Entry.ServiceAccountAuth != nil && c.Entry.ServiceAccountAuth.Server != "https://prod.example.com:6443" {
					t.Errorf("the token goes to %s", c.Entry.ServiceAccountAuth.Server)
				}
				if c.Name == "prod" && !c.Quarantined && c.Entry.ServiceAccountAuth != nil && c.Entry.ServiceAccountAuth.SkipTLSVerify {
					t.Error("the token goes to whoever answers")
				}
			}
			for _, s := range r.opened.Secrets {
				if s.Name == "steal" && !s.Quarantined {
					t.Errorf("Secret %s is applied", s.Name)
				}
			}
			shown, err := json.Marshal([]any{r.findings(), r.opened.Clusters, r.opened.AuditConfigs})
			if err != nil {
				t.Fatal(err)
			}
			if text := r.redactor.String(string(shown)); strings.Contains(text, canary) {
				t.Errorf("shown: %s", text)
			}
		})
	}
}
