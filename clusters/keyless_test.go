package clusters_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// bond is a credential with what it is bound to.
type bond struct {
	credential, server, ca string
	skipTLS                bool
}

// bonds are those of the entries that a fleet would have applied, by cluster.
func bonds(t testing.TB, opened *fleet.Opened) map[bond]string {
	t.Helper()
	all := map[bond]string{}
	if opened.Stopped {
		return all
	}
	secrets := map[string]map[string]string{}
	for _, s := range opened.Secrets {
		if !s.Quarantined {
			secrets[s.Name] = s.Data
		}
	}
	for _, c := range opened.Clusters {
		if c.Quarantined {
			continue
		}
		if ref := c.Entry.KubeconfigSecretRef; ref != nil && secrets[ref.Name] != nil {
			all[kubeconfigBond(secrets[ref.Name][mondoo.KeyKubeconfig])] = c.Name
		}
		if sa := c.Entry.ServiceAccountAuth; sa != nil && secrets[sa.CredentialsSecretRef.Name] != nil {
			data := secrets[sa.CredentialsSecretRef.Name]
			all[bond{data[mondoo.KeyToken], sa.Server, strings.TrimSpace(data[mondoo.KeyCACert]), sa.SkipTLSVerify}] = c.Name
		}
		if ref := c.Entry.PrivateRegistriesPullSecretRef; ref != nil && secrets[ref.Name] != nil {
			all[bond{credential: secrets[ref.Name][mondoo.KeyDockerConfigJSON]}] = c.Name
		}
	}
	return all
}

// kubeconfigBond is what the current context of a kubeconfig says.
func kubeconfigBond(text string) bond {
	config, err := clientcmd.Load([]byte(text))
	if err != nil || config.Contexts[config.CurrentContext] == nil {
		return bond{credential: "unreadable"}
	}
	context := config.Contexts[config.CurrentContext]
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return bond{credential: "unreadable"}
	}
	return bond{user.Token + string(user.ClientKeyData) + user.Password, cluster.Server, strings.TrimSpace(string(cluster.CertificateAuthorityData)), cluster.InsecureSkipTLSVerify}
}

// good is a repository with clusters of every form that holds credentials, all of them encrypted together with where they go.
type good struct {
	files files
	// older are earlier versions of files, which Git still has.
	older map[string]string
	key   *sealtest.Key
}

func goodFleet(t testing.TB) good {
	t.Helper()
	g := good{files: files{"clusters/mondoo-client.yaml": auditConfig("mondoo-client")}, older: map[string]string{}, key: sealtest.NewKey(t)}
	account := func(name, generation, skip string) string {
		end := map[string]string{"-old": "example.co"}[generation]
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\n  annotations:\n    runbook: https://wiki.example.com/\nspec:\n  serviceAccountAuth:\n    server: https://" + name + ".gr7.eu-west-1." + cmp.Or(end, "example.com") + "\n" + skip +
			"    token: token-" + name + generation + "-" + canary + "\n    caCert: |\n" + indent(6, caPEM()) + "  schedule: 5 2 * * *\n  containerImageScanning: true\n"
	}
	g.seal(t, "new.yaml", account("new", "-old", ""), account("new", "", ""), sealtest.Recommended)
	g.seal(t, "old.yaml", account("old", "-old", ""), account("old", "", ""), sealtest.Credentials)
	g.seal(t, "skip.yaml", account("skip", "-old", "    skipTLSVerify: true\n"), account("skip", "", "    skipTLSVerify: true\n"), sealtest.Credentials)
	g.seal(t, "half.yaml", account("half", "-old", ""), account("half", "", ""), sealtest.Rule{EncryptedRegex: "^(token|server)$"})
	inline := func(name, generation string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n  kubeconfig: |\n" + indent(4, strings.Replace(kubeconfig(name), "token: token-", "token: token-"+generation, 1))
	}
	g.seal(t, "inline.yaml", inline("inline", "old-"), inline("inline", ""), sealtest.Recommended)
	registry := func(auth string) string {
		return account("registry", auth, "") + "  privateRegistries:\n    dockerConfigJson: '{\"auths\":{\"r.example.com\":{\"auth\":\"" + base64.StdEncoding.EncodeToString([]byte("u:"+auth+canary)) + "\"}}}'\n"
	}
	g.seal(t, "registry.yaml", registry("old"), registry(""), sealtest.Recommended)
	for name, rule := range map[string]sealtest.Rule{"fields": sealtest.Everything, "binary": sealtest.Everything} {
		file := name + map[string]string{"fields": "-kubeconfig.yaml", "binary": ".kubeconfig"}[name]
		g.files["clusters/"+name+".yaml"] = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n  kubeconfigFile: " + file + "\n"
		g.seal(t, file, strings.Replace(kubeconfig(name), "token: token-", "token: token-old-", 1), kubeconfig(name), rule)
	}
	return g
}

// seal adds a file, encrypted twice with one data key: as it was before, and as it is.
func (g good) seal(t testing.TB, name, old, plain string, rule sealtest.Rule) {
	t.Helper()
	file := "clusters/" + name
	g.older[file] = g.key.Encrypt(t, name, old, rule)
	g.files[file] = g.key.Edit(t, name, g.older[file], plain)
}

// allowed are the bonds that were encrypted together.
func (g good) allowed(t testing.TB) map[bond]string {
	t.Helper()
	both := map[bond]string{}
	for _, older := range []map[string]string{nil, g.older} {
		repository := maps.Clone(g.files)
		maps.Copy(repository, older)
		r := render(t, repository.fs(), "clusters", options, g.key.Opener(t))
		if n := finding.Errors(r.findings()); n > 0 {
			t.Fatalf("the good fleet has errors:\n%s", lines(r.findings()))
		}
		maps.Copy(both, bonds(t, r.opened))
	}
	return both
}

// strangers are the bonds of a fleet that nobody has encrypted together.
func strangers(t testing.TB, opened *fleet.Opened, allowed map[bond]string) []string {
	t.Helper()
	var found []string
	for b, cluster := range bonds(t, opened) {
		if _, ok := allowed[b]; !ok {
			found = append(found, fmt.Sprintf("%s: %+v", cluster, b))
		}
	}
	return found
}

// TestTokensStayWhereTheyWereEncryptedFor is what somebody without keys might do to files, so that their MACs hold, and to the
// kustomization, to have a credential sent elsewhere. None may be applied; each has an error finding.
func TestTokensStayWhereTheyWereEncryptedFor(t *testing.T) {
	g := goodFleet(t)
	allowed := g.allowed(t)
	all := "resources: [mondoo-client.yaml, new.yaml, old.yaml, skip.yaml, half.yaml, inline.yaml, registry.yaml, fields.yaml, binary.yaml]\n"
	patched := func(cluster, patch string) string {
		return all + "patches:\n- target: {kind: ExternalCluster, name: " + cluster + "}\n  patch: |\n" + indent(4, patch)
	}
	edit := func(file string, pairs ...string) string {
		text := g.files["clusters/"+file]
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("%s has no %q", file, pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	value := func(file, key string) string { return scalarAfter(g.files["clusters/"+file], key+": ") }
	// The two fields of two-cluster kubeconfigs whose names move by one list item.
	two := strings.Replace(kubeconfig("prod"), "users:\n", "  - name: dev\n    cluster:\n      server: https://dev.example.com\n      insecure-skip-tls-verify: true\nusers:\n", 1)
	sealedTwo := g.key.Encrypt(t, "k.yaml", two, sealtest.Everything)
	kubeconfigOf := func(content string) files {
		return files{"evil.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: evil\nspec:\n  kubeconfigFile: k.yaml\n", "k.yaml": content}
	}
	asJSON := func(fields string) string {
		partly := g.key.Encrypt(t, "k.json", `{"apiVersion":"v1","kind":"Config","current-context":"prod","clusters":[{"name":"prod","cluster":{"server":"https://prod.example.com"}}],"users":[{"name":"u","user":{"token":"token-`+canary+`"}}],"contexts":[{"name":"prod","context":{"cluster":"prod","user":"u"}}]}`,
			sealtest.Rule{EncryptedRegex: "^token$", MACOnlyEncrypted: true})
		return strings.Replace(strings.Replace(partly, "https://prod.example.com", "https://evil.example.com", 1), "{", "{"+fields, 1)
	}

	for _, test := range []struct {
		name  string
		files files
	}{
		{"the server's end under another key, with a null between, both removed by a patch", files{
			"old.yaml":           edit("old.yaml", "server: https://old.gr7.eu-west-1.example.com\n", "server: https://old.gr7.eu\n        skipTLSVerify: null\n        junk: -west-1.example.com\n"),
			"kustomization.yaml": patched("old", "- {op: remove, path: /spec/serviceAccountAuth/skipTLSVerify}\n- {op: remove, path: /spec/serviceAccountAuth/junk}\n")}},
		{"the same with an empty text for a CA", files{
			"old.yaml":           edit("old.yaml", "server: https://old.gr7.eu-west-1.example.com\n", "server: https://old.gr7.eu\n        skipTLSVerify: ~\n        junk: -west-1.example.com\n"),
			"kustomization.yaml": patched("old", "- {op: replace, path: /spec/serviceAccountAuth/skipTLSVerify, value: false}\n- {op: remove, path: /spec/serviceAccountAuth/junk}\n")}},
		{"the server's end in an empty mapping's neighbour", files{
			"old.yaml":           edit("old.yaml", "server: https://old.gr7.eu-west-1.example.com\n", "server: https://old.gr7.eu\n        skipTLSVerify: {junk: -west-1.example.com}\n"),
			"kustomization.yaml": patched("old", "- {op: remove, path: /spec/serviceAccountAuth/skipTLSVerify}\n")}},
		{"the word of skipTLSVerify becomes part of the server", files{"skip.yaml": edit("skip.yaml", "example.com\n        skipTLSVerify: true\n", "example.comTrue\n")}},
		{"skipTLSVerify is patched away and in elsewhere", files{"kustomization.yaml": patched("new", "- {op: add, path: /spec/serviceAccountAuth/skipTLSVerify, value: true}\n")}},
		{"skipTLSVerify is written beside what is encrypted", files{"new.yaml": edit("new.yaml", "    serviceAccountAuth:\n", "    serviceAccountAuth:\n        skipTLSVerify: true\n")}},
		{"the truth of another field turns TLS off, with an encrypted server in front", files{
			"half.yaml": edit("half.yaml", "    containerImageScanning: true\n", "    containerImageScanning: null\n", "        token: "+value("half.yaml", "token")+"\n", "", "server: ", "token: "+value("half.yaml", "token")+"\n        server: ")}},
		{"the CA goes under a key that sops can't tell from its own", files{
			"new.yaml":           edit("new.yaml", "        caCert: "+value("new.yaml", "caCert")+"\n", "        caCert: \"\"\n", "sops:\n", "\"spec:serviceAccountAuth:caCert\": "+value("new.yaml", "caCert")+"\nsops:\n"),
			"kustomization.yaml": patched("new", "- {op: remove, path: \"/spec:serviceAccountAuth:caCert\"}\n- {op: replace, path: /spec/serviceAccountAuth/caCert, value: \""+strings.ReplaceAll(caPEM(), "\n", "\\n")+"\"}\n")}},
		{"the server goes there, and a plain one takes its place", files{
			"new.yaml": edit("new.yaml", "server: "+value("new.yaml", "server"), "server: https://evil.example.com", "metadata:\n", "\"spec:serviceAccountAuth\":\n    server: "+value("new.yaml", "server")+"\nmetadata:\n",
				"encrypted_regex: ^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$", "encrypted_regex: ^(spec:serviceAccountAuth|token|caCert)$"),
			"kustomization.yaml": patched("new", "- {op: remove, path: \"/spec:serviceAccountAuth\"}\n")}},
		{"the server of an older version, left out of the MAC as a comment", files{"new.yaml": edit("new.yaml", value("new.yaml", "caCert"), strings.Replace(scalarAfter(g.older["clusters/new.yaml"], "caCert: "), "type:str", "type:comment", 1))}},
		{"the token of an older version", files{"new.yaml": edit("new.yaml", value("new.yaml", "token"), scalarAfter(g.older["clusters/new.yaml"], "token: "))}},
		{"mac_only_encrypted is turned on", files{"old.yaml": edit("old.yaml", "    encrypted_regex", "    mac_only_encrypted: true\n    encrypted_regex", "https://old.", "https://evil.")}},
		{"mac_only_encrypted is turned off", files{"new.yaml": edit("new.yaml", "mac_only_encrypted: true", "mac_only_encrypted: false")}},
		{"the rule leaves the CA closed", files{"new.yaml": edit("new.yaml", "server|caCert", "server")}},
		{"the server is patched over", files{"kustomization.yaml": patched("new", "- {op: replace, path: /spec/serviceAccountAuth/server, value: https://evil.example.com}\n")}},
		{"the CA is patched over", files{"kustomization.yaml": patched("new", "- {op: replace, path: /spec/serviceAccountAuth/caCert, value: \""+strings.ReplaceAll(certificate(now, now.AddDate(1, 0, 0)), "\n", "\\n")+"\"}\n")}},
		{"the server of another cluster is copied over", files{"kustomization.yaml": patched("skip", "- {op: test, path: /kind, value: ExternalCluster}\n") +
			"replacements:\n- source: {kind: ExternalCluster, name: new, fieldPath: spec.serviceAccountAuth.server}\n  targets:\n  - select: {kind: ExternalCluster, name: skip}\n    fieldPaths: [spec.serviceAccountAuth.server]\n"}},
		{"a kubeconfig is copied to another cluster", files{"kustomization.yaml": all + "replacements:\n- source: {kind: ExternalCluster, name: inline, fieldPath: spec.kubeconfig}\n  targets:\n  - select: {kind: ExternalCluster, name: binary}\n    fieldPaths: [spec.kubeconfigFile]\n"}},
		{"a kubeconfig with two clusters, whose server moves by one list item", kubeconfigOf(strings.Replace(strings.Replace(sealedTwo, "          server: "+scalarAfter(sealedTwo, "server: ")+"\n", "", 1), "    - name: "+strings.Split(strings.SplitAfter(sealedTwo, "- name: ")[2], "\n")[0]+"\n      cluster:\n", "", 1))},
		{"a kubeconfig with two clusters at all", kubeconfigOf(sealedTwo)},
		{"a kubeconfig partly encrypted, as JSON that YAML can't read", kubeconfigOf(asJSON(`"\ud83d\ude00": null,`))},
		{"a kubeconfig partly encrypted, as JSON", kubeconfigOf(asJSON(``))},
		{"a kubeconfig whose CA goes under a key that sops can't tell from its own", files{"fields-kubeconfig.yaml": edit("fields-kubeconfig.yaml",
			"        certificate-authority-data: "+value("fields-kubeconfig.yaml", "certificate-authority-data")+"\n", "", "users:\n", "\"clusters:cluster:certificate-authority-data\": "+value("fields-kubeconfig.yaml", "certificate-authority-data")+"\nusers:\n")}},
		{"a kubeconfig with a plain field more", files{"fields-kubeconfig.yaml": edit("fields-kubeconfig.yaml", "      cluster:\n", "      cluster:\n        proxy-url: null\n")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			repository := maps.Clone(g.files)
			for name, content := range test.files {
				repository[path.Join("clusters", name)] = content
			}
			r := render(t, repository.fs(), "clusters", options, g.key.Opener(t))
			if finding.Errors(r.findings()) == 0 {
				t.Error("no error finding")
			}
			for _, b := range strangers(t, r.opened, allowed) {
				t.Errorf("not encrypted together: %s", b)
			}
		})
	}
}
