package sources

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	pure "github.com/muster-gitops/muster/clusters/sources"
	clusters "github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// rounds are those of an AuditSync with one server, made one by one, in a time that the test sets.
type rounds struct {
	testing.TB
	*Reader
	clock    *clocktesting.FakeClock
	audit    *v1alpha1.AuditSync
	fleet    *fleet.Opened
	redactor redact.Redactor
}

func newRounds(t testing.TB, o Options, spec v1alpha1.CredentialSources, from ...fleet.Source) *rounds {
	r := &rounds{TB: t, clock: clocktesting.NewFakeClock(time.Now()), fleet: &fleet.Opened{},
		audit: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "production"}, Spec: v1alpha1.AuditSyncSpec{CredentialSources: spec}}}
	for i := range from {
		name := fmt.Sprint("c", i)
		r.fleet.Secrets = append(r.fleet.Secrets, fleet.Secret{Name: name, Cluster: name, AuditConfig: "a", From: &from[i], Uses: []fleet.Use{{Key: mondoo.KeyKubeconfig}}})
		r.fleet.Clusters = append(r.fleet.Clusters, fleet.Cluster{Name: name, AuditConfig: "a", Secrets: []string{name}})
	}
	o.Clock, o.News, o.Log = r.clock, func(string) {}, logr.Discard()
	r.Reader = New(o)
	t.Cleanup(r.queue.ShutDown)
	return r
}

// next makes a round, and returns what is then said of each cluster.
func (r *rounds) next(at server) []string {
	r.Helper()
	r.Supply(r.audit, r.fleet, &r.redactor)
	it := item{types.NamespacedName{Namespace: "ns", Name: "production"}, at}
	ro, _ := r.begin(it)
	if ro == nil {
		r.Fatal("no round is due")
	}
	ro.run(r.Context())
	r.end(it, ro)
	r.clock.Step(time.Minute)
	said := make([]string, len(r.fleet.Clusters))
	for _, f := range r.Supply(r.audit, r.fleet, &r.redactor).Findings {
		for i := range r.fleet.Clusters {
			if r.fleet.Clusters[i].Name == f.Cluster {
				said[i] += f.String()
			}
		}
	}
	return said
}

// pretendedVault is a Vault that counts logins.
type pretendedVault struct {
	*httptest.Server
	logins int
	token  string
	role   string // what the login may read
}

func newPretendedVault(t testing.TB) *pretendedVault {
	v := &pretendedVault{role: "eu"}
	v.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		valid := r.Header.Get("X-Vault-Token") == v.token && v.token != ""
		switch {
		case r.URL.Path == "/v1/auth/jwt/login":
			v.logins++
			v.token = fmt.Sprint("CANARY-login-", v.logins)
			fmt.Fprintf(w, `{"auth":{"client_token":%q}}`, v.token)
		case valid && r.URL.Path == "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data":{}}`)
		case valid && strings.Contains(v.role, strings.TrimPrefix(r.URL.Path, "/v1/kv/data/")):
			fmt.Fprint(w, `{"data":{"data":{"kubeconfig":"x"},"metadata":{"version":1}}}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
		}
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *pretendedVault) spec() v1alpha1.CredentialSources {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	return v1alpha1.CredentialSources{Vault: []v1alpha1.VaultSource{{Address: v.URL, CACert: string(ca), Mounts: []v1alpha1.VaultMount{{Mount: "kv", Paths: []string{"*"}}},
		Auth: v1alpha1.VaultLogin{JWT: &v1alpha1.VaultJWT{Mount: "jwt", Role: "muster", ServiceAccountName: "sa", Audience: "vault"}}}}}
}

func (v *pretendedVault) from(path string) fleet.Source {
	return fleet.Source{Vault: clusters.VaultSecret{Address: v.URL, Mount: "kv", Path: path}, Field: "spec.kubeconfigFrom.vault"}
}

// TestLoginsAreFew: a path that Vault denies doesn't make Muster log in each minute: Vault keeps each login. What may be over is tried
// at once.
func TestLoginsAreFew(t *testing.T) {
	v := newPretendedVault(t)
	r := newRounds(t, Options{Token: func(context.Context, string, string, string) (string, error) { return "CANARY-jwt", nil }}, v.spec(), v.from("eu"), v.from("us"))
	at := server{address: v.URL}
	const denied = "Vault denies Muster to read"
	minutes := func(reason string, n, want int) {
		t.Helper()
		for range n {
			if said := r.next(at); !strings.Contains(said[1], denied) {
				t.Fatalf("%s: %q", reason, said[1])
			}
		}
		if v.logins != want {
			t.Errorf("%s: %d logins, want %d", reason, v.logins, want)
		}
	}
	minutes("denied", 9, 2)
	minutes("denied for ten minutes more", 10, 3)
	v.token = "revoked"
	minutes("the token is revoked", 1, 4)
	metav1.SetMetaDataAnnotation(&r.audit.ObjectMeta, v1alpha1.AnnotationReconcile, "now")
	minutes("a user asks", 1, 5)
	v.role = "eu us"
	if said := r.next(at); strings.Contains(said[1], denied) || v.logins != 5 {
		t.Errorf("allowed: %q, %d logins", said[1], v.logins)
	}
}

// TestLoginWaits: while the management cluster doesn't answer, the last values are used. What it refuses is denied.
func TestLoginWaits(t *testing.T) {
	group := schema.GroupResource{Resource: "serviceaccounts"}
	for _, row := range []struct {
		reason string
		err    error
		code   finding.Code
	}{
		{"it is down", errors.New("dial tcp: connection refused"), pure.CodeUnavailable},
		{"it is busy", apierrors.NewTooManyRequests("slow down", 1), pure.CodeUnavailable},
		{"it fails", apierrors.NewInternalError(errors.New("x")), pure.CodeUnavailable},
		{"no right", apierrors.NewForbidden(group, "sa", errors.New("x")), pure.CodeDenied},
		{"no such account", apierrors.NewNotFound(group, "sa"), pure.CodeDenied},
	} {
		v := newPretendedVault(t)
		r := newRounds(t, Options{Token: func(ctx context.Context, _, _, _ string) (string, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("%s: the request for a token may take for ever", row.reason)
			}
			return "", row.err
		}, Secret: func(context.Context, string, string) (*corev1.Secret, error) { return nil, row.err }}, v.spec(), v.from("eu"))
		said := r.next(server{address: v.URL})[0]
		if !strings.Contains(said, string(row.code)) || !strings.Contains(said, "of the ServiceAccount sa") {
			t.Errorf("%s: %s", row.reason, said)
		}
		r.audit.Spec.CredentialSources.Vault[0].Auth = v1alpha1.VaultLogin{Token: &v1alpha1.VaultToken{SecretRef: v1alpha1.SecretRef{Name: "vault"}}}
		if said = r.next(server{address: v.URL})[0]; !strings.Contains(said, string(row.code)) || !strings.Contains(said, "the Secret vault") {
			t.Errorf("%s: %s", row.reason, said)
		}
	}
}

// TestShared: Muster's own rights read no Secret of another namespace for an AuditSync if it serves those of several namespaces.
func TestShared(t *testing.T) {
	for _, row := range []struct {
		reason            string
		shared            bool
		account, ns, says string
	}{
		{"one namespace", false, "", "argocd", ""},
		{"as a ServiceAccount", true, "reader", "argocd", ""},
		{"its own namespace", true, "", "ns", ""},
		{"as Muster", true, "", "argocd", "reads the Secret argocd/s only as a ServiceAccount of the AuditSync's namespace"},
	} {
		reads := 0
		r := newRounds(t, Options{Shared: row.shared, Foreign: func(context.Context, string, string, types.NamespacedName) (*corev1.Secret, error) {
			reads++
			return &corev1.Secret{Data: map[string][]byte{"value": []byte("x")}}, nil
		}}, v1alpha1.CredentialSources{Secrets: v1alpha1.SecretSources{Namespaces: []string{"argocd", "ns"}}},
			fleet.Source{Secret: clusters.ForeignSecret{Namespace: row.ns, Name: "s"}, Field: "spec.kubeconfigFrom.secretRef"})
		r.audit.Spec.ServiceAccountName = row.account
		if said := r.next(apiServer)[0]; row.says != "" && !strings.Contains(said, row.says) || (reads == 0) != (row.says != "") {
			t.Errorf("%s: %d reads: %s", row.reason, reads, said)
		}
	}
}

// TestHidden: a value is hidden until the one after the next has been read, because an error about its write may come late; and nothing
// is once the AuditSync is gone.
func TestHidden(t *testing.T) {
	var value string
	r := newRounds(t, Options{Foreign: func(context.Context, string, string, types.NamespacedName) (*corev1.Secret, error) {
		return &corev1.Secret{Data: map[string][]byte{"value": []byte(value)}}, nil
	}}, v1alpha1.CredentialSources{Secrets: v1alpha1.SecretSources{Namespaces: []string{"argocd"}}},
		fleet.Source{Secret: clusters.ForeignSecret{Namespace: "argocd", Name: "s"}, Field: "spec.kubeconfigFrom.secretRef"})
	shown := func() (shown string) {
		for _, n := range "123" {
			if text := "CANARY-value-" + string(n); r.redactor.String(text) == text {
				shown += string(n)
			}
		}
		return shown
	}
	for i, want := range []string{"23", "3", "1"} {
		value = fmt.Sprint("CANARY-value-", i+1)
		r.next(apiServer)
		if got := shown(); got != want {
			t.Errorf("after value %d, these are shown: %q, want %q", i+1, got, want)
		}
	}
	r.Forget(types.NamespacedName{Namespace: "ns", Name: "production"})
	if got := shown(); got != "123" {
		t.Errorf("after the AuditSync is gone, only %q are shown", got)
	}
}

// TestReasonsStay: a reason doesn't change from one attempt to the next, or each would be a change.
func TestReasonsStay(t *testing.T) {
	v := newPretendedVault(t)
	spec := v.spec()
	client := newHTTPClient(spec.Vault[0].CACert)
	transport, _ := client.Transport.(bounded)
	transport.TLSClientConfig.Time = func() time.Time { return v.Certificate().NotAfter.Add(time.Hour) }
	_, err := client.Get(v.URL)
	if got := networkReason(t.Context(), err); err == nil || got != "its certificate has expired, or is not valid yet" {
		t.Errorf("%q", got)
	}
}
