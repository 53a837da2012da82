package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// TestSetupOfExamples applies the objects that setup prints for each cluster of examples/all-auth-methods to a real API
// server, and asks it what the identities of some methods may do then.
func TestSetupOfExamples(t *testing.T) {
	m := startManagement(t)
	const folder = "../../examples/all-auth-methods/clusters"
	files, err := filepath.Glob(folder + "/*.yaml")
	check(t, err)
	clusters := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		if strings.Contains(string(text), "kind: ExternalCluster") {
			clusters++
			m.applySetup(folder, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	if clusters < 10 {
		t.Errorf("only %d clusters were found", clusters)
	}
	const scan = "mondoo-scan"
	everything := authorizationv1.ResourceAttributes{Verb: "list", Group: "*", Resource: "*"}
	token := authorizationv1.ResourceAttributes{Verb: "create", Namespace: scan, Resource: "serviceaccounts", Subresource: "token", Name: "mondoo-scanner"}
	other := token
	other.Name = "default"
	for _, test := range []struct {
		user, group string
		what        authorizationv1.ResourceAttributes
		want        bool
	}{
		{"mondoo-scanner@example-project.iam.gserviceaccount.com", "", everything, true},
		{"stranger@example-project.iam.gserviceaccount.com", "", everything, false},
		{"arn:aws:sts::123456789012:assumed-role/mondoo-scanner/session", "mondoo-scanner", everything, true},
		{"system:serviceaccount:" + scan + ":mondoo-scanner", "", everything, true},
		{"system:serviceaccount:" + scan + ":mondoo-scanner", "", token, false},
		{"system:serviceaccount:" + scan + ":vault-token-issuer", "", token, true},
		{"system:serviceaccount:" + scan + ":vault-token-issuer", "", other, false},
		{"system:serviceaccount:" + scan + ":vault-token-issuer", "", everything, false},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: test.user, Groups: []string{test.group}, ResourceAttributes: &test.what}}
		review, err := m.core.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		check(t, err)
		if review.Status.Allowed != test.want {
			t.Errorf("%s %+v: allowed is %v", test.user, test.what, review.Status.Allowed)
		}
	}
}

// applySetup runs muster setup, and applies what it prints.
func (m *management) applySetup(folder, name string) {
	m.Helper()
	var out, errs bytes.Buffer
	none := func(string) string { return "" }
	if status := run(m.Context(), []string{"setup", name, folder, "-o", "yaml"}, strings.NewReader(""), &out, &errs, none); status != 0 {
		m.Fatalf("muster setup %s ends with %d: %s", name, status, errs.String())
	}
	resources := map[string]schema.GroupVersionResource{
		"Namespace": {Version: "v1", Resource: "namespaces"}, "ServiceAccount": {Version: "v1", Resource: "serviceaccounts"}, "Secret": {Version: "v1", Resource: "secrets"}}
	for _, kind := range []string{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} {
		resources[kind] = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: strings.ToLower(kind) + "s"}
	}
	for document := range strings.SplitSeq(out.String(), "---\n") {
		u := &unstructured.Unstructured{}
		check(m.T, yaml.Unmarshal([]byte(document), &u.Object))
		if u.Object == nil { // comments
			continue
		}
		var client dynamic.ResourceInterface = m.dynamic.Resource(resources[u.GetKind()])
		if u.GetNamespace() != "" {
			client = m.dynamic.Resource(resources[u.GetKind()]).Namespace(u.GetNamespace())
		}
		if _, err := client.Apply(m.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "kubectl"}); err != nil {
			m.Errorf("%s: %s %s: %v", name, u.GetKind(), u.GetName(), err)
		}
	}
}
