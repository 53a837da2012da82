package controllers_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/receiver"
)

const webhookToken = "CANARY-webhook-token-5d41402abc"

// receive starts a controller that receives webhooks, and returns its address.
func (w *world) receive(change func(*controllers.Options)) (address string, stop func()) {
	w.Helper()
	cfg, err := plane.User(w.user, "system:serviceaccounts", "system:serviceaccounts:"+w.namespace)
	must(w.T, err)
	address, release, err := server.ReserveAddress()
	must(w.T, err)
	w.Cleanup(release)
	opts := controllers.Options{Namespace: w.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: w.T.TempDir(), Concurrency: 1,
		Registry: prometheus.NewRegistry(), Webhook: receiver.Config{Address: address}}
	if change != nil {
		change(&opts)
	}
	stop = sync.OnceFunc(w.run(cfg, opts))
	w.Cleanup(stop)
	w.eventually("webhooks are received", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address, stop
}

// gitea is a push as Gitea tells of it.
func (w *world) gitea(ref, commit string) []byte {
	return fmt.Appendf(nil, `{"ref": %q, "before": "%s", "after": %q, "commits": [{"message": "CANARY-in-a-payload"}], "repository": {"id": 1, "full_name": %q, "default_branch": "main"}}`,
		ref, strings.Repeat("0", 40), commit, w.namespace)
}

var deliveries atomic.Int32

// deliver sends a webhook and returns the answer.
func (w *world) deliver(url, namespace, name, token string, body []byte) (int, string) {
	w.Helper()
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	request, err := http.NewRequestWithContext(w.Context(), http.MethodPost, url+"/hook/"+namespace+"/"+name, bytes.NewReader(body))
	must(w.T, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Gitea-Event", "push")
	request.Header.Set("X-GitHub-Event", "push")
	request.Header.Set("X-Gitea-Delivery", fmt.Sprint(deliveries.Add(1)))
	request.Header.Set("X-Gitea-Signature", hex.EncodeToString(mac.Sum(nil)))
	response, err := w.client().Do(request)
	must(w.T, err)
	defer response.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(response.Body)
	must(w.T, err)
	return response.StatusCode, string(text)
}

func (w *world) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func withWebhook(s *v1alpha1.AuditSync) {
	s.Spec.Webhook = &v1alpha1.Webhook{SecretRef: v1alpha1.SecretRef{Name: "fleet-webhook"}}
}

// TestWebhook pushes to a real Git server, tells the receiver, and sees the commit applied long before the interval of an hour
// is over. What should not lead to a sync is answered and leads to none.
func TestWebhook(t *testing.T) {
	w := newWorld(t)
	w.createSecret("fleet-webhook", map[string]string{"token": webhookToken + "\n"})
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	address, _ := w.receive(nil)
	url := "http://" + address
	w.createSync(withWebhook)
	status := w.untilReady(commit).Status
	if status.WebhookPath != "/hook/"+w.namespace+"/"+syncName || condition(status, v1alpha1.ConditionWebhook).Status != metav1.ConditionTrue {
		t.Errorf("path %q, %+v", status.WebhookPath, condition(status, v1alpha1.ConditionWebhook))
	}

	commit = w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
	good := w.gitea("refs/heads/main", commit)
	before := w.sync().Annotations[v1alpha1.AnnotationReconcile]
	for _, tt := range []struct {
		reason, namespace, name, token string
		body                           []byte
		status                         int
		says                           string
	}{
		{"another secret", w.namespace, syncName, "CANARY-another-token-0123", good, 401, "no such receiver, or"},
		{"no such AuditSync", w.namespace, "nothing", webhookToken, good, 401, "no such receiver, or"},
		{"a namespace that is not Muster's", "kube-system", syncName, webhookToken, good, 401, "no such receiver, or"},
		{"another branch", w.namespace, syncName, webhookToken, w.gitea("refs/heads/x", commit), 200, "follows the branch main"},
		{"nonsense", w.namespace, syncName, webhookToken, []byte("{"), 422, ""},
	} {
		if code, text := w.deliver(url, tt.namespace, tt.name, tt.token, tt.body); code != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %q", tt.reason, code, text)
		}
	}
	if after := w.sync().Annotations[v1alpha1.AnnotationReconcile]; after != before {
		t.Errorf("a sync was asked for, at %s", after)
	}
	if code, text := w.deliver(url, w.namespace, syncName, webhookToken, good); code != 202 {
		t.Fatalf("%d %q", code, text)
	}
	w.untilReady(commit)
	if strings.Contains(logs.String(), "CANARY-webhook") || strings.Contains(logs.String(), "CANARY-in-a-payload") {
		t.Error("the log holds a canary")
	}
}

// TestWebhookSecret changes the secret in every way, and reads in the status what is wrong.
func TestWebhookSecret(t *testing.T) {
	w := newWorld(t)
	w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	address, _ := w.receive(nil)
	url := "http://" + address
	w.createSync(withWebhook)
	says := func(reason, message string) {
		t.Helper()
		w.until(reason, func(s *v1alpha1.AuditSync) bool {
			c := condition(s.Status, v1alpha1.ConditionWebhook)
			return c.Reason == reason && strings.Contains(c.Message, message) && !strings.Contains(c.Message, "CANARY")
		})
	}
	answers := func(token string, want int) {
		t.Helper()
		w.eventually(fmt.Sprintf("%d", want), func() bool {
			code, _ := w.deliver(url, w.namespace, syncName, token, w.gitea("refs/heads/main", strings.Repeat("a", 40)))
			return code == want
		})
	}
	change := func(data map[string]string) {
		t.Helper()
		secret := w.secret("fleet-webhook")
		secret.Data, secret.StringData = nil, data
		must(t, w.admin.Update(t.Context(), secret))
	}
	says("SecretMissing", "fleet-webhook, the secret of the webhook (spec.webhook.secretRef), does not exist")
	answers(webhookToken, 401)
	w.createSecret("fleet-webhook", map[string]string{"secret": webhookToken})
	says("SecretInvalid", "key token can't be used: it has 0 bytes")
	change(map[string]string{"token": "CANARY-short"})
	says("SecretInvalid", "key token can't be used: it has 12 bytes, but needs at least 16")
	answers("CANARY-short", 401)
	change(map[string]string{"token": "whsec_CANARY!"})
	says("SecretInvalid", "is not base64")
	change(map[string]string{"token": webhookToken})
	says("Listening", "")
	answers(webhookToken, 202)
	const next = "CANARY-next-token-0123456789"
	change(map[string]string{"token": next, "previousToken": webhookToken})
	answers(next, 202)
	answers(webhookToken, 202)
	change(map[string]string{"token": next, "previousToken": "CANARY"})
	says("SecretInvalid", "key previousToken can't be used")
	answers(next, 202)
	change(map[string]string{"token": next})
	answers(webhookToken, 401)

	// A manifest in Git can't take its place, even if it was allowed to.
	adopted := w.secret("fleet-webhook")
	metav1.SetMetaDataAnnotation(&adopted.ObjectMeta, "muster.dev/adopt", syncName)
	must(t, w.admin.Update(t.Context(), adopted))
	w.push(map[string]string{"clusters/webhook.yaml": w.key.Encrypt(t, "webhook.yaml",
		"apiVersion: v1\nkind: Secret\nmetadata:\n  name: fleet-webhook\nstringData:\n  token: CANARY-from-git-0123456789\n", sealtest.Credentials)})
	w.request()
	answers(next, 202)

	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Webhook = nil })
	w.until("no webhook", func(s *v1alpha1.AuditSync) bool {
		return s.Status.WebhookPath == "" && condition(s.Status, v1alpha1.ConditionWebhook).Type == ""
	})
	answers(next, 401)
}

// TestWebhookIsNotServed says in the status that this Muster has no receiver.
func TestWebhookIsNotServed(t *testing.T) {
	w := newWorld(t)
	w.createSecret("fleet-webhook", map[string]string{"token": webhookToken})
	w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile})
	w.startController(nil)
	w.createSync(withWebhook)
	w.until("not served", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionWebhook).Reason == "NotServed"
	})
}

// TestWebhookOnAnyReplica sends each replica of two a push. The one that doesn't lead makes the other work.
func TestWebhookOnAnyReplica(t *testing.T) {
	w := newWorld(t)
	w.grantLease()
	w.createSecret("fleet-webhook", map[string]string{"token": webhookToken})
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile})
	elect := func(o *controllers.Options) { o.LeaderElection, o.LeaderElectionNamespace = true, w.namespace }
	first, _ := w.receive(elect)
	second, stopSecond := w.receive(elect)
	w.createSync(withWebhook)
	w.untilReady(commit)
	for i, address := range []string{first, second, first} {
		commit = w.push(map[string]string{"clusters/x.yaml": w.tokenCluster(fmt.Sprintf("x%d", i), "")})
		if code, text := w.deliver("http://"+address, w.namespace, syncName, webhookToken, w.gitea("refs/heads/main", commit)); code != 202 {
			t.Fatalf("%d %q", code, text)
		}
		w.untilReady(commit)
	}

	// Ten commits at once, and a webhook for each at both: the last one is applied, with few requests to the API server.
	mark := w.mark()
	const commits = 10
	for i := range commits {
		commit = w.push(map[string]string{"clusters/x.yaml": w.tokenCluster(fmt.Sprintf("y%d", i), "")})
		for range 10 {
			for _, address := range []string{first, second} {
				if code, text := w.deliver("http://"+address, w.namespace, syncName, webhookToken, w.gitea("refs/heads/main", commit)); code != 202 {
					t.Fatalf("%d %q", code, text)
				}
			}
		}
	}
	// What has been received is passed on even by a replica that is told to stop.
	stopSecond()
	w.untilReady(commit)
	requests := w.requests(mark)
	var asked int
	for _, r := range requests {
		if r.Writes() && r.Resource == "auditsyncs" && r.Subresource == "" {
			asked++
		}
	}
	if asked == 0 || asked > 20*commits/2 {
		t.Errorf("%d requests for %d webhooks", asked, 20*commits)
	}
}

// TestWebhookTLS serves https, and a new certificate as soon as it is there.
func TestWebhookTLS(t *testing.T) {
	w := newWorld(t)
	w.createSecret("fleet-webhook", map[string]string{"token": webhookToken})
	w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile})
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	w.certificate(certFile, keyFile)
	address, _ := w.receive(func(o *controllers.Options) { o.Webhook.CertFile, o.Webhook.KeyFile = certFile, keyFile })
	w.createSync(withWebhook)
	body := w.gitea("refs/heads/main", strings.Repeat("a", 40))
	w.eventually("the AuditSync is known", func() bool {
		code, _ := w.deliver("https://"+address, w.namespace, syncName, webhookToken, body)
		return code == 202
	})
	w.certificate(certFile, keyFile)
	w.eventually("the new certificate is served", func() bool {
		response, err := w.client().Get("https://" + address + "/")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})
	if response, err := http.Get("http://" + address + "/"); err == nil && response.StatusCode != 400 {
		t.Errorf("plain http: %d", response.StatusCode)
	}
}

// certificate writes a new certificate for this machine, which the world's client trusts alone from now on.
func (w *world) certificate(certFile, keyFile string) {
	w.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.T, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "webhook"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(w.T, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	must(w.T, err)
	w.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(w.T, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	must(w.T, os.WriteFile(certFile, w.ca, 0o600))
}

// TestWebhookOptions is about the wiring alone; package receiver tests its configuration.
func TestWebhookOptions(t *testing.T) {
	opts := controllers.Options{CacheDir: "x", Concurrency: 1, Webhook: receiver.Config{CertFile: "x"}}
	if opts.Validate() == nil {
		t.Error("a certificate without a key: no error")
	}
}
