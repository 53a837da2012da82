package v1alpha1

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

var (
	serverForm = regexp.MustCompile(form.Server)
	vaultForm  = regexp.MustCompile(form.VaultAddress)
)

const serverFix = "write https://host, https://host:port or https://host:port/path"

// server checks the required address of an API server. Messages never repeat an address, which may contain a user name, a
// password or a token by mistake.
func (v *validator) server(address string, field ...string) {
	if v.required(address, field...) {
		v.address(address, serverForm, field)
	}
}

// endpoint checks the optional address of an API server.
func (v *validator) endpoint(address string, field ...string) {
	if v.checkable(address) {
		v.address(address, serverForm, field)
	}
}

func (v *validator) address(address string, expected *regexp.Regexp, field []string) {
	if what := wrongAddress(address, expected, "https://"); what != "" {
		v.fail(CodeServer, field, what, serverFix)
		return
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
	case isLocal(u.Hostname()):
		v.warn(CodeServer, field, "points to the scanner's own Pod", "use the address at which other machines reach the API server")
	case IsOwnCluster(u.Hostname()):
		v.warn(CodeServer, field, "is the management cluster, in which the scanner runs, not a remote cluster", "use the address at which other machines reach the API server")
	}
}

func (v *validator) vaultAddress(address string, field ...string) {
	if !v.required(address, field...) {
		return
	}
	// The operator sends its own token there, so it must be encrypted. The operator drops a path.
	if what := wrongAddress(address, vaultForm, "https://"); what != "" {
		v.fail(CodeVaultAddress, field, what, "write https://host or https://host:port, without a path")
	}
}

// wrongAddress returns the problem of an address, or "".
func wrongAddress(address string, expected *regexp.Regexp, schemes ...string) string {
	scheme := ""
	for _, s := range schemes {
		if strings.HasPrefix(address, s) {
			scheme = s
		}
	}
	if scheme == "" {
		return "does not start with " + strings.Join(schemes, " or ")
	}
	u, err := url.Parse(address)
	switch {
	case strings.ContainsAny(address, " \t\r\n"):
		return "contains a blank"
	case err != nil:
		return "is not an address"
	case u.User != nil:
		return "contains a user name or password"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return "has a query or a fragment"
	case u.Hostname() == "":
		return "has no host"
	case u.Port() != "" && !isPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return "has no port between 1 and 65535 after the colon"
	case !expected.MatchString(address):
		return "is not an address"
	}
	return ""
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535
}

// IsOwnCluster reports whether a host is the API server of the cluster that a Pod runs in, by one of its names in Kubernetes.
func IsOwnCluster(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "kubernetes" || host == "kubernetes.default" || host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}

// isLocal reports whether the host is the local machine, which for a scanner is its own Pod. kind and minikube write such
// addresses into kubeconfigs.
func isLocal(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
