// Package credential checks the content of opened secrets: kubeconfigs, tokens, certificates and registry credentials.
//
// It reports whether the scanner can use them where it runs (a Pod that mounts one key, without plugins or helper programs), and
// when they expire. It never repeats content: problems contain nothing of what was checked but dates, and parser errors, which
// may quote their input, are dropped. It never opens a file or a connection, and runs nothing.
package credential

import (
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Problem is a problem of a credential. It never contains any of the credential.
type Problem struct {
	Code     finding.Code
	Severity finding.Severity
	// Message is one line with the cause.
	Message string
	// Fix is one line with the remedy. It is empty if the message makes that clear.
	Fix string
}

// Facts is what could be read from a credential.
type Facts struct {
	// Server is the address of a kubeconfig's current context. It is empty for other credentials. It comes from secret content,
	// so mask it before printing.
	Server string
	// Destination is a hash of where a kubeconfig sends its credentials and how it verifies the server: address, certificates,
	// whether they are checked, and proxy. It is empty for other credentials. It doesn't cover a login in an address.
	Destination string
	// Expires is when the credential stops working: the earliest end of its Terms. It is zero if nothing expires, or if that is
	// unknown.
	Expires time.Time
	// Terms are the parts of the credential with a known end. A CA bundle lasts as long as its last certificate.
	Terms []Term
	// turns are other times at which the problems may change: when a part becomes valid, or one of several certificates expires.
	turns []time.Time
}

// The rules for credentials. The codes are a contract with users: see [finding.Code].
const (
	// CodeEmpty: the credential is empty. Error.
	CodeEmpty finding.Code = "credential-empty"
	// CodeSize: more than a Secret can hold. Error.
	CodeSize finding.Code = "secret-size"
	// CodeEncoded: base64 instead of the decoded text. Error.
	CodeEncoded finding.Code = "credential-base64"

	// CodeKubeconfigSyntax: not YAML, or a duplicate field. Error.
	CodeKubeconfigSyntax finding.Code = "kubeconfig-syntax"
	// CodeKubeconfigKind: YAML, but not a kubeconfig. Error.
	CodeKubeconfigKind finding.Code = "kubeconfig-kind"
	// CodeKubeconfigInvalid: a kubeconfig that client-go refuses. Error.
	CodeKubeconfigInvalid finding.Code = "kubeconfig-invalid"
	// CodeKubeconfigUnknownField: a field that client-go ignores. Warning.
	CodeKubeconfigUnknownField finding.Code = "kubeconfig-unknown-field"
	// CodeKubeconfigContext: the current context, or what it refers to, is missing. Error.
	CodeKubeconfigContext finding.Code = "kubeconfig-context"
	// CodeKubeconfigPlugin: an exec plugin or auth provider, which the scanner's image does not have. Error.
	CodeKubeconfigPlugin finding.Code = "kubeconfig-plugin"
	// CodeKubeconfigFile: a file path, but the scanner's Pod does not have the file. Error.
	CodeKubeconfigFile finding.Code = "kubeconfig-file-reference"
	// CodeKubeconfigServer: an address that the scanner can't use (error) or that is its own Pod (warning).
	CodeKubeconfigServer finding.Code = "kubeconfig-server"
	// CodeKubeconfigTLS: the server's certificate is not checked. Warning.
	CodeKubeconfigTLS finding.Code = "kubeconfig-insecure"
	// CodeKubeconfigLogin: no credentials (error), or user name and password (warning).
	CodeKubeconfigLogin finding.Code = "kubeconfig-login"
	// CodeKubeconfigProxy: the connection goes through a proxy. Info.
	CodeKubeconfigProxy finding.Code = "kubeconfig-proxy"

	// CodeToken: a token that can't be sent (error), or one with a newline around it (warning).
	CodeToken finding.Code = "token-form"
	// CodeTokenExpired: the token has expired. Error.
	CodeTokenExpired finding.Code = "token-expired"
	// CodeTokenExpiring: the token has reached a threshold of its Term. Warning.
	CodeTokenExpiring finding.Code = "token-expiring"
	// CodeTokenEarly: the token is not valid yet. Warning.
	CodeTokenEarly finding.Code = "token-not-yet-valid"

	// CodeCertificate: a certificate is missing or can't be read. Error, or a warning if there is also a good one.
	CodeCertificate finding.Code = "certificate-form"
	// CodePrivateKey: a private key among certificates. Error.
	CodePrivateKey finding.Code = "certificate-private-key"
	// CodeKeyPair: a client certificate without its key, or with the wrong key. Error.
	CodeKeyPair finding.Code = "certificate-key-pair"
	// CodeCertificateExpired: the certificate has expired. Error, or info if others in the bundle are still valid.
	CodeCertificateExpired finding.Code = "certificate-expired"
	// CodeCertificateExpiring: the certificate has reached a threshold of its Term. Warning.
	CodeCertificateExpiring finding.Code = "certificate-expiring"
	// CodeCertificateEarly: the certificate is not valid yet. Warning.
	CodeCertificateEarly finding.Code = "certificate-not-yet-valid"

	// CodeRegistrySyntax: not the JSON of a Docker config, or a duplicate field. Error.
	CodeRegistrySyntax finding.Code = "registry-config-syntax"
	// CodeRegistryAuth: a registry whose login is missing or can't be read. Error.
	CodeRegistryAuth finding.Code = "registry-config-auth"
	// CodeRegistryHelper: a credential helper, which the scanner's image does not have. Error.
	CodeRegistryHelper finding.Code = "registry-config-helper"
	// CodeRegistryLoginExpired: the login of a registry has expired. Warning: clusters are still scanned, but not private images.
	CodeRegistryLoginExpired finding.Code = "registry-login-expired"
	// CodeRegistryLoginExpiring: the login of a registry has reached a threshold of its Term. Warning.
	CodeRegistryLoginExpiring finding.Code = "registry-login-expiring"
)

// MaxSecretSize is the maximum size of all values of a Secret, in bytes. Kubernetes refuses more.
const MaxSecretSize = 1 << 20

// SecretSize checks the size of a Secret's values.
func SecretSize(data map[string]string) []Problem {
	total := 0
	for _, value := range data {
		total += len(value)
	}
	var r report
	r.size(total)
	return r.problems
}

// report collects facts and problems.
type report struct {
	now      time.Time
	facts    Facts
	problems []Problem
	// withKey is true if a private key is allowed next to the certificates.
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

// size reports content that is too large for a Secret, and returns whether it fits.
func (r *report) size(bytes int) bool {
	if bytes > MaxSecretSize {
		r.fail(CodeSize, "the content is over 1 MiB, the limit of a Secret", "keep only what the scanner needs")
		return false
	}
	return true
}

// text reports content that isn't worth parsing, and returns whether it is. It checks the size first, so that nothing huge is
// parsed.
func (r *report) text(content []byte, what string, code finding.Code) bool {
	switch {
	case !r.size(len(content)):
		return false
	case isBlank(content):
		r.fail(CodeEmpty, what+" is empty", "add the credential, and encrypt it")
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

// forever is the last second that a date can represent. It means that there is no end (RFC 5280, section 4.1.2.5).
const forever = 253402300799

// until records a part of the credential with an end, and returns whether it has expired.
func (r *report) until(t Term) bool {
	if t.Until.Unix() >= forever {
		return false
	}
	r.facts.Terms = append(r.facts.Terms, t)
	if r.facts.Expires.IsZero() || t.Until.Before(r.facts.Expires) {
		r.facts.Expires = t.Until
	}
	return !t.Until.After(r.now)
}

// skew is how much clocks may differ before a credential counts as not yet valid.
const skew = 5 * time.Minute

// from reports a part of the credential that is not valid yet.
func (r *report) from(start time.Time, code finding.Code, what string) {
	if valid := start.Add(-skew); valid.After(r.now) {
		r.facts.turns = append(r.facts.turns, valid)
		r.warn(code, what+" is valid from "+day(start), "check the clock of the machine that issued it")
	}
}

// day is the form of a time in messages. It stays the same from one check to the next.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
