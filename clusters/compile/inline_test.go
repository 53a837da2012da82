package compile_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// of compiles files of the path "f".
func of(t *testing.T, files map[string]string, change ...func(*compile.Options)) *fleet.Sealed {
	t.Helper()
	built, opts := built(t, files)
	for _, c := range change {
		c(&opts)
	}
	return (&compile.Memory{}).Compile(built, opts)
}

// built are files of the path "f" as kustomize builds them without keys, and the options of an AuditSync.
func built(t *testing.T, files map[string]string) (*kustomize.Result, compile.Options) {
	t.Helper()
	repository := fstest.MapFS{}
	for name, text := range files {
		repository["f/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load.Load(t.Context(), repository, "f", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := kustomize.Build(t.Context(), seal.NewSealer().Seal(tree, nil), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result, compile.Options{Namespace: "mondoo-operator", Sync: "fleet", Source: repository,
		Policy: policy.Policy{VaultAddresses: []string{"https://v"}, Allow: []string{"mondooCredsSecretRef=creds"}}}
}

func clusterFile(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

func configFile(spec string) string {
	return "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec: {mondooCredsSecretRef: {name: creds}, " + spec + "}\n"
}

// TestMadeNamesAreRefused: no field of the repository can use a name that Muster gives to Secrets with the credentials of a cluster
// file, and names beside them are free.
func TestMadeNamesAreRefused(t *testing.T) {
	const placeholder = "NAME"
	vault := "{server: 'https://c', vaultAddr: 'https://v', authRole: a, credsRole: b, "
	for field, file := range map[string]struct{ name, text string }{
		"kubeconfigSecretRef":            {"c.yaml", clusterFile("c", "{kubeconfigSecretRef: {name: NAME}}")},
		"credentialsSecretRef":           {"c.yaml", clusterFile("c", "{serviceAccountAuth: {server: 'https://c', credentialsSecretRef: {name: NAME}}}")},
		"trustBundleSecretRef":           {"c.yaml", clusterFile("c", "{spiffeAuth: {server: 'https://c', trustBundleSecretRef: {name: NAME}}}")},
		"caCertSecretRef":                {"c.yaml", clusterFile("c", "{vaultAuth: "+vault+"caCertSecretRef: {name: NAME}, targetCACertSecretRef: {name: x}}}")},
		"targetCACertSecretRef":          {"c.yaml", clusterFile("c", "{vaultAuth: "+vault+"targetCACertSecretRef: {name: NAME}}}")},
		"privateRegistries":              {"c.yaml", clusterFile("c", "{kubeconfigSecretRef: {name: x}, containerImageScanning: true, privateRegistries: {secretRef: {name: NAME}}}")},
		"privateRegistriesPullSecretRef": {"c.yaml", clusterFile("c", "{kubeconfigSecretRef: {name: x}, containerImageScanning: true, privateRegistriesPullSecretRef: {name: NAME}}")},
		"an entry":                       {"m.yaml", configFile("kubernetesResources: {externalClusters: [{name: c, kubeconfigSecretRef: {name: NAME}}]}")},
		"a registry":                     {"m.yaml", configFile("scanner: {privateRegistriesPullSecretRefs: [{name: NAME}]}")},
		"a variable":                     {"m.yaml", configFile("scanner: {env: [{name: X, valueFrom: {secretKeyRef: {name: NAME, key: token}}}]}")},
		"mondooCredsSecretRef":           {"m.yaml", strings.Replace(configFile("kubernetesResources: {}"), "{name: creds}", "{name: NAME}", 1)},
		"a manifest":                     {"s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\n"},
	} {
		for _, test := range []struct {
			name    string
			refused bool
		}{
			{mondoo.SecretName("mondoo-client", "prod", mondoo.ServiceAccount, "0123456789abcdef"), true},
			{mondoo.SecretName("gone-2", "prod", mondoo.Registries, "0123456789abcdef"), true},
			{"mondoo-client-prod-service-account", false},
			{"prod-kubeconfig-7f4hk2m9tg", false},
		} {
			files := map[string]string{"m.yaml": configFile("kubernetesResources: {}")}
			files[file.name] = strings.ReplaceAll(file.text, placeholder, test.name)
			sealed := of(t, files)
			refused := false
			for _, f := range sealed.Findings {
				refused = refused || f.Code == compile.CodeSecretName && f.Severity == finding.Error && f.Path == "f/"+file.name
			}
			if refused != test.refused {
				t.Errorf("%s, %s: refused %t\n%v", field, test.name, refused, sealed.Findings)
			}
			if !test.refused {
				continue
			}
			for _, c := range sealed.Clusters {
				if !c.Quarantined {
					t.Errorf("%s: cluster %s goes on", field, c.Name)
				}
			}
			for _, s := range sealed.Secrets {
				if !s.Quarantined {
					t.Errorf("%s: Secret %s goes on", field, s.Name)
				}
			}
			if file.name == "m.yaml" && field != "an entry" && !sealed.Stopped {
				t.Errorf("%s: the audit config goes on", field)
			}
		}
	}
}

// TestBound: the hash is another one wherever the credentials would go elsewhere, or the server be known otherwise, and the same
// whatever else changes.
func TestBound(t *testing.T) {
	account := func(change func(*v1alpha1.ExternalCluster)) *v1alpha1.ExternalCluster {
		file := &v1alpha1.ExternalCluster{Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{
			ServiceAccountAuth: &v1alpha1.ServiceAccountAuth{Server: "https://c", Token: "t", CACert: "ca"}}}
		if change != nil {
			change(file)
		}
		return file
	}
	yes, no, ref := true, false, &v1alpha1.SecretRef{Name: "s"}
	base := compile.Bound(account(nil), "a", "")
	for reason, file := range map[string]*v1alpha1.ExternalCluster{
		"another token":    account(func(f *v1alpha1.ExternalCluster) { f.Spec.ServiceAccountAuth.Token = "u" }),
		"another schedule": account(func(f *v1alpha1.ExternalCluster) { f.Spec.Schedule = "@daily" }),
		"TLS is checked":   account(func(f *v1alpha1.ExternalCluster) { f.Spec.ServiceAccountAuth.SkipTLSVerify = &no }),
		"other registries": account(func(f *v1alpha1.ExternalCluster) {
			f.Spec.PrivateRegistries = &v1alpha1.PrivateRegistries{DockerConfigJSON: "{}"}
		}),
	} {
		if got := compile.Bound(file, "a", ""); got != base {
			t.Errorf("%s: another hash", reason)
		}
	}
	seen := map[string]string{base: "the first"}
	differ := func(reason, hash string) {
		if first, same := seen[hash]; same || len(hash) != len(mondoo.UnknownHash) || hash == mondoo.UnknownHash {
			t.Errorf("%s: hash %s as %s", reason, hash, first)
		}
		seen[hash] = reason
	}
	differ("audit config", compile.Bound(account(nil), "b", ""))
	for reason, file := range map[string]*v1alpha1.ExternalCluster{
		"cluster": account(func(f *v1alpha1.ExternalCluster) { f.Metadata.Name = "d" }),
		"server":  account(func(f *v1alpha1.ExternalCluster) { f.Spec.ServiceAccountAuth.Server = "https://d" }),
		"CA":      account(func(f *v1alpha1.ExternalCluster) { f.Spec.ServiceAccountAuth.CACert = "cb" }),
		"TLS":     account(func(f *v1alpha1.ExternalCluster) { f.Spec.ServiceAccountAuth.SkipTLSVerify = &yes }),
		"ends": account(func(f *v1alpha1.ExternalCluster) {
			f.Spec.ServiceAccountAuth.Server, f.Spec.ServiceAccountAuth.CACert = "https://cc", "a"
		}),
		"credentials":   {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{ServiceAccountAuth: &v1alpha1.ServiceAccountAuth{Server: "https://c", CredentialsSecretRef: ref}}},
		"kubeconfig":    {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{KubeconfigSecretRef: ref}},
		"SPIFFE":        {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{SPIFFEAuth: &v1alpha1.SPIFFEAuth{Server: "https://c"}}},
		"SPIFFE CA":     {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{SPIFFEAuth: &v1alpha1.SPIFFEAuth{Server: "https://c", TrustBundle: "ca"}}},
		"SPIFFE ref":    {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{SPIFFEAuth: &v1alpha1.SPIFFEAuth{Server: "https://c", TrustBundleSecretRef: ref}}},
		"Vault":         {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c"}}},
		"Vault's own":   {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c", VaultAddr: "https://v"}}},
		"Vault CA":      {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c", CACert: "ca"}}},
		"Vault ref":     {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c", CACertSecretRef: ref}}},
		"target CA":     {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c", TargetCACert: "ca"}}},
		"target ref":    {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{VaultAuth: &v1alpha1.VaultAuth{Server: "https://c", TargetCACertSecretRef: ref}}},
		"cloud":         {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{WorkloadIdentity: &v1alpha1.WorkloadIdentity{Provider: "eks", EKS: &v1alpha1.EKSIdentity{Region: "r"}}}},
		"cloud's own":   {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{WorkloadIdentity: &v1alpha1.WorkloadIdentity{Provider: "eks", EKS: &v1alpha1.EKSIdentity{Region: "r", Endpoint: "https://e"}}}},
		"no kubeconfig": {Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{Kubeconfig: "k"}},
	} {
		differ(reason, compile.Bound(file, "a", ""))
	}
	differ("destination", compile.Bound(&v1alpha1.ExternalCluster{Metadata: v1alpha1.Metadata{Name: "c"}, Spec: v1alpha1.Spec{Kubeconfig: "k"}}, "a", "elsewhere"))
	// The names of Secrets in management clusters depend on it: a change replaces them all.
	if want := "d60c709b8670b76d"; base != want {
		t.Errorf("the hash is %s and was %s", base, want)
	}
}

// TestOlderNamesAreRefused: under the name that Muster gave it before there were hashes, a Secret of the fleet can't be named either.
func TestOlderNamesAreRefused(t *testing.T) {
	sealed := of(t, map[string]string{"m.yaml": configFile("kubernetesResources: {}"),
		"prod.yaml": clusterFile("prod", "{vaultAuth: {server: 'https://c', vaultAddr: 'https://v', authRole: a, credsRole: b, targetCACert: \""+strings.ReplaceAll(certificate, "\n", "\\n")+"\"}}"),
		"evil.yaml": clusterFile("evil", "{spiffeAuth: {server: 'https://evil', trustBundleSecretRef: {name: mondoo-client-prod-target-ca}}}")})
	quarantined := map[string]bool{}
	for _, c := range sealed.Clusters {
		quarantined[c.Name] = c.Quarantined
	}
	if want := map[string]bool{"prod": false, "evil": true}; !maps.Equal(quarantined, want) {
		t.Errorf("quarantined %v\n%v", quarantined, sealed.Findings)
	}
}

// certificate has the form of one; what it holds is looked at when a fleet is opened.
const certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

// TestTokenServer: an entry has the token in a Secret that it names for the server that the Secret says alone, and checks its certificate.
func TestTokenServer(t *testing.T) {
	token := compile.Reference{Name: "s", Keys: mondoo.SecretKeys(mondoo.ServiceAccount)}
	entry := func(server string, skip bool) *mondoo.Entry {
		return &mondoo.Entry{ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: server, SkipTLSVerify: skip}}
	}
	for _, test := range []struct {
		reason string
		entry  *mondoo.Entry
		ref    compile.Reference
		server string
		good   bool
	}{
		{"the Secret says nothing", entry("https://c", true), token, " \n", true},
		{"the same", entry("https://c", false), token, "https://c\n", true},
		{"another", entry("https://c", false), token, "https://d", false},
		{"one behind a blank, which is looked for nowhere in plain text", entry("https://c", false), token, " https://c", false},
		{"one that begins the same", entry("https://c.evil", false), token, "https://c", false},
		{"the same, unchecked", entry("https://c", true), token, "https://c", false},
		{"no token", entry("https://c", true), compile.Reference{Name: "s", Keys: mondoo.SecretKeys(mondoo.Registries)}, "https://d", true},
	} {
		if message, _ := compile.TokenServer(test.entry, test.ref, test.server); (message == "") != test.good {
			t.Errorf("%s: %q", test.reason, message)
		}
	}
}
