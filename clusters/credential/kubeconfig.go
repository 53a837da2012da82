package credential

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clientcmdlatest "k8s.io/client-go/tools/clientcmd/api/latest"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Kubeconfig checks a kubeconfig as the scanner uses it: only the current context matters, and the text must contain everything
// that it needs, because the Pod mounts nothing else and has no plugins.
func Kubeconfig(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if !r.text(content, "the kubeconfig", CodeKubeconfigSyntax) {
		return r.facts, r.problems
	}
	config := r.load(content)
	if config == nil {
		return r.facts, r.problems
	}
	cluster, user := r.context(config)
	if cluster != nil {
		r.cluster(cluster)
	}
	if user != nil {
		r.user(user)
	}
	r.usable(config)
	return r.facts, r.problems
}

// load parses the text. It returns nil if that fails.
func (r *report) load(content []byte) *clientcmdapi.Config {
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err == nil {
		if config := parseValid(asJSON); config != nil {
			return config
		}
	}
	strict := err
	if asJSON, err = yaml.YAMLToJSON(content); err != nil {
		r.fail(CodeKubeconfigSyntax, "the kubeconfig is not YAML"+inLine(err), "check its indentation; kubectl config view --raw --kubeconfig FILE shows what kubectl reads")
		return nil
	}
	if strict != nil {
		// A reviewer and a program may read a duplicate field differently.
		r.fail(CodeKubeconfigSyntax, "the kubeconfig has a duplicate field"+inLine(strict), "remove one of the two")
		return nil
	}
	if !r.isKubeconfig(asJSON) || !r.encodings(asJSON) {
		return nil
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		r.fail(CodeKubeconfigInvalid, "client-go can't read the kubeconfig: a field has the wrong type, or two entries have the same name", "export it again, for example with kubectl config view --raw --minify")
		return nil
	}
	if yaml.UnmarshalStrict(content, &clientcmdv1.Config{}) != nil {
		r.warn(CodeKubeconfigUnknownField, "the kubeconfig has a field that Kubernetes clients ignore", "check its spelling and indentation")
	}
	return config
}

var errorLine = regexp.MustCompile(`\bline (\d{1,6}):`)

// inLine returns the line at which the YAML library failed, the only part of its error that can't quote a credential.
func inLine(err error) string {
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		return " (line " + m[1] + " in it)"
	}
	return ""
}

// parseValid parses a kubeconfig without format errors in one step, or returns nil. client-go's own parser reads the YAML
// several times, which for thousands of clusters takes longer than decrypting them. parseValid decodes with the same library,
// and converts with client-go's code.
func parseValid(asJSON []byte) *clientcmdapi.Config {
	versioned := &clientcmdv1.Config{}
	strict, err := json.UnmarshalStrict(asJSON, versioned)
	if err != nil || len(strict) > 0 || versioned.Kind != "Config" || versioned.APIVersion != "v1" || len(versioned.Clusters)+len(versioned.Contexts) == 0 {
		return nil
	}
	config := clientcmdapi.NewConfig()
	if clientcmdlatest.Scheme.Convert(versioned, config, nil) != nil {
		return nil
	}
	return config
}

// shape has the parts of a kubeconfig that explain an error for which client-go gives no details.
type shape struct {
	Clusters []struct {
		Cluster map[string]any `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User map[string]any `json:"user"`
	} `json:"users"`
}

// isKubeconfig reports YAML that is not a kubeconfig. Version and kind may be missing; client-go fills them in.
func (r *report) isKubeconfig(asJSON []byte) bool {
	var fields map[string]any
	if stdjson.Unmarshal(asJSON, &fields) == nil && fields != nil {
		kind, version := fields["kind"], fields["apiVersion"]
		_, clusters := fields["clusters"]
		_, contexts := fields["contexts"]
		if (kind == nil || kind == "Config") && (version == nil || version == "v1") && (clusters || contexts) {
			return true
		}
	}
	r.fail(CodeKubeconfigKind, "the text is YAML, but not a kubeconfig", "use a file with apiVersion: v1, kind: Config, clusters, contexts and users")
	return false
}

// encodings reports data fields that aren't base64, usually because someone pasted PEM.
func (r *report) encodings(asJSON []byte) bool {
	var s shape
	if stdjson.Unmarshal(asJSON, &s) != nil {
		return true // of the wrong type; client-go reports it
	}
	good := true
	check := func(fields map[string]any, name string) {
		text, ok := fields[name].(string)
		if !ok {
			return
		}
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			r.fail(CodeKubeconfigInvalid, name+" is not base64", "encode the PEM text, for example with base64 -w0")
			good = false
		}
	}
	for _, c := range s.Clusters {
		check(c.Cluster, "certificate-authority-data")
	}
	for _, u := range s.Users {
		check(u.User, "client-certificate-data")
		check(u.User, "client-key-data")
	}
	return good
}

// context returns the cluster and user of the current context. It reports what is missing, and returns nil for it.
func (r *report) context(config *clientcmdapi.Config) (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo) {
	if config.CurrentContext == "" {
		r.fail(CodeKubeconfigContext, "the kubeconfig has no current-context", "set it, for example with kubectl config use-context")
		return nil, nil
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil {
		r.fail(CodeKubeconfigContext, "the current-context is not among the contexts", "set current-context to the name of a context")
		return nil, nil
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil {
		r.fail(CodeKubeconfigContext, "the cluster of the current context is not among the clusters", "add it, or fix its name in the context")
	}
	if user == nil {
		r.fail(CodeKubeconfigContext, "the user of the current context is not among the users", "add it, or fix its name in the context")
	}
	return cluster, user
}

func (r *report) cluster(cluster *clientcmdapi.Cluster) {
	r.facts.Server, r.facts.Destination = cluster.Server, destination(cluster)
	if what, fix := wrongServer(cluster.Server); what != "" {
		r.fail(CodeKubeconfigServer, what, fix)
	} else if u, err := url.Parse(cluster.Server); err == nil {
		switch {
		case isLocal(u.Hostname()):
			r.warn(CodeKubeconfigServer, "the server is the scanner's own Pod", "use the address at which other machines reach the API server")
		case v1alpha1.IsOwnCluster(u.Hostname()):
			r.warn(CodeKubeconfigServer, "the server is the management cluster, in which the scanner runs, not a remote cluster", "use the address at which other machines reach the API server")
		}
	}
	if cluster.CertificateAuthority != "" {
		r.fileReference("certificate-authority", "certificate-authority-data")
	}
	switch {
	case cluster.InsecureSkipTLSVerify && len(cluster.CertificateAuthorityData) > 0:
		r.fail(CodeKubeconfigInvalid, "insecure-skip-tls-verify and certificate-authority-data are mutually exclusive in client-go", "remove insecure-skip-tls-verify")
	case cluster.InsecureSkipTLSVerify:
		r.warn(CodeKubeconfigTLS, "insecure-skip-tls-verify disables the check of the server's certificate: any server at its address gets the credentials", "remove it, and set certificate-authority-data")
	}
	if len(cluster.CertificateAuthorityData) > 0 {
		r.bundle(cluster.CertificateAuthorityData, "the cluster's CA certificate")
	}
	if cluster.ProxyURL != "" {
		r.add(finding.Info, CodeKubeconfigProxy, "the scanner connects through the proxy that the kubeconfig names", "")
	}
}

// destination returns a hash of where the credentials are sent. It leaves out logins in addresses, so that they can't be guessed
// from the hash.
func destination(c *clientcmdapi.Cluster) string {
	address := func(text string) string {
		if u, err := url.Parse(text); err == nil {
			u.User = nil
			return u.String()
		}
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %t %q", address(c.Server), c.CertificateAuthorityData, c.TLSServerName, c.InsecureSkipTLSVerify, address(c.ProxyURL)))
	return hex.EncodeToString(sum[:])
}

func (r *report) user(user *clientcmdapi.AuthInfo) {
	if user.Exec != nil {
		r.fail(CodeKubeconfigPlugin, "the user logs in with an exec plugin, which the scanner does not have", "use workloadIdentity, or the token of a ServiceAccount")
	}
	if user.AuthProvider != nil {
		r.fail(CodeKubeconfigPlugin, "the user logs in with an auth-provider, which the scanner does not have", "use workloadIdentity, or the token of a ServiceAccount")
	}
	if user.ClientCertificate != "" {
		r.fileReference("client-certificate", "client-certificate-data")
	}
	if user.ClientKey != "" {
		r.fileReference("client-key", "client-key-data")
	}
	if user.TokenFile != "" {
		r.fileReference("tokenFile", "token")
	}
	if user.Token != "" {
		r.token(user.Token, "the user's token")
	}
	switch {
	case len(user.ClientCertificateData) > 0:
		r.keyPair(user.ClientCertificateData, user.ClientKeyData)
	case len(user.ClientKeyData) > 0 && user.ClientCertificate == "":
		r.fail(CodeKeyPair, "the client key has no certificate", "add client-certificate-data")
	}
	r.login(user)
}

// login reports a user without credentials, or with a password, which Kubernetes no longer accepts.
func (r *report) login(user *clientcmdapi.AuthInfo) {
	password := user.Username != "" || user.Password != ""
	other := user.Token != "" || user.TokenFile != "" || user.Exec != nil || user.AuthProvider != nil ||
		user.ClientCertificate != "" || user.ClientKey != "" || len(user.ClientCertificateData) > 0 || len(user.ClientKeyData) > 0
	switch {
	case !password && !other:
		r.fail(CodeKubeconfigLogin, "the user of the current context has no credentials", "add a token, or a client certificate and its key")
	case password && !other:
		r.warn(CodeKubeconfigLogin, "the user logs in with a password, which Kubernetes API servers don't accept since 1.19", "add a token, or a client certificate and its key")
	}
}

func (r *report) fileReference(field, inline string) {
	r.fail(CodeKubeconfigFile, field+" names a file, which the scanner does not have", "put its content in "+inline+": kubectl config view --raw --flatten does that")
}

// usable lets client-go validate the kubeconfig if it has no errors so far. With file references, client-go would open the
// files.
func (r *report) usable(config *clientcmdapi.Config) {
	for _, p := range r.problems {
		if p.Severity == finding.Error {
			return
		}
	}
	if clientcmd.ConfirmUsable(*config, "") != nil {
		r.fail(CodeKubeconfigInvalid, "client-go refuses the kubeconfig: its fields contradict each other", "keep one way to log in, and check proxy-url")
	}
}

// wrongServer returns the problem of an API server's address and its fix, or "".
func wrongServer(address string) (what, fix string) {
	fix = "write https://host or https://host:port"
	u, err := url.Parse(address)
	switch {
	case address == "":
		return "the cluster has no server", fix
	case !strings.HasPrefix(address, "https://"):
		return "the server does not start with https://", fix
	case err != nil || u.Hostname() == "" || strings.ContainsAny(address, " \t\r\n"):
		return "the server is not an address", fix
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "the server has a user name, a query or a fragment in its address", fix
	}
	return "", ""
}

// isLocal reports whether the host is the local machine, as in kubeconfigs of kind and minikube.
func isLocal(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
