package seal_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// valueIn returns the first encrypted value of a text, and macIn its MAC.
func valueIn(text string) string {
	at := strings.Index(text, "ENC[")
	return text[at : at+strings.Index(text[at:], "]")+1]
}

// TestUnsound: a file with syntax that sops doesn't write, and that makes its MAC unreliable, is refused before it is sealed.
func TestUnsound(t *testing.T) {
	key := sealtest.NewKey(t)
	file := key.Encrypt(t, "x.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nnote: plain\ntoken: one\n", sealtest.Rule{EncryptedRegex: "^token$"})
	for reason, row := range map[string]struct{ old, changed, says string }{
		"as it was":                      {"", "", ""},
		"an anchor and its alias":        {"note: plain", "note: &a plain\nother: *a", "aliases"},
		"a merge key":                    {"note: plain", "note: {<<: {a: b}}", "merge keys"},
		"a merge key under a tag":        {"note: plain", "note: {!!merge x: {a: b}}", "merge keys"},
		"a comment in place of a text":   {"type:str]", "type:comment]", "comment"},
		"a tag of another meaning":       {"note: plain", "note: !!binary cGxhaW4=", "tags"},
		"a tag that nobody knows":        {"note: plain", "note: !x plain", "tags"},
		"a set":                          {"note: plain", "note: !!set {a, b}", "tags"},
		"a date without quotes":          {"lastmodified: \"", "lastmodified: !!timestamp \"", "date"},
		"an encrypted name":              {"name: s", "name: " + valueIn(file), "metadata.name"},
		"an encrypted version":           {"apiVersion: v1", "apiVersion: " + valueIn(file), "apiVersion"},
		"a mapping where a text is":      {"note: plain", "note: {a: plain}", ""},
		"a timestamp that is only plain": {"note: plain", "note: 2026-01-01", ""},
	} {
		text := strings.Replace(file, row.old, row.changed, 1)
		sealed := seal.NewSealer().Seal(load1(t, map[string]string{"f/x.yaml": text, "f/kustomization.yaml": "resources: [x.yaml]\n"}), nil)
		says := ""
		for _, f := range sealed.Findings {
			if says += f.Message; f.Code != seal.CodeSopsBlock || f.Path != "f/x.yaml" {
				t.Errorf("%s: %s", reason, f)
			}
		}
		if (says == "") != (row.says == "") || !strings.Contains(says, row.says) || (sealed.Content["f/x.yaml"] == nil) != (row.says != "") {
			t.Errorf("%s: %q, sealed %t", reason, says, sealed.Content["f/x.yaml"] != nil)
		}
	}
}

// TestTalkAboutEncryption: an annotation may start like an encrypted value. Only a complete one counts as encrypted.
func TestTalkAboutEncryption(t *testing.T) {
	const begins = "ENC[AES256_GCM, is how sops writes"
	key := sealtest.NewKey(t)
	value := valueIn(key.Encrypt(t, "y.yaml", "token: other\n", sealtest.Everything))
	head := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  annotations:\n    about: "
	file := key.Encrypt(t, "x.yaml", head+begins+"\ntoken: one\n", sealtest.Rule{EncryptedRegex: "^token$"})
	for reason, row := range map[string]struct {
		text           string
		refused, shown bool
	}{
		"in a plain file":                       {head + "'" + begins + "'\n", false, true},
		"in an encrypted one":                   {file, false, true},
		"a whole value in a plain file":         {head + value + "\n", true, false},
		"a whole value in an encrypted one":     {strings.Replace(file, begins, value, 1), false, false},
		"the beginning where no annotation is":  {head + "x\nother: '" + begins + "'\n", true, false},
		"the beginning in a list that is plain": {"[\"" + begins + "\"]\n", true, false},
	} {
		tree := load1(t, map[string]string{"f/x.yaml": row.text, "f/kustomization.yaml": "resources: [x.yaml]\n"})
		sealed := seal.NewSealer().Seal(tree, nil)
		content := string(sealed.Content["f/x.yaml"])
		if refused := content == ""; refused != row.refused || strings.Contains(content, begins) != row.shown || strings.Contains(content, value) {
			t.Errorf("%s: %v\n%s", reason, sealed.Findings, content)
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

// TestFormatOf: a JSON file is binary content if it has nothing but a text in "data" and sops' block.
func TestFormatOf(t *testing.T) {
	for text, want := range map[string]seal.Format{
		`{"data": "x", "sops": {}}`: seal.Binary, `{"sops": {}, "d\u0061ta": "x"}`: seal.Binary, `{"sops": {}}`: seal.Binary, "\n {\"data\": \"\", \"sops\": {}} \n": seal.Binary,
		`{"data": {"a": "b"}, "sops": {}}`: seal.JSON, `{"data": 1, "sops": {}}`: seal.JSON, `{"data": ["x"], "data": "x", "sops": {}}`: seal.JSON,
		`{"data": "x", "a": "b", "sops": {}}`: seal.JSON, `{"Data": "x", "sops": {}}`: seal.JSON, `{"data": "x", "sops": {}} {}`: seal.YAML,
		"a: b\nsops: {}\n": seal.YAML, "[a]\nb = c\n[sops]\nmac = x\n": seal.INI, "a=b\nsops_mac=x\n": seal.Dotenv, `["sops"]`: "", "": "",
	} {
		if got := seal.FormatOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
