package controllers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// existingConfig makes an audit config by hand, with one entry that names a Secret.
func (w *world) existingConfig(name, entry, secret string) {
	w.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "spec": map[string]any{
		"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"},
		"kubernetesResources": map[string]any{"externalClusters": []any{
			map[string]any{"name": entry, "kubeconfigSecretRef": map[string]any{"name": secret}}}}}}}
	object.SetNamespace(w.namespace)
	object.SetName(name)
	must(w.T, w.admin.Create(w.Context(), object))
}

// notes are the events of a reason.
func (w *world) notes(reason string) (notes []string) {
	w.Helper()
	var events eventsv1.EventList
	must(w.T, w.admin.List(w.Context(), &events, client.InNamespace(w.namespace)))
	for _, e := range events.Items {
		if e.Reason == reason && e.Regarding.Kind == "AuditSync" && e.Regarding.Name == syncName {
			notes = append(notes, e.Note)
		}
	}
	slices.Sort(notes)
	return notes
}

// TestDeletionKeepsWhatIsNamed deletes an AuditSync with what it applied, of which entries made by hand name Secrets: these stay, and it
// is told which, for which entries.
func TestDeletionKeepsWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	made, manifest := tokenSecret("eu"), "shared"
	w.existingConfig("second", "theirs", made)
	w.existingConfig("third", "other", manifest)
	commit := w.push(map[string]string{
		"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml":            w.tokenCluster("eu", ""),
		"clusters/us.yaml":            w.tokenCluster("us", ""),
		"clusters/shared.yaml":        w.key.Encrypt(t, "shared.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: shared}\nstringData: {kubeconfig: CANARY-shared}\n", sealtest.Credentials),
	})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.untilReady(commit)
	w.replaceEntries(func(list []map[string]any) []map[string]any {
		return append(list, map[string]any{"name": "by-hand", "kubeconfigSecretRef": map[string]any{"name": "x"}})
	})
	w.until("the entry made by hand is known of", func(s *v1alpha1.AuditSync) bool { return s.Status.Clusters.Foreign == 1 })
	must(t, w.admin.Delete(t.Context(), w.sync()))
	w.gone()
	w.eventuallyTold("SecretKept", "Secret "+made+" is kept because the entry theirs of the audit config second names it",
		"Secret "+manifest+" is kept because the entry other of the audit config third names it")
	w.eventuallyTold("EntriesRemoved", "entries deleted with their audit config although they are in no file: by-hand (mondoo-client)")
	if w.secret(made) == nil || w.secret(manifest) == nil || w.secret(tokenSecret("us")) != nil {
		t.Errorf("Secrets %v", w.secrets())
	}
	if !strings.Contains(logs.String(), "Secret "+made+" is kept because the entry theirs of the audit config second names it") {
		t.Error("it is not in the log")
	}
}

// TestDeletionWithDamagedInventory deletes an AuditSync with what it applied, when nobody knows any more what that is.
func TestDeletionWithDamagedInventory(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.untilReady(commit)
	w.stopController()
	var list corev1.ConfigMapList
	must(t, w.admin.List(t.Context(), &list, client.InNamespace(w.namespace), client.HasLabels{inventory.Label}))
	for i := range list.Items {
		list.Items[i].BinaryData[inventory.DataKey] = []byte("half")
		must(t, w.admin.Update(t.Context(), &list.Items[i]))
	}
	must(t, w.admin.Delete(t.Context(), w.sync()))
	w.startController(nil)
	w.gone()
	w.eventuallyTold("Kept", "kept: everything in the inventory of ConfigMap "+list.Items[0].Name+", which can't be read")
	if w.secret(tokenSecret("eu")) == nil {
		t.Error("its Secret is gone")
	}
}

// TestDeletionWaitsForAStuckSync: a sync that can't be ended may still write. What was applied is removed when it is over, and not before.
func TestDeletionWaitsForAStuckSync(t *testing.T) {
	h := newByHand(t, forge.Gitea)
	h.createSync(func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	h.push(h.clusterFiles("eu"))
	h.reconcile()
	release := h.r.Stick(h.key)
	must(t, h.admin.Delete(t.Context(), h.world.sync()))
	if result, err := h.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: h.key}); err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("stuck: %+v, %v", result, err)
	}
	if h.auditConfig("mondoo-client") == nil || h.secret(tokenSecret("eu")) == nil {
		t.Error("it is removed while a sync may still write")
	}
	release()
	h.reconcile()
	h.gone()
	if h.auditConfig("mondoo-client") != nil || h.secret(tokenSecret("eu")) != nil {
		t.Error("it stays")
	}
}

// TestImmutableSecret: immutable in Git is immutable in the cluster. A change of its data is a finding, and nothing that fails for ever.
func TestImmutableSecret(t *testing.T) {
	w := newWorld(t)
	manifest := func(value string) string {
		return w.key.Encrypt(t, "shared.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: shared}\nimmutable: true\nstringData: {kubeconfig: "+value+"}\n", sealtest.Recommended)
	}
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/shared.yaml": manifest("CANARY-first"), "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	if s := w.secret("shared"); s == nil || s.Immutable == nil || !*s.Immutable {
		t.Fatalf("the Secret is %+v", s)
	}
	w.push(map[string]string{"clusters/shared.yaml": manifest("CANARY-second"), "clusters/us.yaml": w.tokenCluster("us", "")})
	mark := w.mark()
	status := w.request().Status
	if ready := condition(status, v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse || ready.Reason == "ApplyFailed" || !strings.Contains(ready.Message, "[secret-immutable]") {
		t.Errorf("Ready: %s %s: %s", ready.Status, ready.Reason, ready.Message)
	}
	if applied := condition(status, v1alpha1.ConditionApplied); applied.Reason != "Refused" {
		t.Errorf("Applied: %+v", applied)
	}
	if names := w.names("mondoo-client"); !slices.Equal(names, []string{"eu", "us"}) {
		t.Errorf("clusters beside it: %v", names)
	}
	w.request()
	w.untilQuiet()
	for _, r := range w.requests(mark) {
		if r.Resource == "secrets" && r.Name == "shared" && r.Writes() {
			t.Errorf("the controller wrote: %s", r)
		}
	}
}

// eventuallyTold waits for an event with each beginning, sorted, and no other of the reason. They outlive their AuditSync.
func (w *world) eventuallyTold(reason string, beginnings ...string) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for !slices.EqualFunc(w.notes(reason), beginnings, strings.HasPrefix) {
		if time.Now().After(deadline) {
			w.Fatalf("events %q", w.notes(reason))
		}
		time.Sleep(50 * time.Millisecond)
	}
}
