package clusters_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// management is a management cluster: what was applied to it, one commit after the other.
type management struct {
	plan.Live
	key *sealtest.Key
}

func newManagement(t *testing.T) *management {
	return &management{key: sealtest.NewKey(t), Live: plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{},
		Syncs: map[string]bool{options.Sync: true}}}
}

// apply renders files of the path "f" and applies them. It returns the codes of errors.
func (m *management) apply(t *testing.T, revision string, repository files) (errs []string) {
	t.Helper()
	named := files{}
	for name, text := range repository {
		named["f/"+name] = text
	}
	r := render(t, named.fs(), "f", options, m.key.Opener(t))
	p := plan.Compute(r.opened, m.Live, plan.Policy{Revision: revision, Prune: true, MaxRemovals: "0", Foreign: plan.KeepForeign, CorrectDrift: true})
	for _, f := range p.Findings {
		if f.Severity == finding.Error {
			errs = append(errs, string(f.Code))
		}
	}
	for _, s := range p.Secrets {
		data := map[string][]byte{}
		for key, value := range s.Data {
			data[key] = []byte(value)
		}
		m.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Labels: s.Labels, Annotations: s.Annotations, Data: data}
	}
	for _, c := range p.Configs {
		m.AuditConfigs[c.Name] = c.Object
	}
	for _, gone := range p.Delete.Secrets {
		delete(m.Secrets, gone.Name)
	}
	for _, inv := range slices.Concat(p.Before, p.After) {
		m.Inventories = slices.DeleteFunc(m.Inventories, func(i *inventory.Inventory) bool { return i.AuditConfig == inv.AuditConfig })
		if !inv.Empty() {
			m.Inventories = append(m.Inventories, inv)
		}
	}
	return errs
}

// uses are the live uses of a value: the name of each entry that names a Secret with it, and the entry's server. An audit config itself
// stands for its name.
func (m *management) uses(t *testing.T, value string) (uses []string) {
	t.Helper()
	holds := func(secret any) bool {
		name, _ := secret.(string)
		return slices.ContainsFunc(slices.Collect(maps.Values(m.Secrets[name].Data)), func(data []byte) bool { return strings.Contains(string(data), value) })
	}
	var walk func(v any, found func())
	walk = func(v any, found func()) {
		switch v := v.(type) {
		case map[string]any:
			for _, item := range v {
				if holds(item) {
					found()
				}
				walk(item, found)
			}
		case []any:
			for _, item := range v {
				walk(item, found)
			}
		}
	}
	for name, object := range m.AuditConfigs {
		entries, err := mondoo.Entries(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			server := ""
			for _, method := range []string{"serviceAccountAuth", "vaultAuth", "spiffeAuth"} {
				if auth, ok := e[method].(map[string]any); ok {
					server, _ = auth["server"].(string)
				}
			}
			walk(e, func() { uses = append(uses, strings.TrimSpace(e["name"].(string)+" "+server)) })
		}
		spec := maps.Clone(object["spec"].(map[string]any))
		delete(spec, "kubernetesResources")
		walk(spec, func() { uses = append(uses, name) })
	}
	slices.Sort(uses)
	return slices.Compact(uses)
}

func fileOf(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + indent(2, spec)
}

// inlineCredentials are clusters that hold a value in each field that becomes a Secret. Each has the server https://prod.example.com.
var inlineCredentials = map[string]func(value string) string{
	mondoo.ServiceAccount: func(value string) string {
		return "serviceAccountAuth:\n  server: https://prod.example.com\n  token: " + value + "\n  caCert: |\n" + indent(4, caPEM())
	},
	mondoo.Kubeconfig: func(value string) string { return "kubeconfig: |\n" + indent(2, kubeconfig(value)) },
	mondoo.Registries: func(value string) string {
		return "kubeconfigSecretRef: {name: elsewhere}\ncontainerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '{\"auths\": {\"r.example.com\": {\"username\": \"u\", \"password\": \"" + value + "\"}}}'\n"
	},
}

// taking are the ways of somebody without keys to have a Secret used, by the file that they write.
func taking(secret string) map[string]files {
	ref := "{name: " + secret + "}"
	account := "serviceAccountAuth: {server: 'https://evil.example.com', skipTLSVerify: true, credentialsSecretRef: " + ref + "}\n"
	patched := func(patch string) string {
		return "resources: [mondoo-client.yaml, evil.yaml]\npatches:\n- target: {kind: ExternalCluster, name: evil}\n  patch: |\n    - " + patch + "\n"
	}
	config := func(spec string) files { return files{"mondoo-client.yaml": auditConfig("mondoo-client") + spec} }
	return map[string]files{
		"as a token":                            {"evil.yaml": fileOf("evil", account)},
		"as a kubeconfig":                       {"evil.yaml": fileOf("evil", "kubeconfigSecretRef: "+ref+"\n")},
		"for registries":                        {"evil.yaml": fileOf("evil", "kubeconfigSecretRef: {name: x}\ncontainerImageScanning: true\nprivateRegistries: {secretRef: "+ref+"}\n")},
		"for registries by the operator's name": {"evil.yaml": fileOf("evil", "kubeconfigSecretRef: {name: x}\ncontainerImageScanning: true\nprivateRegistriesPullSecretRef: "+ref+"\n")},
		"as a trust bundle":                     {"evil.yaml": fileOf("evil", "spiffeAuth: {server: 'https://evil.example.com', trustBundleSecretRef: "+ref+"}\n")},
		"as Vault's CA":                         {"evil.yaml": fileOf("evil", "vaultAuth: {server: 'https://evil.example.com', vaultAddr: 'https://vault.example.com', authRole: a, credsRole: b, caCertSecretRef: "+ref+", targetCACertSecretRef: {name: x}}\n")},
		"as a target's CA":                      {"evil.yaml": fileOf("evil", "vaultAuth: {server: 'https://evil.example.com', vaultAddr: 'https://vault.example.com', authRole: a, credsRole: b, targetCACertSecretRef: "+ref+"}\n")},
		"by a patch": {"evil.yaml": fileOf("evil", "serviceAccountAuth: {server: 'https://evil.example.com', credentialsSecretRef: {name: x}}\n"),
			"kustomization.yaml": patched("{op: replace, path: /spec/serviceAccountAuth/credentialsSecretRef/name, value: " + secret + "}")},
		"by a replacement": {"evil.yaml": strings.Replace(fileOf("evil", "serviceAccountAuth: {server: 'https://evil.example.com', credentialsSecretRef: {name: x}}\n"), "  name: evil\n", "  name: evil\n  annotations: {x: "+secret+"}\n", 1),
			"kustomization.yaml": "resources: [mondoo-client.yaml, evil.yaml]\nreplacements:\n- source: {kind: ExternalCluster, name: evil, fieldPath: metadata.annotations.x}\n  targets:\n  - select: {kind: ExternalCluster, name: evil}\n    fieldPaths: [spec.serviceAccountAuth.credentialsSecretRef.name]\n"},
		"by an entry in the audit config": {"mondoo-client.yaml": strings.Replace(auditConfig("mondoo-client"), "kubernetesResources:\n",
			"kubernetesResources:\n    externalClusters: [{name: evil, kubeconfigSecretRef: "+ref+"}]\n", 1)},
		"by the audit config's registries": config("  scanner: {privateRegistriesPullSecretRef: " + ref + "}\n"),
		"by the audit config's variables":  config("  scanner: {env: [{name: X, valueFrom: {secretKeyRef: {name: " + secret + ", key: token}}}]}\n"),
	}
}

// TestCredentialsStayWithTheirCluster: what was encrypted in a cluster file is used by that cluster, at that server, and by nothing
// else, whatever somebody without keys pushes afterwards.
func TestCredentialsStayWithTheirCluster(t *testing.T) {
	for what, spec := range inlineCredentials {
		const value = "CANARY-of-prod"
		first := func(t *testing.T) (m *management, good files, secret string) {
			t.Helper()
			m = newManagement(t)
			good = files{"mondoo-client.yaml": auditConfig("mondoo-client"), "prod.yaml": m.key.Encrypt(t, "prod.yaml", fileOf("prod", spec(value)), sealtest.Credentials)}
			if errs := m.apply(t, "rev1", good); len(errs) > 0 {
				t.Fatal(errs)
			}
			for name := range m.Secrets {
				secret = name
			}
			return m, good, secret
		}
		check := func(t *testing.T, m *management, secret string, errs []string) {
			t.Helper()
			for _, use := range m.uses(t, value) {
				if use != "prod" && use != "prod https://prod.example.com" {
					t.Errorf("used by %q", use)
				}
			}
			if !slices.Contains(errs, "secret-name") && !slices.Contains(errs, "secret-of-other") {
				t.Errorf("errors %q", errs)
			}
			if len(m.Secrets[secret].Data) == 0 {
				t.Error("the Secret is gone or empty")
			}
		}
		for way := range taking("") {
			// Whoever looks at the cluster, or at what Muster renders, knows the name.
			t.Run(what+"/"+way+"/beside it", func(t *testing.T) {
				m, good, secret := first(t)
				maps.Copy(good, taking(secret)[way])
				check(t, m, secret, m.apply(t, "rev2", good))
			})
			t.Run(what+"/"+way+"/in its place", func(t *testing.T) {
				m, good, secret := first(t)
				maps.Copy(good, taking(secret)[way])
				for name, text := range good {
					good[name] = strings.ReplaceAll(text, "evil\n", "prod\n")
				}
				if text, ok := good["evil.yaml"]; ok {
					good["prod.yaml"] = text
					delete(good, "evil.yaml")
				}
				if text, ok := good["kustomization.yaml"]; ok {
					good["kustomization.yaml"] = strings.NewReplacer("evil.yaml", "prod.yaml", "name: evil", "name: prod").Replace(text)
				}
				check(t, m, secret, m.apply(t, "rev2", good))
			})
			t.Run(what+"/"+way+"/after it was removed", func(t *testing.T) {
				m, good, secret := first(t)
				delete(good, "prod.yaml")
				m.apply(t, "rev2", good)
				maps.Copy(good, taking(secret)[way])
				check(t, m, secret, m.apply(t, "rev3", good))
			})
			t.Run(what+"/"+way+"/while it is quarantined", func(t *testing.T) {
				m, good, secret := first(t)
				good["prod.yaml"] += "  bad: [\n"
				m.apply(t, "rev2", good)
				maps.Copy(good, taking(secret)[way])
				check(t, m, secret, m.apply(t, "rev3", good))
			})
		}
		t.Run(what+"/overwritten", func(t *testing.T) {
			m, good, secret := first(t)
			delete(good, "prod.yaml")
			good["s.yaml"] = m.key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: "+secret+"}\nstringData: {token: theirs, kubeconfig: theirs}\n", sealtest.Credentials)
			check(t, m, secret, m.apply(t, "rev2", good))
			if len(m.uses(t, "theirs")) > 0 {
				t.Error("prod has their credentials")
			}
		})
	}
}

// TestNamesOfSecrets: the name of a Secret changes with where its credentials go and with nothing else, and is the same in every
// process.
func TestNamesOfSecrets(t *testing.T) {
	key := sealtest.NewKey(t)
	recommended := sealtest.Rule{EncryptedRegex: "^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$", MACOnlyEncrypted: true}
	named := func(t *testing.T, spec string, rule sealtest.Rule, opener bool) string {
		t.Helper()
		repository := files{"f/m.yaml": auditConfig("mondoo-client"), "f/c.yaml": key.Encrypt(t, "c.yaml", fileOf("prod", spec), rule)}.fs()
		if !opener {
			return compileOnly(t, repository, "f", options).sealed.Secrets[0].Name
		}
		r := render(t, repository, "f", options, key.Opener(t))
		if n := finding.Errors(r.findings()); n > 0 {
			t.Fatal(lines(r.findings()))
		}
		if ref := entryRef(r.opened); ref != r.opened.Secrets[0].Name {
			t.Errorf("the entry names %s", ref)
		}
		return r.opened.Secrets[0].Name
	}
	for what, spec := range inlineCredentials {
		for form, rule := range map[string]sealtest.Rule{"the usual rule": sealtest.Credentials, "with the server, MAC of that alone": recommended, "with the server": {EncryptedRegex: recommended.EncryptedRegex}} {
			t.Run(what+"/"+form, func(t *testing.T) {
				name := named(t, spec("CANARY-one"), rule, true)
				if !mondoo.IsMade(name) || strings.HasSuffix(name, mondoo.UnknownHash) {
					t.Errorf("the name %s", name)
				}
				if again := named(t, spec("CANARY-one"), rule, true); again != name {
					t.Errorf("encrypted anew it is %s, not %s", again, name)
				}
				if renewed := named(t, spec("CANARY-one"), sealtest.Credentials, true); renewed != name {
					t.Errorf("encrypted by another rule it is %s, not %s", renewed, name)
				}
				renewed := spec("CANARY-two")
				if what == mondoo.Kubeconfig {
					renewed = strings.ReplaceAll(spec("CANARY-one"), "token-"+canary, "token-renewed")
				}
				if renewed := named(t, renewed, rule, true); renewed != name {
					t.Errorf("renewed it is %s, not %s", renewed, name)
				}
				if moved := named(t, strings.NewReplacer("prod.example.com", "new.example.com", "elsewhere", "other").Replace(strings.ReplaceAll(spec("CANARY-one"), "https://CANARY-one", "https://moved")), rule, true); moved == name {
					t.Error("another server has the same name")
				}
				without := named(t, spec("CANARY-one"), rule, false)
				if known := !strings.HasSuffix(without, mondoo.UnknownHash); mondoo.WithoutHash(without) != mondoo.WithoutHash(name) || known && without != name {
					t.Errorf("without keys it is %s", without)
				}
			})
		}
	}
}

// entryRef is the Secret that is made for the one entry of a fleet.
func entryRef(opened *fleet.Opened) string {
	e := opened.Clusters[0].Entry
	switch {
	case e.PrivateRegistriesPullSecretRef != nil:
		return e.PrivateRegistriesPullSecretRef.Name
	case e.ServiceAccountAuth != nil:
		return e.ServiceAccountAuth.CredentialsSecretRef.Name
	}
	return e.KubeconfigSecretRef.Name
}

// TestTokenForItsServer: a Secret manifest with the key server binds its token, and one without is told of.
func TestTokenForItsServer(t *testing.T) {
	key := sealtest.NewKey(t)
	manifest := func(server string) string {
		return key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  token: CANARY-token\n"+server+"  ca.crt: |\n"+indent(4, caPEM()), sealtest.Credentials)
	}
	bound := manifest("  server: https://prod.example.com\n")
	for _, test := range []struct {
		reason, secret, auth string
		code                 finding.Code
		quarantined          bool
	}{
		{"its server", bound, "server: 'https://prod.example.com'", "", false},
		{"another server", bound, "server: 'https://evil.example.com'", "token-server", true},
		{"its server, unchecked", bound, "server: 'https://prod.example.com', skipTLSVerify: true", "token-server", true},
		{"none said", manifest(""), "server: 'https://prod.example.com'", "token-unbound", false},
	} {
		r := render(t, files{"f/m.yaml": auditConfig("mondoo-client"), "f/s.yaml": test.secret, "f/c.yaml": fileOf("prod", "serviceAccountAuth: {"+test.auth+", credentialsSecretRef: {name: s}}\n")}.fs(),
			"f", options, key.Opener(t))
		var codes []string
		for _, f := range r.findings() {
			if f.Code == "token-server" || f.Code == "token-unbound" {
				codes = append(codes, string(f.Code))
			}
		}
		if got := strings.Join(codes, " "); got != string(test.code) || r.opened.Clusters[0].Quarantined != test.quarantined {
			t.Errorf("%s: %q, quarantined %t\n%s", test.reason, got, r.opened.Clusters[0].Quarantined, lines(r.findings()))
		}
	}
}
