//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newCluster is a desk with rules to encrypt by, and a certificate.
func newClusterDesk(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t)
	const rules = "creation_rules:\n  - age: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n    encrypted_regex: ^(token|server|caCert)$\n    mac_only_encrypted: true\n"
	check(t, os.WriteFile(filepath.Join(d.root, ".sops.yaml"), []byte(rules), 0o600))
	check(t, os.WriteFile(filepath.Join(d.root, ".keys", "ca.pem"), []byte(promptCA), 0o600))
	return d
}

// questions are those of muster add for a cluster with a token, and answers to them.
var questions = [][2]string{
	{"1 to 11: ", "1\n"},
	{"Address of the cluster's API server", "https://eu.example.com\n"},
	{"The token of a ServiceAccount (not shown): ", canary + "-token\n"},
	{"File with the PEM certificates to verify the API server: ", ".keys/ca.pem\n"},
}

func TestQuestions(t *testing.T) {
	d := newClusterDesk(t)
	s := d.start("add", "asia", ".", "--preflight", "off")
	for _, q := range questions {
		s.sees(q[0])
		s.press(q[1])
	}
	s.ends(exitOK)
	if leak(s.shown()) != "" {
		t.Errorf("the terminal shows the token:\n%q", s.shown())
	}
	file, err := os.ReadFile(filepath.Join(d.root, "asia.yaml"))
	if err != nil || !strings.Contains(string(file), "token: ENC[") {
		t.Errorf("%v\n%s\n%s", err, file, s.shown())
	}
}

// What is no answer is asked again.
func TestQuestionsAgain(t *testing.T) {
	d := newClusterDesk(t)
	s := d.start("add", "asia", ".", "--preflight", "off")
	for _, wrong := range []string{"\n", "0\n", "12\n", "x\n"} {
		s.sees("1 to 11: ")
		s.press(wrong)
	}
	for _, q := range questions[:3] {
		s.sees(q[0])
		s.press(q[1])
	}
	s.sees(questions[3][0])
	s.press("nowhere.pem\n")
	s.sees("open nowhere.pem: no such file")
	s.press(questions[3][1])
	s.ends(exitOK)
}

// Ctrl-C at any question ends the command, Ctrl-D is no answer, and neither leaves anything.
func TestQuestionsAreRefused(t *testing.T) {
	for i, last := range questions {
		const ctrlD = "\x04"
		for key, status := range map[string]int{ctrlC: exitStopped, ctrlD: exitFailure} {
			if key == ctrlD && strings.Contains(last[0], "not shown") {
				continue // golang.org/x/term reads on until there is a line
			}
			t.Run(last[0]+key, func(t *testing.T) {
				t.Parallel()
				d := newClusterDesk(t)
				s := d.start("add", "asia", ".", "--preflight", "off")
				for _, q := range questions[:i] {
					s.sees(q[0])
					s.press(q[1])
				}
				s.sees(last[0])
				s.press(key)
				s.ends(status)
				if d.exists("asia.yaml") {
					t.Error("a file was written")
				}
			})
		}
	}
}

// promptCA is a certificate that lasts.
const promptCA = `-----BEGIN CERTIFICATE-----
MIIBfDCCASGgAwIBAgIUR6+Np2opCVDaR2mResrJWvcCCgowCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdGVzdC1jYTAgFw0yNjExMzAxODA4NDNaGA8yMTI2MTEwNjE4
MDg0M1owEjEQMA4GA1UEAwwHdGVzdC1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABKvMZVdosNnSA6flPpIYEF0TAbWA9r68dobqT3o74FJwW7mh6H81N1hHvRjL
Pa02uc/TtLT7leRgUqVpwpMRM46jUzBRMB0GA1UdDgQWBBSPN0gJtu7Ztw+m1EvX
C1dXbH5A8DAfBgNVHSMEGDAWgBSPN0gJtu7Ztw+m1EvXC1dXbH5A8DAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQC35cs6G7P0ads96N5CU1uqF8nV
5CewZk1/1xAqtvYGlQIhAJMXChHKmYiPny3aZGWQGbz5VWJvQiB+YXyySj23v93x
-----END CERTIFICATE-----
`
