package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
)

// operatorNamespace is where config/default installs Muster.
const operatorNamespace = "mondoo-operator"

// installation is a control plane with config/default in it.
type installation struct {
	plane    *server.ControlPlane
	admin    client.Client
	warnings *warnings // what the API server warned of
	metrics  string    // where the program that was started serves its metrics
}

// install does what `kubectl apply -k config/default` does, where the namespace asks for the strictest Pod Security.
func install(t *testing.T) *installation {
	t.Helper()
	server.SkipShort(t)
	plane, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	in := &installation{plane: plane, warnings: &warnings{}}
	if err := server.InstallCRDs(t.Context(), plane.Config(), server.MondooAuditConfigCRD(), kustomize(t, "crd")); err != nil {
		t.Fatal(err)
	}
	cfg := plane.Config()
	cfg.WarningHandler = in.warnings
	known, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if in.admin, err = client.New(cfg, client.Options{Scheme: known}); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{}
	namespace.Name = operatorNamespace
	namespace.Labels = map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
		"pod-security.kubernetes.io/warn":    "restricted", // of Deployments, which enforce doesn't look at
	}
	if err := in.admin.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	all := objects(t, kustomize(t, "default"))
	for _, o := range all {
		in.apply(t, o)
	}
	in.awaitRights(t, all)
	return in
}

// awaitRights waits until the API server goes by the Roles.
func (in *installation) awaitRights(t *testing.T, all []*unstructured.Unstructured) {
	t.Helper()
	user, _ := musterUser()
	for _, o := range all {
		if o.GetKind() != "Role" {
			continue
		}
		if err := in.plane.AwaitRules(t.Context(), user, operatorNamespace, find[rbacv1.Role](t, all, "Role", o.GetName()).Rules, true); err != nil {
			t.Fatal(err)
		}
	}
}

// testServerSide does what `kubectl apply --server-side -k config/default` does after a client-side one.
func (in *installation) testServerSide(t *testing.T) {
	namespace := &corev1.Namespace{}
	namespace.Name = "client-side"
	if err := in.admin.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, kustomize(t, "default")) {
		var dry []client.ApplyOption
		if o.GetNamespace() == "" {
			dry = append(dry, client.DryRunAll) // it is there already
		} else {
			o.SetNamespace(namespace.Name)
			if err := in.admin.Create(t.Context(), o.DeepCopy(), client.FieldOwner("kubectl-client-side-apply")); err != nil {
				t.Errorf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
		if err := in.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), append(dry, client.FieldOwner("kubectl"))...); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (in *installation) apply(t *testing.T, o *unstructured.Unstructured, opts ...client.ApplyOption) {
	t.Helper()
	opts = append(opts, client.FieldOwner("devenv"), client.ForceOwnership)
	if err := in.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), opts...); err != nil {
		t.Errorf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// kustomize builds a folder of config/.
func kustomize(t *testing.T, folder string) []byte {
	t.Helper()
	return kustomizeIn(t, filesys.MakeFsOnDisk(), filepath.Join(root, "config", folder))
}

func kustomizeIn(t *testing.T, files filesys.FileSystem, path string) []byte {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects reads YAML documents.
func objects(t *testing.T, documents []byte) (all []*unstructured.Unstructured) {
	t.Helper()
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// find returns the objects of a kind and a name, as T.
func find[T any](t *testing.T, all []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	i := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	found := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all[i].Object, found); err != nil {
		t.Fatal(err)
	}
	return found
}

// warnings gathers the warnings of the API server.
type warnings struct {
	mu  sync.Mutex
	all []string
}

// HandleWarningHeader is called for every warning.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

// One control plane serves all tests of config/.
func TestConfig(t *testing.T) {
	in := install(t)
	if w := in.warnings.take(); len(w) > 0 {
		t.Errorf("config/default: the API server warns: %q", w)
	}
	t.Run("Pod", in.testPod)
	t.Run("ServerSide", in.testServerSide)
	t.Run("Rights", in.testRights)
	t.Run("Components", in.testComponents)
	t.Run("Webhooks", in.testWebhooks)
	t.Run("Samples", in.testSamples)
	t.Run("InvalidAuditSyncs", in.testInvalidAuditSyncs)
	t.Run("Controller", in.testController)
}

// Pod Security is enforced on Pods alone, so the Deployment's Pod is shown to the API server.
func (in *installation) testPod(t *testing.T) {
	deployment := find[appsv1.Deployment](t, objects(t, kustomize(t, "default")), "Deployment", "muster")
	pod := func() *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: *deployment.Spec.Template.Spec.DeepCopy()}
		p.Name, p.Namespace = "muster", operatorNamespace
		return p
	}
	if err := in.admin.Create(t.Context(), pod(), client.DryRunAll); err != nil {
		t.Error(err)
	}
	lax := pod()
	lax.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	if err := in.admin.Create(t.Context(), lax, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "restricted") {
		t.Errorf("Pod Security is not enforced here: %v", err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s can write to its root", c.Name)
		}
	}
}

// What Muster may do, and what it may not.
func (in *installation) testRights(t *testing.T) {
	for _, tt := range []struct {
		allowed                    bool
		verbs                      string
		group, resource, name, sub string
		namespace                  string // the operator's when empty
	}{
		{true, "get list watch patch", "muster.dev", "auditsyncs", "", "", ""},
		{true, "patch", "muster.dev", "auditsyncs", "", "status", ""},
		{true, "get list watch create patch delete", "k8s.mondoo.com", "mondooauditconfigs", "", "", ""},
		{true, "get list watch create patch delete", "", "secrets", "", "", ""},
		{true, "get list watch create patch delete", "", "configmaps", "", "", ""},
		{true, "get list watch", "batch", "cronjobs", "", "", ""},
		{true, "list watch create", "batch", "jobs", "", "", ""},
		{true, "list watch", "", "pods", "", "", ""},
		{true, "create patch", "events.k8s.io", "events", "", "", ""},
		{true, "get", "", "namespaces", operatorNamespace, "", ""},
		{true, "get update", "coordination.k8s.io", "leases", "muster.muster.dev", "", ""},

		{false, "create update delete", "muster.dev", "auditsyncs", "", "", ""},
		{false, "update deletecollection", "", "secrets", "", "", ""},
		{false, "update patch", "k8s.mondoo.com", "mondooauditconfigs", "", "status", ""},
		{false, "get list watch create patch", "", "secrets", "", "", "default"},
		{false, "get update delete", "coordination.k8s.io", "leases", "mondoo-operator", "", ""},
		{false, "get list watch patch", "", "namespaces", "default", "", "default"},
		{false, "list watch update patch", "", "namespaces", operatorNamespace, "", ""},
		{false, "impersonate", "", "serviceaccounts", "", "", ""}, // components/impersonation
		{false, "create", "", "serviceaccounts", "", "token", ""},
		{false, "create update patch delete", "batch", "cronjobs", "", "", ""},
		{false, "update patch delete deletecollection", "batch", "jobs", "", "", ""},
		{false, "get create delete", "", "pods", "", "", ""},
		{false, "get", "", "pods", "", "log", ""},
		{false, "list watch create", "batch", "jobs", "", "", "default"},
		{false, "create", "", "pods", "", "exec", ""},
		{false, "create patch bind escalate", "rbac.authorization.k8s.io", "roles", "", "", ""},
	} {
		for verb := range strings.FieldsSeq(tt.verbs) {
			attributes := authorizationv1.ResourceAttributes{
				Namespace: tt.namespace, Verb: verb, Group: tt.group, Resource: tt.resource, Subresource: tt.sub, Name: tt.name,
			}
			if attributes.Namespace == "" {
				attributes.Namespace = operatorNamespace
			}
			if got := in.may(t, attributes); got != tt.allowed {
				t.Errorf("%s: allowed is %t, want %t", attributes.String(), got, tt.allowed)
			}
		}
	}
}

// may asks the API server what Muster's ServiceAccount may do.
func (in *installation) may(t *testing.T, attributes authorizationv1.ResourceAttributes) bool {
	t.Helper()
	user, groups := musterUser()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups, ResourceAttributes: &attributes,
	}}
	if err := in.admin.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// musterUser is the ServiceAccount of config/default, as the API server names it.
func musterUser() (name string, groups []string) {
	return "system:serviceaccount:" + operatorNamespace + ":muster",
		[]string{"system:serviceaccounts", "system:serviceaccounts:" + operatorNamespace, "system:authenticated"}
}

// The components are written as comments in config/default/kustomization.yaml. Here they are all in use.
func (in *installation) testComponents(t *testing.T) {
	memory := configInMemory(t)
	const file = "config/default/kustomization.yaml"
	content, err := memory.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	used := strings.NewReplacer("# components:", "components:", "# - ../", "- ../").Replace(string(content))
	var k types.Kustomization
	if err := yaml.UnmarshalStrict([]byte(used), &k); err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir(filepath.Join(root, "config", "components"))
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Components) == 0 || len(k.Components) != len(folders) {
		t.Errorf("config/default names %d components of %d", len(k.Components), len(folders))
	}
	if err := memory.WriteFile(file, []byte(used)); err != nil {
		t.Fatal(err)
	}
	all := objects(t, kustomizeIn(t, memory, "config/default"))
	for _, o := range all {
		in.apply(t, o, client.DryRunAll)
	}
	if w := in.warnings.take(); len(w) > 0 {
		t.Errorf("the API server warns: %q", w)
	}

	inDefault := find[rbacv1.Role](t, objects(t, kustomize(t, "default")), "Role", "muster")
	clusterWide := find[rbacv1.ClusterRole](t, all, "ClusterRole", "muster")
	if !equality.Semantic.DeepEqual(inDefault.Rules, clusterWide.Rules) {
		t.Errorf("components/cluster-wide/clusterrole.yaml and rbac/role.yaml differ:\n%+v\n%+v", clusterWide.Rules, inDefault.Rules)
	}
	binding := find[rbacv1.ClusterRoleBinding](t, all, "ClusterRoleBinding", "muster")
	if got := binding.Subjects[0].Namespace; got != operatorNamespace {
		t.Errorf("the ClusterRole is bound in %q, want %q", got, operatorNamespace)
	}
	deployment := find[appsv1.Deployment](t, all, "Deployment", "muster")
	if args := strings.Join(deployment.Spec.Template.Spec.Containers[0].Args, " "); strings.Contains(args, "--namespace") {
		t.Errorf("cluster-wide, and still held to one namespace: %s", args)
	}
}

// configInMemory copies config/ so that a test can change it.
func configInMemory(t *testing.T) filesys.FileSystem {
	t.Helper()
	memory, disk := filesys.MakeFsInMemory(), os.DirFS(root)
	err := fs.WalkDir(disk, "config", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(disk, path)
		if err != nil {
			return err
		}
		return memory.WriteFile(path, content)
	})
	if err != nil {
		t.Fatal(err)
	}
	return memory
}
