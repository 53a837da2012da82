package controllers_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// vaultCluster reads Vault's certificate authority from a Secret that isn't in Git.
const vaultCluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: vault}\nspec:\n" +
	"  vaultAuth: {server: 'https://v.example.com', vaultAddr: 'https://vault.example.com', authRole: a, credsRole: b, caCertSecretRef: {name: vault-ca}, targetCACertSecretRef: {name: vault-ca}}\n"

// TestSecretsFromElsewhere: Muster sees at once, and not at the next interval, when a Secret appears or changes that a cluster or an audit
// config needs. The operator doesn't look, so Muster has it look again. Other Secrets cost nothing.
func TestSecretsFromElsewhere(t *testing.T) {
	w := newWorld(t)
	w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/vault.yaml": vaultCluster,
		"clusters/hand.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: hand}\nspec: {kubeconfigSecretRef: {name: by-hand}}\n"})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.VaultAuth.Addresses = []string{"https://vault.example.com"} })
	has := func(code, cluster string) func(*v1alpha1.AuditSync) bool {
		return func(s *v1alpha1.AuditSync) bool {
			return slices.ContainsFunc(s.Status.Problems, func(p v1alpha1.Problem) bool { return p.Code == code && p.Cluster == cluster })
		}
	}
	hasNot := func(code, cluster string) func(*v1alpha1.AuditSync) bool {
		return func(s *v1alpha1.AuditSync) bool { return s.Status.ObservedGeneration > 0 && !has(code, cluster)(s) }
	}
	applied := func(names ...string) {
		t.Helper()
		entries := w.entries("mondoo-client")
		for _, name := range names {
			if _, there := entries[name]; !there {
				t.Errorf("%s is not applied: %v", name, entries)
			}
		}
		if len(entries) != len(names) {
			t.Errorf("%d entries, want %v", len(entries), names)
		}
	}
	woken := func() string { return w.auditConfig("mondoo-client").GetAnnotations()["muster.dev/secrets-read"] }

	w.until("the missing Vault CA", has("secret-missing", "vault"))
	w.until("the missing kubeconfig", has("secret-missing", "hand"))
	applied("hand") // a warning: the operator goes on
	w.createSecret("by-hand", map[string]string{"kubeconfig": "x"})
	w.until("the kubeconfig", hasNot("secret-missing", "hand"))
	w.createSecret("vault-ca", map[string]string{"ca.crt": "x"})
	w.until("the Vault CA", hasNot("secret-missing", "vault"))
	applied("hand", "vault")
	if woken() != "" {
		t.Error("the operator is woken for what is new to it anyway")
	}

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault-ca"}}
	must(t, w.admin.Patch(w.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"ca.crt":"y"}}`))))
	w.eventually("the operator is woken for a changed CA", func() bool { return woken() != "" })
	first := woken()
	credentials := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "mondoo-client"}}
	must(t, w.admin.Delete(w.Context(), credentials))
	w.until("the missing credentials", has("mondoo-credentials", ""))
	w.createSecret("mondoo-client", map[string]string{"config": "{}"})
	w.eventually("the operator is woken for credentials that are there again", func() bool { return woken() != first })
	w.until("the credentials", hasNot("mondoo-credentials", ""))
	applied("hand", "vault")

	w.untilQuiet()
	mark := w.mark()
	w.createSecret("somebodys", map[string]string{"a": "b"})
	w.untilQuiet()
	for _, r := range w.requests(mark) {
		t.Errorf("for a Secret that nothing names: %s", r)
	}
}
