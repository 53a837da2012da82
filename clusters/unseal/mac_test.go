package unseal_test

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
