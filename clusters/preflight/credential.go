package preflight

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// endpoint is where a target is, and how to log in there, ready to use.
type endpoint struct {
	host, port, base string
	proxy            *proxy // nil if there is none
	tls              *tls.Config
	certificate      *x509.Certificate // the client's; nil if it has none
}

// maxPEM limits the CA, the client certificate and its key: reading an RSA key takes time that grows with the square of its length.
const maxPEM = 1 << 20

// maxKey is as in package credential.
const maxKey = 32 << 10

// credential checks what needs no connection. It returns nil if there is no point in one.
func (r *report) credential(t Target, o Options) *endpoint {
	switch {
	case t.problem != nil:
		r.fail(Credential, t.problem)
		return nil
	case t.NotChecked != "":
		r.notChecked(t.NotChecked)
		if t.facts != "" {
			r.pass(Credential, t.facts)
		}
		return nil
	}
	where, failure := t.endpoint(o.Now())
	if failure != nil {
		r.fail(Credential, failure)
		return nil
	}
	var why string
	if where.proxy, why = t.proxied(where, o); why != "" {
		r.notChecked(why)
		return nil
	}
	r.known.host, r.known.port, r.known.url = where.host, where.port, where.base
	r.pass(Credential, t.facts)
	return where
}

// withoutLogin ends the checks of a target whose server is the right one.
func (r *report) withoutLogin(why string) {
	r.result.NotChecked = r.show.clean(why)
	for _, name := range Names[slices.Index(Names, HTTP):] {
		r.skip(name, "")
	}
}

// notChecked is the result of a target that isn't contacted.
func (r *report) notChecked(why string) {
	r.result.NotChecked = r.show.clean(why)
	for _, name := range Names {
		r.skip(name, "")
	}
}

// endpoint reads a target.
func (t Target) endpoint(now time.Time) (*endpoint, *failure) {
	u, err := url.Parse(t.Server)
	switch {
	case err != nil:
		return nil, &failure{cause: ServerInvalid, detail: "it is no address"}
	case u.Scheme != "https":
		return nil, &failure{cause: ServerInvalid, detail: "it does not start with https://"}
	case u.Hostname() == "":
		return nil, &failure{cause: ServerInvalid, detail: "it has no host"}
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, &failure{cause: ServerInvalid, detail: "it has a login, a query or a fragment"}
	}
	where := &endpoint{host: u.Hostname(), port: u.Port(), base: strings.TrimSuffix(u.String(), "/")}
	if where.port == "" {
		where.port = "443"
	}
	if n, err := strconv.Atoi(where.port); err != nil || n < 1 || n > 65535 {
		return nil, &failure{cause: ServerInvalid, detail: "it has no port between 1 and 65535"}
	}
	if t.noLogin == "" && t.Token == "" && t.Username == "" && t.Password == "" && len(t.Certificate) == 0 {
		return nil, &failure{cause: CredentialMissing}
	}
	return where, where.secure(t, now)
}

// secure prepares TLS.
func (e *endpoint) secure(t Target, now time.Time) *failure {
	roots, failed := t.roots()
	if failed != nil {
		return failed
	}
	name := t.TLSServerName
	if name == "" {
		name = e.host
	}
	e.tls = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, to tell an unknown authority from another host
		VerifyConnection: func(state tls.ConnectionState) error {
			if t.SkipTLSVerify {
				return nil
			}
			return verify(state, roots, name, now)
		},
	}
	if len(t.Certificate) == 0 {
		return nil
	}
	if len(t.Key) > maxKey || len(t.Certificate) > maxPEM {
		return &failure{cause: CredentialUnusable, detail: "the client certificate or its key is too long"}
	}
	pair, err := tls.X509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return &failure{cause: CredentialUnusable, detail: "the client certificate and its key can't be read, or don't belong together"}
	}
	e.certificate = pair.Leaf
	// As client-go does, whatever authorities the server says it accepts.
	e.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return nil
}

// roots returns the authorities that the server's certificate may be from; nil for those of the system.
func (t Target) roots() (*x509.CertPool, *failure) {
	if len(t.CA) == 0 || t.SkipTLSVerify {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if len(t.CA) > maxPEM || !roots.AppendCertsFromPEM(t.CA) {
		return nil, &failure{cause: CAUnusable}
	}
	return roots, nil
}
