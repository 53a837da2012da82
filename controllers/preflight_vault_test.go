package controllers_test

import (
	"fmt"
	"net/http"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const operatorAccount = "mondoo-operator-controller-manager"

// TestPreflightVault: with the permission that it takes, the controller checks a cluster behind a real Vault as the operator, whose
// ServiceAccount is in one API server, at another one. It leaves no lease. Without the permission, the cluster isn't checked.
func TestPreflightVault(t *testing.T) {
	m := newTarget(t)
	vault, err := server.StartVault(t.Context(), server.VaultOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, vault.Stop()) })
	m.account("scanner")
	m.vaultFor(vault, m.account("engine"))

	m.createSync(func(s *v1alpha1.AuditSync) {
		mustCheck(s)
		s.Spec.VaultAuth.Addresses = []string{vault.URL()}
		s.Spec.Preflight.VaultAuth = &v1alpha1.PreflightVaultAuth{}
	})
	m.startController(nil)
	m.untilReady(m.pushed(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": m.vaultCluster(vault)}))
	m.until("not checked", func(s *v1alpha1.AuditSync) bool {
		return s.Status.Preflight != nil && s.Status.Preflight.NotChecked == 1
	})

	meta := metav1.ObjectMeta{Namespace: m.namespace, Name: "muster-preflight-vault"}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{operatorAccount}, Verbs: []string{"create"}}}
	must(t, m.admin.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}))
	must(t, m.admin.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: m.user}}}))
	m.awaitRules(m.user, rules, true)
	m.changeSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Preflight.AllowAddresses = append(s.Spec.Preflight.AllowAddresses, "127.0.0.2")
	})
	m.untilCauses("", 1)
	requests, err := vault.Requests()
	must(t, err)
	minted := 0
	for _, r := range requests {
		if r.Path == "kubernetes/creds/scan" && r.Error == "" {
			minted++
		}
	}
	if leases, err := vault.Call(t.Context(), "LIST", "sys/leases/lookup/kubernetes/creds/scan", nil); err == nil || minted == 0 {
		t.Errorf("%d credentials were made, and leases are left: %v", minted, leases["data"])
	}
}

// vaultFor has Vault trust the management cluster's ServiceAccounts, and make tokens of the target's.
func (m *target) vaultFor(vault *server.Vault, engine string) {
	m.Helper()
	call := func(path string, body map[string]any) {
		m.Helper()
		_, err := vault.Call(m.Context(), http.MethodPost, path, body)
		must(m.T, err)
	}
	core, err := kubernetes.NewForConfig(plane.Config())
	must(m.T, err)
	for _, name := range []string{operatorAccount, "reviewer"} {
		must(m.T, m.admin.Create(m.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}}))
	}
	must(m.T, m.admin.Create(m.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: m.namespace + "-reviewer"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: m.namespace, Name: "reviewer"}}}))
	reviewer, err := core.CoreV1().ServiceAccounts(m.namespace).CreateToken(m.Context(), "reviewer", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(m.T, err)
	call("sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	call("auth/kubernetes/config", map[string]any{"kubernetes_host": plane.URL(), "kubernetes_ca_cert": string(plane.CACert()), "token_reviewer_jwt": reviewer.Status.Token, "disable_local_ca_jwt": true})
	call("sys/policies/acl/scan", map[string]any{"policy": `path "kubernetes/creds/*" { capabilities = ["create", "update"] }`})
	call("auth/kubernetes/role/operator", map[string]any{"bound_service_account_names": operatorAccount, "bound_service_account_namespaces": m.namespace, "policies": "scan", "ttl": "10m"})
	call("sys/mounts/kubernetes", map[string]any{"type": "kubernetes"})
	call("kubernetes/config", map[string]any{"kubernetes_host": m.plane.URL(), "kubernetes_ca_cert": string(m.plane.CACert()), "service_account_jwt": engine, "disable_local_ca_jwt": true})
	call("kubernetes/roles/scan", map[string]any{"allowed_kubernetes_namespaces": "scan", "service_account_name": "scanner"})
}

// vaultCluster is the file of a cluster behind Vault.
func (m *target) vaultCluster(vault *server.Vault) string {
	return fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: eu
spec:
  vaultAuth:
    server: %s
    vaultAddr: %s
    authRole: operator
    credsRole: scan
    kubernetesNamespace: scan
    ttl: 30m
    caCert: |
%s    targetCACert: |
%s`, m.plane.URL(), vault.URL(), indent(string(vault.CA())), indent(string(m.plane.CACert())))
}
