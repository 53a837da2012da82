package preflight

import (
	"net/http"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// TestLiveVault: a real Vault logs the ServiceAccount in, makes an account at a real API server with its Kubernetes secrets engine,
// and the account is gone afterwards: the lease is revoked, whatever came after it.
func TestLiveVault(t *testing.T) {
	m := startRemote(t)
	vault, err := server.StartVault(t.Context(), server.VaultOptions{})
	check(t, err)
	t.Cleanup(func() { check(t, vault.Stop()) })
	call := func(path string, body map[string]any) {
		t.Helper()
		_, err := vault.Call(t.Context(), http.MethodPost, path, body)
		check(t, err)
	}
	reviewer, engine, operator := m.account("reviewer", "cluster-admin"), m.account("engine", "cluster-admin"), m.account("operator", "")
	call("sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	call("auth/kubernetes/config", map[string]any{"kubernetes_host": m.plane.URL(), "kubernetes_ca_cert": string(m.plane.CACert()), "token_reviewer_jwt": reviewer.Token, "disable_local_ca_jwt": true})
	call("sys/policies/acl/scan", map[string]any{"policy": `path "kubernetes/creds/*" { capabilities = ["create", "update"] }`})
	call("auth/kubernetes/role/operator", map[string]any{"bound_service_account_names": "operator", "bound_service_account_namespaces": "scan", "policies": "scan", "ttl": "10m"})
	call("sys/mounts/kubernetes", map[string]any{"type": "kubernetes"})
	call("kubernetes/config", map[string]any{"kubernetes_host": m.plane.URL(), "kubernetes_ca_cert": string(m.plane.CACert()), "service_account_jwt": engine.Token, "disable_local_ca_jwt": true})
	m.account("scanner", "scanning")
	call("kubernetes/roles/scan", map[string]any{"allowed_kubernetes_namespaces": "scan", "service_account_name": "scanner"})
	call("kubernetes/roles/none", map[string]any{"allowed_kubernetes_namespaces": "scan", "generated_role_rules": `{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["delete"]}]}`})
	login := func(auth mondoo.VaultAuth, jwt string) Target {
		auth.KubernetesNamespace = "scan"
		return Target{Cluster: "eu", Server: m.plane.URL(), CA: m.plane.CACert(), Vault: &VaultLogin{Address: vault.URL(), CA: vault.CA(), ServiceAccountToken: jwt, auth: &auth}}
	}
	before := m.accounts()
	good := m.want("a credential from Vault", login(mondoo.VaultAuth{AuthRole: "operator", CredsRole: "scan"}, operator.Token), "")
	if good.Granted == nil || !good.Granted.Everything || good.User != "system:serviceaccount:scan:scanner" || good.UID == "" {
		t.Errorf("%+v", good)
	}
	none := m.want("a role without rights, for which Vault makes an account", login(mondoo.VaultAuth{AuthRole: "operator", CredsRole: "none"}, operator.Token), RightsNone)
	wrong := login(mondoo.VaultAuth{AuthRole: "operator", CredsRole: "scan"}, operator.Token)
	wrong.CA = other().pem()
	m.want("another CA of the target", wrong, ServerCertificateUnknown)
	m.want("another ServiceAccount", login(mondoo.VaultAuth{AuthRole: "operator", CredsRole: "scan"}, engine.Token), VaultLoginRefused)
	m.want("a role that Vault does not have", login(mondoo.VaultAuth{AuthRole: "operator", CredsRole: "nobody"}, operator.Token), VaultCredentialsRefused)

	requests, err := vault.Requests()
	check(t, err)
	minted := 0
	for _, r := range requests {
		if r.Path == "kubernetes/creds/scan" || r.Path == "kubernetes/creds/none" {
			minted++
		}
	}
	if minted < 3 {
		t.Errorf("%d credentials were made", minted)
	}
	// A revocation ends the lease at once, and what the lease has made within moments.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var left []any
		for _, role := range []string{"scan", "none"} {
			if leases, err := vault.Call(t.Context(), "LIST", "sys/leases/lookup/kubernetes/creds/"+role, nil); err == nil { // without any, the list isn't found
				left = append(left, leases["data"])
			}
		}
		if now := m.accounts(); now == before && len(left) == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d accounts, and %d before; leases: %v", now, before, left)
		}
	}
	if m.exists(none.User) {
		t.Error("the account of the check still exists")
	}
}

// accounts counts the ServiceAccounts, to which Vault adds one with each credential.
func (m *remote) accounts() int {
	m.Helper()
	list, err := m.core.CoreV1().ServiceAccounts("scan").List(m.Context(), metav1.ListOptions{})
	check(m.T, err)
	n := 0
	for i := range list.Items {
		if list.Items[i].Name != "default" { // Kubernetes makes that, at any time
			n++
		}
	}
	return n
}

// exists reports whether the account of a user exists.
func (m *remote) exists(user string) bool {
	m.Helper()
	name := user[len("system:serviceaccount:scan:"):]
	_, err := m.core.CoreV1().ServiceAccounts("scan").CreateToken(m.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	return err == nil
}
