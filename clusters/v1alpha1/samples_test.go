package v1alpha1_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// encrypted is an encrypted value as SOPS writes it. It plays the role of a handle.
func encrypted(s string) bool { return strings.HasPrefix(s, "ENC[AES256_GCM,") }

// file is a cluster file with this spec, indented by two.
func file(spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: prod-eu\nspec:\n  " +
		strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var obj map[string]any
	if err := yaml.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return obj
}

// check decodes and validates, and returns the problems as "severity code path".
func check(t testing.TB, text string) ([]string, []v1alpha1.Problem) {
	t.Helper()
	cluster, problems := v1alpha1.Decode(object(t, text), encrypted)
	problems = append(problems, cluster.Validate(encrypted)...)
	var short []string
	for _, p := range problems {
		short = append(short, string(p.Severity)+" "+string(p.Code)+" "+p.Path())
	}
	return short, problems
}

func errorsIn(problems []v1alpha1.Problem) int {
	n := 0
	for _, p := range problems {
		if p.Severity == finding.Error {
			n++
		}
	}
	return n
}

const (
	certificate = "|\n    -----BEGIN CERTIFICATE-----\n    MIIB\n    -----END CERTIFICATE-----\n"
	handle      = "ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]"
)

// good are cluster files without problems, not even warnings.
var good = map[string]string{
	"kubeconfig from Vault": file("kubeconfigFrom: {vault: {address: 'https://v:8200', namespace: admin/a, mount: kv, path: clusters/eu@1, key: config, version: 3}}"),
	"kubeconfig elsewhere":  file("kubeconfigFrom: {secretRef: {namespace: argocd, name: cluster-eu, key: value}}"),
	"token from Vault":      file("serviceAccountAuth: {server: 'https://a', credentialsFrom: {vault: {address: 'https://v', mount: kv, path: clusters/eu}}}"),
	"registries from Vault": file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {from: {vault: {address: 'https://v', mount: kv, path: registries}}}"),
	"kubeconfig":            file("kubeconfig: " + handle),
	"kubeconfig file":       file("kubeconfigFile: creds/eu.kubeconfig"),
	"kubeconfig reference":  file("kubeconfigSecretRef: {name: eu.kubeconfig-1}"),
	"token": file(`
serviceAccountAuth:
  server: https://10.0.0.1:6443
  token: ` + handle + `
  caCert: ` + certificate + `  skipTLSVerify: false`),
	"token with everything encrypted that may be": file(`
serviceAccountAuth: {server: "` + handle + `", token: "` + handle + `", caCert: "` + handle + `"}
filtering: {namespaces: {include: ["` + handle + `", "` + handle + `"]}}`),
	"token by reference, behind Rancher": file(`
serviceAccountAuth: {server: "https://rancher.example.com/k8s/clusters/c-m-1", credentialsSecretRef: {name: eu}}`),
	"IPv6": file(`serviceAccountAuth: {server: "https://[2001:db8::1]:6443", credentialsSecretRef: {name: eu}}`),
	"GKE": file(`
workloadIdentity:
  provider: gke
  gke: {projectId: my-project-1, clusterName: eu, clusterLocation: europe-west1-b, googleServiceAccount: scan@my-project-1.iam.gserviceaccount.com, endpoint: "https://10.0.0.2"}`),
	"EKS": file(`
workloadIdentity:
  provider: eks
  eks: {region: us-gov-west-1, clusterName: eu_1, roleArn: "arn:aws-us-gov:iam::123456789012:role/scan/Mondoo@eu"}`),
	"AKS": file(`
workloadIdentity:
  provider: aks
  aks: {subscriptionId: 00000000-0000-0000-0000-00000000000a, resourceGroup: rg, clusterName: eu, clientId: 00000000-0000-0000-0000-00000000000B, tenantId: 00000000-0000-0000-0000-00000000000c}`),
	"Vault": file(`
vaultAuth:
  server: https://eu.example.com
  vaultAddr: https://vault.example.com:8200
  authPath: auth/eu/kubernetes
  authRole: mondoo
  secretsPath: kubernetes-eu
  credsRole: scan
  kubernetesNamespace: mondoo
  ttl: 1h
  caCertSecretRef: {name: vault-ca}
  targetCACert: ` + certificate),
	"SPIFFE": file(`
spiffeAuth: {server: "https://eu.example.com:6443", socketPath: /run/spire/agent.sock, trustBundleSecretRef: {name: bundle}, audience: eu}`),
	"everything around": file(`
kubeconfigSecretRef: {name: eu}
schedule: H H(1-5) * * MON-FRI
filtering: {namespaces: {exclude: [kube-system, "istio-*", "[ab]-?"]}}
containerImageScanning: true
repositories: {include: [ghcr.io/acme/*]}
privateRegistries: {dockerConfigJson: "` + handle + `"}
auditConfig: mondoo-client`),
	"filtering that is empty on purpose":    file("kubeconfigSecretRef: {name: eu}\nfiltering: {}"),
	"namespaces that are empty on purpose":  file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {}}"),
	"an exclude list that excludes nothing": file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {exclude: []}}"),
	"pasted registries":                     file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistriesPullSecretRef: {name: pull}"),
	"registries by reference":               file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {secretRef: {name: pull}}"),
	"what kustomize adds":                   "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu, namespace: mondoo, labels: {team: a, empty: \"\"}, annotations: {a.b/c: d}}\nspec: {kubeconfigSecretRef: {name: eu}}\nsops: {mac: x}\n",
	"CRLF":                                  strings.ReplaceAll(file("kubeconfigSecretRef:\n  name: eu\nschedule: '@daily'"), "\n", "\r\n"),
	"longest name":                          strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", strings.Repeat("a", 63), 1),
}

func TestGood(t *testing.T) {
	for reason, text := range good {
		if found, _ := check(t, text); len(found) > 0 {
			t.Errorf("%s: %q", reason, found)
		}
	}
}

// sample is a cluster file with problems, as "severity code path", in order.
type sample struct {
	text string
	want []string
	// onlyGo is true if the JSON Schema can't express the rule.
	onlyGo bool
}

var bad = map[string]sample{
	// Structure.
	"empty document": {text: "{}", want: []string{"error api-version apiVersion", "error api-version kind", "error required-field metadata.name", "error auth-method spec"}},
	"another kind": {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "ExternalCluster", "Cluster", 1),
		want: []string{"error api-version kind"}},
	"another version": {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "v1alpha1", "v1", 1),
		want: []string{"error api-version apiVersion"}},
	"spec is a list": {text: "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu}\nspec: []",
		want: []string{"error wrong-type spec"}},
	"metadata is null": {text: "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\nspec: {kubeconfigSecretRef: {name: eu}}",
		want: []string{"error null-value metadata"}},
	"misspelt method": {text: file("kubeconfg: " + handle), want: []string{"error unknown-field spec.kubeconfg"}},
	"every kind of mistake at once": {text: file(`
serviceAccountAuth: {server: 5, tokn: x, caCert: [a], skipTLSVerify: "yes", credentialsSecretRef: null}
schedule: {a: b}
filtering: {namespace: {include: [a]}}
filters: {}
containerImageScanning: "true"`), want: []string{
		"error wrong-type spec.containerImageScanning",
		"error unknown-field spec.filtering.namespace",
		"error unknown-field spec.filters",
		"error wrong-type spec.schedule",
		"error wrong-type spec.serviceAccountAuth.caCert",
		"error null-value spec.serviceAccountAuth.credentialsSecretRef",
		"error wrong-type spec.serviceAccountAuth.server",
		"error wrong-type spec.serviceAccountAuth.skipTLSVerify",
		"error unknown-field spec.serviceAccountAuth.tokn",
	}},
	"numbers and dates for text": {text: file("kubeconfigSecretRef: {name: 1}\nschedule: 2026-01-01\nauditConfig: 1.5"),
		want: []string{"error wrong-type spec.auditConfig", "error wrong-type spec.kubeconfigSecretRef.name", "error schedule spec.schedule"}},
	"lists with holes": {text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {exclude: [a, null, 1, [b], {c: d}, true]}}"),
		want: []string{"error null-value spec.filtering.namespaces.exclude[1]", "error wrong-type spec.filtering.namespaces.exclude[2]",
			"error wrong-type spec.filtering.namespaces.exclude[3]", "error wrong-type spec.filtering.namespaces.exclude[4]", "error wrong-type spec.filtering.namespaces.exclude[5]"}},
	"labels that are no text": {text: "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu, labels: {a: 1, b: null}, annotations: []}\nspec: {kubeconfigSecretRef: {name: eu}}",
		want: []string{"error wrong-type metadata.annotations", "error wrong-type metadata.labels.a", "error null-value metadata.labels.b"}},
	"empty values": {text: file(`kubeconfig: ""`), want: []string{"error required-field spec.kubeconfig"}},
	"registry credentials as a mapping": {text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {dockerConfigJson: {auths: {}}}"),
		want: []string{"error wrong-type spec.privateRegistries.dockerConfigJson"}},
	"null filtering": {text: file("kubeconfigSecretRef: {name: eu}\nfiltering:"), want: []string{"error null-value spec.filtering"}},
	"encrypted where Muster must read": {text: `
apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata: {name: "` + handle + `", labels: {team: "` + handle + `"}}
spec:
  workloadIdentity: {provider: "` + handle + `"}
  containerImageScanning: "` + handle + `"
  filtering: {namespaces: {include: "` + handle + `"}}
  privateRegistriesPullSecretRef: {name: "` + handle + `"}
  schedule: "` + handle + `"
  auditConfig: "` + handle + `"`,
		want: []string{
			"error must-be-plain metadata.labels.team", "error must-be-plain metadata.name", "error must-be-plain spec.auditConfig",
			"error must-be-plain spec.containerImageScanning", "error must-be-plain spec.filtering.namespaces.include",
			"error must-be-plain spec.privateRegistriesPullSecretRef.name", "error must-be-plain spec.schedule", "error must-be-plain spec.workloadIdentity.provider",
		}},

	// Names.
	"capital letters":     {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", "Prod-EU", 1), want: []string{"error cluster-name metadata.name"}},
	"name ends in a dash": {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", "prod-", 1), want: []string{"error cluster-name metadata.name"}},
	"name with a dot":     {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", "prod.eu", 1), want: []string{"error cluster-name metadata.name"}},
	"name over two lines": {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", `"a\nb"`, 1), want: []string{"error cluster-name metadata.name"}},
	"name too long":       {text: strings.Replace(file("kubeconfigSecretRef: {name: eu}"), "prod-eu", strings.Repeat("a", 64), 1), want: []string{"error cluster-name metadata.name"}},
	"bad object names": {text: file("kubeconfigSecretRef: {name: Eu_1}\nauditConfig: " + strings.Repeat("a", 254)),
		want: []string{"error object-name spec.kubeconfigSecretRef.name", "error object-name spec.auditConfig"}},
	"nameless reference": {text: file("kubeconfigSecretRef: {}"), want: []string{"error required-field spec.kubeconfigSecretRef.name"}},

	// Methods.
	"no method":              {text: file("schedule: '@daily'"), want: []string{"error auth-method spec"}},
	"two forms of one":       {text: file("kubeconfigFile: a\nkubeconfigSecretRef: {name: eu}"), want: []string{"error auth-method spec.kubeconfigSecretRef"}},
	"two methods":            {text: file("kubeconfigFile: a\nspiffeAuth: {server: 'https://a', trustBundleSecretRef: {name: b}}"), want: []string{"error auth-method spec.spiffeAuth"}},
	"file above":             {onlyGo: true, text: file("kubeconfigFile: ../eu"), want: []string{"error kubeconfig-file spec.kubeconfigFile"}},
	"file from the root":     {onlyGo: true, text: file("kubeconfigFile: /etc/passwd"), want: []string{"error kubeconfig-file spec.kubeconfigFile"}},
	"file by a detour":       {onlyGo: true, text: file("kubeconfigFile: a/../../eu"), want: []string{"error kubeconfig-file spec.kubeconfigFile"}},
	"file that is a folder":  {onlyGo: true, text: file("kubeconfigFile: ./"), want: []string{"error kubeconfig-file spec.kubeconfigFile"}},
	"file as on Windows":     {onlyGo: true, text: file(`kubeconfigFile: a\b`), want: []string{"error kubeconfig-file spec.kubeconfigFile"}},
	"token without CA":       {text: file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "'}"), want: []string{"error required-field spec.serviceAccountAuth.caCert"}},
	"CA without token":       {text: file("serviceAccountAuth: {server: 'https://a', caCert: '" + handle + "'}"), want: []string{"error required-field spec.serviceAccountAuth.token"}},
	"nothing to log in with": {text: file("serviceAccountAuth: {server: 'https://a'}"), want: []string{"error required-field spec.serviceAccountAuth.token"}},
	"token and reference": {text: file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "', caCert: '" + handle + "', credentialsSecretRef: {name: b}}"),
		want: []string{"error conflicting-fields spec.serviceAccountAuth.credentialsSecretRef"}},
	"CA and reference": {text: file("serviceAccountAuth: {server: 'https://a', caCert: '" + handle + "', credentialsSecretRef: {name: b}}"),
		want: []string{"error conflicting-fields spec.serviceAccountAuth.credentialsSecretRef"}},
	"token without CA, and no check": {text: file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "', skipTLSVerify: true}"), want: []string{"warning tls-verification-off spec.serviceAccountAuth.skipTLSVerify"}},
	"token without CA, and a check":  {text: file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "', skipTLSVerify: false}"), want: []string{"error required-field spec.serviceAccountAuth.caCert"}},
	"no TLS": {text: file("serviceAccountAuth: {server: 'https://a', credentialsSecretRef: {name: b}, skipTLSVerify: true}"),
		want: []string{"warning tls-verification-off spec.serviceAccountAuth.skipTLSVerify"}},

	// Addresses.
	"no server":               {text: file("spiffeAuth: {trustBundleSecretRef: {name: b}}"), want: []string{"error required-field spec.spiffeAuth.server"}},
	"http":                    {text: spiffe("http://a"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"HTTPS":                   {text: spiffe("HTTPS://a"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"no scheme":               {text: spiffe("a.example.com:6443"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"no host":                 {text: spiffe("https://"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"only a port":             {onlyGo: true, text: spiffe("https://:6443"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"port 0":                  {onlyGo: true, text: spiffe("https://a:0"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"port too high":           {onlyGo: true, text: spiffe("https://a:65536"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"port is a word":          {onlyGo: true, text: spiffe("https://a:https"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"colon without port":      {onlyGo: true, text: spiffe("https://a:"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"user":                    {text: spiffe("https://u:canary@a"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"query":                   {text: spiffe("https://a?token=canary"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"empty query":             {text: spiffe("https://a/?"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"fragment":                {text: spiffe("https://a#canary"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"blank":                   {text: spiffe("https://a b"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"trailing line end":       {text: spiffe(`https://a\n`), want: []string{"error server-address spec.spiffeAuth.server"}},
	"bad escape":              {onlyGo: true, text: spiffe("https://a/%zz"), want: []string{"error server-address spec.spiffeAuth.server"}},
	"the scanner itself":      {text: spiffe("https://127.0.0.1:6443"), want: []string{"warning server-address spec.spiffeAuth.server"}},
	"the scanner by name":     {text: spiffe("https://LOCALHOST:6443"), want: []string{"warning server-address spec.spiffeAuth.server"}},
	"the scanner over IPv6":   {text: spiffe("https://[::1]"), want: []string{"warning server-address spec.spiffeAuth.server"}},
	"two trust bundles":       {text: file("spiffeAuth: {server: 'https://a', trustBundle: x, trustBundleSecretRef: {name: b}}"), want: []string{"error conflicting-fields spec.spiffeAuth.trustBundleSecretRef"}},
	"no trust bundle":         {text: file("spiffeAuth: {server: 'https://a'}"), want: []string{"error required-field spec.spiffeAuth.trustBundle"}},
	"socket as an address":    {text: file("spiffeAuth: {server: 'https://a', trustBundle: x, socketPath: 'unix:///run/a'}"), want: []string{"error spiffe-socket-path spec.spiffeAuth.socketPath"}},
	"socket with a step up":   {onlyGo: true, text: file("spiffeAuth: {server: 'https://a', trustBundle: x, socketPath: /run/../etc}"), want: []string{"error spiffe-socket-path spec.spiffeAuth.socketPath"}},
	"socket that is the root": {onlyGo: true, text: file("spiffeAuth: {server: 'https://a', trustBundle: x, socketPath: /}"), want: []string{"error spiffe-socket-path spec.spiffeAuth.socketPath"}},

	// Clouds.
	"no provider":      {text: file("workloadIdentity: {}"), want: []string{"error required-field spec.workloadIdentity.provider"}},
	"unknown provider": {text: file("workloadIdentity: {provider: GKE}"), want: []string{"error workload-identity-provider spec.workloadIdentity.provider"}},
	"another block": {text: file("workloadIdentity: {provider: aks, eks: {region: eu-west-1, clusterName: a, roleArn: 'arn:aws:iam::123456789012:role/a'}}"),
		want: []string{"error workload-identity-provider spec.workloadIdentity.aks", "error conflicting-fields spec.workloadIdentity.eks"}},
	"GKE, all missing": {text: file("workloadIdentity: {provider: gke, gke: {}}"), want: []string{"error required-field spec.workloadIdentity.gke.projectId",
		"error required-field spec.workloadIdentity.gke.clusterName", "error required-field spec.workloadIdentity.gke.clusterLocation", "error required-field spec.workloadIdentity.gke.googleServiceAccount"}},
	"GKE, all wrong": {text: file("workloadIdentity: {provider: gke, gke: {projectId: '123', clusterName: a b, clusterLocation: Europe, googleServiceAccount: scan, endpoint: 10.0.0.1}}"),
		want: []string{"warning cloud-identifier spec.workloadIdentity.gke.projectId", "error cloud-identifier spec.workloadIdentity.gke.clusterName", "warning cloud-identifier spec.workloadIdentity.gke.clusterLocation",
			"error cloud-identifier spec.workloadIdentity.gke.googleServiceAccount", "error server-address spec.workloadIdentity.gke.endpoint"}},
	"GKE, another account": {text: file("workloadIdentity: {provider: gke, gke: {projectId: project-1, clusterName: a, clusterLocation: us-east4, googleServiceAccount: scan@example.com}}"),
		want: []string{"warning cloud-identifier spec.workloadIdentity.gke.googleServiceAccount"}},
	"EKS, all wrong": {text: file("workloadIdentity: {provider: eks, eks: {region: Frankfurt, clusterName: 'arn:a', roleArn: 'arn:aws:iam::1:user/a', endpoint: a}}"),
		want: []string{"warning cloud-identifier spec.workloadIdentity.eks.region", "warning cloud-identifier spec.workloadIdentity.eks.clusterName", "error cloud-identifier spec.workloadIdentity.eks.roleArn", "error server-address spec.workloadIdentity.eks.endpoint"}},
	"EKS, an address that may work": {text: file("workloadIdentity: {provider: eks, eks: {region: eu-central-1, clusterName: a, roleArn: 'arn:aws:iam::123456789012:role/a', endpoint: 'https://a?b'}}"),
		want: []string{"warning server-address spec.workloadIdentity.eks.endpoint"}},
	"AKS, all wrong": {text: file("workloadIdentity: {provider: aks, aks: {subscriptionId: a, clusterName: a, clientId: b, tenantId: contoso.com, loginServer: a b}}"),
		want: []string{"error cloud-identifier spec.workloadIdentity.aks.subscriptionId", "error cloud-identifier spec.workloadIdentity.aks.clientId", "error cloud-identifier spec.workloadIdentity.aks.tenantId",
			"error required-field spec.workloadIdentity.aks.resourceGroup", "warning cloud-identifier spec.workloadIdentity.aks.loginServer"}},

	// Vault.
	"Vault, all missing": {text: file("vaultAuth: {}"), want: []string{"error required-field spec.vaultAuth.server", "error required-field spec.vaultAuth.vaultAddr",
		"error required-field spec.vaultAuth.authRole", "error required-field spec.vaultAuth.credsRole", "info vault-kubernetes-namespace spec.vaultAuth.kubernetesNamespace", "warning tls-verification-off spec.vaultAuth.targetCACert"}},
	"Vault over http":                      {text: vault("vaultAddr: http://vault:8200"), want: []string{"error vault-address spec.vaultAuth.vaultAddr"}},
	"Vault with a path":                    {text: vault("vaultAddr: https://vault/v1"), want: []string{"error vault-address spec.vaultAuth.vaultAddr"}},
	"Vault Enterprise":                     {text: vault("vaultAddr: https://v\nvaultNamespace: admin/team-a")},
	"Vault namespace, no path":             {text: vault("vaultAddr: https://v\nvaultNamespace: 'a b'"), want: []string{"error vault-path spec.vaultAuth.vaultNamespace"}},
	"Vault namespace that ends the header": {text: vault("vaultAddr: https://v\nvaultNamespace: \"a\\r\\nX-Evil: b\""), want: []string{"error vault-path spec.vaultAuth.vaultNamespace"}},
	"encrypted address of Vault":           {text: vault("vaultAddr: '" + handle + "'"), want: []string{"error must-be-plain spec.vaultAuth.vaultAddr"}},
	"Vault over ftp":                       {text: vault("vaultAddr: ftp://vault"), want: []string{"error vault-address spec.vaultAuth.vaultAddr"}},
	"Vault with a token":                   {text: vault("vaultAddr: https://vault?token=canary"), want: []string{"error vault-address spec.vaultAuth.vaultAddr"}},
	// Renewed tokens.
	"a renewed token":               {text: renewal("24h")},
	"a renewed kubeconfig":          {text: file("kubeconfig: '" + handle + "'\nrenew: {lifetime: 90m}")},
	"a renewed kubeconfigFile":      {text: file("kubeconfigFile: eu.kubeconfig\nrenew: {lifetime: 720h}")},
	"a lifetime in days":            {text: renewal("1d"), want: []string{"error renew spec.renew.lifetime"}},
	"a lifetime of nine minutes":    {onlyGo: true, text: renewal("9m59s"), want: []string{"error renew spec.renew.lifetime"}},
	"a lifetime in the past":        {text: renewal("-1h"), want: []string{"error renew spec.renew.lifetime"}},
	"a lifetime of a year":          {onlyGo: true, text: renewal("8760h"), want: []string{"error renew spec.renew.lifetime"}},
	"no lifetime":                   {text: file("kubeconfigFile: eu.kubeconfig\nrenew: {}"), want: []string{"error required-field spec.renew.lifetime"}},
	"an encrypted lifetime":         {text: renewal(handle), want: []string{"error must-be-plain spec.renew.lifetime"}},
	"renew without a token":         {onlyGo: true, text: file("kubeconfigSecretRef: {name: eu}\nrenew: {lifetime: 24h}"), want: []string{"error renew spec.renew"}},
	"renew of another Secret":       {onlyGo: true, text: file("serviceAccountAuth: {server: 'https://a', credentialsSecretRef: {name: eu}}\nrenew: {lifetime: 24h}"), want: []string{"error renew spec.renew"}},
	"renew of a cloud's credential": {onlyGo: true, text: file("spiffeAuth: {server: 'https://a', trustBundle: x}\nrenew: {lifetime: 24h}"), want: []string{"error renew spec.renew"}},

	"ttl in days":                       {onlyGo: true, text: vault("vaultAddr: https://v\nttl: 1d"), want: []string{"error vault-ttl spec.vaultAuth.ttl"}},
	"ttl of nothing":                    {onlyGo: true, text: vault("vaultAddr: https://v\nttl: 0s"), want: []string{"error vault-ttl spec.vaultAuth.ttl"}},
	"ttl in the past":                   {onlyGo: true, text: vault("vaultAddr: https://v\nttl: -1h"), want: []string{"error vault-ttl spec.vaultAuth.ttl"}},
	"ttl that overflows":                {onlyGo: true, text: vault("vaultAddr: https://v\nttl: 99999999999h"), want: []string{"error vault-ttl spec.vaultAuth.ttl"}},
	"ttl under twenty minutes":          {text: vault("vaultAddr: https://v\nttl: 19m59s"), want: []string{"warning vault-ttl spec.vaultAuth.ttl"}},
	"auth path outside of auth":         {text: vault("vaultAddr: https://v\nauthPath: kubernetes"), want: []string{"warning vault-path spec.vaultAuth.authPath"}},
	"auth path with a leading slash":    {onlyGo: true, text: vault("vaultAddr: https://v\nauthPath: /auth/kubernetes"), want: []string{"error vault-path spec.vaultAuth.authPath"}},
	"auth path with a slash at its end": {text: vault("vaultAddr: https://v\nauthPath: auth/kubernetes/")},
	"secrets path with a leading slash": {onlyGo: true, text: vault("vaultAddr: https://v\nsecretsPath: /kubernetes"), want: []string{"error vault-path spec.vaultAuth.secretsPath"}},
	"secrets path that climbs":          {onlyGo: true, text: vault("vaultAddr: https://v\nsecretsPath: ../sys"), want: []string{"error vault-path spec.vaultAuth.secretsPath"}},
	"secrets path with a query":         {onlyGo: true, text: vault("vaultAddr: https://v\nsecretsPath: a?b"), want: []string{"error vault-path spec.vaultAuth.secretsPath"}},
	"Vault namespace":                   {text: vault("vaultAddr: https://v\nkubernetesNamespace: a/b"), want: []string{"error object-name spec.vaultAuth.kubernetesNamespace"}},
	"Vault with roles of one namespace": {text: strings.Replace(vault("vaultAddr: https://v"), "kubernetesNamespace: scan\n", "", 1), want: []string{"info vault-kubernetes-namespace spec.vaultAuth.kubernetesNamespace"}},
	"two Vault CAs":                     {text: vault("vaultAddr: https://v\ncaCert: x\ncaCertSecretRef: {name: why}"), want: []string{"error conflicting-fields spec.vaultAuth.caCertSecretRef"}},
	"two target CAs":                    {text: vault("vaultAddr: https://v\ntargetCACertSecretRef: {name: why}"), want: []string{"error conflicting-fields spec.vaultAuth.targetCACertSecretRef"}},

	// Credentials from elsewhere.
	"kubeconfig from nowhere": {text: file("kubeconfigFrom: {}"), want: []string{"error required-field spec.kubeconfigFrom.vault"}},
	"kubeconfig from two places": {text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: a}, secretRef: {namespace: a, name: b}}"),
		want: []string{"error conflicting-fields spec.kubeconfigFrom.secretRef"}},
	"kubeconfig here and elsewhere": {text: file("kubeconfigSecretRef: {name: eu}\nkubeconfigFrom: {secretRef: {namespace: a, name: b}}"), want: []string{"error auth-method spec.kubeconfigFrom"}},
	"secret of Vault, all missing": {text: file("kubeconfigFrom: {vault: {}}"), want: []string{"error required-field spec.kubeconfigFrom.vault.address",
		"error required-field spec.kubeconfigFrom.vault.mount", "error required-field spec.kubeconfigFrom.vault.path"}},
	"secret of Vault over http": {text: file("kubeconfigFrom: {vault: {address: 'http://127.0.0.1', mount: kv, path: a}}"), want: []string{"error vault-address spec.kubeconfigFrom.vault.address"}},
	"secret of Vault, path that climbs": {onlyGo: true, text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: a/../b}}"),
		want: []string{"error vault-path spec.kubeconfigFrom.vault.path"}},
	"secret of Vault, what an address has": {text: file("kubeconfigFrom: {vault: {address: 'https://v', namespace: 'a b', mount: 'kv%2f', path: 'a?list=true', key: 'a/b', version: -1}}"),
		want: []string{"error vault-path spec.kubeconfigFrom.vault.namespace", "error vault-path spec.kubeconfigFrom.vault.mount", "error vault-path spec.kubeconfigFrom.vault.path",
			"error object-name spec.kubeconfigFrom.vault.key", "error vault-path spec.kubeconfigFrom.vault.version"}},
	"secret of Vault, slashes around": {text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv/, path: /a}}"),
		want: []string{"error vault-path spec.kubeconfigFrom.vault.mount", "error vault-path spec.kubeconfigFrom.vault.path"}},
	"version as text":        {text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: a, version: '3'}}"), want: []string{"error wrong-type spec.kubeconfigFrom.vault.version"}},
	"half a version":         {text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: a, version: 1.5}}"), want: []string{"error wrong-type spec.kubeconfigFrom.vault.version"}},
	"encrypted path":         {text: file("kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: '" + handle + "'}}"), want: []string{"error must-be-plain spec.kubeconfigFrom.vault.path"}},
	"Secret of no namespace": {text: file("kubeconfigFrom: {secretRef: {namespace: a/b, name: A, key: ../a}}"), want: []string{"error object-name spec.kubeconfigFrom.secretRef.namespace", "error object-name spec.kubeconfigFrom.secretRef.name", "error object-name spec.kubeconfigFrom.secretRef.key"}},
	"Secret without a name":  {text: file("kubeconfigFrom: {secretRef: {}}"), want: []string{"error required-field spec.kubeconfigFrom.secretRef.namespace", "error required-field spec.kubeconfigFrom.secretRef.name"}},
	"token from two places": {text: file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "', caCert: x, credentialsFrom: {vault: {address: 'https://v', mount: kv, path: a}}}"),
		want: []string{"error conflicting-fields spec.serviceAccountAuth.credentialsFrom"}},
	"token from nowhere": {text: file("serviceAccountAuth: {server: 'https://a', credentialsFrom: {}}"), want: []string{"error required-field spec.serviceAccountAuth.credentialsFrom.vault"}},
	"token from Vault to any server": {text: file("serviceAccountAuth: {server: 'https://a', skipTLSVerify: true, credentialsFrom: {vault: {address: 'https://v', mount: kv, path: a}}}"),
		want: []string{"error conflicting-fields spec.serviceAccountAuth.skipTLSVerify", "warning tls-verification-off spec.serviceAccountAuth.skipTLSVerify"}},
	"token from one key": {onlyGo: true, text: file("serviceAccountAuth: {server: 'https://a', credentialsFrom: {vault: {address: 'https://v', mount: kv, path: a, key: x}}}"),
		want: []string{"error conflicting-fields spec.serviceAccountAuth.credentialsFrom.vault.key"}},
	"registries from two places": {text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {secretRef: {name: a}, from: {vault: {address: 'https://v', mount: kv, path: a}}}"),
		want: []string{"error conflicting-fields spec.privateRegistries.from"}},

	// Scope.
	"time zone": {onlyGo: true, text: file("kubeconfigSecretRef: {name: eu}\nschedule: TZ=UTC * * * * *"), want: []string{"error schedule spec.schedule"}},
	"empty and repeated patterns": {onlyGo: true, text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {include: [a, ' ', b, a, Prod, x_y, -a, 'a b']}}"),
		want: []string{"error filter-pattern spec.filtering.namespaces.include[1]", "warning filter-pattern spec.filtering.namespaces.include[3]", "warning filter-pattern spec.filtering.namespaces.include[7]",
			"warning filter-pattern spec.filtering.namespaces.include[4]", "warning filter-pattern spec.filtering.namespaces.include[5]", "warning filter-pattern spec.filtering.namespaces.include[6]"}},
	"patterns that do something else": {onlyGo: true, text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nfiltering: {namespaces: {include: ['{team-a,team-b}', '[a', '!x', 'a{b', 'team-*', '[ab]?', 'a\\']}}\nrepositories: {exclude: ['r.example.com/a,r.example.com/b', '!r.example.com/a']}"),
		want: []string{"error filter-pattern spec.filtering.namespaces.include[0]", "error filter-pattern spec.filtering.namespaces.include[1]", "error filter-pattern spec.filtering.namespaces.include[2]",
			"error filter-pattern spec.filtering.namespaces.include[3]", "error filter-pattern spec.filtering.namespaces.include[6]",
			"error filter-pattern spec.repositories.exclude[0]", "error filter-pattern spec.repositories.exclude[1]"}},
	"empty pattern":             {text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {include: ['']}}"), want: []string{"error filter-pattern spec.filtering.namespaces.include[0]"}},
	"include and exclude":       {text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {include: [a], exclude: [b]}}"), want: []string{"warning filter-overlap spec.filtering.namespaces.exclude"}},
	"include of nothing":        {text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {include: []}}"), want: []string{"warning filter-empty-include spec.filtering.namespaces.include"}},
	"exclude of all":            {text: file("kubeconfigSecretRef: {name: eu}\nfiltering: {namespaces: {exclude: ['*']}}"), want: []string{"warning filter-pattern spec.filtering.namespaces.exclude"}},
	"repositories, no scanning": {text: file("kubeconfigSecretRef: {name: eu}\nrepositories: {}"), want: []string{"warning no-image-scanning spec.repositories"}},
	"registries, no scanning":   {text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: false\nprivateRegistriesPullSecretRef: {name: a}"), want: []string{"warning no-image-scanning spec.privateRegistriesPullSecretRef"}},
	"registries of nothing":     {text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {}"), want: []string{"error required-field spec.privateRegistries.dockerConfigJson"}},
	"registries twice": {text: file("kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\nprivateRegistries: {dockerConfigJson: '" + handle + "', secretRef: {name: a}}\nprivateRegistriesPullSecretRef: {name: a}"),
		want: []string{"error conflicting-fields spec.privateRegistries.secretRef", "error conflicting-fields spec.privateRegistriesPullSecretRef"}},
}

func renewal(lifetime string) string {
	return file("serviceAccountAuth: {server: 'https://a', token: '" + handle + "', caCert: x}\nrenew: {lifetime: '" + lifetime + "'}")
}

func spiffe(server string) string {
	return file(`spiffeAuth: {server: "` + server + `", trustBundleSecretRef: {name: bundle}}`)
}

func vault(rest string) string {
	if !strings.Contains(rest, "kubernetesNamespace") {
		rest += "\nkubernetesNamespace: scan\n"
	}
	return file("vaultAuth:\n  server: https://a\n  authRole: a\n  credsRole: b\n  targetCACert: x\n  " + strings.ReplaceAll(rest, "\n", "\n  "))
}
