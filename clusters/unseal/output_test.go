package unseal_test

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

// checkOutput compares Decrypt with sops.
func checkOutput(t *testing.T, key *sealtest.Key, name, settings, text string) {
	t.Helper()
	want, err := sopsDecrypt(t, key, name, settings, text)
	if err != nil {
		t.Fatalf("%s: sops: %v", name, err)
	}
	got, bad := key.Opener(t).Decrypt(t.Context(), &load.File{Path: "f/" + name, Data: text}, []byte(settings))
	if bad != nil || !bytes.Equal(got, want) {
		t.Errorf("%s with %q: %v\n%s\nwant\n%s", name, settings, bad, got, want)
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
	for _, row := range []struct{ name, as, plain, want string }{
		{"kubeconfig", "x.yaml", "a: b\n", "a: b\n"},
		{".dockerconfigjson", "x.json", `{"auths": {}}`, "{\n\t\"auths\": {}\n}\n"},
		{"config", "x.json", `{"data": {"a": 1}}`, "{\n\t\"data\": {\n\t\t\"a\": 1\n\t}\n}\n"},
	} {
		f := &load.File{Path: row.name, Data: key.Encrypt(t, row.as, row.plain, sealtest.Everything)}
		if got, bad := key.Opener(t).Decrypt(t.Context(), f, nil); bad != nil || string(got) != row.want {
			t.Errorf("%s: %q %v", row.name, got, bad)
		}
		plain, bad := key.Opener(t).Open(t.Context(), f)
		if bad != nil {
			t.Fatal(bad)
		}
		if got, err := plain.Bytes(); err != nil || string(got) != row.want {
			t.Errorf("%s as a whole: %q %v", row.name, got, err)
		}
	}
	f := &load.File{Path: "x.json", Data: key.Encrypt(t, "x.json", `{"a": {"b": 1}}`, sealtest.Everything)}
	for _, indent := range []string{"1000000000", "-7"} {
		_, bad := key.Opener(t).Decrypt(t.Context(), f, []byte("stores: {json: {indent: "+indent+"}}"))
		if bad == nil || bad.Code != seal.CodeSopsBlock {
			t.Errorf("an indent of %s: %v", indent, bad)
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
