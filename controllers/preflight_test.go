package controllers_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// target is a control plane that is scanned, in front of which connections are counted.
type target struct {
	*world
	plane *server.ControlPlane
	core  kubernetes.Interface
}

func newTarget(t *testing.T) *target {
	t.Helper()
	return newTargetFor(t, newWorld(t))
}

func newTargetFor(t *testing.T, w *world) *target {
	t.Helper()
	m := &target{world: w}
	var err error
	m.plane, err = server.StartControlPlane(t.Context(), server.ControlPlaneOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, m.plane.Stop()) })
	m.core, err = kubernetes.NewForConfig(m.plane.Config())
	must(t, err)
	_, err = m.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "scan"}}, metav1.CreateOptions{})
	must(t, err)
	return m
}

// account makes a ServiceAccount that may read everything, and returns its token.
func (m *target) account(name string) string {
	m.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: "scan"}
	_, err := m.core.CoreV1().ServiceAccounts("scan").Create(m.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	must(m.T, err)
	_, err = m.core.RbacV1().ClusterRoleBindings().Create(m.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: name}}}, metav1.CreateOptions{})
	must(m.T, err)
	pods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
	must(m.T, m.plane.AwaitRules(m.Context(), "system:serviceaccount:scan:"+name, "", pods, true))
	lifetime := int64(3600)
	token, err := m.core.CoreV1().ServiceAccounts("scan").CreateToken(m.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}, metav1.CreateOptions{})
	must(m.T, err)
	return token.Status.Token
}

// file is the file of a cluster.
func (m *target) file(name, server, token string, ca []byte) string {
	m.Helper()
	return m.key.Encrypt(m.T, name+".yaml", fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %s
spec:
  serviceAccountAuth:
    server: %s
    token: %s
    caCert: |
%s`, name, server, token, indent(string(ca))), sealtest.Credentials)
}

// door is an address of the target that counts the connections through it.
type door struct {
	net.Listener
	connections atomic.Int32
	behind      atomic.Value
}

func (m *target) door() *door {
	m.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(m.T, err)
	d := &door{Listener: listener}
	m.Cleanup(func() { d.Close() }) //nolint:errcheck // a test may have closed it
	behind, err := url.Parse(m.plane.URL())
	must(m.T, err)
	d.behind.Store(behind.Host)
	go func() {
		for {
			conn, err := d.Accept()
			if err != nil {
				return
			}
			d.connections.Add(1)
			go func() {
				defer conn.Close() //nolint:errcheck // either side may be the first
				to, err := net.Dial("tcp", d.behind.Load().(string))
				if err != nil {
					return
				}
				defer to.Close() //nolint:errcheck // as above
				go func() { _, _ = io.Copy(to, conn) }()
				_, _ = io.Copy(conn, to)
			}()
		}
	}()
	return d
}

func (d *door) url() string { return "https://" + d.Addr().String() }

// silent is a server that accepts connections, and says nothing.
func (m *target) silent() string {
	m.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(m.T, err)
	m.Cleanup(func() { must(m.T, listener.Close()) })
	return "https://" + listener.Addr().String()
}

// causes are the failures in the status, as "CLUSTER CAUSE".
func causes(s *v1alpha1.AuditSync) string {
	var list []string
	if p := s.Status.Preflight; p != nil {
		for _, f := range p.Failures {
			list = append(list, f.Cluster+" "+f.Cause)
		}
	}
	return strings.Join(list, ", ")
}

func (m *target) untilCauses(want string, passed int32) *v1alpha1.AuditSync {
	m.Helper()
	return m.until("the failures "+want, func(s *v1alpha1.AuditSync) bool {
		return s.Status.Preflight != nil && causes(s) == want && s.Status.Preflight.Passed == passed
	})
}

func (m *target) preflights() string {
	m.Helper()
	var list eventsv1.EventList
	must(m.T, m.admin.List(m.Context(), &list, client.InNamespace(m.namespace)))
	var notes []string
	for _, e := range list.Items {
		if strings.HasPrefix(e.Reason, "Preflight") {
			notes = append(notes, e.Type+" "+e.Reason+" "+e.Note)
		}
	}
	slices.Sort(notes)
	return strings.Join(notes, "\n")
}

func checkLoopback(s *v1alpha1.AuditSync) {
	s.Spec.Preflight = v1alpha1.Preflight{Mode: v1alpha1.PreflightReport, AllowAddresses: []string{"127.0.0.1"}}
}

// TestPreflight checks the credentials of clusters at a real API server, through all that can happen to an AuditSync.
func TestPreflight(t *testing.T) {
	m := newTarget(t)
	healthy, other := m.account("healthy"), m.account("other")
	eu, us := m.door(), m.door()
	const wrong = "eyJhbGciOiJSUzI1NiJ9.CANARY-of-another-cluster.c2lnbmF0dXJl"
	down := m.door()
	must(t, down.Close())
	files := map[string]string{
		"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml":            m.file("eu", eu.url(), healthy, m.plane.CACert()),
		"clusters/us.yaml":            m.file("us", us.url(), wrong, m.plane.CACert()),
		"clusters/ca.yaml":            m.file("ca", m.plane.URL(), healthy, plane.CACert()),
		"clusters/down.yaml":          m.file("down", down.url(), healthy, m.plane.CACert()),
		"clusters/hangs.yaml":         m.file("hangs", m.silent(), healthy, m.plane.CACert()),
	}
	m.createSync(nil)
	m.startController(nil)
	synced := m.untilReady(m.push(files))
	if condition(synced.Status, v1alpha1.ConditionPreflight).Type != "" || synced.Status.Preflight != nil {
		t.Errorf("without spec.preflight: %+v", synced.Status)
	}

	m.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Preflight.Mode = v1alpha1.PreflightReport })
	m.untilCauses("ca address-management, down address-management, eu address-management, hangs address-management, us address-management", 0)
	if n := eu.connections.Load() + us.connections.Load(); n != 0 {
		t.Errorf("%d connections to an address that is refused, or while the mode was Off", n)
	}

	m.changeSync(checkLoopback)
	const all = "ca server-certificate-unknown, down connect-refused, hangs tls-timeout, us credential-rejected"
	found := m.untilCauses(all, 1)
	if c := condition(found.Status, v1alpha1.ConditionPreflight); c.Status != "False" || !strings.HasPrefix(c.Message, "4 of 5 clusters failed: ca: tls: the server's certificate is not from the CA in the file") {
		t.Errorf("%s: %s", c.Status, c.Message)
	}
	if c := condition(found.Status, v1alpha1.ConditionReady); c.Status != "True" {
		t.Errorf("Ready depends on the checks: %s", c.Message)
	}

	// A credential that was mended is checked at once, and what is as it was is left alone.
	before := eu.connections.Load()
	if before == 0 || us.connections.Load() == 0 {
		t.Errorf("%d and %d connections: the doors count nothing", before, us.connections.Load())
	}
	begun := time.Now()
	m.untilReady(m.pushed(map[string]string{"clusters/us.yaml": m.file("us", us.url(), other, m.plane.CACert())}))
	found = m.untilCauses("ca server-certificate-unknown, down connect-refused, hangs tls-timeout", 2)
	t.Logf("mended and told after %s", time.Since(begun).Round(100*time.Millisecond))
	for range 3 {
		m.request()
	}
	if n := eu.connections.Load(); n != before {
		t.Errorf("%d connections for a cluster that has not changed", n-before)
	}

	// A new process makes the same results again.
	m.stopController()
	once := us.connections.Load()
	m.startController(nil)
	m.eventually("a new process checks again", func() bool { return eu.connections.Load() == 2*before && us.connections.Load() > once })
	m.untilCauses("ca server-certificate-unknown, down connect-refused, hangs tls-timeout", 2)
	if again := m.sync().Status.Preflight.Failures[0].Since; !again.Equal(found.Status.Preflight.Failures[0].Since) {
		t.Errorf("a restart forgets since when a cluster fails: %v", again)
	}

	// What fails goes away, with its files.
	m.push(nil, "clusters/ca.yaml", "clusters/down.yaml", "clusters/hangs.yaml")
	m.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Prune.MaxRemovals = percent("100%") })
	m.request()
	m.untilCauses("", 2)
	m.eventually("events of failure and of recovery", func() bool {
		notes := m.preflights()
		return strings.Contains(notes, "Warning PreflightFailed 4 of 5 clusters failed: ca: tls:") && strings.Contains(notes, "Normal PreflightPassed 2 clusters passed")
	})
	m.leaks(healthy, other, wrong)

	m.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Preflight.Mode = v1alpha1.PreflightOff })
	m.until("off", func(s *v1alpha1.AuditSync) bool {
		return s.Status.Preflight == nil && condition(s.Status, v1alpha1.ConditionPreflight).Type == ""
	})
	before = us.connections.Load()
	m.untilReady(m.pushed(map[string]string{"clusters/us.yaml": m.file("us", us.url(), healthy, m.plane.CACert())}))
	m.request()
	if n := us.connections.Load(); n != before {
		t.Errorf("%d connections while the mode is Off", n-before)
	}
}

// pushed pushes files, and requests a sync.
func (m *target) pushed(files map[string]string) string {
	m.Helper()
	commit := m.push(files)
	m.request()
	return commit
}

// leaks looks for the tokens in all that a user may see.
func (m *target) leaks(tokens ...string) {
	m.Helper()
	seen := map[string]string{"status": toJSON(m.T, m.sync()), "events": m.preflights(), "logs": logs.String()}
	for where, text := range seen {
		for _, token := range tokens {
			if parts := strings.Split(token, "."); strings.Contains(text, parts[1]) || strings.Contains(text, parts[2]) {
				m.Errorf("the %s show a token", where)
			}
		}
	}
}

// TestPreflightOfTheLeader: of several replicas only the leader contacts clusters, and the next leader does it after it.
func TestPreflightOfTheLeader(t *testing.T) {
	m := newTarget(t)
	eu := m.door()
	m.grantLease()
	m.createSync(checkLoopback)
	commit := m.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": m.file("eu", eu.url(), m.account("healthy"), m.plane.CACert())})
	stopFirst := m.replica(true, nil)
	m.untilReady(commit)
	m.untilCauses("", 1)
	once := eu.connections.Load()
	stopSecond := m.replica(true, nil)
	defer stopSecond()
	m.request()
	if n := eu.connections.Load(); n != once {
		t.Errorf("%d connections more: a replica that waits for the lease checks clusters", n-once)
	}
	stopFirst()
	m.eventually("the next leader checks", func() bool { return eu.connections.Load() == 2*once })
	m.request()
	m.untilCauses("", 1)
}
