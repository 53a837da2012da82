// Package credential checks what opened secrets hold: kubeconfigs, tokens, certificates and registry credentials.
//
// It says whether the scanner can work with them where it runs (a Pod that mounts one key, without plugins or helper
// programs), and when they expire. It never repeats content: no problem holds a byte of what was checked, and no error of
// a parser, which may quote its input, is passed on. All it tells are dates. It never opens a file or a connection, and
// runs nothing.
package credential

import (
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Problem is one fact about a credential. It names what is wrong and never what the credential holds.
type Problem struct {
	Code     finding.Code
	Severity finding.Severity
	// Message is one line that names the cause.
	Message string
	// Fix is one line that says how to mend it; empty where the message says it all.
	Fix string
}

// Facts is what a credential tells of itself, as far as it could be read.
type Facts struct {
	// Server is the address a kubeconfig's current context points to; empty for other credentials. It comes from secret
	// content: mask it before printing.
	Server string
	// Destination is a hash of where a kubeconfig sends its credentials, and of how it knows the server: address, certificates,
	// whether they are checked, and proxy. Empty for other credentials. No login is in it.
	Destination string
	// Expires is when the credential stops working: the earliest of a token, a client certificate and a CA bundle, where a
	// bundle lasts as long as its last certificate. Zero when nothing expires or nothing is known.
	Expires time.Time
}

// The rules for credentials. Codes are a contract with users: see [finding.Code].
const (
	// CodeEmpty: nothing is there. Error.
	CodeEmpty finding.Code = "credential-empty"
	// CodeSize: more than a Secret can hold. Error.
	CodeSize finding.Code = "secret-size"
	// CodeEncoded: base64 where the decoded text belongs. Error.
	CodeEncoded finding.Code = "credential-base64"

	// CodeKubeconfigSyntax: not YAML, or a field twice. Error.
	CodeKubeconfigSyntax finding.Code = "kubeconfig-syntax"
	// CodeKubeconfigKind: YAML, but no kubeconfig. Error.
	CodeKubeconfigKind finding.Code = "kubeconfig-kind"
	// CodeKubeconfigInvalid: a kubeconfig that client-go refuses. Error.
	CodeKubeconfigInvalid finding.Code = "kubeconfig-invalid"
	// CodeKubeconfigUnknownField: a field that client-go passes over. Warning.
	CodeKubeconfigUnknownField finding.Code = "kubeconfig-unknown-field"
	// CodeKubeconfigContext: the current context is missing, or what it names. Error.
	CodeKubeconfigContext finding.Code = "kubeconfig-context"
	// CodeKubeconfigPlugin: an exec plugin or auth provider, which the scanner's image does not have. Error.
	CodeKubeconfigPlugin finding.Code = "kubeconfig-plugin"
	// CodeKubeconfigFile: a path of a file, which the scanner's Pod does not have. Error.
	CodeKubeconfigFile finding.Code = "kubeconfig-file-reference"
	// CodeKubeconfigServer: an address the scanner can't use (error) or that is its own Pod (warning).
	CodeKubeconfigServer finding.Code = "kubeconfig-server"
	// CodeKubeconfigTLS: the server's certificate is not checked. Warning.
	CodeKubeconfigTLS finding.Code = "kubeconfig-insecure"
	// CodeKubeconfigLogin: no credentials (error), or user name and password (warning).
	CodeKubeconfigLogin finding.Code = "kubeconfig-login"
	// CodeKubeconfigProxy: the connection goes through a proxy. Info.
	CodeKubeconfigProxy finding.Code = "kubeconfig-proxy"

	// CodeToken: a token that can't be sent (error), or one with a line end (warning).
	CodeToken finding.Code = "token-form"
	// CodeTokenExpired: the token's time is over. Error.
	CodeTokenExpired finding.Code = "token-expired"
	// CodeTokenExpiring: the token's time is over within 30 days. Warning.
	CodeTokenExpiring finding.Code = "token-expiring"
	// CodeTokenEarly: the token's time has not come. Warning.
	CodeTokenEarly finding.Code = "token-not-yet-valid"

	// CodeCertificate: no certificate where one belongs, or one that can't be read. Error, or warning beside a good one.
	CodeCertificate finding.Code = "certificate-form"
	// CodePrivateKey: a private key among certificates. Error.
	CodePrivateKey finding.Code = "certificate-private-key"
	// CodeKeyPair: a client certificate without its key, or with another one's. Error.
	CodeKeyPair finding.Code = "certificate-key-pair"
	// CodeCertificateExpired: the certificate's time is over: error, or info for one among others that last.
	CodeCertificateExpired finding.Code = "certificate-expired"
	// CodeCertificateExpiring: the certificate's time is over within 30 days. Warning.
	CodeCertificateExpiring finding.Code = "certificate-expiring"
	// CodeCertificateEarly: the certificate's time has not come. Warning.
	CodeCertificateEarly finding.Code = "certificate-not-yet-valid"

	// CodeRegistrySyntax: not the JSON of a Docker config, or a field twice. Error.
	CodeRegistrySyntax finding.Code = "registry-config-syntax"
	// CodeRegistryAuth: a registry whose login is missing or can't be read. Error.
	CodeRegistryAuth finding.Code = "registry-config-auth"
	// CodeRegistryHelper: a credential helper, which the scanner's image does not have. Error.
	CodeRegistryHelper finding.Code = "registry-config-helper"
)

// Notice is how long before its end a credential is reported as expiring.
const Notice = 30 * 24 * time.Hour

// MaxSecretSize is what the values of one Secret may hold together, in bytes; Kubernetes refuses more.
const MaxSecretSize = 1 << 20

// SecretSize checks what one Secret is to hold.
func SecretSize(data map[string]string) []Problem {
	total := 0
	for _, value := range data {
		total += len(value)
	}
	var r report
	r.size(total)
	return r.problems
}

// report collects what is found.
type report struct {
	now      time.Time
	facts    Facts
	problems []Problem
	// withKey says that a private key may stand beside the certificates.
	withKey bool
}

func (r *report) add(severity finding.Severity, code finding.Code, message, fix string) {
	r.problems = append(r.problems, Problem{Code: code, Severity: severity, Message: message, Fix: fix})
}

func (r *report) fail(code finding.Code, message, fix string) {
	r.add(finding.Error, code, message, fix)
}

func (r *report) warn(code finding.Code, message, fix string) {
	r.add(finding.Warning, code, message, fix)
}

// size reports more than fits, and tells whether it fits.
func (r *report) size(bytes int) bool {
	if bytes > MaxSecretSize {
		r.fail(CodeSize, "the content is over 1 MiB, more than a Secret can hold", "keep only what the scanner needs")
		return false
	}
	return true
}

// text reports content that is no text worth parsing, and tells whether it is. The limit comes first, so that nothing huge
// is parsed.
func (r *report) text(content []byte, what string, code finding.Code) bool {
	switch {
	case !r.size(len(content)):
		return false
	case isBlank(content):
		r.fail(CodeEmpty, what+" is empty", "put the credential in, and encrypt it")
		return false
	case !utf8.Valid(content):
		r.fail(code, what+" is not UTF-8 text", "save it as UTF-8")
		return false
	}
	return true
}

func isBlank(content []byte) bool {
	for _, b := range content {
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return false
		}
	}
	return true
}

// until notes an end of validity: the earliest counts.
func (r *report) until(end time.Time) {
	if r.facts.Expires.IsZero() || end.Before(r.facts.Expires) {
		r.facts.Expires = end
	}
}

// day is how messages give a time: it stays the same from one check to the next.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
