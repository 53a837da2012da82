package credential

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"regexp"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
)

// CACert checks a bundle of CA certificates in PEM. Its Term is that of the last of them.
func CACert(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if r.text(content, "the CA certificate", CodeCertificate) {
		r.bundle(content, "the CA certificate")
	}
	return r.facts, r.problems
}

// bundle checks CA certificates: one valid certificate is enough.
func (r *report) bundle(content []byte, what string) {
	certs := r.certificates(content, what)
	if len(certs) == 0 {
		return
	}
	t := Term{Kind: KindCACertificate, what: what}
	var first time.Time
	expired := 0
	for _, cert := range certs {
		r.facts.turns = append(r.facts.turns, cert.NotAfter)
		if cert.NotAfter.After(t.Until) {
			t.From, t.Until = cert.NotBefore, cert.NotAfter
		}
		switch {
		case !cert.NotAfter.After(r.now):
			expired++ // its start doesn't matter any more
		case first.IsZero() || cert.NotBefore.Before(first):
			first = cert.NotBefore
		}
	}
	r.validity(t)
	r.from(first, CodeCertificateEarly, what)
	if expired > 0 && expired < len(certs) {
		r.add(finding.Info, CodeCertificateExpired, what+" has an expired certificate next to a valid one", "remove the expired one")
	}
}

// validity reports an expired certificate.
func (r *report) validity(t Term) {
	if r.until(t) {
		r.fail(CodeCertificateExpired, t.Text(Expired), "replace it")
	}
}

// certificates parses the certificates in PEM content, and reports anything else in it. Text between the blocks is allowed,
// because openssl writes it.
func (r *report) certificates(content []byte, what string) []*x509.Certificate {
	var certs []*x509.Certificate
	keys, others, broken := 0, 0, 0
	rest := content
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case strings.Contains(block.Type, "PRIVATE KEY"):
			keys++
		case block.Type != "CERTIFICATE":
			others++
		default:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				broken++
				continue
			}
			certs = append(certs, cert)
		}
	}
	if keys > 0 && (!r.withKey || len(certs) == 0) {
		r.fail(CodePrivateKey, what+" contains a private key", "remove the key and replace it: it was in a field for public data")
	}
	r.foreign(content, rest, what, len(certs), broken, others)
	return certs
}

// foreign reports what isn't a certificate. It is no error if there is also a good certificate, because Go's certificate pools
// skip what they can't read.
func (r *report) foreign(content, rest []byte, what string, good, broken, others int) {
	const fix = "export it again as PEM, with whole CERTIFICATE blocks only"
	switch {
	case good == 0 && joined.Match(content):
		r.fail(CodeCertificate, what+joinedProblem, joinedFix)
	case joined.Match(content):
		r.warn(CodeCertificate, what+joinedProblem, joinedFix)
	case good == 0 && broken > 0:
		r.fail(CodeCertificate, what+" can't be read", fix)
	case good == 0 && isEncodedPEM(content):
		r.fail(CodeEncoded, what+" is base64 of PEM", "decode it, for example with base64 -d: kubeconfigs and kubectl show certificates encoded")
	case good == 0:
		r.fail(CodeCertificate, what+" has no PEM certificate", "start it with -----BEGIN CERTIFICATE-----")
	case broken > 0:
		r.warn(CodeCertificate, what+" has an unreadable certificate next to a good one", fix)
	case others > 0 || bytes.Contains(rest, []byte("-----BEGIN")):
		r.warn(CodeCertificate, what+" has something other than certificates, or a truncated one", fix)
	}
}

const (
	joinedProblem = " has two PEM blocks without a newline between them, and clients read neither"
	joinedFix     = "start each -----BEGIN on its own line"
)

// joined matches the end of a PEM block that is directly followed by another one.
var joined = regexp.MustCompile(`-----END [A-Z0-9 ]+-----[ \t]*-----BEGIN `)

func isEncodedPEM(content []byte) bool {
	// Encoders break lines at 64 or 76 characters.
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), ""))
	return err == nil && bytes.Contains(decoded, []byte("-----BEGIN"))
}

// maxKey limits a private key. The time to check a key grows with the square of its length: an RSA key that fills a Secret takes
// 18 seconds. One of 16,384 bits has 13 KiB.
const maxKey = 32 << 10

// keyPair checks a client certificate and its key. If there are intermediate certificates, the client's certificate comes first.
func (r *report) keyPair(cert, key []byte) {
	const what = "the client certificate"
	r.withKey = true // client-go only reads the certificates, and many tools append the key
	certs := r.certificates(cert, what)
	r.withKey = false
	if len(certs) == 0 {
		return
	}
	r.validity(Term{KindClientCertificate, certs[0].NotBefore, certs[0].NotAfter, what})
	r.from(certs[0].NotBefore, CodeCertificateEarly, what)
	if len(key) == 0 {
		r.fail(CodeKeyPair, what+" has no key", "add client-key-data")
		return
	}
	if len(key) > maxKey {
		r.fail(CodeKeyPair, "the client key is too long", "put only the private key of the certificate in client-key-data")
		return
	}
	if block, _ := pem.Decode(key); block != nil && (strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")) {
		r.fail(CodeKeyPair, "the client key has a passphrase, which the scanner doesn't know", "remove the passphrase, for example with openssl pkey; SOPS protects the key")
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		r.fail(CodeKeyPair, "the client key can't be read, or belongs to another certificate", "export certificate and key together")
	}
}
