package preflight

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

var update = flag.Bool("update", false, "write the golden file anew")

var quiet = log.New(io.Discard, "", 0)

// scenario is a target that fails, or one of the kinds that pass.
type scenario struct {
	reason string
	cause  Cause
	run    func(t *testing.T) Result
}

// of checks a target.
func of(prepare func(t *testing.T) Target) func(t *testing.T) Result {
	return func(t *testing.T) Result { return Run(t.Context(), prepare(t), options()) }
}

// behind checks a target behind a handler.
func behind(handler http.Handler) func(t *testing.T) Result {
	return of(func(t *testing.T) Target { return target(good(t, handler)) })
}

// soon checks a target with short limits.
func soon(prepare func(t *testing.T) Target) func(t *testing.T) Result {
	return func(t *testing.T) Result {
		o := options()
		o.StepTimeout = 300 * time.Millisecond
		return Run(t.Context(), prepare(t), o)
	}
}

// certified checks a target with a certificate.
func certified(a func() *authority, change func(*x509.Certificate)) func(t *testing.T) Result {
	return of(func(t *testing.T) Target { return target(serve(t, config(a().server(change)), newCluster())) })
}

// named checks a target whose name resolves to what the function returns.
func named(resolve func(context.Context, string) ([]netip.Addr, error)) func(t *testing.T) Result {
	return func(t *testing.T) Result {
		o := options()
		o.Resolve, o.StepTimeout = resolve, 200*time.Millisecond
		return Run(t.Context(), target("api.example.com"), o)
	}
}

// at checks a target at an address, without any permission.
func at(address string) func(t *testing.T) Result {
	return func(t *testing.T) Result {
		o := options()
		o.Allow, o.Management = nil, addresses("10.96.0.1")
		return Run(t.Context(), target(address), o)
	}
}

// system is a connection that the operating system refuses.
func system(err error) func(t *testing.T) Result {
	return func(t *testing.T) Result {
		r := newReport(target("198.51.100.7"), options())
		r.known.host, r.known.port = "api.example.com", "6443"
		d := dialer{timeout: 5 * time.Second}
		r.fail(Connect, d.unconnected(t.Context(), netip.MustParseAddr("198.51.100.7"), &net.OpError{Op: "dial", Err: err}))
		return r.result
	}
}

var scenarios = []scenario{
	{"a working credential", "", behind(newCluster())},
	{"not checked: workload identity", "", func(t *testing.T) Result {
		return Run(t.Context(), TargetOf(workloadIdentity()), options())
	}},
	{"not verified: skipTLSVerify", "", of(func(t *testing.T) Target {
		r := target(serve(t, config(other().server(func(c *x509.Certificate) { c.IPAddresses = nil })), newCluster()))
		r.SkipTLSVerify = true
		return r
	})},

	{"the file has an error", FileErrors, func(t *testing.T) Result {
		f := &fleet.Opened{}
		f.Reject(finding.Finding{Code: "kubeconfig-plugin", Severity: finding.Error, Cluster: "eu", Path: "eu.yaml", Message: "the user logs in with an exec plugin"})
		return Run(t.Context(), TargetOf(f, &fleet.Cluster{Name: "eu", Quarantined: true, Origin: fleet.Origin{Path: "eu.yaml"}}, now), options())
	}},
	{"a token from Vault", "", vaulted("")},
	{"Vault is sealed", VaultUnavailable, vaulted("sealed")},
	{"Vault's certificate is of another authority", VaultUnavailable, vaulted("ca")},
	{"Vault refuses the login", VaultLoginRefused, vaulted("/v1/auth/kubernetes/login")},
	{"Vault gives no credentials", VaultCredentialsRefused, vaulted("/v1/kubernetes/creds/scan")},
	{"Vault gives an empty token", VaultCredentialsRefused, vaulted("empty")},
	{"Vault does not revoke", VaultNotRevoked, vaulted("/v1/auth/token/revoke-self")},
	{"no credential", CredentialMissing, of(func(*testing.T) Target { return Target{Cluster: "eu", Server: "https://127.0.0.1"} })},
	{"a kubeconfig with an exec plugin", CredentialUnusable, of(func(t *testing.T) Target { return FromKubeconfig("eu", execKubeconfig(t), now) })},
	{"a key of another certificate", CredentialUnusable, of(func(*testing.T) Target {
		r := target("127.0.0.1")
		r.Certificate, _ = trusted().client(nil)
		_, r.Key = trusted().client(nil)
		return r
	})},
	{"a key of a size that takes seconds to read", CredentialUnusable, of(func(*testing.T) Target {
		r := target("127.0.0.1")
		r.Certificate, r.Key = trusted().client(nil)
		r.Key = append(bytes.Repeat([]byte("\n"), maxKey), r.Key...)
		return r
	})},
	{"a CA of more than a Secret can hold", CAUnusable, of(func(*testing.T) Target {
		r := target("127.0.0.1")
		r.CA = append(bytes.Repeat([]byte("\n"), maxPEM), r.CA...)
		return r
	})},
	{"a CA that is no PEM", CAUnusable, of(func(*testing.T) Target { r := target("127.0.0.1"); r.CA = []byte("MIIB"); return r })},
	{"an address without TLS", ServerInvalid, of(func(*testing.T) Target { r := target(""); r.Server = "http://api.example.com"; return r })},

	{"no such name", HostUnknown, named(func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "api.example.com", IsNotFound: true}
	})},
	{"DNS hangs", ResolveTimeout, named(func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() })},
	{"DNS is broken", ResolveFailed, named(func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "server misbehaving", Name: "api.example.com"}
	})},
	{"loopback", AddressLoopback, at("127.0.0.1:6443")},
	{"link-local", AddressLinkLocal, at("[fe80::1]:6443")},
	{"metadata", AddressMetadata, at("169.254.169.254")},
	{"unspecified", AddressReserved, at("0.0.0.0")},
	{"the management cluster", AddressManagement, at("10.96.0.1")},

	{"down", ConnectRefused, of(func(t *testing.T) Target {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		hangUp(listener)
		return target(listener.Addr().String())
	})},
	{"a firewall drops packets", ConnectTimeout, system(os.ErrDeadlineExceeded)},
	{"no route", ConnectUnreachable, system(os.NewSyscallError("connect", syscall.EHOSTUNREACH))},
	{"no port left on this machine", ConnectFailed, system(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL))},

	{"a proxy that refuses", ProxyFailed, func(t *testing.T) Result { return viaProxy(t, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") }},
	{"a proxy that is no proxy", ProxyFailed, func(t *testing.T) Result { return viaProxy(t, "SSH-2.0-"+canary+"\r\n") }},
	{"a proxy that hangs", ProxyFailed, func(t *testing.T) Result { return viaProxy(t, "HTTP/1.1 200") }},

	{"HTTP on an https port", TLSNotSpoken, of(func(t *testing.T) Target {
		server := httptest.NewServer(newCluster())
		t.Cleanup(server.Close)
		return target(server.Listener.Addr().String())
	})},
	{"hung before TLS", TLSTimeout, soon(func(t *testing.T) Target { return target(listen(t, func(net.Conn) {})) })},
	{"closed during TLS", TLSClosed, of(func(t *testing.T) Target { return target(listen(t, func(c net.Conn) { hangUp(c) })) })},
	{"an old TLS version", TLSRefused, of(func(t *testing.T) Target {
		old := config(trusted().server(nil))
		old.MaxVersion = tls.VersionTLS11
		return target(serve(t, old, newCluster()))
	})},
	{"a gateway that wants a certificate of its CA", ClientCertificateRefused, of(func(t *testing.T) Target {
		strict := config(trusted().server(nil))
		strict.ClientAuth, strict.ClientCAs, strict.Time = tls.RequireAndVerifyClientCert, x509.NewCertPool(), options().Now
		strict.ClientCAs.AddCert(other().cert)
		r := target(serve(t, strict, newCluster()))
		r.Certificate, r.Key = trusted().client(nil)
		return r
	})},
	{"another CA", ServerCertificateUnknown, certified(other, nil)},
	{"no CA", ServerCertificateUnknown, of(func(t *testing.T) Target { r := target(good(t, newCluster())); r.CA = nil; return r })},
	{"an expired server certificate", ServerCertificateExpired, certified(trusted, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })},
	{"a server certificate of tomorrow", ServerCertificateEarly, certified(trusted, func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) })},
	{"a client's certificate as the server's", ServerCertificateInvalid, certified(trusted, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
	{"another host name", HostNameMismatch, certified(trusted, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"api.example.com", "kubernetes.default.svc"}
	})},

	{"a redirect", Redirect, behind(answering(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://login.example.com/?token="+canary, http.StatusFound)
	}))},
	{"hung after TLS", AnswerTimeout, soon(func(t *testing.T) Target {
		return target(good(t, answering(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
	})},
	{"an answer of a byte now and then", AnswerTimeout, soon(func(t *testing.T) Target {
		return target(good(t, answering(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		})))
	})},
	{"an endless answer", AnswerTooLarge, behind(answering(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(canary, 100)); err != nil {
				return
			}
		}
	}))},
	{"an endless header", AnswerBroken, behind(answering(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat(canary, 5000)) }))},
	{"closed before the answer", AnswerBroken, behind(answering(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))},
	{"something else than HTTP", AnswerBroken, of(func(t *testing.T) Target {
		server := config(trusted().server(nil))
		return target(listen(t, func(c net.Conn) {
			secure := tls.Server(c, server)
			fmt.Fprint(secure, "220 mail.example.com ESMTP "+canary+"\r\n\r\n")
			hangUp(secure)
		}))
	})},
	{"a load balancer without a server", ServerError, behind(answering(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusServiceUnavailable) }))},
	{"too many requests", RateLimited, behind(answering(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusTooManyRequests) }))},

	{"a login page", NotKubernetes, behind(answering(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html><html>"+canary+"</html>")
	}))},
	{"another web server", NotKubernetes, behind(http.NotFoundHandler())},
	{"a service of another kind", NotKubernetes, behind(answering(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["`+canary+`"]`) }))},

	{"revoked", CredentialRejected, behind(answering(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusUnauthorized, "Unauthorized") }))},
	{"an expired token", TokenExpired, of(func(t *testing.T) Target {
		r := target(good(t, answering(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusUnauthorized, "Unauthorized") })))
		r.Token = expiring(now.Add(-time.Minute))
		return r
	})},
	{"an expired client certificate", ClientCertificateExpired, of(func(t *testing.T) Target {
		r := target(good(t, answering(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusUnauthorized, "Unauthorized") })))
		r.Token = ""
		r.Certificate, r.Key = trusted().client(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
		return r
	})},
	{"a password", Anonymous, of(func(t *testing.T) Target {
		c := newCluster()
		c.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/version" {
				return false
			}
			forbidden(w, `selfsubjectreviews is forbidden: User "system:anonymous" cannot create resource`)
			return true
		}
		r := target(good(t, c))
		r.Token, r.Username, r.Password = "", "scanner", canary
		return r
	})},

	{"a server that tells the anonymous user who it is", Anonymous, behind(func() *cluster { c := newCluster(); c.user = anonymous; return c }())},

	{"no rights", RightsNone, behind(func() *cluster { c := newCluster(); c.rules, c.uid = nil, ""; return c }())},
	{"some rights", RightsPartial, behind(func() *cluster {
		c := newCluster()
		c.rules = []authorizationv1.ResourceRule{
			{Verbs: []string{all}, APIGroups: []string{"", "apps", "batch", "networking.k8s.io", "autoscaling", "policy"}, Resources: []string{all}},
			{Verbs: []string{"get", "list"}, APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"roles", "rolebindings"}},
			{Verbs: []string{"get"}, APIGroups: []string{"storage.k8s.io"}, Resources: []string{all}, ResourceNames: []string{"fast"}},
		}
		return c
	}())},

	{"another cluster behind the address", OtherCluster, of(func(t *testing.T) Target {
		r := target(good(t, newCluster()))
		r.UID = "99999999-8888-7777-6666-555555555555"
		return r
	})},
	{"a cluster that can't be compared", IdentityUnreadable, of(func(t *testing.T) Target {
		c := newCluster()
		c.uid = ""
		r := target(good(t, c))
		r.UID = "99999999-8888-7777-6666-555555555555"
		return r
	})},
	{"stopped by the caller", Interrupted, func(t *testing.T) Result {
		ctx, cancel := context.WithCancel(t.Context())
		c := answering(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		return Run(ctx, target(good(t, c)), options())
	}},
}

// TestCauses holds the message of every cause, which people see, and that no scenario shows the canary.
func TestCauses(t *testing.T) {
	var b strings.Builder
	seen := map[Cause]bool{}
	for _, s := range scenarios {
		r := s.run(t)
		var cause Cause
		if f := r.Failure(); f != nil {
			cause = f.Cause
		}
		if seen[cause] = true; cause != s.cause {
			t.Errorf("%s: %q, want %q\n%s", s.reason, cause, s.cause, text(r))
		}
		if strings.Contains(text(r), canary) {
			t.Errorf("%s: the result has the canary\n%s", s.reason, text(r))
		}
		full := text(r)
		if cause != "" { // what comes before and after a failure is clear
			full = short(r)
		}
		b.WriteString(s.reason + "\n" + full + "\n")
	}
	for _, cause := range Causes() {
		if !seen[cause] {
			t.Errorf("no scenario has the cause %s", cause)
		}
	}
	golden(t, "causes.txt", regexp.MustCompile(`\b(127\.0\.0\.1[: ]|port )\d{5}\b`).ReplaceAllString(b.String(), "${1}PORT"))
}

// golden compares a text with a file, which -update writes anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		check(t, os.MkdirAll("testdata", 0o750))
		check(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestCausesAreDocumented: the reference for users names each cause.
func TestCausesAreDocumented(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	check(t, err)
	for _, cause := range Causes() {
		if !strings.Contains(string(readme), "`"+string(cause)+"`") {
			t.Errorf("clusters/README.md does not name the cause %s", cause)
		}
		if c := texts[cause]; c.message == "" || c.fix == "" {
			t.Errorf("%s has no message or fix", cause)
		}
	}
	if len(Causes()) < 20 || !slices.Contains(Causes(), OtherCluster) {
		t.Errorf("only %d causes", len(Causes()))
	}
}
