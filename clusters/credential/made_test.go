package credential_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

var now = time.Date(2026, time.November, 15, 12, 0, 0, 0, time.UTC)

const days = 24 * time.Hour

// pair generates a self-signed certificate and its key, both PEM.
func pair(t testing.TB, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "canary"}, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func valid(t testing.TB) string {
	cert, _ := pair(t, now.Add(-days), now.Add(365*days))
	return cert
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// jwt returns an unsigned JSON Web Token with these claims.
func jwt(claims string) string {
	return raw(`{"alg":"RS256"}`) + "." + raw(claims) + "." + raw("canary")
}

func raw(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func expiring(at time.Time) string { return jwt(fmt.Sprintf(`{"sub":"canary","exp":%d}`, at.Unix())) }

// short returns the problems as "severity code", in order. It verifies the rules for all messages: one line, with a code, and
// without content, which tests mark with the word canary.
func short(t testing.TB, problems []credential.Problem) []string {
	t.Helper()
	var list []string
	for _, p := range problems {
		list = append(list, string(p.Severity)+" "+string(p.Code))
		text := p.Message + p.Fix
		if p.Message == "" || p.Code == "" || strings.ContainsAny(text, "\n\r\x00") || strings.Contains(strings.ToLower(text), "canary") {
			t.Errorf("message %q, fix %q", p.Message, p.Fix)
		}
	}
	return list
}
