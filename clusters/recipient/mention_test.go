package recipient_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/recipient"
)

func TestMentions(t *testing.T) {
	const fp = "0123456789ABCDEF0123456789ABCDEF01234567"
	for _, test := range []struct{ reason, text, want string }{
		{"a comment at the end of the line", "- age:\n  - age1a # alice", "age1a 3 alice"},
		{"the comment line above", "- age:\n  # alice\n  - age1a\n  # ops\n  # bob\n  - age1b", "age1a 4 alice, age1b 7 bob"},
		{"the end of the line comes first", "- age:\n  # old name\n  - age1a # alice", "age1a 4 alice"},
		{"no comment", "- age:\n  - age1a", "age1a 3 "},
		{"one recipient without a list", "- age: age1a # alice", "age1a 2 alice"},
		{"a comment above a rule names no recipient", "# production\n- age: age1a", "age1a 3 "},
		{"one comment beside several recipients", "- age: age1a,age1b # team", "age1a 2 , age1b 2 "},
		{"several lines of text", "- age: >-\n    age1a,\n    age1b", "age1a 2 , age1b 2 "},
		{"a flow list, one a line", "- age: [\n    age1a, # alice\n    age1b # bob\n  ]", "age1a 3 alice, age1b 4 bob"},
		{"every kind", "- pgp:\n  - 0x" + strings.ToLower(fp) + " # alice\n  kms: arn:aws:kms:eu:1:key/k+arn:aws:iam::1:role/r # aws\n  gcp_kms: projects/p/k # gcp\n  azure_keyvault: https://v.vault.azure.net/keys/k/2 # azure\n" +
			"  hc_vault_transit_uri: https://vault.example.com:8200/v1/transit/keys/k # vault",
			"PGP " + fp + " 3 alice, AWS KMS arn:aws:kms:eu:1:key/k 4 aws, GCP KMS projects/p/k 5 gcp, Azure Key Vault https://v.vault.azure.net/keys/k 6 azure, Vault https://vault.example.com:8200/v1/transit/keys/k 7 vault"},
		{"a key group", "- key_groups:\n  - kms:\n    - arn: arn:a # alice\n    # bob\n    - arn: arn:b", "AWS KMS arn:a 4 alice, AWS KMS arn:b 6 bob"},
		{"anchors, as sops-nix has them", "- age: [*alice]\n- age: *bob\nkeys:\n- &alice age1a\n", ""},
		{"a recipient that was commented out", "- age:\n  # - age1old\n  - age1a\n  # age1old\n  - age1b", "age1a 4 , age1b 6 "},
		{"a private key in a comment", "- age:\n  - age1a # AGE-SECRET-KEY-1CANARY\n  - age1b # -----BEGIN PGP PRIVATE KEY BLOCK-----", "age1a 3 , age1b 4 "},
		{"a private key in place of a recipient", "- age:\n  - AGE-SECRET-KEY-1CANARY # alice", ""},
		{"a name that turns the text around", "- age:\n  - age1a # a\u202eecila\u2066", "age1a 3 a\ufffdecila\ufffd"},
		{"a name of any length", "- age:\n  - age1a # " + strings.Repeat("é", 100), "age1a 3 " + strings.Repeat("é", 59) + "…"},
		{"a circle", "- age: &a [*a, age1a]", "age1a 2 "},
		{"not YAML", "- [", ""},
	} {
		config := recipient.Config{Data: "creation_rules:\n" + test.text + "\n"}
		var got []string
		for _, m := range config.Mentions() {
			got = append(got, fmt.Sprintf("%s %d %s", m.Recipient, m.Line, m.Name))
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, text, test.want)
		}
	}
	nix := recipient.Config{Data: "keys:\n  # the team\n  - &alice age1a\n  - &bob age1b # Bob\ncreation_rules:\n- age: [*alice, *bob]\n"}
	if got, want := fmt.Sprint(nix.Mentions()), "[{age1a 3 alice} {age1b 4 Bob} {age1a 6 alice} {age1b 6 bob}]"; got != want {
		t.Errorf("anchors: got %s, want %s", got, want)
	}
}

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		" alice  smith ": "alice smith", "a\x1b[2J": "a\ufffd[2J", "a\u009b2J\xff": "a\ufffd2J\ufffd", "a\r\nb": "a b", "a\u2028b": "a b", "<b>*alice*</b>": "<b>*alice*</b>",
		"age-secret-key-1canary": "", "AGE-PLUGIN-YUBIKEY-1CANARY": "", "- alice": "", "formerly age1old": "", "": "",
	} {
		if got := recipient.Name(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"age1abc": "age1abc", " age1abc\n": "age1abc", "ssh-ed25519 AAAA me@home": "ssh-ed25519 AAAA",
		"0x0123 4567 89ab cdef": "PGP 0123456789ABCDEF", "PGP 0123456789ABCDEF": "PGP 0123456789ABCDEF",
		"arn:aws:kms:eu:1:key/k+arn:aws:iam::1:role/r": "AWS KMS arn:aws:kms:eu:1:key/k", "AWS KMS arn:aws:kms:eu:1:key/k": "AWS KMS arn:aws:kms:eu:1:key/k",
		"projects/p/k": "GCP KMS projects/p/k", "https://v.vault.azure.net/keys/k/2": "Azure Key Vault https://v.vault.azure.net/keys/k",
		"https://vault.example.com/v1/transit/keys/k/": "Vault https://vault.example.com/v1/transit/keys/k", "eu-de:0a1b": "HuaweiCloud KMS eu-de:0a1b",
		"alice": "", "": "", "AGE-SECRET-KEY-1CANARY": "", "age1 x": "", "https://u:p@vault.example.com/v1/transit/keys/k": "", "PGP alice": "",
	} {
		got, ok := recipient.Parse(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %t; want %q", text, got, ok, want)
		}
	}
}

func TestKind(t *testing.T) {
	for text, want := range map[string]string{
		"age1abc": "age", "age1yubikey1abc": "age", "ssh-rsa AAAA": "SSH", "PGP 0123": "PGP", "AWS KMS arn:a": "AWS KMS", "GCP KMS projects/p": "GCP KMS",
		"HuaweiCloud KMS eu:a": "HuaweiCloud KMS", "Azure Key Vault https://v.vault.azure.net/keys/k": "Azure Key Vault", "Vault http://[::1]:8200/v1/transit/keys/k": "Vault",
		"alice": "", "PGP AGE-SECRET-KEY-1CANARY": "",
	} {
		if got := recipient.Kind(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParseNames(t *testing.T) {
	const fp = "0123456789ABCDEF0123456789ABCDEF01234567"
	names, err := recipient.ParseNames([]byte("age1a: alice\n'" + fp + "': \"bob\\e[2J\"\n\"arn:aws:kms:eu:1:key/k\": prod\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"age1a": "alice", "PGP " + fp: "bob\ufffd[2J", "PGP 89ABCDEF01234567": "bob\ufffd[2J", "AWS KMS arn:aws:kms:eu:1:key/k": "prod", "age1b": ""} {
		if got := names.Of(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for reason, text := range map[string]string{
		"not UTF-8": "age1a: \xff", "not YAML": "a: [", "a list": "- age1a", "no recipient": "alice: age1a", "a private key": "AGE-SECRET-KEY-1CANARY: alice",
		"a name that is a list": "age1a: [b]", "a name that is a private key": "age1a: AGE-SECRET-KEY-1CANARY", "no name": "age1a:", "twice": "age1a: b\nage1a: c",
	} {
		if _, err := recipient.ParseNames([]byte(text)); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if _, err := recipient.ParseNames(nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}
