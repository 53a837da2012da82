package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
)

// verify checks the certificate of a server as crypto/tls does, in two steps. It runs during the handshake, before a client
// certificate is sent.
func verify(state tls.ConnectionState, roots *x509.CertPool, name string, now time.Time) error {
	leaf, chain := state.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		chain.AddCert(cert)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, CurrentTime: now}); err != nil {
		return untrusted(roots == nil, now, err)
	}
	if leaf.VerifyHostname(name) != nil {
		return &failure{cause: HostNameMismatch, name: name, detail: hosts(leaf)}
	}
	return nil
}

func untrusted(system bool, now time.Time, err error) *failure {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown) && system:
		return &failure{cause: ServerCertificateUnknown, detail: "an authority that this machine trusts, and the file has no CA"}
	case errors.As(err, &unknown):
		return &failure{cause: ServerCertificateUnknown, detail: "the CA in the file"}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return &failure{cause: ServerCertificateEarly, detail: day(invalid.Cert.NotBefore)}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &failure{cause: ServerCertificateExpired, detail: day(invalid.Cert.NotAfter)}
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return &failure{cause: ServerCertificateInvalid, detail: "it is not for servers"}
	}
	return &failure{cause: ServerCertificateInvalid, detail: "a constraint of its authority or its signature doesn't hold"}
}

// hosts are the names that a certificate is for. They come from a certificate that the CA has signed.
func hosts(leaf *x509.Certificate) string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host at all"
	}
	return firstOf(names, 4)
}

// handshake speaks TLS on a connection, and closes it if that fails.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config, limit time.Duration) (*tls.Conn, *failure) {
	step, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(step)
	if err == nil {
		return secure, nil
	}
	conn.Close() //nolint:errcheck // it is of no use any more
	return nil, unshaken(ctx, err, limit)
}

func unshaken(ctx context.Context, err error, limit time.Duration) *failure {
	var own *failure
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &own):
		return own
	case interrupted(ctx):
		return &failure{cause: Interrupted}
	case timedOut(err):
		return &failure{cause: TLSTimeout, limit: limit.String()}
	case errors.As(err, &record):
		return &failure{cause: TLSNotSpoken}
	}
	if f := alert(err); f != nil {
		return f
	}
	if closed(err) {
		return &failure{cause: TLSClosed}
	}
	return &failure{cause: TLSRefused, detail: "the server's part of it is invalid"}
}

// alert returns the failure that a server's TLS alert is, or nil. With TLS 1.3 it may arrive after the handshake. crypto/tls
// doesn't export the alert, but its texts are few and fixed.
func alert(err error) *failure {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return nil
	}
	text := strings.TrimPrefix(remote.Err.Error(), "tls: ")
	if strings.Contains(text, "certificate") || strings.Contains(text, "access denied") {
		return &failure{cause: ClientCertificateRefused, detail: text}
	}
	return &failure{cause: TLSRefused, detail: text}
}
