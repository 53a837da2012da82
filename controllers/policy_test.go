package controllers_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// TestPolicyOfAuditConfigs has somebody who may push, and holds no key, try to have the operator run something else, or log in elsewhere.
// The controller works with the rights of the shipped Role.
func TestPolicyOfAuditConfigs(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	before := w.auditConfig("mondoo-client")
	with := func(more string) map[string]string {
		return map[string]string{"clusters/mondoo-client.yaml": auditConfigFile + more}
	}
	for _, row := range []struct {
		reason string
		files  map[string]string
		want   string
	}{
		{"SOPS keys as credentials", map[string]string{"clusters/mondoo-client.yaml": strings.Replace(auditConfigFile, "    name: mondoo-client", "    name: sops-keys", 1)}, "[secret-reserved]"},
		{"an image", with("  scanner: {image: {name: evil.example.com/x}}\n"), "[audit-config-not-allowed]"},
		{"an environment with the keys", with("  scanner: {env: [{name: K, valueFrom: {secretKeyRef: {name: sops-keys, key: age.agekey}}}]}\n"), "[secret-reserved]"},
		{"the ServiceAccount of Muster", with("  scanner: {serviceAccountName: muster}\n"), "[audit-config-not-allowed]"},
		{"managed by the console", with("  remoteManaged: true\n"), "[remote-managed]"},
		{"a patch", map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/kustomization.yaml": "resources: [mondoo-client.yaml]\npatches:\n- target: {kind: MondooAuditConfig}\n" +
			"  patch: |\n    - {op: add, path: /spec/scanner, value: {image: {name: evil.example.com/x}}}\n"}, "[audit-config-not-allowed]"},
	} {
		w.push(row.files)
		status := w.request().Status
		if ready := condition(status, v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, row.want) {
			t.Errorf("%s: Ready: %s %s", row.reason, ready.Status, ready.Message)
		}
		if live := w.auditConfig("mondoo-client"); live.GetResourceVersion() != before.GetResourceVersion() {
			t.Errorf("%s: the audit config was changed: %v", row.reason, live.Object["spec"])
		}
	}
	// The AuditSync allows it, and it is applied.
	w.changeSync(func(s *v1alpha1.AuditSync) {
		s.Spec.AuditConfigs.Allow = append(s.Spec.AuditConfigs.Allow, "scanner.image.name=example.com/scanner", "scanner.serviceAccountName=scanner")
	})
	commit = w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile + "  scanner: {image: {name: example.com/scanner}, serviceAccountName: scanner}\n"}, "clusters/kustomization.yaml")
	w.request()
	w.untilReady(commit)
	if name, _, _ := unstructured.NestedString(w.auditConfig("mondoo-client").Object, "spec", "scanner", "image", "name"); name != "example.com/scanner" {
		t.Errorf("the image is %q", name)
	}
	// And takes it back: what is there stays, and nothing passes for good.
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfigs.Allow = s.Spec.AuditConfigs.Allow[:1] })
	if ready := condition(w.request().Status, v1alpha1.ConditionReady); !strings.Contains(ready.Message, "[audit-config-not-allowed]") {
		t.Errorf("taken back: %s", ready.Message)
	}
	// A list that allows any Secret is none.
	sync := w.sync()
	sync.Spec.AuditConfigs.Allow = []string{"mondooCredsSecretRef"}
	if err := w.admin.Update(t.Context(), sync); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "FIELD=NAME") {
		t.Errorf("a Secret without its name on the list: %v", err)
	}
	sync = w.sync()
	sync.Spec.VaultAuth.Addresses = []string{"http://vault.example.com"}
	if err := w.admin.Update(t.Context(), sync); !apierrors.IsInvalid(err) {
		t.Errorf("a Vault over http on the list: %v", err)
	}
}

// TestPolicyOfVault has a cluster log in to a Vault of somebody else's, by a file, by a patch and in an entry of the audit config.
func TestPolicyOfVault(t *testing.T) {
	w := newWorld(t)
	vault := func(address string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu}\nspec:\n  vaultAuth: {server: 'https://eu.example.com', vaultAddr: '" + address +
			"', vaultNamespace: admin/eu, authRole: a, credsRole: b, targetCACertSecretRef: {name: ca}}\n"
	}
	w.createSecret("ca", map[string]string{"ca.crt": "x"})
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": vault("https://vault.example.com")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.VaultAuth.Addresses = []string{"https://vault.example.com"} })
	w.untilReady(commit)
	patch := "resources: [mondoo-client.yaml, eu.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: replace, path: /spec/vaultAuth/vaultAddr, value: 'https://evil.example.com'}\n"
	for reason, files := range map[string]map[string]string{
		"another server": {"clusters/eu.yaml": vault("https://evil.example.com")},
		"over http":      {"clusters/eu.yaml": vault("http://vault.example.com")},
		"a patch":        {"clusters/eu.yaml": vault("https://vault.example.com"), "clusters/kustomization.yaml": patch},
		"an entry of the audit config": {"clusters/eu.yaml": vault("https://vault.example.com"), "clusters/mondoo-client.yaml": auditConfigFile +
			"    externalClusters: [{name: us, vaultAuth: {server: 'https://us.example.com', vaultAddr: 'https://evil.example.com', authRole: a, credsRole: b}}]\n"},
	} {
		w.push(files)
		if ready := condition(w.request().Status, v1alpha1.ConditionReady); !strings.Contains(ready.Message, "vault-") {
			t.Errorf("%s: Ready: %s", reason, ready.Message)
		}
		entries := w.entries("mondoo-client")
		if eu := entries["eu"].VaultAuth; len(entries) != 1 || eu == nil || eu.VaultAddr != "https://vault.example.com" || eu.VaultNamespace != "admin/eu" {
			t.Errorf("%s: %+v, %+v", reason, entries, eu)
		}
		w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}, "clusters/kustomization.yaml")
	}
}

// TestAuditConfigIsAdopted: an audit config that spec.auditConfig names, made by hand, isn't taken over by a manifest of its name.
func TestAuditConfigIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.existingConfig("mondoo-client", "theirs", "x")
	commit := w.push(map[string]string{"clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig = "mondoo-client" })
	w.untilReady(commit)
	w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile})
	status := w.request().Status
	for kind, want := range map[string]metav1.ConditionStatus{v1alpha1.ConditionReady: metav1.ConditionFalse, v1alpha1.ConditionApplied: metav1.ConditionFalse, v1alpha1.ConditionInSync: metav1.ConditionUnknown} {
		if c := condition(status, kind); c.Status != want || !strings.Contains(c.Message, "would change spec.kubernetesResources.enable, spec.kubernetesResources.schedule") {
			t.Errorf("%s: %s %s", kind, c.Status, c.Message)
		}
	}
	if live := w.auditConfig("mondoo-client"); live.GetLabels()["muster.dev/sync"] != "" || len(w.entries("mondoo-client")) != 2 {
		t.Errorf("labels %v, entries %v", live.GetLabels(), w.names("mondoo-client"))
	}
	live := w.auditConfig("mondoo-client")
	mine := live.DeepCopy()
	mine.SetAnnotations(map[string]string{plan.AdoptAnnotation: syncName})
	must(t, w.admin.Patch(t.Context(), mine, client.MergeFrom(live)))
	commit = w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
	w.request()
	w.untilReady(commit)
	if live := w.auditConfig("mondoo-client"); live.GetLabels()["muster.dev/sync"] != syncName || len(w.entries("mondoo-client")) != 3 {
		t.Errorf("annotated: labels %v, entries %v", live.GetLabels(), w.names("mondoo-client"))
	}
}

// TestRemoteManagedOnTheForge: the applied commit's status fails while Mondoo's console replaces the list, and comes back.
func TestRemoteManagedOnTheForge(t *testing.T) {
	h := newByHand(t, forge.Gitea)
	h.createSync(h.withForge(forge.Gitea))
	commit := h.commit(h.clusterFiles("eu"))
	h.reconcile()
	for _, remote := range []string{"true", "false"} {
		h.edit(`{"spec":{"remoteManaged":` + remote + `}}`)
		h.clock.Step(time.Minute)
		h.reconcile()
	}
	managed := ": clusters/mondoo-client.yaml:4: the audit config mondoo-client is managed by Mondoo's console (spec.remoteManaged)"
	h.shows(commit, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync",
		"muster/production failure not applied"+managed, "muster/production/drift failure not compared"+managed,
		"muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync")
}

// TestRemoteManaged: while Mondoo's console replaces the list, nothing is applied, and nothing passes for applied or in sync.
func TestRemoteManaged(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	turn := func(on bool) {
		live := w.auditConfig("mondoo-client")
		changed := live.DeepCopy()
		must(t, unstructured.SetNestedField(changed.Object, on, "spec", "remoteManaged"))
		must(t, w.admin.Patch(t.Context(), changed, client.MergeFrom(live)))
	}
	turn(true)
	status := w.until("it is told", func(s *v1alpha1.AuditSync) bool {
		return strings.Contains(condition(s.Status, v1alpha1.ConditionReady).Message, "managed by Mondoo's console")
	}).Status
	for kind, want := range map[string]metav1.ConditionStatus{v1alpha1.ConditionReady: metav1.ConditionFalse, v1alpha1.ConditionApplied: metav1.ConditionFalse, v1alpha1.ConditionInSync: metav1.ConditionUnknown} {
		if c := condition(status, kind); c.Status != want || !strings.Contains(c.Message, "spec.remoteManaged") {
			t.Errorf("%s: %s %s", kind, c.Status, c.Message)
		}
	}
	if status.Clusters.Applied != 0 {
		t.Errorf("%d clusters are said to be applied", status.Clusters.Applied)
	}
	next := w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
	if status := w.request().Status; strings.Contains(status.LastAppliedRevision, next) || len(w.entries("mondoo-client")) != 1 {
		t.Errorf("applied: %s, entries %v", status.LastAppliedRevision, w.names("mondoo-client"))
	}
	turn(false)
	w.request()
	w.untilReady(next)
}
