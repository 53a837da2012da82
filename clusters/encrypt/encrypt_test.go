package encrypt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3/decrypt"

	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/keys"
)

const (
	canary = "canary-token-4711"
	plain  = `# a comment
apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: eu
spec:
  serviceAccountAuth:
    server: https://eu.example.com
    token: ` + canary + `
  schedule: H * * * *
`
	regex = "    encrypted_regex: ^(token|server)$\n    mac_only_encrypted: true\n"
)

var token = [][]string{{"spec", "serviceAccountAuth", "token"}}

func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func newIdentity(t *testing.T) *age.X25519Identity {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// sops opens what Encrypt writes, and the readable rest keeps its form.
func TestSopsReadsIt(t *testing.T) {
	identity := newIdentity(t)
	root := repository(t, map[string]string{
		".sops.yaml":          "creation_rules:\n  - path_regex: ^other/\n    age: " + newIdentity(t).Recipient().String() + "\n  - age: " + newIdentity(t).Recipient().String() + "\n" + regex,
		"clusters/.sops.yaml": "creation_rules:\n  - path_regex: ^prod/.*\\.yaml$\n    age: " + identity.Recipient().String() + "\n" + regex + "stores:\n  yaml:\n    indent: 2\n",
	})
	rule, err := encrypt.RuleFor(root, "clusters/prod/eu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rule.Config != "clusters/.sops.yaml" || rule.Line != 2 {
		t.Errorf("the rule is %s:%d", rule.Config, rule.Line)
	}
	sealed, err := rule.Encrypt([]byte(plain), token, &keys.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), canary) || strings.Contains(string(sealed), "eu.example.com") {
		t.Errorf("the token or its server is readable:\n%s", sealed)
	}
	if !strings.HasPrefix(string(sealed), "# a comment\napiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: eu\n") ||
		!strings.Contains(string(sealed), "\n  schedule: H * * * *\n") {
		t.Errorf("the readable part changed:\n%s", sealed)
	}
	t.Setenv("SOPS_AGE_KEY", identity.String())
	opened, err := decrypt.Data(sealed, "yaml")
	if err != nil || flat(string(opened)) != flat(plain) {
		t.Errorf("sops decrypts to:\n%s\n%v", opened, err)
	}
}

func TestPGP(t *testing.T) {
	entity, err := openpgp.NewEntity("fleet", "", "fleet@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := strings.ToUpper(hexOf(entity.PrimaryKey.Fingerprint))
	root := repository(t, map[string]string{".sops.yaml": "creation_rules:\n  - pgp: " + fingerprint + "\n" + regex})
	rule, err := encrypt.RuleFor(root, "eu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rule.Encrypt([]byte(plain), token, &keys.Ring{}); err == nil || !strings.Contains(err.Error(), "the public key is missing") {
		t.Errorf("without the public key: %v", err)
	}
	ring := &keys.Ring{}
	if err := ring.AddPublicPGP("test", armored(t, openpgp.PublicKeyType, func(w *armorWriter) error { return entity.Serialize(w) })); err != nil {
		t.Fatal(err)
	}
	sealed, err := rule.Encrypt([]byte(plain), token, ring)
	if err != nil {
		t.Fatal(err)
	}
	opener := &keys.Ring{}
	if err := opener.AddPGP("test", armored(t, openpgp.PrivateKeyType, func(w *armorWriter) error { return entity.SerializePrivate(w, nil) })); err != nil {
		t.Fatal(err)
	}
	if text := open(t, sealed, opener); flat(text) != flat(plain) {
		t.Errorf("opened to:\n%s", text)
	}
}

func TestRuleErrors(t *testing.T) {
	recipient := newIdentity(t).Recipient().String()
	secret := newIdentity(t).String()
	tests := []struct {
		reason string
		config string
		want   string
	}{
		{"no file", "", "encrypt a/eu.yaml: the repository has no .sops.yaml for it; muster init writes one"},
		{"not YAML", "{", "encrypt a/eu.yaml by .sops.yaml:1: it is not YAML, or creation_rules is not a list; correct it"},
		{"no rules", "stores: {}\n", "encrypt a/eu.yaml by .sops.yaml: no creation rule has a path_regex that matches the file; add a rule for it"},
		{"no match", "creation_rules:\n  - path_regex: ^b/\n    age: " + recipient, "encrypt a/eu.yaml by .sops.yaml: no creation rule has a path_regex that matches the file; add a rule for it"},
		{"no recipients", "creation_rules:\n  - encrypted_regex: x\n", "encrypt a/eu.yaml by .sops.yaml:2: the creation rule has no recipients; add an age recipient, a PGP fingerprint, or a key of a key service"},
		{"a private key as recipient", "creation_rules:\n  - age: " + secret, "sops rejects the creation rule; check its recipients; sops encrypt FILE prints the cause"},
		{"two kinds of rules", "creation_rules:\n  - age: " + recipient + "\n    encrypted_regex: x\n    unencrypted_regex: y\n", "sops rejects the creation rule"},
		{"the token stays readable", "creation_rules:\n  - age: " + recipient + "\n    encrypted_regex: ^server$\n",
			"encrypt a/eu.yaml by .sops.yaml:2: spec.serviceAccountAuth.token would stay readable; add token to encrypted_regex of the rule"},
		{"an age plugin", "creation_rules:\n  - age: age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t\n" + regex,
			"it needs an age plugin, and Muster starts no program; encrypt the file with sops"},
		{"a key service", "creation_rules:\n  - hc_vault_transit_uri: https://vault.invalid:8200/v1/transit/keys/sops\n" + regex,
			"recipient Vault https://vault.invalid:8200/v1/transit/keys/sops: it is a key of a key service, which is not asked without permission; use --remote-keys"},
		{"huge", "# " + strings.Repeat("x", 256<<10), "it is larger than 256 KiB; remove rules"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			files := map[string]string{"README": ""}
			if test.config != "" {
				files[".sops.yaml"] = test.config
			}
			rule, err := encrypt.RuleFor(repository(t, files), "a/eu.yaml")
			if err == nil {
				_, err = rule.Encrypt([]byte(plain), token, &keys.Ring{})
			}
			if _, ok := errors.AsType[*encrypt.RuleError](err); !ok {
				t.Fatalf("got %v, which is no *RuleError", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), canary) {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

// A .sops.yaml outside of the repository is not used: Muster would not find it in Git.
func TestNotOutside(t *testing.T) {
	root := repository(t, map[string]string{".sops.yaml": "creation_rules:\n  - age: " + newIdentity(t).Recipient().String(), "inside/README": ""})
	if _, err := encrypt.RuleFor(filepath.Join(root, "inside"), "eu.yaml"); err == nil || !strings.Contains(err.Error(), "has no .sops.yaml") {
		t.Errorf("got %v", err)
	}
	if err := os.Symlink("../.sops.yaml", filepath.Join(root, "inside", ".sops.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := encrypt.RuleFor(filepath.Join(root, "inside"), "eu.yaml"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("through a link: %v", err)
	}
}

func TestNotTwice(t *testing.T) {
	root := repository(t, map[string]string{".sops.yaml": "creation_rules:\n  - age: " + newIdentity(t).Recipient().String() + "\n" + regex})
	rule, err := encrypt.RuleFor(root, "eu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := rule.Encrypt([]byte(plain), token, &keys.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	for reason, text := range map[string]string{"encrypted already": string(sealed), "empty": "", "not YAML": "a: b: c " + canary} {
		if _, err := rule.Encrypt([]byte(text), nil, &keys.Ring{}); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

type armorWriter = struct{ *strings.Builder }

func armored(t *testing.T, kind string, write func(*armorWriter) error) string {
	t.Helper()
	var body, out strings.Builder
	if err := write(&armorWriter{&body}); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body.String())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestLaterDocument: the secret of a later document must not stay readable either.
func TestLaterDocument(t *testing.T) {
	root := repository(t, map[string]string{".sops.yaml": "creation_rules:\n  - age: " + newIdentity(t).Recipient().String() + "\n    encrypted_regex: ^server$\n"})
	rule, err := encrypt.RuleFor(root, "eu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rule.Encrypt([]byte("a: b\n---\n"+plain), token, &keys.Ring{}); err == nil || !strings.Contains(err.Error(), "token would stay readable") {
		t.Errorf("got %v", err)
	}
}
