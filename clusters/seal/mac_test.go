package seal_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestMACInEachForm: a file of any form only opens unmodified, whether Muster opens it itself or has the sops library open it,
// as everything but one usual YAML document.
func TestMACInEachForm(t *testing.T) {
	key := sealtest.NewKey(t)
	const head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n"
	token := sealtest.Rule{EncryptedRegex: "^token$"}
	for _, row := range []struct {
		reason, name, plain string
		rule                sealtest.Rule
	}{
		{"YAML", "x.yaml", head + "note: before\ntoken: one\n", token},
		{"YAML with a number", "x.yaml", head + "note: before\ntoken: 12345\n", token},
		{"two documents", "x.yaml", head + "note: before\ntoken: one\n---\n" + head + "token: two\n", token},
		{"JSON", "x.json", `{"note": "before", "token": "one"}`, token},
		{"an env file", "x.env", "note=before\ntoken=one\n", token},
		{"an INI file", "x.ini", "[a]\nnote = before\ntoken = one\n", token},
	} {
		text := key.Encrypt(t, row.name, row.plain, row.rule)
		older := text
		newer := key.Edit(t, row.name, older, strings.NewReplacer("one", "three", "12345", "54321").Replace(row.plain))
		for change, changed := range map[string]string{"": text, "a plain value is changed": strings.Replace(text, "before", "behind", 1), "a plain value is gone": without(text, "note"),
			"an older value": strings.Replace(newer, valueIn(newer), valueIn(older), 1), "no value": strings.Replace(text, valueIn(text), "", 1), "the MAC of an older version": strings.Replace(newer, macIn(newer), macIn(older), 1)} {
			_, bad := key.Opener(t).Open(t.Context(), file(t, row.name, changed))
			switch {
			case bad == nil && change != "":
				t.Errorf("%s: opened, though %s", row.reason, change)
			case bad != nil && change == "":
				t.Errorf("%s: %s", row.reason, bad)
			case bad != nil && strings.Contains(change, "plain value") && bad.Code != seal.CodeTampered:
				t.Errorf("%s, %s: %s", row.reason, change, bad)
			}
		}
	}
	text := key.Encrypt(t, "x.kubeconfig", "one", sealtest.Everything)
	newer := key.Edit(t, "x.kubeconfig", text, "two")
	if _, bad := key.Opener(t).Open(t.Context(), file(t, "x.kubeconfig", strings.Replace(newer, valueIn(newer), valueIn(text), 1))); bad == nil || bad.Code != seal.CodeTampered {
		t.Errorf("an older content: %v", bad)
	}
}

// TestClosedValues: a value that only looks encrypted, or that the file's own rule keeps encrypted, is never returned.
func TestClosedValues(t *testing.T) {
	key := sealtest.NewKey(t)
	looks := valueIn(key.Encrypt(t, "y.yaml", "token: other\n", sealtest.Everything))
	for name, plain := range map[string]string{"x.yaml": "kind: Secret\nnote: " + looks + "\ntoken: one\n", "x.json": `{"note": "` + looks + `", "token": "one"}`} {
		opened, bad := key.Opener(t).Open(t.Context(), file(t, name, key.Encrypt(t, name, plain, sealtest.Rule{EncryptedRegex: "^token$"})))
		if bad != nil {
			t.Fatal(bad)
		}
		if value, ok := opened.Value(seal.Ref{Keys: []string{"token"}}); !ok || value != "one" {
			t.Errorf("%s: the token is %q", name, value)
		}
		if value, ok := opened.Value(seal.Ref{Keys: []string{"note"}}); ok {
			t.Errorf("%s: a value that is closed is %q", name, value)
		}
		if data, err := opened.Bytes(); err == nil {
			t.Errorf("%s: the whole file is %q", name, data)
		}
	}
}

// TestAnotherValueInItsPlace: a handle is only valid for the encrypted value that was sealed, not for another in the same place.
func TestAnotherValueInItsPlace(t *testing.T) {
	key := sealtest.NewKey(t)
	const manifest = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ntoken: one\n"
	for name, plain := range map[string]string{"x.yaml": manifest, "x.json": `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "token": "one"}`,
		"two.yaml": manifest + "---\n" + strings.NewReplacer("one", "two", "name: s", "name: t").Replace(manifest)} {
		first := key.Encrypt(t, name, plain, sealtest.Rule{EncryptedRegex: "^token$"})
		second := key.Edit(t, name, first, strings.Replace(plain, "one", "three", 1))
		sealed := seal.NewSealer().Seal(load1(t, map[string]string{"f/" + name: first, "f/kustomization.yaml": "resources: [" + name + "]\n"}), nil)
		content := string(sealed.Content["f/"+name])
		at := strings.Index(content, "MUSTERSEALED")
		ref, ok := sealed.Ref(content[at : at+48])
		if !ok {
			t.Fatalf("%s: no handle in %s", name, content)
		}
		for text, want := range map[string]bool{first: true, second: false} {
			opened, bad := key.Opener(t).Open(t.Context(), file(t, name, text))
			if bad != nil {
				t.Fatal(bad)
			}
			if value, ok := opened.Value(ref); ok != want {
				t.Errorf("%s: %q, %t", name, value, ok)
			}
		}
	}
}

func file(t *testing.T, name, text string) *load.File {
	t.Helper()
	takes := "secretGenerator: [{name: s, files: [" + name + "]}]\n"
	if strings.Contains(text, "kind") {
		takes = "resources: [" + name + "]\n"
	}
	if f := load1(t, map[string]string{"f/" + name: text, "f/kustomization.yaml": takes}).Files["f/"+name]; f != nil {
		return f
	}
	return &load.File{Path: "f/" + name, Data: text}
}

// valueIn returns the first encrypted value of a text, and macIn its MAC.
func valueIn(text string) string {
	at := strings.Index(text, "ENC[")
	return text[at : at+strings.Index(text[at:], "]")+1]
}

func macIn(text string) string {
	_, rest, _ := strings.Cut(text, "mac")
	return valueIn(rest)
}

// without removes the line, or the part of a line, that starts with a key.
func without(text, key string) string {
	text = strings.Replace(text, `"note": "before",`, "", 1)
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), key) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
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
