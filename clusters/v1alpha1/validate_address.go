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

// server checks the address of an API server that must be given. Addresses are never repeated: a user name, a password or
// a token may have got into them.
func (v *validator) server(address string, field ...string) {
	if v.required(address, field...) {
		v.address(address, serverForm, field)
	}
}

// endpoint checks the address of an API server that may be given.
func (v *validator) endpoint(address string, field ...string) {
	if v.open(address) {
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
		v.warn(CodeServer, field, "points to the scanner's own Pod", "give the address under which other machines reach the API server")
	case IsOwnCluster(u.Hostname()):
		v.warn(CodeServer, field, "is the management cluster itself, in which the scanner runs, and no remote cluster", "give the address under which other machines reach the API server")
	}
}

func (v *validator) vaultAddress(address string, field ...string) {
	if !v.required(address, field...) {
		return
	}
	// The operator sends its own token there: never in the clear. It drops a path.
	if what := wrongAddress(address, vaultForm, "https://"); what != "" {
		v.fail(CodeVaultAddress, field, what, "write https://host or https://host:port, without a path")
	}
}

// wrongAddress says what is wrong with an address, or nothing.
func wrongAddress(address string, expected *regexp.Regexp, schemes ...string) string {
	scheme := ""
	for _, s := range schemes {
		if strings.HasPrefix(address, s) {
			scheme = s
		}
	}
	if scheme == "" {
		return "does not begin with " + strings.Join(schemes, " or ")
	}
	u, err := url.Parse(address)
	switch {
	case strings.ContainsAny(address, " \t\r\n"):
		return "has a blank in it"
	case err != nil:
		return "is not an address"
	case u.User != nil:
		return "has a user name or password in it"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return "has a query or a fragment"
	case u.Hostname() == "":
		return "has no host"
	case u.Port() != "" && !isPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return "has no port from 1 to 65535 after the colon"
	case !expected.MatchString(address):
		return "is not an address"
	}
	return ""
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535
}

// IsOwnCluster tells whether a host is the API server of the cluster that a Pod is in, by one of the names that Kubernetes gives it.
func IsOwnCluster(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "kubernetes" || host == "kubernetes.default" || host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}

// isLocal tells whether the host is the machine itself, which for a scanner is its own Pod. The addresses that kind and
// minikube write into a kubeconfig are such.
func isLocal(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
