package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestImport imports audit configs in every form that needs an API server. The test of the whole loop is in cmd/devenv/e2e.
func TestImport(t *testing.T) {
	m := startManagement(t)
	t.Chdir(m.dir)
	m.grant(readOnly("get", "list")...)
	m.write(".sops.yaml", "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: ^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$\n    age: "+m.key.Public()+"\n")
	m.commit()
	m.imports("nothing", exitFailure, "clusters")

	m.secret("eu", "", map[string]string{"kubeconfig": kubeconfig("eu")})
	m.secret("us", "", map[string]string{"token": canary + "-us", "ca.crt": testCA})
	m.secret("spiffe", "", map[string]string{"ca.crt": testCA})
	m.secret("pull", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": `{"auths":{"r.example.com":{"username":"robot","password":"` + canary + `"}}}`})
	m.secret("helm", "", map[string]string{"token": canary + "-helm", "ca.crt": testCA}, "app.kubernetes.io/managed-by", "Helm")
	m.auditConfig("mondoo-client", `
- {name: eu, kubeconfigSecretRef: {name: eu}, schedule: "7 * * * *", containerImageScanning: true, privateRegistriesPullSecretRef: {name: pull}}
- {name: us, serviceAccountAuth: {server: "https://us.example.com", credentialsSecretRef: {name: us}}}
- {name: tunnel, serviceAccountAuth: {server: "https://tunnel.example.com", credentialsSecretRef: {name: us}, skipTLSVerify: true}}
- {name: helm, serviceAccountAuth: {server: "https://helm.example.com", credentialsSecretRef: {name: helm}}}
- {name: vault, vaultAuth: {server: "https://v.example.com", vaultAddr: "https://vault.example.com", authRole: a, credsRole: c, targetCACertSecretRef: {name: spiffe}}}
- {name: spiffe, spiffeAuth: {server: "https://s.example.com", trustBundleSecretRef: {name: spiffe}}}`)

	m.imports("dry-run", exitOK, "dry", "--dry-run", "--secrets", "cluster")
	m.imports("inline", exitOK, "inline", "--secrets", "inline")
	m.imports("inline-check", exitOK, "inline", "--check")
	m.imports("check-json", exitOK, "inline", "--check", "-o", "json")
	m.imports("json", exitOK, "json", "-o", "json")
	m.noPlain()
	m.secret("eu", "", map[string]string{"kubeconfig": kubeconfig("renewed")})
	m.imports("inline-differs", exitFindings, "inline", "--check")
	m.secret("eu", "", map[string]string{"kubeconfig": kubeconfig("eu")})
	m.imports("git", exitOK, "clusters", "--sync", "production")
	m.imports("git-check", exitOK, "clusters", "--sync", "production", "--check")
	m.imports("again", exitOK, "clusters", "--sync", "production")
	m.noPlain()

	// What differs is told, value by value never.
	m.write("clusters/eu.yaml", strings.Replace(m.read("clusters/eu.yaml"), "7 * * * *", "8 * * * *", 1))
	m.imports("differs", exitFindings, "clusters", "--sync", "production")
	m.remove("clusters/us.yaml")
	m.secret("us", "", map[string]string{"token": canary + "-renewed", "ca.crt": testCA})
	m.imports("differs-check", exitFindings, "clusters", "--sync", "production", "--check")
	_, errs := m.look(exitFindings, "import", "clusters", "--check") // without the key, nothing is proved
	if !strings.Contains(errs, "eu.yaml") && !strings.Contains(errs, "secrets") {
		t.Errorf("without a key:\n%s", errs)
	}
	m.auditSync("known", nil, nil)
	m.imports("existing-sync", exitOK, "known", "--secrets", "cluster", "--sync", "known")
	m.write("sync.yaml", "apiVersion: muster.dev/v1alpha1\nkind: AuditSync\nmetadata: {name: from-file}\nspec: {path: ./filed, vaultAuth: {addresses: [https://other.example.com]}}\n")
	m.imports("sync-in-file", exitOK, "filed")
	m.remove("sync.yaml")
	check(t, os.Mkdir(filepath.Join(m.dir, "kustomized"), 0o700))
	m.write("kustomized/kustomization.yaml", "resources: []\n")
	m.imports("kustomized", exitOK, "kustomized")
	check(t, os.Mkdir(filepath.Join(m.dir, "half"), 0o700))
	m.write("half/us.yaml", "mine\n")
	m.imports("taken", exitFailure, "half")
	if m.read("half/us.yaml") != "mine\n" {
		t.Error("a file was overwritten")
	}
}

// TestImportShared writes what clusters have in common once. What is rendered equals the live entries in every layout.
func TestImportShared(t *testing.T) {
	m := startManagement(t)
	t.Chdir(m.dir)
	m.grant(readOnly("get", "list")...)
	m.write(".sops.yaml", "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: ^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$\n    age: "+m.key.Public()+"\n")
	m.commit()
	for _, name := range []string{"eu", "us", "asia", "lab"} {
		m.secret(name, "", map[string]string{"kubeconfig": kubeconfig(name)})
	}
	m.secret("pull", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": `{"auths":{"r.example.com":{"username":"robot","password":"` + canary + `"}}}`})
	const first = `
- {name: eu, kubeconfigSecretRef: {name: eu}, schedule: "7 * * * *", containerImageScanning: true, privateRegistriesPullSecretRef: {name: pull}, filtering: {namespaces: {exclude: ["kube-*"]}}}
- {name: us, kubeconfigSecretRef: {name: us}, schedule: "7 * * * *", containerImageScanning: true, privateRegistriesPullSecretRef: {name: pull}, filtering: {namespaces: {exclude: ["kube-*"]}}}
- {name: asia, kubeconfigSecretRef: {name: asia}, schedule: "7 * * * *", filtering: {}}`
	m.auditConfig("mondoo-client", first)

	m.imports("shared", exitOK, "clusters", "--share")
	m.imports("shared-check", exitOK, "clusters", "--check")
	m.golden("shared-component", m.read("clusters/shared/kustomization.yaml")+m.read("clusters/kustomization.yaml")+m.read("clusters/asia.yaml"))
	m.imports("shared-json", exitOK, "json", "--share", "-o", "json")
	m.imports("shared-json-check", exitOK, "json", "--check")
	m.imports("shared-inline", exitOK, "inline", "--share", "--secrets", "inline")
	m.imports("shared-inline-check", exitOK, "inline", "--check")
	m.noPlain()

	// A folder with a kustomization gets the component, and keeps the rest of the file. One without keeps its manifests.
	for _, dir := range []string{"overlay", "base", "manifests", "braces", "mine", "mine/shared"} {
		check(t, os.Mkdir(filepath.Join(m.dir, dir), 0o700))
	}
	m.write("base/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {fleet: muster}}]\n")
	m.write("overlay/kustomization.yaml", "# mine\nkind: Kustomization\ncomponents:\n  - ../base # common\nresources: []\n")
	m.imports("shared-overlay", exitOK, "overlay", "--share", "--secrets", "cluster")
	m.imports("shared-overlay-check", exitOK, "overlay", "--check")
	if got, want := m.read("overlay/kustomization.yaml"), "# mine\nkind: Kustomization\ncomponents:\n  - ../base # common\n  - shared\nresources: []\n"; got != want {
		t.Errorf("the kustomization is\n%s", got)
	}
	m.encrypted("manifests/other.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: other\nstringData:\n  token: "+canary+"\n")
	m.imports("shared-manifests", exitOK, "manifests", "--share")
	if got := m.read("manifests/kustomization.yaml"); !strings.Contains(got, "  - other.yaml\n") || !strings.Contains(got, "  - secrets/pull.yaml\n") {
		t.Errorf("the kustomization is\n%s", got)
	}

	m.imports("shared-config", exitOK, "config", "--share", "--secrets", "cluster", "--with-audit-configs")
	if got := m.read("config/kustomization.yaml"); !strings.Contains(got, "  - mondoo-client.auditconfig.yaml\n") {
		t.Errorf("the kustomization is\n%s", got)
	}
	m.imports("shared-config-check", exitOK, "config", "--check")

	// A link instead of the folder of the component is not followed. Nothing is written.
	check(t, os.Mkdir(filepath.Join(m.dir, "linked"), 0o700))
	check(t, os.Symlink("../.git", filepath.Join(m.dir, "linked", "shared")))
	m.imports("shared-linked", exitFindings, "linked", "--share", "--secrets", "cluster")
	if left, err := os.ReadDir(filepath.Join(m.dir, "linked")); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}

	// Clusters that are imported later fit in, with the flag and without.
	m.auditConfig("mondoo-client", first+`
- {name: lab, kubeconfigSecretRef: {name: lab}, schedule: "9 * * * *", filtering: {namespaces: {exclude: ["kube-*"]}}}`)
	m.imports("shared-later", exitOK, "clusters")
	if got := m.read("clusters/kustomization.yaml"); !strings.Contains(got, "  - secrets/lab.yaml\n") {
		t.Errorf("the kustomization is\n%s", got)
	}
	m.imports("shared-later-check", exitOK, "clusters", "--check")
	m.imports("shared-later-overlay", exitOK, "overlay", "--share", "--secrets", "cluster")
	m.imports("shared-later-overlay-check", exitOK, "overlay", "--check")

	// What is in the way. Nothing is written.
	m.remove("json/shared/kustomization.yaml")
	m.write("json/kustomization.yaml", "resources: []\n")
	m.imports("shared-taken", exitFailure, "json", "--share")
	m.write("braces/kustomization.yaml", "{kind: Kustomization}\n")
	m.imports("shared-braces", exitFailure, "braces", "--share")
	m.write("mine/kustomization.yaml", "components: [shared]\n")
	m.write("mine/shared/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {a: b}}]\n")
	m.imports("shared-mine", exitFailure, "mine", "--share")
	m.auditConfig("mondoo-client", `[{name: eu, kubeconfigSecretRef: {name: eu}, schedule: "7 * * * *"}]`)
	m.imports("shared-nothing", exitOK, "nothing", "--share", "--dry-run", "--secrets", "cluster")
	m.noPlain()
}

// TestImportOthers imports several audit configs with their manifests, what an AuditSync has already, Argo CD and Cluster API.
func TestImportOthers(t *testing.T) {
	m := startManagement(t)
	t.Chdir(m.dir)
	m.grant(readOnly("get", "list")...)
	m.write(".sops.yaml", "creation_rules:\n  - age: "+m.key.Public()+"\n    encrypted_regex: ^(data|stringData|kubeconfig|token|server|caCert)$\n    mac_only_encrypted: true\n")
	m.commit()
	m.secret("s", "", map[string]string{"kubeconfig": kubeconfig("s")})
	m.auditConfig("a", "[{name: eu, kubeconfigSecretRef: {name: s}}, {name: old, kubeconfigSecretRef: {name: s}}]")
	m.auditConfig("b", "[{name: us, kubeconfigSecretRef: {name: s}}]")
	m.imports("several", exitFailure, "both")
	m.imports("unknown-audit-config", exitFailure, "both", "--audit-config", "c")
	m.imports("with-audit-configs", exitOK, "both", "--with-audit-configs")
	m.imports("with-audit-configs-check", exitOK, "both", "--check")
	m.auditConfig("b", "[{name: us, kubeconfigSecretRef: {name: s}}, {name: eu, kubeconfigSecretRef: {name: s}}]")
	m.imports("same-name", exitFindings, "same", "--with-audit-configs")
	m.noPlain()

	data, err := (&inventory.Inventory{Sync: "other", AuditConfig: "a", Clusters: []inventory.Item{{Name: "old", Origin: "fleet/old.yaml", Hash: "x"}}}).Encode()
	check(t, err)
	m.apply(corev1.SchemeGroupVersion.WithResource("configmaps"), "muster", map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata":   map[string]any{"name": inventory.ConfigMapName("other", "a"), "labels": map[string]any{inventory.Label: "true"}},
		"binaryData": map[string]any{inventory.DataKey: data}})
	m.imports("owned", exitFindings, "one", "--audit-config", "a", "--secrets", "cluster")

	m.patchEnv("a")
	m.imports("environment", exitFailure, "env", "--with-audit-configs")

	m.imports("argocd-none", exitFailure, "argo", "--from", "argocd", "--from-namespace", testNamespace)
	m.secret("cluster-prod", "", map[string]string{"name": "Prod", "server": "https://prod.example.com", "config": `{"bearerToken": "` + canary + `"}`}, "argocd.argoproj.io/secret-type", "cluster")
	m.secret("cluster-exec", "", map[string]string{"name": "exec", "server": "https://exec.example.com", "config": `{"execProviderConfig": {"command": "argocd-k8s-auth"}}`}, "argocd.argoproj.io/secret-type", "cluster")
	m.imports("argocd", exitFindings, "argo", "--from", "argocd", "--from-namespace", testNamespace)
	m.secret("prod-kubeconfig", "cluster.x-k8s.io/secret", map[string]string{"value": kubeconfig("capi")})
	m.secret("prod-ca", "cluster.x-k8s.io/secret", map[string]string{"tls.key": canary})
	m.imports("capi", exitOK, "capi", "--from", "capi", "--from-namespace", testNamespace)
	m.noPlain()
}

// TestKeep: which live Secrets have another owner than the user.
func TestKeep(t *testing.T) {
	im := &importer{configs: []string{"mondoo-client"}, live: &state{Live: plan.Live{Reserved: map[string]string{"sops-keys": "the AuditSync production"}}}}
	for _, row := range []struct {
		reason string
		meta   metav1.ObjectMeta
		want   string
	}{
		{"the user's own", metav1.ObjectMeta{Name: "eu", Labels: map[string]string{"team": "platform"}}, ""},
		{"an AuditSync's keys", metav1.ObjectMeta{Name: "sops-keys"}, "the AuditSync production uses it"},
		{"made by Muster", metav1.ObjectMeta{Name: "mondoo-client-eu-kubeconfig-0123456789abcdef"}, "Muster makes Secrets of such names itself"},
		{"of another AuditSync", metav1.ObjectMeta{Name: "eu", Labels: map[string]string{"muster.dev/sync": "other"}}, "the AuditSync other manages it"},
		{"owned by a controller", metav1.ObjectMeta{Name: "eu", OwnerReferences: []metav1.OwnerReference{{Kind: "ExternalSecret", Name: "x"}}}, "the ExternalSecret x owns it, and would write it again"},
		{"of a Helm release", metav1.ObjectMeta{Name: "eu", Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}}, "Helm manages it (label app.kubernetes.io/managed-by)"},
		{"the operator's", metav1.ObjectMeta{Name: "mondoo-client-private-registries-merged"}, "the operator makes it"},
	} {
		if got := im.keep(&corev1.Secret{ObjectMeta: row.meta}); got != row.want {
			t.Errorf("%s: %q, want %q", row.reason, got, row.want)
		}
	}
}

// TestFindSync: whose commands are printed.
func TestFindSync(t *testing.T) {
	file := func(name, path string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: AuditSync\nmetadata: {name: '" + name + "'}\nspec: {path: '" + path + "'}\n"
	}
	live := func(name, path string) map[string]*v1alpha1.AuditSync {
		audit := &v1alpha1.AuditSync{Spec: v1alpha1.AuditSyncSpec{Path: path}}
		audit.Name = name
		return map[string]*v1alpha1.AuditSync{name: audit}
	}
	for _, row := range []struct {
		reason, given, file string
		live                map[string]*v1alpha1.AuditSync
		path                string
		want                string
		exists              bool
	}{
		{"none", "", "", nil, "clusters/prod", "prod", false},
		{"none, and a folder without a usable name", "", "", nil, ".", "fleet", false},
		{"given, and there is none", "mine", file("prod", "./clusters"), live("prod", "./clusters"), "clusters", "mine", false},
		{"in a file with this path", "", file("from-file", "./clusters/"), nil, "clusters", "from-file", true},
		{"in a file with another path", "", file("from-file", "./other"), nil, "clusters", "clusters", false},
		{"a file with a name that would be a command", "", file("x; reboot", "./clusters"), nil, "clusters", "clusters", false},
		{"live with this path", "", "", live("prod", "./clusters"), "clusters", "prod", true},
		{"live counts", "", file("from-file", "./clusters"), live("prod", "./clusters"), "clusters", "prod", true},
	} {
		im := &importer{folder: &folder{target: &target{path: row.path, repository: &repository{fs: fstest.MapFS{"sync.yaml": {Data: []byte(row.file)}}}}}, live: &state{syncs: row.live}}
		im.opts.Sync = row.given
		im.findSync()
		if im.opts.Sync != row.want || (im.existing != nil) != row.exists {
			t.Errorf("%s: %s, %t", row.reason, im.opts.Sync, im.existing != nil)
		}
	}
}

// TestNeeds: what the AuditSync has to allow. The value of a field that Muster doesn't know may be anything, and is not repeated.
func TestNeeds(t *testing.T) {
	im := &importer{configs: []string{"a"}, live: &state{Live: plan.Live{AuditConfigs: map[string]map[string]any{"a": {"spec": map[string]any{
		"mondooCredsSecretRef": map[string]any{"name": "creds"}, "newField": canary, "scanner": map[string]any{"serviceAccountName": "scanner", "env": []any{map[string]any{"name": "A", "value": canary}}},
		"kubernetesResources": map[string]any{"externalClusters": []any{
			map[string]any{"name": "v", "vaultAuth": map[string]any{"vaultAddr": "https://Vault.example.com:443/"}},
			map[string]any{"name": "w", "vaultAuth": map[string]any{"vaultAddr": "not an address"}}}}}}}}}}
	need := im.needs([]string{"a"})
	if got := strings.Join(append(need.vaults, need.fields...), "\n"); got != "https://vault.example.com\nmondooCredsSecretRef=creds\nnewField\nscanner.env\nscanner.serviceAccountName=scanner" {
		t.Errorf("got\n%s", got)
	}
	if need := im.needs(nil); len(need.fields) > 0 {
		t.Errorf("an audit config that stays live needs %v", need.fields)
	}
}

func TestOriginURL(t *testing.T) {
	for address, want := range map[string]string{
		"": "https://git.example.com/REPLACE/REPLACE.git",
		"https://ada:" + canary + "@h.example/a.git": "https://h.example/a.git",
		"git@h.example:platform/fleet.git":           "ssh://git@h.example/platform/fleet.git",
		"ssh://git:" + canary + "@h.example/a":       "ssh://git@h.example/a",
		"/srv/git/a.git":                             "https://git.example.com/REPLACE/REPLACE.git",
		"ext::sh -c x":                               "https://git.example.com/REPLACE/REPLACE.git",
	} {
		dir := t.TempDir()
		repo, err := git.PlainInit(dir, false)
		check(t, err)
		if address != "" {
			_, err = repo.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{address}})
			check(t, err)
		}
		im := &importer{folder: &folder{target: &target{repository: &repository{root: dir}}}}
		if got := im.originURL(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// imports runs muster import for a folder of the repository, which is the working directory, and compares with a golden file.
func (m *management) imports(golden string, want int, folder string, flags ...string) {
	m.Helper()
	out, errs := m.look(want, append([]string{"import", folder, "--sops-key", m.keyFile}, flags...)...)
	text := strings.ReplaceAll("stdout:\n"+out+"stderr:\n"+errs, m.as, "KUBECONFIG")
	m.golden(golden, regexp.MustCompile(`age1[a-z0-9]{58}`).ReplaceAllString(text, "RECIPIENT"))
}

// golden compares a text with a golden file.
func (m *management) golden(golden, text string) {
	m.Helper()
	name := filepath.Join(goldens, golden+".golden")
	if *update {
		check(m.T, os.WriteFile(name, []byte(text), 0o600))
	}
	expected, err := os.ReadFile(name)
	check(m.T, err)
	if string(expected) != text {
		m.Errorf("%s: got\n%s\nwant\n%s", golden, text, expected)
	}
}

// goldens is the folder of golden files. Tests change the working directory.
var goldens = func() string {
	dir, err := filepath.Abs(filepath.Join("testdata", "import"))
	if err != nil {
		panic(err)
	}
	return dir
}()

func (m *management) read(name string) string {
	m.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	check(m.T, err)
	return string(data)
}

// noPlain looks for a secret in the whole repository.
func (m *management) noPlain() {
	m.Helper()
	check(m.T, filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if form := leak(string(data)); form != "" {
			m.Errorf("%s has a secret (%s)", path, form)
		}
		return err
	}))
}

func (m *management) secret(name, kind string, data map[string]string, label ...string) {
	m.Helper()
	object := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name}, "stringData": data}
	if kind != "" {
		object["type"] = kind
	}
	if len(label) == 2 {
		object["metadata"].(map[string]any)["labels"] = map[string]any{label[0]: label[1]}
	}
	m.apply(corev1.SchemeGroupVersion.WithResource("secrets"), "somebody", object)
}

func (m *management) auditConfig(name, entries string) {
	m.Helper()
	var list []any
	check(m.T, yaml.Unmarshal([]byte(entries), &list))
	m.apply(auditConfigs, "somebody", map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}, "scanner": map[string]any{"serviceAccountName": "scanner"},
			"kubernetesResources": map[string]any{"enable": true, "schedule": "3 * * * *", "externalClusters": list}}})
}

// patchEnv gives an audit config a password in plain text.
func (m *management) patchEnv(name string) {
	m.Helper()
	live, err := m.dynamic.Resource(auditConfigs).Namespace(testNamespace).Get(m.Context(), name, metav1.GetOptions{})
	check(m.T, err)
	data, err := json.Marshal([]any{map[string]any{"name": "PROXY_PASSWORD", "value": canary}})
	check(m.T, err)
	var env []any
	check(m.T, json.Unmarshal(data, &env))
	live.Object["spec"].(map[string]any)["scanner"].(map[string]any)["env"] = env
	_, err = m.dynamic.Resource(auditConfigs).Namespace(testNamespace).Update(m.Context(), live, metav1.UpdateOptions{})
	check(m.T, err)
}
