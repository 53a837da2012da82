package forge

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Repository is a repository on a forge.
type Repository struct {
	Provider Provider
	// Path is the repository's path on the forge, such as "platform/fleet". On GitLab it may have subgroups.
	Path string
	// API is the base address of the forge's REST API, without a slash at the end.
	API url.URL
}

// Owner is the first half of a path without subgroups.
func (r Repository) Owner() string { owner, _, _ := strings.Cut(r.Path, "/"); return owner }

// Name is the part of the path after the owner.
func (r Repository) Name() string { _, name, _ := strings.Cut(r.Path, "/"); return name }

// apiPaths are the paths between a server's address and its API's methods.
var apiPaths = map[Provider]string{GitHub: "/api/v3", GitLab: "/api/v4", Gitea: "/api/v1"}

// publicHosts are the hosts with a known provider. The value's host is their main name: some serve SSH at another name.
var publicHosts = map[string]struct {
	provider Provider
	host     string
}{
	"github.com":        {GitHub, "github.com"},
	"ssh.github.com":    {GitHub, "github.com"},
	"gitlab.com":        {GitLab, "gitlab.com"},
	"altssh.gitlab.com": {GitLab, "gitlab.com"},
	"codeberg.org":      {Gitea, "codeberg.org"},
	"gitea.com":         {Gitea, "gitea.com"},
}

const enterpriseCloud = ".ghe.com" // GitHub Enterprise Cloud with data residency

// ParseRepository finds the API of a repository from its Git address, https:// or ssh://. Provider may be empty for the
// public forges, which are known by their hosts. APIURL is for servers with an API at another host than the Git address: the
// address of the server, or of the API itself. Invalid input is a *ConfigError, which repeats no address.
func ParseRepository(provider Provider, gitURL, apiURL string) (Repository, error) {
	git, err := parseURL("source.url", gitURL, "https", "http", "ssh")
	if err != nil {
		return Repository{}, err
	}
	host := strings.ToLower(git.Hostname())
	known, public := publicHosts[host]
	if public {
		host = known.host
	}
	if provider, err = pick(provider, known.provider, host); err != nil {
		return Repository{}, err
	}
	if git.Scheme != "ssh" && !public {
		host = strings.ToLower(git.Host) // with its port; for SSH the port is another service's
	}
	api, err := apiAddress(provider, git.Scheme, host, apiURL)
	if err != nil {
		return Repository{}, err
	}
	path, err := repositoryPath(provider, git, api)
	if err != nil {
		return Repository{}, err
	}
	return Repository{Provider: provider, Path: path, API: *api}, nil
}

func pick(given, known Provider, host string) (Provider, error) {
	if known == "" && strings.HasSuffix(host, enterpriseCloud) {
		known = GitHub
	}
	list := strings.Trim(fmt.Sprint(Providers()), "[]")
	switch {
	case given == "" && known == "":
		return "", &ConfigError{Field: "forge.provider", Problem: "is missing, and the host is not a known forge", Remedy: "use one of " + list}
	case given != "" && !slices.Contains(Providers(), given):
		return "", &ConfigError{Field: "forge.provider", Problem: "is unknown", Remedy: "use one of " + list}
	}
	return cmp.Or(given, known), nil
}

// apiAddress returns the API's address: the given one, completed with the provider's usual path, or the usual address for
// the host.
func apiAddress(provider Provider, scheme, host, given string) (*url.URL, error) {
	if given == "" {
		switch {
		case scheme == "ssh":
			scheme = "https"
		case scheme == "http" && !loopback(host):
			return nil, &ConfigError{Field: "source.url", Problem: "is plain http://, and tokens are only sent over https://", Remedy: "use https://"}
		}
		api := &url.URL{Scheme: scheme, Host: host, Path: apiPaths[provider]}
		switch {
		case provider == GitHub && host == "github.com":
			api.Host, api.Path = "api.github.com", ""
		case provider == GitHub && strings.HasSuffix(host, enterpriseCloud) && !strings.HasPrefix(host, "api."):
			api.Host, api.Path = "api."+host, ""
		}
		return api, nil
	}
	api, err := parseURL("forge.apiURL", given, "https", "http")
	if err != nil {
		return nil, err
	}
	if api.Scheme == "http" && !loopback(api.Hostname()) {
		return nil, &ConfigError{Field: "forge.apiURL", Problem: "is plain http://, and tokens are only sent over https://", Remedy: "use https://"}
	}
	api.Path, api.RawPath = strings.TrimRight(api.Path, "/"), ""
	bare := provider == GitHub && strings.HasPrefix(api.Hostname(), "api.") // those of github.com have no path
	if !bare && !strings.HasSuffix(api.Path, apiPaths[provider]) {
		api.Path += apiPaths[provider]
	}
	return api, nil
}

// repositoryPath takes the repository's path from the Git address. A server below a path, such as
// https://example.com/gitlab, has the path in both addresses.
func repositoryPath(provider Provider, git, api *url.URL) (string, error) {
	fail := func(problem, remedy string) (string, error) {
		return "", &ConfigError{Field: "source.url", Problem: problem, Remedy: remedy}
	}
	path := git.Path
	if root := strings.TrimSuffix(api.Path, apiPaths[provider]); root != "" && strings.EqualFold(git.Hostname(), api.Hostname()) {
		path = strings.TrimPrefix(path, root+"/")
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	segments := strings.Split(path, "/")
	for _, s := range segments {
		if s == "" || s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(`\?#%`, r)
		}) {
			return fail("has an invalid repository path", "check it for spaces, dots and stray slashes")
		}
	}
	switch {
	case len(segments) < 2:
		return fail("has no repository", "it ends in OWNER/NAME")
	case len(segments) > 2 && provider != GitLab:
		return fail("has more than OWNER/NAME", "check it; if the server is below a path, set spec.forge.apiURL to its address")
	}
	return path, nil
}

// parseURL doesn't repeat the URL in errors, because it may contain a password.
func parseURL(field, raw string, schemes ...string) (*url.URL, error) {
	fail := func(problem, remedy string) (*url.URL, error) {
		return nil, &ConfigError{Field: field, Problem: problem, Remedy: remedy}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fail("does not parse", "check it for spaces, stray percent signs and the port")
	}
	_, password := u.User.Password()
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return fail("does not start with "+schemes[0]+"://", "write it as "+schemes[0]+"://HOST/PATH")
	case u.Hostname() == "":
		return fail("has no host", "write it as "+schemes[0]+"://HOST/PATH")
	case strings.ContainsFunc(u.Hostname(), notInHosts):
		return fail("has invalid characters in its host", "write an international name in its ASCII form, xn--…")
	case u.User != nil && (u.Scheme != "ssh" || password):
		return fail("contains credentials", "move the part before the @ into the Secret")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("has a query or a fragment", "remove everything from the ? or the # on")
	case strings.Contains(strings.ToLower(u.EscapedPath()), "%2f"):
		return fail("has an escaped slash in its path", "write it as /")
	}
	return u, nil
}

// notInHosts rejects characters that make the host of a URL ambiguous, so that only one host can get the token.
func notInHosts(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune(".-_:", r)
}

// loopback accepts a host with or without a port.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasPrefix(strings.ToLower(host), "localhost:") {
		return true
	}
	if address, err := netip.ParseAddrPort(host); err == nil {
		return address.Addr().IsLoopback()
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.IsLoopback()
}
