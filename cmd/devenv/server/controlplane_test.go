package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func TestKubeconfig(t *testing.T) {
	SkipShort(t)
	cfg, err := clientcmd.RESTConfigFromKubeConfig(plane.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	version, err := client(t, cfg).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	located, err := KubeAPIServer.locate()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KUBEBUILDER_ASSETS") == "" && version.GitVersion != located.version {
		t.Errorf("the server says it is %s, want %s", version.GitVersion, located.version)
	}
	if written, err := os.ReadFile(plane.KubeconfigPath()); err != nil || string(written) != string(plane.Kubeconfig()) {
		t.Errorf("the kubeconfig in the folder differs (%v)", err)
	}
}

func TestUserHasTheRightsOfRBAC(t *testing.T) {
	SkipShort(t)
	ns := namespace(t, plane)
	admin := client(t, plane.Config())
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
	}}
	if _, err := admin.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{
			{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "jane"},
			{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "readers"},
			{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "muster"},
		},
	}
	if _, err := admin.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct {
		reason, name string
		groups       []string
		reads        bool
	}{
		{"bound by name", "jane", nil, true},
		{"bound by group", "joe", []string{"readers"}, true},
		{"bound as a service account", "system:serviceaccount:" + ns + ":muster",
			[]string{"system:serviceaccounts", "system:serviceaccounts:" + ns}, true},
		{"not bound", "mallory", nil, false},
	} {
		t.Run(who.reason, func(t *testing.T) {
			cfg, err := plane.User(who.name, who.groups...)
			if err != nil {
				t.Fatal(err)
			}
			user := client(t, cfg)
			if _, err := user.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("list of secrets: got %v, want forbidden", err)
			}
			if !who.reads {
				_, err := user.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
				if !apierrors.IsForbidden(err) {
					t.Errorf("list of configmaps: got %v, want forbidden", err)
				}
				return
			}
			// The authorizer learns of the binding by a watch.
			eventually(t, "configmaps are listed", func() bool {
				_, err := user.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
				return err == nil
			})
		})
	}
}

func TestNobodyGetsInWithoutACertificate(t *testing.T) {
	SkipShort(t)
	anonymous := rest.AnonymousClientConfig(plane.Config())
	if _, err := client(t, anonymous).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("API server: got %v, want forbidden", err)
	}
	tls, err := rest.TLSConfigFor(anonymous)
	if err != nil {
		t.Fatal(err)
	}
	if ready(t.Context(), httpClient(tls), plane.ports.etcd.url()+"/health") {
		t.Error("etcd answers to everybody")
	}
}

func TestRestartAPIServer(t *testing.T) {
	SkipShort(t)
	c := startPlane(t, t.Context(), ControlPlaneOptions{})
	ns := namespace(t, c)
	before, url := c.apiserver.cmd.Process.Pid, c.URL()
	mark, err := c.Mark()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.apiserver.cmd.Process.Pid == before || alive(before) || c.URL() != url {
		t.Errorf("not a restart: process %d (alive: %v), then %d; %s, then %s",
			before, alive(before), c.apiserver.cmd.Process.Pid, url, c.URL())
	}
	if _, err := client(t, c.Config()).CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err != nil {
		t.Errorf("what was there before: %v", err)
	}
	requests, err := c.Requests(t.Context(), mark, "admin")
	if err != nil || len(requests) != 1 || requests[0].Name != ns {
		t.Errorf("since the mark of before: got %v, %v; want the one get of %s", requests, err, ns)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.RestartAPIServer(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: got %v, want ErrStopped", err)
	}
}

func TestNothingIsLeft(t *testing.T) {
	SkipShort(t)
	t.Run("of a temporary folder after Stop", func(t *testing.T) {
		c := startPlane(t, t.Context(), ControlPlaneOptions{})
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		requireGone(t, c)
		if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder: %v", err)
		}
		if err := c.Stop(); err != nil {
			t.Errorf("to stop it again: %v", err)
		}
	})
	t.Run("but logs in a given folder, when the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		c := startPlane(t, ctx, ControlPlaneOptions{Dir: dir})
		cancel()
		eventually(t, "the control plane is stopped", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.stopped
		})
		requireGone(t, c)
		if _, err := os.Stat(filepath.Join(dir, "etcd")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("etcd's data: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "kube-apiserver.log")); err != nil {
			t.Error(err)
		}
	})
}

func TestStartSaysWhyAServerEnded(t *testing.T) {
	SkipShort(t)
	dir := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho no room on the disk\nexit 3\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	_, err := StartControlPlane(t.Context(), ControlPlaneOptions{})
	var ended *ExitError
	if !errors.As(err, &ended) || ended.Server != "etcd" || !strings.Contains(ended.Log, "no room on the disk") {
		t.Errorf("got %v, want an ExitError of etcd with its log", err)
	}
}

func requireGone(t *testing.T, c *ControlPlane) {
	t.Helper()
	for _, p := range []*process{c.etcd, c.apiserver} {
		if alive(p.cmd.Process.Pid) {
			t.Errorf("%s is alive", p.name)
		}
	}
	for _, port := range []*port{c.ports.etcd, c.ports.apiserver} {
		address := strings.TrimPrefix(port.url(), "https://")
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			t.Errorf("%s still answers", address)
		}
	}
}

func startPlane(t *testing.T, ctx context.Context, o ControlPlaneOptions) *ControlPlane {
	t.Helper()
	return started[*ControlPlane](t)(StartControlPlane(ctx, o))
}

// started takes what a start function returns: a server, which stops with the test, or an error, which ends it.
func started[S interface{ Stop() error }](t *testing.T) func(S, error) S {
	t.Helper()
	return func(server S, err error) S {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		})
		return server
	}
}

func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func namespace(t *testing.T, c *ControlPlane) string {
	t.Helper()
	ns, err := client(t, c.Config()).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func httpClient(tls *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: tls}}
}

func TestControllerManagerRunsJobs(t *testing.T) {
	SkipShort(t)
	c := startPlane(t, t.Context(), ControlPlaneOptions{ControllerManager: true})
	ns, clients := namespace(t, c), client(t, c.Config())
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "scan"}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "scan", Image: "example.com/scan"}},
		}},
	}}
	if _, err := clients.BatchV1().Jobs(ns).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Job has its Pod", func() bool {
		pods, err := clients.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=scan"})
		return err == nil && len(pods.Items) == 1
	})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if alive(c.manager.cmd.Process.Pid) {
		t.Error("kube-controller-manager is alive")
	}
}
