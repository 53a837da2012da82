package seal_test

import (
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

// TestSealedTextIsTheText: kustomize sees every plain text of an encrypted file unchanged.
func TestSealedTextIsTheText(t *testing.T) {
	key := sealtest.NewKey(t)
	for _, written := range []string{`"a\x7fb"`, `"a\x85b"`, `"a\u0085  b"`, `"a\x80b"`, `"a\uFFFEb"`, `"a\uFEFFb"`, `"a\u2028b"`, `"\0"`, `"<&>'\"\\"`, "yes", "0x1F", ".inf", "~", "2026-01-01"} {
		text := key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nnote: x\ntoken: x\n", sealtest.Rule{EncryptedRegex: "^token$"})
		text = strings.Replace(text, "note: x", "note: "+written, 1)
		tree := load1(t, map[string]string{"f/s.yaml": text})
		var raw, sealed map[string]any
		if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(seal.NewSealer().Seal(tree, nil).Content["f/s.yaml"], &sealed); err != nil {
			t.Errorf("%s: %v", written, err)
		} else if !reflect.DeepEqual(raw["note"], sealed["note"]) {
			t.Errorf("%s: %#v in the file, %#v in what kustomize sees", written, raw["note"], sealed["note"])
		}
	}
}
