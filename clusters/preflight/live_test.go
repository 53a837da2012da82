package preflight

import (
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// remote is a real control plane, with a ServiceAccount for each case.
type remote struct {
	*testing.T
	plane *server.ControlPlane
	core  kubernetes.Interface
}

func startRemote(t *testing.T) *remote {
	t.Helper()
	server.SkipShort(t)
	plane, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{ControllerManager: true}) // which fills in the role view
	check(t, err)
	t.Cleanup(func() { check(t, plane.Stop()) })
	m := &remote{T: t, plane: plane}
	m.core, err = kubernetes.NewForConfig(plane.Config())
	check(t, err)
	_, err = m.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "scan"}}, metav1.CreateOptions{})
	check(t, err)
	_, err = m.core.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scanning"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}}}}, metav1.CreateOptions{})
	check(t, err)
	return m
}

// account makes a ServiceAccount with a ClusterRole, or none, and returns its target.
func (m *remote) account(name, role string) Target {
	m.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: "scan"}
	_, err := m.core.CoreV1().ServiceAccounts("scan").Create(m.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	check(m.T, err)
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: name}
	if role != "" {
		_, err = m.core.RbacV1().ClusterRoleBindings().Create(m.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: []rbacv1.Subject{subject}}, metav1.CreateOptions{})
		check(m.T, err)
		pods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
		check(m.T, m.plane.AwaitRules(m.Context(), "system:serviceaccount:scan:"+name, "", pods, true))
	}
	lifetime := int64(600)
	token, err := m.core.CoreV1().ServiceAccounts("scan").CreateToken(m.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}, metav1.CreateOptions{})
	check(m.T, err)
	return Target{Cluster: name, Server: m.plane.URL(), CA: m.plane.CACert(), Token: token.Status.Token}
}

func (m *remote) run(t Target) Result {
	return Run(m.Context(), t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, StepTimeout: time.Minute, Timeout: 5 * time.Minute})
}

// want runs a preflight, which must fail with a cause, and leaves no part of the token.
func (m *remote) want(reason string, t Target, cause Cause) Result {
	m.Helper()
	r := m.run(t)
	var got Cause
	if f := r.Failure(); f != nil {
		got = f.Cause
	}
	if got != cause {
		m.Errorf("%s: %q, want %q\n%s", reason, got, cause, text(r))
	}
	if t.Token != "" && strings.Contains(text(r), t.Token) {
		m.Errorf("%s: the token is shown\n%s", reason, text(r))
	}
	m.Logf("%s\n%s", reason, text(r))
	return r
}

// TestLive checks the verdicts at a real kube-apiserver with RBAC.
func TestLive(t *testing.T) {
	m := startRemote(t)
	full := m.account("full", "scanning")
	r := m.want("full rights", full, "")
	namespace, err := m.core.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	check(t, err)
	if r.UID != string(namespace.UID) || r.User != "system:serviceaccount:scan:full" || !strings.HasPrefix(r.Version, "v1.") || !r.Granted.Everything {
		t.Errorf("%+v", r)
	}
	m.rights()
	m.logins(full)
	m.servers(full)
	t.Run("the right cluster, and another one", func(*testing.T) {
		same := full
		same.UID = r.UID
		m.want("the same cluster", same, "")
		same.UID = "99999999-8888-7777-6666-555555555555"
		m.want("another cluster", same, OtherCluster)
	})
}

func (m *remote) rights() {
	view := m.want("the built-in role view", m.account("view", "view"), RightsPartial)
	var missing []string
	for _, k := range view.Granted.Missing {
		missing = append(missing, k.String())
	}
	for _, kind := range []string{"nodes", "secrets", "clusterroles.rbac.authorization.k8s.io", "customresourcedefinitions.apiextensions.k8s.io"} {
		if !slices.Contains(missing, kind) {
			m.Errorf("view misses %v, without %s", missing, kind)
		}
	}
	if slices.Contains(missing, "pods") || state(view, Identity).State != Passed {
		m.Errorf("view misses %v\n%s", missing, text(view))
	}
	none := m.account("none", "")
	got := m.want("no rights", none, RightsNone)
	if len(got.Granted.Missing) != len(kinds) || state(got, Identity).State != NotReached {
		m.Errorf("%v\n%s", got.Granted.Missing, text(got))
	}
	// A right in one namespace is none for a scan.
	_, err := m.core.RbacV1().RoleBindings("kube-system").Create(m.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "none"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scanning"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: "none"}}}, metav1.CreateOptions{})
	check(m.T, err)
	pods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
	check(m.T, m.plane.AwaitRules(m.Context(), "system:serviceaccount:scan:none", "kube-system", pods, true))
	m.want("rights in one namespace", none, RightsNone)
}

func (m *remote) logins(full Target) {
	certified := full
	admin := m.plane.Config()
	certified.Token, certified.Certificate, certified.Key = "", admin.CertData, admin.KeyData
	if r := m.want("a client certificate", certified, ""); r.User != "admin" {
		m.Errorf("the user is %q", r.User)
	}
	m.want("an expired token", m.with(m.expired(full.Token)), TokenExpired)

	revoked := m.account("revoked", "scanning")
	check(m.T, m.core.CoreV1().ServiceAccounts("scan").Delete(m.Context(), "revoked", metav1.DeleteOptions{}))
	for end := time.Now().Add(time.Minute); m.run(revoked).Failure() == nil && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // the API server caches logins for some seconds
	}
	m.want("a ServiceAccount that was deleted", revoked, CredentialRejected)

	anyone := full
	anyone.Token, anyone.Username, anyone.Password = "", "scanner", canary
	m.want("a password, which makes the request anonymous", anyone, Anonymous)

	acting := certified
	acting.Impersonate = map[string][]string{"Impersonate-User": {"auditor"}}
	if r := m.want("a user that acts as another one", acting, RightsNone); r.User != "auditor" {
		m.Errorf("the user is %q", r.User)
	}
}

func (m *remote) servers(full Target) {
	wrong := full
	wrong.CA = other().pem()
	m.want("another CA", wrong, ServerCertificateUnknown)
	wrong = full
	wrong.TLSServerName = "api.example.com"
	m.want("another host name", wrong, HostNameMismatch)
	wrong.TLSServerName = "kubernetes.default.svc"
	m.want("the server's own name for itself", wrong, "")
	wrong = full
	wrong.CA, wrong.SkipTLSVerify = nil, true
	m.want("without the check of the certificate", wrong, "")

	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["c"] = &clientcmdapi.Cluster{Server: full.Server, CertificateAuthorityData: full.CA}
	kubeconfig.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: full.Token}
	kubeconfig.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	kubeconfig.CurrentContext = "c"
	content, err := clientcmd.Write(*kubeconfig)
	check(m.T, err)
	m.want("a kubeconfig", FromKubeconfig("full", content, time.Now()), "")

	u, err := url.Parse(full.Server)
	check(m.T, err)
	address, err := netip.ParseAddr(u.Hostname())
	check(m.T, err)
	r := Run(m.Context(), full, Options{Management: []netip.Addr{address}})
	if f := r.Failure(); f == nil || f.Cause != AddressManagement {
		m.Errorf("the management cluster itself:\n%s", text(r))
	}
}

// expired returns a token of the API server with its times moved into the past, signed by the API server's key.
func (m *remote) expired(token string) string {
	m.Helper()
	content, err := os.ReadFile(filepath.Join(m.plane.Dir(), "sa.key"))
	check(m.T, err)
	key, err := jwt.ParseECPrivateKeyFromPEM(content)
	check(m.T, err)
	claims := jwt.MapClaims{}
	_, _, err = jwt.NewParser().ParseUnverified(token, claims)
	check(m.T, err)
	if signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key); err != nil || m.run(m.with(signed)).Failure() != nil {
		m.Fatalf("the API server doesn't accept what is signed by its key: %v", err)
	}
	for _, name := range []string{"iat", "nbf", "exp"} {
		claims[name] = claims[name].(float64) - 7200
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
	check(m.T, err)
	return signed
}

func (m *remote) with(token string) Target {
	return Target{Cluster: "full", Server: m.plane.URL(), CA: m.plane.CACert(), Token: token}
}
