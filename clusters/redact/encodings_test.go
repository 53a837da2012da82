package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestEncodings: a secret is masked in each encoding, alone and inside other text, at any alignment, in any case, wrapped or
// not.
func TestEncodings(t *testing.T) {
	const short = "hunter22" // minimum length
	r := &Redactor{}
	r.Add(token, short)
	upper, lower := strings.ToUpper, strings.ToLower
	same := func(s string) string { return s }
	mixed := func(s string) string {
		var b strings.Builder
		for i, c := range s {
			if i%2 == 0 {
				b.WriteString(upper(string(c)))
			} else {
				b.WriteString(lower(string(c)))
			}
		}
		return b.String()
	}
	for name, encode := range map[string]func(string) string{
		"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64 URL": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
	} {
		cases := map[string]func(string) string{"as it is": same}
		if !strings.HasPrefix(name, "base64") {
			cases = map[string]func(string) string{"upper": upper, "lower": lower, "mixed": mixed}
		}
		for which, change := range cases {
			for _, secret := range []string{token, short} {
				for _, before := range []string{"", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"} {
					for _, after := range []string{"", "z", "zy", "zyx"} {
						text := change(encode(before + secret + after))
						for _, around := range []string{"%s", "value: %s.", "error: \"%s\" is bad", "x=%s&y=1"} {
							line := fmt.Sprintf(around, text)
							if got := r.String(line); strings.Contains(got, text) {
								t.Fatalf("%s, %s, %q before and %q after: %s", name, which, before, after, got)
							}
							if escaped := url.QueryEscape(line); strings.Contains(r.String(escaped), escaped) {
								t.Fatalf("%s, %s, escaped for a URL: %s", name, which, escaped)
							}
						}
					}
				}
			}
		}
	}
}

// TestEncodingsOfOthers: text that only looks encoded is unchanged.
func TestEncodingsOfOthers(t *testing.T) {
	r := &Redactor{}
	r.Add(token)
	for _, text := range []string{
		"main@sha1:4045ea7a3df38697b3730a20fb73c8bed8a3e69e",
		"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		"the fingerprint is 1F:0A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8",
		"kubernetes-sigs accumulating resources, unfortunately",
		hex.EncodeToString([]byte("somebody else's value")),
	} {
		if got := r.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// BenchmarkString masks a mebibyte that looks encoded throughout, the worst case.
func BenchmarkString(b *testing.B) {
	r := &Redactor{}
	r.Add(token)
	for _, unit := range []string{"ab", "AB\n", "word ", "=", `\x41`, "%41"} {
		b.Run(fmt.Sprintf("%q", unit), func(b *testing.B) {
			text := strings.Repeat(unit, 1<<20/len(unit))
			for b.Loop() {
				r.String(text)
			}
		})
	}
}
