package clusters_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestFields holds, for each way to authenticate and each optional field, what the operator gets: the entry by the names of
// its CRD, and the Secrets by their types and keys.
func TestFields(t *testing.T) {
	key := sealtest.NewKey(t)
	opener := key.Opener(t)
	ca := indent(4, caPEM())
	const (
		ref      = "kubeconfigSecretRef: {name: elsewhere}\n"
		refEntry = "kubeconfigSecretRef: {name: elsewhere}\n"
	)
	for _, row := range []struct {
		name, spec string
		// entry is the element of externalClusters, without its name.
		entry string
		// secrets are "type: keys" by name.
		secrets map[string]string
		options func(*compile.Options)
	}{
		{name: "kubeconfig", spec: "kubeconfig: |\n" + indent(2, kubeconfig("c")), entry: "kubeconfigSecretRef: {name: mondoo-client-c-kubeconfig-HASH}",
			secrets: map[string]string{"mondoo-client-c-kubeconfig-HASH": "Opaque: kubeconfig"}},
		{name: "kubeconfigFile", spec: "kubeconfigFile: k.kubeconfig\n", entry: "kubeconfigSecretRef: {name: mondoo-client-c-kubeconfig-HASH}",
			secrets: map[string]string{"mondoo-client-c-kubeconfig-HASH": "Opaque: kubeconfig"}},
		{name: "kubeconfigSecretRef", spec: ref, entry: refEntry},
		{name: "serviceAccountAuth", spec: "serviceAccountAuth:\n  server: https://c.example.com\n  token: t-" + canary + "\n  caCert: |\n" + ca,
			entry:   "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: mondoo-client-c-service-account-HASH}, skipTLSVerify: false}",
			secrets: map[string]string{"mondoo-client-c-service-account-HASH": "Opaque: ca.crt token"}},
		{name: "serviceAccountAuth by reference", spec: "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: s}}\n",
			entry: "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: s}, skipTLSVerify: false}"},
		{name: "skipTLSVerify", spec: "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: s}, skipTLSVerify: true}\n",
			entry: "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: s}, skipTLSVerify: true}"},
		{name: "kubeconfigFrom Vault", spec: "kubeconfigFrom: {vault: {address: 'https://v.example.com', mount: kv, path: clusters/c}}\n",
			entry:   "kubeconfigSecretRef: {name: mondoo-client-c-kubeconfig-HASH}",
			secrets: map[string]string{"mondoo-client-c-kubeconfig-HASH": "Opaque: from Vault https://v.example.com, kv/clusters/c"}},
		{name: "kubeconfigFrom a Secret", spec: "kubeconfigFrom: {secretRef: {namespace: argocd, name: c}}\n", entry: "kubeconfigSecretRef: {name: mondoo-client-c-kubeconfig-HASH}",
			secrets: map[string]string{"mondoo-client-c-kubeconfig-HASH": "Opaque: from the Secret argocd/c"}},
		{name: "credentialsFrom", spec: "serviceAccountAuth: {server: 'https://c.example.com', credentialsFrom: {vault: {address: 'https://v.example.com', mount: kv, path: clusters/c}}}\n",
			entry:   "serviceAccountAuth: {server: 'https://c.example.com', credentialsSecretRef: {name: mondoo-client-c-service-account-HASH}, skipTLSVerify: false}",
			secrets: map[string]string{"mondoo-client-c-service-account-HASH": "Opaque: from Vault https://v.example.com, kv/clusters/c"}},
		{name: "privateRegistries from Vault", spec: ref + "containerImageScanning: true\nprivateRegistries: {from: {vault: {address: 'https://v.example.com', mount: kv, path: clusters/c}}}\n",
			entry:   refEntry + "containerImageScanning: true\nprivateRegistriesPullSecretRef: {name: mondoo-client-c-registries-HASH}",
			secrets: map[string]string{"mondoo-client-c-registries-HASH": "kubernetes.io/dockerconfigjson: from Vault https://v.example.com, kv/clusters/c"}},
		{name: "gke", spec: "workloadIdentity: {provider: gke, gke: {projectId: p-12345, clusterName: k8s, clusterLocation: europe-west1, googleServiceAccount: a@p.iam.gserviceaccount.com}}\n",
			entry: "workloadIdentity: {provider: gke, gke: {projectId: p-12345, clusterName: k8s, clusterLocation: europe-west1, googleServiceAccount: a@p.iam.gserviceaccount.com}}"},
		{name: "gke endpoint", spec: "workloadIdentity: {provider: gke, gke: {projectId: p-12345, clusterName: k8s, clusterLocation: europe-west1, googleServiceAccount: a@p.iam.gserviceaccount.com, endpoint: 'https://e.example.com'}}\n",
			entry: "workloadIdentity: {provider: gke, gke: {projectId: p-12345, clusterName: k8s, clusterLocation: europe-west1, googleServiceAccount: a@p.iam.gserviceaccount.com, endpoint: 'https://e.example.com'}}"},
		{name: "eks", spec: "workloadIdentity: {provider: eks, eks: {region: eu-central-1, clusterName: k8s, roleArn: 'arn:aws:iam::123456789012:role/r', endpoint: 'https://e.example.com'}}\n",
			entry: "workloadIdentity: {provider: eks, eks: {region: eu-central-1, clusterName: k8s, roleArn: 'arn:aws:iam::123456789012:role/r', endpoint: 'https://e.example.com'}}"},
		{name: "aks", spec: "workloadIdentity: {provider: aks, aks: {subscriptionId: 00000000-0000-0000-0000-000000000001, resourceGroup: g, clusterName: k8s, clientId: 00000000-0000-0000-0000-000000000002, tenantId: 00000000-0000-0000-0000-000000000003, endpoint: 'https://e.example.com', loginServer: l}}\n",
			entry: "workloadIdentity: {provider: aks, aks: {subscriptionId: 00000000-0000-0000-0000-000000000001, resourceGroup: g, clusterName: k8s, clientId: 00000000-0000-0000-0000-000000000002, tenantId: 00000000-0000-0000-0000-000000000003, endpoint: 'https://e.example.com', loginServer: l}}"},
		{name: "vaultAuth", spec: "vaultAuth:\n  server: https://c.example.com\n  vaultAddr: https://v.example.com\n  authRole: a\n  credsRole: b\n  authPath: auth/x\n  secretsPath: yy\n  kubernetesNamespace: z\n  ttl: 1h\n  vaultNamespace: admin/a\n  caCert: |\n" + ca + "  targetCACert: |\n" + ca,
			entry:   "vaultAuth: {server: 'https://c.example.com', vaultAddr: 'https://v.example.com', authRole: a, credsRole: b, authPath: auth/x, secretsPath: yy, kubernetesNamespace: z, ttl: 1h, vaultNamespace: admin/a, caCertSecretRef: {name: mondoo-client-c-vault-ca-HASH}, targetCACertSecretRef: {name: mondoo-client-c-target-ca-HASH}}",
			secrets: map[string]string{"mondoo-client-c-vault-ca-HASH": "Opaque: ca.crt", "mondoo-client-c-target-ca-HASH": "Opaque: ca.crt"}},
		{name: "vaultAuth with defaults", spec: "vaultAuth: {server: 'https://c.example.com', vaultAddr: 'https://v.example.com', authRole: a, credsRole: b, caCertSecretRef: {name: d}, targetCACertSecretRef: {name: e}}\n",
			entry: "vaultAuth: {server: 'https://c.example.com', vaultAddr: 'https://v.example.com', authRole: a, credsRole: b, authPath: auth/kubernetes, secretsPath: kubernetes, caCertSecretRef: {name: d}, targetCACertSecretRef: {name: e}}"},
		{name: "spiffeAuth", spec: "spiffeAuth:\n  server: https://c.example.com\n  socketPath: /run/x.sock\n  audience: a\n  trustBundle: |\n" + ca,
			entry:   "spiffeAuth: {server: 'https://c.example.com', socketPath: /run/x.sock, audience: a, trustBundleSecretRef: {name: mondoo-client-c-trust-bundle-HASH}}",
			secrets: map[string]string{"mondoo-client-c-trust-bundle-HASH": "Opaque: ca.crt"}},
		{name: "spiffeAuth with defaults", spec: "spiffeAuth: {server: 'https://c.example.com', trustBundleSecretRef: {name: b}}\n",
			entry: "spiffeAuth: {server: 'https://c.example.com', socketPath: /run/spire/sockets/agent.sock, trustBundleSecretRef: {name: b}}"},
		{name: "schedule", spec: ref + "schedule: 5 4 * * 1-5\n", entry: refEntry + "schedule: 5 4 * * 1-5"},
		{name: "schedule by name", spec: ref + "schedule: '@weekly'\n", entry: refEntry + "schedule: '@weekly'"},
		{name: "hashed schedule", spec: ref + "schedule: H H(1-5) * * *\n", entry: refEntry + "schedule: 44 1 * * *"},
		{name: "default schedule where the audit config has none", spec: ref, entry: refEntry + "schedule: 9 * * * *", options: func(o *compile.Options) {
			o.Existing = map[string]map[string]any{"existing": {"spec": map[string]any{"kubernetesResources": map[string]any{"enable": false}}}}
		}},
		{name: "filtering absent", spec: ref, entry: refEntry},
		{name: "filtering empty", spec: ref + "filtering: {}\n", entry: refEntry + "filtering: {namespaces: {}}"},
		{name: "filtering of no namespaces", spec: ref + "filtering: {namespaces: {}}\n", entry: refEntry + "filtering: {namespaces: {}}"},
		{name: "include", spec: ref + "filtering: {namespaces: {include: [a, b-*]}}\n", entry: refEntry + "filtering: {namespaces: {include: [a, b-*]}}"},
		{name: "exclude", spec: ref + "filtering: {namespaces: {exclude: [kube-*]}}\n", entry: refEntry + "filtering: {namespaces: {exclude: [kube-*]}}"},
		{name: "containerImageScanning", spec: ref + "containerImageScanning: true\n", entry: refEntry + "containerImageScanning: true"},
		{name: "no containerImageScanning", spec: ref + "containerImageScanning: false\n", entry: refEntry},
		{name: "repositories empty", spec: ref + "containerImageScanning: true\nrepositories: {}\n", entry: refEntry + "containerImageScanning: true\nrepositories: {}"},
		{name: "repositories", spec: ref + "containerImageScanning: true\nrepositories: {exclude: [x/*]}\n", entry: refEntry + "containerImageScanning: true\nrepositories: {exclude: [x/*]}"},
		{name: "dockerConfigJson", spec: ref + "containerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '{\"auths\":{\"r.example.com\":{\"auth\":\"dXNlcjpwYXNzd29yZA==\"}}}'\n",
			entry:   refEntry + "containerImageScanning: true\nprivateRegistriesPullSecretRef: {name: mondoo-client-c-registries-HASH}",
			secrets: map[string]string{"mondoo-client-c-registries-HASH": "kubernetes.io/dockerconfigjson: .dockerconfigjson"}},
		{name: "registries by reference", spec: ref + "containerImageScanning: true\nprivateRegistries: {secretRef: {name: r}}\n",
			entry: refEntry + "containerImageScanning: true\nprivateRegistriesPullSecretRef: {name: r}"},
		{name: "registries by the operator's name", spec: ref + "containerImageScanning: true\nprivateRegistriesPullSecretRef: {name: r}\n",
			entry: refEntry + "containerImageScanning: true\nprivateRegistriesPullSecretRef: {name: r}"},
		{name: "encrypted fields that are no credentials", spec: "vaultAuth: {server: 'https://c.example.com', vaultAddr: 'https://v.example.com', authRole: a, credsRole: b, targetCACertSecretRef: {name: e}}\nfiltering: {namespaces: {include: [hidden, other]}}\n",
			entry: "vaultAuth: {server: 'https://c.example.com', vaultAddr: 'https://v.example.com', authRole: a, credsRole: b, authPath: auth/kubernetes, secretsPath: kubernetes, targetCACertSecretRef: {name: e}}\nfiltering: {namespaces: {include: [hidden, other]}}"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c\nspec:\n" + indent(2, row.spec)
			rule := sealtest.Credentials
			if strings.HasPrefix(row.name, "encrypted fields") {
				rule = sealtest.Rule{EncryptedRegex: "^(server|authRole|include)$"}
			}
			repository := files{"f/c.yaml": key.Encrypt(t, "c.yaml", text, rule), "f/k.kubeconfig": key.Encrypt(t, "k.kubeconfig", kubeconfig("c"), sealtest.Everything)}
			opts, config := options, "mondoo-client"
			if row.options != nil {
				row.options(&opts)
				config = "existing"
				opts.AuditConfig = config
			} else {
				repository["f/m.yaml"] = auditConfig(config)
			}
			r := render(t, repository.fs(), "f", opts, opener)
			if n := finding.Errors(r.findings()); n > 0 {
				t.Fatalf("%s", lines(r.findings()))
			}
			hash := ""
			for _, s := range r.opened.Secrets {
				if hash = s.Name[len(s.Name)-len(mondoo.UnknownHash):]; hash == mondoo.UnknownHash || !mondoo.IsMade(s.Name) {
					t.Errorf("the Secret %s has no hash in its name", s.Name)
				}
			}
			secrets := map[string]string{}
			for name, text := range row.secrets {
				secrets[strings.Replace(name, "HASH", hash, 1)] = text
			}
			row.secrets = secrets
			var want map[string]any
			if err := yaml.Unmarshal([]byte("name: c\n"+strings.ReplaceAll(row.entry, "HASH", hash)), &want); err != nil {
				t.Fatal(err)
			}
			entries := r.opened.Entries(config)
			if len(entries) != 1 {
				t.Fatalf("%d entries", len(entries))
			}
			if got := entries[0].Map(); !reflect.DeepEqual(got, want) {
				a, _ := yaml.Marshal(got)
				b, _ := yaml.Marshal(want)
				t.Errorf("entry:\n%s\nwant:\n%s", a, b)
			}
			got := map[string]string{}
			for _, s := range r.opened.Secrets {
				got[s.Name] = s.Type + ": " + strings.Join(slices.Sorted(maps.Keys(s.Data)), " ")
				if s.From != nil {
					if got[s.Name] += "from " + s.From.String(); !s.Unknown() || !s.Supplied {
						t.Errorf("%s has a value", s.Name)
					}
				}
				for key, data := range s.Data {
					if len(data) == 0 || strings.Contains(data, "MUSTERSEALED") || strings.HasPrefix(data, "ENC[") {
						t.Errorf("%s/%s is not open", s.Name, key)
					}
				}
			}
			if !maps.Equal(got, row.secrets) {
				t.Errorf("Secrets: %v\nwant: %v", got, row.secrets)
			}
			if !slices.Equal(slices.Sorted(slices.Values(r.opened.Clusters[0].Secrets)), slices.Sorted(maps.Keys(row.secrets))) {
				t.Errorf("the record's Secrets: %v", r.opened.Clusters[0].Secrets)
			}
			for ref := range compile.References(&entries[0]) {
				if made, ok := row.secrets[ref.Name]; ok && !strings.Contains(made, ": from ") && !strings.HasSuffix(made, ": "+strings.Join(slices.Sorted(slices.Values(ref.Keys)), " ")) {
					t.Errorf("the operator reads %v of %s", ref.Keys, ref.Name)
				}
			}
		})
	}
}

// vaultCluster is a cluster of Vault with further fields of vaultAuth.
func vaultCluster(more string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c\nspec:\n  vaultAuth:\n    server: https://c.example.com\n    vaultAddr: https://v.example.com\n" +
		"    authRole: a\n    credsRole: b\n" + more
}

// TestHashes: a hash changes with what is applied, and is the same in every process, with a key or without.
func TestHashes(t *testing.T) {
	key := sealtest.NewKey(t)
	plain := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c\nspec:\n  kubeconfig: |\n" + indent(4, kubeconfig("c"))
	sealed := key.Encrypt(t, "c.yaml", plain, sealtest.Credentials)
	hash := func(text string) string {
		r := render(t, files{"f/m.yaml": auditConfig("m"), "f/c.yaml": text}.fs(), "f", options, key.Opener(t))
		if without := compileOnly(t, files{"f/m.yaml": auditConfig("m"), "f/c.yaml": text}.fs(), "f", options); without.sealed.Clusters[0].Hash != r.opened.Clusters[0].Hash {
			t.Error("the hash is another one without keys")
		}
		return r.opened.Clusters[0].Hash
	}
	if first, second := hash(sealed), hash(sealed); first != second {
		t.Error("one file, two hashes")
	}
	if hash(sealed) == hash(key.Encrypt(t, "c.yaml", plain, sealtest.Credentials)) {
		t.Error("encrypted anew, and the hash is the same")
	}
	if hash(sealed) == hash(key.Encrypt(t, "c.yaml", plain+"  schedule: '@daily'\n", sealtest.Credentials)) {
		t.Error("another schedule, and the hash is the same")
	}
	if hash(vaultCluster("")) != hash(vaultCluster("    secretsPath: kubernetes\n    authPath: auth/kubernetes\n")) {
		t.Error("what changes nothing of the entry changes the hash")
	}
	if len(hash(sealed)) != 32 {
		t.Error("a hash is 16 bytes in hexadecimal")
	}
}
