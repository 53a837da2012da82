package controllers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	clusterfile "github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// tokenSecret is the Secret that is made for the token of a cluster, as tokenCluster has it.
func tokenSecret(name string) string { return tokenSecretAt(name, "https://"+name+".example.com:6443") }

func tokenSecretAt(name, server string) string {
	file := &clusterfile.ExternalCluster{Metadata: clusterfile.Metadata{Name: name}, Spec: clusterfile.Spec{
		ServiceAccountAuth: &clusterfile.ServiceAccountAuth{Server: server, CACert: strings.TrimSpace(string(plane.CACert())) + "\n"}}}
	return mondoo.SecretName("mondoo-client", name, mondoo.ServiceAccount, compile.Bound(file, "mondoo-client", ""))
}

// none has an AuditSync hold every removal.
func none(s *v1alpha1.AuditSync) {
	zero := intstr.FromInt32(0)
	s.Spec.Prune.MaxRemovals = &zero
}

// sent are the servers that a token is sent to, by what the audit config and its Secrets have, sorted.
func (w *world) sent(token string) (servers []string) {
	w.Helper()
	for name, e := range w.entries("mondoo-client") {
		for ref := range compile.References(&e) {
			secret := w.secret(ref.Name)
			if secret == nil || !strings.Contains(fmt.Sprintf("%s", secret.Data), token) {
				continue
			}
			server := "with " + name
			if e.ServiceAccountAuth != nil {
				server = e.ServiceAccountAuth.Server
			}
			servers = append(servers, server)
		}
	}
	slices.Sort(servers)
	return slices.Compact(servers)
}

// TestNamedAgain is somebody without keys who names the Secret of a cluster's token, which everybody can see, to have it sent elsewhere:
// in the place of that cluster, from another one while the first is held, and after the AuditSync that made it is gone.
func TestNamedAgain(t *testing.T) {
	const token, good, evil = "CANARY-token-of-prod", "https://prod.example.com:6443", "https://evil.example.com"
	w := newWorld(t)
	secret := tokenSecret("prod")
	named := func(name string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec:\n  serviceAccountAuth: {server: '" + evil +
			"', skipTLSVerify: true, credentialsSecretRef: {name: " + secret + "}}\n"
	}
	check := func(t *testing.T, code string) {
		t.Helper()
		w.request()
		status := w.sync().Status
		if sent := w.sent(token); !slices.Equal(sent, []string{good}) {
			t.Errorf("the token is sent to %v", sent)
		}
		if ready := condition(status, v1alpha1.ConditionReady); ready.Status != "False" {
			t.Errorf("Ready %s", ready.Status)
		}
		var codes []string
		for _, p := range status.Problems {
			codes = append(codes, p.Code)
		}
		if !slices.Contains(codes, code) {
			t.Errorf("problems %v", codes)
		}
	}
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/prod.yaml": w.tokenCluster("prod", ""), "clusters/us.yaml": w.tokenCluster("us", "")}
	w.startController(nil)
	w.createSync(none)
	w.untilReady(w.push(files))
	if s := w.secret(secret); s == nil || s.Annotations["muster.dev/made-for"] != "mondoo-client/prod" {
		t.Fatalf("Secrets %v", w.secrets())
	}
	t.Run("in its place", func(t *testing.T) {
		w.push(map[string]string{"clusters/prod.yaml": named("prod")})
		check(t, "secret-name")
	})
	t.Run("by another while it is held", func(t *testing.T) {
		w.push(map[string]string{"clusters/evil.yaml": named("evil")}, "clusters/prod.yaml")
		check(t, "secret-name")
	})
	t.Run("under the name that an older Muster would have given it", func(t *testing.T) {
		older := mondoo.WithoutHash(secret)
		like := w.secret(secret)
		must(t, w.admin.Create(t.Context(), &corev1.Secret{Data: like.Data,
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: older, Labels: like.Labels, Annotations: like.Annotations}}))
		w.replaceEntries(func(list []map[string]any) []map[string]any {
			for _, e := range list {
				if e["name"] == "prod" {
					e["serviceAccountAuth"].(map[string]any)["credentialsSecretRef"] = map[string]any{"name": older}
				}
			}
			return list
		})
		w.push(map[string]string{"clusters/evil.yaml": strings.ReplaceAll(named("evil"), secret, older)})
		check(t, "secret-of-other")
	})
	t.Run("by an audit config", func(t *testing.T) {
		w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile + "  scanner:\n    privateRegistriesPullSecretRef: {name: " + secret + "}\n"}, "clusters/evil.yaml")
		check(t, "secret-name")
		w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile})
	})
	t.Run("by a manifest that overwrites it", func(t *testing.T) {
		w.push(map[string]string{"clusters/s.yaml": w.key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: "+secret+"}\nstringData: {token: CANARY-theirs}\n", sealtest.Credentials)})
		check(t, "secret-name")
		if got := string(w.secret(secret).Data["token"]); got != token {
			t.Errorf("the token is %s", got)
		}
		w.push(nil, "clusters/s.yaml")
	})
	t.Run("orphaned", func(t *testing.T) {
		must(t, w.admin.Delete(t.Context(), w.sync()))
		w.gone()
		w.push(map[string]string{"clusters/evil.yaml": named("evil")})
		w.createSync(none)
		check(t, "secret-name")
	})
}

// TestServerAndTokenChangeTogether changes server and token of a cluster while the API server refuses the audit config: the old entry
// keeps the old token, over restarts, until the audit config is taken.
func TestServerAndTokenChangeTogether(t *testing.T) {
	const oldServer, newServer = "https://eu.example.com:6443", "https://moved.example.com"
	w := newWorld(t)
	var refusing atomic.Bool
	refuse := func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/mondooauditconfigs/") && refusing.Load() {
				return refusal(r, http.StatusUnprocessableEntity), nil
			}
			return next.RoundTrip(r)
		})
	}
	w.startController(refuse)
	w.createSync(none)
	w.untilReady(w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")}))
	refusing.Store(true)
	commit := w.push(map[string]string{"clusters/eu.yaml": w.tokenClusterAt("eu", newServer, "CANARY-new-token", "")})
	for range 2 {
		w.request()
		if sent := w.sent("CANARY-new-token"); len(sent) > 0 {
			t.Errorf("the new token is sent to %v", sent)
		}
		if sent := w.sent("CANARY-token-of-eu"); !slices.Equal(sent, []string{oldServer}) {
			t.Errorf("the old token is sent to %v", sent)
		}
		w.stopController()
		w.startController(refuse)
	}
	refusing.Store(false)
	w.request()
	w.untilReady(commit)
	if sent := w.sent("CANARY-new-token"); !slices.Equal(sent, []string{newServer}) {
		t.Errorf("the new token is sent to %v", sent)
	}
	w.eventually("the old Secret is gone, and nothing waits for an approval", func() bool {
		return w.secret(tokenSecret("eu")) == nil && w.sync().Status.Clusters.Held == 0
	})
	if w.secret(tokenSecretAt("eu", newServer)) == nil {
		t.Errorf("Secrets %v", w.secrets())
	}
}
