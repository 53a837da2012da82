package redact

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

const token = "tok_9fQ2vLm4ZtXy81Ka"

const key = "MHcCAQEEIB3kq8X5yH2d0m7p"

var kubeconfig = `apiVersion: v1
kind: Config
clusters:
  - name: prod-eu-west-1
    cluster:
      server: https://prod-eu-west-1.example.com:6443
users:
  - name: mondoo-scanner
    user:
      token: ` + token + `
      password: correct horse battery
      client-key-data: ` + base64.StdEncoding.EncodeToString([]byte("-----BEGIN EC PRIVATE KEY-----\n"+key+"\n-----END EC PRIVATE KEY-----\n")) + `
current-context: prod-eu-west-1
`

func TestMasked(t *testing.T) {
	r := &Redactor{}
	r.Add(token, "line one of it\nline two of it", `{"auths":{"registry.example.com":{"username":"scanner-user","auth":"c2Nhbm5lcjpodW50ZXIy"}}}`, "user:password-of-user\n")
	r.Add(kubeconfig)
	escaped, err := json.Marshal("a \"quoted\" " + token + "\n\ttab")
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	for _, row := range []struct{ name, text string }{
		{"plain", "the token " + token + " is bad"},
		{"twice", token + token},
		{"at the end", "x" + token},
		{"base64", encode([]byte(token))},
		{"base64, shifted by one", encode([]byte("a" + token))},
		{"base64, shifted by two", encode([]byte("ab" + token))},
		{"base64, shifted by three", encode([]byte("abc" + token))},
		{"base64 in a longer text", "data: " + encode([]byte("before "+token+" after")) + " end"},
		{"base64 with its head cut off", encode([]byte("before " + token + " after"))[3:]},
		{"base64 for URLs", base64.URLEncoding.EncodeToString([]byte("??>>" + token))},
		{"base64 without padding", base64.RawStdEncoding.EncodeToString([]byte(token))},
		{"base64 of a short secret", encode([]byte("password-of-user"[:0] + "user:password-of-user"))},
		{"base64 wrapped", wrap(encode([]byte("before "+token+" after")), 10, "\n")},
		{"base64 wrapped and indented", wrap(encode([]byte("before "+token+" after")), 16, "\n    ")},
		{"base64 wrapped with CRLF", wrap(encode([]byte("before "+token+" after")), 16, "\r\n")},
		{"URL-encoded", "https://x.example.com/?q=" + url.QueryEscape("correct horse battery")},
		{"URL-encoded path", "https://x.example.com/" + url.PathEscape("correct horse battery")},
		{"URL-encoded to the last byte", percentAll(token)},
		{"JSON", string(escaped)},
		{"JSON escaped to the last rune", `"` + unicodeAll(token) + `"`},
		{"a line of several", "error near: line two of it"},
		{"all lines", "line one of it\nline two of it"},
		{"value of a key", "correct horse battery"},
		{"registry auth", "auth c2Nhbm5lcjpodW50ZXIy"},
		{"line with a colon", "user:password-of-user"},
		{"decoded key", key},
		{"kubeconfig", kubeconfig},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := r.String(row.text)
			if !strings.Contains(got, Mask) {
				t.Errorf("nothing is masked: %s", got)
			}
			for _, secret := range []string{token, "correct horse battery", "c2Nhbm5lcjpodW50ZXIy", "password-of-user", key, "line two of it"} {
				if strings.Contains(got, secret) {
					t.Errorf("%s is left", secret)
				}
			}
		})
	}
}

// TestParts: the secrets in a value are known separately, in any form there, and masked in any form elsewhere.
func TestParts(t *testing.T) {
	quoted, err := json.Marshal("pass\"word\\one")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, secret, text string }{
		{"JSON in one line", `{"auths":{"r.example.com":{"username":"u","password":"hunter2-hunter2"}}}`, "hunter2-hunter2"},
		{"flow style", "users:\n- user: {token: hunter2-hunter2, username: u}\n", "hunter2-hunter2"},
		{"before a comment", "password: hunter2-hunter2 # of last year\n", "hunter2-hunter2"},
		{"in double quotes", `password: "hunter2\"hunter2"` + "\n", `hunter2"hunter2`},
		{"in single quotes", "password: 'hunter2''hunter2'\n", "hunter2'hunter2"},
		{"an environment", "PASSWORD=hunter2-hunter2\nX=y\n", "hunter2-hunter2"},
		{"an environment of one variable", "PASSWORD=hunter2-hunter2", "hunter2-hunter2"},
		{"in an address", "url: https://user:hunter2-hunter2@host/\n", "hunter2-hunter2"},
		{"with a plus, in a path", "abcd+efg/hijk&x", "https://x.example.com/" + url.PathEscape("abcd+efg/hijk&x")},
		{"in Go's quotes", "pa\"ss/w<rd✓😀", strconv.QuoteToASCII("pa\"ss/w<rd✓😀")},
		{"in ASCII JSON", "pa😀ss/word", `pa\ud83d\ude00ss/word`},
		{"with a control character", "hunt\x01er2-hunter2", strconv.Quote("hunt\x01er2-hunter2")},
		{"JSON in JSON", "pass\"word\\one", strconv.Quote(string(quoted))},
		{"base64 in a query", "???secret-value", url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("\xff\xfe>>>???secret-value")))},
	} {
		r := &Redactor{}
		r.Add(row.secret)
		if got := r.String("error near " + row.text); !strings.Contains(got, Mask) {
			t.Errorf("%s: %s", row.name, got)
		}
	}
}

// TestReadable: names, addresses and the words of the format are unchanged, or messages would be incomprehensible.
func TestReadable(t *testing.T) {
	r := &Redactor{}
	r.Add(kubeconfig, `{"auths":{"registry.example.com":{"username":"scanner-user","password":"hunter2-hunter2"}}}`, "short", "-----BEGIN CERTIFICATE-----")
	for _, text := range []string{
		"apiVersion: v1\nkind: Secret\n",
		"cluster prod-eu-west-1: the server https://prod-eu-west-1.example.com:6443 does not answer",
		"users: mondoo-scanner",
		"current-context: prod-eu-west-1",
		"clusters: 3 applied",
		"client-key-data is not base64",
		"password: is missing",
		"registry.example.com and scanner-user",
		"short",
		"-----BEGIN CERTIFICATE-----",
		"100% of 3+4",
		"muster.dev/origin: clusters/prod.yaml@0123456789abcdef0123456789abcdef01234567",
		"",
	} {
		if got := r.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestOverlap: if one secret starts inside another, both are masked to their ends.
func TestOverlap(t *testing.T) {
	r := &Redactor{}
	r.Add("abcdefgh", "efghijklmnop", "xxxxxxxx", "abcdefghij")
	for text, want := range map[string]string{
		"abcdefghijklmnop": Mask, "-abcdefghijklmnop-": "-" + Mask + "-", "efghijklmnop": Mask, "abcdefg": "abcdefg",
		"xxxxxxxxxxxx": Mask, "abcdefgh abcdefgh": Mask + " " + Mask, "abcdefghxxxxxxxx!": Mask + "!",
	} {
		if got := r.String(text); got != want {
			t.Errorf("%s became %s, not %s", text, got, want)
		}
	}
}

func TestError(t *testing.T) {
	r := &Redactor{}
	r.Add(token)
	cause := errors.New("dial: " + token)
	masked := r.Error(cause)
	if masked.Error() != "dial: "+Mask || errors.Is(masked, cause) {
		t.Errorf("%v", masked)
	}
	if r.Error(nil) != nil {
		t.Error("no error became one")
	}
	if (*Redactor)(nil).String(token) != token {
		t.Error("a missing redactor changes text")
	}
}

func TestConcurrent(*testing.T) {
	r := &Redactor{}
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 100 {
			r.Add(token + strings.Repeat("x", 3))
		}
	}()
	for range 100 {
		r.String("text with " + token)
	}
	<-done
}

func wrap(text string, width int, sep string) string {
	var parts []string
	for len(text) > width {
		parts, text = append(parts, text[:width]), text[width:]
	}
	return strings.Join(append(parts, text), sep)
}

func percentAll(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
	}
	return b.String()
}

func unicodeAll(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteString(`\u00` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
	}
	return b.String()
}

// FuzzString: whatever is around a secret, it is masked in plaintext and base64, and masking twice changes nothing secret.
func FuzzString(f *testing.F) {
	f.Add("before ", " after", token)
	f.Add("", "", "line one\nline two of it")
	f.Add("a: ", "%20", `quote"and\backslash`)
	f.Add("AAAA", "====", "ABCDEFGHIJ")
	f.Fuzz(func(t *testing.T, before, after, secret string) {
		value := strings.TrimSpace(secret)
		if len(value) < minLength || strings.HasPrefix(value, "-----") || strings.Contains(value, "*") { // the mask itself could complete one
			t.Skip()
		}
		r := &Redactor{}
		r.Add(secret)
		for _, text := range []string{before + value + after, before + "\n" + value + "\n" + after} {
			if got := r.String(text); strings.Contains(got, value) {
				t.Errorf("%q is left in %q", value, got)
			}
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(before + value + after))
		if got := r.String(encoded); strings.Contains(got, encoded) {
			t.Errorf("base64 is left: %q", got)
		}
	})
}
