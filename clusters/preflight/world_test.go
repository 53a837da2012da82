package preflight

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// now is the clock of the tests: far from the machine's, so that a check by that one is seen. canary is in every secret of theirs.
var now = time.Date(2040, 11, 30, 12, 0, 0, 0, time.UTC)

const canary = "canary-7f3d9-token-of-the-scanner"

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newAuthority is made once for all tests; another one is other.
var trusted, other = sync.OnceValue(newAuthority), sync.OnceValue(newAuthority)

func newAuthority() *authority {
	a := &authority{}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template)
	return a
}

// sign issues a certificate, that is valid from a year before the tests' now to a year after it unless it says otherwise.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template.SerialNumber = big.NewInt(1)
	if template.NotBefore.IsZero() {
		template.NotBefore = now.AddDate(-1, 0, 0)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = now.AddDate(1, 0, 0)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// server issues a certificate for 127.0.0.1.
func (a *authority) server(change func(*x509.Certificate)) tls.Certificate {
	template := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(template)
	}
	cert, key := a.sign(template)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// client issues a client certificate in PEM.
func (a *authority) client(change func(*x509.Certificate)) (cert, key []byte) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "scanner"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	issued, private := a.sign(template)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Raw}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// target is one behind a local address, with the canary as its token.
func target(address string) Target {
	return Target{Cluster: "eu", Server: "https://" + address, CA: trusted().pem(), Token: canary}
}

func options() Options {
	return Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: func() time.Time { return now }, StepTimeout: 20 * time.Second}
}

// serve starts a TLS server, and returns its address.
func serve(t testing.TB, config *tls.Config, handler http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func config(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10}
}

// good serves a handler with a certificate that the target accepts.
func good(t testing.TB, handler http.Handler) string {
	t.Helper()
	return serve(t, config(trusted().server(nil)), handler)
}

// listen accepts connections, and gives each to a function.
func listen(t testing.TB, accept func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		hangUp(listener)
		for _, conn := range open {
			hangUp(conn)
		}
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			go accept(conn)
		}
	}()
	return listener.Addr().String()
}

// cluster is an API server of few words.
type cluster struct {
	user  string
	uid   string
	rules []authorizationv1.ResourceRule
	// incomplete makes the review of rules say so. single answers single questions then.
	incomplete bool
	single     func(authorizationv1.ResourceAttributes) bool
	// before answers a request instead, if it returns true.
	before func(http.ResponseWriter, *http.Request) bool

	mu       sync.Mutex
	requests []string
}

func newCluster() *cluster {
	return &cluster{user: "system:serviceaccount:scan:scanner", uid: "11111111-2222-3333-4444-555555555555",
		rules: []authorizationv1.ResourceRule{{Verbs: verbs, APIGroups: []string{all}, Resources: []string{all}}}}
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests = append(c.requests, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	if c.before != nil && c.before(w, r) {
		return
	}
	switch r.URL.Path {
	case "/version":
		fmt.Fprint(w, `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`)
	case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
		created(w, map[string]any{"status": map[string]any{"userInfo": map[string]any{"username": c.user}}})
	case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
		var review authorizationv1.SelfSubjectAccessReview
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &review) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		asked := *review.Spec.ResourceAttributes
		review.Status.Allowed = allows(c.rules, Kind{Group: asked.Group, Resource: asked.Resource}, asked.Verb)
		if c.single != nil {
			review.Status.Allowed = c.single(asked)
		}
		created(w, review)
	case "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews":
		created(w, authorizationv1.SelfSubjectRulesReview{Status: authorizationv1.SubjectRulesReviewStatus{ResourceRules: c.rules, Incomplete: c.incomplete}})
	case "/api/v1/namespaces/kube-system":
		if c.uid == "" {
			forbidden(w, `namespaces "kube-system" is forbidden: User "`+c.user+`" cannot get resource`)
			return
		}
		fmt.Fprint(w, `{"metadata":{"name":"kube-system","uid":"`+c.uid+`"}}`)
	default:
		http.NotFound(w, r)
	}
}

func created(w http.ResponseWriter, object any) {
	encode(w, http.StatusCreated, object)
}

func encode(w http.ResponseWriter, status int, object any) {
	body, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s", body)
}

// hangUp closes what the other side may have closed already.
func hangUp(c io.Closer) { _ = c.Close() }

func forbidden(w http.ResponseWriter, message string) { refuse(w, http.StatusForbidden, message) }

func refuse(w http.ResponseWriter, status int, message string) {
	encode(w, status, map[string]any{"kind": "Status", "apiVersion": "v1", "message": message, "code": status})
}

// answering is a cluster that answers all requests with the function.
func answering(f func(http.ResponseWriter, *http.Request)) *cluster {
	c := newCluster()
	c.before = func(w http.ResponseWriter, r *http.Request) bool { f(w, r); return true }
	return c
}

// expiring is a token with an expiry.
func expiring(expires time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part(fmt.Appendf(nil, `{"exp":%d}`, expires.Unix())) + "." + part([]byte(canary))
}

func state(r Result, name Name) Check {
	return r.Checks[slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })]
}

// text is a result for golden files and messages.
func text(r Result) string {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "  %-11s %s", c.State, c.Name)
		if c.Cause != "" {
			fmt.Fprintf(&b, " [%s]", c.Cause)
		}
		if c.Message != "" {
			fmt.Fprintf(&b, ": %s", c.Message)
		}
		if b.WriteString("\n"); c.Fix != "" {
			fmt.Fprintf(&b, "              Fix: %s\n", c.Fix)
		}
	}
	return b.String()
}

// short is text without the checks that have no message.
func short(r Result) string {
	var checks []Check
	for _, c := range r.Checks {
		if c.Message != "" && (c.State != Passed || c.Name == Credential) {
			checks = append(checks, c)
		}
	}
	r.Checks = checks
	return text(r)
}
