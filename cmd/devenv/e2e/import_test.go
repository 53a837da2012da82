package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// importCanary is in every credential of the hand-made Secrets.
const importCanary = "CANARY-import-91c4e"

// TestImport takes a hand-made audit config with every method over: import, the printed commands, and a first sync that writes only
// labels, annotations and the inventory. That holds when clusters share what they have in common, too.
func TestImport(t *testing.T) {
	t.Run("each on its own", func(t *testing.T) { takeOver(t, handMadeConfig) })
	t.Run("shared", func(t *testing.T) {
		common := `"filtering": {"namespaces": {"exclude": ["kube-*", "build"]}}, "schedule": "11 */3 * * *", "name"`
		config := handMadeConfig
		for _, name := range []string{"insecure", "renewed", "absent", "gke", "eks", "aks", "spiffe", "vault"} {
			config = strings.Replace(config, `{"name": "`+name+`", "`, `{`+common+`: "`+name+`", "`, 1)
		}
		m := takeOver(t, config, "--share")
		component, err := os.ReadFile(filepath.Join(m.work, "clusters", "shared", "kustomization.yaml"))
		must(t, err)
		if text := string(component); !strings.Contains(text, "/spec/filtering") || !strings.Contains(text, "11 */3 * * *") || strings.Count(text, "path: /spec/") != 2 {
			t.Errorf("the component is\n%s", text)
		}
		file, err := os.ReadFile(filepath.Join(m.work, "clusters", "spiffe.yaml"))
		must(t, err)
		if text := string(file); strings.Contains(text, "schedule") || strings.Contains(text, "filtering") {
			t.Errorf("a cluster repeats what is shared:\n%s", text)
		}
	})
}

func takeOver(t *testing.T, config string, flags ...string) *migration {
	t.Helper()
	w := newWorld(t, true)
	standIn, err := operator.Start(t.Context(), w.plane.Config(), operator.Options{Namespace: namespace, Takes: 10 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { must(t, standIn.Stop()) })
	m := newMigration(w, config)
	m.commit(map[string]string{".sops.yaml": "creation_rules:\n  - mac_only_encrypted: true\n" +
		"    encrypted_regex: ^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$\n    age: " + w.key.Public() + "\n"})

	script, notes := m.muster(1, append([]string{"import", "clusters", "-n", namespace, "--sync", syncName}, flags...)...)
	for _, text := range []string{"cluster two-methods: it is left out", "the Secret renewed stays in the cluster alone: the ConfigMap owner owns it", "the Secret absent doesn't exist",
		"the Secret ca stays in the cluster alone: Muster would refuse it in Git"} {
		if !strings.Contains(notes, text) {
			t.Errorf("%q is not told:\n%s", text, notes)
		}
	}
	m.noCanaryOnDisk()
	m.removeEntry("two-methods") // what import asks for
	out, _ := m.muster(0, "import", "clusters", "--check", "--sync", syncName)
	if !strings.Contains(out, "no differences") || !strings.Contains(out, "annotate secret") {
		t.Errorf("the check says:\n%s", out)
	}
	again, _ := m.muster(0, append([]string{"import", "clusters", "-n", namespace, "--sync", syncName}, flags...)...)
	if again != "" {
		t.Errorf("a second import prints:\n%s", again)
	}

	before := m.state()
	m.run(script)
	labelled := m.state()
	mark, err := w.plane.Mark()
	must(t, err)
	w.startController(scanstate.Bounds{})
	w.eventually("the first sync", func() bool { return meta.IsStatusConditionTrue(w.audit().Status.Conditions, v1alpha1.ConditionApplied) })
	m.onlyLabels(before, m.state())
	m.writes(mark, labelled)
	out, _ = m.muster(0, "import", "clusters", "--check", "--sync", syncName)
	if !strings.Contains(out, "A sync has nothing to write.") {
		t.Errorf("after the sync, the check says:\n%s", out)
	}
	return m
}

// migration is a hand-made audit config that moves to Git.
type migration struct {
	*world
	bin string // a folder with muster and kubectl
}

func newMigration(w *world, config string) *migration {
	w.Helper()
	m := &migration{world: w, bin: w.TempDir()}
	build := exec.CommandContext(w.Context(), "go", "build", "-o", filepath.Join(m.bin, "muster"), "../../muster")
	if out, err := build.CombinedOutput(); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	kubectl, err := server.Binary(w.Context(), server.Kubectl, os.Stderr)
	must(w, err)
	must(w, os.Symlink(kubectl, filepath.Join(m.bin, "kubectl")))
	m.byHand(config)
	return m
}

// byHand makes the Secrets and the audit config as a user did, and waits for the operator.
func (m *migration) byHand(audit string) {
	m.Helper()
	ca := string(m.plane.CACert())
	if block, _ := pem.Decode([]byte(ca)); block == nil {
		m.Fatal("the CA is not PEM")
	}
	kubeconfig := strings.NewReplacer("CA", base64.StdEncoding.EncodeToString([]byte(ca)), "TOKEN", importCanary+"-kubeconfig").Replace(
		"apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://kc.example.com', certificate-authority-data: CA}}]\n" +
			"users: [{name: u, user: {token: TOKEN}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
	auth := base64.StdEncoding.EncodeToString([]byte("robot:" + importCanary + "-registry"))
	m.handMade("eu-kubeconfig", "", map[string]string{"kubeconfig": kubeconfig, "extra": importCanary + "\r\nwindows"})
	m.handMade("eu-token", "", map[string]string{"token": importCanary + "-token", "ca.crt": ca})
	m.handMade("shared-ca", "", map[string]string{"ca.crt": ca})
	m.handMade("pull", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": `{"auths":{"registry.example.com":{"auth":"` + auth + `"}}}`})
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "owner"}}
	must(m, m.admin.Create(m.Context(), owner))
	must(m, m.admin.Create(m.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "renewed",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}},
		StringData: map[string]string{"token": importCanary + "-renewed", "ca.crt": ca}}))

	config := &unstructured.Unstructured{}
	must(m, json.Unmarshal([]byte(audit), &config.Object))
	config.SetNamespace(namespace)
	must(m, m.admin.Create(m.Context(), config, client.FieldOwner("kubectl-create")))
	m.eventuallyCrons(10)
}

func (m *migration) eventuallyCrons(n int) {
	m.Helper()
	for deadline := time.Now().Add(patience); len(m.state().crons) < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.Fatalf("CronJobs: %v", slices.Sorted(maps.Keys(m.state().crons)))
		}
	}
}

func (m *migration) handMade(name, kind string, data map[string]string) {
	m.Helper()
	must(m, m.admin.Create(m.Context(), &corev1.Secret{Type: corev1.SecretType(kind), StringData: data, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		Labels: map[string]string{"team": "platform"}, Annotations: map[string]string{"example.com/owner": "ada"}}}))
}

// handMadeConfig has every method, by reference, and one entry that Muster can't import.
const handMadeConfig = `{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig",
"metadata": {"name": "mondoo-client", "labels": {"team": "platform"}, "annotations": {"example.com/owner": "ada"}},
"spec": {"mondooCredsSecretRef": {"name": "mondoo-client"}, "kubernetesResources": {"enable": true, "schedule": "10 * * * *", "externalClusters": [
  {"name": "kubeconfig", "kubeconfigSecretRef": {"name": "eu-kubeconfig"}, "schedule": "7 */2 * * *", "filtering": {}},
  {"name": "token", "serviceAccountAuth": {"server": "https://token.example.com:6443", "credentialsSecretRef": {"name": "eu-token"}},
   "filtering": {"namespaces": {"exclude": ["kube-*"]}}, "containerImageScanning": true, "repositories": {"include": ["registry.example.com/*"]}, "privateRegistriesPullSecretRef": {"name": "pull"}},
  {"name": "insecure", "serviceAccountAuth": {"server": "https://insecure.example.com", "credentialsSecretRef": {"name": "eu-token"}, "skipTLSVerify": true}},
  {"name": "renewed", "serviceAccountAuth": {"server": "https://renewed.example.com", "credentialsSecretRef": {"name": "renewed"}}},
  {"name": "absent", "kubeconfigSecretRef": {"name": "absent"}},
  {"name": "gke", "workloadIdentity": {"provider": "gke", "gke": {"projectId": "example-project", "clusterName": "g", "clusterLocation": "europe-west1", "googleServiceAccount": "scanner@example-project.iam.gserviceaccount.com"}}},
  {"name": "eks", "workloadIdentity": {"provider": "eks", "eks": {"region": "eu-central-1", "clusterName": "e", "roleArn": "arn:aws:iam::123456789012:role/scanner"}}},
  {"name": "aks", "workloadIdentity": {"provider": "aks", "aks": {"subscriptionId": "11111111-1111-1111-1111-111111111111", "resourceGroup": "rg", "clusterName": "a", "clientId": "22222222-2222-2222-2222-222222222222", "tenantId": "33333333-3333-3333-3333-333333333333"}}},
  {"name": "spiffe", "spiffeAuth": {"server": "https://spiffe.example.com", "trustBundleSecretRef": {"name": "shared-ca"}, "audience": "k8s"}},
  {"name": "vault", "vaultAuth": {"server": "https://vault-target.example.com", "vaultAddr": "https://vault.example.com:8200", "authRole": "mondoo", "credsRole": "scanner", "ttl": "90m", "caCertSecretRef": {"name": "shared-ca"}, "targetCACertSecretRef": {"name": "ca"}}},
  {"name": "two-methods", "kubeconfigSecretRef": {"name": "x"}, "spiffeAuth": {"server": "https://two.example.com", "trustBundleSecretRef": {"name": "shared-ca"}}}
]}}}`

// muster runs the command in the work tree.
func (m *migration) muster(want int, args ...string) (stdout, stderr string) {
	m.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(m.Context(), filepath.Join(m.bin, "muster"), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = m.work, m.env(), &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != want {
		m.Errorf("muster %s: exit %d, want %d (%v)\n%s%s", strings.Join(args, " "), got, want, err, out.String(), errs.String())
	}
	if text := out.String() + errs.String(); strings.Contains(text, importCanary) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(importCanary))[:20]) {
		m.Errorf("muster %s shows a secret:\n%s", strings.Join(args, " "), text)
	}
	m.Logf("muster %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	return out.String(), errs.String()
}

func (m *migration) env() []string {
	return append(os.Environ(), "PATH="+m.bin+":"+os.Getenv("PATH"), "KUBECONFIG="+m.plane.KubeconfigPath(), "SOPS_AGE_KEY="+m.key.Private(), "NO_COLOR=1",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "TMPDIR="+m.TempDir(), "HOME="+m.TempDir())
}

// run runs the printed commands as they are, but for the key, which the world has made.
func (m *migration) run(script string) {
	m.Helper()
	var lines []string
	for line := range strings.Lines(script) {
		if !strings.Contains(line, "create secret generic sops-keys") {
			lines = append(lines, strings.Replace(line, "git push\n", "git push -q origin main\n", 1))
		}
	}
	cmd := exec.CommandContext(m.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(lines, ""))
	cmd.Dir, cmd.Env = m.work, m.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%v\n%s\n%s", err, script, out)
	}
}

// noCanaryOnDisk looks for a credential in the work tree and in the folders for temporary files.
func (m *migration) noCanaryOnDisk() {
	m.Helper()
	for _, dir := range []string{m.work, filepath.Dir(m.TempDir())} {
		must(m, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.HasPrefix(path, m.bin) {
				return err
			}
			if strings.Contains(string(data), importCanary) || strings.Contains(string(data), base64.StdEncoding.EncodeToString([]byte(importCanary))[:20]) {
				m.Errorf("%s has a secret in plain text", path)
			}
			return err
		}))
	}
}

func (m *migration) removeEntry(name string) {
	m.Helper()
	config := m.config()
	entries, err := mondoo.Entries(config.Object)
	must(m, err)
	must(m, mondoo.SetEntries(config.Object, slices.DeleteFunc(entries, func(e map[string]any) bool { return e["name"] == name })))
	must(m, m.admin.Update(m.Context(), config))
}

// objects are the state that must survive.
type objects struct {
	secrets map[string]corev1.Secret
	crons   map[string]batchv1.CronJob
	config  string // the resourceVersion
}

func (m *migration) state() objects {
	m.Helper()
	o := objects{secrets: map[string]corev1.Secret{}, crons: map[string]batchv1.CronJob{}, config: m.config().GetResourceVersion()}
	var secrets corev1.SecretList
	must(m, m.admin.List(m.Context(), &secrets, client.InNamespace(namespace)))
	for _, s := range secrets.Items {
		o.secrets[s.Name] = s
	}
	var crons batchv1.CronJobList
	must(m, m.admin.List(m.Context(), &crons, client.InNamespace(namespace)))
	for _, c := range crons.Items {
		o.crons[c.Labels[mondoo.LabelCluster]] = c
	}
	return o
}

// onlyLabels compares what was with what is.
func (m *migration) onlyLabels(before, after objects) {
	m.Helper()
	for name, was := range before.secrets {
		is, exists := after.secrets[name]
		if !exists || is.UID != was.UID || !equality.Semantic.DeepEqual(is.Data, was.Data) || is.Type != was.Type {
			m.Errorf("the Secret %s has changed", name)
		}
		for key, value := range was.Labels {
			if is.Labels[key] != value {
				m.Errorf("the Secret %s lost its label %s", name, key)
			}
		}
		for key, value := range was.Annotations {
			if is.Annotations[key] != value {
				m.Errorf("the Secret %s lost its annotation %s", name, key)
			}
		}
	}
	for _, name := range []string{"eu-kubeconfig", "eu-token", "shared-ca", "pull"} {
		if after.secrets[name].Labels[fleet.LabelSync] != syncName {
			m.Errorf("the Secret %s is not taken over: %v", name, after.secrets[name].Labels)
		}
	}
	if len(after.secrets) != len(before.secrets) || len(after.crons) != len(before.crons) {
		m.Errorf("%d Secrets and %d CronJobs, before %d and %d", len(after.secrets), len(after.crons), len(before.secrets), len(before.crons))
	}
	for name, was := range before.crons {
		if is := after.crons[name]; is.UID != was.UID || is.Generation != was.Generation || !equality.Semantic.DeepEqual(is.Spec, was.Spec) {
			m.Errorf("the CronJob of %s has changed", name)
		}
	}
	if after.config != before.config {
		m.Errorf("the audit config was written: %s, before %s", after.config, before.config)
	}
}

// writes holds what the controller has written: each Secret once, the inventory, and its own AuditSync, events and leases.
func (m *migration) writes(since server.Mark, before objects) {
	m.Helper()
	requests, err := m.plane.Requests(m.Context(), since, user)
	must(m, err)
	secrets := map[string]int{}
	for _, r := range requests {
		switch {
		case !r.Writes() || r.Group == "events.k8s.io" || r.Resource == "events" || r.Resource == "leases" || r.Resource == "auditsyncs":
		case r.Resource == "secrets" && r.Verb == "patch" && before.secrets[r.Name].UID != "":
			secrets[r.Name]++
		case r.Resource == "configmaps" && strings.HasPrefix(r.Name, "muster-"):
		default:
			m.Errorf("the first sync wrote %s", r)
		}
	}
	if fmt.Sprint(secrets) != fmt.Sprint(map[string]int{"eu-kubeconfig": 1, "eu-token": 1, "pull": 1, "shared-ca": 1}) {
		m.Errorf("the first sync wrote the Secrets %v", secrets)
	}
}
