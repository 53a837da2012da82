package controllers_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	testclock "k8s.io/utils/clock/testing"

	fleets "github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// renewing is a target whose tokens are renewed. The renewals have a clock that the test can put forward. It goes on by itself as well.
type renewing struct {
	*target
	clock    *testclock.FakeClock
	registry *prometheus.Registry
}

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	m := &renewing{target: newTarget(t), clock: testclock.NewFakeClock(time.Now())}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for last := time.Now(); ; {
			select {
			case <-done:
				return
			case now := <-time.After(20 * time.Millisecond):
				m.clock.Step(now.Sub(last))
				last = now
			}
		}
	}()
	_, err := m.core.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scanning"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}}}}, metav1.CreateOptions{})
	must(t, err)
	return m
}

func (m *renewing) start() {
	m.Helper()
	cfg, err := plane.User(m.user, "system:serviceaccounts", "system:serviceaccounts:"+m.namespace)
	must(m.T, err)
	m.registry = prometheus.NewRegistry()
	m.stop = m.run(cfg, controllers.Options{Namespace: m.namespace, MetricsAddress: "0", ProbeAddress: "0",
		CacheDir: m.cacheDir, Concurrency: 1, Registry: m.registry}.WithClock(m.clock))
}

// restart starts a new process.
func (m *renewing) restart() {
	m.Helper()
	m.stopController()
	m.start()
}

// scanner makes a ServiceAccount with the rights of a scanner, and returns a token of an hour; with legacy, one that doesn't expire.
func (m *renewing) scanner(name string, legacy bool) string {
	m.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: "scan"}
	_, err := m.core.CoreV1().ServiceAccounts("scan").Create(m.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	must(m.T, err)
	_, err = m.core.RbacV1().ClusterRoleBindings().Create(m.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scanning"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: name}}}, metav1.CreateOptions{})
	must(m.T, err)
	if legacy {
		return m.legacy(name)
	}
	token, err := m.core.CoreV1().ServiceAccounts("scan").CreateToken(m.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}, metav1.CreateOptions{})
	must(m.T, err)
	return token.Status.Token
}

// legacy is the token of a Secret of type kubernetes.io/service-account-token, as the token controller makes it.
func (m *renewing) legacy(name string) string {
	m.Helper()
	account, err := m.core.CoreV1().ServiceAccounts("scan").Get(m.Context(), name, metav1.GetOptions{})
	must(m.T, err)
	content, err := os.ReadFile(filepath.Join(m.plane.Dir(), "sa.key"))
	must(m.T, err)
	key, err := jwt.ParseECPrivateKeyFromPEM(content)
	must(m.T, err)
	const claim = "kubernetes.io/serviceaccount/"
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:scan:" + name, claim + "namespace": "scan",
		claim + "secret.name": name, claim + "service-account.name": name, claim + "service-account.uid": string(account.UID)}).SignedString(key)
	must(m.T, err)
	_, err = m.core.CoreV1().Secrets("scan").Create(m.Context(), &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, StringData: map[string]string{"token": token},
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: name, corev1.ServiceAccountUIDKey: string(account.UID)}}}, metav1.CreateOptions{})
	must(m.T, err)
	if who := m.accepted(token); who != "system:serviceaccount:scan:"+name {
		m.Fatalf("the legacy token is one of %q", who)
	}
	return token
}

// allow makes the Role with which a ServiceAccount may create its own tokens, as muster setup has it.
func (m *renewing) allow(name string) {
	m.Helper()
	meta := metav1.ObjectMeta{Name: renew.RoleName(name), Namespace: "scan"}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{name}, Verbs: []string{"create"}}}
	_, err := m.core.RbacV1().Roles("scan").Create(m.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	must(m.T, err)
	_, err = m.core.RbacV1().RoleBindings("scan").Create(m.Context(), &rbacv1.RoleBinding{ObjectMeta: meta,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: name}}}, metav1.CreateOptions{})
	must(m.T, err)
	must(m.T, m.plane.AwaitRules(m.Context(), "system:serviceaccount:scan:"+name, "scan", rules, true))
}

// renewed is a cluster file whose token is renewed.
func (m *renewing) renewed(name, server, token, lifetime string) string {
	m.Helper()
	return m.key.Encrypt(m.T, name+".yaml", clusterFile(name, fmt.Sprintf("  serviceAccountAuth:\n    server: %s\n    token: %s\n    caCert: |\n%s  renew: {lifetime: %s}\n",
		server, token, indent(string(m.plane.CACert())), lifetime)), sealtest.Credentials)
}

// live are the tokens in the live Secrets, by cluster. An empty one is not a renewed one.
func (m *renewing) live(names []string) map[string]string {
	m.Helper()
	tokens := map[string]string{}
	for secret := range m.secrets() {
		s := m.secret(secret)
		_, cluster, _ := strings.Cut(s.Annotations[fleets.AnnotationMadeFor], "/")
		if tokens[cluster] = string(s.Data["token"]); s.Annotations[fleets.AnnotationRenewed] == "" {
			tokens[cluster] = ""
		}
	}
	maps.DeleteFunc(tokens, func(name, _ string) bool { return !strings.HasPrefix(name, names[0][:1]) })
	return tokens
}

// untilRenewed waits until all tokens are others than before, and checks each at the target, as a scan would.
func (m *renewing) untilRenewed(what string, names []string, before map[string]string) map[string]string {
	m.Helper()
	var now map[string]string
	m.eventually(what, func() bool {
		now = m.live(names)
		for _, name := range names {
			if now[name] == "" || now[name] == before[name] {
				return false
			}
		}
		return true
	})
	for _, name := range names {
		if who := m.accepted(now[name]); who != "system:serviceaccount:scan:"+name {
			m.Errorf("%s: the token of %s is one of %q", what, name, who)
		}
	}
	return now
}

// accepted returns for whom the target takes a token.
func (m *renewing) accepted(token string) string {
	m.Helper()
	review, err := m.core.AuthenticationV1().TokenReviews().Create(m.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	must(m.T, err)
	return review.Status.User.Username
}

// problem waits for a problem in the status. Meanwhile time passes quickly, so that what has failed is tried again.
func (m *renewing) problem(cluster, code, message string) (found v1alpha1.Problem) {
	m.Helper()
	m.until(code+" of "+cluster+": "+message, func(s *v1alpha1.AuditSync) bool {
		for _, p := range s.Status.Problems {
			if p.Cluster == cluster && p.Code == code && strings.Contains(p.Message, message) {
				found = p
				return true
			}
		}
		m.clock.Step(5 * time.Second)
		return false
	})
	return found
}

// TestRenewals renews the tokens of 20 ServiceAccounts of a real API server, each with the one right that it needs. Time jumps ahead at
// the renewals, and not at the server: what it grants is always valid, so what this shows is what is written and when, and that the
// server grants and accepts it. TestThirtyDays in package renewals shows the days.
func TestRenewals(t *testing.T) {
	m := newRenewing(t)
	door := m.door()
	files, seeds := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}, map[string]string{}
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("r%02d", i)
		names, seeds[name] = append(names, name), m.scanner(name, false)
		m.allow(name)
		files["clusters/"+name+".yaml"] = m.renewed(name, door.url(), seeds[name], "720h")
	}
	m.createSync(func(s *v1alpha1.AuditSync) {
		checkLoopback(s)
		s.Spec.Drift = v1alpha1.DriftReport // a renewal is no drift
	})
	m.start()
	m.untilReady(m.push(files))
	tokens := m.untilRenewed("the first tokens", names, seeds)
	inventories := 0
	for _, round := range []struct {
		what    string
		ahead   time.Duration
		restart bool
		swaps   int
	}{
		{"a restart takes over the tokens", 0, true, 0},
		{"at half of 720 hours", 361 * time.Hour, false, 20},
		{"at half of the rest", 181 * time.Hour, false, 20},
		{"a restart when all are due", 0, true, 20},
		{"at half of the rest again", 91 * time.Hour, false, 20},
	} {
		m.request()
		mark := m.mark()
		if round.restart {
			m.restart()
		}
		m.clock.Step(round.ahead)
		if round.swaps > 0 {
			tokens = m.untilRenewed(round.what, names, tokens)
		}
		m.request()
		got, want := m.writes(mark), map[string]int{"auditsyncs/status": 1} // the answer to the request
		if round.swaps > 0 {
			want["secrets"] = round.swaps
		}
		if round.restart {
			delete(got, "auditsyncs/status") // checks of credentials begin anew
			delete(want, "auditsyncs/status")
		}
		inventories += got["configmaps"]
		delete(got, "configmaps")
		if t.Logf("%s: writes %v", round.what, got); !maps.Equal(got, want) || !maps.Equal(m.live(names), tokens) {
			t.Errorf("%s: writes %v, want %v", round.what, got, want)
		}
	}
	if inventories > 1 {
		t.Errorf("%d writes of the inventory: the first swap after the checks may record which clusters they are, and no other", inventories)
	}
	status := m.sync().Status
	if c := condition(status, v1alpha1.ConditionInSync); c.Status != "True" {
		t.Errorf("InSync: %s", c.Message)
	}
	all := []string{}
	for _, name := range names {
		all = append(all, seeds[name], tokens[name])
	}
	m.leaks(all...)
	if text := exposition(t, m.registry); strings.Contains(text, "eyJ") {
		t.Error("the metrics show a token")
	}
}

// hatch is an address of the target that can be shut.
type hatch struct {
	net.Listener
	shut atomic.Bool
}

func (m *renewing) hatch() *hatch {
	m.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(m.T, err)
	h := &hatch{Listener: listener}
	m.Cleanup(func() { must(m.T, h.Close()) })
	behind, err := url.Parse(m.plane.URL())
	must(m.T, err)
	go func() {
		for {
			conn, err := h.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // either side may be the first
				if h.shut.Load() {
					return
				}
				to, err := net.Dial("tcp", behind.Host)
				if err != nil {
					return
				}
				defer to.Close() //nolint:errcheck // as above
				go func() { _, _ = io.Copy(to, conn) }()
				_, _ = io.Copy(conn, to)
			}()
		}
	}()
	return h
}

func (h *hatch) url() string { return "https://" + h.Addr().String() }

// kubeconfigs is a cluster file with a kubeconfig whose token is renewed.
func (m *renewing) kubeconfigs(name, server, user string) string {
	m.Helper()
	text := strings.ReplaceAll(kubeconfig(name, user), "https://"+name+".example.com", server)
	text = strings.ReplaceAll(text, base64.StdEncoding.EncodeToString(plane.CACert()), base64.StdEncoding.EncodeToString(m.plane.CACert()))
	return m.key.Encrypt(m.T, name+".yaml", clusterFile(name, text+"  renew: {lifetime: 720h}\n"), sealtest.Credentials)
}

// kubeconfigOf is the kubeconfig in the live Secret of a cluster.
func (m *renewing) kubeconfigOf(cluster string) *clientcmdapi.Config {
	m.Helper()
	for secret := range m.secrets() {
		if s := m.secret(secret); s.Annotations[fleets.AnnotationMadeFor] == "mondoo-client/"+cluster {
			config, err := clientcmd.Load(s.Data["kubeconfig"])
			must(m.T, err)
			return config
		}
	}
	return clientcmdapi.NewConfig()
}

// healed waits until no cluster has a problem with its token.
func (m *renewing) healed(what string) {
	m.Helper()
	m.until(what, func(s *v1alpha1.AuditSync) bool {
		return !slices.ContainsFunc(s.Status.Problems, func(p v1alpha1.Problem) bool {
			return p.Code == string(renew.CodeFailing) || p.Code == string(renew.CodeEnded)
		})
	})
}

// TestRenewalsThatFail takes the Role, the server and the seed away, at a real API server.
func TestRenewalsThatFail(t *testing.T) {
	m := newRenewing(t)
	hatch := m.hatch()
	seeds := map[string]string{"role": m.scanner("role", false), "seed": m.scanner("seed", false), "legacy": m.scanner("legacy", true), "kube": m.scanner("kube", true), "cert": m.scanner("cert", false)}
	for _, name := range []string{"seed", "legacy", "kube"} {
		m.allow(name)
	}
	m.createSync(checkLoopback)
	m.start()
	m.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/role.yaml": m.renewed("role", hatch.url(), seeds["role"], "720h"), "clusters/seed.yaml": m.renewed("seed", hatch.url(), seeds["seed"], "720h"),
		"clusters/legacy.yaml": m.renewed("legacy", hatch.url(), seeds["legacy"], "720h"), "clusters/kube.yaml": m.kubeconfigs("kube", hatch.url(), "token: "+seeds["kube"]),
		"clusters/cert.yaml": m.kubeconfigs("cert", hatch.url(), fmt.Sprintf("token: %s, client-certificate-data: %s, client-key-data: %s", seeds["cert"],
			base64.StdEncoding.EncodeToString(m.plane.Config().CertData), base64.StdEncoding.EncodeToString(m.plane.Config().KeyData)))})
	m.request()
	one := func(name string) string { return m.live([]string{name})[name] }

	// Without the Role, the seed is used, and the finding has the command that makes the Role.
	if p := m.problem("role", "renew-failing", "the ServiceAccount scan/role may not create its own tokens; the token in the file is used"); !strings.Contains(p.Fix,
		"--namespace scan create role muster-renew-role --verb=create --resource=serviceaccounts/token --resource-name=role") {
		t.Errorf("the fix is %s", p.Fix)
	}
	m.problem("cert", "renew", "the kubeconfig has another credential beside the token, and only a token can be renewed")
	m.eventually("the others have tokens", func() bool {
		kube := m.kubeconfigOf("kube").AuthInfos["u"]
		return one("role") == "" && one("seed") != "" && one("legacy") != "" && kube != nil && kube.Token != seeds["kube"]
	})
	kube := m.kubeconfigOf("kube")
	if c := kube.Clusters["c"]; m.accepted(kube.AuthInfos["u"].Token) != "system:serviceaccount:scan:kube" || c.Server != hatch.url() || string(c.CertificateAuthorityData) != string(m.plane.CACert()) {
		t.Error("the kubeconfig has no renewed token, or another server")
	}
	m.allow("role")
	m.request()
	m.eventually("with the Role, a token", func() bool { return one("role") != "" })
	m.healed("the Role is there")

	// What someone writes into the live Secret is drift, and corrected to the renewed token.
	before := one("seed")
	for secret := range m.secrets() {
		if s := m.secret(secret); s.Annotations[fleets.AnnotationMadeFor] == "mondoo-client/seed" {
			s.Data["token"] = []byte(seeds["role"])
			must(t, m.admin.Update(t.Context(), s))
		}
	}
	m.eventually("drift is corrected", func() bool { return one("seed") == before })

	// An outage that is shorter than what is left: it is told, and nothing else happens.
	hatch.shut.Store(true)
	m.clock.Step(361 * time.Hour)
	m.problem("seed", "renew-failing", "; it ends on ")
	if m.accepted(one("seed")) == "" || one("seed") != before {
		t.Error("the token is gone although it has not ended")
	}
	hatch.shut.Store(false)
	m.clock.Step(16 * time.Minute)
	m.eventually("the next token after the outage", func() bool { return one("seed") != before && one("seed") != "" })
	m.healed("the server is back")

	// One that is longer: what Git has is used, if it still works.
	hatch.shut.Store(true)
	last := one("seed")
	m.clock.Step(181 * time.Hour)
	m.problem("seed", "renew-failing", "; it ends on ")
	m.clock.Step(179 * time.Hour)
	if p := m.problem("seed", "renew-ended", "the renewed token ended on "); !strings.HasSuffix(p.Fix, "muster rotate --token seed") {
		t.Errorf("the fix is %s", p.Fix)
	}
	m.problem("legacy", "renew-failing", "; the token in the file is used")
	m.eventually("the legacy token is used again", func() bool { return m.seeded("legacy") == seeds["legacy"] })
	if one("seed") != last || !slices.Contains(m.names("mondoo-client"), "seed") {
		t.Error("a cluster without a token loses what is applied")
	}

	// A new seed in Git is used at once.
	m.push(map[string]string{"clusters/seed.yaml": m.renewed("seed", hatch.url(), m.legacy("seed"), "720h")})
	m.request()
	m.eventually("the new seed", func() bool { return m.accepted(m.seeded("seed")) == "system:serviceaccount:scan:seed" })

	// Without renew, the seed is used as it is, and nothing is left of the renewal.
	hatch.shut.Store(false)
	m.stopController()
	m.clock.SetTime(time.Now())
	m.start()
	m.eventually("all tokens", func() bool { return one("role") != "" && one("seed") != "" && one("legacy") != "" })
	m.healed("the end")
	m.push(map[string]string{"clusters/legacy.yaml": strings.ReplaceAll(m.file("legacy", hatch.url(), seeds["legacy"], m.plane.CACert()), "renew:", "")})
	m.request()
	m.eventually("without renew, the seed", func() bool { return m.seeded("legacy") == seeds["legacy"] })
	m.leaks(seeds["role"], seeds["seed"], seeds["legacy"], seeds["kube"], before, last, one("role"))
}

// seeded is the token in the live Secret of a cluster that was not renewed.
func (m *renewing) seeded(cluster string) string {
	m.Helper()
	for secret := range m.secrets() {
		if s := m.secret(secret); s.Annotations[fleets.AnnotationMadeFor] == "mondoo-client/"+cluster && s.Annotations[fleets.AnnotationRenewed] == "" {
			return string(s.Data["token"])
		}
	}
	return ""
}
