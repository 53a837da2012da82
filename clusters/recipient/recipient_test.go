package recipient_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/recipient"
)

// every is what the sops block of a file may be, with a recipient of each kind that sops has.
const every = `
age: [{recipient: age1abc, enc: x}]
pgp: [{fp: 0123456789ABCDEF0123456789ABCDEF01234567, enc: x}]
kms: [{arn: "arn:aws:kms:eu-central-1:123456789012:key/k", role: r, enc: x}]
gcp_kms: [{resource_id: projects/p/k, enc: x}]
hckms: [{key_id: "eu:abc", enc: x}]
azure_kv: [{vault_url: "https://v.vault.azure.net", name: k, version: "1", enc: x}]
hc_vault: [{vault_address: "https://vault.example.com:8200", engine_path: transit, key_name: k, enc: x}]
`

func TestCompare(t *testing.T) {
	const all = "age: age1abc\n  pgp: '0123 4567 89AB CDEF 0123 4567 89ab cdef 0123 4567'\n  kms: 'arn:aws:kms:eu-central-1:123456789012:key/k+arn:aws:iam::1:role/r'\n" +
		"  gcp_kms: projects/p/k\n  hckms: ['eu:abc']\n  azure_keyvault: https://v.vault.azure.net/keys/k/2\n  hc_vault_transit_uri: https://vault.example.com:8200/v1/transit/keys/k\n"
	const grouped = "key_groups: [{age: [{recipient: a}]}, {age: [{recipient: b}]}, {age: [{recipient: c}]}]\nshamir_threshold: 2\n"
	tests := []struct {
		reason, file, rule string
		want               recipient.Difference
	}{
		{"every kind, in both notations", every, all, recipient.Difference{}},
		{"every kind, in a key group", every, "key_groups:\n  - merge:\n    - age: [age1abc]\n    pgp: [0123456789ABCDEF0123456789ABCDEF01234567]\n    kms: [{arn: 'arn:aws:kms:eu-central-1:123456789012:key/k'}]\n    gcp_kms: [{resource_id: projects/p/k}]\n" +
			"    hckms: [{key_id: 'eu:abc'}]\n    azure_keyvault: [{vaultUrl: 'https://v.vault.azure.net', key: k}]\n    hc_vault: ['https://vault.example.com:8200/v1/transit/keys/k']\n", recipient.Difference{}},
		{"long key IDs of PGP", "pgp: [{fp: 0123456789ABCDEF0123456789ABCDEF01234567}]", "pgp: 89ABCDEF01234567", recipient.Difference{}},
		{"short ones prove nothing", "pgp: [{fp: 0123456789ABCDEF0123456789ABCDEF01234567}]", "pgp: '01234567'",
			recipient.Difference{Missing: []string{"PGP 01234567"}, Extra: []string{"PGP 0123456789ABCDEF0123456789ABCDEF01234567"}}},
		{"comment behind an SSH key", "age: [{recipient: ssh-ed25519 AAAA}]", "age: ssh-ed25519 AAAA me@home", recipient.Difference{}},
		{"missing", "age: [{recipient: a}]", "age: a,b", recipient.Difference{Missing: []string{"b"}}},
		{"extra", "age: [{recipient: a}, {recipient: b}]", "age: a", recipient.Difference{Extra: []string{"b"}}},
		{"twice is once", "age: [{recipient: a}, {recipient: a}]", "age: a,a", recipient.Difference{}},
		{"groups in another order", grouped, "shamir_threshold: 2\n  key_groups: [{age: [c]}, {age: [a]}, {age: [b]}]", recipient.Difference{}},
		{"groups put together", grouped, "age: a,b,c", recipient.Difference{Grouped: true}},
		{"threshold", grouped, "key_groups: [{age: [a]}, {age: [b]}, {age: [c]}]", recipient.Difference{Threshold: 2, Wanted: 3}},
		{"groups beside which nothing counts", grouped, "age: z\n  shamir_threshold: 2\n  key_groups: [{age: [a]}, {age: [b]}, {age: [c]}]", recipient.Difference{}},
	}
	for _, test := range tests {
		have, ok := recipient.OfBlock(parsed(t, test.file))
		if !ok {
			t.Fatalf("%s: the block can't be read", test.reason)
		}
		config, err := recipient.ParseConfig(".sops.yaml", []byte("creation_rules:\n- "+test.rule+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		rule, _ := config.For("a.yaml")
		if got := recipient.Compare(have, rule.Recipients); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %+v, want %+v", test.reason, got, test.want)
		}
	}
}

func parsed(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	return node.Content[0]
}

func TestRuleFor(t *testing.T) {
	config, err := recipient.ParseConfig("fleet/.sops.yaml", []byte("creation_rules:\n- path_regex: ^prod/\n  age: a\n- path_regex: \\.env$\n  age: b\n- path_regex: /fleet/\n  age: never\n- age: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	for file, line := range map[string]int{"fleet/prod/x.yaml": 2, "fleet/prod/x.env": 2, "fleet/x.env": 4, "fleet/fleet/x": 8, "fleet/x/fleet/x": 6} {
		if rule, ok := config.For(file); !ok || rule.Line != line {
			t.Errorf("%s: the rule in line %d, want %d", file, rule.Line, line)
		}
	}
	none, err := recipient.ParseConfig(".sops.yaml", []byte("creation_rules:\n- path_regex: ^x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := none.For("a.yaml"); ok {
		t.Error("a rule for a file that none is for")
	}
}

func TestBadConfig(t *testing.T) {
	for reason, text := range map[string]string{
		"no YAML": "\t", "no list": "creation_rules: x", "wrong kind": "creation_rules: [x]", "bad expression": "creation_rules: [{path_regex: '('}]",
		"names that are a mapping": "creation_rules: [{pgp: {a: b}}]", "names that are lists": "creation_rules: [{pgp: [[a]]}]",
		"too many": "creation_rules:\n" + strings.Repeat("- age: x\n", 501), "a circle": "creation_rules: &a [*a]",
		"long patterns": "creation_rules:\n" + strings.Repeat("- path_regex: "+strings.Repeat("x*", 500)+"\n", 5), "too many recipients": "creation_rules:\n- age: " + ages(1001) + "\n",
		"too many recipients in groups": "creation_rules:\n- key_groups:\n  - age: [" + ages(600) + "]\n  - pgp: [" + ages(600) + "]\n",
	} {
		_, err := recipient.ParseConfig(".sops.yaml", []byte(text))
		if bad := (*recipient.ConfigError)(nil); !errors.As(err, &bad) || bad.Line < 1 {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// ages are so many names of recipients.
func ages(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("age", i)
	}
	return strings.Join(list, ",")
}

// TestLargeConfig: what is more than any repository has is within the bounds.
func TestLargeConfig(t *testing.T) {
	text := "creation_rules:\n" + strings.Repeat("- path_regex: ^clusters/[^/]+/prod/\n  age: x\n", 150) + "- age: " + ages(1000) + "\n"
	if _, err := recipient.ParseConfig(".sops.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestOtherFormats(t *testing.T) {
	for format, text := range map[string]string{
		"JSON":       `{"data": "ENC[]", "sops": {"age": [{"recipient": "age1a"}], "pgp": null, "shamir_threshold": 2}}`,
		"YAML":       "data: ENC[]\nsops:\n  age: [{recipient: age1a}]\n  shamir_threshold: 2\n",
		"env":        "A=ENC[]\nsops_age__list_0__map_enc=x\nsops_age__list_0__map_recipient=age1a\nsops_shamir_threshold=2\n",
		"env, group": "A=ENC[]\nsops_key_groups__list_0__map_age__list_0__map_recipient=age1a\nsops_shamir_threshold=2\n",
		"ini":        "[x]\na = ENC[]\n[sops]\nage__list_0__map_recipient = age1a\nshamir_threshold = 2\n",
	} {
		r, ok := recipient.OfFile([]byte(text))
		if !ok || r.Threshold != 2 || len(r.Groups) != 1 || !slices.Equal(r.Groups[0], recipient.Group{"age1a"}) {
			t.Errorf("%s: %+v, %t", format, r, ok)
		}
	}
	if _, ok := recipient.OfFile([]byte("plain text")); ok {
		t.Error("recipients of a file that has none")
	}
}

// TestShow: what is printed can't be a key that somebody has put in the wrong place, nor move a terminal's cursor.
func TestShow(t *testing.T) {
	for text, want := range map[string]string{
		"age1abc":                                 "age1abc",
		"PGP 0123":                                "PGP 0123",
		"AGE-SECRET-KEY-1CANARY":                  "an unreadable recipient",
		"canary":                                  "an unreadable recipient",
		"Vault https://u:canary@v.example.com":    "an unreadable recipient (Vault)",
		"age1\x1b[2J":                             "an unreadable recipient (age1)",
		"PGP AGE-SECRET-KEY-1CANARY":              "an unreadable recipient (PGP)",
		"PGP -----BEGINPGPPRIVATEKEYBLOCK-----":   "an unreadable recipient (PGP)",
		"AWS KMS AGE-SECRET-KEY-1CANARY":          "an unreadable recipient (AWS KMS)",
		"GCP KMS canary":                          "an unreadable recipient (GCP KMS)",
		"HuaweiCloud KMS canary":                  "an unreadable recipient (HuaweiCloud KMS)",
		"Azure Key Vault https://v/keys/k canary": "an unreadable recipient (Azure Key Vault)",
		"Vault AGE-SECRET-KEY-1CANARY":            "an unreadable recipient (Vault)",
		"ssh-ed25519 canary":                      "an unreadable recipient (ssh-)",
		"age1" + strings.Repeat("x", 100):         "age1" + strings.Repeat("x", 68) + "…",
	} {
		if got := recipient.Show(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// FuzzRecipients holds that no text makes the readers panic.
func FuzzRecipients(f *testing.F) {
	f.Add("creation_rules: [{age: a, key_groups: [{merge: [{pgp: [b]}]}]}]")
	f.Add(every)
	f.Add("sops_key_groups__list_0__map_age__list_0__map_recipient=x")
	f.Fuzz(func(t *testing.T, text string) {
		if config, err := recipient.ParseConfig(".sops.yaml", []byte(text)); err == nil {
			config.For("a/b.yaml")
			for _, m := range config.Mentions() {
				if recipient.Kind(m.Recipient) == "" {
					t.Errorf("%q is mentioned, and not readable", m.Recipient)
				}
			}
		}
		_, _ = recipient.ParseNames([]byte(text)) // it must not panic
		if r, ok := recipient.OfFile([]byte(text)); ok && r.Empty() {
			t.Error("no recipients, and found")
		}
	})
}
