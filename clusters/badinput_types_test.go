package clusters_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// typeRows are about values of the wrong type, and about what was told of by a wrong cause.
func typeRows(t *testing.T, key *sealtest.Key, cluster func(name, spec string) string) []badInput {
	const ref = "kubeconfigSecretRef: {name: elsewhere}\n"
	encrypt := func(name, plain string) string { return key.Encrypt(t, name, plain, sealtest.Credentials) }
	whole := func(name, plain string) string { return key.Encrypt(t, name, plain, sealtest.Everything) }
	secret := func(rest string) string { return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n" + rest }
	with := func(text string) string { return "resources:\n  - mondoo-client.yaml\n  - good.yaml\n" + text }
	generator := func(source string) string { return with("secretGenerator:\n  - name: s\n    " + source + "\n") }
	account := func(token string) string {
		return encrypt("bad.yaml", cluster("bad", "serviceAccountAuth:\n  server: https://bad.example.com\n  token: "+token+"\n  caCert: |\n"+indent(4, caPEM())))
	}
	inline := func(change func(string) string) string {
		return encrypt("bad.yaml", cluster("bad", "kubeconfig: |\n"+indent(2, change(kubeconfig("bad")))))
	}
	joined := strings.TrimSuffix(caPEM(), "\n") + caPEM()
	return []badInput{
		// Values of the wrong type.
		{name: "generator with a number as key", files: files{"kustomization.yaml": generator("envs: [s.env]"), "s.env": whole("s.env", "8443="+canary+"\n")}, want: []string{"wrong-type clusters/kustomization.yaml:4"}},
		{name: "generator with a date as key", files: files{"kustomization.yaml": generator("files: [2024-01-01=s]"), "s": whole("s", canary)}, want: []string{"wrong-type clusters/kustomization.yaml:4"}},
		{name: "Secret with a number as key", files: files{"bad.yaml": secret("stringData: {1: " + canary + "}\n")}, want: []string{"wrong-type clusters/bad.yaml:5", "plain-credential clusters/bad.yaml:5"}},
		{name: "Secret whose block is text", files: files{"bad.yaml": secret("stringData: " + canary + "\n")}, want: []string{"wrong-type clusters/bad.yaml:5", "plain-credential clusters/bad.yaml:5"}},
		{name: "Secret with a misspelt block", files: files{"bad.yaml": secret("stringdata: {a: " + canary + "}\n")}, want: []string{"unknown-field clusters/bad.yaml:5", "plain-credential clusters/bad.yaml:5"}},
		{name: "Secret with a label that is a number", files: files{"bad.yaml": secret("  labels: {team: 1}\n")}, want: []string{"wrong-type clusters/bad.yaml:5"}},
		{name: "Secret with a null", files: files{"bad.yaml": secret("stringData: {b: null}\n")}, want: []string{"null-value clusters/bad.yaml:5"}},
		{name: "cluster with a number as key", files: files{"bad.yaml": cluster("bad", ref+"filtering: {1: x}\n")}, want: []string{"wrong-type clusters/bad.yaml:7"}},
		{name: "cluster whose spec has numbers as keys", files: files{"bad.yaml": cluster("bad", "1: x\n2: "+canary+"\n")}, want: []string{"wrong-type clusters/bad.yaml:5"}},
		{name: "cluster with a label that has a number as key", files: files{"bad.yaml": strings.Replace(cluster("bad", ref), "  name: bad\n", "  name: bad\n  labels: {1: x}\n", 1)}, want: []string{"wrong-type clusters/bad.yaml:5"}},
		{name: "entry whose name is a number", files: files{"mondoo-client.yaml": auditConfig("mondoo-client") + "    externalClusters:\n      - name: 5\n        kubeconfigSecretRef: {name: x}\n"}, want: []string{"wrong-type clusters/mondoo-client.yaml:12"}},
		{name: "audit config with a number as key", files: files{"mondoo-client.yaml": auditConfig("mondoo-client") + "  scanner: {1: x}\n"}, want: []string{"audit-config clusters/mondoo-client.yaml:11", "audit-config clusters/good.yaml:5"}, stopped: true},

		// Encrypted values that aren't text.
		{name: "token of digits", files: files{"bad.yaml": account("0123456789")}, want: []string{"wrong-type clusters/bad.yaml:8"}},
		{name: "token of octal digits", files: files{"bad.yaml": account("0123456")}, want: []string{"wrong-type clusters/bad.yaml:8"}},
		{name: "token that is true", files: files{"bad.yaml": account("true")}, want: []string{"wrong-type clusters/bad.yaml:8"}},
		{name: "token that is a date", files: files{"bad.yaml": account("2024-01-01")}, want: []string{"wrong-type clusters/bad.yaml:8"}},
		{name: "token of digits in quotes", files: files{"bad.yaml": account(`"0123456789"`)}},
		{name: "Secret with encrypted numbers", files: files{"bad.yaml": encrypt("bad.yaml", secret("stringData:\n  b: "+canary+"\n  c: 1.10\n"))}, want: []string{"wrong-type clusters/bad.yaml:7"}},
		{name: "Secret in JSON with an encrypted number", files: files{"kustomization.yaml": with("  - bad.json\n"), "bad.json": encrypt("bad.json", `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": 5}}`)}, want: []string{"wrong-type clusters/bad.json"}},
		{name: "Secret with encrypted bytes that are text", files: files{"bad.yaml": encrypt("bad.yaml", secret("stringData:\n  a: !!binary "+base64.StdEncoding.EncodeToString([]byte(canary))+"\n"))}},
		{name: "Secret with encrypted bytes", files: files{"bad.yaml": encrypt("bad.yaml", secret("stringData:\n  a: !!binary "+base64.StdEncoding.EncodeToString([]byte(canary+"\xff"))+"\n"))}, want: []string{"sops-value clusters/bad.yaml:6"}},

		// Encrypted JSON, and documents of sops' own making.
		{name: "generators of encrypted JSON", files: files{"kustomization.yaml": with("secretGenerator:\n  - name: s\n    files: [a.json, b.json, c.json]\n"),
			"a.json": whole("a.json", `{"data": "`+canary+`"}`), "b.json": whole("b.json", `{"data": {"a": "`+canary+`"}}`), "c.json": whole("c.json", `{"data": ["`+canary+`"]}`)}},
		{name: "SOPS file that ends in ---", files: files{"bad.yaml": encrypt("bad.yaml", secret("stringData:\n  a: "+canary+"\n---\n"))}},
		{name: "SOPS cluster file that ends in ---", files: files{"bad.yaml": encrypt("bad.yaml", cluster("bad", "kubeconfig: |\n"+indent(2, kubeconfig("bad")))+"---\n")}},
		{name: "SOPS cluster file with a document of comments", files: files{"bad.yaml": encrypt("bad.yaml", "# x\n---\n"+cluster("bad", "kubeconfig: |\n"+indent(2, kubeconfig("bad"))))}},

		// Causes.
		{name: "sops in quotes", files: files{"bad.yaml": cluster("bad", "kubeconfigFile: k\n"), "k": strings.Replace(whole("k.yaml", kubeconfig("bad")), "\nsops:", "\n\"sops\":", 1)}},
		{name: "lastmodified without quotes", files: files{"bad.yaml": strings.NewReplacer(`lastmodified: "`, "lastmodified: ", `Z"`, "Z").Replace(account("token-" + canary))}, want: []string{"sops-block clusters/bad.yaml"}},
		{name: "annotation that starts like an encrypted value", files: files{"bad.yaml": strings.Replace(cluster("bad", ref), "  name: bad\n", "  name: bad\n  annotations: {x: 'ENC[AES256_GCM, is ours'}\n", 1)}},
		{name: "the same in an encrypted file", files: files{"bad.yaml": encrypt("bad.yaml", strings.Replace(cluster("bad", "kubeconfig: |\n"+indent(2, kubeconfig("bad"))), "  name: bad\n", "  name: bad\n  annotations:\n    x: 'ENC[AES256_GCM, is ours'\n", 1))}},
		{name: "kustomization of an unknown kind", files: files{"kustomization.yaml": "kind: Kustomisation\n" + with("")}, want: []string{"kustomization clusters/kustomization.yaml:1"}, stopped: true},
		{name: "kustomization of an unknown version", files: files{"kustomization.yaml": "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v2\n" + with("")}, want: []string{"kustomization clusters/kustomization.yaml:2"}, stopped: true},
		{name: "empty item among the resources", files: files{"kustomization.yaml": with("  - \"\"\n")}, want: []string{"kustomization clusters/kustomization.yaml:4"}, stopped: true},
		{name: "item without value among the resources", files: files{"kustomization.yaml": with("  -\n")}, want: []string{"kustomization clusters/kustomization.yaml:4"}, stopped: true},
		{name: "empty component", files: files{"kustomization.yaml": with("components: [\" \"]\n")}, want: []string{"kustomization clusters/kustomization.yaml:4"}, stopped: true},
		{name: "managedByLabel", files: files{"kustomization.yaml": with("  - s.yaml\nbuildMetadata: [managedByLabel]\n"), "s.yaml": encrypt("s.yaml", secret("stringData:\n  a: "+canary+"\n"))}},
		{name: "certificates without a line end between them", files: files{"bad.yaml": encrypt("bad.yaml", cluster("bad", "serviceAccountAuth:\n  server: https://bad.example.com\n  token: token-"+canary+"\n  caCert: |\n"+indent(4, joined)))}, want: []string{"certificate-form clusters/bad.yaml:9"}},
		{name: "the management cluster in a kubeconfig", files: files{"bad.yaml": inline(func(text string) string {
			return strings.Replace(text, "https://bad.example.com:6443", "https://kubernetes.default.svc", 1)
		})}, want: []string{"kubeconfig-server clusters/bad.yaml:6"}},
		{name: "the management cluster as server", files: files{"bad.yaml": encrypt("bad.yaml", cluster("bad", "serviceAccountAuth:\n  server: https://kubernetes.default.svc.cluster.local:443\n  token: token-"+canary+"\n  caCert: |\n"+indent(4, caPEM())))}, want: []string{"server-address clusters/bad.yaml:7"}},
	}
}

// TestManagedByLabel: the label that kustomize is asked for has a value that Kubernetes takes.
func TestManagedByLabel(t *testing.T) {
	key := sealtest.NewKey(t)
	repository := files{"clusters/mondoo-client.yaml": auditConfig("mondoo-client"), "clusters/kustomization.yaml": "resources: [mondoo-client.yaml, s.yaml]\nbuildMetadata: [managedByLabel]\n",
		"clusters/s.yaml": key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  a: "+canary+"\n", sealtest.Credentials)}
	r := render(t, repository.fs(), "clusters", options, key.Opener(t))
	if len(r.findings()) > 0 || len(r.opened.Secrets) != 1 {
		t.Fatalf("%s", lines(r.findings()))
	}
	if value := r.opened.Secrets[0].Labels["app.kubernetes.io/managed-by"]; !strings.HasPrefix(value, "kustomize") || strings.Contains(value, "(") {
		t.Errorf("the label is %q", value)
	}
}

// TestGeneratedFromEncryptedJSON: a generator's Secret holds what sops decrypt writes, with the indents of the .sops.yaml above it.
func TestGeneratedFromEncryptedJSON(t *testing.T) {
	key := sealtest.NewKey(t)
	text := key.Encrypt(t, "a.json", `{"data": {"a": "`+canary+`"}}`, sealtest.Everything)
	for settings, want := range map[string]string{
		"":                                     "{\n\t\"data\": {\n\t\t\"a\": \"" + canary + "\"\n\t}\n}\n",
		"stores: {json: {indent: 2}}\n":        "{\n  \"data\": {\n    \"a\": \"" + canary + "\"\n  }\n}\n",
		"stores: {yaml: {indent: 2}}\n":        "{\n\t\"data\": {\n\t\t\"a\": \"" + canary + "\"\n\t}\n}\n",
		"stores: [that, can't, be, read, it's": "{\n\t\"data\": {\n\t\t\"a\": \"" + canary + "\"\n\t}\n}\n",
	} {
		repository := files{"clusters/mondoo-client.yaml": auditConfig("mondoo-client"), "clusters/a.json": text,
			"clusters/kustomization.yaml": "resources: [mondoo-client.yaml]\nsecretGenerator:\n- name: s\n  files: [a.json]\n"}
		if settings != "" {
			repository[".sops.yaml"] = settings
		}
		r := render(t, repository.fs(), "clusters", options, key.Opener(t))
		if len(r.opened.Secrets) != 1 || r.opened.Secrets[0].Data["a.json"] != want {
			t.Errorf("%q: %s\n%+v", settings, lines(r.findings()), r.opened.Secrets)
		}
	}
}
