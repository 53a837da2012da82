package controllers_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// TestSSH follows a repository over SSH.
func TestSSH(t *testing.T) {
	w := newWorld(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	authorized, err := ssh.NewPublicKey(public)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	git, err := server.StartGitSSH(t.Context(), server.GitSSHOptions{AuthorizedKey: authorized})
	must(t, err)
	url, err := git.CreateRepository(t.Context(), "fleet")
	must(t, err)
	path, err := git.RepositoryPath("fleet")
	must(t, err)
	w.git("remote", "set-url", "origin", path)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.createSecret("fleet-ssh", map[string]string{"identity": string(pem.EncodeToMemory(block)), "known_hosts": git.KnownHosts()})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.URL = url
		s.Spec.Source.SecretRef = &v1alpha1.SecretRef{Name: "fleet-ssh"}
	})
	w.untilReady(commit)

	secret := w.secret("fleet-ssh")
	secret.Data["known_hosts"] = []byte(strings.Replace(git.KnownHosts(), "AAAA", "AAAB", 1))
	must(t, w.admin.Update(t.Context(), secret))
	w.until("the host key is not trusted", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionFetched).Status == metav1.ConditionFalse
	})
}

// TestRefs follows tags, versions and commits.
func TestRefs(t *testing.T) {
	w := newWorld(t)
	first := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.git("tag", "-a", "v1.0.0", "-m", "one")
	second := w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
	w.git("tag", "v1.2.0")
	third := w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
	w.git("tag", "v2.0.0")
	w.git("push", "-q", "origin", "--tags")
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.Ref = &v1alpha1.Ref{SemVer: ">=1.0.0 <2.0.0"}
		s.Spec.Prune.MaxRemovals = percent("100%")
	})
	w.untilReady(second)
	for _, test := range []struct {
		ref    v1alpha1.Ref
		commit string
	}{
		{v1alpha1.Ref{Tag: "v1.0.0"}, first},
		{v1alpha1.Ref{Branch: "main"}, third},
		{v1alpha1.Ref{Branch: "main", Commit: second}, second},
	} {
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Source.Ref = &test.ref })
		w.untilReady(test.commit)
	}
}

// TestOperatorComesLater starts in a cluster that doesn't know audit configs yet.
func TestOperatorComesLater(t *testing.T) {
	bareControlPlane(t)
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.until("the operator is missed", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReady).Reason == "OperatorMissing"
	})
	must(t, server.InstallCRDs(t.Context(), plane.Config(), server.MondooAuditConfigCRD()))
	w.untilReady(commit)
	w.edit(`{"spec":{"kubernetesResources":{"externalClusters":[]}}}`)
	w.eventually("drift is noticed", func() bool { return len(w.entries("mondoo-client")) == 1 })
	w.untilReady(commit)
	w.stopController()
}

// TestTwoReplicas runs two controllers, of which one works; the other goes on when the first stops.
func TestTwoReplicas(t *testing.T) {
	w := newWorld(t)
	w.grantLease()
	start := func() (stop func()) {
		cfg, err := plane.User(w.user, "system:serviceaccounts")
		must(t, err)
		return w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: t.TempDir(), Concurrency: 1,
			Registry: prometheus.NewRegistry(), LeaderElection: true, LeaderElectionNamespace: w.namespace})
	}
	mark := w.mark()
	stopFirst, stopSecond := start(), start()
	defer func() { stopSecond() }()
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.createSync(nil)
	w.untilReady(commit)
	requests := w.requests(mark)
	var secrets int
	for _, r := range requests {
		if r.Writes() && r.Resource == "secrets" {
			secrets++
		}
	}
	if secrets != 1 {
		t.Errorf("%d writes of one Secret: both replicas have worked", secrets)
	}
	stopFirst()
	commit = w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1alpha1.AnnotationReconcile, "after the change of leaders")
	})
	w.untilReady(commit)
}

// TestNothingLeaks goes through a good commit and many bad ones with a canary in every secret, and looks for it in everything
// that leaves the process.
func TestNothingLeaks(t *testing.T) {
	w := newForgeWorld(t, forge.Gitea, time.Now)
	registry := prometheus.NewRegistry()
	cfg, err := plane.User(w.user, "system:serviceaccounts")
	must(t, err)
	defer w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.cacheDir, Concurrency: 1,
		Registry: registry})()
	w.commit(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.createSync(func(s *v1alpha1.AuditSync) {
		w.withForge(forge.Gitea)(s)
		s.Spec.Prune.MaxRemovals = percent("100%")
	})
	w.request()
	bad := map[string]string{
		"token with a line break": w.encryptedCluster("serviceAccountAuth:\n    server: https://x.example.com\n    token: \"CANARY-token\\nline\"\n    caCert: none"),
		"exec plugin":             w.encryptedCluster("kubeconfig: |\n    apiVersion: v1\n    kind: Config\n    current-context: CANARY-context\n    users: [{name: u, user: {exec: {command: CANARY-command}}}]"),
		"no kubeconfig":           w.encryptedCluster("kubeconfig: CANARY-no-kubeconfig-at-all"),
		"plain token":             "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec:\n  serviceAccountAuth: {server: https://x.example.com, token: CANARY-plain-token}\n",
		"plain Secret":            "apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\nstringData: {password: CANARY-plain-password}\n",
		"half a file":             "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nspec:\n  kubeconfig: \"CANARY-half\n  token: [\n",
		"a wrong type":            "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec:\n  kubeconfig: [CANARY-in-a-list]\n",
		"an unknown field":        "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec:\n  CANARY-field: CANARY-value\n",
		"a tampered value":        strings.Replace(w.tokenCluster("bad", ""), "data:", "data:AAAA", 1),
		"no base64":               w.key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\ndata: {password: CANARY-no-base64!}\n", sealtest.Credentials),
		"another recipient":       sealtest.NewKey(t).Encrypt(t, "c.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec: {kubeconfig: CANARY-of-others}\n", sealtest.Credentials),
		"kustomization":           "resources: [CANARY://user:CANARY@x/y]\nsecretGenerator: [{name: s, literals: [password=CANARY-literal]}]\nunknown: CANARY-x\n",
	}
	for reason, content := range bad {
		name := "clusters/bad.yaml"
		if reason == "kustomization" {
			name = "clusters/kustomization.yaml"
		}
		w.commit(map[string]string{name: content})
		if status := w.request().Status; len(status.Problems) == 0 {
			t.Errorf("%s: no problem was found", reason)
		}
		w.commit(nil, name)
	}
	secret := w.secret(tokenSecret("eu"))
	secret.Data["token"] = []byte("CANARY-drift")
	must(t, w.admin.Update(t.Context(), secret))
	w.request()
	w.forge.AnswerWith(echo)
	w.commit(map[string]string{"README.md": "Fleet\n"})
	w.request()
	refused := w.until("the forge refuses", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Reason == "TokenRefused"
	})

	outputs := map[string]string{"logs": logs.String(), "metrics": exposition(t, registry), "status": toJSON(t, w.sync()), "audit config": toJSON(t, w.auditConfig("mondoo-client")),
		"statuses": toJSON(t, w.forge.Posts()), "refusal": toJSON(t, refused)}
	var events eventsv1.EventList
	must(t, w.admin.List(t.Context(), &events, client.InNamespace(w.namespace)))
	outputs["events"] = toJSON(t, events)
	var configMaps corev1.ConfigMapList
	must(t, w.admin.List(t.Context(), &configMaps, client.InNamespace(w.namespace)))
	for _, c := range configMaps.Items {
		outputs["ConfigMap "+c.Name] = toJSON(t, c)
		for _, data := range c.BinaryData {
			if zip, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
				text, err := io.ReadAll(zip)
				must(t, err)
				outputs["inventory "+c.Name] = string(text)
			}
		}
	}
	if len(outputs["events"]) < 100 || !strings.Contains(outputs["logs"], "sync changed") || !strings.Contains(outputs["metrics"], "muster_clusters") || len(configMaps.Items) == 0 ||
		!strings.Contains(outputs["statuses"], "can't be used") || !strings.Contains(outputs["refusal"], "no access with") {
		t.Fatalf("something is missing among the outputs: %v", slices.Collect(keysOf(outputs)))
	}
	encoded := base64.RawStdEncoding.EncodeToString([]byte("CANARY"))
	for name, text := range outputs {
		for _, form := range []string{"CANARY", encoded} {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s hold a secret: …%s…", name, text[max(0, i-150):min(len(text), i+100)])
			}
		}
	}
}

// encryptedCluster is a cluster file with an encrypted spec.
func (w *world) encryptedCluster(spec string) string {
	w.Helper()
	return w.key.Encrypt(w.T, "bad.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: bad\nspec:\n  "+spec+"\n", sealtest.Credentials)
}

// logs is all that the controllers of this process have logged.
var logs buffer

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

func exposition(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	var out bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&out, f)
		must(t, err)
	}
	return out.String()
}

func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
