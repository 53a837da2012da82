package clusters_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"time"
)

// caPEM is a certificate authority, made once.
var caPEM = sync.OnceValue(func() string { return certificate(now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0)) })

// certificate is that of an authority, valid between two times.
func certificate(from, to time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// kubeconfig is a good one, with the canary in its token.
func kubeconfig(name string) string {
	return `apiVersion: v1
kind: Config
clusters:
  - name: ` + name + `
    cluster:
      server: https://` + name + `.example.com:6443
      certificate-authority-data: ` + base64.StdEncoding.EncodeToString([]byte(caPEM())) + `
users:
  - name: scanner
    user:
      token: token-` + canary + `
contexts:
  - name: ` + name + `
    context: {cluster: ` + name + `, user: scanner}
current-context: ` + name + `
`
}

func auditConfig(name string) string {
	return `apiVersion: k8s.mondoo.com/v1alpha2
kind: MondooAuditConfig
metadata:
  name: ` + name + `
spec:
  mondooCredsSecretRef:
    name: mondoo-client
  kubernetesResources:
    schedule: 17 * * * *
    enable: true
`
}

func indent(n int, text string) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad) + "\n"
}

// oneLine folds a document for a block scalar that is indented by six.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n      ")
}

// scalarAfter is the rest of the first line that has a prefix, blanks aside.
func scalarAfter(text, prefix string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			return rest
		}
	}
	return ""
}

// aliasBomb is a small file that expands to 10^9 values.
func aliasBomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		previous := "*a" + string(rune('0'+i-1))
		b.WriteString("a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.TrimSuffix(strings.Repeat(previous+", ", 10), ", ") + "]\n")
	}
	return b.String()
}
