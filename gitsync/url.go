package gitsync

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// scpLike is Git's short form of SSH addresses, user@host:path. The path of a Windows drive (C:\repo) matches too; neither
// is accepted.
var scpLike = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9.-]+):([^/].*|/[^/].*)$`)

// parseURL accepts the URLs that a Source may have. Its errors don't repeat the URL, which may contain a password.
func parseURL(raw string, allowPlainHTTP bool) (*url.URL, error) {
	fail := func(problem, remedy string) (*url.URL, error) {
		return nil, &SourceError{Field: "url", Problem: problem, Remedy: remedy}
	}
	if raw == "" {
		return fail("is missing", "set the repository's https:// or ssh:// URL")
	}
	if !strings.Contains(raw, "://") {
		if m := scpLike.FindStringSubmatch(raw); m != nil {
			return fail("has the short SSH form host:path", "write it as "+sshForm(m[1], m[2], m[3]))
		}
		return fail("has no scheme", "start it with https:// or ssh://")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fail("does not parse", "check it for spaces, stray percent signs and the port")
	}
	switch u.Scheme {
	case "https", "ssh":
	case "http":
		if !allowPlainHTTP && !isLoopback(u.Hostname()) {
			return fail("is plain http://, which sends credentials and content in clear text",
				"use https://")
		}
	case "file":
		return fail("is a file:// URL, but Muster does not read its local disk", "use https:// or ssh://")
	default:
		return fail("has a scheme that is not supported", "use https:// or ssh://")
	}
	if u.User != nil {
		_, hasPassword := u.User.Password()
		if u.Scheme != "ssh" || hasPassword {
			return fail("contains credentials", "move the part before the @ into the Secret, as username and password")
		}
	}
	if u.Hostname() == "" {
		return fail("has no host", "write it as https://host/path")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fail("has a query or a fragment", "remove everything from the ? or the # on")
	}
	if strings.Trim(u.Path, "/") == "" {
		return fail("has no path", "add the repository's path")
	}
	if strings.ContainsFunc(u.Path+u.Host+u.User.Username(), unicode.IsControl) {
		return fail("contains a control character", "check it for line breaks")
	}
	return u, nil
}

// sshForm repeats the user only if it is git: anything else might be a token.
func sshForm(user, host, path string) string {
	if user != "git" {
		user = "USER"
	}
	return "ssh://" + user + "@" + host + "/" + strings.TrimPrefix(path, "/")
}

// displayURL is the form of a URL that errors and logs show.
func displayURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return shown.String()
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
