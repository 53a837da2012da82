package author

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Kubeconfig is where a cluster is read from.
type Kubeconfig struct {
	Config *clientcmdapi.Config
	// Context is one of its contexts; empty for the current one.
	Context string
	// Server is the address of the API server, if that of the kubeconfig is only for this machine.
	Server string
	// ReadFile reads the files that the kubeconfig names, such as a client certificate.
	ReadFile func(string) ([]byte, error)
}

// UnusableError means that a context can't be used for scans.
type UnusableError struct {
	Context     string
	Reason, Fix string
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("context %q: %s; %s", e.Context, e.Reason, e.Fix)
}

// Draft makes a cluster file of the context, with what the scanner can use there: it has no other file, no plugin and no
// program. What is left out is in the notes. A context that logs in by the program of a cloud becomes a workload identity
// of that cloud, in which fields may be missing. The error is an *UnusableError, or that of ReadFile.
func (k Kubeconfig) Draft(name string) (*Draft, error) {
	cluster, user, err := k.parts()
	if err != nil {
		return nil, err
	}
	d := New(name)
	if user.Exec != nil || user.AuthProvider != nil {
		return d, k.cloud(d, cluster, user)
	}
	if err := k.inline(d, cluster, user); err != nil {
		return nil, err
	}
	if cluster.Server, err = k.server(cluster); err != nil {
		return nil, err
	}
	switch {
	case user.Token != "" && plainToken(cluster, user):
		d.Cluster.Spec.ServiceAccountAuth = &v1alpha1.ServiceAccountAuth{Server: cluster.Server, Token: user.Token,
			CACert: string(cluster.CertificateAuthorityData)}
	case user.Token != "" || len(user.ClientCertificateData) > 0 || user.Username != "":
		text, err := minified(cluster, user)
		if err != nil {
			return nil, k.unusable("it can't be written as a kubeconfig", "check it with kubectl config view --minify")
		}
		d.Cluster.Spec.Kubeconfig = text
	default:
		return nil, k.unusable("its user has no credentials", "choose a context with a token or a client certificate, or use --create-service-account")
	}
	if strings.HasPrefix(user.Token, "sha256~") {
		d.note("the token is one of OpenShift, which usually ends after a day; --create-service-account makes a token that lasts")
	}
	return d, nil
}

// Target is the address and CA of the context, for a credential that is made there. The error is as that of Draft.
func (k Kubeconfig) Target() (server string, ca []byte, err error) {
	cluster, _, err := k.parts()
	if err != nil {
		return "", nil, err
	}
	if err := k.inline(New(""), cluster, &clientcmdapi.AuthInfo{}); err != nil {
		return "", nil, err
	}
	server, err = k.server(cluster)
	if err == nil && k.Server == "" && isProxy(cluster) {
		err = k.unusable("its server is a proxy, of Rancher or Teleport, which rejects tokens of the cluster", "give the address of the API server itself with --server, and its CA with --ca-file")
	}
	return server, cluster.CertificateAuthorityData, err
}

// isProxy reports whether the server accepts only its own logins.
func isProxy(c *clientcmdapi.Cluster) bool {
	return strings.HasPrefix(c.TLSServerName, "kube-teleport-proxy-alpn.") || strings.Contains(c.Server, "/k8s/clusters/")
}

func (k Kubeconfig) unusable(reason, fix string) error {
	return &UnusableError{k.Context, reason, fix}
}

// parts returns copies of the context's cluster and user.
func (k *Kubeconfig) parts() (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	known := "the contexts are " + strings.Join(slices.Sorted(maps.Keys(k.Config.Contexts)), ", ")
	if k.Context == "" {
		k.Context = k.Config.CurrentContext
	}
	if len(k.Config.Contexts) == 0 {
		known = "the kubeconfig has no contexts"
	}
	context := k.Config.Contexts[k.Context]
	if context == nil {
		return nil, nil, k.unusable("there is no such context", known)
	}
	cluster, user := k.Config.Clusters[context.Cluster], k.Config.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return nil, nil, k.unusable("its cluster or its user is missing in the kubeconfig", "export the kubeconfig again")
	}
	return cluster.DeepCopy(), user.DeepCopy(), nil
}

// inline puts the content of files in the place of their names.
func (k Kubeconfig) inline(d *Draft, cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
	token := []byte(user.Token)
	for _, f := range []struct {
		field string
		name  *string
		data  *[]byte
	}{
		{"certificate-authority", &cluster.CertificateAuthority, &cluster.CertificateAuthorityData},
		{"client-certificate", &user.ClientCertificate, &user.ClientCertificateData},
		{"client-key", &user.ClientKey, &user.ClientKeyData},
		{"tokenFile", &user.TokenFile, &token},
	} {
		if *f.name == "" {
			continue
		}
		data, err := k.ReadFile(*f.name)
		if err != nil {
			return fmt.Errorf("context %q: read %s: %w", k.Context, f.field, err)
		}
		*f.data, *f.name = data, ""
		d.note("the content of the file in %s is used, not its path, which the scanner doesn't have", f.field)
	}
	user.Token = strings.TrimSpace(string(token))
	return nil
}

// server is the address at which the scanner reaches the cluster.
func (k Kubeconfig) server(cluster *clientcmdapi.Cluster) (string, error) {
	if k.Server != "" {
		return k.Server, nil
	}
	u, err := url.Parse(cluster.Server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", k.unusable("its server is not an https address", "give the address with --server")
	}
	if isLoopback(u.Hostname()) {
		return "", k.unusable("its server is this machine, as in kubeconfigs of kind, k3s and minikube", "give the address at which the management cluster reaches it with --server")
	}
	return cluster.Server, nil
}

// plainToken reports whether serviceAccountAuth says all that the context does.
func plainToken(c *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo) bool {
	return len(c.CertificateAuthorityData) > 0 && !c.InsecureSkipTLSVerify && c.ProxyURL == "" && c.TLSServerName == "" &&
		u.Impersonate == "" && len(u.ClientCertificateData) == 0 && u.Username == ""
}

// minified is a kubeconfig of one context, without what only kubectl uses.
func minified(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) (string, error) {
	const name = "cluster"
	cluster.Extensions, user.Extensions = nil, nil
	config := clientcmdapi.NewConfig()
	config.Clusters[name], config.AuthInfos["scanner"] = cluster, user
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: "scanner"}
	config.CurrentContext = name
	text, err := clientcmd.Write(*config)
	return string(text), err
}
