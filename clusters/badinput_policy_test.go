package clusters_test

import (
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/policy"
)

// policyRows are what somebody who may push, and holds no key, would have the operator do. What kustomize builds counts, whichever
// file a field comes from.
func policyRows(cluster func(name, spec string) string) []badInput {
	const file = "clusters/mondoo-client.yaml"
	config := func(more string) files {
		return files{"mondoo-client.yaml": auditConfig("mondoo-client") + indent(2, more)}
	}
	vault := func(address string) string {
		return "vaultAuth: {server: 'https://x.example.com', vaultAddr: '" + address + "', authRole: a, credsRole: b, targetCACertSecretRef: {name: z}}\n"
	}
	patched := func(patch string) files {
		return files{"kustomization.yaml": "resources:\n  - mondoo-client.yaml\n  - good.yaml\npatches:\n  - target: {kind: MondooAuditConfig}\n    patch: |\n" + indent(6, patch)}
	}
	reserved := func(o *compile.Options) {
		o.Policy.Reserved = map[string]string{"sops-age": "the AuditSync fleet"}
		o.Policy.Allow = append([]string{"scanner", "mondooCredsSecretRef=sops-age", "scanner.env.valueFrom.secretKeyRef=sops-age", "jobOverrides"}, o.Policy.Allow...)
	}
	return []badInput{
		{name: "an image", files: config("scanner: {image: {name: evil.example.com/x}}\n"), want: []string{"audit-config-not-allowed " + file + ":11"}, stopped: true},
		{name: "an environment that reads a Secret", files: config("scanner:\n  env:\n  - name: A\n    valueFrom: {secretKeyRef: {name: b, key: c}}\n"),
			want: []string{"audit-config-not-allowed " + file + ":12", "audit-config-not-allowed " + file + ":14"}, stopped: true},
		{name: "the ServiceAccount of Muster", files: config("scanner: {serviceAccountName: muster}\n"), want: []string{"audit-config-not-allowed " + file + ":11"}, stopped: true},
		{name: "other credentials", files: files{"mondoo-client.yaml": strings.Replace(auditConfig("mondoo-client"), "    name: mondoo-client", "    name: other", 1)},
			want: []string{"audit-config-not-allowed " + file + ":6"}, stopped: true},
		{name: "no policy at all", options: func(o *compile.Options) { o.Policy = policy.Policy{} }, want: []string{"audit-config-not-allowed " + file + ":6"}, stopped: true},
		{name: "SOPS keys, though allowed", options: reserved, files: files{"mondoo-client.yaml": strings.Replace(auditConfig("mondoo-client"), "    name: mondoo-client", "    name: sops-age", 1)},
			want: []string{"secret-reserved " + file + ":6"}, stopped: true},
		{name: "SOPS keys deep in a field that is allowed", options: reserved, files: config("jobOverrides: {volumes: [{secret: {secretName: sops-age}}]}\n"),
			want: []string{"secret-reserved " + file + ":11", "secret-reserved " + file + ":11"}, stopped: true},
		{name: "a strategic merge patch brings an image", files: patched("apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: x}\nspec: {scanner: {image: {name: evil.example.com/x}}}\n"),
			want: []string{"audit-config-not-allowed " + file + ":5"}, stopped: true},
		{name: "a JSON patch brings an environment", files: patched("- {op: add, path: /spec/nodes, value: {env: [{name: A, value: b}]}}\n"), want: []string{"audit-config-not-allowed " + file + ":5"}, stopped: true},
		{name: "a JSON patch replaces the credentials", files: patched("- {op: replace, path: /spec/mondooCredsSecretRef/name, value: other}\n"), want: []string{"audit-config-not-allowed " + file + ":6"}, stopped: true},
		{name: "a replacement copies a name", files: files{"kustomization.yaml": "resources:\n  - mondoo-client.yaml\n  - good.yaml\nreplacements:\n  - source: {kind: ExternalCluster, name: good, fieldPath: metadata.name}\n" +
			"    targets:\n      - select: {kind: MondooAuditConfig}\n        fieldPaths: [spec.mondooCredsSecretRef.name]\n"}, want: []string{"audit-config-not-allowed " + file + ":6"}, stopped: true},
		{name: "a component brings Pod annotations", files: files{"kustomization.yaml": "resources:\n  - mondoo-client.yaml\n  - good.yaml\ncomponents: [c]\n",
			"c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n  - target: {kind: MondooAuditConfig}\n    patch: |\n      - {op: add, path: /spec/jobOverrides, value: {annotations: {a: b}}}\n"},
			want: []string{"audit-config-not-allowed " + file + ":5"}, stopped: true},
		{name: "a patch takes the privileges out again", files: files{"mondoo-client.yaml": auditConfig("mondoo-client") + "  scanner: {image: {name: x}}\n",
			"kustomization.yaml": patched("- {op: remove, path: /spec/scanner}\n")["kustomization.yaml"]}},
		{name: "a misspelt field", files: config("scaner: {replicas: 1}\n"), want: []string{"audit-config-not-allowed " + file + ":11"}, stopped: true},
		{name: "a duration in days", files: config("containers: {activeDeadline: 1d}\n"), want: []string{"audit-config-field " + file + ":11"}, stopped: true},
		{name: "a list as an image", files: config("scanner: {image: [evil]}\n"), want: []string{"audit-config-field " + file + ":11"}, stopped: true},
		{name: "managed by the console", files: config("remoteManaged: true\n"), want: []string{"remote-managed " + file + ":11"}, stopped: true},
		{name: "managed by the console, by a patch", files: patched("- {op: add, path: /spec/remoteManaged, value: true}\n"), want: []string{"remote-managed " + file + ":5"}, stopped: true},
		{name: "not managed by the console", files: config("remoteManaged: false\nconsoleIntegration: {enable: true, deletionPolicy: Retain}\njobOverrides: {ttlSecondsAfterFinished: 60}\n")},

		{name: "credentials of an allowed Vault", files: files{"bad.yaml": cluster("bad", "kubeconfigFrom: {vault: {address: 'https://v.example.com', mount: kv, path: clusters/bad}}\n")},
			infos: []string{"credential-source-unknown clusters/bad.yaml:6"}},
		{name: "credentials of another Vault", files: files{"bad.yaml": cluster("bad", "kubeconfigFrom: {vault: {address: 'https://evil.example.com', mount: kv, path: clusters/bad}}\n")},
			want: []string{"credential-source-not-allowed clusters/bad.yaml:6"}},
		{name: "credentials of another path", files: files{"bad.yaml": cluster("bad", "kubeconfigFrom: {vault: {address: 'https://v.example.com', mount: kv, path: others/bad}}\n")},
			want: []string{"credential-source-not-allowed clusters/bad.yaml:6"}},
		{name: "credentials of another namespace", files: files{"bad.yaml": cluster("bad", "kubeconfigFrom: {secretRef: {namespace: kube-system, name: bad}}\n")},
			want: []string{"credential-source-not-allowed clusters/bad.yaml:6"}},
		{name: "another Vault", files: files{"bad.yaml": cluster("bad", vault("https://evil.example.com"))}, want: []string{"vault-not-allowed clusters/bad.yaml:6"}},
		{name: "Vault over http", files: files{"bad.yaml": cluster("bad", vault("http://v.example.com"))}, want: []string{"vault-address clusters/bad.yaml:6"}},
		{name: "Vault, written in another way", files: files{"bad.yaml": cluster("bad", vault("https://V.example.com:443/"))}},
		{name: "another Vault by a patch", files: files{"bad.yaml": cluster("bad", vault("https://v.example.com")), "kustomization.yaml": "resources:\n  - mondoo-client.yaml\n  - good.yaml\n  - bad.yaml\npatches:\n" +
			"  - target: {kind: ExternalCluster, name: bad}\n    patch: |\n      - {op: replace, path: /spec/vaultAuth/vaultAddr, value: 'https://evil.example.com'}\n"}, want: []string{"vault-not-allowed clusters/bad.yaml:6"}},
		{name: "another Vault in an entry of the audit config", files: files{"mondoo-client.yaml": auditConfig("mondoo-client") + "    externalClusters:\n    - name: bad\n      " + vault("https://evil.example.com")},
			want: []string{"vault-not-allowed " + file + ":13"}},
	}
}
