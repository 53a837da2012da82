package redact

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf8"
)

// parts adds the secret parts of a value, because a library that parses the value may print a part alone. Most values have no
// such part, and only cost a search for its typical characters.
func (r *collector) parts(v string) {
	if strings.Contains(v, "://") {
		r.address(v)
	}
	if strings.Contains(v, "auth") {
		for _, m := range registryAuth.FindAllStringSubmatch(v, -1) {
			r.basic(m[1])
		}
	}
}

// address adds the passwords and tokens before the @ of addresses, and those in their queries, both raw and unescaped.
func (r *collector) address(v string) {
	for rest := v; ; {
		_, after, found := strings.Cut(rest, "://")
		if !found {
			break
		}
		rest = after
		authority := after
		if end := strings.IndexAny(after, "/?# \t\r\n\"'`<>"); end >= 0 {
			authority = after[:end]
		}
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			user, password, both := strings.Cut(authority[:at], ":")
			if r.escaped(password); !both && tokenLike(user) {
				r.escaped(user)
			}
		}
	}
	if strings.Contains(v, "?") {
		for _, m := range query.FindAllStringSubmatch(v, -1) {
			r.escaped(m[1])
		}
	}
}

// query matches a parameter that is named like a secret.
var query = regexp.MustCompile(`(?i)[?&][a-z0-9_.-]*(?:password|passwd|secret|token|key|signature|sig)=([^\s&#"'<>]+)`)

// escaped adds a text, also without its URL escapes.
func (r *collector) escaped(v string) {
	r.add(v)
	if strings.Contains(v, "%") {
		r.add(unescapeURL(v))
	}
}

// tokenLike reports whether a text that is alone before an @ looks like a token rather than a name.
func tokenLike(s string) bool {
	const long = 20
	return random(s) || len(s) >= long && strings.ContainsAny(s, "0123456789")
}

// registryAuth matches the field of a .dockerconfigjson with user and password.
var registryAuth = regexp.MustCompile(`(?:^|[\s"'{,])auth["']?\s*:\s*["']?([A-Za-z0-9+/_=-]+)`)

// basic adds the base64 of user:password, and the password.
func (r *collector) basic(encoded string) {
	plain, err := base64.RawStdEncoding.DecodeString(alphabet.Replace(encoded))
	if err != nil || !utf8.Valid(plain) {
		return
	}
	if _, password, both := strings.Cut(string(plain), ":"); both {
		r.add(encoded)
		r.add(password)
	}
}
