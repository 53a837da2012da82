package controllers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// many is a number of AuditSyncs with one repository, each with a path of its own.
type many struct {
	*world
	names []string
}

func newMany(t *testing.T, n int, interval time.Duration) *many {
	m := &many{world: newWorld(t)}
	for i := range n {
		m.names = append(m.names, fmt.Sprintf("sync-%02d", i))
	}
	m.push(m.files("first"))
	for _, name := range m.names {
		m.create(name, "fleet-git", interval)
	}
	time.Sleep(time.Second) // an AuditSync doesn't use what was listed in the second of its creation
	cfg, err := plane.User(m.user, "system:serviceaccounts", "system:serviceaccounts:"+m.namespace)
	must(t, err)
	m.stop = m.run(cfg, controllers.Options{Namespace: m.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: m.cacheDir, Concurrency: 4, Registry: prometheus.NewRegistry()})
	return m
}

// files are an audit config with one cluster for each AuditSync.
func (m *many) files(note string) map[string]string {
	files := map[string]string{}
	for _, name := range m.names {
		files[name+"/audit-config.yaml"] = strings.Replace(auditConfigFile, "name: mondoo-client", "name: "+name, 1)
		files[name+"/cluster.yaml"] = m.tokenCluster("only-"+name, "") + "# " + note + "\n"
	}
	return files
}

func (m *many) create(name, secret string, interval time.Duration) {
	m.Helper()
	must(m.T, m.admin.Create(m.Context(), &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}, Spec: v1alpha1.AuditSyncSpec{
		Source: v1alpha1.Source{URL: m.url, Ref: &v1alpha1.Ref{Branch: "main"}, SecretRef: &v1alpha1.SecretRef{Name: secret}}, Path: "./" + name,
		Interval: &metav1.Duration{Duration: interval}, Decryption: &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "sops-keys"}},
		AuditConfigs: v1alpha1.AuditConfigs{Allow: []string{"mondooCredsSecretRef=mondoo-client"}}}}))
}

// untilAll waits until all AuditSyncs are in a state.
func (m *many) untilAll(what string, reached func(*v1alpha1.AuditSync) bool) {
	m.Helper()
	deadline := time.Now().Add(patience)
	for {
		var list v1alpha1.AuditSyncList
		must(m.T, m.admin.List(m.Context(), &list, client.InNamespace(m.namespace)))
		n := 0
		for i := range list.Items {
			if reached(&list.Items[i]) {
				n++
			}
		}
		if n == len(list.Items) {
			return
		}
		if time.Now().After(deadline) {
			m.Fatalf("%s: %d of %d within %s; the first: %s", what, n, len(list.Items), patience, toJSON(m.T, list.Items[0].Status))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (m *many) untilAllReady(commit string) {
	m.Helper()
	m.untilAll("ready at "+commit, func(s *v1alpha1.AuditSync) bool {
		return meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady) && strings.HasSuffix(s.Status.LastAppliedRevision, commit)
	})
}

// asked counts what the Git server was asked for since the last call: listings of refs, and objects.
func (m *many) asked() func() (listings, fetches int) {
	seen := 0
	return func() (listings, fetches int) {
		requests := gitServer.Requests()
		for _, r := range requests[seen:] {
			switch {
			case !strings.Contains(r.Path, m.namespace+".git/") || r.Code == 401 || r.UserAgent != "git/muster":
			case r.Method == "GET":
				listings++
			default:
				fetches++
			}
		}
		seen = len(requests)
		return listings, fetches
	}
}

// clones are the directories of clones on disk.
func (m *many) clones() int {
	m.Helper()
	dirs, err := filepath.Glob(filepath.Join(m.cacheDir, m.namespace, "_*"))
	must(m.T, err)
	return len(dirs)
}

// TestSharedClone: twenty AuditSyncs with one repository cost one clone, and one fetch for each poll and each webhook.
func TestSharedClone(t *testing.T) {
	const interval = 5 * time.Second
	m := newMany(t, 20, interval)
	asked := m.asked()
	m.untilAllReady(m.git("rev-parse", "HEAD"))
	listings, fetches := asked()
	if t.Logf("start: %d listings, %d fetches", listings, fetches); listings > 2 || fetches != 1 || m.clones() != 1 {
		t.Errorf("start: %d listings, %d fetches, %d clones", listings, fetches, m.clones())
	}

	begun := time.Now()
	asked()
	time.Sleep(5 * interval)
	listings, fetches = asked()
	if most := int(time.Since(begun)/interval) + 1; listings > most || listings < most/2 || fetches != 0 {
		t.Errorf("polls: %d listings in %s, %d fetches", listings, time.Since(begun), fetches)
	}

	commit := m.push(m.files("second"))
	asked()
	at := []byte(`{"metadata":{"annotations":{"` + v1alpha1.AnnotationReconcile + `":"` + time.Now().Format(time.RFC3339Nano) + `"}}}`)
	var patches errgroup.Group
	for _, name := range m.names {
		patches.Go(func() error {
			sync := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}}
			return m.admin.Patch(t.Context(), sync, client.RawPatch(types.MergePatchType, at))
		})
	}
	must(t, patches.Wait())
	m.untilAllReady(commit)
	listings, fetches = asked()
	if t.Logf("webhook: %d listings, %d fetches", listings, fetches); listings > len(m.names)/2 || fetches != 1 {
		t.Error("each AuditSync asks for itself")
	}
}

// TestCloneOfOthers: AuditSyncs with another Secret, or another URL, have a clone of their own, and read nothing from this one.
func TestCloneOfOthers(t *testing.T) {
	m := newMany(t, 2, time.Hour)
	m.untilAllReady(m.git("rev-parse", "HEAD"))
	m.createSecret("wrong-git", map[string]string{"username": "muster", "password": "wrong"})
	m.create("stranger", "wrong-git", time.Hour)
	m.eventually("the stranger is refused", func() bool {
		sync := &v1alpha1.AuditSync{}
		must(t, m.admin.Get(t.Context(), client.ObjectKey{Namespace: m.namespace, Name: "stranger"}, sync))
		c := condition(sync.Status, v1alpha1.ConditionFetched)
		return c.Status == "False" && sync.Status.LastAttemptedRevision == ""
	})
	if n := m.clones(); n != 2 {
		t.Errorf("%d clones", n)
	}
	remove := func(name string) {
		must(t, m.admin.Delete(t.Context(), &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}}))
	}
	for _, step := range []struct {
		reason, name string
		clones       int
	}{{"the stranger", "stranger", 1}, {"one of two", m.names[0], 1}, {"the last", m.names[1], 0}} {
		remove(step.name)
		deadline := time.Now().Add(patience)
		for gone := false; !gone || m.clones() != step.clones; time.Sleep(50 * time.Millisecond) {
			gone = m.admin.Get(t.Context(), client.ObjectKey{Namespace: m.namespace, Name: step.name}, &v1alpha1.AuditSync{}) != nil
			if time.Now().After(deadline) {
				t.Fatalf("without %s: %d clones", step.reason, m.clones())
			}
		}
	}
	if _, err := os.Stat(filepath.Join(m.cacheDir, m.namespace)); err != nil {
		t.Error(err)
	}
}
