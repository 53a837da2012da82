// Package redact keeps secret values out of the process's output.
//
// A Redactor learns every secret of a run (Add) and masks it in any text (String). It also finds secrets in base64 or hex,
// URL-encoded, quoted once or twice, or wrapped over lines. Of a longer secret it also knows the single lines, the values in
// YAML, JSON and environment files, and the secret parts of addresses and registry credentials. When in doubt, it masks. One
// Redactor serves one run and is safe for concurrent use.
//
// It knows the forms that what Muster calls writes into errors. net/url and net/http quote an address with its password or query,
// as it was or escaped again. strconv and API servers quote a value with escapes. API servers quote the object that they refuse,
// in which Secrets are base64 in JSON. Forms that none of the packages in `go list -deps ./cmd/muster` writes a secret in, such
// as base32 or the connection strings of databases, are left out. `go test ./clusters/redact -run xxx -bench .` prints the cost
// of the others: 80 µs to learn a kubeconfig of 5 KB, and up to 0.8 s to mask a mebibyte that looks encoded throughout.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Mask replaces a secret.
const Mask = "***"

// minLength is the minimum length of a secret. Shorter values would mask ordinary words, and can be guessed anyway.
const minLength = 8

// Redactor knows the secrets of a run. The zero value knows none.
type Redactor struct {
	mu sync.RWMutex
	// index has the secrets by their first eight bytes. known counts the owners of each.
	index map[[minLength]byte][]string
	known map[string]int
	// owned are the secrets of each owner.
	owned map[string][]string
}

// Add adds secrets for as long as the Redactor lives, each as a whole and line by line. Of a line "key: value" in YAML or JSON,
// only the value is secret, unless the key is one that is public in credentials. The key is a word that occurs elsewhere too.
// Lines that every PEM block has are not secret.
func (r *Redactor) Add(values ...string) { r.AddFor("", values...) }

// AddFor is like Add, until Keep or Forget forgets the owner. It returns how many texts it added: a value, its lines and so on.
// Each takes about 200 bytes.
func (r *Redactor) AddFor(owner string, values ...string) int {
	found := collector{}
	for _, v := range values {
		v = strings.TrimSpace(v)
		found.add(v)
		found.parts(v)
		if !strings.ContainsAny(v, "\n:,=") {
			continue
		}
		for line := range strings.Lines(v) {
			found.line(strings.TrimSpace(line))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.index == nil {
		r.index, r.known, r.owned = map[[minLength]byte][]string{}, map[string]int{}, map[string][]string{}
	}
	r.owned[owner] = append(r.owned[owner], found...)
	for _, v := range found {
		if r.known[v]++; r.known[v] == 1 {
			key := [minLength]byte([]byte(v[:minLength]))
			r.index[key] = append(r.index[key], v)
		}
	}
	return len(found)
}

// Keep forgets the secrets of all owners for which the function returns false. Secrets without an owner are kept.
func (r *Redactor) Keep(owner func(string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []string
	for name := range r.owned {
		if name != "" && !owner(name) {
			gone = append(gone, name)
		}
	}
	r.forget(gone)
}

// Forget forgets the secrets of the given owners.
func (r *Redactor) Forget(owners ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(owners)
}

func (r *Redactor) forget(owners []string) {
	gone := map[[minLength]byte][]string{}
	for _, name := range owners {
		for _, v := range r.owned[name] {
			if r.known[v]--; r.known[v] <= 0 {
				delete(r.known, v)
				key := [minLength]byte([]byte(v[:minLength]))
				gone[key] = append(gone[key], v)
			}
		}
		delete(r.owned, name)
	}
	for key, values := range gone {
		if r.index[key] = without(r.index[key], values, r.known); len(r.index[key]) == 0 {
			delete(r.index, key)
		}
	}
}

// without removes values from a list, except those that are still known. Secrets in a list start with the same bytes, as the
// tokens of a fleet may. A few are searched one by one; for many, the list is scanned once.
func without(list, values []string, known map[string]int) []string {
	const few = 16
	if len(values) > few {
		return slices.DeleteFunc(list, func(v string) bool { return known[v] == 0 })
	}
	for _, v := range values {
		if i := slices.Index(list, v); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// collector is a list of secrets. A secret that is added twice is in it twice, and has to be forgotten twice.
type collector []string

func (r *collector) line(line string) {
	for entry := range strings.SplitSeq(line, `, "`) {
		m := keyValue.FindStringSubmatch(entry)
		if m == nil {
			r.add(entry)
			continue
		}
		if value := strings.Trim(m[2], "\"', {}[]"); !publicKeys[m[1]] {
			r.add(value)
			r.add(unquoted(m[2]))
			if value, _, commented := strings.Cut(m[2], " #"); commented {
				r.add(unquoted(strings.TrimSpace(value)))
			}
		}
	}
	if strings.Contains(line, "{") {
		for _, m := range flowValue.FindAllStringSubmatch(line, -1) {
			if !publicKeys[m[1]] {
				r.value(unquoted(m[2]))
			}
		}
	}
	if _, value, found := strings.Cut(line, "="); found {
		r.add(strings.Trim(value, "\"' "))
	}
	for rest := line; rest != ""; {
		part := rest
		if end := strings.IndexAny(rest, " ,:{}[]\"'="); end >= 0 {
			part, rest = rest[:end], rest[end+1:]
		} else {
			rest = ""
		}
		if random(part) {
			r.add(part)
			r.pem(part)
		}
	}
}

// value adds a text that was quoted, and its lines.
func (r *collector) value(text string) {
	r.add(text)
	if strings.Contains(text, "\n") {
		for line := range strings.Lines(text) {
			r.add(strings.TrimSpace(line))
		}
	}
}

// pem adds the lines of a PEM block in base64, such as a key in a kubeconfig.
func (r *collector) pem(part string) {
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(part, "="))
	if err != nil || !strings.HasPrefix(string(plain), "-----BEGIN ") || strings.HasPrefix(string(plain), "-----BEGIN CERTIFICATE") {
		return
	}
	for line := range strings.Lines(string(plain)) {
		r.add(strings.TrimSpace(line))
	}
}

// keyValue matches a line of YAML or JSON: an optional dash or brace, a key, and an optional value. A colon without a blank
// after it, as in user:password, doesn't end a key.
var keyValue = regexp.MustCompile(`^[-\s{]*["']?([A-Za-z0-9_.-]+)["']?:(?:\s+(.*))?$`)

// unquoted returns a YAML or JSON string without its quotes.
func unquoted(text string) string {
	if plain, err := strconv.Unquote(text); err == nil && text[0] == '"' {
		return plain
	}
	if len(text) > 1 && text[0] == '\'' && strings.HasSuffix(text, "'") {
		return strings.ReplaceAll(text[1:len(text)-1], "''", "'")
	}
	return strings.Trim(text, "\"'")
}

// flowValue matches an entry of a mapping in flow style or JSON, whose value is neither a mapping nor a list.
var flowValue = regexp.MustCompile(`["']?([A-Za-z0-9_.-]+)["']?\s*:\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'{}\[\],][^{}\[\],]*)`)

// publicKeys are the keys in kubeconfigs and registry credentials whose values are names and addresses. Masking these would make
// messages about a cluster unreadable.
var publicKeys = map[string]bool{
	"apiVersion": true, "kind": true, "name": true, "cluster": true, "clusters": true, "user": true, "users": true, "context": true,
	"contexts": true, "current-context": true, "namespace": true, "server": true, "preferences": true, "tls-server-name": true,
	"insecure-skip-tls-verify": true, "certificate-authority-data": true, "client-certificate-data": true,
	"auths": true, "username": true, "email": true, "api_endpoint": true, "mrn": true, "space_mrn": true, "parent_mrn": true,
}

// random reports whether a part of a line looks like a key or token rather than a name.
func random(s string) bool {
	const long = 20
	return len(s) >= long && strings.ContainsAny(s, "0123456789") &&
		strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz") && strings.ContainsAny(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

func (r *collector) add(v string) {
	if len(v) >= minLength && !strings.HasPrefix(v, "-----") {
		*r = append(*r, v)
	}
}

// String returns text with every known secret masked.
func (r *Redactor) String(text string) string {
	if r == nil {
		return text
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.index) == 0 {
		return text
	}
	return r.unescaped(r.decoded(r.mask(text)))
}

// decoded masks the parts of a text that contain a secret after decoding.
func (r *Redactor) decoded(text string) string {
	for _, e := range encodings {
		text = e.runs.ReplaceAllStringFunc(text, func(run string) string {
			if r.hidden(e, run) {
				return Mask
			}
			return run
		})
	}
	return text
}

// Error returns an error with the masked text of err. It doesn't wrap err, whose chain might be printed.
func (r *Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	return maskedError(r.String(err.Error()))
}

type maskedError string

func (e maskedError) Error() string { return string(e) }

// mask replaces exact occurrences. Secrets that overlap or touch get one mask.
func (r *Redactor) mask(text string) string {
	var out strings.Builder
	var key [minLength]byte
	start, end, last := 0, 0, 0 // start and end of the current mask, and where the text after the previous mask starts
	flush := func() {
		if end > start {
			out.WriteString(text[last:start])
			out.WriteString(Mask)
			last = end
		}
	}
	for i := 0; i+minLength <= len(text); i++ {
		copy(key[:], text[i:])
		for _, secret := range r.index[key] {
			if i+len(secret) <= end || !strings.HasPrefix(text[i:], secret) {
				continue
			}
			if i > end {
				flush()
				start = i
			}
			if end <= start {
				start = i
			}
			end = i + len(secret)
		}
	}
	flush()
	if last == 0 {
		return text
	}
	out.WriteString(text[last:])
	return out.String()
}

// encoding is a way to write bytes as letters and digits.
type encoding struct {
	// runs matches texts that may have this encoding, also wrapped over lines.
	runs *regexp.Regexp
	// alphabet converts a run to the form that decode accepts: one alphabet, no padding and no newlines.
	alphabet *strings.Replacer
	// group is the number of characters that encode a whole number of bytes. In a longer text, the secret may start at any of
	// them.
	group  int
	decode func(string) ([]byte, error)
}

// encodings are base64 in both alphabets, and hex in both cases.
var encodings = []encoding{
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{10,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+)*={0,2}`), strings.NewReplacer("-", "+", "_", "/", "=", "", "\n", "", "\r", "", " ", "", "\t", ""),
		4, base64.RawStdEncoding.DecodeString},
	{regexp.MustCompile(`[0-9A-Fa-f]{16,}`), strings.NewReplacer(), 2, hex.DecodeString},
}

// alphabet converts base64 in either alphabet to the form that the decoder accepts.
var alphabet = encodings[0].alphabet

// hidden reports whether a run contains a secret, at any alignment that a longer text can cause.
func (r *Redactor) hidden(e encoding, run string) bool {
	run = e.alphabet.Replace(run)
	for shift := range min(e.group, len(run)) {
		part := run[shift:]
		for range min(e.group, len(part)) { // the last characters may not be a whole byte
			if plain, err := e.decode(part); err == nil {
				if r.mask(string(plain)) != string(plain) {
					return true
				}
				break
			}
			part = part[:len(part)-1]
		}
	}
	return false
}

// unescaped masks each line that contains a secret after URL or JSON escapes are removed. Escapes may be nested.
func (r *Redactor) unescaped(text string) string {
	if !strings.ContainsAny(text, `%\+`) {
		return text
	}
	const depth = 3
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		// A plus is a blank in a query and itself in a path.
		for _, unescape := range []func(string) string{unescapeURL, func(s string) string { return unescapeURL(strings.ReplaceAll(s, "+", " ")) }, unescape} {
			plain := line
			for range depth {
				before := plain
				if plain = unescape(plain); plain == before {
					break
				}
				if r.contains(plain) {
					lines[i] = Mask
				}
			}
		}
	}
	return strings.Join(lines, "\n")
}

// contains reports whether a text contains a secret, plain or encoded.
func (r *Redactor) contains(text string) bool {
	return r.mask(text) != text || r.decoded(text) != text
}

var percent = regexp.MustCompile(`(?:%[0-9A-Fa-f]{2})+`)

func unescapeURL(line string) string {
	return percent.ReplaceAllStringFunc(line, func(code string) string {
		plain, err := url.PathUnescape(code)
		if err != nil {
			return code
		}
		return plain
	})
}

// escapes matches the escapes of JSON, of which two may make one character, and of Go strings.
var escapes = regexp.MustCompile(`\\(?:u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|["\\/bfnrtav'])`)

func unescape(line string) string {
	return escapes.ReplaceAllStringFunc(line, func(code string) string {
		var plain string
		if json.Unmarshal([]byte(`"`+code+`"`), &plain) == nil {
			return plain
		}
		quote := byte('"')
		if code == `\'` {
			quote = '\''
		}
		char, multibyte, _, err := strconv.UnquoteChar(code, quote)
		switch {
		case err != nil:
			return code
		case !multibyte:
			return string([]byte{byte(char & 0xff)})
		}
		return string(char)
	})
}
