package v1alpha1

import (
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

// methods are the authentication fields, in the order of the format. The first four are forms of one method.
var methods = []string{"kubeconfig", "kubeconfigFile", "kubeconfigSecretRef", "kubeconfigFrom", "serviceAccountAuth", "workloadIdentity", "vaultAuth", "spiffeAuth"}

// Methods returns the authentication fields that are set, by their names in spec. A valid cluster has exactly one.
func (s Spec) Methods() []string {
	return given(methods, s.Kubeconfig != "", s.KubeconfigFile != "", s.KubeconfigSecretRef != nil, s.KubeconfigFrom != nil,
		s.ServiceAccountAuth != nil, s.WorkloadIdentity != nil, s.VaultAuth != nil, s.SPIFFEAuth != nil)
}

func (v *validator) method(spec Spec) {
	found := spec.Methods()
	if len(found) > 1 {
		v.fail(CodeAuthMethod, []string{"spec", found[1]}, "is one authentication method too many: "+joinNames(found)+" are given", "keep exactly one")
	}
	if len(found) > 0 {
		return
	}
	for _, name := range methods {
		if _, ok := v.mentioned["spec."+name]; ok {
			return
		}
	}
	v.fail(CodeAuthMethod, []string{"spec"}, "has no authentication method", "set exactly one of "+strings.Join(methods, ", "))
}

func (v *validator) kubeconfig(spec Spec) {
	v.secretRef(spec.KubeconfigSecretRef, "spec", "kubeconfigSecretRef")
	v.kubeconfigFrom(spec.KubeconfigFrom)
	file := spec.KubeconfigFile
	if !v.checkable(file) {
		return
	}
	field := []string{"spec", "kubeconfigFile"}
	if path.IsAbs(file) || strings.ContainsAny(file, "\\\x00\r\n") || path.Clean(file) != strings.TrimPrefix(file, "./") || strings.HasPrefix(path.Clean(file), "..") || path.Clean(file) == "." {
		v.fail(CodeKubeconfigFile, field, "is not the path of a file in this folder or below", "write a relative path with slashes and without .., such as "+field[1]+": eu.kubeconfig")
	}
}

func (v *validator) serviceAccount(auth *ServiceAccountAuth) {
	if auth == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "serviceAccountAuth", name} }
	v.server(auth.Server, at("server")...)
	v.secretRef(auth.CredentialsSecretRef, at("credentialsSecretRef")...)
	v.vaultSource(auth.CredentialsFrom, at("credentialsFrom")...)
	switch inline := auth.Token != "" || auth.CACert != ""; {
	case auth.CredentialsFrom != nil && (inline || auth.CredentialsSecretRef != nil):
		v.fail(CodeConflict, at("credentialsFrom"), "can't be combined with token, caCert and credentialsSecretRef", "keep one of them")
	case auth.CredentialsFrom != nil:
		v.tokenSource(auth)
	case inline && auth.CredentialsSecretRef != nil:
		v.fail(CodeConflict, at("credentialsSecretRef"), "can't be combined with token and caCert", "keep the reference, or token and caCert")
	case auth.CredentialsSecretRef != nil:
	case !inline:
		v.missing("set token and caCert, credentialsSecretRef or credentialsFrom", at("token")...)
	case auth.Token == "":
		v.missing("set the token for caCert", at("token")...)
	case auth.CACert == "" && !auth.SkipsTLS():
		// The Pod mounts both keys. If one is missing, it never starts.
		v.missing("set the cluster's CA certificate", at("caCert")...)
	}
	if auth.SkipsTLS() {
		v.warn(CodeTLSOff, at("skipTLSVerify"), "disables the check of the server's certificate: any server at its address gets the token, and caCert has no effect", "remove it and set the right caCert")
	}
}

// renew checks that there is a token to renew.
func (v *validator) renew(spec Spec) {
	if spec.Renew == nil {
		return
	}
	inline := spec.Kubeconfig != "" || spec.KubeconfigFile != "" || spec.ServiceAccountAuth != nil && spec.ServiceAccountAuth.CredentialsSecretRef == nil
	if !inline && len(spec.Methods()) > 0 {
		v.fail(CodeRenew, []string{"spec", "renew"}, "needs a token in this file, in serviceAccountAuth.token, kubeconfig or kubeconfigFile", "write the token into this file, or remove renew")
		return
	}
	field := []string{"spec", "renew", "lifetime"}
	if !v.required(spec.Renew.Lifetime, field...) {
		return
	}
	switch d, err := time.ParseDuration(spec.Renew.Lifetime); {
	case err != nil:
		v.fail(CodeRenew, field, "is not a duration", "use hours or minutes, such as 24h; there is no unit for days")
	case d < ShortestRenewal:
		v.fail(CodeRenew, field, "is under 10m, the shortest lifetime that Kubernetes grants", "write 10m or more, such as 24h")
	case d > LongestRenewal:
		v.fail(CodeRenew, field, "is over 720h", "write 720h or less, such as 24h")
	}
}

// The operator renews Vault credentials at half their lifetime, but at most every 10 minutes.
const shortestTTL = 20 * time.Minute

func (v *validator) vault(auth *VaultAuth) {
	if auth == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "vaultAuth", name} }
	v.server(auth.Server, at("server")...)
	v.vaultAddress(auth.VaultAddr, at("vaultAddr")...)
	v.matches(vaultNamespace, auth.VaultNamespace, CodeVaultPath, finding.Error, at("vaultNamespace"), "is not a Vault namespace", "use the form of vault namespace list, such as admin/team-a")
	v.required(auth.AuthRole, at("authRole")...)
	v.required(auth.CredsRole, at("credsRole")...)
	v.mount(auth.AuthPath, at("authPath"))
	v.mount(auth.SecretsPath, at("secretsPath"))
	if v.checkable(auth.AuthPath) && !strings.HasPrefix(auth.AuthPath, "auth/") && auth.AuthPath[0] != '/' {
		v.warn(CodeVaultPath, at("authPath"), "does not start with auth/, where Vault mounts every auth method", "write auth/<mount>")
	}
	v.matches(namespace, auth.KubernetesNamespace, CodeObjectName, finding.Error, at("kubernetesNamespace"), "is not a valid namespace name", "use lower-case letters, digits and dashes")
	if auth.KubernetesNamespace == "" {
		// vault-plugin-secrets-kubernetes, path_creds.go, isValidKubernetesNamespace; since v0.5.0
		v.report(CodeVaultKubernetesNamespace, finding.Info, at("kubernetesNamespace"), "is missing, so Vault makes a token only if its role allows exactly one namespace",
			"set it to the namespace of the scanner's ServiceAccount in the target, as in the role's allowed_kubernetes_namespaces")
	}
	v.ttl(auth.TTL, at("ttl"))
	v.exclusive(auth.CACert, auth.CACertSecretRef, at, "caCert", "caCertSecretRef")
	v.exclusive(auth.TargetCACert, auth.TargetCACertSecretRef, at, "targetCACert", "targetCACertSecretRef")
	if auth.TargetCACert == "" && auth.TargetCACertSecretRef == nil {
		if _, ok := v.mentioned["spec.vaultAuth.targetCACert"]; !ok {
			v.warn(CodeTLSOff, at("targetCACert"), "is missing, so the operator disables the check of the server's certificate", "set targetCACert or targetCACertSecretRef")
		}
	}
}

// mount checks a path below /v1/ of Vault's API.
func (v *validator) mount(value string, field []string) {
	if !v.checkable(value) {
		return
	}
	mount := strings.TrimSuffix(value, "/")
	switch {
	case strings.HasPrefix(value, "/"):
		// The operator prepends auth/ and escapes the slash: auth/auth%2Fkubernetes.
		v.fail(CodeVaultPath, field, "starts with a slash, so Vault finds no mount there", "remove the slash")
	case path.Clean(mount) != mount || strings.HasPrefix(mount, "..") || mount == "." || strings.ContainsAny(mount, " \t\r\n\\?#%"):
		v.fail(CodeVaultPath, field, "is not a mount path", "use the form of vault auth list and vault secrets list")
	}
}

func (v *validator) ttl(value string, field []string) {
	if !v.checkable(value) {
		return
	}
	switch d, err := time.ParseDuration(value); {
	case err != nil:
		v.fail(CodeVaultTTL, field, "is not a duration", "use hours, minutes or seconds, such as 1h or 90m; there is no unit for days")
	case d <= 0:
		v.fail(CodeVaultTTL, field, "must be positive", "write 1h, or remove it")
	case d < shortestTTL:
		v.warn(CodeVaultTTL, field, "is under 20m: the credentials can expire before the operator renews them", "write 20m or more")
	}
}

func (v *validator) spiffe(auth *SPIFFEAuth) {
	if auth == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "spiffeAuth", name} }
	v.server(auth.Server, at("server")...)
	v.exclusive(auth.TrustBundle, auth.TrustBundleSecretRef, at, "trustBundle", "trustBundleSecretRef")
	if auth.TrustBundle == "" && auth.TrustBundleSecretRef == nil {
		v.missing("set trustBundle or trustBundleSecretRef", at("trustBundle")...)
	}
	if socket := auth.SocketPath; v.checkable(socket) && (!absolute.MatchString(socket) || path.Clean(socket) != socket || socket == "/") {
		v.fail(CodeSocketPath, at("socketPath"), "is not an absolute path of a socket", "use a path such as /run/spire/sockets/agent.sock, without unix:// and ..")
	}
}

// exclusive reports a value that is set both inline and by reference.
func (v *validator) exclusive(inline string, ref *SecretRef, at func(string) []string, inlineName, refName string) {
	v.secretRef(ref, at(refName)...)
	if inline != "" && ref != nil {
		v.fail(CodeConflict, at(refName), "excludes "+inlineName, "keep one of the two")
	}
}

var (
	namespace      = regexp.MustCompile(form.Namespace)
	vaultNamespace = regexp.MustCompile(form.VaultNamespace)
	absolute       = regexp.MustCompile(form.AbsolutePath)
)
