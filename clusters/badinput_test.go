package clusters_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// canary is in every secret of the table, and may be in no finding.
const canary = "CANARYx9Q2vLm4Zt"

// badInput is a repository with something wrong in it, beside a good cluster.
type badInput struct {
	name string
	// files are added to those of the good cluster, or take their place. A path without folder is below clusters/.
	files files
	// want are the errors and warnings, as "code path:line", and no others may come up.
	want []string
	// stopped: what is wrong concerns every cluster. Otherwise the good cluster has to come through.
	stopped bool
	// opener overrides the one that has the key.
	opener *unseal.Opener
	// withKey: nothing of it shows without a key.
	withKey bool
	// options changes those that all rows have.
	options func(*compile.Options)
	// infos are wanted infos, in the same form. Others may come up.
	infos []string
}

func TestBadInput(t *testing.T) {
	key := sealtest.NewKey(t)
	encrypt := func(name, plain string) string { return key.Encrypt(t, name, plain, sealtest.Credentials) }
	cluster := func(name, spec string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + indent(2, spec)
	}
	sealed := func(name, spec string) string { return encrypt(name+".yaml", cluster(name, spec)) }
	recommended := func(name, spec string) string {
		return key.Encrypt(t, name+".yaml", cluster(name, spec), sealtest.Recommended)
	}
	inline := func(kubeconfig string) string { return "kubeconfig: |\n" + indent(2, kubeconfig) }
	serviceAccount := func(server, token, ca string) string {
		return "serviceAccountAuth:\n  server: " + server + "\n  token: " + fmt.Sprintf("%q", token) + "\n  caCert: |\n" + indent(4, ca)
	}
	ref := "kubeconfigSecretRef: {name: elsewhere}\n"
	const server = "https://bad.example.com"
	const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	token := "token-" + canary
	good := files{
		"clusters/mondoo-client.yaml": auditConfig("mondoo-client"),
		"clusters/good.yaml":          sealed("good", inline(kubeconfig("good"))),
	}
	kustomization := func(text string) string {
		return "resources:\n  - mondoo-client.yaml\n  - good.yaml\n" + text
	}
	levels := func(n int) files { // each a folder in the one before
		all, dir := files{"kustomization.yaml": kustomization("  - x\n")}, "x/"
		for range n - 2 {
			all[dir+"kustomization.yaml"], dir = "namePrefix: x-\nresources: [x]\n", dir+"x/"
		}
		all[dir+"kustomization.yaml"] = "resources: [a.yaml]\n"
		all[dir+"a.yaml"] = cluster("a", ref)
		return all
	}
	secretManifest := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: " + canary + "\n"

	encrypted := sealed("bad", serviceAccount(server, token, caPEM()))
	tampered := strings.Replace(encrypted, "token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AAAA", 1)
	macOnly := key.Encrypt(t, "bad.yaml", cluster("bad", serviceAccount(server, token, caPEM())), sealtest.Rule{EncryptedRegex: "^token$", MACOnlyEncrypted: true})
	kubeconfigYAML := func(rule sealtest.Rule) string { return key.Encrypt(t, "k.yaml", kubeconfig("bad"), rule) }
	jsonPatch := func(op string) string {
		return kustomization("  - bad.yaml\npatches:\n  - target: {kind: ExternalCluster, name: bad}\n    patch: |\n      [" + op + "]\n")
	}
	replacement := func(from, to string) string {
		return kustomization("  - a.yaml\n  - bad.yaml\nreplacements:\n  - source: {kind: ExternalCluster, name: a, fieldPath: " + from + "}\n" +
			"    targets:\n      - select: {kind: ExternalCluster, name: bad}\n        fieldPaths: [" + to + "]\n        options: {create: true}\n")
	}
	foreignKey := sealtest.NewKey(t)

	rows := []badInput{
		// The file.
		{name: "not YAML", files: files{"bad.yaml": "kind: ExternalCluster\n\tname: " + canary + "\n"}, want: []string{"yaml clusters/bad.yaml:2"}},
		{name: "unclosed quote", files: files{"bad.yaml": cluster("bad", `kubeconfig: "`+canary+"\n")}, want: []string{"yaml clusters/bad.yaml:6"}},
		{name: "scalar document", files: files{"bad.yaml": canary + "\n"}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "list document", files: files{"bad.yaml": "- a\n- b\n"}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "no kind", files: files{"bad.yaml": "apiVersion: v1\nmetadata: {name: x}\n"}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "no name", files: files{"bad.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nspec:\n  " + ref}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "two documents", files: files{"bad.yaml": cluster("bad", ref) + "---\n" + cluster("bad2", ref)}, want: []string{"documents clusters/bad.yaml:8"}},
		{name: "key twice", files: files{"bad.yaml": cluster("bad", ref) + "kind: ExternalCluster\n"}, want: []string{"duplicate-key clusters/bad.yaml:7"}},
		{name: "6 MiB", files: files{"bad.yaml": cluster("bad", ref) + "#" + strings.Repeat("x", 6<<20)}, want: []string{"size clusters/bad.yaml"}},
		{name: "alias bomb", files: files{"bad.yaml": aliasBomb()}, want: []string{"yaml-aliases clusters/bad.yaml:1"}},
		{name: "alias to itself", files: files{"bad.yaml": "a: &a\n  b: *a\n"}, want: []string{"yaml-aliases clusters/bad.yaml:1"}},
		{name: "deep nesting", files: files{"bad.yaml": strings.Repeat("[", 20000)}, want: []string{"yaml clusters/bad.yaml"}},
		{name: "not UTF-8", files: files{"bad.yaml": cluster("bad", ref) + "# \xff\xfe\n"}, want: []string{"encoding clusters/bad.yaml:7"}},
		{name: "UTF-16", files: files{"bad.yaml": "\xff\xfek\x00i\x00n\x00d\x00"}, want: []string{"encoding clusters/bad.yaml:1"}},
		{name: "NUL", files: files{"bad.yaml": cluster("bad", ref) + "# a\x00b\n"}, want: []string{"encoding clusters/bad.yaml:7"}},
		{name: "CRLF", files: files{"bad.yaml": strings.ReplaceAll(cluster("bad", ref), "\n", "\r\n")}, want: []string{"line-ends clusters/bad.yaml:1"}},
		{name: "byte order mark", files: files{"bad.yaml": "\ufeff" + cluster("bad", ref)}},
		{name: "empty file", files: files{"bad.yaml": ""}, want: []string{"empty clusters/bad.yaml:1"}},
		{name: "only comments", files: files{"bad.yaml": "# kind: ExternalCluster\n---\n# nothing\n"}, want: []string{"empty clusters/bad.yaml:1"}},
		{name: "cluster file in Git LFS", files: files{"bad.yaml": lfs}, want: []string{"git-lfs clusters/bad.yaml:1"}},
		{name: "kubeconfig in Git LFS", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: bad.kubeconfig\n"), "bad.kubeconfig": lfs}, want: []string{"git-lfs clusters/bad.yaml:6"}},
		{name: "kubeconfig with the name of a YAML file in Git LFS", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: bad-kubeconfig.yaml\n"), "bad-kubeconfig.yaml": lfs}, want: []string{"git-lfs clusters/bad.yaml:6"}},
		{name: "kustomization in Git LFS", files: files{"kustomization.yaml": lfs}, want: []string{"git-lfs clusters/kustomization.yaml:1"}, stopped: true},
		{name: "generator's input in Git LFS", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    files: [token]\n"), "token": lfs}, want: []string{"git-lfs clusters/kustomization.yaml:6"}, stopped: true},
		{name: ".musterignore in Git LFS", files: files{".musterignore": lfs}, want: []string{"git-lfs clusters/.musterignore:1"}, stopped: true},
		{name: "name that is not UTF-8", files: files{"bad\xff.yaml": cluster("bad", ref)}, want: []string{`file-name clusters/bad\xff.yaml`}},
		{name: "name with a backslash", files: files{`b\d.yaml`: cluster("bad", ref), `b\d.txt`: ""}, want: []string{`file-name clusters/b\\d.yaml`}, infos: []string{`file-name clusters/b\\d.txt:0`}},
		{name: "cluster that a patch deletes", files: files{"bad.yaml": cluster("bad", ref), "kustomization.yaml": kustomization("  - bad.yaml\npatches:\n  - target: {name: bad}\n    patch: |\n      $patch: delete\n      apiVersion: x\n      kind: x\n      metadata: {name: x}\n")},
			infos: []string{"dropped clusters/bad.yaml:4"}},
		{name: "cluster that an annotation keeps out", files: files{"bad.yaml": strings.Replace(cluster("bad", ref), "  name: bad\n", "  name: bad\n  annotations: {config.kubernetes.io/local-config: 'true'}\n", 1)},
			infos: []string{"dropped clusters/bad.yaml:4"}},
		{name: "symlink to a file", files: files{"bad.yaml": symlink + "good.yaml"}, want: []string{"symlink clusters/bad.yaml"}},
		{name: "symlink out of the path", files: files{"bad.yaml": symlink + "../../../etc/passwd"}, want: []string{"symlink clusters/bad.yaml"}},

		// The fields.
		{name: "one name in two files", files: files{"a.yaml": cluster("bad", ref), "b.yaml": cluster("bad", ref)},
			want: []string{"duplicate-name clusters/a.yaml:4", "duplicate-name clusters/b.yaml:4"}},
		{name: "name of 64 characters", files: files{"bad.yaml": cluster(strings.Repeat("a", 64), ref)}, want: []string{"cluster-name clusters/bad.yaml:4"}},
		{name: "name in upper case", files: files{"bad.yaml": cluster("Bad", ref)}, want: []string{"cluster-name clusters/bad.yaml:4"}},
		{name: "unknown field", files: files{"bad.yaml": cluster("bad", ref+"shedule: x\n")}, want: []string{"unknown-field clusters/bad.yaml:7"}},
		{name: "unknown version", files: files{"bad.yaml": strings.Replace(cluster("bad", ref), "v1alpha1", "v9", 1)}, want: []string{"api-version clusters/bad.yaml:1"}},
		{name: "two methods", files: files{"bad.yaml": cluster("bad", ref+"spiffeAuth: {server: 'https://x.example.com', trustBundleSecretRef: {name: x}}\n")},
			want: []string{"auth-method clusters/bad.yaml:7"}},
		{name: "no method", files: files{"bad.yaml": cluster("bad", "schedule: '@daily'\n")}, want: []string{"auth-method clusters/bad.yaml:5"}},
		{name: "empty spec", files: files{"bad.yaml": cluster("bad", "{}\n")}, want: []string{"auth-method clusters/bad.yaml:5"}},
		{name: "null method", files: files{"bad.yaml": cluster("bad", "kubeconfig:\n")}, want: []string{"null-value clusters/bad.yaml:6"}},
		{name: "wrong type", files: files{"bad.yaml": cluster("bad", ref+"containerImageScanning: 'yes'\n")}, want: []string{"wrong-type clusters/bad.yaml:7"}},
		{name: "bad cron", files: files{"bad.yaml": cluster("bad", ref+"schedule: 99 * * * *\n")}, want: []string{"schedule clusters/bad.yaml:7"}},
		{name: "cron that never fires", files: files{"bad.yaml": cluster("bad", ref+"schedule: 0 0 30 2 *\n")}, want: []string{"schedule clusters/bad.yaml:7"}},
		{name: "filter on nothing", files: files{"bad.yaml": cluster("bad", ref+"filtering:\n  namespaces:\n    include: ['']\n")}, want: []string{"filter-pattern clusters/bad.yaml:9"}},
		{name: "filter without value", files: files{"bad.yaml": cluster("bad", ref+"filtering:\n")}, want: []string{"null-value clusters/bad.yaml:7"}},
		{name: "filter that leaves nothing", files: files{"bad.yaml": cluster("bad", ref+"filtering: {namespaces: {exclude: ['*']}}\n")}, want: []string{"filter-pattern clusters/bad.yaml:7"}},
		{name: "http server", files: files{"bad.yaml": sealed("bad", serviceAccount("http://bad.example.com", token, caPEM()))}, want: []string{"server-address clusters/bad.yaml:7"}},
		{name: "encrypted as a whole", files: files{"bad.yaml": key.Encrypt(t, "bad.yaml", cluster("bad", ref), sealtest.Everything)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "encrypted name", files: files{"bad.yaml": key.Encrypt(t, "bad.yaml", cluster("bad", ref), sealtest.Rule{EncryptedRegex: "^metadata$"})}, want: []string{"sops-block clusters/bad.yaml:4"}},
		{name: "encrypted schedule", files: files{"bad.yaml": key.Encrypt(t, "bad.yaml", cluster("bad", ref+"schedule: '@daily'\n"), sealtest.Rule{EncryptedRegex: "^schedule$"})},
			want: []string{"must-be-plain clusters/bad.yaml:8"}},
		{name: "unknown audit config", files: files{"bad.yaml": cluster("bad", ref+"auditConfig: nowhere\n")}, want: []string{"audit-config clusters/bad.yaml:7"}},

		// The credentials.
		{name: "kubeconfig without current-context", files: files{"bad.yaml": sealed("bad", inline(strings.Replace(kubeconfig("bad"), "current-context: bad\n", "", 1)))},
			want: []string{"kubeconfig-context clusters/bad.yaml:6"}},
		{name: "kubeconfig with exec plugin", files: files{"bad.yaml": sealed("bad", inline(strings.Replace(kubeconfig("bad"), "token: ", "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}\n      token: ", 1)))},
			want: []string{"kubeconfig-plugin clusters/bad.yaml:6"}},
		{name: "kubeconfig with file paths", files: files{"bad.yaml": sealed("bad", inline(strings.Replace(kubeconfig("bad"), "token: ", "client-key: /etc/"+canary+"\n      client-certificate: /etc/x\n      token: ", 1)))},
			want: []string{"kubeconfig-file-reference clusters/bad.yaml:6"}},
		{name: "no kubeconfig at all", files: files{"bad.yaml": sealed("bad", inline("hello: "+canary+"\n"))}, want: []string{"kubeconfig-kind clusters/bad.yaml:6"}},
		{name: "kubeconfig that is no YAML", files: files{"bad.yaml": sealed("bad", inline("a: \"b\nc: "+canary+"\n"))}, want: []string{"kubeconfig-syntax clusters/bad.yaml:6"}},
		{name: "token with a line end", files: files{"bad.yaml": sealed("bad", serviceAccount(server, token+"\nmore", caPEM()))}, want: []string{"token-form clusters/bad.yaml:8"}},
		{name: "token with a line end after it", files: files{"bad.yaml": sealed("bad", serviceAccount(server, token+"\n", caPEM()))}, want: []string{"token-form clusters/bad.yaml:8"}},
		{name: "ca.crt that is no PEM", files: files{"bad.yaml": sealed("bad", serviceAccount(server, token, "not PEM, "+canary+"\n"))}, want: []string{"certificate-form clusters/bad.yaml:9"}},
		{name: "encrypted number", files: files{"bad.yaml": encrypt("bad.yaml", strings.Replace(secretManifest, canary, "12345678", 1))}, want: []string{"wrong-type clusters/bad.yaml:6"}},
		{name: "data that is no base64", files: files{"bad.yaml": encrypt("bad.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: '"+canary+"!'\n")}, want: []string{"secret-base64 clusters/bad.yaml:6"}},
		{name: "Secret without the key", files: files{"bad.yaml": cluster("bad", "kubeconfigSecretRef: {name: s}\n"), "s.yaml": encrypt("s.yaml", secretManifest)},
			want: []string{"secret-key clusters/bad.yaml:6"}},
		{name: "Secret of a bad kubeconfig", files: files{"bad.yaml": cluster("bad", "kubeconfigSecretRef: {name: s}\n"), "s.yaml": encrypt("s.yaml", strings.Replace(secretManifest, "password:", "kubeconfig:", 1))},
			want: []string{"kubeconfig-kind clusters/s.yaml:6"}},
		{name: "Secret over 1 MiB", files: files{"bad.yaml": encrypt("bad.yaml", strings.Replace(secretManifest, canary, strings.Repeat("x", 1<<20+1), 1))}, want: []string{"secret-size clusters/bad.yaml:1"}},

		// Plain text.
		{name: "plain kubeconfig", files: files{"bad.yaml": cluster("bad", inline(kubeconfig("bad")))}, want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "plain token", files: files{"bad.yaml": cluster("bad", serviceAccount(server, token, caPEM()))}, want: []string{"plain-credential clusters/bad.yaml:8"}},
		{name: "plain registry credentials", files: files{"bad.yaml": cluster("bad", ref+"containerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '{\"auths\":{\"r\":{\"auth\":\""+canary+"\"}}}'\n")}, want: []string{"plain-credential clusters/bad.yaml:9"}},
		{name: "plain Secret", files: files{"bad.yaml": secretManifest}, want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "plain Secret in base64", files: files{"bad.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: " + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n"}, want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "Secret with what kubectl apply left", files: files{"bad.yaml": encrypt("bad.yaml", strings.Replace(secretManifest, "  name: s\n", "  name: s\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{\"stringData\":{\"password\":\""+canary+"\"}}'\n", 1))},
			want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "plain kubeconfigFile", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: k.yaml\n"), "k.yaml": kubeconfig("bad")}, want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "kubeconfigFile with a plain token", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: k.yaml\n"), "k.yaml": kubeconfigYAML(sealtest.Rule{EncryptedRegex: "^data$"})}, want: []string{"plain-credential clusters/bad.yaml:6"}},
		{name: "kubeconfigFile with a server outside of the MAC", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: k.yaml\n"), "k.yaml": kubeconfigYAML(sealtest.Rule{EncryptedRegex: "^token$", MACOnlyEncrypted: true})}, want: []string{"server-unsealed clusters/bad.yaml:6"}},
		{name: "kubeconfigFile that is missing", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: k.yaml\n")}, want: []string{"not-found clusters/bad.yaml:6"}},
		{name: "kubeconfigFile out of the folder", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: ../base/k.yaml\n"), "base/k.yaml": kubeconfigYAML(sealtest.Everything)}, want: []string{"kubeconfig-file clusters/bad.yaml:6"}},
		{name: "encrypted kubeconfig that nobody names", files: files{"k.yaml": kubeconfigYAML(sealtest.Everything)}, want: []string{"not-an-object clusters/k.yaml:1"}},
		{name: "kubeconfig that nobody names", files: files{"k.yaml": kubeconfig("bad")}, want: []string{"unused clusters/k.yaml:1"}},
		{name: "secretGenerator with a literal", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    literals: [password=" + canary + "]\n")},
			want: []string{"plain-credential clusters/kustomization.yaml"}},
		{name: "secretGenerator over a plain file", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    files: [password.txt]\n"), "password.txt": canary},
			want: []string{"plain-credential clusters/kustomization.yaml"}},

		// SOPS.
		{name: "half a sops block", files: files{"bad.yaml": encrypted[:strings.Index(encrypted, "    lastmodified")]}, want: []string{"sops-block clusters/bad.yaml"}},
		{name: "sops block cut off", files: files{"bad.yaml": encrypted[:strings.Index(encrypted, "sops:")]}, want: []string{"sops-block clusters/bad.yaml:8"}},
		{name: "sops block that is no block", files: files{"bad.yaml": cluster("bad", ref) + "sops: {mac: 1, age: 2}\n"}, want: []string{"sops-block clusters/bad.yaml:7"}, withKey: true},
		{name: "changed file without a credential", files: files{"bad.yaml": strings.Replace(key.Encrypt(t, "bad.yaml", cluster("bad", ref), sealtest.Credentials), "elsewhere", "changed", 1)},
			want: []string{"sops-mac clusters/bad.yaml:8"}, withKey: true},
		{name: "changed patch without a credential", files: files{"kustomization.yaml": kustomization("patches:\n  - {path: p.yaml, target: {kind: ExternalCluster}}\n"),
			"p.yaml": strings.Replace(key.Encrypt(t, "p.yaml", cluster("any", "schedule: '@daily'\n"), sealtest.Credentials), "@daily", "@hourly", 1)},
			want: []string{"sops-mac clusters/p.yaml"}, withKey: true, stopped: true},
		{name: "tampered ciphertext", files: files{"bad.yaml": tampered}, want: []string{"sops-value clusters/bad.yaml:8"}},
		{name: "changed plain field", files: files{"bad.yaml": strings.Replace(encrypted, "https://bad.example.com", "https://evil.example.com", 1)}, want: []string{"sops-mac clusters/bad.yaml"}},
		{name: "changed file with another file's ciphertext", files: files{"bad.yaml": strings.Replace(encrypted, scalarAfter(encrypted, "token: "), scalarAfter(sealed("bad", serviceAccount(server, token, caPEM())), "token: "), 1)}, want: []string{"sops-value clusters/bad.yaml:8"}},
		{name: "for another recipient", files: files{"bad.yaml": foreignKey.Encrypt(t, "bad.yaml", cluster("bad", inline(kubeconfig("bad"))), sealtest.Credentials)}, want: []string{"sops-key clusters/bad.yaml"}},
		{name: "wrong key", opener: foreignKey.Opener(t), want: []string{"sops-key clusters/good.yaml"}, stopped: true},
		{name: "server split with a merge key", files: files{"bad.yaml": strings.Replace(encrypted, "https://bad.example.com", "https://bad.example.co\n        <<: {server: \"m\"}", 1)}, want: []string{"sops-block clusters/bad.yaml:8"}},
		{name: "server under a tag", files: files{"bad.yaml": strings.Replace(encrypted, "https://bad.example.com", "!!binary aHR0cHM6Ly9iYWQuZXhhbXBsZS5jb20=", 1)}, want: []string{"sops-block clusters/bad.yaml:7"}},
		{name: "no key", opener: unseal.NewOpener(), want: []string{"sops-no-key clusters/good.yaml"}, stopped: true},
		{name: "mac_only_encrypted with a plain server", files: files{"bad.yaml": macOnly}, want: []string{"server-unsealed clusters/bad.yaml:7"}},
		{name: "server patched by the overlay", files: files{"bad.yaml": encrypted, "kustomization.yaml": jsonPatch(`{"op": "replace", "path": "/spec/serviceAccountAuth/server", "value": "https://evil.example.com"}`)},
			want: []string{"server-unsealed clusters/bad.yaml:7"}},
		{name: "TLS turned off by the overlay", files: files{"bad.yaml": encrypted, "kustomization.yaml": jsonPatch(`{"op": "add", "path": "/spec/serviceAccountAuth/skipTLSVerify", "value": true}`)},
			want: []string{"server-unsealed clusters/bad.yaml:7", "tls-verification-off clusters/bad.yaml:6"}},
		{name: "token copied to another cluster", files: files{"a.yaml": sealed("a", serviceAccount("https://a.example.com", token, caPEM())), "bad.yaml": encrypted,
			"kustomization.yaml": replacement("spec.serviceAccountAuth.token", "spec.serviceAccountAuth.token")}, want: []string{"server-unsealed clusters/bad.yaml:7"}},
		{name: "token copied to an annotation", files: files{"a.yaml": sealed("a", serviceAccount("https://a.example.com", token, caPEM())), "bad.yaml": cluster("bad", ref),
			"kustomization.yaml": replacement("spec.serviceAccountAuth.token", "metadata.annotations.leak")}, want: []string{"encrypted-place clusters/bad.yaml:3"}},
		{name: "token copied to a field that is sent elsewhere", files: files{"a.yaml": sealed("a", serviceAccount("https://a.example.com", token, caPEM())),
			"bad.yaml":           cluster("bad", "vaultAuth: {server: 'https://x.example.com', vaultAddr: 'https://v.example.com', authRole: x, credsRole: y, targetCACertSecretRef: {name: z}}\n"),
			"kustomization.yaml": replacement("spec.serviceAccountAuth.token", "spec.vaultAuth.authRole")}, want: []string{"encrypted-place clusters/bad.yaml:6"}},
		{name: "part of a token copied", files: files{"a.yaml": sealed("a", serviceAccount("https://a.example.com", token, caPEM())), "bad.yaml": cluster("bad", "serviceAccountAuth: {server: 'https://b.example.com', token: 'x.y', caCert: z}\n"),
			"kustomization.yaml": strings.Replace(replacement("spec.serviceAccountAuth.token", "spec.serviceAccountAuth.token"), "{create: true}", "{delimiter: '.', index: 1}", 1)},
			want: []string{"encrypted-place clusters/bad.yaml:6", "plain-credential clusters/bad.yaml:6"}},
		{name: "sops block in the kustomization", files: files{"kustomization.yaml": kustomization("sops: {mac: x}\n")}, want: []string{"kustomization clusters/kustomization.yaml:1"}, stopped: true},

		// The kustomization.
		{name: "typo in the kustomization", files: files{"kustomization.yaml": kustomization("resuorces: []\n")}, want: []string{"kustomization clusters/kustomization.yaml:1"}, stopped: true},
		{name: "wrong type in the kustomization", files: files{"kustomization.yaml": "resources: " + canary + "\n"}, want: []string{"kustomization clusters/kustomization.yaml:1"}, stopped: true},
		{name: "kustomization that is no YAML", files: files{"kustomization.yaml": "resources: [\n"}, want: []string{"yaml clusters/kustomization.yaml"}, stopped: true},
		{name: "two kustomizations", files: files{"kustomization.yaml": kustomization(""), "kustomization.yml": kustomization("")}, want: []string{"kustomization clusters/kustomization.yml"}, stopped: true},
		{name: "reference out of the repository", files: files{"kustomization.yaml": kustomization("  - ../../other\n")}, want: []string{"outside clusters/kustomization.yaml:4"}, stopped: true},
		{name: "absolute reference", files: files{"kustomization.yaml": kustomization("  - /etc/passwd\n")}, want: []string{"outside clusters/kustomization.yaml:4"}, stopped: true},
		{name: "reference through a symlink", files: files{"kustomization.yaml": kustomization("  - link/x.yaml\n"), "link": symlink + "/etc"}, want: []string{"symlink clusters/kustomization.yaml:4"}},
		{name: "remote resource, https", files: files{"kustomization.yaml": kustomization("  - https://user:" + canary + "@example.com/x.yaml?token=" + canary + "\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote resource, scp", files: files{"kustomization.yaml": kustomization("  - git@example.com:org/repo\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote resource, github.com", files: files{"kustomization.yaml": kustomization("  - github.com/org/repo\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote resource, git::", files: files{"kustomization.yaml": kustomization("  - git::https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote resource, ssh", files: files{"kustomization.yaml": kustomization("  - ssh://git@example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote resource, file", files: files{"kustomization.yaml": kustomization("  - file:///etc\n")}, want: []string{"remote clusters/kustomization.yaml:4"}, stopped: true},
		{name: "remote base", files: files{"kustomization.yaml": kustomization("bases:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote component", files: files{"kustomization.yaml": kustomization("components:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote patch", files: files{"kustomization.yaml": kustomization("patches:\n  - path: https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "deprecated labels", files: files{"kustomization.yaml": kustomization("commonLabels: {a: b}\n")}, infos: []string{"deprecated-field clusters/kustomization.yaml:4"}},
		{name: "deprecated patches", files: files{"kustomization.yaml": kustomization("patchesStrategicMerge:\n- |\n  apiVersion: k8s.mondoo.com/v1alpha2\n  kind: MondooAuditConfig\n  metadata: {name: mondoo-client}\n")},
			infos: []string{"deprecated-field clusters/kustomization.yaml:4"}},
		{name: "deprecated JSON patches", files: files{"kustomization.yaml": kustomization("patchesJson6902:\n- target: {group: k8s.mondoo.com, version: v1alpha2, kind: MondooAuditConfig, name: mondoo-client}\n  patch: '[{\"op\": \"test\", \"path\": \"/kind\", \"value\": \"MondooAuditConfig\"}]'\n")},
			infos: []string{"deprecated-field clusters/kustomization.yaml:4"}},
		{name: "remote JSON patch", files: files{"kustomization.yaml": kustomization("patchesJson6902:\n  - target: {version: v1, kind: Secret, name: x}\n    path: https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:6"}, stopped: true},
		{name: "remote strategic patch", files: files{"kustomization.yaml": kustomization("patchesStrategicMerge:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote generator", files: files{"kustomization.yaml": kustomization("generators:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote path in an inline transformer", files: files{"kustomization.yaml": kustomization("transformers:\n  - |\n    apiVersion: builtin\n    kind: PatchTransformer\n    metadata: {name: x}\n    path: https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote replacement", files: files{"kustomization.yaml": kustomization("replacements:\n  - path: https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote configuration", files: files{"kustomization.yaml": kustomization("configurations:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote crds", files: files{"kustomization.yaml": kustomization("crds:\n  - https://example.com/x\n")}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote generator input", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    files: ['a=https://example.com/x']\n")}, want: []string{"remote clusters/kustomization.yaml:6"}, stopped: true},
		{name: "remote env input", files: files{"kustomization.yaml": kustomization("configMapGenerator:\n  - name: s\n    envs: ['https://example.com/x']\n")}, want: []string{"remote clusters/kustomization.yaml:6"}, stopped: true},
		{name: "helmCharts", files: files{"kustomization.yaml": kustomization("helmCharts:\n  - {name: x, repo: 'https://example.com'}\n")}, want: []string{"unsupported clusters/kustomization.yaml:4"}, stopped: true},
		{name: "Helm generator", files: files{"kustomization.yaml": kustomization("generators:\n  - g.yaml\n"), "g.yaml": "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "exec plugin generator", files: files{"kustomization.yaml": kustomization("generators:\n  - g.yaml\n"), "g.yaml": "apiVersion: v1\nkind: Exec\nmetadata:\n  name: x\n  annotations: {config.kubernetes.io/function: 'exec: {path: ./run.sh}'}\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "folder of transformers", files: files{"kustomization.yaml": kustomization("transformers:\n  - plug\n"), "plug/kustomization.yaml": "resources: [p.yaml]\n", "plug/p.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: https://example.com/p.yaml\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "folder of generators", files: files{"kustomization.yaml": kustomization("generators:\n  - ./plug\n"), "plug/kustomization.yaml": "resources: []\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "folder of validators", files: files{"kustomization.yaml": kustomization("validators:\n  - ./plug\n"), "plug/kustomization.yaml": "resources: []\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "builtin that kustomize does not have", files: files{"kustomization.yaml": kustomization("generators:\n  - g.yaml\n"), "g.yaml": "apiVersion: builtin\nkind: Other\nmetadata: {name: x}\n"}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote path behind an anchor among labels", files: files{"kustomization.yaml": kustomization("transformers:\n  - t.yaml\n"), "t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x, labels: {a: &u 'https://example.com/x'}}\npath: *u\n"}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "remote path in base64", files: files{"kustomization.yaml": kustomization("transformers:\n  - t.yaml\n"), "t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: !!binary aHR0cDovL2V4YW1wbGUuY29tL3g=\n"}, want: []string{"remote clusters/kustomization.yaml:5"}, stopped: true},
		{name: "annotations of kustomize's own", files: files{"bad.yaml": strings.Replace(cluster("bad", ref), "  name: bad\n", "  name: bad\n  annotations:\n    internal.config.kubernetes.io/previousNames: x\n", 1)}, want: []string{"unsupported clusters/bad.yaml:6"}},
		{name: "annotations of kustomize's own from a kustomization", files: files{"kustomization.yaml": kustomization("commonAnnotations:\n  internal.config.kubernetes.io/needsHashSuffix: enabled\n")}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "annotations of kustomize's own from a patch", files: files{"kustomization.yaml": kustomization("patches:\n  - path: p.yaml\n    target: {kind: ExternalCluster}\n"), "p.yaml": "- op: add\n  path: /metadata/annotations/internal.config.kubernetes.io~1needsHashSuffix\n  value: enabled\n"}, want: []string{"unsupported clusters/p.yaml:2"}, stopped: true},
		{name: "annotations of kustomize's own from an inline patch, in disguise", files: files{"kustomization.yaml": kustomization("patches:\n  - patch: |\n      - {op: add, path: /metadata/annotations, value: {\"\\x69nternal.config.kubernetes.io/needsHashSuffix\": enabled}}\n    target: {kind: ExternalCluster}\n")}, want: []string{"unsupported clusters/kustomization.yaml:5"}, stopped: true},
		{name: "annotations of kustomize's own from a transformer", files: files{"kustomization.yaml": kustomization("transformers:\n  - t.yaml\n"), "t.yaml": "apiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: x}\nannotations:\n  internal.config.kubernetes.io/needsHashSuffix: enabled\n"}, want: []string{"unsupported clusters/t.yaml:5"}, stopped: true},
		{name: "literal without a key", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    literals:\n      - " + canary + "\n")}, want: []string{"kustomization clusters/kustomization.yaml:7"}, stopped: true},
		{name: "ConfigMap literal without a key", files: files{"kustomization.yaml": kustomization("configMapGenerator:\n  - name: s\n    literals: ['=" + canary + "']\n")}, want: []string{"kustomization clusters/kustomization.yaml:6"}, stopped: true},
		{name: "patch that is a word", files: files{"kustomization.yaml": kustomization("patches:\n  - target: {kind: ExternalCluster}\n    patch: " + canary + "\n")}, want: []string{"kustomize clusters/kustomization.yaml"}, stopped: true},
		{name: "test of a value in a patch", files: files{"bad.yaml": cluster("bad", ref), "kustomization.yaml": jsonPatch(`{"op": "test", "path": "/spec/kubeconfigSecretRef/name", "value": "` + canary + `"}`)}, want: []string{"kustomize clusters/bad.yaml"}},
		{name: "operation of a patch that does not exist", files: files{"bad.yaml": cluster("bad", ref), "kustomization.yaml": jsonPatch(`{"op": "` + canary + `", "path": "/` + canary + `"}`)}, want: []string{"kustomize clusters/bad.yaml"}},
		{name: "openapi", files: files{"kustomization.yaml": kustomization("openapi:\n  path: s.json\n"), "s.json": "{}"}, want: []string{"unsupported clusters/kustomization.yaml:4"}, stopped: true},
		{name: "value from the environment", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    envs: [s.env]\n"), "s.env": "PATH\n"}, want: []string{"environment clusters/kustomization.yaml:5"}, stopped: true},
		{name: "labels by a transformer, beside an encrypted input", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    envs: [s.env]\ntransformers: [t.yaml]\n"), "s.env": key.Encrypt(t, "s.env", "PASSWORD="+canary+"\n", sealtest.Everything),
			"t.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {team: platform}\nfieldSpecs: [{path: metadata/labels, create: true}]\n"}, withKey: true},
		{name: "value from the environment, encrypted", files: files{"kustomization.yaml": kustomization("secretGenerator:\n  - name: s\n    envs: [s.bin]\n"), "s.bin": key.Encrypt(t, "s.bin", "PATH\n", sealtest.Everything)}, want: []string{"environment clusters/kustomization.yaml:5"}, stopped: true, withKey: true},
		{name: "missing listed file", files: files{"kustomization.yaml": kustomization("  - gone.yaml\n")}, want: []string{"not-found clusters/kustomization.yaml:4"}},
		{name: "missing base", files: files{"kustomization.yaml": kustomization("  - ../base\n")}, want: []string{"not-found clusters/kustomization.yaml:4"}, stopped: true},
		{name: "base without kustomization", files: files{"kustomization.yaml": kustomization("  - ../base\n"), "base/x.yaml": "a: b\n"}, want: []string{"not-found clusters/kustomization.yaml:4"}, stopped: true},
		{name: "missing component", files: files{"kustomization.yaml": kustomization("components:\n  - ../base\n")}, want: []string{"not-found clusters/kustomization.yaml:5"}, stopped: true},
		{name: "missing patch", files: files{"kustomization.yaml": kustomization("patches:\n  - path: gone.yaml\n")}, want: []string{"not-found clusters/kustomization.yaml:5"}, stopped: true},
		{name: "patch that is no YAML", files: files{"kustomization.yaml": kustomization("patches:\n  - path: p.yaml\n"), "p.yaml": "a: [" + canary + "\n"}, want: []string{"yaml clusters/p.yaml"}, stopped: true},
		{name: "inline patch that is no YAML", files: files{"kustomization.yaml": kustomization("patches:\n  - target: {kind: ExternalCluster}\n    patch: 'a: [" + canary + "'\n")}, want: []string{"yaml clusters/kustomization.yaml:6"}, stopped: true},
		{name: "patch for a cluster that isn't there", files: files{"kustomization.yaml": kustomization("patches:\n  - patch: |\n      " + oneLine(cluster("gone", ref)) + "\n")}, want: []string{"patch-target clusters/kustomization.yaml:5"}},
		{name: "patch for a Secret that isn't there", files: files{"kustomization.yaml": kustomization("patches:\n  - patch: '{apiVersion: v1, kind: Secret, metadata: {name: gone}}'\n")}, want: []string{"kustomize clusters/kustomization.yaml"}, stopped: true},
		{name: "patch that breaks one cluster", files: files{"bad.yaml": cluster("bad", ref), "kustomization.yaml": jsonPatch(`{"op": "remove", "path": "/spec/nothing"}`)}, want: []string{"kustomize clusters/bad.yaml"}},
		{name: "patch that breaks one cluster of a tree built whole", files: files{"bad.yaml": cluster("bad", ref), "kustomization.yaml": jsonPatch(`{"op": "remove", "path": "/spec/nothing"}`) + "configurations: [c.yaml]\n", "c.yaml": "nameReference: []\n"}, want: []string{"kustomize clusters/bad.yaml"}},
		{name: "large patches of every cluster", files: files{"bad.yaml": cluster("bad", ref), "p.yaml": "- {op: add, path: /spec/x, value: [0" + strings.Repeat(", 0", 200_000) + "]}\n",
			"kustomization.yaml": kustomization("patches:\n" + strings.Repeat("  - {path: p.yaml, target: {kind: ExternalCluster}}\n", 4))}, want: []string{"size clusters/kustomization.yaml:5"}, stopped: true},
		{name: "patch that doubles a cluster over and over", files: files{"bad.yaml": cluster("bad", ref),
			"kustomization.yaml": jsonPatch(strings.Repeat(`{"op": "copy", "from": "/spec", "path": "/metadata/annotations"}, `, 29) + `{"op": "copy", "from": "/metadata", "path": "/spec/x"}`)},
			want: []string{"size clusters/kustomization.yaml:6"}, stopped: true},
		{name: "replacements that double a cluster over and over", files: files{"a.yaml": cluster("a", ref), "bad.yaml": cluster("bad", ref),
			"kustomization.yaml": strings.Replace(replacement("spec", strings.Repeat("spec.x, ", 30)+"spec.y"), "name: bad}", "name: a}", 1)},
			want: []string{"size clusters/kustomization.yaml:7"}, stopped: true},
		{name: "a mapping that a replacement copies", files: files{"a.yaml": cluster("a", ref+"filtering: {namespaces: {include: [x]}}\n"), "bad.yaml": cluster("bad", ref),
			"kustomization.yaml": replacement("spec.filtering", "spec.filtering")}},
		{name: "cycle", files: files{"kustomization.yaml": kustomization("  - sub\n"), "sub/kustomization.yaml": "resources: [..]\n"}, want: []string{"cycle clusters/sub/kustomization.yaml:1"}, stopped: true},
		{name: "too many levels", files: levels(21), want: []string{"size clusters/kustomization.yaml:1"}, stopped: true},
		{name: "many levels", files: levels(20)},
		{name: "includes itself", files: files{"kustomization.yaml": kustomization("  - .\n")}, want: []string{"cycle clusters/kustomization.yaml:4"}, stopped: true},
		{name: "kubeconfig file unused, with a kustomization", files: files{"kustomization.yaml": kustomization(""), "k.yaml": kubeconfig("bad")}},
		{name: "broken file beside a kustomization", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": "kind: ExternalCluster\n\tx"}, want: []string{"yaml clusters/bad.yaml:2"}},
		{name: "somebody else's broken file beside a kustomization", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": "kind: Other\n\tx"}, want: []string{"yaml clusters/bad.yaml:2"}},
		{name: "unlisted cluster encrypted as a whole", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": key.Encrypt(t, "bad.yaml", cluster("bad", ref), sealtest.Everything)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted cluster with another case", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": strings.Replace(cluster("bad", ref), "ExternalCluster", "Externalcluster", 1)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted cluster with another kind", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": strings.Replace(cluster("bad", ref), "ExternalCluster", "ExternalClutser", 1)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted cluster of another group", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": strings.Replace(cluster("bad", ref), "muster.dev", "muster.io", 1)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted cluster without kind", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": strings.Replace(cluster("bad", ref), "kind:", "Kind:", 1)}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted cluster commented out", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": "# kind: ExternalCluster\n"}, want: []string{"empty clusters/bad.yaml:1"}},
		{name: "unlisted cluster emptied", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": ""}, want: []string{"empty clusters/bad.yaml:1"}},
		{name: "unlisted cluster with a merge conflict", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": "<<<<<<< HEAD\n" + cluster("bad", ref) + "=======\n" + cluster("bad", ref) + ">>>>>>> x\n"}, want: []string{"yaml clusters/bad.yaml"}},
		{name: "unlisted file of which a conflict mark is left", files: files{"kustomization.yaml": kustomization(""), "bad.yaml": "<<<<<<< HEAD\n"}, want: []string{"not-an-object clusters/bad.yaml:1"}},
		{name: "unlisted files of others", files: files{"kustomization.yaml": kustomization(""), "a.yaml": "externalClusters: [x]\n", "sync.yaml": "apiVersion: muster.dev/v1alpha1\nkind: AuditSync\nmetadata: {name: x}\n",
			"other.yaml": strings.Replace(auditConfig("x"), "enable: true", "enable: true\n    externalClusters: []", 1)}},

		// What is not for Muster.
		{name: "ConfigMap", files: files{"bad.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata: {a: b}\n"}, want: []string{"kind clusters/bad.yaml:2"}},
		{name: "Deployment", files: files{"bad.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n"}, want: []string{"kind clusters/bad.yaml:2"}},
		{name: "audit config of another version", files: files{"bad.yaml": strings.Replace(auditConfig("x"), "v1alpha2", "v1alpha1", 1)}, want: []string{"kind clusters/bad.yaml:1"}},
		{name: "Secret for another namespace", files: files{"bad.yaml": encrypt("bad.yaml", strings.Replace(secretManifest, "name: s", "name: s\n  namespace: kube-system", 1))}, want: []string{"namespace clusters/bad.yaml:5"}},
		{name: "audit config for another namespace", files: files{"bad.yaml": strings.Replace(auditConfig("x"), "name: x", "name: x\n  namespace: kube-system", 1)}, want: []string{"namespace clusters/bad.yaml:5"}, stopped: true},
		{name: "audit config without credentials", files: files{"mondoo-client.yaml": strings.Replace(auditConfig("mondoo-client"), "mondooCredsSecretRef:\n    name: mondoo-client", "nodes: {}", 1)}, want: []string{"audit-config clusters/mondoo-client.yaml:5", "audit-config clusters/good.yaml:5"}, stopped: true},
		{name: "audit config with an encrypted value", files: files{"mondoo-client.yaml": key.Encrypt(t, "m.yaml", auditConfig("mondoo-client"), sealtest.Rule{EncryptedRegex: "^schedule$"})}, want: []string{"audit-config clusters/mondoo-client.yaml:9", "audit-config clusters/good.yaml:5"}, stopped: true},
		{name: "two audit configs and no choice", files: files{"bad.yaml": auditConfig("x"), "good.yaml": sealed("good", inline(kubeconfig("good"))+"auditConfig: mondoo-client\n"), "c.yaml": cluster("c", ref)}, want: []string{"audit-config clusters/c.yaml:5"}},
		{name: "patch that was emptied", files: files{"kustomization.yaml": kustomization("patches:\n  - path: p.yaml\n"), "p.yaml": "# nothing\n---\n"}, want: []string{"empty clusters/p.yaml:1"}},
		{name: "stale .musterignore", files: files{".musterignore": "gone/\n*.bak\n"}},
		{name: ".musterignore", files: files{".musterignore": "# comment\nbad.yaml\nsub/\n", "bad.yaml": "x: [", "sub/a.yaml": "x: ["}},
		{name: ".musterignore as an editor on Windows saves it", files: files{".musterignore": "\ufeffbad.yaml\r\nsub/\r\n", "bad.yaml": "x: [", "sub/a.yaml": "x: ["}},
		{name: ".musterignore that is a symlink", files: files{".musterignore": symlink + "../ignore", "../ignore": "bad.yaml\n", "bad.yaml": cluster("bad", ref)}, want: []string{"symlink clusters/.musterignore"}, stopped: true},
		{name: ".musterignore that is a folder", files: files{".musterignore/x": "bad.yaml\n", "bad.yaml": cluster("bad", ref)}, want: []string{"not-found clusters/.musterignore"}, stopped: true},
		{name: ".musterignore in UTF-16", files: files{".musterignore": "\xff\xfeb\x00a\x00d\x00.\x00y\x00a\x00m\x00l\x00", "bad.yaml": cluster("bad", ref)}, want: []string{"encoding clusters/.musterignore:1"}, stopped: true},
		{name: "nested kustomization", files: files{"sub/kustomization.yaml": "namePrefix: sub-\nresources: [a.yaml]\n", "sub/a.yaml": cluster("a", ref), "sub/unlisted.yaml": "x: ["}},
		{name: "nested component", files: files{"sub/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: x-\n"}},
		{name: "hidden files", files: files{".github/x.yaml": "x: [", ".hidden.yaml": "x: ["}},
	}
	rows = append(rows, fleetRows(t, key, cluster)...)
	rows = append(rows, typeRows(t, key, cluster)...)
	rows = append(rows, fieldRows(t, key, cluster)...)
	rows = append(rows, policyRows(cluster)...)
	rows = append(rows, recipientRows(t, key, cluster("bad", inline(kubeconfig("bad"))))...)
	rows = append(rows, credentialRows(cluster, sealed, recommended, encrypt, inline, serviceAccount)...)
	broken := map[finding.Code]bool{}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			repository := maps.Clone(good)
			for name, content := range row.files {
				if !strings.HasPrefix(name, "base/") {
					name = "clusters/" + name
				}
				repository[name] = content
			}
			opener := row.opener
			if opener == nil {
				opener = key.Opener(t)
			}
			opts := options
			if row.options != nil {
				row.options(&opts)
			}
			r := render(t, repository.fs(), "clusters", opts, opener)
			checkFindings(t, r.findings(), row.want)
			checkPlaces(t, repository, r.findings())
			checkInfos(t, r.findings(), row.infos)
			for _, f := range r.findings() {
				broken[f.Code] = true
			}
			if stopped := r.report().Stopped || row.opener != nil; stopped != row.stopped {
				t.Errorf("stopped: %t", stopped)
			}
			if !row.stopped {
				checkGood(t, r)
			}
			keyless := compileOnly(t, repository.fs(), "clusters", opts).findings()
			checkFindings(t, keyless, row.keyless())
			for _, f := range keyless {
				broken[f.Code] = true
			}
		})
	}
	if !t.Failed() {
		checkEveryRuleIsBroken(t, broken)
	}
}

// checkGood: the good cluster is to be applied, with its Secret.
func checkGood(t *testing.T, r run) {
	t.Helper()
	for _, e := range r.opened.Entries("mondoo-client") {
		if e.Name == "good" {
			for _, s := range r.opened.Secrets {
				if s.Cluster == "good" && !s.Quarantined && strings.Contains(s.Data["kubeconfig"], canary) {
					return
				}
			}
			t.Error("the good cluster has no Secret")
		}
	}
	t.Error("the good cluster is not to be applied")
}

func checkFindings(t *testing.T, findings []finding.Finding, want []string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		if text := fmt.Sprintf("%+v %s", f, f); strings.Contains(text, canary) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(canary))[:16]) {
			t.Errorf("a finding repeats a secret: %s", f)
		}
		if seal.HasHandle(f.String()) {
			t.Errorf("a finding holds a handle: %s", f)
		}
		if err := f.Check(); err != nil {
			t.Errorf("not as the catalogue wants it: %v", err)
		}
		aboutPurges := slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, string(compile.CodePurgeWindow)) })
		if f.Severity == finding.Info || f.Code == compile.CodePurgeWindow && !aboutPurges {
			continue // the audit config is hourly, and many rows need another schedule
		}
		place := f.Path
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.Path, f.Line)
		}
		got = append(got, string(f.Code)+" "+place)
	}
	for _, w := range want {
		if !contains(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
	for i, g := range got {
		if !contains(want, g) {
			t.Errorf("unexpected: %s: %s", g, findings[i])
		}
	}
}

// contains compares "code path:line"; a wanted one without line takes any.
func contains(list []string, entry string) bool {
	for _, item := range list {
		if item == entry || strings.HasPrefix(item, entry+":") || strings.HasPrefix(entry, item+":") {
			return true
		}
	}
	return false
}

// needKey are the codes that come up only once files are opened.
var needKey = []string{"sops-value", "sops-mac", "sops-key", "sops-no-key", "kubeconfig-", "certificate-", "secret-base64", "secret-size", "token-", "credential-", "registry-config", "registry-login"}

func needsKey(entry string) bool {
	for _, code := range needKey {
		if strings.HasPrefix(entry, code) && !strings.HasPrefix(entry, "kubeconfig-file ") && !strings.HasPrefix(entry, "credential-source-") {
			return true
		}
	}
	return false
}

// keyless are the wanted findings that need no key.
func (row badInput) keyless() []string {
	var list []string
	for _, w := range row.want {
		if !row.withKey && !needsKey(w) {
			list = append(list, w)
		}
	}
	return list
}

// TestBadPath: a path that can't be loaded is an error of its own type, and never an empty fleet.
func TestBadPath(t *testing.T) {
	repository := files{"clusters/a.yaml": "a: b\n", "file": "x", "empty/README.md": "nothing\n", "link": symlink + "clusters", "other/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"}
	for _, path := range []string{"nowhere", "file", "link", "link/x", "..", "../other", "/clusters", "clusters/../../x"} {
		_, err := clusters.NewPipeline().Compile(context.Background(), clusters.Source{FS: repository.fs(), Path: path}, options, nil)
		if target := (*load.PathError)(nil); !errors.As(err, &target) {
			t.Errorf("%s: %v", path, err)
		}
	}
	r := compileOnly(t, repository.fs(), "empty", options)
	if !r.report().Stopped {
		t.Error("a path without YAML is no reason to stop")
	}
	checkFindings(t, r.findings(), []string{"empty empty"})
}

// TestSmallLimits: limits hold for trees as well as files.
func TestSmallLimits(t *testing.T) {
	repository := files{"clusters/mondoo-client.yaml": auditConfig("mondoo-client")}
	for i := range 20 {
		repository[fmt.Sprintf("clusters/c%02d.yaml", i)] = fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c%d\nspec:\n  kubeconfigSecretRef: {name: x}\n", i)
	}
	for name, limits := range map[string]load.Limits{
		"files": {FileBytes: 1 << 20, Files: 10, TreeBytes: 1 << 20, Nodes: 1000, TreeNodes: 1000},
		"bytes": {FileBytes: 1 << 20, Files: 100, TreeBytes: 1000, Nodes: 1000, TreeNodes: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, err := clusters.NewPipeline().Compile(context.Background(), clusters.Source{FS: repository.fs(), Path: "clusters", Limits: limits}, options, nil)
			if err != nil {
				t.Fatal(err)
			}
			if finding.Errors(sealed.Findings) == 0 || sealed.Findings[0].Code != load.CodeSize {
				t.Errorf("findings: %s", lines(sealed.Findings))
			}
		})
	}
}
