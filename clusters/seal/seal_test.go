package seal_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

const manifest = `# A comment of its own.
apiVersion: v1
kind: Secret
metadata:
  name: s # beside
  labels: {a: "yes", b: "0123"}
stringData:
  # above a secret
  one: first-secret
  two: |
    second
    secret: with colon
  empty: ""
  number: "42"
list:
  - name: x
    token: third-secret
  # between
  - name: y
    token: third-secret
---
apiVersion: v1
kind: Secret
metadata:
  name: t
stringData:
  one: first-secret
`

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

var credentials = sealtest.Rule{EncryptedRegex: "^(stringData|token)$"}

// TestHandles: every encrypted value has its own handle, which leads back to the value, and nothing else changes.
func TestHandles(t *testing.T) {
	key := sealtest.NewKey(t)
	tree := seal.NewSealer().Seal(load1(t, map[string]string{"f/s.yaml": key.Encrypt(t, "s.yaml", manifest, credentials)}), nil)
	if len(tree.Findings) > 0 {
		t.Fatal(tree.Findings)
	}
	content := string(tree.Content["f/s.yaml"])
	for _, left := range []string{"first", "secret", "comment", "sops", "ENC["} {
		if strings.Contains(strings.ReplaceAll(content, "kind: Secret", ""), left) {
			t.Errorf("%q is left:\n%s", left, content)
		}
	}
	opener := key.Opener(t)
	plain, bad := opener.Open(t.Context(), tree.Loaded.Files["f/s.yaml"])
	if bad != nil {
		t.Fatal(bad)
	}
	sealed, opened := documents(t, content), documents(t, manifest)
	seen := map[string]bool{}
	for i := range sealed {
		sealed[i] = replace(sealed[i], func(text string) string {
			ref, ok := tree.Ref(text)
			if !ok {
				return text
			}
			if seen[text] {
				t.Errorf("one handle for two values: %v", ref.Keys)
			}
			seen[text] = true
			if ref.Document != i || ref.Path != "f/s.yaml" {
				t.Errorf("a handle of document %d says %v", i, ref)
			}
			value, ok := plain.Value(ref)
			if !ok {
				t.Errorf("no value at %v", ref.Keys)
			}
			return value
		})
	}
	if !reflect.DeepEqual(sealed, opened) {
		t.Errorf("opened: %v\nplain:  %v", sealed, opened)
	}
	if len(seen) != 6 { // an empty string is not encrypted by sops
		t.Errorf("%d handles", len(seen))
	}
}

func documents(t *testing.T, text string) []any {
	t.Helper()
	var list []any
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc any
		if err := decoder.Decode(&doc); err != nil {
			return list
		}
		list = append(list, doc)
	}
}

func replace(v any, with func(string) string) any {
	switch v := v.(type) {
	case string:
		return with(v)
	case map[string]any:
		for key, item := range v {
			v[key] = replace(item, with)
		}
	case []any:
		for i, item := range v {
			v[i] = replace(item, with)
		}
	}
	return v
}

// TestHandlesAreStable: one Sealer returns the same bytes for the same file. Another returns different ones.
func TestHandlesAreStable(t *testing.T) {
	key := sealtest.NewKey(t)
	tree := load1(t, map[string]string{"f/s.yaml": key.Encrypt(t, "s.yaml", manifest, credentials)})
	sealer := seal.NewSealer()
	first, second, other := sealer.Seal(tree, nil), sealer.Seal(tree, nil), seal.NewSealer().Seal(tree, nil)
	if string(first.Content["f/s.yaml"]) != string(second.Content["f/s.yaml"]) {
		t.Error("sealing again changes the file")
	}
	if string(first.Content["f/s.yaml"]) == string(other.Content["f/s.yaml"]) {
		t.Error("another Sealer gives the same handles")
	}
	if !seal.HasHandle(string(first.Content["f/s.yaml"])) || first.Sealed("MUSTERSEALED"+strings.Repeat("0", 36)) {
		t.Error("handles are not told from other text")
	}
}

// TestPlainFilesStay: a file without encryption is unchanged, byte for byte.
func TestPlainFilesStay(t *testing.T) {
	text := "# comment\napiVersion:   v1\nkind: Secret\nmetadata: {name: x}\n\n\n"
	tree := seal.NewSealer().Seal(load1(t, map[string]string{"f/s.yaml": text}), nil)
	if got := string(tree.Content["f/s.yaml"]); got != text {
		t.Errorf("%q", got)
	}
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
			if _, bad := sealtest.NewKey(t).Opener(t).Open(t.Context(), file); bad == nil || bad.Code != seal.CodeWrongKey {
				t.Errorf("another key: %v", bad)
			}
			if _, bad := seal.NewOpener().Open(t.Context(), file); bad == nil || bad.Code != seal.CodeNoKey {
				t.Errorf("no key: %v", bad)
			}
		})
	}
}

func TestEnv(t *testing.T) {
	key := sealtest.NewKey(t)
	tree := seal.NewSealer().Seal(load1(t, map[string]string{"f/a.yaml": "a: b\n"}), nil)
	file := &load.File{Path: "f/s.env", Data: key.Encrypt(t, "s.env", "A=one\n# comment\nB=two\n", sealtest.Everything), Hash: "x"}
	plain, bad := key.Opener(t).Open(t.Context(), file)
	if bad != nil {
		t.Fatal(bad)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(tree.Env(file))) {
		name, handle, _ := strings.Cut(strings.TrimSpace(line), "=")
		ref, ok := tree.Ref(handle)
		if !ok {
			t.Errorf("%s has no handle", name)
		}
		got[name], _ = plain.Value(ref)
	}
	if fmt.Sprint(got) != "map[A:one B:two]" {
		t.Errorf("%v", got)
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

func TestMACOnly(t *testing.T) {
	for text, want := range map[string]bool{
		"a: b\n":                                       false,
		"sops: {mac: x}\n":                             false,
		"sops: {mac_only_encrypted: false}\n":          false,
		"sops: {mac_only_encrypted: true}\n":           true,
		"sops: {mac_only_encrypted: True}\n":           true,
		"sops: {mac_only_encrypted: yes}\n":            true,
		"sops: {mac_only_encrypted: 1}\n":              true,
		"sops: {mac_only_encrypted: [x]}\n":            true,
		"sops: {MAC_only_encrypted: true}\n":           true,
		"sops: {<<: {mac_only_encrypted: true}}\n":     true,
		"x: &x true\nsops: {mac_only_encrypted: *x}\n": true,
		`{"SOPS": {"mac_only_encrypted": true}}`:       true,
		"metadata: {mac_only_encrypted: true}\n":       false,
	} {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(text), &node); err != nil {
			t.Fatal(err)
		}
		if got := seal.MACOnly(node.Content[0]); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// TestPanic: the text of a key service's panic is not part of the finding, and nothing else fails.
func TestPanic(t *testing.T) {
	key := sealtest.NewKey(t)
	file := &load.File{Path: "x", Data: key.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything)}
	if _, bad := seal.NewOpener(nil).Open(t.Context(), file); bad == nil || bad.Code != seal.CodeSopsBlock {
		t.Errorf("%v", bad)
	}
}

func TestCancelled(t *testing.T) {
	key := sealtest.NewKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := &load.File{Path: "x", Data: key.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything)}
	if _, bad := key.Opener(t).Open(ctx, file); bad == nil || bad.Code != seal.CodeInterrupted {
		t.Errorf("%v", bad)
	}
}

// TestRejected: a resource with broken encryption only affects itself. A patch or an audit config affects every cluster.
func TestRejected(t *testing.T) {
	const broken = "sops: {age: x}\n"
	for _, row := range []struct {
		reason  string
		files   map[string]string
		stopped bool
	}{
		{"a Secret", map[string]string{"f/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n" + broken}, false},
		{"a cluster", map[string]string{"f/s.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: x}\n" + broken}, false},
		{"an audit config", map[string]string{"f/s.yaml": "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: x}\n" + broken}, true},
		{"a patch", map[string]string{"f/kustomization.yaml": "patches: [{path: s.yaml}]\n", "f/s.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: x}\n" + broken}, true},
	} {
		tree := seal.NewSealer().Seal(load1(t, row.files), nil)
		if len(tree.Findings) != 1 || tree.Findings[0].Code != seal.CodeSopsBlock || tree.Findings[0].Severity != finding.Error {
			t.Errorf("%s: %v", row.reason, tree.Findings)
		}
		if tree.Stopped != row.stopped || !tree.Broken["f/s.yaml"] {
			t.Errorf("%s: stopped %t", row.reason, tree.Stopped)
		}
		if _, ok := tree.Content["f/s.yaml"]; ok {
			t.Errorf("%s goes on", row.reason)
		}
	}
}
