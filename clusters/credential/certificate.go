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

// CACert checks a bundle of CA certificates in PEM. Facts.Expires is when the last of them expires.
func CACert(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if r.text(content, "the CA certificate", CodeCertificate) {
		r.bundle(content, "the CA certificate")
	}
	return r.facts, r.problems
}

// bundle checks CA certificates: one that lasts is enough.
func (r *report) bundle(content []byte, what string) {
	certs := r.certificates(content, what)
	if len(certs) == 0 {
		return
	}
	var first, last time.Time
	expired := 0
	for _, cert := range certs {
		if cert.NotAfter.After(last) {
			last = cert.NotAfter
		}
		switch {
		case !cert.NotAfter.After(r.now):
			expired++ // its beginning helps nobody any more
		case first.IsZero() || cert.NotBefore.Before(first):
			first = cert.NotBefore
		}
	}
	r.validity(first, last, what)
	if expired > 0 && expired < len(certs) {
		r.add(finding.Info, CodeCertificateExpired, what+" holds an expired certificate beside one that lasts", "remove the expired one")
	}
}

// validity reports a time that is over, nearly over or has not come.
func (r *report) validity(from, to time.Time, what string) {
	r.until(to)
	switch {
	case !to.After(r.now):
		r.fail(CodeCertificateExpired, what+" expired on "+day(to), "put in its successor")
	case to.Before(r.now.Add(Notice)):
		r.warn(CodeCertificateExpiring, what+" expires on "+day(to), "put in its successor before")
	}
	if from.After(r.now) {
		r.warn(CodeCertificateEarly, what+" is valid from "+day(from), "check the clock of whoever made it")
	}
}

// certificates reads the certificates of PEM content, and reports whatever else is in it. Text between the blocks is
// allowed, as openssl writes it.
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
		r.fail(CodePrivateKey, what+" comes with a private key", "remove the key, and replace it: it was in a place for public data")
	}
	r.foreign(content, rest, what, len(certs), broken, others)
	return certs
}

// foreign reports what isn't a certificate. Go's certificate pools pass over what they can't read, so that beside a good
// certificate it is no error.
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
		r.fail(CodeEncoded, what+" is base64 of PEM", "decode it, as with base64 -d: kubeconfigs and kubectl show certificates encoded")
	case good == 0:
		r.fail(CodeCertificate, what+" holds no certificate in PEM", "begin it with -----BEGIN CERTIFICATE-----")
	case broken > 0:
		r.warn(CodeCertificate, what+" holds a certificate that can't be read beside a good one", fix)
	case others > 0 || bytes.Contains(rest, []byte("-----BEGIN")):
		r.warn(CodeCertificate, what+" holds something besides certificates, or one that is cut off", fix)
	}
}

const (
	joinedProblem = " has two PEM blocks without a line end between them, and clients read neither of the two"
	joinedFix     = "begin each -----BEGIN on a line of its own"
)

// joined matches the end of a PEM block with another one right behind it.
var joined = regexp.MustCompile(`-----END [A-Z0-9 ]+-----[ \t]*-----BEGIN `)

func isEncodedPEM(content []byte) bool {
	// Encoders break lines at 64 or 76 characters.
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), ""))
	return err == nil && bytes.Contains(decoded, []byte("-----BEGIN"))
}

// maxKey bounds a private key. The time to check one grows with the square of its length: an RSA key that fills a Secret takes 18 seconds. One
// of 16,384 bits has 13 KiB.
const maxKey = 32 << 10

// keyPair checks a client certificate and its key. With intermediate certificates, the first is the client's own.
func (r *report) keyPair(cert, key []byte) {
	const what = "the client certificate"
	r.withKey = true // client-go reads the certificates alone, and many tools put the key behind them
	certs := r.certificates(cert, what)
	r.withKey = false
	if len(certs) == 0 {
		return
	}
	r.validity(certs[0].NotBefore, certs[0].NotAfter, what)
	if len(key) == 0 {
		r.fail(CodeKeyPair, what+" has no key", "put in client-key-data")
		return
	}
	if len(key) > maxKey {
		r.fail(CodeKeyPair, "the client key is longer than any in use", "put the private key of the certificate alone into client-key-data")
		return
	}
	if block, _ := pem.Decode(key); block != nil && (strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")) {
		r.fail(CodeKeyPair, "the client key is protected by a passphrase, which the scanner can't know", "remove the passphrase, as with openssl pkey; SOPS protects the key")
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		r.fail(CodeKeyPair, "the client key can't be read, or belongs to another certificate", "export certificate and key together")
	}
}
