package seal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/config"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// sopsDecrypt does the same as the command "sops decrypt": the formats come from sops' own packages, by file name and
// configuration.
func sopsDecrypt(t *testing.T, key *sealtest.Key, name, settings, text string) ([]byte, error) {
	t.Helper()
	stores := config.NewStoresConfig()
	if settings != "" {
		file := filepath.Join(t.TempDir(), ".sops.yaml")
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if stores, err = config.LoadStoresConfig(file); err != nil {
			t.Fatal(err)
		}
	}
	st := common.DefaultStoreForPath(stores, name)
	tree, err := st.LoadEncryptedFile([]byte(text))
	if err != nil {
		return nil, err
	}
	master, ok := tree.Metadata.KeyGroups[0][0].(*sopsage.MasterKey)
	if !ok {
		t.Fatalf("%s is not encrypted for an age key", name)
	}
	identities := sopsage.ParsedIdentities{}
	if err := identities.Import(key.Private()); err != nil {
		t.Fatal(err)
	}
	identities.ApplyToMasterKey(master)
	dataKey, err := master.Decrypt()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Decrypt(dataKey, aes.NewCipher()); err != nil {
		t.Fatal(err)
	}
	return st.EmitPlainFile(tree.Branches)
}

// checkOutput compares Output with sops.
func checkOutput(t *testing.T, key *sealtest.Key, name, settings, text string) {
	t.Helper()
	want, err := sopsDecrypt(t, key, name, settings, text)
	if err != nil {
		t.Fatalf("%s: sops: %v", name, err)
	}
	plain, bad := key.Opener(t).Open(t.Context(), &load.File{Path: "f/" + name, Data: text})
	if bad != nil {
		t.Fatalf("%s: %s", name, bad)
	}
	got, err := plain.Output([]byte(settings))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s with %q: %v\n%s\nwant\n%s", name, settings, err, got, want)
	}
}

func TestOutput(t *testing.T) {
	key := sealtest.NewKey(t)
	for _, row := range []struct{ name, plain, settings string }{
		{"a.json", `{"b": {"c": [1, "x", {"d": null}]}, "a": "<&>é"}`, ""},
		{"a.json", `{"b": {"c": [1, 2]}}`, "stores: {json: {indent: 2}}\n"},
		{"a.json", `{"b": {"c": [1, 2]}}`, "stores: {json: {indent: 0}}\n"},
		{"only-data.json", `{"data": "hello"}`, ""},
		{"data-object.json", `{"data": {"a": "b"}}`, ""},
		{"data-list.json", `{"data": ["a", 1]}`, "stores: {yaml: {indent: 2}}\n"},
		{"data-number.json", `{"data": 5}`, ""},
		{"big.json", `{"a": 9007199254740993, "b": 1.10}`, ""},
		{"a.yaml", "a:\n  b:\n  - c\n  - d: e\n", ""},
		{"a.yaml", "a:\n  b:\n  - c\n", "stores: {yaml: {indent: 2}}\n"},
		{"two.yml", "a: b\n---\n# nothing\n---\nc: d\n", "stores:\n  yaml:\n    indent: 3\n"},
		{"a.env", "A=b\nC=d e\n# note\n", ""},
		{"a.ini", "[s]\na = b\n", ""},
		{"binary", "\x00\xff\nany", ""},
		{".dockerconfigjson", `{"auths": {}}`, "stores: {json_binary: {indent: 4}}\n"},
		{"settings that say nothing of stores.json", `{"a": "b"}`, "creation_rules: []\n"},
	} {
		checkOutput(t, key, row.name, row.settings, key.Encrypt(t, row.name, row.plain, sealtest.Everything))
	}
}

// TestOutputOfRandomFiles: whatever sops can encrypt is written like sops writes it.
func TestOutputOfRandomFiles(t *testing.T) {
	key := sealtest.NewKey(t)
	random := rand.New(rand.NewPCG(1, 2))
	scalars := []string{`"x"`, `"0123"`, `"a\nb"`, `"<&>"`, `""`, `null`, `true`, `12`, `-0.5`, `1.10`, `"é\u0001"`, `"ENC[x"`, `{}`, `[]`}
	var value func(depth int) string
	value = func(depth int) string {
		switch n := random.IntN(6); {
		case depth > 0 && n == 0:
			return "[" + value(depth-1) + ", " + value(depth-1) + "]"
		case depth > 0 && n < 3:
			return fmt.Sprintf(`{"data": %s, "k%d": %s}`, value(depth-1), random.IntN(9), value(depth-1))
		}
		return scalars[random.IntN(len(scalars))]
	}
	settings := []string{"", "stores: {json: {indent: 2}, yaml: {indent: 2}}\n", "stores: {json: {indent: 4}, yaml: {indent: 7}}\n"}
	for range 100 {
		text := fmt.Sprintf(`{"data": %s}`, value(2))
		if random.IntN(2) == 0 {
			text = fmt.Sprintf(`{"a": %s, "data": %s}`, value(2), value(3))
		}
		for _, name := range []string{"a.json", "b.yaml", "c"} { // JSON is YAML, too
			checkOutput(t, key, name, settings[random.IntN(len(settings))], key.Encrypt(t, name, text, sealtest.Everything))
		}
	}
}

// TestOutputInAnotherFormat: what sops can't write in the format of the name is written in that of the content. An indent that
// would fill the memory is refused.
func TestOutputInAnotherFormat(t *testing.T) {
	key := sealtest.NewKey(t)
	open := func(name, text string) *seal.Plain {
		plain, bad := key.Opener(t).Open(t.Context(), &load.File{Path: name, Data: text})
		if bad != nil {
			t.Fatal(bad)
		}
		return plain
	}
	for _, row := range []struct{ name, as, plain, want string }{
		{"kubeconfig", "x.yaml", "a: b\n", "a: b\n"},
		{".dockerconfigjson", "x.json", `{"auths": {}}`, "{\n\t\"auths\": {}\n}\n"},
		{"config", "x.json", `{"data": {"a": 1}}`, "{\n\t\"data\": {\n\t\t\"a\": 1\n\t}\n}\n"},
	} {
		plain := open(row.name, key.Encrypt(t, row.as, row.plain, sealtest.Everything))
		if got, err := plain.Output(nil); err != nil || string(got) != row.want {
			t.Errorf("%s: %q %v", row.name, got, err)
		}
		if got, err := plain.Bytes(); err != nil || string(got) != row.want {
			t.Errorf("%s as a whole: %q %v", row.name, got, err)
		}
	}
	text := key.Encrypt(t, "x.json", `{"a": {"b": 1}}`, sealtest.Everything)
	for _, indent := range []string{"1000000000", "-7"} {
		if _, err := open("x.json", text).Output([]byte("stores: {json: {indent: " + indent + "}}")); err == nil {
			t.Errorf("an indent of %s is taken", indent)
		}
	}
}

// TestDocumentsWithoutContent: sops adds its block to documents that are empty or only have comments. They have no objects.
func TestDocumentsWithoutContent(t *testing.T) {
	key := sealtest.NewKey(t)
	document := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  a: first-secret\n"
	for _, plain := range []string{document + "---\n", document + "---\n# first-comment\n", "# first-comment\n---\n" + document, "---\n# first-comment\n---\n" + document, document + "---\n\n---\n" + strings.NewReplacer("first", "second", "name: s", "name: t").Replace(document) + "---\n# end\n---\n"} {
		text := key.Encrypt(t, "s.yaml", plain, sealtest.Credentials)
		tree := load1(t, map[string]string{"f/s.yaml": text})
		if len(tree.Findings) > 0 {
			t.Errorf("%q: %s", plain, tree.Findings[0])
			continue
		}
		file := tree.Files["f/s.yaml"]
		sealed := seal.NewSealer().Seal(tree, nil)
		opened, bad := key.Opener(t).Open(t.Context(), file)
		if bad != nil {
			t.Errorf("%q: %s", plain, bad)
			continue
		}
		for i, want := range []string{"first-secret", "second-secret"}[:len(file.Documents)] {
			handle := file.Documents[i].Field("stringData", "a").Value
			value, ok := opened.Value(seal.Ref{Path: "f/s.yaml", Document: i, Keys: []string{"stringData", "a"}})
			if !ok || value != want || !seal.IsEncryptedValue(handle) {
				t.Errorf("%q: document %d opens to %q", plain, i, value)
			}
		}
		if strings.Contains(string(sealed.Content["f/s.yaml"]), "sops") || strings.Count(string(sealed.Content["f/s.yaml"]), "kind: ")+strings.Count(string(sealed.Content["f/s.yaml"]), `"kind"`) != len(file.Documents) {
			t.Errorf("%q is sealed to\n%s", plain, sealed.Content["f/s.yaml"])
		}
	}
}

// TestDifferentBlocks: sops only reads the block of the first document. sops never writes a different second block, which could
// hide what the first one says.
func TestDifferentBlocks(t *testing.T) {
	key := sealtest.NewKey(t)
	document := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  a: first-secret\n"
	text := key.Encrypt(t, "s.yaml", "---\n# nothing\n---\n"+document, sealtest.Credentials)
	at := strings.LastIndex(text, "    version:")
	for name, changed := range map[string]string{
		"last document":    text[:at] + "    mac_only_encrypted: true\n" + text[at:],
		"first, empty one": strings.Replace(text, "    version:", "    mac_only_encrypted: true\n    version:", 1),
	} {
		tree := load1(t, map[string]string{"f/s.yaml": changed})
		if len(tree.Findings) != 1 || tree.Findings[0].Code != seal.CodeSopsBlock || !tree.Broken["f/s.yaml"] {
			t.Errorf("%s: %v", name, tree.Findings)
		}
	}
}

// TestForm: text that only looks encrypted, or that is not in the usual form.
func TestForm(t *testing.T) {
	key := sealtest.NewKey(t)
	document := func(note string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  annotations:\n    note: " + note + "\nstringData:\n  a: first-secret\n"
	}
	encrypted := key.Encrypt(t, "s.yaml", document("plain"), sealtest.Credentials)
	for _, row := range []struct{ name, text, code string }{
		{"an annotation about encryption", strings.Replace(encrypted, "note: plain", "note: 'ENC[AES256_GCM, is how it starts'", 1), ""},
		{"one in a file that isn't encrypted", document("'ENC[AES256_GCM,data: is how it starts'"), ""},
		{"a whole encrypted value in such a file", document("ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"), "sops-block"},
		{"one that is cut off, in such a file", strings.Replace(document("x"), "first-secret", "ENC[AES256_GCM,data:YQ", 1), "sops-block"},
		{"lastmodified without quotes", strings.NewReplacer(`lastmodified: "`, "lastmodified: ", `Z"`, "Z").Replace(encrypted), "sops-block"},
	} {
		sealed := seal.NewSealer().Seal(load1(t, map[string]string{"f/s.yaml": row.text}), nil)
		code := ""
		if len(sealed.Findings) > 0 {
			code = string(sealed.Findings[0].Code)
		}
		if code != row.code {
			t.Errorf("%s: %v", row.name, sealed.Findings)
		}
	}
	for text, want := range map[string]bool{
		"a: b\n\"sops\":\n  mac: x\n": true, "a: b\n'sops' :\n  mac: x\n": true, "{a: b, sops: {mac: x}}\n": true, `{"a": "b", "sops": {}}`: true,
		"a:\n  sops: x\n": false, "# sops: x\n": false, "sopsx: y\n": false, `{"a": "b"}`: false,
	} {
		if got := seal.IsEncrypted(text); got != want {
			t.Errorf("%q: encrypted %t", text, got)
		}
	}
}
