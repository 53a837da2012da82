package controllers_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// patience is how long a test waits for what should take well under a second.
const patience = 90 * time.Second

var (
	plane     *server.ControlPlane
	gitServer *server.Git
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		return m.Run() // without servers, and without the tests that need one
	}
	ctx := context.Background()
	// It can be set once in a process, and soon after the start.
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	var err error
	if plane, err = server.StartControlPlane(ctx, server.ControlPlaneOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer plane.Stop() //nolint:errcheck // the process ends
	if gitServer, err = server.StartGit(ctx, server.GitOptions{Username: "muster", Password: gitPassword}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer gitServer.Stop() //nolint:errcheck // the process ends
	if err = installAuditSync(ctx, plane); err == nil {
		err = server.InstallCRDs(ctx, plane.Config(), server.MondooAuditConfigCRD())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// installAuditSync installs the CRD that is shipped.
func installAuditSync(ctx context.Context, plane *server.ControlPlane) error {
	crd, err := os.ReadFile("../config/crd/muster.dev_auditsyncs.yaml")
	if err != nil {
		return err
	}
	return server.InstallCRDs(ctx, plane.Config(), crd)
}

// bareControlPlane gives a test a control plane of its own, which doesn't know audit configs.
func bareControlPlane(t *testing.T) {
	t.Helper()
	server.SkipShort(t)
	bare, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{})
	must(t, err)
	must(t, installAuditSync(t.Context(), bare))
	shared := plane
	plane = bare
	t.Cleanup(func() { plane = shared })
}

const (
	gitPassword = "CANARY-git-password-41c0ffee"
	syncName    = "production"
)

// T is a test or a benchmark.
type T = testing.TB

// world is a namespace, a repository, and a controller that may be started and stopped.
type world struct {
	T
	admin     client.Client
	namespace string
	url, work string
	key       *sealtest.Key
	user      string
	cacheDir  string
	ca        []byte // of the webhooks' receiver
	traffic   traffic
	stop      func()
}

var worlds atomic.Int32

// newWorld makes a namespace with the Secrets and the Role that Muster needs, and an empty repository.
func newWorld(t T) *world {
	t.Helper()
	server.SkipShort(t)
	scheme, err := controllers.Scheme()
	must(t, err)
	must(t, rbacv1.AddToScheme(scheme))
	admin, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	must(t, err)
	w := &world{T: t, admin: admin, namespace: fmt.Sprintf("mondoo-%d", worlds.Add(1)), key: sealtest.NewKey(t), work: t.TempDir(), cacheDir: t.TempDir()}
	w.user = "system:serviceaccount:" + w.namespace + ":muster"
	ctx := t.Context()
	must(t, admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	w.url, err = gitServer.CreateRepository(ctx, w.namespace)
	must(t, err)
	w.grant()
	w.createSecret("fleet-git", map[string]string{"username": "muster", "password": gitPassword})
	w.createSecret("mondoo-client", map[string]string{"config": "{}"})
	w.createSecret("sops-keys", map[string]string{"age.agekey": w.key.Private()})
	w.git("init", "-q", "-b", "main", ".")
	w.git("config", "user.name", "Test")
	w.git("config", "user.email", "test@example.com")
	w.git("remote", "add", "origin", strings.Replace(w.url, "://", "://muster:"+gitPassword+"@", 1))
	t.Cleanup(w.stopController)
	return w
}

// newWorldKey is the private key of somebody else.
func newWorldKey(t *testing.T) string {
	t.Helper()
	return sealtest.NewKey(t).Private()
}

func percent(text string) *intstr.IntOrString {
	value := intstr.FromString(text)
	return &value
}

func (w *world) createSecret(name string, data map[string]string) {
	w.Helper()
	must(w.T, w.admin.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}))
}

// git runs the real git in the work tree.
func (w *world) git(args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "git", args...)
	cmd.Dir = w.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits files (nil content removes one) and pushes. It returns the commit.
func (w *world) push(files map[string]string, remove ...string) string {
	w.Helper()
	for name, content := range files {
		path := filepath.Join(w.work, name)
		must(w.T, os.MkdirAll(filepath.Dir(path), 0o755))
		must(w.T, os.WriteFile(path, []byte(content), 0o644))
	}
	for _, name := range remove {
		must(w.T, os.RemoveAll(filepath.Join(w.work, name)))
	}
	w.git("add", "-A")
	w.git("commit", "-q", "--allow-empty", "-m", "change")
	w.git("push", "-q", "--force", "origin", "HEAD:main")
	return w.git("rev-parse", "HEAD")
}

// startController runs a controller as the user with the shipped Role. The transport, which may be nil, stands between it
// and the API server.
func (w *world) startController(wrap func(http.RoundTripper) http.RoundTripper) {
	w.Helper()
	cfg, err := plane.User(w.user, "system:serviceaccounts", "system:serviceaccounts:"+w.namespace)
	must(w.T, err)
	if wrap != nil {
		cfg.Wrap(wrap)
	}
	w.stop = w.run(cfg, controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0",
		CacheDir: w.cacheDir, Concurrency: 1, Registry: prometheus.NewRegistry()})
}

// run runs a controller until stop is called.
func (w *world) run(cfg *rest.Config, opts controllers.Options) (stop func()) {
	w.Helper()
	cfg.Wrap(w.traffic.through)
	opts.ShutdownTimeout = patience
	mgr, err := controllers.New(cfg, opts)
	must(w.T, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.Errorf("controller: %v", err)
		}
	}
}

func (w *world) stopController() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// createSync makes the AuditSync, with what change does to it.
func (w *world) createSync(change func(*v1alpha1.AuditSync)) {
	w.Helper()
	sync := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: syncName}, Spec: v1alpha1.AuditSyncSpec{
		Source:       v1alpha1.Source{URL: w.url, Ref: &v1alpha1.Ref{Branch: "main"}, SecretRef: &v1alpha1.SecretRef{Name: "fleet-git"}},
		Path:         "./clusters",
		Interval:     &metav1.Duration{Duration: time.Hour},
		Decryption:   &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "sops-keys"}},
		AuditConfigs: v1alpha1.AuditConfigs{Allow: []string{"mondooCredsSecretRef=mondoo-client"}},
	}}
	if change != nil {
		change(sync)
	}
	must(w.T, w.admin.Create(w.Context(), sync))
}

// changeSync changes the AuditSync.
func (w *world) changeSync(change func(*v1alpha1.AuditSync)) {
	w.Helper()
	sync := w.sync()
	before := sync.DeepCopy()
	change(sync)
	must(w.T, w.admin.Patch(w.Context(), sync, client.MergeFrom(before)))
}

// request asks for a sync, as the annotation does, and waits until it has been done.
func (w *world) request() *v1alpha1.AuditSync {
	w.Helper()
	at := time.Now().Format(time.RFC3339Nano)
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1alpha1.AnnotationReconcile, at)
	})
	return w.until("the sync that was asked for", func(s *v1alpha1.AuditSync) bool { return s.Status.LastHandledReconcileAt == at })
}

func (w *world) sync() *v1alpha1.AuditSync {
	w.Helper()
	sync := &v1alpha1.AuditSync{}
	must(w.T, w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: syncName}, sync))
	return sync
}

// until waits for a state of the AuditSync.
func (w *world) until(what string, reached func(*v1alpha1.AuditSync) bool) *v1alpha1.AuditSync {
	w.Helper()
	var sync *v1alpha1.AuditSync
	w.eventually(what, func() bool {
		sync = w.sync()
		return reached(sync)
	})
	return sync
}

func (w *world) eventually(what string, reached func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for !reached() {
		if time.Now().After(deadline) {
			data, _ := yaml.Marshal(w.sync().Status)
			w.Fatalf("%s: not within %s; status:\n%s", what, patience, data)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (w *world) untilReady(revision string) *v1alpha1.AuditSync {
	w.Helper()
	return w.until("ready at "+revision, func(s *v1alpha1.AuditSync) bool {
		return meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady) && strings.HasSuffix(s.Status.LastAppliedRevision, revision)
	})
}

var auditConfigGVK = schema.GroupVersionKind{Group: mondoo.Group, Version: mondoo.Version, Kind: mondoo.Kind}

func (w *world) auditConfig(name string) *unstructured.Unstructured {
	w.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(auditConfigGVK)
	err := w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(w.T, err)
	return object
}

// entries are the live entries of an audit config, by name.
func (w *world) entries(name string) map[string]mondoo.Entry {
	w.Helper()
	object := w.auditConfig(name)
	if object == nil {
		return nil
	}
	list, err := mondoo.Entries(object.Object)
	must(w.T, err)
	entries := map[string]mondoo.Entry{}
	for _, raw := range list {
		entry, err := mondoo.ParseEntry(raw)
		must(w.T, err)
		entries[entry.Name] = entry
	}
	return entries
}

// names are the names of the live entries.
func (w *world) names(auditConfig string) []string {
	w.Helper()
	var names []string
	for name := range w.entries(auditConfig) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// secret is a live Secret, nil when there is none.
func (w *world) secret(name string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{}
	err := w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(w.T, err)
	return secret
}

// tokenCluster is a cluster file with an encrypted token.
func (w *world) tokenCluster(name, extra string) string {
	w.Helper()
	return w.tokenClusterAt(name, "https://"+name+".example.com:6443", "CANARY-token-of-"+name, extra)
}

// tokenClusterAt is a cluster file with an encrypted token for a server.
func (w *world) tokenClusterAt(name, server, token, extra string) string {
	w.Helper()
	return w.key.Encrypt(w.T, name+".yaml", fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %[1]s
spec:
  serviceAccountAuth:
    server: %[2]s
    token: %[3]s
    caCert: |
%[4]s%[5]s`, name, server, token, indent(string(plane.CACert())), extra), sealtest.Credentials)
}

// indent makes a text the content of a YAML block.
func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ") + "\n"
}

const auditConfigFile = `apiVersion: k8s.mondoo.com/v1alpha2
kind: MondooAuditConfig
metadata:
  name: mondoo-client
spec:
  mondooCredsSecretRef:
    name: mondoo-client
  kubernetesResources:
    enable: true
    schedule: "10 * * * *"
`

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func condition(status v1alpha1.AuditSyncStatus, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
