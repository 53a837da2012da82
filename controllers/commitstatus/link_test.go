package commitstatus

import (
	"strings"
	"testing"
)

// TestStatusURL is about templates for links.
func TestStatusURL(t *testing.T) {
	for template, good := range map[string]bool{
		"":                                       true,
		"https://x.example.com":                  true,
		"https://x/{namespace}/{name}#{commit}":  true,
		"http://10.0.0.1:3000/d?var-name={name}": true,
		"https://x/{cluster}":                    false,
		"https://x/{name":                        false,
		"x.example.com/{name}":                   false,
		"ftp://x/{name}":                         false,
		"https://user:CANARY@x/{name}":           false,
		"https://x/a b":                          false,
		"https://x/\x00":                         false,
		"javascript:alert(1)":                    false, // CVE-2025-47933 of Argo CD
		"https:///{name}":                        false,
	} {
		err := ValidateURL(template)
		if (err == nil) != good {
			t.Errorf("%q: %v", template, err)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}
