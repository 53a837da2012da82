package receiver

import (
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	for reason, c := range map[string]Config{
		"a certificate without a key": {CertFile: "x"},
		"a key without a certificate": {KeyFile: "x"},
		"an address for a network":    {TrustedProxies: []string{"10.0.0.1"}},
		"a name for a network":        {TrustedProxies: []string{"ingress"}},
		"a negative limit":            {MaxBody: -1},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: no error", reason)
		}
	}
	for address, want := range map[string]bool{"": false, "0": false, ":9443": true} {
		c := Config{Address: address, TrustedProxies: []string{"10.0.0.0/8", "::1/128"}}
		if err := c.Validate(); err != nil || c.Enabled() != want {
			t.Errorf("%q: enabled %t, %v", address, c.Enabled(), err)
		}
	}
}

func TestSecrets(t *testing.T) {
	const good, other = "CANARY-token-5d41402abc", "CANARY-other-5d41402abc"
	for _, tt := range []struct {
		reason  string
		data    map[string]string
		want    string
		problem string
	}{
		{"one", map[string]string{"token": good}, good, ""},
		{"a line break, as --from-file leaves it", map[string]string{"token": good + "\r\n"}, good, ""},
		{"two while it is replaced", map[string]string{"token": good, "previousToken": other + "\n"}, good + " " + other, ""},
		{"an empty previous one", map[string]string{"token": good, "previousToken": "\n"}, good, ""},
		{"none", nil, "", "key token can't be used: it has 0 bytes"},
		{"another key", map[string]string{"secret": good}, "", "key token can't be used"},
		{"one that is too short", map[string]string{"token": "CANARY-short"}, "", "key token can't be used: it has 12 bytes"},
		{"a previous one that is too short", map[string]string{"token": good, "previousToken": "CANARY"}, good, "key previousToken can't be used"},
		{"only the previous one", map[string]string{"previousToken": other}, other, "key token can't be used"},
	} {
		data := map[string][]byte{}
		for key, value := range tt.data {
			data[key] = []byte(value)
		}
		secrets, problem := Secrets(data)
		var got []string
		for _, s := range secrets {
			got = append(got, string(s))
		}
		if strings.Join(got, " ") != tt.want || !strings.HasPrefix(problem, tt.problem) || (problem == "") != (tt.problem == "") || strings.Contains(problem, "CANARY") {
			t.Errorf("%s: %q, %q", tt.reason, got, problem)
		}
	}
}
