package compile_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// sealedFile is a file as sops leaves it.
func sealedFile(text, sops string) string { return strings.ReplaceAll(text, "ENC", sealed) + sops }

// TestRefused: what is refused without a key, where, and what is left out for it.
func TestRefused(t *testing.T) {
	account := sealedFile(clusterFile("c", "{serviceAccountAuth: {server: ENC, token: ENC, caCert: ENC}}"), otherMAC)
	inline := func(name string) string {
		return sealedFile(clusterFile(name, "{kubeconfig: ENC, schedule: '5 * * * *'}"), otherMAC)
	}
	replaced := func(from, to string) string {
		return "resources: [m.yaml, a.yaml, c.yaml]\nreplacements:\n- source: {kind: ExternalCluster, name: a, fieldPath: " + from + "}\n  targets: [{select: {kind: ExternalCluster, name: c}, fieldPaths: [" + to + "]}]\n"
	}
	patched := func(operation string) string {
		return "resources: [m.yaml, c.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {" + operation + "}\n"
	}
	vault := func(address, path string) string {
		return clusterFile("c", "{vaultAuth: {server: 'https://c', vaultAddr: '"+address+"', authRole: a, credsRole: b, authPath: '"+path+"', targetCACertSecretRef: {name: x}}}")
	}
	const file = "{kubeconfigFile: k}"
	for _, row := range []struct {
		reason string
		files  map[string]string
		want   string // the errors as "code file", and for a finding about a cluster its name
	}{
		{"nothing", map[string]string{"c.yaml": account}, ""},
		{"a server outside of the MAC", map[string]string{"c.yaml": sealedFile(clusterFile("c", "{serviceAccountAuth: {server: 'https://c', token: ENC, caCert: ENC}}"), otherMAC)}, "server-unsealed c.yaml c"},
		{"a server that is patched", map[string]string{"c.yaml": account, "kustomization.yaml": patched("op: replace, path: /spec/serviceAccountAuth/server, value: 'https://e'")}, "server-unsealed c.yaml c"},
		{"TLS mode that is patched", map[string]string{"kustomization.yaml": patched("op: replace, path: /spec/serviceAccountAuth/skipTLSVerify, value: true"),
			"c.yaml": sealedFile(clusterFile("c", "{serviceAccountAuth: {server: ENC, token: ENC, caCert: ENC, skipTLSVerify: false}}"), wholeMAC)}, "server-unsealed c.yaml c"},
		{"a token of another file", map[string]string{"a.yaml": strings.Replace(account, "name: c", "name: a", 1), "c.yaml": account, "kustomization.yaml": replaced("spec.serviceAccountAuth.token", "spec.serviceAccountAuth.token")}, "server-unsealed c.yaml c"},
		{"a kubeconfig of another file", map[string]string{"a.yaml": inline("a"), "c.yaml": inline("c"), "kustomization.yaml": replaced("spec.kubeconfig", "spec.kubeconfig")}, "encrypted-place c.yaml c"},
		{"a kubeconfig in another field", map[string]string{"a.yaml": clusterFile("a", "{kubeconfigSecretRef: {name: x}}"), "c.yaml": inline("c"), "kustomization.yaml": strings.Replace(replaced("spec.kubeconfig", "spec.schedule"), "name: a,", "name: c,", 1)}, "encrypted-place c.yaml c, must-be-plain c.yaml c"},

		{"a plain kubeconfigFile", map[string]string{"c.yaml": clusterFile("c", file), "k": "apiVersion: v1\n"}, "plain-credential c.yaml c"},
		{"a kubeconfigFile that isn't there", map[string]string{"c.yaml": clusterFile("c", file)}, "not-found c.yaml c"},
		{"a kubeconfigFile whose sops block has what looks like a token", map[string]string{"c.yaml": clusterFile("c", file), "k": "kubeconfig: " + sealed + "\nsops: {mac: " + sealed + ", token: x}\n"}, ""},
		{"a kubeconfigFile with a token that is empty", map[string]string{"c.yaml": clusterFile("c", file), "k": "{kubeconfig: {token: ''}, x: " + sealed + ",\n\"sops\": {mac: m}}\n"}, "server-unsealed c.yaml c"},
		{"a kubeconfigFile with an encrypted list", map[string]string{"c.yaml": clusterFile("c", file), "k": "{kubeconfig: [" + sealed + "],\n\"sops\": {mac: m}}\n"}, "server-unsealed c.yaml c"},
		{"a kubeconfigFile with two values", map[string]string{"c.yaml": clusterFile("c", file), "k": "{a: " + sealed + ", b: " + sealed + ",\n\"sops\": {mac: m}}\n"}, "server-unsealed c.yaml c"},

		{"a Vault that isn't allowed", map[string]string{"c.yaml": vault("https://e", "auth/kubernetes")}, "vault-not-allowed c.yaml c"},
		{"a Vault that is", map[string]string{"c.yaml": vault("https://v", "auth/kubernetes")}, ""},
		{"a Vault that isn't allowed, with another mistake", map[string]string{"c.yaml": vault("https://e", "x y")}, "vault-not-allowed c.yaml c, vault-path c.yaml c"},
		{"no address of a Vault, which is told of once", map[string]string{"c.yaml": vault("http://e", "auth/kubernetes")}, "vault-address c.yaml c"},
		{"credentials from a Vault that isn't allowed", map[string]string{"c.yaml": clusterFile("c", "{kubeconfigFrom: {vault: {address: 'https://e', mount: kv, path: a}}}")}, "credential-source-not-allowed c.yaml c"},
		{"an address that is no Vault's, which is told of once", map[string]string{"c.yaml": clusterFile("c", "{kubeconfigFrom: {vault: {address: 'http://e', mount: kv, path: a}}}")}, "vault-address c.yaml c"},
		{"a token from a Vault that isn't allowed", map[string]string{"c.yaml": clusterFile("c", "{serviceAccountAuth: {server: 'https://c', credentialsFrom: {vault: {address: 'https://e', mount: kv, path: a}}}}")}, "credential-source-not-allowed c.yaml c"},
		{"credentials of a namespace that isn't allowed", map[string]string{"c.yaml": clusterFile("c", "{kubeconfigFrom: {secretRef: {namespace: kube-system, name: a}}}")}, "credential-source-not-allowed c.yaml c"},
		{"credentials from elsewhere with a token of the file", map[string]string{"c.yaml": sealedFile(clusterFile("c", "{serviceAccountAuth: {server: ENC, token: ENC, caCert: ENC, credentialsFrom: {vault: {address: 'https://e', mount: kv, path: a}}}}"), otherMAC)}, "conflicting-fields c.yaml c, server-unsealed c.yaml c"},
		{"a Vault in an entry", map[string]string{"m.yaml": configFile("kubernetesResources: {externalClusters: [{name: c, vaultAuth: {server: 'https://c', vaultAddr: 'https://e', authRole: a, credsRole: b, targetCACertSecretRef: {name: x}}}]}")}, "vault-not-allowed m.yaml c"},

		{"another namespace of a Secret", map[string]string{"s.yaml": strings.Replace(secretFile("s", "", ""), "{name: s}", "{name: s, namespace: kube-system}", 1)}, "namespace s.yaml"},
		{"its own", map[string]string{"s.yaml": strings.Replace(secretFile("s", "", ""), "{name: s}", "{name: s, namespace: mondoo-operator}", 1)}, ""},
		{"another namespace of an audit config", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {namespace: other, ", 1)}, "namespace m.yaml"},
		{"a namespace of a cluster file means nothing", map[string]string{"c.yaml": strings.Replace(account, "metadata: {", "metadata: {namespace: other, ", 1)}, ""},

		{"an audit config without credentials", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "mondooCredsSecretRef: {name: creds}, ", "", 1)}, "audit-config m.yaml"},
		{"an audit config with a number for their name", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "{name: creds}", "{name: 1}", 1)}, "audit-config m.yaml"},
		{"an audit config with more than is allowed", map[string]string{"m.yaml": configFile("kubernetesResources: {}, scanner: {image: {name: x}}")}, "audit-config-not-allowed m.yaml"},
		{"an audit config with a key that is a number, in a list", map[string]string{"m.yaml": configFile("kubernetesResources: {}, scanner: {env: [{1: x}]}")}, "audit-config m.yaml"},
		{"credentials in an entry", map[string]string{"m.yaml": sealedFile(strings.Replace(configFile("kubernetesResources: {externalClusters: [{name: c, spiffeAuth: {server: 'https://c', trustBundle: CERT}}]}"),
			"CERT", `"`+strings.ReplaceAll(certificate, "\n", `\n`)+`"`, 1), "")}, "audit-config m.yaml c"},

		{"a label that Kubernetes refuses", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {labels: {a: -x}, ", 1)}, "audit-config m.yaml"},
		{"a label's key that Kubernetes refuses", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {labels: {a b: x}, ", 1)}, "audit-config m.yaml"},
		{"a label that is a number", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {labels: {a: 1}, ", 1)}, "audit-config m.yaml"},
		{"labels that are a list", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {labels: [a], ", 1)}, "audit-config m.yaml"},
		{"an annotation that is none", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {annotations: {a/b/c: x}, ", 1)}, "audit-config m.yaml"},
		{"a misspelt field of metadata", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {lables: {a: b}, ", 1)}, "audit-config m.yaml"},
		{"metadata as kubectl prints it, and nulls", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "metadata: {", "metadata: {labels: {a: b, c: null}, annotations: null, x: null, finalizers: [a/b], uid: u, generation: 1, ", 1)}, ""},

		{"a CronJob's name that the operator cuts, with a dot", map[string]string{"m.yaml": strings.Replace(configFile("kubernetesResources: {}"), "name: mondoo-client", "name: eu.west.example.com", 1),
			"c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: x}}"), "d.yaml": clusterFile(strings.Repeat("d", 17), "{kubeconfigSecretRef: {name: x}}")}, "scan-name d.yaml ddddddddddddddddd"},
		{"a long one without a dot", map[string]string{"d.yaml": clusterFile(strings.Repeat("d", 60), "{kubeconfigSecretRef: {name: x}}")}, ""},

		{"another kind", map[string]string{"x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"}, "kind x.yaml"},
		{"a kind of the name of another group's", map[string]string{"x.yaml": "apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: x}\n"}, "kind x.yaml"},
		{"another kind of the operator's group", map[string]string{"x.yaml": "apiVersion: k8s.mondoo.com/v1alpha2\nkind: Foo\nmetadata: {name: x}\n"}, "kind x.yaml"},
		{"a newer version of the operator's kind", map[string]string{"x.yaml": "apiVersion: k8s.mondoo.com/v1\nkind: MondooAuditConfig\nmetadata: {name: x}\n"}, "kind x.yaml"},
		{"what is perhaps a cluster", map[string]string{"kustomization.yaml": "resources: [m.yaml, x.yaml]\n", "x.yaml": "apiVersion: example.com/v1\nkind: externalcluster\nmetadata: {name: x}\n"}, "kind x.yaml x"},
		{"a list for metadata", map[string]string{"kustomization.yaml": patched("op: replace, path: /metadata, value: {name: c, labels: []}"), "c.yaml": account}, "wrong-type c.yaml c"},

		{"an encrypted value below another", map[string]string{"s.yaml": sealedFile("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: {b: ENC}}\n", otherMAC)}, "wrong-type s.yaml"},
		{"an encrypted value in metadata", map[string]string{"s.yaml": sealedFile("apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {a: ENC}}\n", otherMAC)}, "encrypted-place s.yaml"},
		{"an encrypted value where no field is", map[string]string{"s.yaml": sealedFile("apiVersion: v1\nkind: Secret\nmetadata: {name: s, x: {y: z}}\nstringData: {a: ENC}\n", otherMAC)}, "plain-credential s.yaml, unknown-field s.yaml"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			files := maps.Clone(row.files)
			if files["m.yaml"] == "" {
				files["m.yaml"] = configFile("kubernetesResources: {}")
			}
			f := of(t, files)
			var errs []string
			for _, at := range f.Findings {
				if at.Severity == finding.Error {
					errs = append(errs, strings.TrimSpace(string(at.Code)+" "+strings.TrimPrefix(at.Path, "f/")+" "+at.Cluster))
				}
			}
			slices.Sort(errs)
			if got := strings.Join(errs, ", "); got != row.want {
				t.Fatalf("%s, want %s\n%v", got, row.want, f.Findings)
			}
			for _, c := range f.Clusters {
				if refused := strings.Contains(row.want, " "+c.Name) && strings.HasSuffix(row.want, c.Name); refused && !c.Quarantined || !refused && c.Quarantined && !strings.Contains(row.want, c.Name+",") {
					t.Errorf("cluster %s: quarantined %t", c.Name, c.Quarantined)
				}
			}
			for _, s := range f.Secrets {
				if s.Cluster == "" && s.Quarantined != (row.want != "") {
					t.Errorf("Secret %s: quarantined %t", s.Name, s.Quarantined)
				}
			}
			if strings.Contains(row.want, " m.yaml") && !strings.HasSuffix(row.want, " c") && !f.Stopped {
				t.Error("the audit config goes on")
			}
		})
	}
}

// TestNamespaceUnknown: where nobody knows the namespace, any is as good.
func TestNamespaceUnknown(t *testing.T) {
	f := of(t, map[string]string{"s.yaml": strings.Replace(secretFile("s", "", ""), "{name: s}", "{name: s, namespace: any}", 1)}, func(o *compile.Options) { o.Namespace = "" })
	if finding.Errors(f.Findings) > 0 {
		t.Error(f.Findings)
	}
}

// TestScheduleUnknown: offline, a schedule that an audit config outside of Git may give is not made up.
func TestScheduleUnknown(t *testing.T) {
	outside := map[string]string{"c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: x}}")}
	inside := map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": outside["c.yaml"]}
	gives := map[string]any{"spec": map[string]any{"kubernetesResources": map[string]any{"enable": true, "schedule": "1 * * * *"}}}
	for _, row := range []struct {
		reason        string
		files         map[string]string
		offline       bool
		live          map[string]any
		written, told bool
	}{
		{"nobody has looked", outside, true, nil, false, true},
		{"it isn't there", outside, false, nil, true, true},
		{"it is there, and gives one", outside, false, gives, false, false},
		{"it was looked at, and gives one", outside, true, gives, false, false},
		{"it is in Git, and gives none", inside, true, nil, true, true},
		{"the file gives one", map[string]string{"c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: x}, schedule: '5 * * * *'}")}, true, nil, true, false},
	} {
		f := of(t, row.files, func(o *compile.Options) {
			o.Offline, o.AuditConfig = row.offline, "mondoo-client"
			if row.live != nil {
				o.Existing = map[string]map[string]any{"mondoo-client": row.live}
			}
		})
		told := slices.ContainsFunc(f.Findings, func(at finding.Finding) bool { return at.Code == compile.CodeDefaultSchedule })
		if written := f.Clusters[0].Entry.Schedule != ""; written != row.written || told != row.told {
			t.Errorf("%s: schedule %q, told %t", row.reason, f.Clusters[0].Entry.Schedule, told)
		}
	}
}

// TestStale: a file whose values changed while its MAC didn't is out of the change, with what it holds; one that many share stops all.
func TestStale(t *testing.T) {
	cluster := func(name, schedule string) string {
		return sealedFile(clusterFile(name, "{kubeconfig: ENC, schedule: '"+schedule+"'}"), wholeMAC)
	}
	secret := func(name string) string {
		return sealedFile("apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+"}\nstringData: {a: ENC}\n", wholeMAC)
	}
	const patch = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {b: ENC}\n"
	files := map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "a.yaml": cluster("a", "2 * * * *"), "b.yaml": cluster("b", "2 * * * *"), "s.yaml": secret("s"), "t.yaml": secret("t"), "p.patch": sealedFile(patch, wholeMAC),
		"kustomization.yaml": "resources: [m.yaml, a.yaml, s.yaml, t.yaml]\npatches: [{path: p.patch, target: {kind: Secret, name: t}}]\n"}
	for _, row := range []struct {
		reason, changed, before string
		out                     string
		stopped                 bool
	}{
		{"nothing", "a.yaml", files["a.yaml"], "", false},
		{"a cluster", "a.yaml", cluster("a", "1 * * * *"), "a", false},
		{"a Secret", "s.yaml", secret("before"), "Secret s", false},
		{"a patch", "p.patch", sealedFile(strings.Replace(patch, "name: x", "name: y", 1), wholeMAC), "", true},
		{"a plain file", "m.yaml", configFile("kubernetesResources: {enable: true}"), "", false},
	} {
		f := of(t, files, func(o *compile.Options) {
			o.Before = func(name, _ string) (string, bool) { return row.before, name == "f/"+row.changed }
		})
		var out []string
		for _, c := range f.Clusters {
			if c.Quarantined {
				out = append(out, c.Name)
			}
		}
		for _, s := range f.Secrets {
			if s.Quarantined {
				out = append(out, "Secret "+s.Name)
			}
			if s.Cluster != "" && slices.Contains(out, s.Cluster) {
				t.Errorf("%s: the Secret of cluster %s goes on", row.reason, s.Cluster)
			}
		}
		if got := strings.Join(out, ", "); got != row.out || f.Stopped != row.stopped || (finding.Errors(f.Findings) > 0) != (row.out != "" || row.stopped) {
			t.Errorf("%s: out %q, stopped %t: %v", row.reason, got, f.Stopped, f.Findings)
		}
		for _, at := range f.Findings {
			if at.Severity == finding.Error && (at.Path != "f/"+row.changed || at.Cluster != strings.TrimPrefix(row.out, "Secret s")) {
				t.Errorf("%s: %+v", row.reason, at)
			}
		}
	}
}

// TestMemory: the same fleet is compiled once, and anew when anything that it depends on is another.
func TestMemory(t *testing.T) {
	result, opts := built(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: x}}")})
	var m compile.Memory
	first := m.Compile(result, opts)
	if m.Compile(result, opts) != first {
		t.Error("the same is compiled anew")
	}
	again, same := built(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: y}}")})
	for reason, change := range map[string]func(o *compile.Options){
		"the namespace":          func(o *compile.Options) { o.Namespace = "other" },
		"the AuditSync":          func(o *compile.Options) { o.Sync = "other" },
		"the policy":             func(o *compile.Options) { o.Policy.Allow = nil },
		"the audit config":       func(o *compile.Options) { o.AuditConfig = "other" },
		"Pod Security":           func(o *compile.Options) { o.PodSecurity = "restricted" },
		"a live audit config":    func(o *compile.Options) { o.Existing = map[string]map[string]any{"x": {}} },
		"another branch's rules": func(o *compile.Options) { o.SopsConfig = o.Source },
		"the commit before":      func(o *compile.Options) { o.Before = func(string, string) (string, bool) { return "", false } },
	} {
		changed := opts
		change(&changed)
		m := compile.Memory{}
		first := m.Compile(result, opts)
		if m.Compile(result, changed) == first {
			t.Errorf("%s is another, and the fleet is the same", reason)
		}
	}
	if f := m.Compile(again, same); f == first || f.Clusters[0].Entry.KubeconfigSecretRef.Name != "y" {
		t.Errorf("another build gives %v", f.Clusters)
	}
}

// TestHandlesOfClusters: a cluster has the handles that its entry, or the name of its Secrets, is made of, and no other.
func TestHandlesOfClusters(t *testing.T) {
	for reason, row := range map[string]struct {
		spec    string
		handles int
		known   bool
	}{
		"a server":                      {"{serviceAccountAuth: {server: ENC, token: ENC, caCert: ENC}}", 3, false},
		"a CA, which the name is after": {"{serviceAccountAuth: {server: 'https://c', token: ENC, caCert: ENC}}", 2, false},
		"a token alone":                 {"{serviceAccountAuth: {server: 'https://c', token: ENC, caCert: CERT}}", 0, true},
		"a kubeconfig":                  {"{kubeconfig: ENC}", 0, false},
		"registries":                    {"{kubeconfigSecretRef: {name: x}, containerImageScanning: true, privateRegistries: {dockerConfigJson: ENC}}", 0, true},
	} {
		f := of(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": sealedFile(strings.Replace(clusterFile("c", row.spec), "CERT", `"`+strings.ReplaceAll(certificate, "\n", `\n`)+`"`, 1), wholeMAC)})
		if finding.Errors(f.Findings) > 0 || len(f.Clusters) != 1 {
			t.Fatalf("%s: %v", reason, f.Findings)
		}
		if c := f.Clusters[0]; len(c.Handles) != row.handles || strings.HasSuffix(c.Secrets[0], mondoo.UnknownHash) == row.known {
			t.Errorf("%s: %d handles, Secrets %v", reason, len(c.Handles), c.Secrets)
		}
	}
}

// TestHashesOfClusters: the hash of a cluster changes with its entry and with its credentials, whatever of them is encrypted.
func TestHashesOfClusters(t *testing.T) {
	hash := func(spec, value string) string {
		f := of(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": strings.ReplaceAll(sealedFile(clusterFile("c", spec), wholeMAC), "data:YQ==", "data:"+value)})
		if finding.Errors(f.Findings) > 0 {
			t.Fatal(f.Findings)
		}
		return f.Clusters[0].Hash
	}
	for _, spec := range []string{"{kubeconfig: ENC}", "{vaultAuth: {server: ENC, vaultAddr: 'https://v', authRole: a, credsRole: b, targetCACertSecretRef: {name: x}}}"} {
		first := hash(spec, "YQ==")
		if hash(spec, "YQ==") != first {
			t.Errorf("%s: the hash depends on the process", spec)
		}
		if hash(spec, "Yg==") == first {
			t.Errorf("%s: another value has the same hash", spec)
		}
	}
}

// TestUsesAreInOrder: what a Secret is for comes in one order each time, or what was opened of it before is taken for another.
func TestUsesAreInOrder(t *testing.T) {
	for range 20 {
		f := of(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "c.yaml": sealedFile(clusterFile("c", "{serviceAccountAuth: {server: ENC, token: ENC, caCert: ENC}}"), otherMAC)})
		if uses := f.Secrets[0].Uses; len(uses) != 2 || uses[0].Key != mondoo.KeyCACert {
			t.Fatal(uses)
		}
	}
}

// TestReferencesOfOthers: a key server is nothing to who takes no token.
func TestReferencesOfOthers(t *testing.T) {
	f := of(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"), "s.yaml": secretFile("s", "stringData: {kubeconfig: ENC}\n", otherMAC), "c.yaml": clusterFile("c", "{kubeconfigSecretRef: {name: s}}")})
	for _, at := range f.Findings {
		if at.Code == compile.CodeTokenUnbound || at.Severity == finding.Error {
			t.Error(at)
		}
	}
}

// TestClosedGenerator: without a key, what a generator takes from an encrypted file is a handle, and no plain text.
func TestClosedGenerator(t *testing.T) {
	f := of(t, map[string]string{"kustomization.yaml": "secretGenerator: [{name: s, files: [k]}]\n", "k": "kubeconfig: " + sealed + "\nsops: {mac: " + sealed + "}\n"})
	if finding.Errors(f.Findings) > 0 || len(f.Secrets) != 1 || !f.Source.Sealed(f.Secrets[0].Data["k"].Value) || f.Secrets[0].Data["k"].Base64 {
		t.Errorf("%v, %+v", f.Findings, f.Secrets)
	}
	named := func(s fleet.SealedSecret) string { return cmp.Or(s.Name, "none") }
	if !f.Secrets[0].Generated || !strings.HasPrefix(named(f.Secrets[0]), "s-") {
		t.Errorf("%+v", f.Secrets[0])
	}
}
