package controllers_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// The fields that came after v13.3.0 of the operator, below spec of an audit config, but for one in consoleIntegration.
var newerFields = []string{"jobOverrides", "remoteManaged", "kubernetesResources.jobOverrides",
	"kubernetesResources.externalClusters.vaultAuth.vaultNamespace"}

// auditConfigCRD is the CRD of audit configs with other fields of spec, each by its path; a nil schema takes the field out. It keeps no
// fields that it doesn't have.
func auditConfigCRD(t *testing.T, schemas map[string]map[string]any) []byte {
	t.Helper()
	var crd map[string]any
	must(t, yaml.Unmarshal(server.MondooAuditConfigCRD(), &crd))
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	must(t, err)
	properties := func(schema map[string]any) map[string]any {
		if items, isList := schema["items"].(map[string]any); isList {
			schema = items
		}
		delete(schema, "x-kubernetes-preserve-unknown-fields")
		return schema["properties"].(map[string]any)
	}
	for path, schema := range schemas {
		at := versions[0].(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
		parts := strings.Split("spec."+path, ".")
		for _, part := range parts[:len(parts)-1] {
			at = properties(at)[part].(map[string]any)
		}
		if last := parts[len(parts)-1]; schema == nil {
			delete(properties(at), last)
		} else {
			properties(at)[last] = schema
		}
	}
	must(t, unstructured.SetNestedSlice(crd, versions, "spec", "versions"))
	data, err := yaml.Marshal(crd)
	must(t, err)
	return data
}

// applies counts the writes of audit configs, refused ones too.
type applies struct {
	client.Client
	n int
}

func (a *applies) Apply(ctx context.Context, object runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if _, isSecret := object.(*applycorev1.SecretApplyConfiguration); !isSecret {
		if _, isInventory := object.(*applycorev1.ConfigMapApplyConfiguration); !isInventory {
			a.n++
		}
	}
	return a.Client.Apply(ctx, object, opts...)
}

// TestOlderOperator: Git sets fields that the installed CRD doesn't have, for which the API server refuses the whole audit config. It is applied
// without them, but for a cluster that has one, which is kept back. InSync is False and names them, nothing is written again and again, and
// after an upgrade of the operator all of it is applied.
func TestOlderOperator(t *testing.T) {
	bareControlPlane(t)
	older := map[string]map[string]any{}
	for _, field := range newerFields {
		older[field] = nil
	}
	flag := map[string]any{"type": "boolean"}
	older["consoleIntegration"] = map[string]any{"type": "object", "properties": map[string]any{"enable": flag, "autoCreate": flag, "name": map[string]any{"type": "string"}}}
	must(t, server.InstallCRDs(t.Context(), plane.Config(), auditConfigCRD(t, older)))
	h := newByHand(t, forge.Gitea)
	counted := func() *applies {
		c := &applies{Client: h.admin}
		h.r.Client = c
		return c
	}
	h.createSync(func(s *v1alpha1.AuditSync) { s.Spec.VaultAuth.Addresses = []string{"https://vault.example.com"} })
	config := strings.Replace(auditConfigFile, "  kubernetesResources:\n", "  jobOverrides: {ttlSecondsAfterFinished: 60}\n  remoteManaged: false\n"+
		"  consoleIntegration: {enable: true, deletionPolicy: Retain}\n  kubernetesResources:\n    jobOverrides: {ttlSecondsAfterFinished: 70}\n", 1)
	fields := []string{"spec.consoleIntegration.deletionPolicy", "spec.jobOverrides", "spec.kubernetesResources.jobOverrides"} // and not remoteManaged: false is what its absence says
	expect := func(reason string, ready metav1.ConditionStatus, clusters string, named ...string) {
		t.Helper()
		status := h.world.sync().Status
		if c := condition(status, v1alpha1.ConditionReady); c.Status != ready || ready == metav1.ConditionFalse && !strings.Contains(c.Message, "vaultAuth.vaultNamespace") {
			t.Errorf("%s: Ready: %s %s: %s", reason, c.Status, c.Reason, c.Message)
		}
		inSync := condition(status, v1alpha1.ConditionInSync)
		if (inSync.Status == metav1.ConditionTrue) != (len(named) == 0) {
			t.Errorf("%s: InSync: %s %s: %s", reason, inSync.Status, inSync.Reason, inSync.Message)
		}
		for _, field := range named {
			if !strings.Contains(inSync.Message, field) {
				t.Errorf("%s: InSync doesn't name %s: %s", reason, field, inSync.Message)
			}
		}
		if names := strings.Join(h.names("mondoo-client"), " "); names != clusters {
			t.Errorf("%s: entries %s, want %s", reason, names, clusters)
		}
	}
	quiet := func(reason string, c *applies) {
		t.Helper()
		before := c.n
		h.pass(6 * time.Hour)
		if c.n != before {
			t.Errorf("%s: %d writes in six hours", reason, c.n-before)
		}
	}

	c := counted()
	h.commit(map[string]string{"clusters/mondoo-client.yaml": config, "clusters/eu.yaml": h.tokenCluster("eu", "")})
	h.reconcile()
	expect("applied", metav1.ConditionTrue, "eu", fields...)
	if c.n > len(fields)+2 {
		t.Errorf("%d writes, want at most one refused for each field and one that is taken", c.n)
	}
	quiet("applied", c)

	h.createSecret("ca", map[string]string{"ca.crt": "x"})
	// A cluster with such a field is kept back, and what else the commit has is applied.
	h.commit(map[string]string{"clusters/mondoo-client.yaml": config + "  spaceId: x\n", "clusters/us.yaml": h.tokenCluster("us", ""),
		"clusters/vault.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: vault}\nspec:\n" +
			"  vaultAuth: {server: 'https://v.example.com', vaultAddr: 'https://vault.example.com', vaultNamespace: admin/eu, authRole: a, credsRole: b, targetCACertSecretRef: {name: ca}}\n"})
	h.clock.Step(time.Hour)
	h.reconcile()
	kept := append([]string{"cluster vault: vaultAuth.vaultNamespace"}, fields...)
	expect("kept back", metav1.ConditionFalse, "eu us", kept...)
	if space, _, _ := unstructured.NestedString(h.auditConfig("mondoo-client").Object, "spec", "spaceId"); space != "x" {
		t.Errorf("spaceId is %q", space)
	}
	quiet("kept back", c)
	version := h.auditConfig("mondoo-client").GetResourceVersion()
	h.start() // a new process, which finds out again
	c = counted()
	h.reconcile()
	expect("a new process", metav1.ConditionFalse, "eu us", kept...)
	quiet("a new process", c)
	if after := h.auditConfig("mondoo-client").GetResourceVersion(); after != version {
		t.Errorf("a new process has changed the audit config: %s, then %s", version, after)
	}

	must(t, server.InstallCRDs(t.Context(), plane.Config(), server.MondooAuditConfigCRD()))
	h.pass(25 * time.Hour)
	expect("a newer operator", metav1.ConditionTrue, "eu us vault")
	for _, field := range fields {
		if _, found, _ := unstructured.NestedFieldNoCopy(h.auditConfig("mondoo-client").Object, strings.Split(field, ".")...); !found {
			t.Errorf("a newer operator: %s is not applied", field)
		}
	}
	if auth := h.entries("mondoo-client")["vault"].VaultAuth; auth == nil || auth.VaultNamespace != "admin/eu" {
		t.Errorf("a newer operator: %+v", auth)
	}
	quiet("a newer operator", c)
}

// TestNewerOperator: the installed CRD has fields that Muster doesn't know, with defaults. They are neither drift nor written away.
func TestNewerOperator(t *testing.T) {
	bareControlPlane(t)
	text := func(standard string) map[string]any { return map[string]any{"type": "string", "default": standard} }
	must(t, server.InstallCRDs(t.Context(), plane.Config(), auditConfigCRD(t, map[string]map[string]any{
		"priority": text("low"), "kubernetesResources.priority": text("low"), "kubernetesResources.externalClusters.priority": text("low"),
		"kubernetesResources.externalClusters.serviceAccountAuth.audience": text("api"),
	})))
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	w.untilQuiet()
	w.edit(`{"spec":{"priority":"high"}}`)
	mark := w.mark()
	w.settled()
	for _, r := range w.requests(mark) {
		if r.Resource == "mondooauditconfigs" && r.Writes() {
			t.Errorf("the controller wrote: %s", r)
		}
	}
	live := w.auditConfig("mondoo-client").Object
	if priority, _, _ := unstructured.NestedString(live, "spec", "priority"); priority != "high" {
		t.Errorf("the priority is %q", priority)
	}
	if c := condition(w.sync().Status, v1alpha1.ConditionInSync); c.Status != metav1.ConditionTrue {
		t.Errorf("InSync: %+v", c)
	}
}
