package redact

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxJSON is the longest JSON text that is parsed. A Secret can't hold a longer one.
const maxJSON = 1 << 20

// maxDepth is how deep JSON is searched for texts that contain JSON, such as templates of templates.
const maxDepth = 4

// parts adds the secret parts of a value, because a library that parses the value may print a part alone. Most values have no
// such part, and only cost a search for its typical characters.
func (r *collector) parts(v string, depth int) {
	if strings.Contains(v, "@") {
		r.userinfo(v)
	}
	if strings.Contains(v, "earer") || strings.Contains(v, "asic") || strings.Contains(v, "EARER") || strings.Contains(v, "ASIC") {
		for _, m := range authorization.FindAllStringSubmatch(v, -1) {
			r.header(m[1], m[2])
		}
	}
	if strings.Contains(v, "auth") {
		for _, m := range registryAuth.FindAllStringSubmatch(v, -1) {
			r.basic(m[1])
		}
	}
	if strings.Contains(v, "=") {
		for line := range strings.Lines(v) {
			r.pairs(strings.TrimSpace(line))
		}
	}
	if depth < maxDepth && len(v) > 0 && len(v) <= maxJSON && (v[0] == '{' || v[0] == '[') {
		var document any
		if json.Unmarshal([]byte(v), &document) == nil {
			r.document(document, depth+1)
		}
	}
}

// userinfo adds the passwords and tokens before the @ of addresses, both raw and unescaped.
func (r *collector) userinfo(v string) {
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
	if strings.Contains(v, "(") {
		for _, m := range dsn.FindAllStringSubmatch(v, -1) {
			r.escaped(m[1])
		}
	}
}

// dsn matches a database address of Go's drivers: user:password@tcp(host:3306)/name.
var dsn = regexp.MustCompile(`(?:^|[\s"'=])[^\s:@/"'=]+:(\S+)@[a-z0-9]*\(`)

// escaped adds a text, also without its URL escapes.
func (r *collector) escaped(v string) {
	r.add(v)
	if strings.Contains(v, "%") {
		r.add(unescapeURL(v))
	}
}

// tokenLike reports whether a text that is alone before an @ or in a list looks like a token rather than a name.
func tokenLike(s string) bool {
	const long = 20
	return random(s) || len(s) >= long && strings.ContainsAny(s, "0123456789")
}

// authorization matches the value of an Authorization header.
var authorization = regexp.MustCompile(`(?i)\b(bearer|basic)[ \t]+([A-Za-z0-9+/=._~-]+)`)

// header adds the credentials of a scheme. The words may also be part of a sentence, such as "basic authentication".
func (r *collector) header(scheme, value string) {
	switch {
	case strings.EqualFold(scheme, "basic"):
		r.basic(value)
	case strings.ContainsAny(value, "0123456789"):
		r.add(value)
	}
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

// pairs adds the values of a connection string, query or environment whose keys are named like secrets.
func (r *collector) pairs(line string) {
	// base64 padding is not a pair
	if !strings.Contains(strings.TrimRight(line, `="', }`), "=") {
		return
	}
	if strings.Contains(line, ";") {
		for pair := range strings.SplitSeq(line, ";") { // such values may have blanks in them
			if key, value, _ := strings.Cut(pair, "="); secretKey(key) {
				r.pair(value)
			}
		}
	}
	for _, m := range pair.FindAllStringSubmatch(line, -1) {
		if secretKey(m[1]) {
			r.pair(m[2])
		}
	}
}

func (r *collector) pair(value string) {
	value = strings.TrimSpace(value)
	r.escaped(unquoted(value))
	r.escaped(strings.Trim(value, `"', }`))
}

// pair matches a key and its value, which may be quoted.
var pair = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^\s&;,]+)`)

// secretKey reports whether a key is named like a secret, in any spelling: AccountKey, account-key, ACCOUNT_KEY.
func secretKey(key string) bool {
	key = separators.Replace(strings.ToLower(strings.TrimSpace(key)))
	for _, name := range secretKeys {
		if strings.HasSuffix(key, name) {
			return true
		}
	}
	return false
}

var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

var secretKeys = []string{"password", "passwd", "pwd", "passphrase", "secret", "token", "accesskey", "accountkey", "apikey", "secretkey",
	"privatekey", "signature", "sig"}

// document adds the texts of a JSON document and their secret parts. It skips public keys, and items of lists that look like
// names.
func (r *collector) document(v any, depth int) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if text, ok := item.(string); !ok {
				r.document(item, depth)
			} else if !publicKeys[key] {
				r.add(text)
				r.text(text, depth)
			}
		}
	case []any:
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				r.document(item, depth)
				continue
			}
			if tokenLike(text) {
				r.add(text)
			}
			r.text(text, depth)
		}
	}
}

// text adds the secret parts of a text in a document, and its lines if it has several, as keys have.
func (r *collector) text(v string, depth int) {
	if strings.Contains(v, "\n") {
		for line := range strings.Lines(v) {
			r.add(strings.TrimSpace(line))
		}
	}
	r.parts(v, depth)
}
