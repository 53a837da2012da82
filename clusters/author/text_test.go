package author_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/author"
)

const file = `# yaml-language-server: $schema=x
apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata: {name: eu}

spec:
  # the token
  serviceAccountAuth:
    server: "https://eu"   # moved in May
    caCert: |
      # not a comment
      x
  schedule: '1 * * * *' # early

  # who is scanned
  filtering: {namespaces: {exclude: [a, b]}}  # all
  repositories:
    include:
    - one
    # another
    - two

# the end
`

func TestSetFields(t *testing.T) {
	tests := []struct {
		reason string
		change author.FieldChange
		// from and to are the lines that differ.
		from, to string
	}{
		{"a text keeps its quotes and comment", set("5 * * * *", "schedule"), "  schedule: '1 * * * *' # early", "  schedule: '5 * * * *' # early"},
		{"in double quotes", set("https://us", "serviceAccountAuth", "server"), `    server: "https://eu"   # moved in May`, `    server: "https://us" # moved in May`},
		{"a block", set("a\nb\n", "serviceAccountAuth", "caCert"), "      # not a comment\n      x\n", "      a\n      b\n"},
		{"a block becomes a line", set("", "serviceAccountAuth", "caCert"), "    caCert: |\n      # not a comment\n      x\n", "    caCert: \"\"\n"},
		{"text that looks like a number", set("0123", "serviceAccountAuth", "token"), "      x\n", "      x\n    token: \"0123\"\n"},
		{"a new field at the end of spec", set(true, "containerImageScanning"), "    - two\n", "    - two\n  containerImageScanning: true\n"},
		{"a new field with parents", set([]string{"x"}, "vaultAuth", "a", "b"), "    - two\n", "    - two\n  vaultAuth:\n    a:\n      b:\n        - x\n"},
		{"a list in braces", set([]string{"c"}, "filtering", "namespaces", "exclude"), "exclude: [a, b]}}  # all", "exclude: [c]}} # all"},
		{"a list", set([]string{"three"}, "repositories", "include"), "    - one\n    # another\n    - two\n", "      - three\n"},
		{"an empty list", set([]string{}, "repositories", "include"), "    include:\n    - one\n    # another\n    - two\n", "    include: []\n"},
		{"an empty mapping", set(map[string]any{}, "repositories"), "  repositories:\n    include:\n    - one\n    # another\n    - two\n", "  repositories: {}\n"},
		{"remove a text", set(nil, "schedule"), "  schedule: '1 * * * *' # early\n", ""},
		{"remove the last field of a mapping", set(nil, "repositories", "include"), "  repositories:\n    include:\n    - one\n    # another\n    - two\n", "  repositories: {}\n"},
		{"remove in braces", set(nil, "filtering", "namespaces", "exclude"), "{namespaces: {exclude: [a, b]}}  # all", "{namespaces: {}} # all"},
		{"remove a mapping", set(nil, "serviceAccountAuth"), "  serviceAccountAuth:\n    server: \"https://eu\"   # moved in May\n    caCert: |\n      # not a comment\n      x\n", ""},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			want := strings.Replace(file, test.from, test.to, 1)
			for ending, convert := range map[string]func(string) string{
				"LF": func(s string) string { return s }, "CRLF": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
				"second document": func(s string) string { return "# first\n---\na: b\n---\n" + s + "---\nc: d\n" },
				"no newline":      func(s string) string { return strings.TrimSuffix(s, "\n") },
			} {
				document := map[bool]int{true: 1}[ending == "second document"]
				got, err := author.SetFields([]byte(convert(file)), document, test.change)
				if err != nil || string(got) != convert(want) {
					t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", ending, err, got, convert(want))
				}
			}
		})
	}
}

func set(value any, field ...string) author.FieldChange {
	return author.FieldChange{Field: append([]string{"spec"}, field...), Value: value}
}

func TestSetFieldsRejects(t *testing.T) {
	schedule := set("1", "schedule")
	for reason, text := range map[string]string{
		"not YAML": "a: b: canary", "a list": "- canary\n", "empty": "", "one line of braces": "{spec: {schedule: canary}}\n",
		"an alias":             "x: &x {schedule: canary}\nspec: *x\n",
		"used elsewhere":       "spec: &x\n  schedule: canary\nother: *x\n",
		"a key of two lines":   "spec:\n  ? schedule\n  : canary\n",
		"on the separator":     "--- {spec: {schedule: canary}}\n",
		"the field twice":      "spec: {schedule: a, schedule: canary}\n",
		"merged into the spec": "x: &x {schedule: canary}\nspec:\n  <<: *x\n  y: 1\nz: *x\nspec: 1\n",
	} {
		got, err := author.SetFields([]byte(text), 0, schedule)
		if _, ok := errors.AsType[*author.FieldError](err); !ok || got != nil {
			t.Errorf("%s: %v\n%s", reason, err, got)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error has a value: %v", reason, err)
		}
	}
	if _, err := author.SetFields([]byte(file), 0, set(nil, "vaultAuth")); err == nil || !strings.Contains(err.Error(), "the field is not set") {
		t.Errorf("a missing field is removed: %v", err)
	}
	if _, err := author.SetFields([]byte(file), 1, schedule); err == nil {
		t.Error("a missing document is changed")
	}
}

func TestRemoveDocument(t *testing.T) {
	const text = "# head\n---\na: 1 # one\n# after a\n---\n# before b\nb: 2\n---\nc: 3\n"
	for number, want := range map[int]string{
		0: "# head\n---\n# before b\nb: 2\n---\nc: 3\n",
		1: "# head\n---\na: 1 # one\n# after a\n---\nc: 3\n",
		2: "# head\n---\na: 1 # one\n# after a\n---\n# before b\nb: 2\n",
	} {
		got, err := author.RemoveDocument([]byte(text), number)
		if err != nil || string(got) != want {
			t.Errorf("%d: %v\n%s\nwant:\n%s", number, err, got, want)
		}
	}
	if got, err := author.RemoveDocument([]byte("a: 1\n---\nb: 2\n"), 0); err != nil || string(got) != "b: 2\n" {
		t.Errorf("the first of two: %v\n%s", err, got)
	}
	for _, last := range []string{"a: 1\n", "---\na: 1\n---\n# nothing\n"} {
		if got, err := author.RemoveDocument([]byte(last), 0); !errors.Is(err, io.EOF) {
			t.Errorf("the last one: %v\n%s", err, got)
		}
	}
	if _, err := author.RemoveDocument([]byte(text), 3); err == nil {
		t.Error("a missing document is removed")
	}
}

func TestRemoveItem(t *testing.T) {
	for _, test := range []struct{ reason, text, want string }{
		{"a line", "# c\nresources:\n  - a.yaml # a\n  # about b\n  - b.yaml\n  - c.yaml\nx: 1\n", "# c\nresources:\n  - a.yaml # a\n  # about b\n  - c.yaml\nx: 1\n"},
		{"not indented", "resources:\n- a.yaml\n- b.yaml\nx: 1\n", "resources:\n- a.yaml\nx: 1\n"},
		{"in braces", "resources: [a.yaml, b.yaml]\nx: 1\n", "resources: [a.yaml]\nx: 1\n"},
		{"the last one", "x: 1\nresources:\n- b.yaml\n", "x: 1\n"},
	} {
		got, ok := author.RemoveItem([]byte(test.text), "resources", "b.yaml")
		if test.reason == "in braces" {
			test.want = "resources:\n  - a.yaml\nx: 1\n"
		}
		if !ok || string(got) != test.want {
			t.Errorf("%s: %t\n%s\nwant:\n%s", test.reason, ok, got, test.want)
		}
	}
	for _, text := range []string{"resources: [a.yaml]\n", "x: 1\n", "a: b: c", ""} {
		if got, ok := author.RemoveItem([]byte(text), "resources", "b.yaml"); ok {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestFields(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       any
		problem    string
	}{
		{"schedule", "5 * * * *", "5 * * * *", ""},
		{"spec.schedule", "5 * * * *", "5 * * * *", ""},
		{"schedul", "", nil, "unknown field spec.schedul in a cluster file; did you mean spec.schedule?"},
		{"namespaces.exclude", "", nil, "unknown field spec.namespaces"},
		{"containerImageScanning", "true", true, ""},
		{"containerImageScanning", "yes", nil, "spec.containerImageScanning must be true or false"},
		{"filtering.namespaces.exclude", "kube-*, x", []string{"kube-*", "x"}, ""},
		{"filtering.namespaces.exclude", "", []string{}, ""},
		{"repositories", "{}", map[string]any{}, ""},
		{"serviceAccountAuth", "{token: canary}", nil, "spec.serviceAccountAuth has fields; set these one by one"},
		{"serviceAccountAuth.token", "0123", "0123", ""},
		{"schedule.x", "", nil, "spec.schedule must be text, but is a mapping"},
		{"", "", nil, "is not a field of a cluster file"},
		{"a..b", "", nil, "is not a field of a cluster file"},
	} {
		field, err := author.ParseField(test.name)
		var got any
		if err == nil {
			got, err = author.ParseValue(field, test.text)
		}
		if test.problem != "" {
			if err == nil || !strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s=%s: %v, want %s", test.name, test.text, err, test.problem)
			}
			continue
		}
		if err != nil || !equal(got, test.want) {
			t.Errorf("%s=%s: %v, %v", test.name, test.text, got, err)
		}
	}
}

func equal(a, b any) bool {
	list, ok := a.([]string)
	other, ok2 := b.([]string)
	if ok && ok2 {
		return strings.Join(list, ",") == strings.Join(other, ",")
	}
	_, aMap := a.(map[string]any)
	_, bMap := b.(map[string]any)
	return aMap && bMap || !aMap && !bMap && !ok && a == b
}

func TestSecrets(t *testing.T) {
	fields, values := author.Secrets([]byte("spec: {kubeconfig: a, schedule: b}\n---\nspec: {serviceAccountAuth: {token: c}}\n---\n- x\n---\nspec: 1\n"))
	if len(fields) != 2 || strings.Join(values, ",") != "a,c" || !author.IsSecret(fields[1]) || author.IsSecret([]string{"spec", "schedule"}) {
		t.Errorf("%v %v", fields, values)
	}
}
