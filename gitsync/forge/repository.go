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
	// Path is what the forge calls it, such as "platform/fleet"; on GitLab it may have subgroups.
	Path string
	// API is the address below which the forge's REST API is, without a slash at the end.
	API url.URL
}

// Owner and Name are the two halves of a path that has no subgroups.
func (r Repository) Owner() string { owner, _, _ := strings.Cut(r.Path, "/"); return owner }

// Name is what follows the owner.
func (r Repository) Name() string { _, name, _ := strings.Cut(r.Path, "/"); return name }

// apiPaths are what comes between a server's address and its API's methods.
var apiPaths = map[Provider]string{GitHub: "/api/v3", GitLab: "/api/v4", Gitea: "/api/v1"}

// publicHosts are those whose provider is known. The value's host is what the names stand for: some take SSH at another name.
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

// ParseRepository finds out where the API of a repository is from its Git address, https:// or ssh://. Provider may be empty
// for the public forges, whose names tell. APIURL is for servers whose API is elsewhere than at the Git address's host: the
// address of the server, or of the API itself. What doesn't fit is a *ConfigError, which repeats no address.
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
		host = strings.ToLower(git.Host) // with its port, which for SSH would be another server's
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
		return "", &ConfigError{Field: "forge.provider", Problem: "is missing, and the host does not tell it", Remedy: "give one of " + list}
	case given != "" && !slices.Contains(Providers(), given):
		return "", &ConfigError{Field: "forge.provider", Problem: "is none that is known", Remedy: "give one of " + list}
	}
	return cmp.Or(given, known), nil
}

// apiAddress returns the API's address: the one that is given, completed by the path that all servers of a kind have, or else
// the usual one of the host.
func apiAddress(provider Provider, scheme, host, given string) (*url.URL, error) {
	if given == "" {
		switch {
		case scheme == "ssh":
			scheme = "https"
		case scheme == "http" && !loopback(host):
			return nil, &ConfigError{Field: "source.url", Problem: "is plain http://, over which no token is sent", Remedy: "use https://"}
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
		return nil, &ConfigError{Field: "forge.apiURL", Problem: "is plain http://, over which no token is sent", Remedy: "use https://"}
	}
	api.Path, api.RawPath = strings.TrimRight(api.Path, "/"), ""
	bare := provider == GitHub && strings.HasPrefix(api.Hostname(), "api.") // GitHub's own have no path
	if !bare && !strings.HasSuffix(api.Path, apiPaths[provider]) {
		api.Path += apiPaths[provider]
	}
	return api, nil
}

// repositoryPath takes the repository's path from the Git address. A server below a path, as https://example.com/gitlab, has
// it in both addresses.
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
			return fail("has a path that is no repository's", "check it for blanks, dots and stray slashes")
		}
	}
	switch {
	case len(segments) < 2:
		return fail("names no repository", "it ends in OWNER/NAME")
	case len(segments) > 2 && provider != GitLab:
		return fail("has more than OWNER/NAME", "check it; where the server is below a path, put its address into spec.forge.apiURL")
	}
	return path, nil
}

// parseURL doesn't repeat what it is given: what makes it wrong may be a password in it.
func parseURL(field, raw string, schemes ...string) (*url.URL, error) {
	fail := func(problem, remedy string) (*url.URL, error) {
		return nil, &ConfigError{Field: field, Problem: problem, Remedy: remedy}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fail("does not parse", "check it for blanks, stray percent signs and the port")
	}
	_, password := u.User.Password()
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return fail("does not start with "+schemes[0]+"://", "write it as "+schemes[0]+"://HOST/PATH")
	case u.Hostname() == "":
		return fail("names no host", "write it as "+schemes[0]+"://HOST/PATH")
	case strings.ContainsFunc(u.Hostname(), notInHosts):
		return fail("names a host by characters that hosts don't have", "write an international name in its ASCII form, xn--…")
	case u.User != nil && (u.Scheme != "ssh" || password):
		return fail("holds credentials", "take out what stands before the @ and put it into the Secret")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("has a query or a fragment", "take out what follows the ? or the #")
	case strings.Contains(strings.ToLower(u.EscapedPath()), "%2f"):
		return fail("has an escaped slash in its path", "write it as /")
	}
	return u, nil
}

// notInHosts leaves no two ways to read who gets the token.
func notInHosts(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune(".-_:", r)
}

// loopback takes a host with or without a port.
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
