package keys_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

func ringOf(t *testing.T, data map[string]string) *keys.Ring {
	t.Helper()
	fields := map[string][]byte{}
	for name, text := range data {
		fields[name] = []byte(text)
	}
	ring, err := keys.FromSecret("sops-keys", fields)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// finds returns the code of the finding for a file, or "" if the ring opens it.
func finds(t *testing.T, ring *keys.Ring, text string) string {
	t.Helper()
	plain, bad := unseal.NewOpener(ring).Open(t.Context(), &load.File{Path: "x", Data: text})
	if bad != nil {
		return string(bad.Code)
	}
	if value, _ := plain.Value(seal.Ref{Keys: []string{"a"}}); value != "b" {
		t.Errorf("a is %q", value)
	}
	return ""
}

func encryptFor(t *testing.T, groups ...sealtest.Recipient) string {
	t.Helper()
	return sealtest.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything, 0, groups)
}

// TestPGPFromSecret: several blocks in a field, several fields, and age keys make one ring.
func TestPGPFromSecret(t *testing.T) {
	rsa := sealtest.NewPGPKey(t, func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 2048 })
	curve, third, other := sealtest.NewPGPKey(t), sealtest.NewPGPKey(t), sealtest.NewPGPKey(t)
	ageKey := sealtest.NewKey(t)
	ring := ringOf(t, map[string]string{
		"team.asc":   "Exported today.\n" + rsa.Private() + curve.Public() + strings.ReplaceAll(curve.Private(), "\n", "\r\n"),
		"third.asc":  third.Private(),
		"age.agekey": ageKey.Private(),
		"other":      other.Private(),
	})
	for name, key := range map[string]sealtest.Recipient{"RSA": rsa, "Curve25519": curve, "third": third, "age": ageKey} {
		if code := finds(t, ring, encryptFor(t, key)); code != "" {
			t.Errorf("%s: %s", name, code)
		}
	}
	if code := finds(t, ring, encryptFor(t, other)); code != string(unseal.CodeWrongKey) {
		t.Errorf("a key of a field that is not for keys: %q", code)
	}
	if code := finds(t, ring, encryptFor(t, other, sealtest.NewKey(t), third)); code != "" {
		t.Errorf("one of three recipients: %s", code)
	}
}

// TestPGPConcurrently is for the race detector.
func TestPGPConcurrently(t *testing.T) {
	key := sealtest.NewPGPKey(t)
	ring, text := ringOf(t, map[string]string{"k.asc": key.Private()}), encryptFor(t, key)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if code := finds(t, ring, text); code != "" {
				t.Error(code)
			}
		})
	}
	group.Wait()
}

// TestPGPOutdated: a message from before its key expired or was revoked stays readable.
func TestPGPOutdated(t *testing.T) {
	for name, outdate := range map[string]func(*openpgp.Entity) error{
		"expired": func(*openpgp.Entity) error { return nil },
		"revoked subkey": func(e *openpgp.Entity) error {
			return e.RevokeSubkey(&e.Subkeys[0], packet.KeySuperseded, "", nil)
		},
		"revoked": func(e *openpgp.Entity) error { return e.RevokeKey(packet.KeyCompromised, "", nil) },
		"new subkey": func(e *openpgp.Entity) error {
			return e.AddEncryptionSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
		},
	} {
		key := sealtest.NewPGPKey(t, func(c *packet.Config) {
			if name == "expired" {
				c.KeyLifetimeSecs = 3600
			}
		})
		text := encryptFor(t, key)
		if err := outdate(key.Entity); err != nil {
			t.Fatal(err)
		}
		if code := finds(t, ringOf(t, map[string]string{"k.asc": key.Private()}), text); code != "" {
			t.Errorf("%s: %s", name, code)
		}
	}
}

// TestRotation: during a rotation the ring has both keys, and each file opens before and after its re-encryption.
func TestRotation(t *testing.T) {
	before, after := sealtest.NewPGPKey(t), sealtest.NewPGPKey(t)
	old, rotated := encryptFor(t, before), encryptFor(t, after)
	for _, row := range []struct {
		reason       string
		fields       map[string]string
		old, rotated string
	}{
		{"before", map[string]string{"a.asc": before.Private()}, "", string(unseal.CodeWrongKey)},
		{"both", map[string]string{"a.asc": before.Private(), "b.asc": after.Private()}, "", ""},
		{"after", map[string]string{"b.asc": after.Private()}, string(unseal.CodeWrongKey), ""},
	} {
		ring := ringOf(t, row.fields)
		if got := finds(t, ring, old); got != row.old {
			t.Errorf("%s: the old file: %q", row.reason, got)
		}
		if got := finds(t, ring, rotated); got != row.rotated {
			t.Errorf("%s: the rotated file: %q", row.reason, got)
		}
	}
}

// TestKeyGroups: any two of three groups recover the data key. One does not.
func TestKeyGroups(t *testing.T) {
	first, second, spare, third := sealtest.NewKey(t), sealtest.NewPGPKey(t), sealtest.NewPGPKey(t), sealtest.NewKey(t)
	text := sealtest.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything, 2, sealtest.Group{first}, sealtest.Group{second, spare}, sealtest.Group{third})
	wrong := string(unseal.CodeWrongKey)
	for _, row := range []struct {
		reason string
		given  []sealtest.Recipient
		want   string
	}{
		{"age and PGP", []sealtest.Recipient{first, second}, ""},
		{"age and the other PGP key of the group", []sealtest.Recipient{third, spare}, ""},
		{"age and age", []sealtest.Recipient{first, third}, ""},
		{"all", []sealtest.Recipient{first, second, spare, third}, ""},
		{"one age key", []sealtest.Recipient{first}, wrong},
		{"one PGP key", []sealtest.Recipient{second}, wrong},
		{"two keys of one group", []sealtest.Recipient{second, spare}, wrong},
	} {
		ring := &keys.Ring{}
		for _, key := range row.given {
			if err := ring.Add("test", key.Private()); err != nil {
				t.Fatal(err)
			}
		}
		if got := finds(t, ring, text); got != row.want {
			t.Errorf("%s: %q", row.reason, got)
		}
	}
}

// TestBadPGPKeys: the error for an unusable key names the field and the fix, and quotes nothing of the key.
func TestBadPGPKeys(t *testing.T) {
	key := sealtest.NewPGPKey(t)
	private := key.Private()
	block, err := armor.Decode(strings.NewReader(private))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := io.ReadAll(block.Body)
	if err != nil {
		t.Fatal(err)
	}
	protected := sealtest.NewPGPKey(t)
	if err := protected.Entity.EncryptPrivateKeys([]byte("passphrase"), nil); err != nil {
		t.Fatal(err)
	}
	signing := sealtest.NewPGPKey(t)
	signing.Entity.Subkeys = nil
	lines := strings.SplitAfter(private, "\n")
	cut := strings.Join(lines[:len(lines)/2], "")
	for _, row := range []struct{ reason, text, want string }{
		{"public", key.Public(), "public"},
		{"passphrase", protected.Private(), "passphrase"},
		{"one of two with a passphrase", private + protected.Private(), "passphrase"},
		{"binary", string(binary), "--armor"},
		{"empty", "", "no PGP private key"},
		{"garbage", "x", "no PGP private key"},
		{"an age identity", sealtest.NewKey(t).Private(), "no PGP private key"},
		{"a message", strings.ReplaceAll(private, "PRIVATE KEY BLOCK", "MESSAGE"), "no PGP private key"},
		{"cut short", cut, "damaged"},
		{"cut in the middle of a packet", cut + "-----END PGP PRIVATE KEY BLOCK-----\n", "damaged"},
		{"without its last line", strings.TrimSuffix(private, lines[len(lines)-2]), "damaged"},
		{"one bad of two", private + cut, "damaged"},
		{"not base64", strings.Replace(private, lines[3], "!"+lines[3][1:], 1), "damaged"},
		{"an empty block", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n-----END PGP PRIVATE KEY BLOCK-----\n", "can't decrypt"},
		{"for signing alone", signing.Private(), "can't decrypt"},
	} {
		_, err := keys.FromSecret("sops-keys", map[string][]byte{"a.agekey": []byte(sealtest.NewKey(t).Private()), "b.asc": []byte(row.text)})
		bad := (*keys.KeyError)(nil)
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", row.reason, err)
			continue
		}
		if bad.Source != "Secret sops-keys, field b.asc" || !strings.Contains(bad.Reason, row.want) || !strings.Contains(bad.Reason, "gpg --export-secret-keys --armor") {
			t.Errorf("%s: %v", row.reason, err)
		}
		for line := range strings.Lines(row.text) {
			if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
				t.Errorf("%s: the error repeats the key", row.reason)
			}
		}
	}
}

// TestAdd: the content of a file determines its type.
func TestAdd(t *testing.T) {
	ageKey, pgpKey := sealtest.NewKey(t), sealtest.NewPGPKey(t)
	for _, row := range []struct {
		reason, text string
		bad          bool
	}{
		{"age", "# a comment\n" + ageKey.Private() + "\n", false},
		{"PGP", pgpKey.Private(), false},
		{"both", ageKey.Private() + "\n" + pgpKey.Private(), true},
		{"neither", "x", true},
		{"binary", "\x95\x01", true},
	} {
		ring := &keys.Ring{}
		err := ring.Add("file", row.text)
		if errors.As(err, new(*keys.KeyError)) != row.bad || ring.Empty() != row.bad {
			t.Errorf("%s: %v", row.reason, err)
		}
	}
}

// TestPGPSecrets: the redactor learns every line of a private key, and no header.
func TestPGPSecrets(t *testing.T) {
	private := sealtest.NewPGPKey(t).Private()
	private = strings.Replace(private, "-----\n", "-----\nComment: production\n", 1)
	ring := ringOf(t, map[string]string{"k.asc": private})
	redactor := &redact.Redactor{}
	redactor.Add(ring.Secrets()...)
	for line := range strings.Lines(private) {
		line = strings.TrimSpace(line)
		public := strings.HasPrefix(line, "-----") || strings.Contains(line, ":") || len(line) < 8
		if masked := redactor.String("key: " + line); (masked == "key: "+line) != public {
			t.Errorf("%q becomes %q", line, masked)
		}
	}
	if masked := redactor.String("in production"); masked != "in production" {
		t.Errorf("a header is masked: %q", masked)
	}
}

// TestHostileMessages: only a message that was decrypted with a key of the ring returns a data key.
func TestHostileMessages(t *testing.T) {
	key := sealtest.NewPGPKey(t)
	ring := ringOf(t, map[string]string{"k.asc": key.Private()})
	message := func(write func(io.Writer) (io.WriteCloser, error)) []byte {
		var out bytes.Buffer
		w, err := armor.Encode(&out, "PGP MESSAGE", nil)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := write(w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plain.Write(make([]byte, 32)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(plain.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	to := func(w io.Writer) (io.WriteCloser, error) {
		return openpgp.Encrypt(w, []*openpgp.Entity{key.Entity}, nil, nil, nil)
	}
	good := message(to)
	changed := bytes.Clone(good)
	changed[len(changed)-60] ^= 3
	for _, row := range []struct {
		reason  string
		message []byte
		opens   bool
	}{
		{"good", good, true},
		{"changed", changed, false},
		{"cut short", good[:len(good)/2], false},
		{"empty", nil, false},
		{"garbage", []byte("x"), false},
		{"a private key", []byte(key.Private()), false},
		{"not encrypted", message(func(w io.Writer) (io.WriteCloser, error) { return packet.SerializeLiteral(nopCloser{w}, true, "", 0) }), false},
		{"by passphrase", message(func(w io.Writer) (io.WriteCloser, error) {
			return openpgp.SymmetricallyEncrypt(w, []byte("x"), nil, nil)
		}), false},
		{"huge", append(bytes.Repeat([]byte("\n"), 1<<20), good...), false},
	} {
		got, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: row.message,
			Key: &keyservice.Key{KeyType: &keyservice.Key_PgpKey{PgpKey: &keyservice.PgpKey{Fingerprint: key.Fingerprint()}}}})
		if row.opens != (err == nil) || (err != nil && !errors.Is(err, keys.ErrNoKeyFits)) {
			t.Errorf("%s: %v %v", row.reason, got, err)
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestGnuPG: keys from gpg, and a file from the sops command that asked gpg to encrypt. TestPGPFromSecret has the same
// with the library's keys and messages, for machines without gpg.
func TestGnuPG(t *testing.T) {
	t.Parallel() // it mostly waits for gpg
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Log("gpg is not on this machine")
		return
	}
	home, err := os.MkdirTemp("", "gpg") //nolint:usetesting // the agent's socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home, "SOPS_GPG_EXEC="+gpg)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
		}
		return string(out)
	}
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "gpg-agent")
		stop.Env = append(os.Environ(), "GNUPGHOME="+home)
		_ = stop.Run()
		_ = os.RemoveAll(home)
	})
	ringFor := func(id, passphrase string) (*keys.Ring, error) {
		armored := run(gpg, "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--armor", "--export-secret-keys", id)
		return keys.FromSecret("sops-gpg", map[string][]byte{"k.asc": []byte(armored)})
	}
	file := filepath.Join(t.TempDir(), "k.yaml")
	if err := os.WriteFile(file, []byte("a: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"rsa2048", "future-default"} {
		id := algorithm + "@example.com"
		run(gpg, "--batch", "--passphrase", "", "--quick-generate-key", id, algorithm, "default", "never")
		if algorithm == "rsa2048" {
			run(gpg, "--batch", "--passphrase", "", "--quick-add-key", fingerprint(run(gpg, "--with-colons", "--list-keys", id)), algorithm, "encr", "never")
		}
		recipient := fingerprint(run(gpg, "--with-colons", "--list-keys", id))
		text := run("go", "tool", "sops", "--encrypt", "--pgp", recipient, file)
		ring, err := ringFor(id, "")
		if err != nil {
			t.Fatal(err)
		}
		if code := finds(t, ring, text); code != "" {
			t.Errorf("%s: %s", algorithm, code)
		}
		if code := finds(t, ringOf(t, map[string]string{"k.asc": sealtest.NewPGPKey(t).Private()}), text); code != string(unseal.CodeWrongKey) {
			t.Errorf("%s, another key: %q", algorithm, code)
		}
	}
	run(gpg, "--batch", "--pinentry-mode", "loopback", "--passphrase", "secret", "--quick-generate-key", "p@example.com", "future-default", "default", "never")
	if _, err := ringFor("p@example.com", "secret"); !errors.As(err, new(*keys.KeyError)) || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("with a passphrase: %v", err)
	}
}

// fingerprint returns the first fingerprint in the output of gpg --with-colons.
func fingerprint(listing string) string {
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9]
		}
	}
	return ""
}
