package encrypt_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/getsops/sops/v3/cmd/sops/subcommand/updatekeys"
	"github.com/getsops/sops/v3/decrypt"
	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

func loaded(t *testing.T, name, text string) *load.File {
	t.Helper()
	tree, err := load.Load(t.Context(), fstest.MapFS{name: {Data: []byte(text)}}, ".", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, problem := tree.Read(name)
	if problem != nil {
		t.Fatal(problem)
	}
	return f
}

func opened(t *testing.T, name, text, settings string, opener *unseal.Opener) *encrypt.File {
	t.Helper()
	file, failure := encrypt.Open(t.Context(), loaded(t, name, text), []byte(settings), opener)
	if failure != nil {
		t.Fatal(failure)
	}
	return file
}

// sopsOpens decrypts with the sops library, which verifies the MAC.
func sopsOpens(t *testing.T, key *sealtest.Key, format string, sealed []byte) string {
	t.Helper()
	t.Setenv("SOPS_AGE_KEY", key.Private())
	text, err := decrypt.Data(sealed, format)
	if err != nil {
		t.Fatalf("sops can't open it: %v\n%s", err, sealed)
	}
	return string(text)
}

var ciphertext = regexp.MustCompile(`ENC\[AES256_GCM,data:[^\]]*`)

// values are the ciphertexts of a file, without the MAC.
func values(text string) []string {
	list := ciphertext.FindAllString(text, -1)
	return list[:len(list)-1]
}

const (
	twoDocuments = "# the first\na:\n    token: " + canary + "\n    server: https://a\n---\n# the second\nb:\n    token: other-" + canary + "\n"
	asJSON       = "{\n\t\"token\": \"" + canary + "\",\n\t\"schedule\": \"1\"\n}"
)

func TestEdit(t *testing.T) {
	key := sealtest.NewKey(t)
	tests := []struct {
		reason, name, format, plain, settings string
		rule                                  sealtest.Rule
		from, to                              string
		// kept is how many values keep their ciphertext.
		kept int
	}{
		{"a readable value", "a.yaml", "yaml", plain, "", sealtest.Recommended, "H * * * *", "5 * * * *", 2},
		{"an encrypted value", "a.yaml", "yaml", plain, "", sealtest.Recommended, canary, "new-" + canary, 1},
		{"with a MAC over everything", "a.yaml", "yaml", plain, "", sealtest.Credentials, "H * * * *", "5 * * * *", 1},
		{"with everything encrypted", "a.yaml", "yaml", plain, "", sealtest.Everything, "https://eu", "https://us", 6},
		{"a new comment", "a.yaml", "yaml", plain, "", sealtest.Recommended, "# a comment", "# a comment\n# another", 2},
		{"two documents", "a.yaml", "yaml", twoDocuments, "", sealtest.Recommended, "other-", "changed-", 2},
		{"JSON", "a.json", "json", asJSON, "", sealtest.Credentials, canary, "new-" + canary, 0},
		{"a file of any kind", "eu.kubeconfig", "binary", "users: [{token: " + canary + "}]\n", "", sealtest.Everything, canary, "new-" + canary, 0},
		{"indented by two", "a.yaml", "yaml", plain, "stores: {yaml: {indent: 2}}", sealtest.Recommended, "H * * * *", "5 * * * *", 2},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			sealed := key.Encrypt(t, test.name, test.plain, test.rule)
			file := opened(t, test.name, sealed, test.settings, key.Opener(t))
			text := string(file.Plain())
			want := strings.Replace(text, test.from, test.to, 1)
			if want == text {
				t.Fatalf("%q is not in:\n%s", test.from, text)
			}
			after, err := file.Edit([]byte(want))
			if err != nil {
				t.Fatal(err)
			}
			if got := sopsOpens(t, key, test.format, after); flat(got) != flat(want) {
				t.Errorf("sops opens it to:\n%s\nwant:\n%s", got, want)
			}
			if again := opened(t, test.name, string(after), test.settings, key.Opener(t)); string(again.Plain()) != want {
				t.Errorf("it opens to:\n%s\nwant:\n%s", again.Plain(), want)
			}
			kept := 0
			before := values(sealed)
			for i, value := range values(string(after)) {
				if value == before[i] {
					kept++
				}
			}
			if kept != test.kept {
				t.Errorf("%d values keep their ciphertext, want %d:\n%s\n%s", kept, test.kept, sealed, after)
			}
			if strings.Contains(string(after), canary) {
				t.Errorf("the secret is readable:\n%s", after)
			}
			if indented := strings.Contains(string(after), "\n  name: eu"); test.settings != "" && !indented {
				t.Errorf("the indentation of .sops.yaml is ignored:\n%s", after)
			}
		})
	}
}

func TestEditRejects(t *testing.T) {
	key := sealtest.NewKey(t)
	sealed := key.Encrypt(t, "a.yaml", plain, sealtest.Recommended)
	file := opened(t, "a.yaml", sealed, "", key.Opener(t))
	same, err := file.Edit(file.Plain())
	if err != nil || string(same) != sealed {
		t.Errorf("an unchanged file changes: %v\n%s", err, same)
	}
	if _, err := file.Edit([]byte("sops: " + canary + "\n")); err == nil || !strings.Contains(err.Error(), "it has a field sops") {
		t.Errorf("a field sops: %v", err)
	}
	for reason, text := range map[string]string{"empty": "", "only a comment": "# " + canary + "\n", "no YAML": "a: b: " + canary, "a list": "- " + canary,
		"a field sops": "sops: " + canary + "\n", "a key of another type": "? [a]\n: " + canary + "\n"} {
		sealed, err := file.Edit([]byte(text))
		if _, ok := errors.AsType[*encrypt.FileError](err); !ok || sealed != nil {
			t.Errorf("%s: %v\n%s", reason, err, sealed)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error has a secret: %v", reason, err)
		}
	}
}

func TestOpenVerifies(t *testing.T) {
	key, other := sealtest.NewKey(t), sealtest.NewKey(t)
	sealed := key.Encrypt(t, "a.yaml", plain, sealtest.Credentials)
	tests := []struct {
		reason, text, settings string
		opener                 *unseal.Opener
		want                   finding.Code
	}{
		{"another key", sealed, "", other.Opener(t), unseal.CodeWrongKey},
		{"no key", sealed, "", unseal.NewOpener(), unseal.CodeNoKey},
		{"the MAC is broken", strings.Replace(sealed, "H * * * *", "1 * * * *", 1), "", key.Opener(t), seal.CodeTampered},
		{"a value is cut off", strings.Replace(sealed, "GCM,data:", "GCM,data:AAAA", 1), "", key.Opener(t), unseal.CodeValue},
		{"plain text", plain, "", key.Opener(t), seal.CodeSopsBlock},
		{"indented by a million", sealed, "stores: {yaml: {indent: 1000000}}", key.Opener(t), seal.CodeSopsBlock},
	}
	for _, test := range tests {
		file, failure := encrypt.Open(t.Context(), loaded(t, "a.yaml", test.text), []byte(test.settings), test.opener)
		if failure == nil || failure.Code != test.want || file != nil {
			t.Errorf("%s: %v, want %s", test.reason, failure, test.want)
		}
	}
}

// Recipients does what the sops library's updatekeys does.
func TestRecipientsAsSops(t *testing.T) {
	key, colleague, left := sealtest.NewKey(t), sealtest.NewKey(t), sealtest.NewKey(t)
	for name, text := range map[string]string{"a.yaml": plain, "two.yaml": twoDocuments, "a.json": asJSON, "eu.kubeconfig": "token: " + canary} {
		t.Run(name, func(t *testing.T) {
			sealed := sealtest.Encrypt(t, name, text, sealtest.Everything, 0, sealtest.Group{key, left})
			root := repository(t, map[string]string{name: sealed,
				".sops.yaml": "creation_rules:\n  - age: " + key.Public() + "," + colleague.Public() + "\n"})
			rule, err := encrypt.RuleFor(root, name)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := opened(t, name, sealed, "", key.Opener(t)).Recipients(rule, ring(t, key))
			if err != nil {
				t.Fatal(err)
			}
			err = updatekeys.UpdateKeys(updatekeys.Opts{InputPath: filepath.Join(root, name), ConfigPath: filepath.Join(root, ".sops.yaml"),
				KeyServices: []keyservice.KeyServiceClient{ring(t, key)}})
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if withoutKeys(string(ours)) != withoutKeys(string(theirs)) {
				t.Errorf("ours:\n%s\ntheirs:\n%s", ours, theirs)
			}
			if got := ciphertext.FindAllString(string(ours), -1); strings.Join(got, "") != strings.Join(ciphertext.FindAllString(sealed, -1), "") {
				t.Error("a value or the MAC was encrypted again")
			}
			for _, can := range []*sealtest.Key{key, colleague} {
				if again := opened(t, name, string(ours), "", can.Opener(t)); flat(strings.TrimSpace(string(again.Plain()))) != flat(strings.TrimSpace(text)) {
					t.Errorf("opens to:\n%s", again.Plain())
				}
			}
			if _, failure := encrypt.Open(t.Context(), loaded(t, name, string(ours)), nil, left.Opener(t)); failure == nil {
				t.Error("the removed key still opens it")
			}
		})
	}
}

// withoutKeys drops the encrypted data keys, which are different each time.
func withoutKeys(text string) string {
	return regexp.MustCompile(`(?s)-----BEGIN AGE ENCRYPTED FILE-----.*?-----END AGE ENCRYPTED FILE-----`).ReplaceAllString(text, "KEY")
}

func ring(t *testing.T, key *sealtest.Key) *keys.Ring {
	t.Helper()
	r := &keys.Ring{}
	if err := r.Add("test", key.Private()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRotate(t *testing.T) {
	key, left := sealtest.NewKey(t), sealtest.NewKey(t)
	for name, text := range map[string]string{"a.yaml": plain, "two.yaml": twoDocuments, "a.json": asJSON, "eu.kubeconfig": "token: " + canary} {
		sealed := sealtest.Encrypt(t, name, text, sealtest.Everything, 0, sealtest.Group{key, left})
		rule, err := encrypt.RuleFor(repository(t, map[string]string{".sops.yaml": "creation_rules:\n  - age: " + key.Public() + "\n"}), name)
		if err != nil {
			t.Fatal(err)
		}
		file := opened(t, name, sealed, "", left.Opener(t))
		after, err := file.Rotate(rule, &keys.Ring{})
		if err != nil {
			t.Fatal(err)
		}
		format := map[string]string{".json": "json", ".yaml": "yaml"}[filepath.Ext(name)]
		if format == "" {
			format = "binary"
		}
		if got := sopsOpens(t, key, format, after); flat(got) != flat(string(file.Plain())) {
			t.Errorf("%s: sops opens it to:\n%s", name, got)
		}
		for i, value := range values(sealed) {
			if value == values(string(after))[i] {
				t.Errorf("%s: a value keeps its ciphertext, so the data key is the same", name)
			}
		}
		if r, _ := recipient.OfFile(after); len(r.Groups) != 1 || len(r.Groups[0]) != 1 || r.Groups[0][0] != key.Public() {
			t.Errorf("%s: recipients are %v", name, r)
		}
	}
}

// A threshold of the rule counts, and two of three groups are then enough. sops updatekeys keeps the file's threshold instead.
func TestRecipientsInGroups(t *testing.T) {
	key, other, third := sealtest.NewKey(t), sealtest.NewKey(t), sealtest.NewKey(t)
	config := "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - age: [" + key.Public() + "]\n      - age: [" + other.Public() + "]\n      - age: [" + third.Public() + "]\n"
	rule, err := encrypt.RuleFor(repository(t, map[string]string{".sops.yaml": config}), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	after, err := opened(t, "a.yaml", key.Encrypt(t, "a.yaml", plain, sealtest.Recommended), "", key.Opener(t)).Recipients(rule, &keys.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	if _, failure := encrypt.Open(t.Context(), loaded(t, "a.yaml", string(after)), nil, key.Opener(t)); failure == nil {
		t.Error("one of three groups opens it")
	}
	opened(t, "a.yaml", string(after), "", sealtest.Opener(t, key, other))
}

func TestRecipientsFail(t *testing.T) {
	key := sealtest.NewKey(t)
	config := "creation_rules:\n  - pgp: 0123456789ABCDEF0123456789ABCDEF01234567\n"
	rule, err := encrypt.RuleFor(repository(t, map[string]string{".sops.yaml": config}), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := opened(t, "a.yaml", key.Encrypt(t, "a.yaml", plain, sealtest.Recommended), "", key.Opener(t))
	for reason, change := range map[string]func(*encrypt.Rule, *keys.Ring) ([]byte, error){"recipients": file.Recipients, "data key": file.Rotate} {
		if _, err := change(rule, &keys.Ring{}); err == nil || !strings.Contains(err.Error(), "the public key is missing") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestReadable(t *testing.T) {
	key := sealtest.NewKey(t)
	schedule, token := []string{"spec", "schedule"}, []string{"spec", "serviceAccountAuth", "token"}
	recommended := key.Encrypt(t, "a.yaml", plain, sealtest.Recommended)
	tests := []struct {
		reason, text string
		fields       [][]string
		want         bool
	}{
		{"a readable field", recommended, [][]string{schedule}, true},
		{"an encrypted field", recommended, [][]string{token}, false},
		{"both", recommended, [][]string{schedule, token}, false},
		{"a field below an encrypted one", recommended, [][]string{{"spec", "data", "x"}}, false},
		{"the MAC covers readable values", key.Encrypt(t, "a.yaml", plain, sealtest.Credentials), [][]string{schedule}, false},
		{"everything is encrypted", key.Encrypt(t, "a.yaml", plain, sealtest.Rule{MACOnlyEncrypted: true}), [][]string{schedule}, false},
	}
	for _, test := range tests {
		if got := encrypt.Readable(loaded(t, "a.yaml", test.text), test.fields...); got != test.want {
			t.Errorf("%s: %t", test.reason, got)
		}
	}
	if after := strings.Replace(recommended, "H * * * *", "1 * * * *", 1); !encrypt.SameSealed([]byte(recommended), []byte(after)) {
		t.Error("a readable value counts")
	}
	if after := ciphertext.ReplaceAllString(recommended, "ENC[AES256_GCM,data:x"); encrypt.SameSealed([]byte(recommended), []byte(after)) {
		t.Error("an encrypted value does not count")
	}
}
