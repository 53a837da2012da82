package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// remarkable is a kustomization at which kustomize prints remarks to the process's standard error, past every logger.
const remarkable = `resources: [mondoo-client.yaml]
patchesJson6902:
- target: {group: muster.dev, version: v1alpha1, kind: ExternalCluster, name: staging}
  patch: '[{"op": "replace", "path": "/spec/schedule", "value": "5 * * * *"}]'
`

// The program runs with the arguments of the Deployment and the rights of the Role, takes the example for a start from a
// repository, and cleans up after it. The API server may refuse it nothing on the way.
func (in *installation) testController(t *testing.T) {
	url := serveExample(t, "quickstart", map[string]string{"clusters/kustomization.yaml": remarkable})
	key, err := os.ReadFile(filepath.Join(root, "examples", "age-test-key.txt"))
	if err != nil {
		t.Fatal(err)
	}
	keys := &corev1.Secret{StringData: map[string]string{"test.agekey": string(key)}}
	keys.Name, keys.Namespace = "sops-keys", operatorNamespace
	sync := auditSync(t, "quickstart", "source: {url: '"+url+"'}, path: ./clusters, decryption: {secretRef: {name: sops-keys}}, deletionPolicy: Delete, auditConfigs: {allow: [mondooCredsSecretRef=mondoo-client]}")
	for _, o := range []client.Object{keys, sync} {
		if err := in.admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	in.startController(t)

	live := &v1alpha1.AuditSync{}
	synced := func() bool {
		err := in.admin.Get(t.Context(), client.ObjectKeyFromObject(sync), live)
		return err == nil && meta.IsStatusConditionTrue(live.Status.Conditions, v1alpha1.ConditionReady)
	}
	if !eventually(t, 3*time.Minute, synced) {
		t.Fatalf("the AuditSync is not ready: %+v", live.Status)
	}
	if live.Status.Clusters == nil || live.Status.Clusters.Applied == 0 {
		t.Errorf("ready without clusters: %+v", live.Status)
	}
	in.testMetrics(t)
	if err := in.admin.Delete(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
	gone := func() bool {
		return apierrors.IsNotFound(in.admin.Get(t.Context(), client.ObjectKeyFromObject(sync), live))
	}
	if !eventually(t, 3*time.Minute, gone) {
		t.Errorf("the AuditSync is not deleted: %+v", live.Status)
	}

	user, _ := musterUser()
	requests, err := in.plane.Requests(t.Context(), 0, user)
	if err != nil {
		t.Fatal(err)
	}
	if len(requests) == 0 {
		t.Error("the controller asked for nothing in its own name")
	}
	for _, r := range requests {
		if r.Code == http.StatusForbidden {
			t.Errorf("config/rbac lacks a right: %s", r)
		}
	}
}

// startController builds cmd/muster and runs it as the Deployment does, until the test ends. It returns when both probes of
// the Deployment succeed.
func (in *installation) startController(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	name, groups := musterUser()
	user, err := in.plane.User(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, server.KubeconfigFor(user), 0o600); err != nil {
		t.Fatal(err)
	}
	container := find[appsv1.Deployment](t, objects(t, kustomize(t, "default")), "Deployment", "muster").Spec.Template.Spec.Containers[0]
	probes := freeAddress(t)
	in.metrics = freeAddress(t)
	args := expand(container.Args, map[string]string{"$(POD_NAMESPACE)": operatorNamespace, "/var/cache/muster": filepath.Join(dir, "cache")})
	// What differs outside of a Pod: where the API server is, the lease's namespace, and ports that many share.
	args = append(args, "--kubeconfig="+kubeconfig, "--leader-election-namespace="+operatorNamespace, "--probe-address="+probes, "--metrics-address="+in.metrics,
		"--webhook-address="+freeAddress(t))
	runMuster(t, args)
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		url := "http://" + probes + probe.HTTPGet.Path
		if !eventually(t, 3*time.Minute, func() bool { return answers(t, url) }) {
			t.Fatalf("%s does not answer 200", url)
		}
	}
}

// runMuster builds cmd/muster and runs it until the test ends. It has to end well, and to have logged nothing but JSON.
func runMuster(t *testing.T, args []string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "muster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, filepath.Join(root, "cmd", "muster")).CombinedOutput(); err != nil {
		t.Fatalf("build cmd/muster: %v\n%s", err, out)
	}
	var log bytes.Buffer
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("muster %s: %v", strings.Join(args, " "), err)
		}
		for line := range strings.Lines(log.String()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("not muster's own line: %s", line)
			}
		}
		if t.Failed() {
			t.Logf("muster's log:\n%s", log.String())
		}
	})
}

func expand(args []string, values map[string]string) []string {
	args = slices.Clone(args)
	for i := range args {
		for from, to := range values {
			args[i] = strings.ReplaceAll(args[i], from, to)
		}
	}
	return args
}

// serveExample puts a folder of examples/ and more files into a repository and serves it.
func serveExample(t *testing.T, example string, more map[string]string) (url string) {
	t.Helper()
	git, err := server.StartGit(t.Context(), server.GitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := git.Stop(); err != nil {
			t.Error(err)
		}
	})
	if url, err = git.CreateRepository(t.Context(), "fleet"); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS(filepath.Join(root, "examples", example))); err != nil {
		t.Fatal(err)
	}
	for name, content := range more {
		if err := os.WriteFile(filepath.Join(work, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=fleet"},
		{"push", "--quiet", url, "main"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	return url
}

// freeAddress is an address that nobody else gets while the test runs.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, release, err := server.ReserveAddress()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return address
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// eventually asks again and again until the answer is yes or the time is over.
func eventually(t *testing.T, limit time.Duration, ask func() bool) bool {
	t.Helper()
	tick, end := time.NewTicker(50*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for {
		if ask() {
			return true
		}
		select {
		case <-tick.C:
		case <-end:
			return false
		case <-t.Context().Done():
			return false
		}
	}
}
