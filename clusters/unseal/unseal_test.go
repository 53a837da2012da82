package unseal_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

func load1(t *testing.T, files map[string]string) *load.Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load.Load(t.Context(), fsys, "f", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestFormats: the format comes from the content, whatever the file's name.
func TestFormats(t *testing.T) {
	key := sealtest.NewKey(t)
	opener := key.Opener(t)
	for name, plain := range map[string]string{
		"k.yaml":       "apiVersion: v1\nkind: Config\nusers: []\n",
		"k.json":       `{"a": {"b": "c"}, "list": [1, true, "x"]}`,
		"k.env":        "A=one\nB=two words\n",
		"k.ini":        "[section]\nkey = value\n",
		"k.kubeconfig": "any\x01thing: [at all\n",
		"k.bin":        "{\"data\": \"json of its own\"}",
	} {
		t.Run(name, func(t *testing.T) {
			text := key.Encrypt(t, name, plain, sealtest.Everything)
			if !seal.IsEncrypted(text) || seal.IsEncrypted(plain) {
				t.Error("what is encrypted is not told from what isn't")
			}
			file := &load.File{Path: "some-name", Data: text}
			opened, bad := opener.Open(t.Context(), file)
			if bad != nil {
				t.Fatal(bad)
			}
			got, err := opened.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if name == "k.kubeconfig" || name == "k.bin" || name == "k.env" {
				if string(got) != plain {
					t.Errorf("%q, not %q", got, plain)
				}
			}
			whole, ok := opened.Value(seal.Ref{Path: file.Path})
			if !ok || whole != string(got) {
				t.Error("the whole value is not the file")
			}
			if _, bad := sealtest.NewKey(t).Opener(t).Open(t.Context(), file); bad == nil || bad.Code != unseal.CodeWrongKey {
				t.Errorf("another key: %v", bad)
			}
			if _, bad := unseal.NewOpener().Open(t.Context(), file); bad == nil || bad.Code != unseal.CodeNoKey {
				t.Errorf("no key: %v", bad)
			}
		})
	}
}

// TestEmptyDocuments: sops counts documents that load drops, but values must not be confused.
func TestEmptyDocuments(t *testing.T) {
	key := sealtest.NewKey(t)
	document := func(name string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\nstringData:\n  password: of-" + name + "\n"
	}
	text := key.Encrypt(t, "s.yaml", document("a")+"---\n"+document("b")+"---\n"+document("c"), sealtest.Credentials)
	for _, text := range []string{text, strings.Replace(text, "\n---\n", "\n---\n# nothing\n---\n", 1), strings.Replace(text, "\n---\n", "\n---\n---\nnull\n---\n", 1)} {
		tree := load1(t, map[string]string{"f/s.yaml": text})
		sealed := seal.NewSealer().Seal(tree, nil)
		plain, bad := key.Opener(t).Open(t.Context(), tree.Files["f/s.yaml"])
		if bad != nil {
			t.Fatal(bad)
		}
		decoder := yaml.NewDecoder(strings.NewReader(string(sealed.Content["f/s.yaml"])))
		for _, name := range []string{"a", "b", "c"} {
			var object struct {
				StringData map[string]string `yaml:"stringData"`
			}
			if err := decoder.Decode(&object); err != nil {
				t.Fatal(err)
			}
			ref, ok := sealed.Ref(object.StringData["password"])
			value, opened := plain.Value(ref)
			if !ok || !opened || value != "of-"+name {
				t.Errorf("%s: %q, %t", name, value, opened)
			}
			ref.Document = (ref.Document + 1) % 3
			if value, opened := plain.Value(ref); opened {
				t.Errorf("%s gives %q for another's handle", name, value)
			}
		}
	}
	bad := strings.ReplaceAll(strings.Replace(text, "\n---\n", "\n---\n---\n", 1), "password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AAAA")
	_, found := key.Opener(t).Open(t.Context(), load1(t, map[string]string{"f/s.yaml": bad}).Files["f/s.yaml"])
	if found == nil || found.Line != 6 {
		t.Errorf("%v", found)
	}
}

// TestPanic: the text of a key service's panic is not part of the finding, and nothing else fails.
func TestPanic(t *testing.T) {
	key := sealtest.NewKey(t)
	file := &load.File{Path: "x", Data: key.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything)}
	if _, bad := unseal.NewOpener(nil).Open(t.Context(), file); bad == nil || bad.Code != seal.CodeSopsBlock {
		t.Errorf("%v", bad)
	}
}

func TestCancelled(t *testing.T) {
	key := sealtest.NewKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := &load.File{Path: "x", Data: key.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything)}
	if _, bad := key.Opener(t).Open(ctx, file); bad == nil || bad.Code != unseal.CodeInterrupted {
		t.Errorf("%v", bad)
	}
}
