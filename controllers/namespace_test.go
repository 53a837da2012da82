package controllers_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestNamespaceWithPodSecurity: with the shipped rights the controller sees what its namespace enforces, and without the right
// to read it, everything else goes on.
func TestNamespaceWithPodSecurity(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		w := newWorld(t)
		namespace := &corev1.Namespace{}
		must(t, w.admin.Get(t.Context(), client.ObjectKey{Name: w.namespace}, namespace))
		before := client.MergeFrom(namespace.DeepCopy())
		if namespace.Labels == nil {
			namespace.Labels = map[string]string{}
		}
		namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
		must(t, w.admin.Patch(t.Context(), namespace, before))
		if !allowed {
			w.revoke("namespaces")
		}
		commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/spiffe.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\n" +
			"metadata:\n  name: spiffe\nspec:\n  spiffeAuth:\n    server: https://x.example.com\n    trustBundleSecretRef: {name: bundle}\n"})
		w.createSecret("bundle", map[string]string{"ca.crt": "x"})
		w.startController(nil)
		w.createSync(nil)
		status := w.untilReady(commit).Status
		warned := false
		for _, p := range status.Problems {
			warned = warned || strings.Contains(p.Message, "Pod Security") && p.Cluster == "spiffe"
		}
		if warned != allowed {
			t.Errorf("right to read the namespace: %t; warned: %t: %+v", allowed, warned, status.Problems)
		}
		w.stopController()
	}
}

// revoke takes the right to a resource out of the shipped Role.
func (w *world) revoke(resource string) {
	w.Helper()
	role := &rbacv1.Role{}
	must(w.T, w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: "muster"}, role))
	var kept []rbacv1.PolicyRule
	for _, rule := range role.Rules {
		if rule.Resources[0] != resource {
			kept = append(kept, rule)
		}
	}
	role.Rules = kept
	must(w.T, w.admin.Update(w.Context(), role))
}
