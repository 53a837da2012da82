package controllers_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestPreflightIdentity: another cluster that takes the place of one behind its address is noticed, though the credential was changed
// with it and the process is another one. A move of the server in Git is deliberate.
func TestPreflightIdentity(t *testing.T) {
	m := newRequired(t)
	core, err := kubernetes.NewForConfig(plane.Config())
	must(t, err)
	other := &target{world: m.world, plane: plane, core: core}
	if _, err := core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "scan"}}, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	both := slices.Concat(m.plane.CACert(), plane.CACert())
	first, second := m.account("first"), other.account("of-another-cluster")
	address, moved := m.door(), other.door()

	m.createSync(func(s *v1alpha1.AuditSync) { m.forge.withForge("gitea")(s); mustCheck(s) })
	m.startController(nil)
	m.untilReady(m.commits(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": m.file("eu", address.url(), first, both)}))
	seen := m.seen("eu")
	namespace, err := m.core.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	must(t, err)
	if seen.UID != string(namespace.UID) {
		t.Errorf("recorded: %+v, want %s", seen, namespace.UID)
	}
	before := m.version()
	for range 3 {
		m.request()
	}
	m.stopController()
	m.startController(nil)
	m.untilCauses("", 1)
	m.request()
	if now := m.version(); now != before {
		t.Errorf("the inventory was written at rest: %s, and was %s", now, before)
	}

	address.lead(t, plane.URL())
	bad := m.commits(map[string]string{"clusters/eu.yaml": m.file("eu", address.url(), second, both)})
	m.untilShown(bad, "failure 1 of 1 cluster can't be used: clusters/eu.yaml: the credential failed the preflight: identity: another cluster is behind the address")
	if m.token("eu") != first || m.seen("eu") != seen {
		t.Errorf("recorded: %+v", m.seen("eu"))
	}
	good := m.commits(map[string]string{"clusters/eu.yaml": m.file("eu", moved.url(), second, both)})
	m.untilToken("eu", second)
	m.untilShown(good, "success 1 cluster applied")
	if now := m.seen("eu"); now.UID == seen.UID || now.Place == seen.Place {
		t.Errorf("recorded: %+v", now)
	}
}

// inventoryConfig is the ConfigMap of the audit config's inventory.
func (r *required) inventoryConfig() *corev1.ConfigMap {
	r.Helper()
	var config corev1.ConfigMap
	must(r.T, r.admin.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: inventory.ConfigMapName(syncName, "mondoo-client")}, &config))
	return &config
}

func (r *required) version() string { r.Helper(); return r.inventoryConfig().ResourceVersion }

// seen is what the inventory has of the cluster behind a server.
func (r *required) seen(cluster string) inventory.Seen {
	r.Helper()
	stored, err := inventory.Decode(r.inventoryConfig().BinaryData[inventory.DataKey])
	must(r.T, err)
	return stored.Cluster(cluster).Seen
}

// lead has new connections go to another server.
func (d *door) lead(t *testing.T, address string) {
	t.Helper()
	d.behind.Store(strings.TrimPrefix(address, "https://"))
}
