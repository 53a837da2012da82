package gitsync

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSourceValidate(t *testing.T) {
	t.Parallel()
	const pw = "hunter2secret"
	for _, tc := range []struct {
		reason string
		src    Source
		field  string
		says   string
	}{
		{"https", Source{URL: "https://git.example.com/team/fleet.git"}, "", ""},
		{"https with a port", Source{URL: "https://git.example.com:8443/team/fleet"}, "", ""},
		{"http to loopback", Source{URL: "http://127.0.0.1:3000/fleet.git"}, "", ""},
		{"http to loopback by name", Source{URL: "http://localhost/fleet.git"}, "", ""},
		{"http to loopback, IPv6", Source{URL: "http://[::1]:80/fleet.git"}, "", ""},
		{"http on purpose", Source{URL: "http://gitea.forge.svc:3000/fleet.git", AllowPlainHTTP: true}, "", ""},
		{"a branch with slashes", Source{URL: "https://h/r", Ref: Ref{Branch: "feature/x@y"}}, "", ""},

		{"nothing", Source{}, "url", "is missing"},
		{"http", Source{URL: "http://git.example.com/fleet.git"}, "url", "clear text"},
		{"http to a name that looks like loopback", Source{URL: "http://127.0.0.1.example.com/fleet.git"}, "url", "clear text"},
		{"scp-like", Source{URL: "git@github.com:team/fleet.git"}, "url", "ssh://git@github.com/team/fleet.git"},
		{"scp-like, absolute", Source{URL: "git@example.com:/srv/fleet.git"}, "url", "ssh://git@example.com/srv/fleet.git"},
		{"scp-like with a user that may be a token", Source{URL: pw + "@github.com:team/fleet.git"}, "url", "ssh://USER@github.com/team/fleet.git"},
		{"no scheme", Source{URL: "github.com/team/fleet"}, "url", "no scheme"},
		{"CVE-2025-21613: an option", Source{URL: "--upload-pack=touch /tmp/x"}, "url", "no scheme"},
		{"a path", Source{URL: "/srv/fleet.git"}, "url", "no scheme"},
		{"file", Source{URL: "file:///srv/fleet.git"}, "url", "local disk"},
		{"git", Source{URL: "git://example.com/fleet.git"}, "url", "scheme"},
		{"a remote helper", Source{URL: "ext::sh -c id://x"}, "url", ""},
		{"credentials", Source{URL: "https://robot:" + pw + "@example.com/fleet.git"}, "url", "contains credentials"},
		{"a token for a user", Source{URL: "https://" + pw + "@example.com/fleet.git"}, "url", "contains credentials"},
		{"an SSH password", Source{URL: "ssh://git:" + pw + "@example.com/fleet.git"}, "url", "contains credentials"},
		{"a query", Source{URL: "https://example.com/fleet.git?token=" + pw}, "url", "query"},
		{"a fragment", Source{URL: "https://example.com/fleet.git#" + pw}, "url", "fragment"},
		{"a bad escape", Source{URL: "https://robot:" + pw + "@example.com/%zz"}, "url", "does not parse"},
		{"a line break", Source{URL: "https://example.com/a%0ab"}, "url", "control character"},
		{"no host", Source{URL: "https:///fleet.git"}, "url", "no host"},
		{"no path", Source{URL: "https://example.com/"}, "url", "no path"},
		{"a negative timeout", Source{URL: "https://h/r", Timeout: -1}, "timeout", "negative"},
		{"an abbreviated commit", Source{URL: "https://h/r", Ref: Ref{Commit: "abc1234"}}, "ref.commit", "40 hex digits"},
		{"a commit in capitals", Source{URL: "https://h/r", Ref: Ref{Commit: strings.Repeat("AB", 20)}}, "ref.commit", "lower case"},
		{"a constraint", Source{URL: "https://h/r", Ref: Ref{SemVer: "latest"}}, "ref.semver", "constraint"},
		{"a full name as branch", Source{URL: "https://h/r", Ref: Ref{Branch: "refs/heads/main"}}, "ref.branch", "short name"},
		{"a short name as name", Source{URL: "https://h/r", Ref: Ref{Name: "main"}}, "ref.name", "refs/"},
		{"an option as branch", Source{URL: "https://h/r", Ref: Ref{Branch: "--upload-pack=x"}}, "ref.branch", "starts with"},
		{"dots", Source{URL: "https://h/r", Ref: Ref{Branch: "a..b"}}, "ref.branch", `".."`},
		{"CVE-2026-71557: a way up", Source{URL: "https://h/r", Ref: Ref{Branch: "../../x"}}, "ref.branch", `".."`},
		{"a blank", Source{URL: "https://h/r", Ref: Ref{Tag: "v1 "}}, "ref.tag", `' '`},
		{"a line break in a tag", Source{URL: "https://h/r", Ref: Ref{Tag: "v1\nx"}}, "ref.tag", `'\n'`},
		{"a lock", Source{URL: "https://h/r", Ref: Ref{Branch: "a.lock"}}, "ref.branch", ".lock"},
		{"a long name", Source{URL: "https://h/r", Ref: Ref{Branch: strings.Repeat("a", 2000)}}, "ref.branch", "1024"},
	} {
		err := tc.src.Validate()
		if tc.field == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
			continue
		}
		var bad *SourceError
		if !errors.As(err, &bad) || bad.Field != tc.field || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.reason, err)
		}
		if err != nil && strings.Contains(err.Error(), pw) {
			t.Errorf("%s: the error tells the password: %v", tc.reason, err)
		}
		if _, fetchErr := (&Repository{}).Fetch(t.Context(), tc.src); !errors.As(fetchErr, &bad) {
			t.Errorf("%s: Fetch does not validate", tc.reason)
		}
	}
	var missing *SecretError
	if err := (Source{URL: "ssh://git@example.com/r.git"}).Validate(); !errors.As(err, &missing) || missing.Key != "identity" {
		t.Errorf("SSH without a key: %v", err)
	}
}

func TestRevision(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0a", 20)
	for _, r := range []Revision{{"main", hash}, {"", hash}, {"v1.2.3", hash}, {"refs/pull/7/head", hash}, {"a@sha1", hash}, {"a@b", hash}} {
		if got, err := ParseRevision(r.String()); err != nil || got != r {
			t.Errorf("%s: %v %v", r, got, err)
		}
	}
	for _, bad := range []string{"", "main", hash, "main@" + hash, "@sha1:" + hash, "main@sha1:" + hash[1:], "main@sha1:" + strings.ToUpper(hash), "main@sha256:" + hash, "a b@sha1:" + hash, "sha1:" + hash + "\n"} {
		if r, err := ParseRevision(bad); err == nil {
			t.Errorf("%q gives %+v", bad, r)
		}
	}
}

func FuzzParseRevision(f *testing.F) {
	f.Add("main@sha1:" + strings.Repeat("0a", 20))
	f.Add("a@sha1:b@sha1:" + strings.Repeat("0a", 20))
	f.Add("sha1:")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRevision(s)
		if err == nil && r.String() != s {
			t.Errorf("%q prints as %q", s, r)
		}
	})
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte(rawTree("100644", "a", strings.Repeat("0a", 20), "40000", "..", strings.Repeat("0b", 20))))
	f.Add([]byte("100644 a"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, err := parseTree(raw, 1000)
		if err != nil {
			return
		}
		for i, e := range tree.entries {
			if !canShow(e.name) || i > 0 && tree.entries[i-1].name >= e.name {
				t.Errorf("entry %d is %q", i, e.name)
			}
		}
		for _, e := range tree.omitted {
			if !utf8.ValidString(e.name) || !fs.ValidPath("dir/"+e.name) || strings.Contains(e.name, "/") {
				t.Errorf("%q is left out", e.name)
			}
		}
	})
}
