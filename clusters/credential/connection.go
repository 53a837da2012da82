package credential

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Connection is how a client connects with the current context of a kubeconfig. It contains secrets.
type Connection struct {
	Server, TLSServerName, ProxyURL string
	// CA is in PEM; empty for the authorities of the system.
	CA            []byte
	SkipTLSVerify bool
	// Token, a certificate with its key in PEM, or a password. A kubeconfig may have a token and a certificate.
	Token, Username, Password string
	Certificate, Key          []byte
	// Impersonate are the headers with which the user acts as another one; nil if it doesn't.
	Impersonate map[string][]string
}

// ConnectionOf reads a kubeconfig. It returns the first error that Kubeconfig has about it, or nil.
func ConnectionOf(content []byte, now time.Time) (Connection, *Problem) {
	_, problems := Kubeconfig(content, now)
	for i := range problems {
		if problems[i].Severity == finding.Error {
			return Connection{}, &problems[i]
		}
	}
	r := &report{now: now}
	cluster, user := r.context(r.load(content))
	return Connection{
		Server: cluster.Server, TLSServerName: cluster.TLSServerName, ProxyURL: cluster.ProxyURL,
		CA: cluster.CertificateAuthorityData, SkipTLSVerify: cluster.InsecureSkipTLSVerify,
		Token: user.Token, Username: user.Username, Password: user.Password,
		Certificate: user.ClientCertificateData, Key: user.ClientKeyData,
		Impersonate: impersonation(user),
	}, nil
}

// WithToken returns a kubeconfig with another token for the user of the current context. ConnectionOf must accept the kubeconfig.
func WithToken(content []byte, token string) ([]byte, error) {
	r := &report{}
	config := r.load(content)
	if config == nil {
		return nil, errors.New("the kubeconfig can't be read")
	}
	_, user := r.context(config)
	if user == nil {
		return nil, errors.New("the kubeconfig has no user")
	}
	user.Token = token
	return clientcmd.Write(*config)
}

// impersonation returns the headers that client-go sends for the fields as, as-uid, as-groups and as-user-extra.
func impersonation(user *clientcmdapi.AuthInfo) map[string][]string {
	if user.Impersonate == "" {
		return nil
	}
	headers := map[string][]string{"Impersonate-User": {user.Impersonate}}
	if user.ImpersonateUID != "" {
		headers["Impersonate-Uid"] = []string{user.ImpersonateUID}
	}
	if len(user.ImpersonateGroups) > 0 {
		headers["Impersonate-Group"] = user.ImpersonateGroups
	}
	for key, values := range user.ImpersonateUserExtra {
		// The key may have characters that a header's name must not have; the server unescapes it.
		escaped := strings.ReplaceAll(url.QueryEscape(strings.ToLower(key)), "+", "%20")
		headers["Impersonate-Extra-"+escaped] = values
	}
	return headers
}
