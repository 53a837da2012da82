package preflight

import (
	"fmt"
	"strings"
	"unicode"
)

// Cause is why a check failed. Causes are a contract with users, who filter by them.
type Cause string

// The causes, by the check that they are of. The table texts has what each means.
const (
	// FileErrors: findings keep the cluster out of the change.
	FileErrors Cause = "file-errors"
	// CredentialMissing: the target has no credential.
	CredentialMissing Cause = "credential-missing"
	// CredentialUnusable: a kubeconfig, certificate or key that no client can use.
	CredentialUnusable Cause = "credential-unusable"
	// CAUnusable: no certificate in the CA.
	CAUnusable Cause = "ca-unusable"
	// ServerInvalid: the address of the server is not one of the forms of Target.Server.
	ServerInvalid Cause = "server-invalid"

	// VaultUnavailable: Vault, from which the credential comes, can't be asked.
	VaultUnavailable Cause = "vault-unavailable"
	// VaultLoginRefused: Vault doesn't let the operator's ServiceAccount log in.
	VaultLoginRefused Cause = "vault-login-refused"
	// VaultCredentialsRefused: Vault gives no credentials for the target.
	VaultCredentialsRefused Cause = "vault-credentials-refused"
	// VaultNotRevoked: the credentials that were made for the check are still valid.
	VaultNotRevoked Cause = "vault-not-revoked"

	// HostUnknown: DNS has no such name.
	HostUnknown Cause = "host-unknown"
	// ResolveTimeout: DNS doesn't answer.
	ResolveTimeout Cause = "resolve-timeout"
	// ResolveFailed: DNS answers with an error.
	ResolveFailed Cause = "resolve-failed"
	// AddressLoopback: the machine that runs the check.
	AddressLoopback Cause = "address-loopback"
	// AddressLinkLocal: reachable on the machine's own link only.
	AddressLinkLocal Cause = "address-link-local"
	// AddressMetadata: the metadata service of a cloud.
	AddressMetadata Cause = "address-metadata"
	// AddressReserved: unspecified, multicast or broadcast.
	AddressReserved Cause = "address-reserved"
	// AddressManagement: the management cluster's API server.
	AddressManagement Cause = "address-management"

	// ConnectRefused: nothing listens there.
	ConnectRefused Cause = "connect-refused"
	// ConnectTimeout: no answer to a connection.
	ConnectTimeout Cause = "connect-timeout"
	// ConnectUnreachable: no route to the address.
	ConnectUnreachable Cause = "connect-unreachable"
	// ConnectFailed: any other failure of a connection.
	ConnectFailed Cause = "connect-failed"

	// ProxyFailed: the proxy doesn't connect to the server.
	ProxyFailed Cause = "proxy-failed"

	// TLSNotSpoken: the server doesn't speak TLS.
	TLSNotSpoken Cause = "tls-not-spoken"
	// TLSTimeout: no answer to a handshake.
	TLSTimeout Cause = "tls-timeout"
	// TLSClosed: the connection ends during the handshake.
	TLSClosed Cause = "tls-closed"
	// TLSRefused: no common version or cipher.
	TLSRefused Cause = "tls-refused"
	// ClientCertificateRefused: the server refuses the connection because of the client certificate, or its lack.
	ClientCertificateRefused Cause = "client-certificate-refused"
	// ServerCertificateUnknown: signed by an authority other than the CA given.
	ServerCertificateUnknown Cause = "server-certificate-unknown"
	// ServerCertificateExpired: the server's certificate has expired.
	ServerCertificateExpired Cause = "server-certificate-expired"
	// ServerCertificateEarly: the server's certificate is not valid yet.
	ServerCertificateEarly Cause = "server-certificate-not-yet-valid"
	// ServerCertificateInvalid: not for servers, or broken in another way.
	ServerCertificateInvalid Cause = "server-certificate-invalid"

	// HostNameMismatch: the certificate is for other hosts.
	HostNameMismatch Cause = "host-name-mismatch"

	// Redirect: the answer is a redirect.
	Redirect Cause = "redirect"
	// AnswerTimeout: no answer, or one that doesn't end.
	AnswerTimeout Cause = "answer-timeout"
	// AnswerTooLarge: more than an API server would answer.
	AnswerTooLarge Cause = "answer-too-large"
	// AnswerBroken: the connection ends before the answer does, or it isn't HTTP.
	AnswerBroken Cause = "answer-broken"
	// ServerError: the server or something in front of it fails (5xx).
	ServerError Cause = "server-error"
	// RateLimited: too many requests (429).
	RateLimited Cause = "rate-limited"

	// NotKubernetes: a web server of another kind.
	NotKubernetes Cause = "not-kubernetes"

	// CredentialRejected: the server doesn't accept the credential.
	CredentialRejected Cause = "credential-rejected"
	// TokenExpired: the token has expired.
	TokenExpired Cause = "token-expired"
	// ClientCertificateExpired: the client certificate has expired.
	ClientCertificateExpired Cause = "client-certificate-expired"
	// Anonymous: the server ignores the credential, and treats the request as anonymous.
	Anonymous Cause = "anonymous"

	// RightsNone: the user may read nothing that a scan reads.
	RightsNone Cause = "rights-none"
	// RightsPartial: the user may read some of it.
	RightsPartial Cause = "rights-partial"

	// OtherCluster: the UID of kube-system has changed.
	OtherCluster Cause = "other-cluster"
	// IdentityUnreadable: the UID of kube-system can't be read, so that it can't be compared.
	IdentityUnreadable Cause = "identity-unreadable"

	// Interrupted: the caller stopped the check.
	Interrupted Cause = "interrupted"
)

const addressFix = "use the address at which other machines reach the API server; if this one is meant, allow it: muster preflight --allow-address {address}"

// texts are the messages and fixes. A name in braces is replaced by the fact; in capitals, it is quoted for a shell.
var texts = map[Cause]struct{ message, fix string }{
	FileErrors:         {"the cluster file has errors: {detail}", "see all findings: muster lint"},
	CredentialMissing:  {"there is no token, client certificate or password to log in with", "see what the cluster needs: muster setup {CLUSTER}"},
	CredentialUnusable: {"the credential can't be used: {detail}", "see what the cluster needs: muster setup {CLUSTER}"},
	CAUnusable:         {"the CA has no PEM certificate that can be read", "export it again: kubectl config view --raw --minify --flatten -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d"},
	ServerInvalid:      {"the address of the server is invalid: {detail}", "write https://host or https://host:port"},

	VaultUnavailable:        {"Vault at {name} can't be asked: {detail}", "check the address and Vault's state: vault status"},
	VaultLoginRefused:       {"Vault refused the login of the operator's ServiceAccount as the role {name}: {detail}", "see what the cluster needs: muster setup {CLUSTER}"},
	VaultCredentialsRefused: {"Vault gave no credentials for its role {name}: {detail}", "see what the cluster needs: muster setup {CLUSTER}"},
	VaultNotRevoked:         {"the login to Vault that was made for the check could not be revoked: {detail}; it ends with its lease", "let its policy update auth/token/revoke-self, as Vault's policy default does"},

	HostUnknown:       {"DNS has no address for {host}", "check the name, and ask the same DNS: dig +short {HOST}"},
	ResolveTimeout:    {"DNS did not answer within {limit} when asked for {host}", "ask the same DNS: dig +short {HOST}"},
	ResolveFailed:     {"DNS answered with an error when asked for {host}: {detail}", "ask the same DNS: dig +short {HOST}"},
	AddressLoopback:   {"{host} is this machine ({address}), and was not contacted", addressFix},
	AddressLinkLocal:  {"{host} is a link-local address ({address}), and was not contacted", addressFix},
	AddressMetadata:   {"{host} is the metadata service of a cloud ({address}), which gives credentials to whoever asks, and was not contacted", addressFix},
	AddressReserved:   {"{host} is an address of no single machine ({address}), and was not contacted", addressFix},
	AddressManagement: {"{host} is the API server of the management cluster ({address}), and was not contacted", addressFix},

	ConnectRefused:     {"nothing listens at {address}, port {port}", "check port and server: nc -vz {HOST} {port}"},
	ConnectTimeout:     {"{address}, port {port}, did not accept a connection within {limit}", "a firewall may be in between; open it for the address from which this runs: nc -vz {HOST} {port}"},
	ConnectUnreachable: {"there is no route to {address}", "check network and VPN: ip route get {address}"},
	ConnectFailed:      {"the connection to {address}, port {port}, failed: {detail}", "try it by hand: nc -vz {HOST} {port}"},
	ProxyFailed:        {"the proxy {host}, port {port}, does not connect to the server: {detail}", "ask it by hand: curl -kvx http://{HOST}:{port} {URL}"},

	TLSNotSpoken:             {"the server at {host}, port {port}, does not speak TLS; it may be an http:// port", "use the https port of the API server: kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'"},
	TLSTimeout:               {"the server at {host}, port {port}, did not answer the TLS handshake within {limit}", "see where it hangs: openssl s_client -connect {HOST}:{port}"},
	TLSClosed:                {"the connection ended during the TLS handshake", "a load balancer without a healthy API server or a firewall may do that; look closer: openssl s_client -connect {HOST}:{port}"},
	TLSRefused:               {"the server refused the TLS handshake: {detail}", "it has to offer TLS 1.2 or newer; look closer: openssl s_client -connect {HOST}:{port}"},
	ClientCertificateRefused: {"the server refused the client certificate, or the lack of one: {detail}", "issue a certificate from the CA that the server trusts: muster setup {CLUSTER}"},
	ServerCertificateUnknown: {"the server's certificate is not from {detail}", "if the server is the right one, put its CA into the file: kubectl config view --raw --minify --flatten -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d"},
	ServerCertificateExpired: {"the server's certificate expired on {detail}", "renew it at the server: kubeadm certs renew apiserver, or at the load balancer in front of it"},
	ServerCertificateEarly:   {"the server's certificate is valid from {detail}", "compare the clocks of both machines: date -u"},
	ServerCertificateInvalid: {"the server's certificate is invalid: {detail}", "look at it: openssl s_client -connect {HOST}:{port} -showcerts"},

	HostNameMismatch: {"the server's certificate is for {detail}, not for {name}", "use one of its names as server, or tls-server-name in a kubeconfig; or add the name at the server: kubeadm certs renew apiserver, after adding it to certSANs"},

	Redirect:       {"the server redirects to {detail}; an API server never does", "use the address of the API server, not of a web page or login: kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'"},
	AnswerTimeout:  {"the server accepted the connection, but did not answer completely within {limit}", "see where it hangs: curl -kv --max-time 10 {URL}"},
	AnswerTooLarge: {"the server answered with more than {limit}, which no API server does here", "check that this is an API server: curl -kI {URL}"},
	AnswerBroken:   {"the connection ended before the answer did, or the answer is not HTTP", "check that this is an API server: curl -kv --http1.1 {URL}"},
	ServerError:    {"the server answered with status {detail}", "the API server or its load balancer is not healthy: kubectl get --raw='/readyz?verbose'"},
	RateLimited:    {"the server answered with status 429, too many requests", "it is overloaded or limits this user; see: kubectl get --raw /debug/api_priority_and_fairness/dump_priority_levels"},

	NotKubernetes: {"the server is not a Kubernetes API server: {detail}", "use the address of the API server: kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'"},

	CredentialRejected:       {"the server rejected the credential: it is of another cluster, was revoked, or its ServiceAccount was deleted", "issue a new one: muster setup {CLUSTER}"},
	TokenExpired:             {"the token expired on {detail}", "issue a new one: muster setup {CLUSTER}"},
	ClientCertificateExpired: {"the client certificate expired on {detail}", "issue a new one: muster setup {CLUSTER}"},
	Anonymous:                {"the server ignored the credential, and treats the request as anonymous", "use a token or a client certificate; Kubernetes accepts no passwords since 1.19: muster setup {CLUSTER}"},

	RightsNone:    {"{user} may read nothing that a scan reads", "bind the ClusterRole with get, list and watch on */*: muster setup {CLUSTER} -o yaml | kubectl --context TARGET apply -f -"},
	RightsPartial: {"{user} may not read all that a scan reads; missing: {detail}", "bind the ClusterRole with get, list and watch on */*: muster setup {CLUSTER} -o yaml | kubectl --context TARGET apply -f -"},

	OtherCluster:       {"another cluster is behind the address: kube-system has the UID {detail}", "check where the address leads: kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'. If the cluster was built again, its CA is new: put that into the file"},
	IdentityUnreadable: {"{user} may not read the namespace kube-system, so nothing tells whether this is still the same cluster", "grant the right to get namespaces: muster setup {CLUSTER} -o yaml | kubectl --context TARGET apply -f -"},

	Interrupted: {"the check was interrupted", "run it again: muster preflight {CLUSTER}"},
}

// Causes are all causes.
func Causes() []Cause {
	all := make([]Cause, 0, len(texts))
	for cause := range texts {
		all = append(all, cause)
	}
	return all
}

// failure is a cause with its facts. It is an error so that it passes through crypto/tls and net/http.
type failure struct {
	cause Cause
	// detail, address, limit and name are what the message needs of them. detail is harmless: see shower.
	detail, address, limit, name string
	// fix replaces that of texts, if it isn't empty.
	fix string
}

func (f *failure) Error() string { return string(f.cause) }

// facts are what the messages of a target have in common.
type facts struct{ cluster, host, port, url, user string }

func (f *failure) text(known facts) (message, fix string) {
	user := known.user
	if user == "" {
		user = "the user"
	}
	replace := strings.NewReplacer("{detail}", f.detail, "{address}", f.address, "{limit}", f.limit, "{name}", f.name,
		"{host}", known.host, "{port}", known.port, "{user}", user,
		"{CLUSTER}", quoted(known.cluster), "{HOST}", quoted(known.host), "{URL}", quoted(known.url))
	t := texts[f.cause]
	if f.fix != "" {
		t.fix = f.fix
	}
	return replace.Replace(t.message), replace.Replace(t.fix)
}

// quoted returns a text as one word of a shell. It comes from a repository, and ends up in commands that people paste.
func quoted(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:", r)
	}
	if text != "" && text[0] != '-' && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// visible replaces characters that could move a terminal's cursor or start a line.
func visible(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
		return unicode.ReplacementChar
	}
	return r
}

// firstOf lists the first few of many.
func firstOf(names []string, most int) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
