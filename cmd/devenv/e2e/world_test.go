package e2e_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/receiver"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

const (
	namespace   = "mondoo-operator"
	syncName    = "production"
	repository  = "platform/fleet"
	auditConfig = "mondoo-client"
	user        = "system:serviceaccount:" + namespace + ":muster"
	// patience is how long a test waits for what should take a second or two.
	patience = 90 * time.Second
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// world is Gitea with a repository, a control plane, and a controller that listens to the one and works in the other.
type world struct {
	testing.TB
	plane    *server.ControlPlane
	gitea    *server.Gitea
	admin    client.WithWatch
	key      *sealtest.Key
	work     string // the clone
	receiver string // the address for webhooks
	cacheDir string
	stop     func()
}

// newWorld starts the servers. Manager says whether CronJobs and Jobs come to life.
func newWorld(t testing.TB, manager bool) *world {
	t.Helper()
	w := newPlane(t, manager)
	w.receiver = freeAddress(t)
	var err error
	w.gitea, err = server.StartGitea(t.Context(), server.GiteaOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, w.gitea.Stop()) })
	w.setUpForge()
	w.secret("mondoo-client", map[string]string{"config": "{}"})      // without it the operator makes nothing
	w.secret("ca", map[string]string{"ca.crt": "the CA of a target"}) // the operator stops at an entry of Vault without its own
	w.secret("sops-keys", map[string]string{"age.agekey": w.key.Private()})
	t.Cleanup(w.stopController)
	return w
}

// newPlane is a world without Gitea and Secrets: a control plane, in which the controller has its rights.
func newPlane(t testing.TB, manager bool) *world {
	t.Helper()
	server.SkipShort(t)
	w := &world{TB: t, key: sealtest.NewKey(t), work: t.TempDir(), cacheDir: t.TempDir()}
	ctx := t.Context()
	var err error
	w.plane, err = server.StartControlPlane(ctx, server.ControlPlaneOptions{ControllerManager: manager})
	must(t, err)
	t.Cleanup(func() { must(t, w.plane.Stop()) })
	crd, err := os.ReadFile("../../../config/crd/muster.dev_auditsyncs.yaml")
	must(t, err)
	must(t, server.InstallCRDs(ctx, w.plane.Config(), server.MondooAuditConfigCRD(), crd))

	scheme, err := controllers.Scheme()
	must(t, err)
	must(t, rbacv1.AddToScheme(scheme))
	w.admin, err = client.NewWithWatch(w.plane.Config(), client.Options{Scheme: scheme})
	must(t, err)
	must(t, w.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	w.grant()
	return w
}

// grant gives the controller the Role that is shipped.
func (w *world) grant() {
	w.Helper()
	data, err := os.ReadFile("../../../config/rbac/role.yaml")
	must(w, err)
	document, _, _ := strings.Cut(string(data), "\n---\n")
	role := &rbacv1.Role{}
	must(w, yaml.UnmarshalStrict([]byte(document), role))
	role.Namespace = namespace
	must(w, w.admin.Create(w.Context(), role))
	must(w, w.admin.Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}))
	must(w, w.plane.AwaitRules(w.Context(), user, namespace, role.Rules, true))
}

// setUpForge makes the repository, the robot's token, the webhook, and a clone.
func (w *world) setUpForge() {
	w.Helper()
	ctx := w.Context()
	url, err := w.gitea.CreateRepository(ctx, repository)
	must(w, err)
	token, err := w.gitea.CreateUser(ctx, "robot", "write:repository", "write:issue", "read:user")
	must(w, err)
	must(w, w.gitea.AddCollaborator(ctx, repository, "robot", "write"))
	const hookSecret = "CANARY-webhook-secret-7e5f2"
	must(w, w.gitea.AddWebhook(ctx, repository, "http://"+w.receiver+"/hook/"+namespace+"/"+syncName, hookSecret, "push", "pull_request", "pull_request_sync", "pull_request_comment", "issue_comment"))
	w.secret("fleet-git", map[string]string{"username": "robot", "password": token})
	w.secret("fleet-webhook", map[string]string{"token": hookSecret})

	name, password := w.gitea.Login()
	w.clone(strings.Replace(url, "://", "://"+name+":"+password+"@", 1))
}

// clone makes a clone of a repository that is empty.
func (w *world) clone(url string) {
	w.Helper()
	w.git("init", "-q", "-b", "main", ".")
	w.git("config", "user.name", "Ada")
	w.git("config", "user.email", "ada@example.com")
	w.git("config", "gc.auto", "0")
	w.git("remote", "add", "origin", url)
}

// createSync makes the AuditSync. Its interval is an hour, so that webhooks and watches alone make things happen.
func (w *world) createSync(change func(*v1alpha1.AuditSync)) {
	w.Helper()
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: syncName}, Spec: v1alpha1.AuditSyncSpec{
		Source:       v1alpha1.Source{URL: w.gitea.URL() + "/" + repository + ".git", Ref: &v1alpha1.Ref{Branch: "main"}, SecretRef: &v1alpha1.SecretRef{Name: "fleet-git"}},
		Path:         "./clusters",
		Interval:     &metav1.Duration{Duration: time.Hour},
		Decryption:   &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "sops-keys"}},
		AuditConfigs: v1alpha1.AuditConfigs{Allow: []string{"mondooCredsSecretRef=mondoo-client"}},
		VaultAuth:    v1alpha1.VaultAuth{Addresses: []string{"https://vault.example.com"}},
		Webhook:      &v1alpha1.Webhook{SecretRef: v1alpha1.SecretRef{Name: "fleet-webhook"}},
		Forge:        &v1alpha1.Forge{Provider: "gitea", SecretRef: v1alpha1.SecretRef{Name: "fleet-git"}},
	}}
	if change != nil {
		change(audit)
	}
	must(w, w.admin.Create(w.Context(), audit))
}

// startController runs a controller until stopController or the end of the test.
func (w *world) startController(bounds scanstate.Bounds) {
	w.Helper()
	cfg, err := w.plane.User(user, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	must(w, err)
	mgr, err := controllers.New(cfg, controllers.Options{Namespace: namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.cacheDir,
		Concurrency: 1, Registry: prometheus.NewRegistry(), ShutdownTimeout: patience, ScanBounds: bounds,
		Webhook: receiver.Config{Address: w.receiver}})
	must(w, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.Errorf("controller: %v", err)
		}
	}
	w.eventually("webhooks are received", func() bool {
		conn, err := new(net.Dialer).DialContext(w.Context(), "tcp", w.receiver)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (w *world) stopController() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *world) secret(name string, data map[string]string) {
	w.Helper()
	must(w, w.admin.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}))
}

// scenario tells the stand-in how things go: keys and values in turn, with an empty value for a key that goes.
func (w *world) scenario(pairs ...string) {
	w.Helper()
	data := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		if data[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			data[pairs[i]] = nil
		}
	}
	patch, err := yaml.Marshal(map[string]any{"data": data})
	must(w, err)
	patch, err = yaml.YAMLToJSON(patch)
	must(w, err)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: operator.ScenarioName}}
	must(w, w.admin.Patch(w.Context(), config, client.RawPatch(types.MergePatchType, patch)))
}

func (w *world) audit() *v1alpha1.AuditSync {
	w.Helper()
	audit := &v1alpha1.AuditSync{}
	must(w, w.admin.Get(w.Context(), client.ObjectKey{Namespace: namespace, Name: syncName}, audit))
	return audit
}

func (w *world) config() *unstructured.Unstructured {
	w.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(mondoo.APIVersion)
	object.SetKind(mondoo.Kind)
	must(w, w.admin.Get(w.Context(), client.ObjectKey{Namespace: namespace, Name: auditConfig}, object))
	return object
}

// request asks for a sync, and waits until it has been done.
func (w *world) request() {
	w.Helper()
	audit := w.audit()
	before := audit.DeepCopy()
	at := time.Now().Format(time.RFC3339Nano)
	metav1.SetMetaDataAnnotation(&audit.ObjectMeta, v1alpha1.AnnotationReconcile, at)
	must(w, w.admin.Patch(w.Context(), audit, client.MergeFrom(before)))
	w.eventually("the sync that was asked for", func() bool { // a webhook may have asked for another one since
		audit := w.audit()
		return audit.Status.LastHandledReconcileAt == audit.Annotations[v1alpha1.AnnotationReconcile] && audit.Status.LastHandledReconcileAt != ""
	})
}

func (w *world) eventually(what string, reached func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			status, _ := yaml.Marshal(w.audit().Status)
			w.Fatalf("%s: not within %s; the AuditSync:\n%s", what, patience, status)
		}
	}
}

// write puts files into the work tree; an empty one goes.
func (w *world) write(files map[string]string) {
	w.Helper()
	for name, content := range files {
		path := filepath.Join(w.work, name)
		if content == "" {
			must(w, os.Remove(path))
			continue
		}
		must(w, os.MkdirAll(filepath.Dir(path), 0o700))
		must(w, os.WriteFile(path, []byte(content), 0o600))
	}
}

// commit commits files.
func (w *world) commit(files map[string]string) (hash string) {
	w.Helper()
	w.write(files)
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "change")
	return w.git("rev-parse", "HEAD")
}

// push commits files and pushes them.
func (w *world) push(files map[string]string) (hash string) {
	w.Helper()
	hash = w.commit(files)
	w.git("push", "-q", "origin", "main")
	return hash
}

func (w *world) git(args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "git", args...)
	cmd.Dir = w.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// freeAddress is one that nobody else gets while the test runs: the forge is told of it long before somebody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, release, err := server.ReserveAddress()
	must(t, err)
	t.Cleanup(release)
	return address
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
