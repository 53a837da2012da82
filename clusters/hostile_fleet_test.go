package clusters_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// hostileFleet is a good fleet with Secrets, two audit configs, a component and a kustomization over all of it. The second one has generators
// that take encrypted files, beside which replacements and the like are refused as a whole.
func hostileFleet(t *testing.T) (plain, generating good) {
	t.Helper()
	g := goodFleet(t)
	ca := strings.ReplaceAll(caPEM(), "\n", "\\n")
	bound := func(name, generation, end string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\n  annotations:\n    runbook: https://wiki.example.com/\nstringData:\n  server: https://" + name + ".example." + end +
			"\n  token: token-" + name + generation + "-" + canary + "\n  ca.crt: \"" + ca + "\"\n"
	}
	encoded := func(name, generation, end string) string {
		b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\ndata:\n  server: " + b64("https://"+name+".example."+end) + "\n  token: " + b64("token-"+name+generation+"-"+canary) + "\n  ca.crt: " + b64(caPEM()) + "\n"
	}
	for name, text := range map[string]func(name, generation, end string) string{"bound": bound, "whole": bound, "written": encoded, "coded": encoded} {
		rule := sealtest.Recommended
		if name == "whole" || name == "coded" {
			rule = sealtest.Credentials
		}
		g.seal(t, name+"-secret.yaml", text(name, "-old", "co"), text(name, "", "com"), rule)
		cluster := fileOf(name, "serviceAccountAuth:\n  server: https://"+name+".example.com\n  credentialsSecretRef: {name: "+name+"}\ncontainerImageScanning: true\nprivateRegistries:\n  secretRef: {name: pull}\n")
		file := name + ".yaml"
		if name == "written" {
			file, cluster = "second.yaml", strings.Replace(auditConfig("second"), "kubernetesResources:\n",
				"kubernetesResources:\n    externalClusters:\n    - name: written\n      serviceAccountAuth: {server: https://written.example.com, credentialsSecretRef: {name: written}}\n", 1)
		}
		g.files["clusters/"+file], g.older["clusters/"+file] = cluster, strings.Replace(cluster, ".example.com", ".example.co", 1)
	}
	kubeconfigSecrets := func(generation string) string {
		var text string
		for _, name := range []string{"kube-a", "kube-b"} {
			text += "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\nstringData:\n  kubeconfig: |\n" + indent(4, strings.Replace(kubeconfig(name), "token: token-", "token: token-"+name+generation, 1))
		}
		return text
	}
	g.seal(t, "kube-secret.yaml", kubeconfigSecrets("-old"), kubeconfigSecrets(""), sealtest.Recommended)
	pull := func(generation string) string {
		config := `{"auths":{"r.example.com":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("pull:"+generation+canary)) + `"}}}`
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: pull\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: " + base64.StdEncoding.EncodeToString([]byte(config)) + "\n"
	}
	g.seal(t, "pull-secret.yaml", pull("old"), pull(""), sealtest.Recommended)
	authority := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: authority\nstringData:\n  ca.crt: \"" + ca + "\"\n"
	g.seal(t, "authority-secret.yaml", authority, authority, sealtest.Recommended)
	second := "metadata:\n  labels: {audit: second}\n"
	for name, spec := range map[string]string{
		"kube-a": "kubeconfigSecretRef: {name: kube-a}\n", "kube-b": "kubeconfigSecretRef: {name: kube-b}\n",
		"vault":  "vaultAuth: {server: https://vault.example.com, vaultAddr: https://v.example.com, authRole: a, credsRole: b, caCertSecretRef: {name: authority}, targetCACertSecretRef: {name: authority}}\nauditConfig: second\n",
		"spiffe": "spiffeAuth: {server: https://spiffe.example.com, trustBundleSecretRef: {name: authority}}\nauditConfig: second\n",
	} {
		g.files["clusters/"+name+".yaml"] = fileOf(name, spec)
		if strings.Contains(spec, "auditConfig: second") {
			g.files["clusters/"+name+".yaml"] = strings.Replace(fileOf(name, spec), "metadata:\n", second, 1)
		}
	}
	g.files["component/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: ExternalCluster, labelSelector: audit!=second}\n  patch: |\n    - {op: add, path: /spec/auditConfig, value: mondoo-client}\n"
	g.files["clusters/kustomization.yaml"] = asJSON(g.root())

	with := good{files: maps.Clone(g.files), older: maps.Clone(g.older), key: g.key}
	made := func(name, generation string) string {
		return strings.Replace(kubeconfig(name), "token: token-", "token: token-"+generation, 1)
	}
	with.seal(t, "made.kubeconfig", made("made", "old-"), made("made", ""), sealtest.Everything)
	registries := `{"auths":{"r.example.com":{"username":"u","password":"made-` + canary + `"}}}`
	with.seal(t, "made.json", registries, registries, sealtest.Everything)
	with.files["clusters/made.yaml"] = fileOf("made", "kubeconfigSecretRef: {name: made}\ncontainerImageScanning: true\nprivateRegistries:\n  secretRef: {name: made-pull}\n")
	root := with.root()
	root["generatorOptions"] = map[string]any{"disableNameSuffixHash": true}
	root["secretGenerator"] = []any{map[string]any{"name": "made", "files": []any{"kubeconfig=made.kubeconfig"}},
		map[string]any{"name": "made-pull", "type": "kubernetes.io/dockerconfigjson", "files": []any{".dockerconfigjson=made.json"}}}
	with.files["clusters/kustomization.yaml"] = asJSON(root)
	return g, with
}

// root is a kustomization over all manifests.
func (g good) root() map[string]any {
	var resources []any
	for _, name := range slices.Sorted(maps.Keys(g.files)) {
		if dir, file := path.Split(name); dir == "clusters/" && path.Ext(file) == ".yaml" && file != "fields-kubeconfig.yaml" && file != "kustomization.yaml" {
			resources = append(resources, file)
		}
	}
	return map[string]any{"resources": resources, "components": []any{"../component"}}
}

// asJSON is a value as JSON, which is YAML as well.
func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data) + "\n"
}

// theirs are files that somebody without keys has encrypted, for anybody may encrypt: Secrets and patches with a server, a CA and
// credentials of theirs, by what is in them. NAME is for the name of an object.
func theirs(t *testing.T, key *sealtest.Key) map[string]string {
	t.Helper()
	values := map[string]string{"server": "https://evil.example.com", "token": "attacker", "ca.crt": certificate(now, now.AddDate(1, 0, 0)), "kubeconfig": strings.ReplaceAll(kubeconfig("evil"), canary, "attacker"),
		"skipTLSVerify": "true"}
	list := map[string]string{}
	for _, keys := range []string{"server", "ca.crt", "token", "server ca.crt", "server token", "token ca.crt", "server token ca.crt", "kubeconfig"} {
		data := map[string]any{}
		for key := range strings.FieldsSeq(keys) {
			data[key] = values[key]
		}
		secret := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "NAME"}, "stringData": data}
		list["Secret "+keys] = key.Encrypt(t, "x.yaml", asJSON(secret), sealtest.Recommended)
		auth := maps.Clone(data)
		if ca, has := auth["ca.crt"]; has {
			delete(auth, "ca.crt")
			auth["caCert"] = ca
		}
		spec := map[string]any{"serviceAccountAuth": auth}
		if keys == "kubeconfig" {
			spec = auth
		}
		cluster := map[string]any{"apiVersion": "muster.dev/v1alpha1", "kind": "ExternalCluster", "metadata": map[string]any{"name": "NAME"}, "spec": spec}
		list["ExternalCluster "+keys] = key.Encrypt(t, "x.yaml", asJSON(cluster), sealtest.Recommended)
	}
	return list
}
