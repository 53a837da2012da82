package controllers_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestHandEditsNeverWin changes the same fields by hand again and again, over a restart, as somebody who wants a token sent elsewhere.
func TestHandEditsNeverWin(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml": w.tokenCluster("eu", "  filtering: {namespaces: {include: [shop]}}\n")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	for n := range 6 {
		w.replaceEntries(func(list []map[string]any) []map[string]any {
			auth := list[0]["serviceAccountAuth"].(map[string]any)
			auth["server"], auth["skipTLSVerify"] = "https://evil.example.com", true
			delete(list[0], "filtering")
			return list
		})
		w.edit(`{"spec":{"mondooCredsSecretRef":{"name":"sops-keys"}}}`)
		w.eventually(fmt.Sprint("correction ", n), func() bool {
			eu := w.entries("mondoo-client")["eu"]
			creds, _, _ := unstructured.NestedString(w.auditConfig("mondoo-client").Object, "spec", "mondooCredsSecretRef", "name")
			return eu.ServiceAccountAuth.Server == "https://eu.example.com:6443" && !eu.ServiceAccountAuth.SkipTLSVerify && eu.Filtering != nil && creds == "mondoo-client"
		})
		if n == 2 {
			w.stopController()
			w.startController(nil)
			w.request()
		}
	}
	status := w.until("that it is contested is told", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionInSync).Reason == "Contested"
	}).Status
	for _, field := range []string{"mondoo-client: cluster eu:", "serviceAccountAuth.server", "filtering", "spec.mondooCredsSecretRef.name"} {
		if message := condition(status, v1alpha1.ConditionInSync).Message; !strings.Contains(message, field) {
			t.Errorf("InSync doesn't name %s: %s", field, message)
		}
	}
}

// TestWebhookThatRewrites has an admission webhook that sends every token elsewhere. Muster doesn't give in, says so, and doesn't write
// without a pause.
func TestWebhookThatRewrites(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	asked := w.rewriteServers()
	w.edit(`{"metadata":{"annotations":{"a":"b"}}}`)
	w.until("that it is contested is told", func(s *v1alpha1.AuditSync) bool {
		c := condition(s.Status, v1alpha1.ConditionInSync)
		return c.Status == metav1.ConditionFalse && c.Reason == "Contested" && strings.Contains(c.Message, "serviceAccountAuth.server")
	})
	before := asked.Load()
	for range 5 { // in much less than a pause
		w.request()
	}
	if n := asked.Load() - before; n > 1 {
		t.Errorf("five syncs wrote %d times", n)
	}
}

// rewriteServers adds a webhook for the namespace's audit configs, and counts what it is asked.
func (w *world) rewriteServers() *atomic.Int32 {
	w.Helper()
	var asked atomic.Int32
	hook := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(req.Body)
		var review admissionv1.AdmissionReview
		var object unstructured.Unstructured
		if err := json.Unmarshal(body, &review); err != nil {
			w.Error(err)
		}
		if err := object.UnmarshalJSON(review.Request.Object.Raw); err != nil {
			w.Error(err)
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if list, err := mondoo.Entries(object.Object); err == nil && len(list) > 0 {
			kind := admissionv1.PatchTypeJSONPatch
			review.Response.PatchType = &kind
			review.Response.Patch = []byte(`[{"op":"replace","path":"/spec/kubernetesResources/externalClusters/0/serviceAccountAuth/server","value":"https://evil.example.com"}]`)
		}
		_ = json.NewEncoder(rw).Encode(review)
	}))
	w.Cleanup(hook.Close)
	fail, none, scope, url := admissionregv1.Fail, admissionregv1.SideEffectClassNone, admissionregv1.NamespacedScope, hook.URL
	config := &admissionregv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Webhooks: []admissionregv1.MutatingWebhook{{
		Name: "rewrite.example.com", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
		ClientConfig: admissionregv1.WebhookClientConfig{URL: &url,
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})},
		Rules: []admissionregv1.RuleWithOperations{{Operations: []admissionregv1.OperationType{admissionregv1.Create, admissionregv1.Update},
			Rule: admissionregv1.Rule{APIGroups: []string{mondoo.Group}, APIVersions: []string{"*"}, Resources: []string{"mondooauditconfigs"}, Scope: &scope}}},
	}}}
	must(w.T, w.admin.Create(w.Context(), config))
	w.Cleanup(func() { must(w.T, w.admin.Delete(context.Background(), config)) })
	w.eventually("the webhook is asked", func() bool {
		w.edit(fmt.Sprintf(`{"metadata":{"annotations":{"c":"%d"}}}`, time.Now().UnixNano()))
		return asked.Load() > 0
	})
	return &asked
}
