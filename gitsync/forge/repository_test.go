package forge

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRepository(t *testing.T) {
	for _, tt := range []struct {
		reason   string
		provider Provider
		git, api string
		want     string // provider, path and API
	}{
		{"GitHub", "", "https://github.com/platform/fleet.git", "", "github platform/fleet https://api.github.com"},
		{"GitHub over SSH", "", "ssh://git@github.com/platform/fleet.git", "", "github platform/fleet https://api.github.com"},
		{"GitHub's SSH over port 443", "", "ssh://git@ssh.github.com:443/platform/fleet.git", "", "github platform/fleet https://api.github.com"},
		{"GitHub in capitals", "", "https://GitHub.com/Platform/Fleet/", "", "github Platform/Fleet https://api.github.com"},
		{"GitHub with data residency", "", "https://acme.ghe.com/platform/fleet", "", "github platform/fleet https://api.acme.ghe.com"},
		{"GitHub Enterprise Server", GitHub, "https://git.example.com/platform/fleet", "", "github platform/fleet https://git.example.com/api/v3"},
		{"its API given", GitHub, "https://git.example.com/platform/fleet", "https://git.example.com/api/v3/", "github platform/fleet https://git.example.com/api/v3"},
		{"its address given", GitHub, "https://git.example.com/platform/fleet", "https://git.example.com", "github platform/fleet https://git.example.com/api/v3"},
		{"its API at a host of its own", GitHub, "https://git.example.com/platform/fleet", "https://api.git.example.com", "github platform/fleet https://api.git.example.com"},
		{"GitLab", "", "https://gitlab.com/platform/security/fleet.git", "", "gitlab platform/security/fleet https://gitlab.com/api/v4"},
		{"GitLab's other SSH host", "", "ssh://git@altssh.gitlab.com:443/platform/fleet.git", "", "gitlab platform/fleet https://gitlab.com/api/v4"},
		{"GitLab on a port", GitLab, "https://git.example.com:8443/platform/fleet", "", "gitlab platform/fleet https://git.example.com:8443/api/v4"},
		{"GitLab over SSH, whose port is another server's", GitLab, "ssh://git@git.example.com:2222/platform/fleet", "", "gitlab platform/fleet https://git.example.com/api/v4"},
		{"GitLab below a path", GitLab, "https://example.com/gitlab/platform/fleet", "https://example.com/gitlab", "gitlab platform/fleet https://example.com/gitlab/api/v4"},
		{"Gitea below a path, on another host", Gitea, "ssh://git@git.example.com/platform/fleet", "https://www.example.com/gitea/api/v1", "gitea platform/fleet https://www.example.com/gitea/api/v1"},
		{"Codeberg", "", "https://codeberg.org/platform/fleet.git", "", "gitea platform/fleet https://codeberg.org/api/v1"},
		{"loopback without TLS", Gitea, "http://127.0.0.1:3000/platform/fleet.git", "", "gitea platform/fleet http://127.0.0.1:3000/api/v1"},
		{"loopback of IPv6", Gitea, "http://[::1]:3000/platform/fleet.git", "", "gitea platform/fleet http://[::1]:3000/api/v1"},
		{"a name with dots", GitHub, "https://github.com/platform/fleet.v2.git", "", "github platform/fleet.v2 https://api.github.com"},
	} {
		r, err := ParseRepository(tt.provider, tt.git, tt.api)
		if got := string(r.Provider) + " " + r.Path + " " + r.API.String(); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.reason, got, err, tt.want)
		}
	}
}

func TestBadRepositories(t *testing.T) {
	const canary = "s3cr3t-canary"
	for _, tt := range []struct {
		reason   string
		provider Provider
		git, api string
		field    string
	}{
		{"a host that doesn't tell", "", "https://git.example.com/platform/fleet", "", "forge.provider"},
		{"a host that only looks like one", "", "https://github.com.example.com/platform/fleet", "", "forge.provider"},
		{"no such provider", "bitbucket", "https://bitbucket.org/platform/fleet", "", "forge.provider"},
		{"no address", GitHub, "", "", "source.url"},
		{"the short form of SSH", GitHub, "git@github.com:platform/fleet.git", "", "source.url"},
		{"a file", GitHub, "file:///srv/git/platform/fleet.git", "", "source.url"},
		{"no TLS", Gitea, "http://git.example.com/platform/fleet", "", "source.url"},
		{"no TLS to the API", Gitea, "https://git.example.com/platform/fleet", "http://git.example.com", "forge.apiURL"},
		{"a loopback only in name", Gitea, "http://127.0.0.1.example.com/platform/fleet", "", "source.url"},
		{"a password in the address", GitHub, "https://robot:" + canary + "@github.com/platform/fleet", "", "source.url"},
		{"a token in the API's address", Gitea, "https://git.example.com/platform/fleet", "https://" + canary + "@git.example.com", "forge.apiURL"},
		{"a letter that looks like another", Gitea, "https://git.ex\u0430mple.com/platform/fleet", "", "source.url"},
		{"an escaped host", Gitea, "https://git%2eexample.com/platform/fleet", "", "source.url"},
		{"a query", GitHub, "https://github.com/platform/fleet?token=" + canary, "", "source.url"},
		{"an owner alone", GitHub, "https://github.com/platform", "", "source.url"},
		{"a web page", GitHub, "https://github.com/platform/fleet/tree/main", "", "source.url"},
		{"a way up", GitLab, "https://gitlab.com/platform/../fleet", "", "source.url"},
		{"an escaped way up", GitLab, "https://gitlab.com/platform/%2e%2e/fleet", "", "source.url"},
		{"an escaped slash", GitHub, "https://github.com/platform%2Ffleet/x", "", "source.url"},
		{"an escaped line break", GitHub, "https://github.com/platform/fleet%0a", "", "source.url"},
		{"an escaped question mark", GitHub, "https://github.com/platform/fleet%3Fx", "", "source.url"},
		{"two slashes", GitHub, "https://github.com/platform//fleet", "", "source.url"},
		{"a stray percent sign", GitHub, "https://github.com/platform/%zz" + canary, "", "source.url"},
	} {
		_, err := ParseRepository(tt.provider, tt.git, tt.api)
		wrong, ok := errors.AsType[*ConfigError](err)
		if !ok || wrong.Field != tt.field || wrong.Remedy == "" {
			t.Errorf("%s: %v, want one about %s", tt.reason, err, tt.field)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds a credential: %v", tt.reason, err)
		}
	}
}

// Whatever is written, a token goes to no other host than is written, and over TLS; and the path stays below the API's.
func FuzzParseRepository(f *testing.F) {
	for _, seed := range []string{
		"https://github.com/platform/fleet.git", "ssh://git@git.example.com:22/a/b/c", "http://127.0.0.1:3000/a/b", "https://a@b/c/d",
		"https://x/%2e%2e/b", "http://[::1]/a/b", "http://localhost:1/a/b",
	} {
		f.Add(seed, "")
		f.Add("https://git.example.com/gitlab/a/b", seed)
	}
	f.Fuzz(func(t *testing.T, git, api string) {
		for _, provider := range append(Providers(), "") {
			r, err := ParseRepository(provider, git, api)
			if err != nil {
				if _, ok := errors.AsType[*ConfigError](err); !ok {
					t.Errorf("%v", err)
				}
				continue
			}
			plain := r.API.Scheme == "http" && loopback(r.API.Hostname())
			if r.API.Hostname() == "" || r.API.Scheme != "https" && !plain || r.API.User != nil || r.API.RawQuery != "" {
				t.Errorf("%q, %q: the API is at %s", git, api, r.API.String())
			}
			for segment := range strings.SplitSeq(r.Path, "/") {
				if segment == "" || strings.Trim(segment, ".") == "" && len(segment) < 3 || strings.ContainsAny(segment, "?#%\\\n ") {
					t.Errorf("%q, %q: the path is %q", git, api, r.Path)
				}
			}
			if !strings.Contains(strings.ToLower(git+api), strings.TrimPrefix(strings.ToLower(r.API.Hostname()), "api.")) {
				t.Errorf("%q, %q: the API's host is %q", git, api, r.API.Host)
			}
		}
	})
}
