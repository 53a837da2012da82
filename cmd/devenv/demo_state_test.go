package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

func (v *visitor) sync() *v1alpha1.AuditSync {
	v.Helper()
	sync, err := v.demo.cluster.sync(v.Context())
	if err != nil {
		v.Fatal(err)
	}
	return sync
}

// ready says whether the commit of the work tree is applied.
func (v *visitor) ready() bool {
	sync := v.sync()
	return meta.IsStatusConditionTrue(sync.Status.Conditions, v1alpha1.ConditionReady) && strings.HasSuffix(sync.Status.LastAppliedRevision, v.head())
}

// verdict is the reason of the condition Ready.
func (v *visitor) verdict() string {
	ready := meta.FindStatusCondition(v.sync().Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return ""
	}
	return ready.Reason
}

func (v *visitor) quarantined(place string) bool {
	return v.verdict() == "Quarantined" && slices.ContainsFunc(v.sync().Status.Problems, func(p v1alpha1.Problem) bool {
		return p.Cluster == "analytics" && strings.HasPrefix(p.Place, place)
	})
}

// synced asks for a sync, and says whether one that was asked for is done.
func (v *visitor) synced() bool {
	sync := v.sync()
	if asked := sync.Annotations[v1alpha1.AnnotationReconcile]; asked != "" {
		return sync.Status.LastHandledReconcileAt == asked
	}
	before := sync.DeepCopy()
	metav1.SetMetaDataAnnotation(&sync.ObjectMeta, v1alpha1.AnnotationReconcile, "now")
	if err := v.admin.Patch(v.Context(), sync, client.MergeFrom(before)); err != nil {
		v.Fatal(err)
	}
	return false
}

func (v *visitor) head() string { return v.commit("HEAD") }

// commit is the commit of a revision in the work tree.
func (v *visitor) commit(revision string) string {
	v.Helper()
	out, err := exec.CommandContext(v.Context(), "git", "-C", v.demo.file("fleet"), "rev-parse", revision).Output()
	if err != nil {
		v.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (v *visitor) pid() string {
	content, err := os.ReadFile(v.demo.file("controller.pid"))
	if err != nil {
		v.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func (v *visitor) config() *unstructured.Unstructured {
	v.Helper()
	config := &unstructured.Unstructured{}
	config.SetGroupVersionKind(auditConfigKind)
	if err := v.admin.Get(v.Context(), client.ObjectKey{Namespace: demoNamespace, Name: demoAuditConfig}, config); err != nil {
		v.Fatal(err)
	}
	return config
}

func (v *visitor) names() []string { return namesIn(v.T, v.config()) }

func namesIn(t *testing.T, config *unstructured.Unstructured) (names []string) {
	t.Helper()
	for name := range entriesOf(config) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (v *visitor) schedule(cluster string) string {
	entry, _ := entriesOf(v.config())[cluster].(mondoo.Entry)
	return entry.Schedule
}

// has reports whether there is a Secret that Muster made, whatever its hash.
func (v *visitor) has(secret string) bool {
	var list corev1.SecretList
	if err := v.admin.List(v.Context(), &list, client.InNamespace(demoNamespace)); err != nil {
		v.Fatal(err)
	}
	return slices.ContainsFunc(list.Items, func(s corev1.Secret) bool { return mondoo.IsMade(s.Name) && mondoo.WithoutHash(s.Name) == secret })
}

// transcript is what the demo prints.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.buf.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.buf.String()
}
