package redact

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// TestPartsByThemselves: a library that parses a value may print one part without the text around it.
func TestPartsByThemselves(t *testing.T) {
	const part = "hunter2/hunter2"
	basic := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	inJSON := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	type object = map[string]any
	for _, row := range []struct{ name, value, part string }{
		{"the password of an address", "https://user:hunter2-hunter2@registry.example.com/x", "hunter2-hunter2"},
		{"the password of an address in a text", "url: \"https://user:hunter2-hunter2@registry.example.com/x\"\n", "hunter2-hunter2"},
		{"the password of an address, with an @", "https://user:hunter2@hunter2@registry.example.com", "hunter2@hunter2"},
		{"the password of an address, with a colon", "https://user:hunter2:hunter2@registry.example.com", "hunter2:hunter2"},
		{"the password of an address, without its escapes", "amqp://user:hunter2%2Fhunter2@mq.example.com:5671", part},
		{"the password of the second address", "https://a.example.com,https://user:hunter2-hunter2@b.example.com", "hunter2-hunter2"},
		{"a password without user", "redis://:hunter2-hunter2@redis.example.com", "hunter2-hunter2"},
		{"a token alone before a host", "https://ghp_0123456789abcdefABCDEF@github.com/x", "ghp_0123456789abcdefABCDEF"},
		{"a token in hexadecimal before a host", "https://0123456789abcdef0123456789abcdef01234567@git.example.com/x", "0123456789abcdef0123456789abcdef01234567"},
		{"the signature of an address", "https://x.example.com/c?sv=2022-11-02&sig=hunter2%2Fhunter2&sp=r", part},
		{"a token in a query", "https://x.example.com/c?a=b&access_token=hunter2/hunter2", part},
		{"auth of a registry", `{"auths":{"registry.example.com":{"auth":"` + basic("muster:hunter2/hunter2") + `"}}}`, part},
		{"auth of a registry in YAML", "auths:\n  registry.example.com:\n    auth: " + basic("muster:hunter2/hunter2") + "\n", part},
		{"a password with a colon in auth", `{"auths":{"registry.example.com":{"auth":"` + basic("muster:hunter2:hunter2") + `"}}}`, "hunter2:hunter2"},
		{"a text in JSON", `{"a":{"b":"hunter2 hunter2"}}`, "hunter2 hunter2"},
		{"an address in JSON", inJSON(object{"url": "https://user:hunter2-hunter2@x.example.com/"}), "hunter2-hunter2"},
		{"a line of a key in JSON", inJSON(object{"private_key": "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"}), "BgkqhkiG9w0B"},
	} {
		r := &Redactor{}
		r.Add(row.value)
		if got := r.String("near [" + row.part + "]"); got != "near ["+Mask+"]" {
			t.Errorf("%s: %s", row.name, got)
		}
	}
}

// TestReadableParts: text next to a secret in a value, and text that is too short or too common to be a secret, is unchanged.
func TestReadableParts(t *testing.T) {
	r := &Redactor{}
	r.Add("https://administrator:hunter2-hunter2@registry.example.com/path", "https://deployment-user@git.example.com/x", "https://user:short@other.example.com",
		"https://store.example.com/container?version=2022-11-02&sig=short&keyring=inventory",
		`{"auths":{"registry.example.com":{"username":"administrator","auth":"`+base64.StdEncoding.EncodeToString([]byte("administrator:hunter2-hunter2"))+`"}}}`,
		`{"hosts":["one.example.com","two.example.com"],"enabled":true,"empty":"","auth":"optional"}`,
		"someone@example.com", "a=b", "https://x?sig=", "=", "://@", "{", "[")
	for _, text := range []string{
		"registry.example.com", "git.example.com", "other.example.com", "one.example.com", "store.example.com", "2022-11-02",
		"administrator", "deployment-user", "short", "inventory", "true", "x: auth: is missing",
	} {
		if got := r.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestPartsAreForgotten: the parts of a value are forgotten with it.
func TestPartsAreForgotten(t *testing.T) {
	r := &Redactor{}
	r.AddFor("a", "https://user:hunter2-hunter2@host.example.com/?token=hunter2-hunter2", `{"a":"hunter2-hunter2\nhunter2-hunter2"}`)
	r.Forget("a")
	if len(r.index)+len(r.known)+len(r.owned) > 0 {
		t.Errorf("%v is left", r.known)
	}
}

// BenchmarkAdd measures adding values, most of which have no parts.
func BenchmarkAdd(b *testing.B) {
	plain := kubeconfig + strings.Repeat("# "+strings.Repeat("x", 60)+"\n", 64)
	for name, value := range map[string]string{"kubeconfig of 5 KB": plain, "address": "https://user:hunter2%2Fhunter2@registry.example.com/x?token=hunter2"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				(&Redactor{}).Add(value)
			}
		})
	}
}
