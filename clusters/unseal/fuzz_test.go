package unseal_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// FuzzOpen: any modification of an encrypted file, in any format, is sealed and opened, or has a readable finding. An opened
// file has no encrypted values left.
func FuzzOpen(f *testing.F) {
	key := sealtest.NewKey(f)
	for _, name := range []string{"a.yaml", "a.json", "a.env", "a.ini", "a.bin"} {
		plain := map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  token: x\n", "a.json": `{"data": {"a": ["b", 1, null]}}`,
			"a.env": "A=b\nC=d\n", "a.ini": "[a]\nb = c\n", "a.bin": "any text"}[name]
		f.Add(key.Encrypt(f, name, plain, sealtest.Everything))
		f.Add(key.Encrypt(f, name, plain, sealtest.Credentials))
	}
	opener := key.Opener(f)
	f.Fuzz(func(t *testing.T, text string) {
		tree := load1(t, map[string]string{"f/a.yaml": text})
		sealed := seal.NewSealer().Seal(tree, nil)
		if content, ok := sealed.Content["f/a.yaml"]; ok && strings.Contains(string(content), "sops:\n    age:") && len(tree.Files["f/a.yaml"].Documents) > 0 && tree.Files["f/a.yaml"].IsEncrypted() {
			t.Errorf("a sops block is left: %s", content)
		}
		for _, file := range []*load.File{tree.Files["f/a.yaml"], {Path: "k", Data: text}} {
			if file == nil {
				continue
			}
			plain, bad := opener.Open(t.Context(), file)
			if (plain == nil) == (bad == nil) {
				t.Fatalf("%v and %v", plain, bad)
			}
			if bad != nil && (bad.Code == "" || bad.Message == "" || strings.ContainsAny(bad.Message+bad.Fix, "\n\r\x00")) {
				t.Errorf("%+v", bad)
			}
			if plain != nil {
				if data, err := plain.Bytes(); err == nil && strings.Contains(string(data), "ENC[AES256_GCM,data:") && !strings.Contains(text, "unencrypted") {
					t.Errorf("a value is left closed: %s", data)
				}
			}
		}
	})
}
